package export_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite"

	"github.com/meterseal/meterseal/export"
)

// database writes the usage.db of a report into a new folder and changes it with
// SQL.
func database(t testing.TB, text []byte, o export.VerifyOptions, changes ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "usage.db")
	if _, err := export.WriteSQLite(context.Background(), path, bytes.NewReader(text), o); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, change := range changes {
		if _, err := db.Exec(change); err != nil {
			t.Fatalf("%s: %v", change, err)
		}
	}
	return path
}

// databaseCases are the usage.db of b, as it is and changed.
func databaseCases() []reportCase {
	db := func(file, code, verdict string, changes ...string) reportCase {
		return reportCase{"usagedb-" + file + ".db", code, verdict, "5", func(t testing.TB) []byte {
			b, err := os.ReadFile(database(t, vector(t, "b.usage"), auditor(t), changes...))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}, true}
	}
	const root, malformed = export.CodeRootMismatch, export.CodeMalformed
	return []reportCase{
		db("b", "-", "ok"),
		db("usage-edited", root, "-", `UPDATE usage SET value = 14 WHERE idx = 7`),
		db("usage-dropped", root, "-", `DELETE FROM usage WHERE idx = 8`),
		db("usage-inserted", root, "-", `INSERT INTO usage (idx, kind) VALUES (9, 'usage')`),
		db("record-edited", root, "-", `UPDATE record SET line = replace(line, '2 15 0 2', '2 14 0 2') WHERE idx = 7`),
		db("records-swapped", root, "-", `UPDATE record SET idx = 1007 WHERE idx = 7`, `UPDATE record SET idx = 7 WHERE idx = 8`, `UPDATE record SET idx = 8 WHERE idx = 1007`),
		db("record-hole", root, "-", `DELETE FROM record WHERE idx = 9`),
		db("record-cut", root, "-", `DELETE FROM record WHERE idx > 12`),
		db("event-dropped", root, "-", `DELETE FROM event WHERE idx = 7 AND pos = 1`),
		db("event-edited", root, "-", `UPDATE event SET private = replace(private, 'lee', 'ana') WHERE idx = 7`),
		db("total-edited", root, "-", `UPDATE total SET value = 19`),
		db("view", malformed, "-", `CREATE VIEW v AS SELECT * FROM record`),
		db("trigger", malformed, "-", `CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM event; END`),
		db("table", malformed, "-", `CREATE TABLE more (a)`),
		db("index", malformed, "-", `CREATE INDEX i ON record (line)`),
		db("other-application", export.CodeNotAReport, "-", `PRAGMA application_id = 1`),
		db("version-2", export.CodeTooNew, "-", `PRAGMA user_version = 2`),
	}
}

// the same command takes a database, with public keys only, and what it
// finds is what the report says.
func TestSQLiteVerifiesAsTheReport(t *testing.T) {
	for _, x := range exampleReports {
		text := vector(t, x.file)
		want := verify(t, text, auditor(t))
		got, err := export.VerifySQLite(context.Background(), database(t, text, auditor(t)), auditor(t))
		if err != nil {
			t.Errorf("%s: %v", x.file, err)
			continue
		}
		got.FileBytes, got.FileSHA256, got.Wrapping = want.FileBytes, want.FileSHA256, want.Wrapping
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-report +database):\n%s", x.file, d)
		}
	}
}

// a row that was changed, is missing, was inserted or moved is named by the
// number of its record.
func TestSQLiteNamesTheBadRecord(t *testing.T) {
	for change, record := range map[string]int64{
		`UPDATE usage SET value = 14 WHERE idx = 8`:                                  8,
		`UPDATE usage SET node = 'node-09' WHERE idx = 7`:                            7,
		`UPDATE usage SET window_start = '2026-11-03T10:15:01Z' WHERE idx=7`:         7,
		`UPDATE usage SET first = NULL WHERE idx = 7`:                                7,
		`DELETE FROM usage WHERE idx = 7`:                                            7,
		`INSERT INTO usage (idx) VALUES (16)`:                                        16,
		`INSERT INTO usage (idx) VALUES (99)`:                                        99,
		`DELETE FROM record WHERE idx BETWEEN 9 AND 11`:                              9,
		`DELETE FROM record WHERE idx = 5`:                                           5,
		`UPDATE record SET idx = 4 WHERE idx = 5`:                                    4,
		`UPDATE record SET line = replace(line, ' 2 15 0', ' 2 14 0') WHERE idx = 7`: 7,
		`UPDATE event SET pos = 5 WHERE idx = 7 AND pos = 1`:                         7,
		`INSERT INTO event VALUES (99, 0, 'x', NULL)`:                                99,
		`UPDATE event SET line = replace(line, ' 12 ', ' 11 ') WHERE idx=7`:          7,
	} {
		_, err := export.VerifySQLite(context.Background(), database(t, vector(t, "b.usage"), auditor(t), change), auditor(t))
		var e *export.Error
		if !errors.As(err, &e) || e.Record != record || e.Code != export.CodeRootMismatch {
			t.Errorf("%s: %v, want a refusal that names record %d", change, err, record)
		}
	}
}

// Every column of every table is compared: a row changed anywhere is found.
func TestSQLiteEveryCellChanged(t *testing.T) {
	text := vector(t, "c.usage")
	columns := map[string][]string{
		"part": {"text"}, "state": {"line"}, "record": {"line"}, "event": {"line", "private"},
		"usage": {"kind", "node", "meter", "aggregation", "window_start", "window_end", "count", "value", "first", "next"},
		"total": {"meter", "aggregation", "count", "value", "adjusted"},
	}
	for table, cols := range columns {
		for _, col := range cols {
			for _, to := range []string{`(coalesce(` + col + `, '') || '1')`, `NULL`, `x'00'`} {
				if to == `NULL` && col == "line" || to == `NULL` && col == "text" {
					continue // the schema refuses it
				}
				where := `rowid = (SELECT max(rowid) FROM ` + table + `)`
				if table == "event" || table == "usage" {
					where = `idx = 20`
				}
				change := `UPDATE ` + table + ` SET ` + col + ` = ` + to + ` WHERE ` + where
				path := database(t, text, auditor(t), change)
				if _, err := export.VerifySQLite(context.Background(), path, auditor(t)); !errors.Is(err, export.ErrRefused) {
					t.Errorf("%s: %v, want a refusal", change, err)
				}
			}
		}
	}
}

// Any bit of the database flipped gives a refusal or the same answer, never
// another one, and never a panic.
func TestSQLiteBitFlips(t *testing.T) {
	path := database(t, vector(t, "b.usage"), auditor(t))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := verify(t, vector(t, "b.usage"), auditor(t))
	step := 1009
	if testing.Short() {
		step = 10007
	}
	for bit := 3; bit < len(whole)*8; bit += step {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := export.VerifySQLite(context.Background(), path, auditor(t))
		if err == nil && cmp.Diff(want.Totals, got.Totals) != "" {
			t.Errorf("bit %d flipped: other totals %v", bit, got.Totals)
		}
	}
}

func TestSQLiteRefusesOtherFiles(t *testing.T) {
	for name, content := range map[string][]byte{"empty": nil, "text": vector(t, "a.usage"), "magic": []byte("SQLite format 3\x00")} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := export.VerifySQLite(context.Background(), path, auditor(t)); !errors.Is(err, export.ErrRefused) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if !export.IsSQLite([]byte("SQLite format 3\x00")) || export.IsSQLite(vector(t, "a.usage")) {
		t.Error("IsSQLite")
	}
}

// A report that does not verify leaves no database behind, and the one that was
// there stays.
func TestSQLiteLeavesNothingAfterARefusal(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "usage.db")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := vector(t, "report-record-edited.usage")
	if _, err := export.WriteSQLite(context.Background(), path, bytes.NewReader(text), auditor(t)); err == nil {
		t.Fatal("WriteSQLite took a damaged report")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "before" {
		t.Errorf("the file before: %q, %v", b, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

// The schema that the format page gives is the one that is compared.
func TestSQLiteSchemaIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/formats/report.md")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", database(t, vector(t, "a.usage"), auditor(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		if line := strings.Join(strings.Fields(text), " "); !strings.Contains(string(page), line+"\n") {
			t.Errorf("docs/formats/report.md does not have: %s", line)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
