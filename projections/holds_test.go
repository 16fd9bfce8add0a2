package projections_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/projections"
)

func hold(node, id string, quantity int64, until time.Time) events.Run {
	return control(projections.Hold{Node: node, ID: id, Meter: "pages", Quantity: quantity, Until: until}.Line())
}

// used is what counts against the limit for somebody who names no event.
func (w *world) used() int64 {
	w.t.Helper()
	return w.standing(projections.Question{Meter: "pages"}).Used
}

func (w *world) standing(q projections.Question) (out projections.Standing) {
	w.t.Helper()
	c, err := w.store.Decide(q, w.now, func(s projections.Standing) bool { out = s; return false })
	if err != nil || c != nil {
		w.t.Fatalf("Decide = %v, %v, want no claim", c, err)
	}
	return out
}

// Requirements 3.3: what is held counts as used until its event is booked, in the
// same step, or the hold ends or is given back.
func TestHoldCountsAsUsed(t *testing.T) {
	w := newWorld(t, projections.DefaultSettings(), "pages sum page 0 yes 0")
	until := t0.Add(time.Minute)
	steps := []struct {
		do   func()
		want int64
	}{
		{func() { w.mustApply(usage("n1", ev("e0", "pages", w.now, 5))) }, 5},
		{func() {
			w.mustApply(hold("n1", "a 1", 10, until), hold("n1", "b", 20, until), hold("n2", "b", 40, until))
		}, 75},
		{func() { w.mustApply(hold("n1", "b", 7, until.Add(time.Hour))) }, 75},           // a second one changes nothing
		{func() { w.mustApply(hold("n1", "e0", 7, until)) }, 75},                         // its event was booked before
		{func() { w.mustApply(hold("n1", "late", 7, w.now)) }, 75},                       // it is over already
		{func() { w.mustApply(usage("n1", ev("a 1", "pages", w.now, 3))) }, 68},          // fewer than were held
		{func() { w.apply(usage("n1", ev("a 1", "pages", w.now, 3))) }, 68},              // a duplicate
		{func() { w.mustApply(batch("n2", 1, 0, ev("b", "pages", w.now, 40))) }, 68},     // numbered, with the id
		{func() { w.mustApply(control(projections.UnholdLine("n1", "b"))) }, 48},         // given back
		{func() { w.mustApply(hold("n1", "c", 100, until)) }, 148},                       //
		{func() { w.reopen() }, 148},                                                     // a restart
		{func() { w.at(time.Minute - time.Second) }, 148},                                //
		{func() { w.at(time.Minute) }, 48},                                               // over, though no group came
		{func() { w.mustApply(usage("n1", ev("d", "pages", w.now, 1))) }, 49},            //
		{func() { w.reopen() }, 49},                                                      //
		{func() { w.mustApply(usage("n1", ev("c", "pages", w.now, 100))) }, 149},         // it is counted all the same
		{func() { w.mustApply(hold("n1", "x", 1<<62, t0.Add(time.Hour))) }, 1<<62 + 149}, //
		{func() { w.mustApply(hold("n1", "y", 1<<62, t0.Add(time.Hour))) }, 1<<62 + 149}, // beyond int64 none is given
		{func() { w.mustApply(control(projections.UnholdLine("n1", "x"))) }, 149},        //
		{func() { w.mustApply(control(projections.UnholdLine("nobody", "x"))) }, 149},    //
	}
	for i, s := range steps {
		s.do()
		if got := w.used(); got != s.want {
			t.Errorf("step %d: used = %d, want %d", i, got, s.want)
		}
	}
	if _, err := w.store.Held("n1", "c"); !errors.Is(err, projections.ErrNotFound) {
		t.Errorf("Held of one that is over = %v, want not found", err)
	}
	w.sync()
	w.check()
}

// A replay of the stream gives the same holds.
func TestHoldReplay(t *testing.T) {
	w := newWorld(t, projections.DefaultSettings(), "pages sum page 0 yes 0")
	w.mustApply(hold("n1", "a", 10, t0.Add(time.Hour)), hold("n1", "b", 20, t0.Add(time.Hour)))
	w.mustApply(usage("n1", ev("a", "pages", w.now, 10)))
	if err := w.store.Abandon(); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.catchUp()
	h, err := w.store.Held("n1", "b")
	if err != nil || h.Quantity != 20 || !h.Until.Equal(t0.Add(time.Hour)) || h.Meter != "pages" {
		t.Errorf("Held(n1, b) = %+v, %v, want the one of before", h, err)
	}
	if got := w.used(); got != 30 {
		t.Errorf("used = %d, want 30", got)
	}
}

// An event that came by itself and comes again in a numbered batch counts once:
// a node that has no answer goes on by its own.
func TestNumberedEventWithKnownID(t *testing.T) {
	w := newWorld(t, projections.DefaultSettings(), "pages sum page 0 yes 0")
	w.mustApply(usage("n1", ev("a", "pages", w.now, 10)))
	got := w.apply(batch("n1", 1, 0, ev("a", "pages", w.now, 10), ev("b", "pages", w.now, 1), ev("a", "pages", w.now, 11)))
	if want := []events.Disposition{events.Duplicate, events.Stored, events.Conflict}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("dispositions = %v, want %v", got, want)
	}
	if got := w.used(); got != 11 {
		t.Errorf("used = %d, want 11", got)
	}
	w.at(time.Hour).mustApply(control("close @ now"))
	w.check()
}

// claim is a decision that grants quantity while it fits limit.
func (w *world) claim(id string, quantity, limit int64) *projections.Claim {
	c, err := w.store.Decide(projections.Question{Node: "n1", ID: id, Meter: "pages", Quantity: quantity}, w.now,
		func(s projections.Standing) bool { return s.Used+quantity <= limit })
	if err != nil {
		w.t.Error(err)
	}
	return c
}

// L-16: decisions run ahead of the stream, and no two give the same unit; what is
// claimed ends with its group, and what did not come is given back.
func TestClaims(t *testing.T) {
	w := newWorld(t, projections.DefaultSettings(), "pages sum page 0 yes 0")
	first := w.claim("a", 6, 10)
	if first == nil || w.claim("b", 5, 10) != nil {
		t.Fatal("want the first to be granted and the second not")
	}
	again := w.claim("a", 6, 10) // asks again: the same claim
	if again != first || w.used() != 6 {
		t.Errorf("claim of the same name = %v with %d used, want the same one and 6", again, w.used())
	}
	w.store.Unclaim(first)
	if got := w.used(); got != 6 {
		t.Errorf("used = %d while one still waits, want 6", got)
	}
	w.mustApply(usage("n1", ev("a", "pages", w.now, 6)))
	if got := w.used(); got != 6 {
		t.Errorf("used = %d with its event, want 6", got)
	}
	next := w.claim("a2", 4, 10)
	w.store.Unclaim(again) // the late one must not end what is not its own
	if got := w.used(); got != 10 || next == nil {
		t.Errorf("used = %d, want 10", got)
	}
	w.mustApply(hold("n1", "a2", 4, t0.Add(time.Hour)))
	if got := w.used(); got != 10 {
		t.Errorf("used = %d with the hold in place of its claim, want 10", got)
	}
	w.store.Unclaim(next)
	if c := w.claim("a2", 4, 10); c == nil {
		t.Error("what one holds oneself is not granted, want that it is")
	} else {
		w.store.Unclaim(c)
	}
	if s := w.standing(projections.Question{Node: "n1", ID: "a", Meter: "pages"}); !s.Booked || s.Hold != nil {
		t.Errorf("standing of a stored event = %+v, want booked", s)
	}
}

// How many reservations a node has follows from what is held.
func TestHoldsOfANode(t *testing.T) {
	w := newWorld(t, projections.DefaultSettings(), "pages sum page 0 yes 0")
	want := func(what string, of, all int) {
		t.Helper()
		if s := w.standing(projections.Question{Node: "n1", Meter: "pages"}); s.NodeHolds != of || s.Holds != all {
			t.Errorf("%s: %d holds of n1 and %d in all, want %d and %d", what, s.NodeHolds, s.Holds, of, all)
		}
	}
	w.mustApply(hold("n1", "a", 1, t0.Add(time.Hour)), hold("n1", "b", 1, t0.Add(time.Hour)), hold("n1", "b", 1, t0.Add(time.Hour)), hold("n2", "a", 1, t0.Add(2*time.Hour)))
	want("reserved", 2, 3)
	w.reopen()
	want("after a restart", 2, 3)
	w.mustApply(usage("n1", ev("a", "pages", w.now, 1)))
	want("with an event", 1, 2)
	w.at(90 * time.Minute).mustApply(control("close @ now"))
	want("after an hour", 0, 1)
}

// L-16: a hundred at once against 1,000.
func TestClaimsConcurrent(t *testing.T) {
	w := newWorld(t, projections.DefaultSettings(), "pages sum page 0 yes 0")
	var wg sync.WaitGroup
	granted := make(chan events.Event, 4000)
	for i := range 100 {
		wg.Go(func() {
			for j := range 20 {
				if id := fmt.Sprint(i, "-", j); w.claim(id, 1, 1000) != nil {
					granted <- ev(id, "pages", t0, 1)
				}
			}
		})
	}
	folded := make(chan struct{})
	go func() {
		defer close(folded)
		for e := range granted {
			w.mustApply(usage("n1", e))
		}
	}()
	wg.Wait()
	close(granted)
	<-folded
	if got := w.used(); got != 1000 {
		t.Errorf("used = %d, want 1000", got)
	}
}
