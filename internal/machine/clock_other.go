//go:build !linux

package machine

import "time"

var started = time.Now()

// Running returns the time since the program was started, by the system's
// monotonic clock, which may stand still while the machine is asleep: waking up
// looks like a step of the wall clock then.
func Running() time.Duration { return time.Since(started) }
