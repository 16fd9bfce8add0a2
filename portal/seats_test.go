package portal_test

import (
	"slices"
	"testing"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
)

// seats appends the record of a pool in the window that is about to close.
func (s *site) seats(pool string, start, peak, seconds, denied uint64) {
	from := s.Until()
	s.Append(&ledger.Seat{Pool: pool, From: from, To: from + 900, Start: start, Peak: peak, Seconds: seconds, Denied: denied, Count: peak + denied, Root: ledger.Hash{1}})
	s.Window()
}

// X-11, O-17: a statement has of each pool the most seats at once, seat-seconds and
// refusals, with the records that prove them, on the day of their booking; what was
// reported twice counts once.
func TestPoolStatement(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s := v.open(v.issue(portal.LicenseSpec{ID: "L-1"}), "a")
		s.send()
		month := func(m time.Month) []portal.PoolRow {
			rows, err := v.PoolStatement(t0, time.Date(2026, m, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, m+1, 1, 0, 0, 0, 0, time.UTC), portal.StatementFilter{License: "L-1"})
			v.must(err)
			return rows
		}
		s.seats("editor", 0, 3, 1200, 1)
		s.seats("editor", 2, 2, 1800, 0)
		s.seats("viewer", 0, 7, 90, 0)
		s.Close()
		report := s.report()
		s.send()
		if again := v.takes(report); !again.Duplicate {
			t.Errorf("the same report again = %+v, want a duplicate", again)
		}
		first, other := s.recordOf("seat editor", 0), s.recordOf("seat viewer", 0)
		s.seats("editor", 0, 1, 10, 4)
		s.skipTo(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
		s.Close()
		a := s.send()
		last := s.recordOf("seat editor", 2)
		november := month(11)
		if len(november) != 2 {
			t.Fatalf("November = %+v, want two pools", november)
		}
		x := november[0]
		if x.Pool != "editor" || x.Peak != 3 || x.Seconds != 3010 || x.Denied != 5 || x.FirstRecord != first || x.LastRecord != last || !x.Complete ||
			x.Report != a.ReportID || x.Ledger != s.Ledger.Name || x.License != "L-1" || x.Customer != "acme" {
			t.Errorf("editor in November = %+v, want 3 at once, 3,010 s, 5 refused in the records %d to %d", x, first, last)
		}
		if y := november[1]; y.Pool != "viewer" || y.Peak != 7 || y.Seconds != 90 || y.Denied != 0 || y.FirstRecord != other || y.LastRecord != other {
			t.Errorf("viewer in November = %+v, want 7 at once, 90 s in record %d", y, other)
		}
		s.seats("editor", 0, 9, 900, 0)
		s.Close()
		s.send()
		if after := month(11); !slices.Equal(after, november) {
			t.Errorf("November was %+v, is %+v", november, after)
		}
		if d := month(12); len(d) != 1 || d[0].Peak != 9 || d[0].Seconds != 900 || d[0].Complete {
			t.Errorf("December = %+v, want 9 at once, 900 s, not complete", d)
		}
		none, err := v.PoolStatement(t0, time.Unix(0, 0), time.Unix(1<<32, 0), portal.StatementFilter{Meter: "render.pages"})
		v.must(err)
		if len(none) != 0 {
			t.Errorf("pools of one meter = %+v, want none", none)
		}
	})
}
