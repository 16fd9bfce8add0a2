//go:build testclock

package main

import (
	"os"
	"time"

	"github.com/meterseal/meterseal/internal/testclock"
)

// systemTime is a file, where the variable names one: builds with this tag play
// years in seconds. The released program has no such switch.
func systemTime() func() time.Time { return testclock.File(os.Getenv("METERSEAL_TEST_CLOCK")).Wall }
