package machine_test

import (
	"testing"
	"time"

	"github.com/meterseal/meterseal/internal/machine"
)

// The clocks of this machine go on, at one speed: they are within the minute
// below which license time calls nothing a step.
func TestSystemClock(t *testing.T) {
	c := machine.SystemClock()
	wall, running := c.Wall(), c.Running()
	for c.Running() == running { // it has some resolution
	}
	w, r := c.Wall().Sub(wall), c.Running()-running
	if r <= 0 || w < 0 || (w-r).Abs() >= time.Minute {
		t.Errorf("wall clock went on by %v, running clock by %v", w, r)
	}
}
