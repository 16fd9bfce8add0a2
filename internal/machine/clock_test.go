package machine_test

import (
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/machine"
)

// clocks are two clocks that a test sets.
type clocks struct {
	wall    time.Time
	running time.Duration
}

func (c *clocks) clock() machine.Clock {
	return machine.Clock{Wall: func() time.Time { return c.wall }, Running: func() time.Duration { return c.running }}
}

// pass lets both clocks go on, the wall clock by more or less.
func (c *clocks) pass(d, more time.Duration) {
	c.wall, c.running = c.wall.Add(d+more), c.running+d
}

func watched() (*clocks, *machine.Watcher) {
	c := &clocks{wall: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), running: time.Hour}
	return c, machine.NewWatcher(c.clock())
}

// X-08, attack rows 16 and 17: steps either way, at the border, once each.
func TestWatcherSteps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, c := range []struct {
		step time.Duration
		want bool
	}{
		{0, false}, {time.Minute - 1, false}, {time.Minute, true}, {-time.Minute + 1, false}, {-time.Minute, true},
		{24 * time.Hour, true}, {year, true}, {-year, true},
	} {
		clocks, w := watched()
		clocks.pass(time.Minute, c.step)
		if ahead, stepped := w.Check(); ahead != c.step || stepped != c.want {
			t.Errorf("Check after a step of %v = %v, %v, want %v, %v", c.step, ahead, stepped, c.step, c.want)
		}
		clocks.pass(time.Minute, 0)
		if ahead, stepped := w.Check(); stepped || c.want && ahead != 0 {
			t.Errorf("Check after a step of %v and a minute = %v, %v, want the step once", c.step, ahead, stepped)
		}
	}
}

// a year forward for an hour and back are two steps (requirements 3.2).
func TestWatcherForwardAndBack(t *testing.T) {
	clocks, w := watched()
	const year = 365 * 24 * time.Hour
	var steps []time.Duration
	check := func() {
		if step, stepped := w.Check(); stepped {
			steps = append(steps, step)
		}
	}
	for minute := range 120 {
		more := time.Duration(0)
		switch minute {
		case 30:
			more = year
		case 90:
			more = -year
		}
		clocks.pass(time.Minute, more)
		check()
	}
	if len(steps) != 2 || steps[0] != year || steps[1] != -year {
		t.Errorf("steps = %v, want %v and back", steps, year)
	}
}

// what is too small to be found by itself adds up, and a drift that goes
// both ways does not.
func TestWatcherAddsUp(t *testing.T) {
	clocks, w := watched()
	total := time.Duration(0)
	for range 10 {
		clocks.pass(time.Minute, 25*time.Second)
		if step, stepped := w.Check(); stepped {
			total += step
		}
	}
	if want := 225 * time.Second; total != want {
		t.Errorf("ten steps of 25 s are found as %v, want %v (25 s are left)", total, want)
	}
	clocks, w = watched()
	for i := range 1000 {
		clocks.pass(time.Minute, time.Duration(1-i%2*2)*30*time.Second)
		if step, stepped := w.Check(); stepped {
			t.Fatalf("a clock that swings by 30 s is a step of %v at minute %d", step, i)
		}
	}
}

// A machine that was asleep or busy for long: both clocks went on.
func TestWatcherLongPause(t *testing.T) {
	clocks, w := watched()
	clocks.pass(40*24*time.Hour, 0)
	if ahead, stepped := w.Check(); ahead != 0 || stepped {
		t.Errorf("Check after 40 days = %v, %v, want no step", ahead, stepped)
	}
}

// The clocks of this machine go on, and together.
func TestSystemClock(t *testing.T) {
	c := machine.SystemClock()
	w := machine.NewWatcher(c)
	before := machine.Running()
	for machine.Running() == before {
	}
	if after := machine.Running(); after < before {
		t.Errorf("Running went from %v to %v", before, after)
	}
	if ahead, stepped := w.Check(); stepped {
		t.Errorf("Check = %v, a step within a moment", ahead)
	}
}
