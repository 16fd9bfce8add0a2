package main

import (
	"sync"
	"time"

	"github.com/meterseal/meterseal/console"
)

// rateSpan is how far back a rate is kept.
const rateSpan = time.Minute

// A rate says how fast a count grows. The zero one has seen nothing.
type rate struct {
	mu      sync.Mutex // protects samples
	samples []sample   // a second or more apart, oldest first; the last one is the newest
}

type sample struct {
	at    time.Time
	count uint64
}

// saw notes a count.
func (r *rate) saw(now time.Time, count uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.samples)
	if n > 1 && r.samples[n-1].at.Sub(r.samples[n-2].at) < time.Second {
		r.samples = r.samples[:n-1] // the newest one takes the place of one that is too close
	}
	r.samples = append(r.samples, sample{now, count})
	for len(r.samples) > 2 && now.Sub(r.samples[1].at) >= rateSpan { // one stays that is a span old
		r.samples = r.samples[1:]
	}
}

// now returns what was counted a second, on average.
func (r *rate) now() console.Rate {
	r.mu.Lock()
	defer r.mu.Unlock()
	return console.Rate{TenSeconds: r.over(10 * time.Second), Minute: r.over(rateSpan)}
}

// over is the mean of the last span, or of as much of it as there is.
func (r *rate) over(span time.Duration) float64 {
	if len(r.samples) < 2 {
		return 0
	}
	last := r.samples[len(r.samples)-1]
	first := r.samples[0]
	for _, s := range r.samples {
		if last.at.Sub(s.at) < span {
			break
		}
		first = s
	}
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 || last.count < first.count {
		return 0
	}
	return float64(last.count-first.count) / seconds
}
