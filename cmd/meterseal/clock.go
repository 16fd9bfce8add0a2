package main

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/meterseal/meterseal/internal/machine"
)

// siteClock is the time of a site: what the clocks of the machine show.
type siteClock struct {
	machine.Clock
	mu     sync.Mutex // protects what follows
	offset atomic.Int64
}

func newSiteClock(c machine.Clock) *siteClock { return &siteClock{Clock: c} }

// now is license time.
func (c *siteClock) now() time.Time { return c.Wall() }
