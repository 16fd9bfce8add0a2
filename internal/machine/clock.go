package machine

import "time"

// StepMin is the smallest step of the wall clock that is recorded.
const StepMin = 60 * time.Second

// A Clock is the two clocks of a machine.
type Clock struct {
	Wall    func() time.Time     // what people set
	Running func() time.Duration // what nobody sets: see [Running]
}

// SystemClock returns the clocks of this machine.
func SystemClock() Clock { return Clock{Wall: time.Now, Running: Running} }

// A Watcher finds steps of the wall clock: it compares how far wall and running
// clock have gone since one common instant, its anchor.
//
// The anchor stays until a step is found. So changes that are too small to be
// found by themselves add up, and 59 seconds every minute are found at the
// second. What NTP does slowly is no step: on Linux it slows or speeds both
// clocks alike. On other systems the running clock may be left alone, so that
// corrections of many days add up to a step of a minute, which needs no
// explanation. A leap second counts as what it is, one second.
//
// Its limit: a virtual machine that is put back to a snapshot goes on with both
// clocks as they were. Calls must not overlap.
type Watcher struct {
	clock   Clock
	wall    int64 // Unix nanoseconds at the anchor
	running time.Duration
}

// NewWatcher begins to watch c now.
func NewWatcher(c Clock) *Watcher {
	w := &Watcher{clock: c}
	w.wall, w.running = w.read()
	return w
}

// read leaves out the monotonic reading of time.Time: with it two times differ
// by what has passed, however the wall clock was set.
func (w *Watcher) read() (wall int64, running time.Duration) {
	return w.clock.Wall().UnixNano(), w.clock.Running()
}

// Check returns how far the wall clock is ahead of the running clock since the
// anchor, negative behind, and whether that is a step: [StepMin] or more either
// way. After a step the anchor is now, so each is returned once. Called every
// minute it finds a step within that minute.
func (w *Watcher) Check() (ahead time.Duration, stepped bool) {
	wall, running := w.read()
	ahead = time.Duration(wall-w.wall) - (running - w.running)
	if ahead > -StepMin && ahead < StepMin {
		return ahead, false
	}
	w.wall, w.running = wall, running
	return ahead, true
}
