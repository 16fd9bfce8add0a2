// Package testclock gives tests a machine whose clocks they set. The programs use
// it in builds with the tag testclock only; a release does not link it.
package testclock

import (
	"fmt"
	"os"
	"time"

	"github.com/meterseal/meterseal/internal/machine"
)

// File returns the clocks that the file at path shows: one line of the wall clock
// as RFC 3339 and the seconds of the running clock. The file is read each time.
// Without a path they are those of the machine.
//
// To change the time, write another file and rename it over this one.
func File(path string) machine.Clock {
	if path == "" {
		return machine.SystemClock()
	}
	return machine.Clock{
		Wall:    func() time.Time { w, _ := read(path); return w },
		Running: func() time.Duration { _, r := read(path); return r },
	}
}

func read(path string) (wall time.Time, running time.Duration) {
	b, err := os.ReadFile(path)
	var spelled string
	var seconds float64
	if err == nil {
		_, err = fmt.Sscan(string(b), &spelled, &seconds)
	}
	if err == nil {
		wall, err = time.Parse(time.RFC3339, spelled)
	}
	if err != nil {
		panic(fmt.Sprintf("test clock %s: %v", path, err))
	}
	return wall, time.Duration(seconds * float64(time.Second))
}
