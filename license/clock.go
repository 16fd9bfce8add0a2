package license

import (
	"slices"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// Bounds of the clock: docs/decisions/license-time.md.
const (
	StepMin    = time.Minute    // a step of the wall clock that is recorded
	DisputeMin = 24 * time.Hour // further apart the clocks are in dispute
	WaitMin    = 72 * time.Hour // running time after which the wall clock is believed, unless Grace is longer
	jumpsMax   = 16             // kept apart; older ones are added up
)

// A Clock is license time of one site: which time a license is compared with,
// when wall clock, running clock and vendor may disagree. The zero value is that
// of a new ledger. It is kept between runs as JSON, beside the ledger.
//
// Forward jumps of the wall clock that nothing explains are held back until the
// clocks agree again, a reply brings the vendor's time, or the site ran on for
// the grace of the license. They are never a reason to refuse: a disputed time
// may begin a grace ([Reading.Now]), only a sure one ends it ([Reading.Sure]).
//
// Calls must not overlap.
type Clock struct {
	Wall   time.Time `json:"wall"`   // the wall clock when it was last observed
	Sure   time.Time `json:"sure"`   // license time that no clock disputed then
	Vendor time.Time `json:"vendor"` // newest time that the vendor signed; zero: none
	// Jumps are those of the wall clock that are not believed yet, oldest first. All
	// go one way: a jump back takes away from those that went forward.
	Jumps []Jump `json:"jumps,omitempty"`

	started bool
	wall    time.Time     // where steps are counted from
	running time.Duration // likewise
	last    time.Duration // Running of the last observation
}

// A Jump is one that the wall clock made against the running clock.
type Jump struct {
	By    time.Duration `json:"by"`
	Ran   time.Duration `json:"ran"`             // running time since
	Start bool          `json:"start,omitempty"` // at a start: a long shutdown explains it as well
	// Recorded says that a clock record names it.
	Recorded bool `json:"recorded,omitempty"`
}

// Observation is what a site sees.
type Observation struct {
	Wall time.Time // what people set
	// Running is a clock that nobody sets and that counts sleep too, from any
	// instant of this run: CLOCK_BOOTTIME.
	Running time.Duration
	// LastRecord is the time of the ledger's newest record; zero: none. It counts at
	// the first observation of a Clock without memory only.
	LastRecord time.Time
	Vendor     time.Time     // of the newest receipt; zero: none
	Grace      time.Duration // of the license
	// Warned says that the last Status warned of the clock. A long shutdown is
	// recorded then only: where it changes nothing it is none of anybody's business.
	Warned bool
}

// Reading is what a Clock says: Facts.Clock.
type Reading struct {
	Now time.Time // license time
	// Sure is what of it no clock disputes, never after Now; zero: all of it.
	Sure     time.Time
	Disputed bool   // the clocks are in dispute: a warning, never a refusal
	Behind   bool   // and the wall clock is behind
	Steps    []Step // what has to be recorded
}

// Step is what a clock record says.
type Step struct {
	By    time.Duration
	Cause string // ledger.ClockStep, ledger.ClockReply
}

// Observe takes what the clocks show and returns license time. The first call of
// a run is a start. It is called every minute, and whenever a receipt was
// imported.
func (c *Clock) Observe(o Observation) (r Reading) {
	wall, vendor := within(o.Wall), within(o.Vendor)
	starting := !c.started
	var by, elapsed time.Duration
	if starting {
		by = c.start(wall, vendor, o)
	} else {
		by, elapsed = c.run(wall, o.Running)
	}
	if by != 0 {
		j := Jump{By: by, Start: starting, Recorded: !starting || by < 0}
		c.jump(j)
		if j.Recorded {
			r.Steps = append(r.Steps, Step{by, ledger.ClockStep})
		}
	}
	c.Wall = wall
	c.believe(elapsed, max(o.Grace, WaitMin))
	c.read(&r, wall, elapsed)
	if vendor.After(c.Vendor) {
		before := r.Now
		c.reply(wall, vendor)
		c.read(&r, wall, 0)
		if by := r.Now.Sub(before); by >= StepMin || by <= -StepMin {
			r.Steps = append(r.Steps, Step{by, ledger.ClockReply})
		}
	}
	for i := range c.Jumps {
		if j := &c.Jumps[i]; o.Warned && !j.Recorded {
			j.Recorded = true
			r.Steps = append(r.Steps, Step{j.By, ledger.ClockStep})
		}
	}
	return r
}

// start takes up the memory of the run before, or what ledger and receipt say. It
// returns how far the wall clock jumped meanwhile; 0 if that needs no thought, as
// a shutdown of up to a day.
func (c *Clock) start(wall, vendor time.Time, o Observation) (by time.Duration) {
	c.started, c.wall, c.running, c.last = true, wall, o.Running, o.Running
	if c.Sure.IsZero() {
		c.Sure, c.Vendor = wall, vendor
		if !o.LastRecord.IsZero() {
			c.Sure = latest(within(o.LastRecord), vendor)
		}
		c.Wall = c.Sure
	}
	by = wall.Sub(c.Wall)
	ahead, _ := c.apart()
	switch {
	case by > -StepMin && by <= DisputeMin:
		return 0
	case by > 0 && by < -ahead-DisputeMin:
		return 0 // a clock that is behind was not corrected, the machine was off
	}
	return by
}

// run returns how far the wall clock jumped against the running one, 0 if by less
// than a minute since the last jump, and how long it ran.
func (c *Clock) run(wall time.Time, running time.Duration) (by, elapsed time.Duration) {
	elapsed = max(running-c.last, 0)
	c.last = max(running, c.last)
	// Counted from the last jump on: what is too small for one adds up.
	if by = wall.Sub(c.wall) - (c.last - c.running); by > -StepMin && by < StepMin {
		return 0, elapsed
	}
	c.wall, c.running = wall, c.last
	return by, elapsed
}

// jump adds j to the jumps that are not believed yet. One that goes the other way
// takes away from the newest ones first.
func (c *Clock) jump(j Jump) {
	for n := len(c.Jumps); n > 0 && (c.Jumps[n-1].By < 0) != (j.By < 0); n-- {
		rest := c.Jumps[n-1].By + j.By
		switch {
		case rest > -StepMin && rest < StepMin:
			c.Jumps = c.Jumps[:n-1]
			return
		case (rest < 0) != (j.By < 0):
			c.Jumps[n-1].By = rest
			return
		}
		c.Jumps, j.By = c.Jumps[:n-1], rest
	}
	c.Jumps = append(c.Jumps, j)
	if len(c.Jumps) > jumpsMax {
		a, b := c.Jumps[0], c.Jumps[1]
		c.Jumps = slices.Replace(c.Jumps, 0, 2, Jump{a.By + b.By, b.Ran, a.Start && b.Start, a.Recorded && b.Recorded})
	}
}

// believe ends the wait for jumps that the site has lived with for long enough.
func (c *Clock) believe(elapsed, wait time.Duration) {
	for i := range c.Jumps {
		c.Jumps[i].Ran += elapsed
	}
	c.Jumps = slices.DeleteFunc(c.Jumps, func(j Jump) bool { return j.Ran >= wait })
}

// read fills in license time when the wall clock shows wall and elapsed has
// passed since the last reading.
func (c *Clock) read(r *Reading, wall time.Time, elapsed time.Duration) {
	ahead, running := c.apart()
	r.Now, r.Sure = wall, latest(wall, c.Sure)
	r.Behind = ahead < -DisputeMin
	r.Disputed = r.Behind
	switch {
	case wall.Before(c.Vendor):
		// It is certainly wrong, so the running clock goes on from what was known.
		// Else time would stand still, and no period would ever end.
		r.Sure = latest(c.Sure.Add(elapsed), c.Vendor)
	case r.Behind:
		r.Sure = wall
	case ahead > DisputeMin:
		r.Sure = latest(wall.Add(-ahead), c.Sure.Add(elapsed), c.Vendor)
		if running > DisputeMin {
			r.Now, r.Disputed = wall.Add(-running), true
		}
	}
	r.Now = latest(r.Now, r.Sure)
	c.Sure = r.Sure
}

// apart returns by how much the wall clock is ahead of what is believed, and how
// much of that no start explains.
func (c *Clock) apart() (ahead, running time.Duration) {
	for _, j := range c.Jumps {
		if ahead += j.By; !j.Start {
			running += j.By
		}
	}
	return ahead, running
}

// reply takes the vendor's time: now is not before it. A clock that is within a
// day of it is right.
func (c *Clock) reply(wall, vendor time.Time) {
	c.Vendor = vendor
	if len(c.Jumps) == 0 {
		return
	}
	ahead := c.Jumps[0].By > 0
	switch {
	case ahead && !wall.After(vendor.Add(DisputeMin)), !ahead && !wall.Before(vendor.Add(-DisputeMin)):
		c.Jumps = nil
	case !ahead:
		c.Sure = vendor
	}
}

// Times that a Clock reads are within these, so that differences never overflow.
var (
	clockMin = time.Unix(0, 0).UTC()
	clockMax = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// within returns t without its monotonic reading, with which two times differ by
// what has passed, however the wall clock was set; the zero time stays.
func within(t time.Time) time.Time {
	t = t.Round(0).UTC()
	switch {
	case t.IsZero():
		return t
	case t.Before(clockMin):
		return clockMin
	case t.After(clockMax):
		return clockMax
	}
	return t
}

func latest(list ...time.Time) time.Time { return slices.MaxFunc(list, time.Time.Compare) }
