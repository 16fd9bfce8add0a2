//go:build testclock

package main

import (
	"os"

	"github.com/meterseal/meterseal/internal/machine"
	"github.com/meterseal/meterseal/internal/testclock"
)

// systemClock is a file, where the variable names one: builds with this tag play
// years in seconds. The released program has no such switch.
func systemClock() machine.Clock { return testclock.File(os.Getenv("METERSEAL_TEST_CLOCK")) }
