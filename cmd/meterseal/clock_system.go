//go:build !testclock

package main

import "github.com/meterseal/meterseal/internal/machine"

// systemClock is what the program reads time from.
func systemClock() machine.Clock { return machine.SystemClock() }
