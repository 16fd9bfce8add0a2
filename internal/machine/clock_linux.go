package machine

import (
	"time"

	"golang.org/x/sys/unix"
)

// Running returns the time since this machine was booted, with the time that it
// was asleep (CLOCK_BOOTTIME). Nobody can set it.
func Running() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("read CLOCK_BOOTTIME: " + err.Error()) // it is there since Linux 2.6.39
	}
	return time.Duration(t.Nano())
}
