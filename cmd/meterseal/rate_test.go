package main

import (
	"math"
	"testing"
	"time"
)

// the live rate is the mean of the last 10 and 60 seconds, of whatever was
// sampled how often.
func TestRate(t *testing.T) {
	var r rate
	start := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	want := func(what string, ten, minute float64) {
		t.Helper()
		got := r.now()
		if math.Abs(got.TenSeconds-ten) > 0.05*ten+0.01 || math.Abs(got.Minute-minute) > 0.05*minute+0.01 {
			t.Errorf("%s: rate = %+v, want %v over 10 s, %v over 60 s", what, got, ten, minute)
		}
	}
	want("nothing was seen", 0, 0)
	r.saw(start, 1000)
	want("one count tells no rate", 0, 0)
	count := uint64(1000)
	tick := func(seconds, perSecond int) {
		for range seconds * 5 {
			start = start.Add(200 * time.Millisecond)
			count += uint64(perSecond / 5)
			r.saw(start, count)
		}
	}
	tick(5, 100)
	want("5 seconds of 100", 100, 100)
	tick(115, 100)
	want("2 minutes of 100", 100, 100)
	tick(10, 700)
	want("10 seconds of 700 after that", 700, 200)
	tick(60, 0)
	want("a minute of nothing", 0, 0)
	if n := len(r.samples); n > 63 {
		t.Errorf("%d samples are kept, want about one for each second of a minute", n)
	}
}
