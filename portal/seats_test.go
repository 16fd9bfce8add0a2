package portal_test

import (
	"slices"
	"testing"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
)

// seats appends the record of a pool in the window that is about to close.
func useSeats(s *site, pool string, start, peak, seconds, denied uint64) {
	from := s.Until()
	s.Append(&ledger.Seat{Pool: pool, From: from, To: from + 900, Start: start, Peak: peak, Seconds: seconds, Denied: denied, Count: peak + denied, Root: ledger.Hash{1}})
	s.Window()
}

// X-11, O-17: a statement has of each pool the most seats at once, seat-seconds and
// refusals, with the records that prove them, on the day of their booking; what was
// reported twice counts once.
func TestPoolStatement(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s := v.Open(v.Issue(portal.LicenseSpec{ID: "L-1"}), "a")
		s.Send()
		month := func(m time.Month) []portal.PoolRow {
			rows, err := v.PoolStatement(t0, time.Date(2026, m, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, m+1, 1, 0, 0, 0, 0, time.UTC), portal.StatementFilter{License: "L-1"})
			v.Must(err)
			return rows
		}
		useSeats(s, "editor", 0, 3, 1200, 1)
		useSeats(s, "editor", 2, 2, 1800, 0)
		useSeats(s, "viewer", 0, 7, 90, 0)
		s.Close()
		report := s.Report()
		s.Send()
		if again := v.Takes(report); !again.Duplicate {
			t.Errorf("the same report again = %+v, want a duplicate", again)
		}
		first, other := s.RecordOf("seat editor", 0), s.RecordOf("seat viewer", 0)
		useSeats(s, "editor", 0, 1, 10, 4)
		s.SkipTo(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
		s.Close()
		a := s.Send()
		last := s.RecordOf("seat editor", 2)
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
		useSeats(s, "editor", 0, 9, 900, 0)
		s.Close()
		s.Send()
		if after := month(11); !slices.Equal(after, november) {
			t.Errorf("November was %+v, is %+v", november, after)
		}
		if d := month(12); len(d) != 1 || d[0].Peak != 9 || d[0].Seconds != 900 || d[0].Complete {
			t.Errorf("December = %+v, want 9 at once, 900 s, not complete", d)
		}
		none, err := v.PoolStatement(t0, time.Unix(0, 0), time.Unix(1<<32, 0), portal.StatementFilter{Meter: "render.pages"})
		v.Must(err)
		if len(none) != 0 {
			t.Errorf("pools of one meter = %+v, want none", none)
		}
	})
}
