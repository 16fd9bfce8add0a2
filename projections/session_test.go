package projections_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/projections"
)

// Meters whose events can be in a session, and one whose cannot.
const (
	fixable = "render.pages sum page 0 yes 0"
	counted = "renders count unit 0 yes 0"
	fixed   = "fixed sum page 0 no 0"
)

// in makes an event part of a session.
func in(session string, e events.Event) events.Event {
	e.Detail = &events.Detail{Session: session}
	return e
}

func revert(t testing.TB, name string) events.Run {
	t.Helper()
	line, err := projections.RevertLine(name, "wrong file, 100 %", "kim ö")
	if err != nil {
		t.Fatalf("RevertLine(%q): %v", name, err)
	}
	return control(line)
}

// session returns the named session and what it counts of a meter.
func (w *world) session(name, meter string) (projections.Session, projections.SessionMeter) {
	w.t.Helper()
	s, _, err := w.store.Session(name)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range s.Meters {
		if m.Meter.ID == meter {
			return s, m
		}
	}
	return s, projections.SessionMeter{}
}

// backfill is a story: a session with events in an open and in a closed window
// of three nodes, one of which numbers its events, and two meters; one of them voided and one amended before the
// session is taken back.
func backfill(w *world, step func()) {
	w.t.Helper()
	w.at(2 * time.Hour).mustApply(usage("n1", ev("live", "render.pages", t0.Add(2*time.Hour), 1)))
	step()
	late, now := t0.Add(5*time.Minute), t0.Add(2*time.Hour)
	w.mustApply(usage("n1", in("july", ev("a", "render.pages", late, 10)), in("july", ev("b", "render.pages", late, 20)), in("july", ev("c", "render.pages", now, 40)),
		in("july", ev("d", "renders", late, 7)), ev("e", "render.pages", late, 3)),
		usage("n2", in("july", ev("a", "render.pages", late, 5)), in("july", ev("f", "renders", now, 1))),
		batch("n3", 1, 0, in("july", ev("a", "render.pages", late, 2)), ev("", "render.pages", late, 4)))
	step()
	w.at(2*time.Hour + time.Minute).mustApply(usage("n1", correction("c1", "render.pages", events.KindVoid, "a", 0), correction("c2", "render.pages", events.KindAmend, "b", 25)))
	step()
	w.at(4 * time.Hour).mustApply(revert(w.t, "july"))
	step()
	w.at(5*time.Hour).mustApply(usage("n1", ev("after", "render.pages", t0.Add(5*time.Hour), 100)), control("close @ now"))
	step()
}

// Y-06: a backfill is booked beside live usage, and taken back by one void per
// event that still counts. Original, correction and net stay three numbers.
func TestY06SessionIsReverted(t *testing.T) {
	w := newWorld(t, defaults, fixable, counted, fixed)
	backfill(w, func() {})
	late := func(node, meter, agg string, count, value int) string {
		return fmt.Sprintf("late %s %s %s %d %d %d %d", node, meter, agg, t0.Unix(), t0.Unix()+900, count, value)
	}
	adjust := func(node, meter, agg string, from time.Duration, dcount, dvalue int, reason string, count int) string {
		return fmt.Sprintf("adjust %s %s %s %d %d %d %d %s %d", node, meter, agg, t0.Add(from).Unix(), t0.Add(from).Unix()+900, dcount, dvalue, reason, count)
	}
	want := []string{
		late("n1", "render.pages", "sum", 1, 3), // not part of the session
		late("n1", "render.pages", "sum", 2, 30) + " session=july",
		late("n1", "renders", "count", 1, 1) + " session=july",
		late("n2", "render.pages", "sum", 1, 5) + " session=july",
		late("n3", "render.pages", "sum", 1, 4),
		late("n3", "render.pages", "sum", 1, 2) + " session=july",
		adjust("n1", "render.pages", "sum", 0, 0, 5, "amend", 1), // single corrections
		adjust("n1", "render.pages", "sum", 0, -1, -10, "void", 1),
		adjust("n1", "render.pages", "sum", 0, -1, -25, "void", 1) + " session=july",
		adjust("n1", "render.pages", "sum", 2*time.Hour, -1, -40, "void", 1) + " session=july",
		adjust("n1", "renders", "count", 0, -1, -1, "void", 1) + " session=july",
		adjust("n2", "render.pages", "sum", 0, -1, -5, "void", 1) + " session=july",
		adjust("n2", "renders", "count", 2*time.Hour, -1, -1, "void", 1) + " session=july",
		adjust("n3", "render.pages", "sum", 0, -1, -2, "void", 1) + " session=july",
	}
	var got []string
	for _, line := range append(w.recordsOf("late"), w.recordsOf("adjust")...) {
		f := strings.Fields(line)
		switch f[0] {
		case "late": // without booking numbers and root
			f = append(f[:8], f[11:]...)
		case "adjust":
			f = append(f[:10], f[11:]...)
		}
		got = append(got, strings.Join(f, " "))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
	s, pages := w.session("july", "render.pages")
	if !s.Reverted || s.Events != 7 || s.Reason != "wrong file, 100 %" || s.Actor != "kim ö" || !s.RevertedAt.Equal(t0.Add(4*time.Hour)) || !s.First.Equal(t0.Add(2*time.Hour)) {
		t.Errorf("session = %+v, want reverted at 12:00 with 7 events", s)
	}
	if pages.Events != 5 || pages.Quantity != 77 || pages.Adjusted != -77 || pages.Net() != 0 {
		t.Errorf("session counts %d events of render.pages, %d adjusted %d, want 5, 77 and -77", pages.Events, pages.Quantity, pages.Adjusted)
	}
	if _, n := w.session("july", "renders"); n.Events != 2 || n.Quantity != 2 || n.Adjusted != -2 {
		t.Errorf("session counts %d renders, %d adjusted %d, want 2, 2 and -2", n.Events, n.Quantity, n.Adjusted)
	}
	row := w.usage(projections.Query{Span: projections.SpanTotal, Meter: "render.pages"})[0]
	if row.Quantity != 185 || row.Adjusted != -77 {
		t.Errorf("render.pages: quantity %d adjusted %d, want 185 and -77", row.Quantity, row.Adjusted)
	}
	w.check()
}

// Taking a session back again changes nothing, whether it is asked for twice in
// one group or much later.
func TestRevertTwice(t *testing.T) {
	w := newWorld(t, defaults, fixable)
	w.mustApply(usage("n1", in("july", ev("a", "render.pages", t0, 10))))
	w.mustApply(revert(t, "july"), revert(t, "july"))
	first, _ := w.session("july", "render.pages")
	w.at(time.Hour).mustApply(revert(t, "july"))
	w.at(2 * time.Hour).mustApply(control("close @ now"))
	if again, _ := w.session("july", "render.pages"); !cmp.Equal(first, again) {
		t.Errorf("session after a second revert %+v, want %+v", again, first)
	}
	if got := w.recordsOf("adjust"); len(got) != 1 {
		t.Errorf("adjust records %q, want one", got)
	}
	w.check()
}

func TestSessionRefuses(t *testing.T) {
	w := newWorld(t, defaults, fixable, fixed, "level weighted GB 0 yes 0", "top max page 0 no 0")
	w.mustApply(usage("n1", ev("live", "render.pages", t0, 1), in("done", ev("a", "render.pages", t0, 10))), revert(t, "done"))
	for _, c := range []struct {
		name string
		run  events.Run
		want events.Disposition
	}{
		{"event of a reverted session", usage("n1", in("done", ev("b", "render.pages", t0, 1))), events.SessionReverted},
		{"numbered event of it", batch("n9", 1, 0, in("done", ev("b", "render.pages", t0, 1))), events.SessionReverted},
		{"the same event again", usage("n1", in("done", ev("a", "render.pages", t0, 10))), events.SessionReverted},
		{"the same event in a new session", usage("n1", in("next", ev("a", "render.pages", t0, 10))), events.SessionReverted},
		{"the same event from its node", usage("n1", ev("a", "render.pages", t0, 10)), events.Duplicate},
		{"what came live before", usage("n1", in("next", ev("live", "render.pages", t0, 1))), events.Duplicate},
		{"a voided event is not corrected", usage("n1", correction("c1", "render.pages", events.KindVoid, "a", 0)), events.UnknownRef},
		{"meter without corrections", usage("n1", in("next", ev("f", "fixed", t0, 1))), events.CorrectionNotAllowed},
		{"level", usage("n1", in("next", ev("l", "level", t0, 1))), events.CorrectionNotAllowed},
		{"older than the horizon", usage("n1", in("next", ev("o", "render.pages", t0.Add(-36*24*time.Hour), 1))), events.Quarantined},
	} {
		if got := w.apply(c.run)[0]; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if _, _, err := w.store.Session("next"); err == nil {
		t.Error("a session without a stored event is known, want not found")
	}
	w.mustApply(revert(t, "unknown")) // stays without effect
	w.at(2 * time.Hour).mustApply(control("close @ now"))
	w.check()
}

// O-10: a session is taken back within the undo interval of its meters, counted
// from when it began, however old what it brought is.
func TestO10UndoOfSession(t *testing.T) {
	w := newWorld(t, defaults, "render.pages sum page 0 yes 3600")
	w.at(48 * time.Hour).mustApply(usage("n1", in("july", ev("a", "render.pages", t0, 10)), in("june", ev("b", "render.pages", t0, 10))))
	if _, e, err := w.store.Session("july"); e != nil || err != nil {
		t.Errorf("revertible at once: %v %v, want nil", e, err)
	}
	w.at(49 * time.Hour).mustApply(revert(t, "july"))
	w.at(49*time.Hour + time.Second).mustApply(revert(t, "june"))
	if s, _ := w.session("july", "render.pages"); !s.Reverted {
		t.Error("july is open at the end of the undo interval, want reverted")
	}
	s, m := w.session("june", "render.pages")
	if s.Reverted || m.Net() != 10 {
		t.Errorf("june = %+v, want open: its undo interval is over", s)
	}
	if _, e, _ := w.store.Session("june"); e == nil || e.Code != events.CodeUndoOver {
		t.Errorf("revertible = %v, want %s", e, events.CodeUndoOver)
	}
	w.mustApply(control("retire @ moved"))
	if _, e, _ := w.store.Session("june"); e == nil || e.Code != events.CodeRetired {
		t.Errorf("revertible after retire = %v, want %s", e, events.CodeRetired)
	}
}

// A restart between any two steps gives the same records and the same sessions,
// with or without what was not yet committed, as does a replay of the whole
// stream from nothing.
func TestSessionSurvivesRestart(t *testing.T) {
	live, restarted, crashed := newWorld(t, defaults, fixable, counted, fixed), newWorld(t, defaults, fixable, counted, fixed), newWorld(t, defaults, fixable, counted, fixed)
	backfill(live, func() {})
	backfill(restarted, restarted.reopen)
	steps := 0
	backfill(crashed, func() {
		if steps++; steps%2 == 0 { // every other step is only in the stream
			crashed.sync()
		}
		if err := crashed.store.Abandon(); err != nil {
			t.Fatal(err)
		}
		crashed.open()
		crashed.catchUp()
	})
	for _, w := range []*world{live, restarted, crashed} {
		w.sync()
	}
	replayed := newWorld(t, defaults, fixable, counted, fixed)
	replayed.groups = live.groups
	replayed.catchUp()
	replayed.sync()
	for name, w := range map[string]*world{"restarted": restarted, "crashed": crashed, "replayed": replayed} {
		if d := cmp.Diff(live.records(), w.records()); d != "" {
			t.Errorf("records of %s (-live +it):\n%s", name, d)
		}
		if d := cmp.Diff(live.store.Sessions(), w.store.Sessions()); d != "" {
			t.Errorf("sessions of %s (-live +it):\n%s", name, d)
		}
		if got, want := w.store.Status().Root, live.store.Status().Root; got != want {
			t.Errorf("root of %s = %s, want %s", name, got, want)
		}
		w.check()
	}
}

// A session takes what one group may hold, so that taking it back is one step.
func TestSessionFull(t *testing.T) {
	if testing.Short() {
		t.Skip("books 262,144 events")
	}
	w := newWorld(t, defaults, counted)
	const perGroup = 1 << 14
	for i := 0; i < projections.MaxSessionEvents; i += perGroup {
		evs := make([]events.Event, perGroup)
		for k := range evs {
			evs[k] = in("big", ev(fmt.Sprint(i+k), "renders", t0, 1))
		}
		w.mustApply(usage("n1", evs...))
	}
	if got := w.apply(usage("n1", in("big", ev("more", "renders", t0, 1))))[0]; got != events.SessionFull {
		t.Errorf("event %d: %v, want %v", projections.MaxSessionEvents+1, got, events.SessionFull)
	}
	begin := time.Now()
	w.mustApply(revert(t, "big"))
	t.Logf("revert of %d events: %v", projections.MaxSessionEvents, time.Since(begin))
	w.at(time.Hour).mustApply(control("close @ now"))
	if _, m := w.session("big", "renders"); m.Net() != 0 || m.Adjusted != -projections.MaxSessionEvents {
		t.Errorf("net %d adjusted %d, want 0 and %d", m.Net(), m.Adjusted, -projections.MaxSessionEvents)
	}
	if _, err := w.store.Check(context.Background(), nil, nil); err != nil { // raw events: TestY06SessionIsReverted
		t.Errorf("check: %v", err)
	}
}

func TestTooManySessions(t *testing.T) {
	w := newWorld(t, defaults, counted)
	for i := range projections.MaxSessions {
		w.mustApply(usage("n1", in(fmt.Sprint("s", i), ev(fmt.Sprint(i), "renders", t0, 1))))
	}
	if got := w.apply(usage("n1", in("one-more", ev("x", "renders", t0, 1))))[0]; got != events.SessionFull {
		t.Errorf("session %d: %v, want %v", projections.MaxSessions+1, got, events.SessionFull)
	}
	w.mustApply(usage("n1", in("s0", ev("x", "renders", t0, 1))))
	if got := w.store.Sessions(); len(got) != projections.MaxSessions || got[0].Name != "s0" || got[0].Events != 2 {
		t.Errorf("%d sessions, the first %+v, want %d and s0 with 2 events", len(got), got[0], projections.MaxSessions)
	}
}

// YD-3: a session of 2^63-1 is taken back without a wrap.
func TestYD3SessionOfInt64(t *testing.T) {
	w := newWorld(t, defaults, fixable)
	w.mustApply(usage("n1", in("big", ev("a", "render.pages", t0, math.MaxInt64-1)), in("big", ev("b", "render.pages", t0, 1))))
	if got := w.apply(usage("n1", in("big", ev("c", "render.pages", t0, 1))))[0]; got != events.Overflow {
		t.Errorf("one more: %v, want %v", got, events.Overflow)
	}
	if got := w.apply(usage("n1", correction("c1", "render.pages", events.KindAmend, "b", 2)))[0]; got != events.Overflow {
		t.Errorf("amend to one more: %v, want %v", got, events.Overflow)
	}
	w.mustApply(revert(t, "big"))
	if _, m := w.session("big", "render.pages"); m.Quantity != math.MaxInt64 || m.Adjusted != -math.MaxInt64 {
		t.Errorf("session %d adjusted %d, want 2^63-1 and its negative", m.Quantity, m.Adjusted)
	}
	w.at(time.Hour).mustApply(control("close @ now"))
	w.check()
}

// What corrections of a meter take back stays in int64 in all. A session that
// would go beyond is not taken back in part.
func TestYD3RevertAsAWhole(t *testing.T) {
	w := newWorld(t, defaults, fixable, counted)
	w.mustApply(usage("n1", ev("x", "render.pages", t0, 1<<62), in("s", ev("a", "renders", t0, 1)), in("s", ev("b", "render.pages", t0, 1)), in("s", ev("c", "render.pages", t0, 1<<62-2))))
	w.mustApply(usage("n1", correction("c1", "render.pages", events.KindAmend, "x", 0), correction("c2", "render.pages", events.KindAmend, "x", 1), correction("c3", "render.pages", events.KindAmend, "x", 0)))
	if _, e, _ := w.store.Session("s"); e == nil || e.Code != events.CodeOverflow {
		t.Fatalf("revertible = %v, want %s", e, events.CodeOverflow)
	}
	w.mustApply(revert(t, "s"))
	s, m := w.session("s", "render.pages")
	if _, n := w.session("s", "renders"); s.Reverted || m.Net() != 1<<62-1 || n.Net() != 1 {
		t.Errorf("session = %+v, want open, with all of it", s)
	}
	w.at(time.Hour).mustApply(control("close @ now"))
	w.check()
}

func TestRevertLineRefuses(t *testing.T) {
	for name, parts := range map[string][3]string{
		"session": {"a/b", "why", "kim"}, "no reason": {"a", "", "kim"}, "no actor": {"a", "why", ""},
		"long actor": {"a", "why", strings.Repeat("k", 129)}, "wide reason": {"a", strings.Repeat("ö", 171), "kim"}, "not UTF-8": {"a", "\xff", "kim"},
	} {
		if line, err := projections.RevertLine(parts[0], parts[1], parts[2]); err == nil {
			t.Errorf("%s: RevertLine = %q, want an error", name, line)
		}
	}
	line, err := projections.RevertLine(strings.Repeat("s", 64), strings.Repeat("ö", 170), strings.Repeat("€", 42))
	if err != nil || len(line) > events.MaxLineBytes {
		t.Errorf("RevertLine of the longest parts: %d bytes, %v; want at most %d", len(line), err, events.MaxLineBytes)
	}
}

// A refused event must not leave an empty cell behind: it would become a record
// of no events, and only if no restart came between.
func TestRefusedEventOpensNoCell(t *testing.T) {
	w := newWorld(t, defaults, fixable)
	w.mustApply(usage("n1", ev("a", "render.pages", t0, math.MaxInt64)))
	w.at(time.Hour)
	if got := w.apply(usage("n1", ev("b", "render.pages", t0.Add(time.Hour), 1), in("s", ev("c", "render.pages", t0, 1)))); got[0] != events.Overflow || got[1] != events.Overflow {
		t.Fatalf("beyond int64: %v, want overflow", got)
	}
	w.at(2 * time.Hour).mustApply(control("close @ now"))
	if got := append(w.recordsOf("usage"), w.recordsOf("late")...); len(got) != 1 {
		t.Errorf("records %q, want one", got)
	}
	w.check()
}

// Corrections of one window are booked in one order, whatever order they came in
// and wherever a restart was.
func TestCorrectionsInOneOrder(t *testing.T) {
	run := func(restart bool) []string {
		w := newWorld(t, defaults, fixable)
		w.mustApply(usage("n1", ev("a", "render.pages", t0, 1), ev("b", "render.pages", t0, 2)))
		w.mustApply(usage("n1", correction("c1", "render.pages", events.KindAmend, "b", 5)), usage("n1", correction("c2", "render.pages", events.KindVoid, "a", 0)))
		if restart {
			w.reopen()
		}
		w.at(time.Hour).mustApply(control("close @ now"))
		w.check()
		w.sync()
		return w.records()
	}
	if d := cmp.Diff(run(false), run(true)); d != "" {
		t.Errorf("records (-live +restarted):\n%s", d)
	}
}
