package export

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// sqliteMagic begins every SQLite database.
const sqliteMagic = "SQLite format 3\x00"

// IsSQLite reports whether the first bytes of a file are those of a database.
func IsSQLite(head []byte) bool { return strings.HasPrefix(string(head), sqliteMagic) }

// VerifySQLite verifies a usage.db: it rebuilds the text of the report from the
// tables part, state, record and event, verifies that as [VerifyReport] does,
// and compares the tables usage and total with what the text says. The file is
// opened read-only, nothing in it is trusted, and any schema but the one of
// [WriteSQLite] is refused.
//
// A row that was changed is named by its idx where it can be: a cell of usage,
// a hole, a record that disagrees with its row. Where only the root differs,
// none can.
//
// A live copy (no part "new") has no checkpoint yet: its base is verified, its
// records are followed, and the check "checkpoint" of the report says so.
func VerifySQLite(ctx context.Context, path string, o VerifyOptions) (*Report, error) {
	db, err := openSQLite(path, "ro", "busy_timeout(5000)", "query_only(1)", "mmap_size(0)", "cache_size(-2048)")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer db.Close()
	// One read transaction, so that a live copy cannot change underneath.
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, asSQLiteDamage(err)
	}
	defer tx.Rollback()
	size, err := checkSQLite(ctx, tx, path)
	if err != nil {
		return nil, err
	}
	text, err := newSQLiteText(ctx, tx)
	if err != nil {
		return nil, asSQLiteDamage(err)
	}
	defer text.close()
	table, err := newUsageTable(ctx, tx)
	if err != nil {
		return nil, asSQLiteDamage(err)
	}
	defer table.rows.Close()
	chain(&o.Visit, table.compare)
	o.live = text.live
	report, err := VerifyReport(text, o)
	if table.err == nil && (err == nil || text.ended) {
		table.end()
	}
	if bad := text.hole; bad != nil {
		return nil, bad
	}
	if table.err != nil {
		return nil, table.err
	}
	if err != nil {
		return nil, asSQLiteDamage(err)
	}
	report.FileBytes, report.Wrapping = size, []string{"sqlite"}
	report.FileSHA256 = ""
	return report, compareTotals(ctx, tx, report)
}

// asSQLiteDamage says of an error of the database that the file is damaged.
func asSQLiteDamage(err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Line = 0 // there are no lines in a database
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return refuse(CodeMalformed, "the database is damaged: %v", err).because(err)
}

// checkSQLite refuses what is not a usage.db and returns the size of the file.
func checkSQLite(ctx context.Context, db querier, path string) (int64, error) {
	head := make([]byte, 100)
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if n, _ := io.ReadFull(f, head); n < len(head) || !IsSQLite(head) {
		return 0, refuse(CodeNotAReport, "%s is not a SQLite database", path)
	}
	if head[18] != 1 || head[19] != 1 {
		return 0, refuse(CodeMalformed, "the database uses a write-ahead log")
	}
	var id, version int64
	if err := db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil {
		return 0, asSQLiteDamage(err)
	}
	if err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return 0, asSQLiteDamage(err)
	}
	switch {
	case id != sqliteApplicationID:
		return 0, refuse(CodeNotAReport, "%s is not a usage.db: application_id %#x", path, id)
	case version > sqliteUserVersion:
		return 0, refuse(CodeTooNew, "the usage.db has version %d; this program reads %d", version, sqliteUserVersion)
	case version < sqliteUserVersion:
		return 0, refuse(CodeTooOld, "the usage.db has version %d", version)
	}
	return info.Size(), checkSchema(ctx, db)
}

// checkSchema refuses any table, view, trigger or index but ours.
func checkSchema(ctx context.Context, db querier) error {
	rows, err := db.QueryContext(ctx, `SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema`)
	if err != nil {
		return asSQLiteDamage(err)
	}
	defer rows.Close()
	found := 0
	for rows.Next() {
		var kind, name, table, text string
		if err := rows.Scan(&kind, &name, &table, &text); err != nil {
			return asSQLiteDamage(err)
		}
		if kind == "index" && text == "" && name == "sqlite_autoindex_"+table+"_1" {
			continue // made by a PRIMARY KEY
		}
		want, ours := sqliteSchema[name]
		if kind != "table" || !ours || oneSpace(text) != oneSpace(want) {
			return refuse(CodeMalformed, "the database has a %s %.60q that is not part of a usage.db", kind, name)
		}
		found++
	}
	if err := rows.Err(); err != nil {
		return asSQLiteDamage(err)
	}
	if found != len(sqliteSchema) {
		return refuse(CodeMalformed, "the database has %d of the %d tables of a usage.db", found, len(sqliteSchema))
	}
	return nil
}

// querier is what of a transaction reading needs.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func oneSpace(s string) string { return strings.Join(strings.Fields(s), " ") }

// A sqliteText gives the text of the report that the first four tables hold.
type sqliteText struct {
	buf     []byte
	read    int
	records *sql.Rows
	events  *sql.Rows
	digest  hash.Hash
	next    uint64 // index of the record that is due
	live    bool
	ended   bool
	hole    *Error
	eventAt eventRow
	more    bool // eventAt holds a row that was not written yet
}

type eventRow struct {
	idx, pos int64
	line     string
	private  sql.NullString
}

func newSQLiteText(ctx context.Context, db querier) (*sqliteText, error) {
	t := &sqliteText{digest: sha256.New()}
	parts := map[string]string{}
	err := eachRow(ctx, db, `SELECT name, text FROM part LIMIT 8`, func(rows *sql.Rows) error {
		var name, text string
		err := rows.Scan(&name, &text)
		if len(text) > ledger.HeadBytesMax || name != "head" && name != "old" && name != "new" {
			return refuse(CodeMalformed, "part %.60q of %d bytes", name, len(text))
		}
		parts[name] = text
		return err
	})
	if err != nil {
		return nil, err
	}
	t.put(parts["head"], "\n")
	if parts["old"] != "" {
		t.put(parts["old"], "\n")
	}
	if t.live = parts["new"] == ""; !t.live {
		t.put(parts["new"], "\n")
	}
	if t.next, err = baseOf(parts["head"]); err != nil {
		return nil, err
	}
	want := int64(0)
	err = eachRow(ctx, db, `SELECT pos, substr(line, 1, 4097) FROM state ORDER BY pos`, func(rows *sql.Rows) error {
		var pos int64
		var line string
		if err := rows.Scan(&pos, &line); err != nil {
			return err
		}
		if pos != want || want > ledger.NodesMax+ledger.MetersMax+ledger.NodesMax {
			return refuse(CodeMalformed, "state line %d where %d is due", pos, want)
		}
		want++
		t.put("= ", line, "\n")
		return nil
	})
	if err != nil {
		return nil, err
	}
	if t.records, err = db.QueryContext(ctx, `SELECT idx, substr(line, 1, 4097) FROM record ORDER BY idx`); err != nil { //nolint:rowserrcheck // where they are read to the end
		return nil, err
	}
	t.events, err = db.QueryContext(ctx, `SELECT idx, pos, substr(line, 1, 4097), substr(private, 1, 4097) FROM event ORDER BY idx, pos`) //nolint:rowserrcheck // where they are read to the end
	return t, err
}

func eachRow(ctx context.Context, db querier, query string, f func(*sql.Rows) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// baseOf returns the size that a head continues from.
func baseOf(head string) (uint64, error) {
	for line := range strings.SplitSeq(head, "\n") {
		if rest, ok := strings.CutPrefix(line, "old "); ok {
			size, _, _ := strings.Cut(rest, " ")
			return ledger.ParseUint(size)
		}
	}
	return 0, refuse(CodeMalformed, "the head has no old line")
}

func (t *sqliteText) put(parts ...string) {
	for _, p := range parts {
		t.buf = append(t.buf, p...)
	}
}

func (t *sqliteText) close() {
	t.records.Close()
	if t.events != nil {
		t.events.Close()
	}
}

// Read gives the text line by line as the rows come.
func (t *sqliteText) Read(p []byte) (int, error) {
	for t.read == len(t.buf) {
		t.digest.Write(t.buf)
		t.buf, t.read = t.buf[:0], 0
		if t.ended {
			return 0, io.EOF
		}
		if err := t.row(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.buf[t.read:])
	t.read += n
	return n, nil
}

// row writes the next record with its events, or the end line.
func (t *sqliteText) row() error {
	if !t.records.Next() {
		if err := t.records.Err(); err != nil {
			return err
		}
		if t.more || t.nextEvent() {
			return t.fail(t.eventAt.idx, "events of record %d, which is not there", t.eventAt.idx)
		}
		if !t.live {
			t.put("end ", strconv.FormatUint(t.next, 10), " ", ledger.Hash(t.digest.Sum(nil)).String(), "\n")
		}
		t.ended = true
		return t.events.Err()
	}
	var idx int64
	var line string
	if err := t.records.Scan(&idx, &line); err != nil {
		return err
	}
	switch {
	case uint64(idx) == t.next+1:
		return t.fail(int64(t.next), "record %d is missing", t.next)
	case idx >= 0 && uint64(idx) > t.next:
		return t.fail(int64(t.next), "records %d to %d are missing", t.next, idx-1)
	case uint64(idx) != t.next:
		return t.fail(idx, "record %d where %d is due", idx, t.next)
	}
	if strings.ContainsAny(line, "\n") {
		return t.fail(idx, "record %d has a line feed", idx)
	}
	t.next++
	t.put(line, "\n")
	return t.putEvents(idx)
}

// putEvents writes the event lines of a record.
func (t *sqliteText) putEvents(idx int64) error {
	for pos := int64(0); t.more || t.nextEvent(); pos++ {
		e := &t.eventAt
		t.more = true
		if e.idx > idx {
			return nil
		}
		if e.idx < idx || e.pos != pos || strings.Contains(e.line+e.private.String, "\n") {
			return t.fail(e.idx, "event %d of record %d where %d of %d is due", e.pos, e.idx, pos, idx)
		}
		t.more = false
		if e.line != "" {
			t.put("> ", e.line, "\n")
		}
		if e.private.Valid {
			t.put(">> ", e.private.String, "\n")
		}
	}
	return t.events.Err()
}

func (t *sqliteText) nextEvent() bool {
	return t.events.Next() && t.events.Scan(&t.eventAt.idx, &t.eventAt.pos, &t.eventAt.line, &t.eventAt.private) == nil
}

func (t *sqliteText) fail(idx int64, format string, args ...any) error {
	t.hole = refuse(CodeRootMismatch, format, args...)
	t.hole.Record = idx
	return t.hole
}

// A usageTable compares the rows of usage with the records.
type usageTable struct {
	rows *sql.Rows
	row  []any
	idx  int64
	have bool
	err  error // the first row that differs
}

func newUsageTable(ctx context.Context, db querier) (*usageTable, error) {
	rows, err := db.QueryContext(ctx, `SELECT idx, kind, node, meter, aggregation, window_start, window_end, count, value, first, next FROM usage ORDER BY idx`) //nolint:rowserrcheck // where they are read to the end
	return &usageTable{rows: rows}, err
}

// compare is called for each record in order.
func (t *usageTable) compare(v *Visited) error {
	c, ok := cellRow(string(v.Line))
	if t.err != nil {
		return nil //nolint:nilerr // the first one stays; the text itself may say more
	}
	t.load()
	switch {
	case t.have && t.idx < int64(v.Index):
		t.bad(t.idx, "the table usage has a row %d that no record of that kind stands for", t.idx)
	case !ok:
	case !t.have || t.idx > int64(v.Index):
		t.bad(int64(v.Index), "the table usage lacks the row of record %d", v.Index)
	default:
		t.have = false
		for i, want := range c.values() {
			if t.row[i] != want {
				t.bad(t.idx, "row %d of the table usage has %s %v, its record says %v", t.idx, usageColumns[i], t.row[i], want)
				return nil
			}
		}
	}
	return nil
}

var usageColumns = [...]string{"kind", "node", "meter", "aggregation", "window_start", "window_end", "count", "value", "first", "next"}

// load has the next row in t.row, if there is one.
func (t *usageTable) load() {
	if t.have || t.err != nil || !t.rows.Next() {
		return
	}
	t.row = make([]any, len(usageColumns))
	dest := []any{&t.idx}
	for i := range t.row {
		dest = append(dest, &t.row[i])
	}
	if err := t.rows.Scan(dest...); err != nil {
		t.err = asSQLiteDamage(err)
		return
	}
	t.have = true
}

// end is called after the last record.
func (t *usageTable) end() {
	if t.load(); t.have {
		t.bad(t.idx, "the table usage has a row %d that no record of that kind stands for", t.idx)
	} else if err := t.rows.Err(); err != nil && t.err == nil {
		t.err = asSQLiteDamage(err)
	}
}

func (t *usageTable) bad(idx int64, format string, args ...any) {
	if t.err == nil {
		e := refuse(CodeRootMismatch, format, args...)
		e.Record = idx
		t.err = e
	}
}

// compareTotals compares the table total with what the records gave.
func compareTotals(ctx context.Context, db querier, report *Report) error {
	want := map[string]MeterTotal{}
	for _, t := range report.Totals {
		want[t.Meter] = t
	}
	err := eachRow(ctx, db, `SELECT meter, aggregation, count, value, adjusted FROM total LIMIT 2048`, func(rows *sql.Rows) error {
		var t MeterTotal
		if err := rows.Scan(&t.Meter, &t.Aggregation, &t.Count, &t.Value, &t.Adjusted); err != nil {
			return err
		}
		w, ok := want[t.Meter]
		delete(want, t.Meter)
		if !ok || t.Aggregation != w.Aggregation || t.Count != w.Count || t.Value != w.Value || t.Adjusted != w.Adjusted {
			return refuse(CodeRootMismatch, "the table total says %s %s %d %d %d, the records say %d %d %d", t.Meter, t.Aggregation,
				t.Count, t.Value, t.Adjusted, w.Count, w.Value, w.Adjusted)
		}
		return nil
	})
	if err == nil && len(want) > 0 {
		err = refuse(CodeRootMismatch, "the table total lacks %d meters", len(want))
	}
	if err != nil {
		return asSQLiteDamage(err)
	}
	return nil
}
