package projections_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/projections"
)

// What a commit writes depends on what is new, not on what an open cell holds:
// with 20,000 subjects and levels in it, one more costs what the first did.
func TestCommitWritesOnlyWhatIsNew(t *testing.T) {
	for _, meter := range []string{"users unique user 0 no 0", "level weighted GB 0 no 0", "pages sum page 0 no 0 d.format=public"} {
		id, _, _ := strings.Cut(meter, " ")
		w := newWorld(t, defaults, meter)
		fs := &countingFS{FS: w.fs}
		w.fs = fs
		w.reopen()
		n := 0
		add := func(count int) int64 {
			var evs []events.Event
			for range count {
				e := ev(fmt.Sprint(n), id, t0.Add(time.Duration(n)*time.Millisecond), int64(n%100))
				e.Detail = &events.Detail{User: fmt.Sprint("u", n), Dimensions: []events.Dimension{{Name: "format", Value: fmt.Sprint("v", n%500)}}}
				evs = append(evs, e)
				n++
			}
			before := fs.logged.Load()
			w.at(time.Minute).mustApply(usage("n1", evs...))
			w.sync()
			return fs.logged.Load() - before
		}
		add(1)
		first := add(1)
		add(20_000)
		if later := add(1); later > first+600 { // the frontier of the cell grows with the logarithm
			t.Errorf("%s: a commit of one event wrote %d bytes, with 20,000 before it %d", id, first, later)
		}
		w.reopen()
		if later := add(1); later > first+2000 {
			t.Errorf("%s: after a restart it wrote %d bytes", id, later)
		}
	}
}

// Levels that would take a meter out of int64 are refused when they come, or end
// where a window begins; the fold goes on, and so does a restart.
func TestWeightedOverflow(t *testing.T) {
	w := newWorld(t, defaults, "level weighted GB 0 no 0", "level2 weighted GB 0 no 0")
	most := int64(1<<62) / 86400
	if d := w.apply(usage("n1", ev("a", "level", t0, most+1))); d[0] != events.Overflow {
		t.Errorf("level %d: %v, want %v", most+1, d[0], events.Overflow)
	}
	ended := false
	for i := range 96 * 3 {
		w.at(time.Duration(i) * 15 * time.Minute)
		d := w.apply(usage("n1", ev(fmt.Sprint("b", i), "level", w.now, most)), control(fmt.Sprintf("alive n1 %d", w.now.UnixMilli())))
		ended = ended || d[0] == events.Overflow
		if i == 0 {
			w.mustApply(usage("n1", ev("c", "level2", w.now, most))) // once, and carried on from there
		}
		if i%50 == 49 {
			w.reopen()
		}
	}
	w.mustApply(control("close @ now"))
	if !ended {
		t.Error("no level was ever refused")
	}
	for _, id := range []string{"level", "level2"} {
		if got := w.total(id); got <= math.MaxInt64-math.MaxInt64/100 {
			t.Errorf("total of %s = %d, want nearly 2^63-1", id, got)
		}
	}
	w.check()
}

// Corrections up and down are bounded apart: they could cancel in the total and
// still take a part of it, such as one record, out of int64.
func TestCorrectionsOverflow(t *testing.T) {
	w := newWorld(t, defaults, "big sum unit 0 yes 0")
	w.mustApply(usage("n1", ev("x", "big", t0, 0), ev("y", "big", t0, 0)))
	amend := func(id, ref string, q int64, want events.Disposition) {
		t.Helper()
		e := correction(id, "big", events.KindAmend, ref, q)
		if q < 0 {
			e = correction(id, "big", events.KindVoid, ref, 0)
		}
		if got := w.apply(usage("n1", e))[0]; got != want {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
	}
	amend("c1", "x", math.MaxInt64, events.Stored)
	amend("c2", "x", -1, events.Stored)
	w.reopen()
	amend("c3", "y", math.MaxInt64, events.Overflow)
	amend("c4", "y", 0, events.Stored)
	w.at(time.Hour).mustApply(control("close @ now"))
	row := w.usage(projections.Query{Span: projections.SpanTotal})[0]
	if row.Quantity != 0 || row.Adjusted != 0 {
		t.Errorf("row %+v, want 0 adjusted by 0", row)
	}
	w.check()
}

// Values of a dimension beyond the cap are counted together, and which ones does
// not depend on when the store was synced.
func TestDimensionCap(t *testing.T) {
	build := func(sync bool) map[string]int64 {
		w := newWorld(t, defaults, "pages sum page 0 no 0 d.format=public")
		for i := range 1500 {
			e := ev(fmt.Sprint(i), "pages", t0, 1)
			e.Detail = &events.Detail{Dimensions: []events.Dimension{{Name: "format", Value: fmt.Sprint("v", i%1200)}}}
			w.mustApply(usage("n1", e))
			if sync && i%100 == 0 {
				w.reopen()
			}
		}
		out := map[string]int64{}
		for _, r := range w.usage(projections.Query{Span: projections.SpanTotal, By: "format"}) {
			out[r.Value] = r.Quantity
		}
		return out
	}
	once, often := build(false), build(true)
	if diff := cmp.Diff(once, often); diff != "" {
		t.Errorf("values (-at once +with syncs):\n%s", diff)
	}
	if len(once) != 1001 || once["(other)"] != 200 {
		t.Errorf("%d values, %d events in (other); want 1001 and 200", len(once), once["(other)"])
	}
}

// Nothing follows retire: not a window that closes, not a refusal, not a close.
func TestNothingFollowsRetire(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.mustApply(usage("n1", ev("a", "render.pages", t0, 1)), control("close @ now"), control("retire @ moved"))
	size := w.sync().Size
	for i := range 5 {
		w.at(time.Duration(i+1) * 13 * time.Hour)
		if d := w.apply(usage("n1", ev(fmt.Sprint("b", i), "render.pages", w.now, 1)))[0]; d != events.Retired {
			t.Errorf("event after retire: %v, want %v", d, events.Retired)
		}
		w.apply(control("close @ now"), events.Run{Form: events.FormRefusals, Node: "n1", Refusals: []events.Refusal{{Reason: "malformed", Count: 1}}})
	}
	if got := w.sync().Size; got != size {
		t.Errorf("%d records after retire, want %d", got, size)
	}
	if got := w.records()[size-1]; !strings.HasPrefix(got, "retire ") {
		t.Errorf("last record %q, want retire", got)
	}
}

// A clock that jumps by ten years costs the windows that hold something, and is
// told as a gap.
func TestClockJumps(t *testing.T) {
	w := newWorld(t, defaults, pages)
	for i := range 50 {
		w.mustApply(usage(fmt.Sprint("n", i), ev("a", "render.pages", t0, 1)))
	}
	w.at(10 * 365 * 24 * time.Hour).mustApply(usage("n1", ev("b", "render.pages", w.now, 1)))
	w.at(10*365*24*time.Hour + time.Hour).mustApply(control("close @ now"))
	if got := len(w.recordsOf("gap")); got < 50 || got > 150 {
		t.Errorf("%d gap records, want one or two for each of 50 nodes", got)
	}
	if got := w.total("render.pages"); got != 51 {
		t.Errorf("total = %d, want 51", got)
	}
	w.check()
}

// O-10: a correction counts up to the undo interval of its meter, and not a
// millisecond longer; a meter without one takes them as long as its ids live.
func TestO10UndoInterval(t *testing.T) {
	w := newWorld(t, defaults, "hour sum unit 0 yes 3600", "open sum unit 0 yes 0", "never sum unit 0 no 0")
	for _, m := range []string{"hour", "open", "never"} {
		w.mustApply(usage("n1", ev(m+"1", m, t0, 5), ev(m+"2", m, t0, 5)))
	}
	void := func(meter, ref string) events.Disposition {
		return w.apply(usage("n1", correction("void "+ref, meter, events.KindVoid, ref, 0)))[0]
	}
	for _, c := range []struct {
		after       time.Duration
		meter, ref  string
		disposition events.Disposition
	}{
		{time.Hour, "hour", "hour1", events.Stored},
		{time.Hour + time.Millisecond, "hour", "hour2", events.UndoOver},
		{time.Hour + time.Millisecond, "never", "never1", events.CorrectionNotAllowed},
		{34 * 24 * time.Hour, "open", "open1", events.Stored},
	} {
		w.at(c.after)
		if got := void(c.meter, c.ref); got != c.disposition {
			t.Errorf("void of %s after %v: %v, want %v", c.ref, c.after, got, c.disposition)
		}
	}
	w.mustApply(control("close @ now"))
	w.check()
}

// A store whose ledger is shorter than a checkpoint that was signed does not
// open: something took it back.
func TestShorterThanSigned(t *testing.T) {
	w := newWorld(t, defaults, pages)
	w.at(time.Hour).mustApply(usage("n1", ev("a", "render.pages", t0, 1)), control("close @ now"))
	w.sync()
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	editStore(t, w, "s", func(v []byte) []byte { v[7] -= 2; return v })
	_, err := projections.Open(w.options())
	if !errors.Is(err, projections.ErrDamaged) {
		t.Errorf("open: %v, want %v", err, projections.ErrDamaged)
	}
	w.store, err = projections.Open(projections.Options{Dir: "other", FS: w.fs})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.store.Sync(context.Background())
}

// A ledger has at most 65,536 nodes: events of one more are refused and counted
// as of an unknown sender; those that it knows go on, also after a restart.
func TestNodesAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("65,536 nodes take a minute under the race detector, and nothing of it runs at once")
	}
	w := newWorld(t, defaults, pages)
	for first := 0; first < ledger.NodesMax; first += 8192 {
		var runs []events.Run
		for i := range 8192 {
			runs = append(runs, control(fmt.Sprintf("alive n%06d %d", first+i, t0.UnixMilli())))
		}
		w.mustApply(runs...)
	}
	for range 2 {
		d := w.apply(usage("one-more", ev("a", "render.pages", t0, 1)), usage("n000007", ev(fmt.Sprint(len(w.groups)), "render.pages", t0, 1)),
			batch("two-more", 1, 0, ev("", "render.pages", t0, 1)), control("alive three-more 5"), control("lost four-more 1 0 5"),
			events.Run{Form: events.FormRefusals, Node: "five-more", Refusals: []events.Refusal{{Reason: "malformed", Count: 3}}})
		if diff := cmp.Diff([]events.Disposition{events.NodesFull, events.Stored, events.NodesFull}, d); diff != "" {
			t.Error(diff)
		}
		w.reopen()
	}
	s := w.store.Status()
	if len(s.Nodes) != ledger.NodesMax || s.Rejected[events.CodeNodesFull] != 4 || s.Rejected["malformed"] != 6 {
		t.Errorf("%d nodes, rejected %v, want %d and 4", len(s.Nodes), s.Rejected, ledger.NodesMax)
	}
	w.at(time.Hour).mustApply(control("close @ now"))
	w.sync()
	if got := w.recordsOf("reject"); len(got) != 2 || !strings.Contains(got[1], "reject - ") || !strings.HasSuffix(got[1], " rejected nodes_full 4") {
		t.Errorf("reject records %q", got)
	}
	w.check()
}
