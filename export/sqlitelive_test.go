package export_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
)

// liveLedger is the ledger of the examples a, b and c, with its events.
func liveLedger(t testing.TB) *exporttest.Ledger {
	t.Helper()
	l, err := exporttest.FromReports(vector(t, "a.usage"), vector(t, "b.usage"), vector(t, "c.usage"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// rows returns all rows of a usage.db, table by table.
func rows(t testing.TB, path string) map[string][]string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	out := map[string][]string{}
	for _, table := range []string{"part", "state", "record", "event", "usage", "total"} {
		r, err := db.Query("SELECT * FROM " + table + " ORDER BY 1, 2")
		if err != nil {
			t.Fatal(err)
		}
		columns, _ := r.Columns()
		for r.Next() {
			row := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range row {
				into[i] = &row[i]
			}
			if err := r.Scan(into...); err != nil {
				t.Fatal(err)
			}
			out[table] = append(out[table], fmt.Sprint(row...))
		}
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// a copy that grew record by record is the one that is made at once,
// at every level, and the verifier takes it at every size.
func TestX01LiveCopyGrows(t *testing.T) {
	ctx := context.Background()
	for _, base := range []uint64{0, 5} {
		for _, level := range []export.Level{export.Standard, export.Pseudonymous, export.Detailed} {
			l := liveLedger(t)
			to := uint64(17) // b has its events
			if level == export.Standard {
				to = l.Size()
			}
			dir := t.TempDir()
			grown := filepath.Join(dir, "grown.db")
			live, err := export.CreateLiveSQLite(ctx, grown, l, export.Options{From: base, To: base, Level: level})
			if err != nil {
				t.Fatal(err)
			}
			for size := base + 1; size <= to; size++ {
				if err := live.Append(ctx, size); err != nil {
					t.Fatalf("base %d, %s: Append(%d): %v", base, level, size, err)
				}
				o := auditor(t)
				o.Accepted = []ledger.Checkpoint{l.At(base)}
				r, err := export.VerifySQLite(ctx, grown, o)
				if err != nil || r.Size != size {
					t.Fatalf("base %d, %s: VerifySQLite at %d = %v, %v", base, level, size, r, err)
				}
			}
			if err := live.Close(); err != nil {
				t.Fatal(err)
			}
			whole := filepath.Join(dir, "whole.db")
			if live, err = export.CreateLiveSQLite(ctx, whole, l, export.Options{From: base, To: to, Level: level}); err != nil {
				t.Fatal(err)
			}
			if err := live.Close(); err != nil {
				t.Fatal(err)
			}
			got, want := rows(t, grown), rows(t, whole)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("base %d, %s: grown and made at once differ (-whole +grown):\n%s", base, level, diff)
			}
			if (len(got["event"]) > 0) != (level > export.Standard) || len(got["record"]) != int(to-base) {
				t.Errorf("base %d, %s: %d events, %d records", base, level, len(got["event"]), len(got["record"]))
			}
			info, err := os.Stat(grown)
			if open := level == export.Standard; err != nil || (info.Mode().Perm()&0o077 != 0) != open {
				t.Errorf("%s: mode %v, %v: others may read it: want %v", level, info.Mode(), err, open)
			}
		}
	}
}

// A reader that has the file open sees the state before a step or after it, and a
// file that somebody took away is noticed.
func TestLiveCopyBesideReaders(t *testing.T) {
	ctx := context.Background()
	l := liveLedger(t)
	path := filepath.Join(t.TempDir(), "usage.db")
	live, err := export.CreateLiveSQLite(ctx, path, l, export.Options{From: 5, To: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = live.Close() }()
	reader, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	count := func() (n int) {
		t.Helper()
		if err := reader.QueryRow("SELECT count(*) FROM record").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := count(); got != 2 {
		t.Errorf("%d records, want 2", got)
	}
	if err := live.Append(ctx, 12); err != nil {
		t.Fatal(err)
	}
	if got := count(); got != 7 {
		t.Errorf("%d records after a step, want 7", got)
	}
	if !live.InPlace() || live.Base() != 5 || live.Size() != 12 {
		t.Errorf("in place %v, base %d, size %d", live.InPlace(), live.Base(), live.Size())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if live.InPlace() {
		t.Error("a file that was removed is in place")
	}
	// A new one takes its name; whoever had the old one open keeps it.
	again, err := export.CreateLiveSQLite(ctx, path, l, export.Options{From: 5, To: 17})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if live.InPlace() || !again.InPlace() || count() != 7 {
		t.Errorf("old in place %v, new in place %v, the reader sees %d records, want 7", live.InPlace(), again.InPlace(), count())
	}
}

// A journal that a crash left belongs to the file beside it: the step that was
// not finished is taken back, and it never reaches a new file.
func TestLiveCopyAfterACrash(t *testing.T) {
	ctx := context.Background()
	l := liveLedger(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "usage.db")
	live, err := export.CreateLiveSQLite(ctx, path, l, export.Options{From: 5, To: 12})
	if err != nil {
		t.Fatal(err)
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	// The state of a crash within a step: pages are changed in the file, what they
	// were before stands in the journal.
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(delete)&_pragma=cache_size(1)&_pragma=cache_spill(1)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE; DELETE FROM record; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 5000) INSERT INTO record SELECT i, 'half written' FROM n"); err != nil {
		t.Fatal(err)
	}
	crashed := filepath.Join(dir, "crashed.db")
	for from, to := range map[string]string{path: crashed, path + "-journal": crashed + "-journal"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if live, err = export.CreateLiveSQLite(ctx, crashed, l, export.Options{From: 5, To: 17}); err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if _, err := os.Stat(crashed + "-journal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the journal of the crash is there: %v", err)
	}
	o := auditor(t)
	o.Accepted = []ledger.Checkpoint{l.At(5)}
	if r, err := export.VerifySQLite(ctx, crashed, o); err != nil || r.Size != 17 {
		t.Errorf("VerifySQLite = %v, %v, want size 17", r, err)
	}
}

// The cost of a step is that of its records, whatever the copy holds already.
func BenchmarkLiveCopyStep(b *testing.B) {
	for _, before := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(before), func(b *testing.B) {
			site := exporttest.NewSite()
			window := func() {
				cells := make([]exporttest.Cell, 100)
				for i := range cells {
					cells[i] = exporttest.Cell{Node: fmt.Sprintf("node-%03d", i), Meter: "render.pages", Events: []exporttest.Event{{Quantity: 1}}}
				}
				site.Window(cells...)
			}
			for range before / 100 {
				window()
			}
			site.Close()
			l := site.Ledger
			ctx := context.Background()
			begin := time.Now()
			live, err := export.CreateLiveSQLite(ctx, filepath.Join(b.TempDir(), "usage.db"), l, export.Options{To: l.Size()})
			if err != nil {
				b.Fatal(err)
			}
			defer live.Close()
			made := float64(l.Size()) / time.Since(begin).Seconds()
			b.ResetTimer()
			b.ReportMetric(made, "made-records/s")
			for range b.N {
				window()
				if err := live.Append(ctx, l.Size()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
