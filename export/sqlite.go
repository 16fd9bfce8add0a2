package export

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite", without cgo
)

// The identity of a usage.db, as the file itself states it.
const (
	sqliteApplicationID = 0x4D53554C // "MSUL"
	sqliteUserVersion   = 1
)

// sqliteSchema is the one schema of a usage.db, table by table; the text is
// compared, but for white space, before a row is read.
var sqliteSchema = map[string]string{
	"part":   `CREATE TABLE part (name TEXT PRIMARY KEY, text TEXT NOT NULL)`,
	"state":  `CREATE TABLE state (pos INTEGER PRIMARY KEY, line TEXT NOT NULL)`,
	"record": `CREATE TABLE record (idx INTEGER PRIMARY KEY, line TEXT NOT NULL)`,
	"event": `CREATE TABLE event (idx INTEGER, pos INTEGER, line TEXT NOT NULL, private TEXT,
		PRIMARY KEY (idx, pos)) WITHOUT ROWID`,
	"usage": `CREATE TABLE usage (idx INTEGER PRIMARY KEY, kind TEXT, node TEXT, meter TEXT, aggregation TEXT,
		window_start TEXT, window_end TEXT, count INTEGER, value INTEGER, first INTEGER, next INTEGER)`,
	"total": `CREATE TABLE total (meter TEXT PRIMARY KEY, aggregation TEXT, count INTEGER, value INTEGER, adjusted INTEGER)`,
}

// sqliteTables is the order in which the tables are made.
var sqliteTables = []string{"part", "state", "record", "event", "usage", "total"}

// WriteSQLite verifies the report in r as [VerifyReport] does and writes it to
// path as a usage.db, which any SQLite program opens and which [VerifySQLite]
// verifies with the same public keys. The file appears under its name only when
// it is complete; one that was there is replaced.
func WriteSQLite(ctx context.Context, path string, r io.Reader, o VerifyOptions) (*Report, error) {
	var report *Report
	err := createSQLite(ctx, path, 0o644, func(out *sqliteWriter) error {
		chain(&o.VisitHead, out.head)
		chain(&o.VisitState, out.state)
		chain(&o.Visit, out.record)
		chain(&o.VisitEvent, out.event)
		var err error
		if report, err = VerifyReport(r, o); err != nil {
			return err
		}
		return out.totals(report.Totals)
	})
	if err != nil {
		return nil, err
	}
	return report, nil
}

// chain makes *f call next too, if *f succeeds.
func chain[T any](f *func(T) error, next func(T) error) {
	first := *f
	if first == nil {
		*f = next
		return
	}
	*f = func(v T) error {
		if err := first(v); err != nil {
			return err
		}
		return next(v)
	}
}

// createSQLite makes a usage.db beside path, lets fill write its rows in one
// transaction, and renames it.
func createSQLite(ctx context.Context, path string, mode os.FileMode, fill func(*sqliteWriter) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := tmp.Close(); err != nil {
		return err
	}
	db, err := openSQLite(tmp.Name(), "rw", "journal_mode(off)", "synchronous(off)", "cache_size(-2048)",
		fmt.Sprintf("application_id(%d)", sqliteApplicationID), fmt.Sprintf("user_version(%d)", sqliteUserVersion))
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer tx.Rollback()
	for _, table := range sqliteTables {
		if _, err := tx.ExecContext(ctx, sqliteSchema[table]); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	out, err := newSQLiteWriter(ctx, tx)
	if err == nil {
		err = fill(out)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return publish(tmp.Name(), path, mode)
}

// publish syncs a complete file and gives it its name.
func publish(tmp, path string, mode os.FileMode) error {
	f, err := os.OpenFile(tmp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Chmod(mode)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// openSQLite opens a database with one connection. No schema of it is trusted.
func openSQLite(path, mode string, pragmas ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	escape := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23")
	dsn := "file:" + escape.Replace(abs) + "?mode=" + mode + "&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)"
	for _, p := range pragmas {
		dsn += "&_pragma=" + p
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// A sqliteWriter puts what a verifier visits into the tables.
type sqliteWriter struct {
	ctx                                       context.Context
	part, stateRow, recordRow, eventRow, cell *sql.Stmt
	total                                     *sql.Stmt
	states                                    int64
}

func newSQLiteWriter(ctx context.Context, tx *sql.Tx) (*sqliteWriter, error) {
	w := &sqliteWriter{ctx: ctx}
	for _, s := range []struct {
		stmt **sql.Stmt
		sql  string
	}{
		{&w.part, `INSERT INTO part VALUES (?, ?)`},
		{&w.stateRow, `INSERT INTO state VALUES (?, ?)`},
		{&w.recordRow, `INSERT INTO record VALUES (?, ?)`},
		{&w.eventRow, `INSERT INTO event VALUES (?, ?, ?, ?)`},
		{&w.cell, `INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&w.total, `INSERT INTO total VALUES (?, ?, ?, ?, ?)`},
	} {
		var err error
		if *s.stmt, err = tx.PrepareContext(ctx, s.sql); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *sqliteWriter) head(h VisitedHead) error {
	for _, p := range []struct {
		name string
		text []byte
	}{{"head", h.Head}, {"old", h.BaseNote}, {"new", h.Note}} {
		if len(p.text) == 0 {
			continue
		}
		if _, err := w.part.ExecContext(w.ctx, p.name, string(p.text)); err != nil {
			return err
		}
	}
	return nil
}

func (w *sqliteWriter) state(line string) error {
	_, err := w.stateRow.ExecContext(w.ctx, w.states, line)
	w.states++
	return err
}

func (w *sqliteWriter) record(v *Visited) error {
	line := string(v.Line)
	if _, err := w.recordRow.ExecContext(w.ctx, int64(v.Index), line); err != nil {
		return err
	}
	row, ok := cellRow(line)
	if !ok {
		return nil
	}
	_, err := w.cell.ExecContext(w.ctx, append([]any{int64(v.Index)}, row.values()...)...)
	return err
}

func (w *sqliteWriter) event(e VisitedEvent) error {
	var private any
	if e.Private != "" {
		private = e.Private
	}
	_, err := w.eventRow.ExecContext(w.ctx, int64(e.Index), e.Pos, e.Line, private)
	return err
}

func (w *sqliteWriter) totals(totals []MeterTotal) error {
	for _, t := range totals {
		if _, err := w.total.ExecContext(w.ctx, t.Meter, t.Aggregation, t.Count, t.Value, t.Adjusted); err != nil {
			return err
		}
	}
	return nil
}
