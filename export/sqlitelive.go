package export

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
)

// liveChunk is how many records a live copy takes in one transaction.
const liveChunk = 1 << 14

// A LiveSQLite is a usage.db of what was not reported yet, which grows with the
// ledger: the tables of [WriteSQLite] without a new checkpoint. [VerifySQLite]
// takes it and says that it is proven up to its base only.
//
// New records are added, nothing is written twice. Each step is one transaction
// of SQLite with a rollback journal, so whoever reads sees the state before it or
// after it, and after a crash the journal beside the file takes back a step that
// was not finished. It is for one goroutine.
type LiveSQLite struct {
	path string
	src  Source
	o    Options
	db   *sql.DB
	file os.FileInfo // as it was opened
	v    *verifier
	out  *sqliteWriter // of the transaction under way
}

// CreateLiveSQLite writes the records [o.From, o.To) of src to path; a file that
// was there is replaced when the new one is complete, and programs that have it
// open keep what they have. o.From is a size that a report can continue from, o.To
// may be any. A copy that shows events is readable by its owner alone.
func CreateLiveSQLite(ctx context.Context, path string, src Source, o Options) (*LiveSQLite, error) {
	l := &LiveSQLite{path: path, src: src, o: o}
	if err := settleJournal(ctx, path); err != nil {
		return nil, err
	}
	mode := os.FileMode(0o644)
	if o.Level > Standard {
		mode = 0o600
	}
	err := createSQLite(ctx, path, mode, func(out *sqliteWriter) error {
		l.out = out
		if err := l.begin(); err != nil {
			return err
		}
		return l.records(ctx, o.To)
	})
	if err != nil {
		return nil, err
	}
	if l.db, err = openSQLite(path, "rw", "busy_timeout(5000)", "journal_mode(delete)", "synchronous(full)", "cache_size(-8192)"); err != nil {
		return nil, err
	}
	if err := l.db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), l.db.Close())
	}
	if l.file, err = os.Stat(path); err != nil {
		return nil, errors.Join(err, l.db.Close())
	}
	return l, nil
}

// settleJournal finishes with the journal that a crash has left beside path: it
// belongs to the file that is there, and would spoil one that takes its name.
func settleJournal(ctx context.Context, path string) error {
	journal := path + "-journal"
	if _, err := os.Stat(journal); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if db, err := openSQLite(path, "rw", "busy_timeout(5000)"); err == nil {
		_, _ = db.ExecContext(ctx, "BEGIN IMMEDIATE; COMMIT") // SQLite takes the step back
		_ = db.Close()
	}
	if _, err := os.Stat(journal); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// The file cannot be saved. It goes first: a journal alone does nothing.
	for _, name := range []string{path, journal} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// begin writes head and state lines, and readies the fold for the first record.
func (l *LiveSQLite) begin() error {
	v, err := beginLive(l.src, l.o, VerifyOptions{
		VisitHead:  func(h VisitedHead) error { return l.out.head(h) },
		VisitState: func(line string) error { return l.out.state(line) },
		Visit:      func(v *Visited) error { return l.out.record(v) },
		VisitEvent: func(e VisitedEvent) error { return l.out.event(e) },
	})
	l.v = v
	return err
}

// records adds the rows of the records up to size to.
func (l *LiveSQLite) records(ctx context.Context, to uint64) error {
	var failed error
	put := func(parts ...string) {
		if failed == nil {
			failed = l.v.cells.line(l.v, []byte(strings.Join(parts, "")))
		}
	}
	for line, err := range l.src.Records(l.v.index, max(to, l.v.index)) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		index := l.v.index
		if err := l.v.record([]byte(line)); err != nil {
			return err
		}
		if l.o.Level > Standard {
			if _, err := cellLines(l.src, l.o.Level, index, line, put); err != nil {
				return err
			}
		}
		if failed != nil {
			return failed
		}
	}
	if err := l.v.cells.finish(l.v); err != nil {
		return err
	}
	return l.out.totals(l.v.fold.totals())
}

// Base returns the size that the copy continues from.
func (l *LiveSQLite) Base() uint64 { return l.o.From }

// Size returns the size of the ledger up to which the copy goes.
func (l *LiveSQLite) Size() uint64 { return l.v.index }

// InPlace reports whether the file is still the one that was made: not removed,
// and not replaced.
func (l *LiveSQLite) InPlace() bool {
	now, err := os.Stat(l.path)
	return err == nil && os.SameFile(now, l.file)
}

// Append adds the records up to size to. After an error the copy is of no use any
// more, though the file is as it was: close it and make it again.
func (l *LiveSQLite) Append(ctx context.Context, to uint64) error {
	for l.v.index < to {
		if err := l.step(ctx, min(to, l.v.index+liveChunk)); err != nil {
			return fmt.Errorf("write %s: %w", l.path, err)
		}
	}
	return nil
}

// step adds the records up to size to in one transaction.
func (l *LiveSQLite) step(ctx context.Context, to uint64) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `DELETE FROM total`); err != nil {
		return err
	}
	if l.out, err = newSQLiteWriter(ctx, tx); err != nil {
		return err
	}
	if err := l.records(ctx, to); err != nil {
		return err
	}
	return tx.Commit()
}

// Close closes the file and leaves it where it is.
func (l *LiveSQLite) Close() error { return l.db.Close() }
