//go:build !testclock

package main

import "time"

// systemTime is what the program reads time from.
func systemTime() func() time.Time { return time.Now }
