package machine

import "time"

// A Clock is the two clocks of a machine. What their difference means, a step of
// the wall clock among it, package license says.
type Clock struct {
	Wall    func() time.Time     // what people set
	Running func() time.Duration // what nobody sets: see [Running]
}

// SystemClock returns the clocks of this machine.
func SystemClock() Clock { return Clock{Wall: time.Now, Running: Running} }
