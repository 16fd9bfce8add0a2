package portal_test

import (
	"strings"
	"testing"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/portal"
)

// many is a ledger of several reports, with late and corrected use on two days.
func many(v *vendor) *site {
	s, _ := v.Ready("L-1")
	s.Use(5, 6, 7).Send()
	begin := s.Until()
	s.SkipTo(time.Unix(begin, 0).Add(24 * time.Hour))
	s.Use(8).Send()
	s.Late(cell("node-01", 2), begin-900)
	s.Adjust("node-01", "render.pages", begin-900, -3, "test_run")
	s.Window(cell("node-01", 1), cell("node-02", 9))
	s.Close()
	s.Send()
	return s
}

// Ecosystem 4.2, O-29: from a billed number to the records that prove it. Each
// row of a statement is what its records come to when they are added up again.
func TestRecordsBehindEveryBilledNumber(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s := many(v)
		from, to := time.Unix(s.Until(), 0).AddDate(0, 0, -3), time.Unix(s.Until(), 0).AddDate(0, 0, 3)
		for _, period := range []string{"daily", "monthly"} {
			rows, err := v.Statement(t0, from, to, portal.StatementFilter{Period: license.Reset(period)})
			v.Must(err)
			if len(rows) == 0 {
				t.Fatalf("no %s rows", period)
			}
			for _, row := range rows {
				got, err := v.Records(t0, s.Ledger.Name, portal.RecordsFilter{Meter: row.Meter, From: row.From, To: row.To})
				v.Must(err)
				if !got.Equal || got.Sum.Value != row.Quantity || got.Sum.Events != row.Events || got.Sum.Late != row.Late || got.Sum.Adjusted != row.Adjusted {
					t.Errorf("Records of %s %s to %s = %+v, want what the row has: %+v", row.Meter, row.From, row.To, got.Sum, row)
				}
				for _, r := range got.Items {
					if s.Ledger.Lines[r.Index] != r.Line {
						t.Errorf("record %d = %q, want %q", r.Index, r.Line, s.Ledger.Lines[r.Index])
					}
				}
			}
		}
		all := portal.RecordsFilter{Meter: "render.pages", From: from, To: to}
		got, err := v.Records(t0, s.Ledger.Name, all)
		v.Must(err)
		if got.Sum.Value != 3+4+5+6+7+8+2+1+9 || got.Sum.Late != 2 || got.Sum.Adjusted != -3 || len(got.Items) != 10 {
			t.Errorf("all records = %+v, %d of them, want 45 with 2 late and −3 corrected in 10 records", got.Sum, len(got.Items))
		}
		var pages []uint64
		for all.Limit = 4; ; {
			p, err := v.Records(t0, s.Ledger.Name, all)
			v.Must(err)
			if p.Sum != got.Sum {
				t.Errorf("the sum of a page is %+v, want that of all: %+v", p.Sum, got.Sum)
			}
			for _, r := range p.Items {
				pages = append(pages, r.Index)
			}
			if all.After = p.Next; p.Next == 0 {
				break
			}
		}
		if len(pages) != 10 {
			t.Errorf("pages of four give records %v, want 10", pages)
		}
		if p, err := v.Records(t0, s.Ledger.Name, portal.RecordsFilter{Meter: "none", From: from, To: to}); err != nil || len(p.Items) != 0 || !p.Equal {
			t.Errorf("records of no meter = %+v, %v, want none", p, err)
		}
	})
}

// A book that says something else than its records is found.
func TestRecordsFindABookThatIsWrong(t *testing.T) {
	v := newVendor(t, "")
	s := many(v)
	v.Must(v.Exec(t0, "UPDATE usage_days SET value = value + 1 WHERE value = 8"))
	f := portal.RecordsFilter{Meter: "render.pages", From: time.Unix(s.Until(), 0).AddDate(0, 0, -3), To: time.Unix(s.Until(), 0).AddDate(0, 0, 3)}
	if got, err := v.Records(t0, s.Ledger.Name, f); err != nil || got.Equal || got.Booked.Value != got.Sum.Value+1 {
		t.Errorf("Records = %+v, %v, want the sum and the book apart by one", got, err)
	}
}

// O-14, O-29: every accepted record is proven under a checkpoint that both sides
// have signed, in a form that programs for transparency logs check.
func TestEveryRecordIsProven(t *testing.T) {
	v := newVendor(t, "")
	s := many(v)
	l, err := v.Ledger(t0, s.Ledger.Name)
	v.Must(err)
	site, err := ledger.ParseVerifier(l.Keys[0], ledger.RoleSite)
	v.Must(err)
	vendorKey, err := ledger.ParseVerifier(v.ReceiptKeys()[0], ledger.RoleReceipt)
	v.Must(err)
	for i := range l.Size {
		got, err := v.ProveRecord(t0, l.Origin, i)
		if err != nil {
			t.Fatalf("ProveRecord(%d) = %v", i, err)
		}
		proof, err := ledger.ParseRecordProof([]byte(got.Text))
		v.Must(err)
		if proof.Index != i || got.Line != s.Ledger.Lines[i] || got.Size <= i {
			t.Errorf("ProveRecord(%d) = index %d of size %d, %q", i, proof.Index, got.Size, got.Line)
		}
		if _, err := proof.Verify(got.Line, site, vendorKey); err != nil {
			t.Errorf("the proof of record %d does not verify: %v", i, err)
		}
		if _, err := proof.Verify(strings.Replace(got.Line, " ", "  ", 1), site); err == nil {
			t.Errorf("the proof of record %d proves another line too", i)
		}
	}
	if _, err := v.ProveRecord(t0, l.Origin, l.Size); code(err) != portal.CodeNotFound {
		t.Errorf("ProveRecord beyond the end = %v, want not_found", err)
	}
}

// P-18: a refused report beside what was accepted, day by day.
func TestDaysOfTwoHistories(t *testing.T) {
	v := newVendor(t, "")
	s, _ := v.Ready("L-1")
	copied := &site{Site: s.Clone(), V: v, Base: s.Base}
	s.Use(5, 6).Send()
	a := v.Refuses("history/fork", copied.Use(5, 9).Report())
	days, err := v.CompareDays(t0, a.ReportID)
	v.Must(err)
	if len(days) != 1 || days[0].Day != "2026-11-02" || days[0].Accepted != 11 || days[0].Reported != 14 || !days[0].Differs() {
		t.Errorf("CompareDays = %+v, want 11 accepted and 14 reported on one day", days)
	}
	lines, err := v.FileRecords(t0, a.ReportID, s.Base-2, 1)
	v.Must(err)
	if len(lines) != 1 || lines[0].Index != s.Base-2 && lines[0].Index < copied.Base {
		t.Errorf("FileRecords = %+v", lines)
	}
	at, err := v.RecordsAt(t0, a.Origin, 3, 4)
	v.Must(err)
	if len(at) != 4 || at[0].Index != 3 || at[3].Line != s.Ledger.Lines[6] {
		t.Errorf("RecordsAt(3, 4) = %+v, want records 3 to 6", at)
	}
}
