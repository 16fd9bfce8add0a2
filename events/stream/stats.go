package stream

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meterseal/meterseal/events"
)

// Stats is what the gateway did since it started.
type Stats struct {
	// Events counts events by what became of them: "stored", "duplicate" and
	// the codes of refusals, those of `busy` and `store_unavailable` too.
	Events map[string]uint64
	// Groups and GroupBytes count what was stored.
	Groups, GroupBytes uint64
	// Full counts groups that found the stream full; Unknown the times that
	// an outcome was not known within AppendWait.
	Full, Unknown uint64
	// Append is how long storing a group took (fsync and round trip), Fold how
	// long folding it took, Ack how long the first event of a group waited
	// for its answer.
	Append, Fold, Ack Histogram
	// Pending events and bytes, now.
	PendingEvents, PendingBytes int
	// Reconnects of the connection over which events come; what was under way
	// then has no answer, and clients send it again.
	Reconnects uint64
}

// Histogram counts durations in buckets, each twice as wide as the one before.
type Histogram struct {
	// Counts of durations up to HistogramBounds of the same index and above
	// the one before; the last holds all longer ones.
	Counts [histogramBuckets + 1]uint64
	// Sum of all durations.
	Sum time.Duration
}

const histogramBuckets = 18

// HistogramBound returns the upper bound of bucket i: 50 us times 2^i, so from
// 50 us to 6.5 s.
func HistogramBound(i int) time.Duration { return 50 * time.Microsecond << i }

// HistogramBuckets is the number of buckets that have a bound.
const HistogramBuckets = histogramBuckets

// Quantile returns an upper bound for the share q of durations.
func (h *Histogram) Quantile(q float64) time.Duration {
	var total, at uint64
	for _, c := range h.Counts {
		total += c
	}
	for i, c := range h.Counts {
		if at += c; total > 0 && float64(at) >= q*float64(total) {
			return HistogramBound(min(i, histogramBuckets))
		}
	}
	return 0
}

type histogram struct {
	counts [histogramBuckets + 1]atomic.Uint64
	sum    atomic.Int64
}

func (h *histogram) add(d time.Duration) {
	i := bits.Len64(uint64(max(d-1, 0) / (50 * time.Microsecond)))
	h.counts[min(i, histogramBuckets)].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) load() (out Histogram) {
	for i := range h.counts {
		out.Counts[i] = h.counts[i].Load()
	}
	out.Sum = time.Duration(h.sum.Load())
	return out
}

// stats collects; all of it once per group, but for refusals.
type stats struct {
	groups, groupBytes, full, unknown, reconnects atomic.Uint64
	append, foldTime, ack                         histogram

	mu      sync.Mutex // protects what follows
	byDisp  [16]uint64
	refused map[string]uint64
}

func (s *stats) refuse(code string) { s.refuseN(code, 1) }

func (s *stats) refuseN(code string, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = map[string]uint64{}
	}
	s.refused[code] += n
}

func (s *stats) appended(d time.Duration, bytes int) {
	s.groups.Add(1)
	s.groupBytes.Add(uint64(bytes))
	s.append.add(d)
}

func (s *stats) folded(d time.Duration) { s.foldTime.add(d) }

// group counts what became of the events of p.
func (s *stats) group(p *pending) {
	if p.held > 0 {
		s.ack.add(time.Since(p.since))
	}
	if p.err != nil {
		s.refuseN(refusalOf(p.err).Code, uint64(p.count))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range p.disp {
		s.byDisp[d&15]++
	}
}

// Stats returns the counters of the gateway.
func (g *Gateway) Stats() Stats {
	s := &g.stats
	out := Stats{Events: map[string]uint64{}, Groups: s.groups.Load(), GroupBytes: s.groupBytes.Load(),
		Full: s.full.Load(), Unknown: s.unknown.Load(), Reconnects: s.reconnects.Load(),
		Append: s.append.load(), Fold: s.foldTime.load(), Ack: s.ack.load()}
	s.mu.Lock()
	for d, n := range s.byDisp {
		if n > 0 {
			out.Events[events.Disposition(d).Code()] += n
		}
	}
	for code, n := range s.refused {
		out.Events[code] += n
	}
	s.mu.Unlock()
	g.mu.Lock()
	out.PendingEvents, out.PendingBytes = g.heldN, g.heldB
	g.mu.Unlock()
	return out
}
