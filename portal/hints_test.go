package portal_test

import (
	"slices"
	"testing"
	"time"

	"github.com/meterseal/meterseal/export/exporttest"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/portal"
)

// day uses some pages in a window of the day and lets the rest of it pass; 0:
// none.
func useDay(s *site, pages int64) {
	var cells []exporttest.Cell
	if pages > 0 {
		cells = []exporttest.Cell{{Node: "node-01", Meter: "render.pages", Events: []exporttest.Event{{OffsetMS: 1000, Quantity: pages, ID: "e"}}}}
	}
	end := (s.Until()/86_400 + 1) * 86_400
	s.Window(cells...)
	s.SkipTo(time.Unix(end, 0))
}

// hints returns the hints of an accepted report.
func hintsOf(v *vendor, id string) *portal.Hints {
	v.T.Helper()
	h, err := v.Hints(t0, id)
	if err != nil {
		v.T.Fatal(err)
	}
	return h
}

// Y-09: the site's times stand beside the vendor's, with its clock records; none
// of it changes a verdict.
func TestHintsOfTime(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s := v.Open(v.Issue(portal.LicenseSpec{ID: "L-1"}), "a")
		h := hintsOf(v, s.Send().ReportID)
		if !h.SeenAfter.IsZero() || !h.SeenBy.Equal(v.Clock.Now()) || len(h.Clocks) != 0 || h.AheadS != 60 {
			t.Errorf("hints of the first report %+v, want that nothing was seen before it, and its boot a minute ahead", h)
		}
		from := s.Until()
		v.Clock.Set(time.Unix(from, 0))
		s.Use().Send()
		from = s.Until()
		before := v.Clock.Now()
		boot := s.Now()
		s.Append(&ledger.Clock{Time: boot, Step: -300, Cause: ledger.ClockStep})
		s.Append(&ledger.Clock{Time: boot + 10, Step: 90, Cause: ledger.ClockNode})
		s.SkipTo(time.Unix(from, 0).Add(5 * time.Hour))
		v.Clock.Set(time.Unix(from, 0).Add(4 * time.Hour)) // the site's last window ends an hour after we have its file
		s.Use()
		a := s.Send()
		if a.Code != "ok" {
			t.Errorf("verdict %s, want ok: hints decide nothing", a.Code)
		}
		h = hintsOf(v, a.ReportID)
		if h.SiteFrom.Unix() != from || h.SiteUntil.Unix() != s.Until() || !h.SeenAfter.Equal(before) || !h.SeenBy.Equal(v.Clock.Now()) {
			t.Errorf("times %+v, want windows from %d to %d, seen after %v by %v", h, from, s.Until(), before, v.Clock.Now())
		}
		if h.FirstRecord.Unix() > boot || h.LastRecord.Unix() < s.Until() || h.AheadS < 3600 || h.AheadS > 3600+120 {
			t.Errorf("first record %v, last %v, ahead by %d s, want %d at most, %d at least, an hour", h.FirstRecord, h.LastRecord, h.AheadS, boot, s.Until())
		}
		if len(h.Clocks) != 2 || h.ClockRecords != 2 || h.Clocks[0].StepS != -300 || h.Clocks[1].StepS != 90 || h.Clocks[1].Cause != ledger.ClockNode ||
			h.Clocks[0].Time.Unix() != boot {
			t.Errorf("clock records %+v, want -300 at %d and 90", h.Clocks, boot)
		}
	})
}

// Y-09: a drop and a plateau are named with their days, and a report that came
// before them keeps its hints.
func TestHintsOfUse(t *testing.T) {
	onBoth(t, func(t *testing.T, v *vendor) {
		s, _ := v.Ready("L-1")
		for i := range 35 {
			useDay(s, 100+int64(i*7%13))
		}
		s.Close()
		v.Clock.Set(time.Unix(s.Until(), 0))
		usual := s.Send()
		if h := hintsOf(v, usual.ReportID); len(h.Usage) != 0 {
			t.Errorf("usual days have hints: %+v", h.Usage)
		}
		from := dayOf(s.Until())
		useDay(s, 3)
		useDay(s, 0)
		for range 6 {
			useDay(s, 90)
		}
		s.Close()
		v.Clock.Set(time.Unix(s.Until(), 0))
		a := s.Send()
		h := hintsOf(v, a.ReportID)
		if a.Code != "ok" || len(h.Usage) != 2 {
			t.Fatalf("%s, %+v, want ok with a drop and a plateau", a.Code, h.Usage)
		}
		drop, plateau := h.Usage[0], h.Usage[1]
		if drop.Kind != portal.HintDrop || !drop.From.Equal(from) || drop.Days != 2 || drop.Use != 3 || drop.Usual < 200 || drop.Usual > 226 {
			t.Errorf("drop %+v, want 3 in two days from %v, usually about 212", drop, from)
		}
		if plateau.Kind != portal.HintPlateau || !plateau.From.Equal(from.Add(2*day)) || !plateau.To.Equal(from.Add(8*day)) || plateau.Days != 6 || plateau.Use != 540 {
			t.Errorf("plateau %+v, want six days of 90", plateau)
		}
		if h := hintsOf(v, usual.ReportID); len(h.Usage) != 0 {
			t.Errorf("what came later gave an earlier report hints: %+v", h.Usage)
		}
	})
}

func dayOf(at int64) time.Time { return time.Unix(at/86_400*86_400, 0).UTC() }

// Y-09: a refused report has its times, and no days of its own.
func TestHintsOfRefused(t *testing.T) {
	v := newVendor(t, "")
	s, _ := v.Ready("L-1")
	other := &site{Site: s.Clone(), V: v, Base: s.Base}
	s.Use(5).Send()
	a := v.Refuses("history/fork", other.Use(6).Report())
	if h := hintsOf(v, a.ReportID); h.SiteUntil.Unix() != other.Until() || h.SeenAfter.IsZero() || len(h.Usage) != 0 {
		t.Errorf("hints %+v, want the times of the refused report", h)
	}
	if _, err := v.Hints(t0, "r-none"); code(err) != portal.CodeNotFound {
		t.Errorf("Hints(r-none) = %v, want not_found", err)
	}
}

// Y-09: the borders of what is odd.
func TestOddUse(t *testing.T) {
	weeks := func(n int, week ...int64) (out []int64) {
		for range n {
			out = append(out, week...)
		}
		return out
	}
	varied := func(n int) (out []int64) {
		for i := range n {
			out = append(out, int64(100+i*7%13))
		}
		return out
	}
	var wild []int64
	for _, u := range []int64{100, 9000, 4000, 8000, 200, 4} {
		wild = append(wild, u, u, u, u, u, u, u)
	}
	week := []int64{100, 101, 99, 100, 98, 10, 0}
	for _, c := range []struct {
		name string
		days []int64
		kind string
		n    int // days of the hint
	}{
		{"none", nil, "", 0},
		{"weekends are no drop", weeks(9, week...), "", 0},
		{"half is no drop", append(varied(35), 53), "", 0},
		{"less than half", append(varied(35), 40), portal.HintDrop, 1},
		{"none for a week", append(varied(35), 0, 0, 0, 0, 0, 0, 0), portal.HintDrop, 7},
		{"three weeks before say nothing", append(varied(27), 0), "", 0},
		{"four weeks before do", append(varied(28), 0), portal.HintDrop, 1},
		{"weeks that always differed widely", wild, "", 0},
		{"small numbers vary", weeks(5, 7, 3, 9, 6, 3, 8, 2, 7, 8, 2, 9, 9, 5, 7), "", 0},
		{"four equal days", append(varied(35), 90, 90, 90, 90), "", 0},
		{"five equal days", append(varied(35), 90, 90, 90, 90, 90), portal.HintPlateau, 5},
		{"it was always so", weeks(6, 90, 90, 90, 90, 90, 90, 90), "", 0},
		{"13 days before say nothing", append(varied(13), 90, 90, 90, 90, 90), "", 0},
		{"the largest numbers", append(weeks(5, 1<<62, 1<<62, 1<<62, 1<<62, 1<<62, 1<<62, 1<<62), 0, 0, 0), portal.HintDrop, 3},
	} {
		hints := portal.OddUse("m", c.days)
		got := slices.ContainsFunc(hints, func(h portal.UsageHint) bool { return h.Kind == c.kind && h.Days == c.n && h.Use >= 0 && h.Usual > 0 })
		if c.kind == "" && len(hints) > 0 || c.kind != "" && !got {
			t.Errorf("%s: %+v, want %q of %d days", c.name, hints, c.kind, c.n)
		}
	}
}
