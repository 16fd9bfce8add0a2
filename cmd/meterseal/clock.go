package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/internal/machine"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// How often the clocks are looked at, and what they said is kept (X-08: a step is
// recorded within 5 minutes).
const (
	observeEvery   = time.Second
	keepClockEvery = time.Minute
)

// siteClock is license time, and the time of groups. No clock ever stops a
// daemon or refuses a start: a fault of the clock becomes a record, and what is
// disputed does not count against anybody (docs/decisions/license-time.md).
type siteClock struct {
	machine.Clock
	gate func() (wall time.Time, running time.Duration) // cheap, for each event

	mu     sync.Mutex // protects what follows
	clock  license.Clock
	warned bool           // the last status warned of the clock
	steps  []license.Step // not yet in the ledger
	count  uint64         // of steps since the start

	// at is where the gate counts from: one observation with its license time.
	at atomic.Pointer[observed]
}

type observed struct {
	wall    time.Time
	running time.Duration // of the gate
	offset  time.Duration // from the wall clock to the time of groups
}

func newSiteClock(c machine.Clock) *siteClock {
	s := &siteClock{Clock: c}
	s.gate = s.both
	// The time of the system has a monotonic reading beside it, so one call gives
	// both clocks. That it does not count sleep looks like a step, which is looked
	// into then.
	if start := c.Wall(); start != start.Round(0) {
		s.gate = func() (time.Time, time.Duration) { t := c.Wall(); return t.Round(0), t.Sub(start) }
	}
	return s
}

// both reads the two clocks as of one instant: a program that stood still between
// the two would see a step that never was.
func (c *siteClock) both() (wall time.Time, running time.Duration) {
	for {
		before := c.Running()
		wall, running = c.Wall(), c.Running()
		if running-before < time.Second {
			return wall, running
		}
	}
}

// load takes up what the clocks said when the daemon ran last.
func (c *siteClock) load(store *projections.Store) error {
	b, err := store.Document(docSite, "clock")
	if errors.Is(err, projections.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := json.Unmarshal(b, &c.clock); err != nil {
		return fmt.Errorf("%w: what the clocks said: %w", projections.ErrDamaged, err)
	}
	return nil
}

// observe reads the clocks and returns license time. What has to be recorded is
// kept for the next turn of watchClock.
func (s *site) observe(st *projections.Status, l *license.License) license.Reading {
	c := s.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	o := license.Observation{Warned: c.warned}
	o.Wall, o.Running = c.both()
	wall, running := c.gate()
	if !s.cfg.Fold.Trace && st.Origin != "" { // time that follows replayed data says nothing about now
		o.LastRecord = st.Time
	}
	if st.Receipt != nil {
		o.Vendor = st.Receipt.VendorTime
	}
	if l != nil {
		o.Grace = l.Grace.Duration()
	}
	r := c.clock.Observe(o)
	c.steps = append(c.steps, r.Steps...)
	c.count += uint64(len(r.Steps))
	a := &observed{wall: wall, running: running}
	if r.Disputed && r.Now.Before(o.Wall) { // wall ahead: windows must not jump with it
		a.offset = r.Now.Sub(o.Wall)
	}
	c.at.Store(a)
	return r
}

// stepped returns how often the clock stepped since the start.
func (c *siteClock) stepped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// now is the time of groups and events: the wall clock, or while that ran ahead
// the running clock. A step is noticed with the first event after it.
func (s *site) now() time.Time {
	c := s.clock
	wall, running := c.gate()
	if a := c.at.Load(); a != nil {
		step := wall.Sub(a.wall) - (running - a.running)
		if step < license.StepMin && step > -license.StepMin {
			return wall.Add(a.offset)
		}
		st := s.store.Glance()
		s.observe(&st, s.terms.Load().shown())
		return wall.Add(c.at.Load().offset)
	}
	return wall
}

// standing is what the license comes to now.
func (s *site) standing() (license.Status, license.Facts, *projections.Status, *terms) {
	st, t := s.store.Glance(), s.terms.Load()
	f := s.facts(&st, t)
	f.Clock = s.observe(&st, t.shown())
	status := t.shown().State(f, f.Clock.Now)
	s.clock.mu.Lock()
	s.clock.warned = slices.Contains(status.Warnings, license.CodeClockDisputed)
	s.clock.mu.Unlock()
	return status, f, &st, t
}

// watchClock looks at the clocks until the site closes, records their steps, and
// logs when the state of the license changes. It looks once more at the end: who
// sets a clock and ends the daemon at once is on record too.
func (s *site) watchClock() {
	defer close(s.clockDone)
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	last, kept := license.State(""), time.Time{}
	for closing := false; ; {
		status, f, st, t := s.standing()
		if status.State != last && t.shown() != nil {
			s.log.Info("license state changed", "state", status.State, "code", status.Code)
		}
		last = status.State
		if err := s.recordSteps(st); err != nil {
			s.log.Error("record step of the clock", "err", err)
		}
		if closing || f.Clock.Now.Sub(kept).Abs() >= keepClockEvery {
			if err := s.keepClock(); err != nil {
				s.watched.failed(opKeep)
				s.log.Error("keep the clock", "err", err)
			}
			kept = f.Clock.Now
		}
		if closing {
			return
		}
		select {
		case <-s.clockStop:
			closing = true
		case <-tick.C:
		}
	}
}

// recordSteps writes a clock record for each step.
func (s *site) recordSteps(st *projections.Status) error {
	c := s.clock
	c.mu.Lock()
	steps := c.steps
	c.steps = nil
	c.mu.Unlock()
	if len(steps) == 0 || st.Origin == "" || st.Retired {
		return nil
	}
	var lines []string
	for _, p := range steps {
		lines = append(lines, fmt.Sprintf("clock @ %d %s", int64(p.By/time.Second), p.Cause))
		s.log.Warn("clock stepped", "step", p.By.String(), "cause", p.Cause)
	}
	_, err := s.gateway.Control(context.Background(), lines...)
	if err != nil && !errors.Is(err, stream.ErrClosed) {
		c.mu.Lock()
		c.steps = append(steps, c.steps...)
		c.mu.Unlock()
		return err
	}
	return nil
}

func (s *site) keepClock() error {
	c := s.clock
	c.mu.Lock()
	b, err := json.Marshal(&c.clock)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return s.store.KeepDocument(docSite, "clock", b)
}
