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
	// Counted is how long the first event of a group waited until it was counted
	// on disk, as far as [Gateway.Counted] was told.
	Counted Histogram
	// GroupSizes counts groups by their events: index i has those of up to 2^i
	// and above 2^(i-1), the last all larger ones. GroupEvents is their sum.
	GroupSizes  [GroupSizes + 1]uint64
	GroupEvents uint64
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

// GroupSizes is the number of sizes in Stats.GroupSizes that have a bound.
const GroupSizes = 15

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
	append, foldTime, ack, counted                histogram
	sizes                                         [GroupSizes + 1]atomic.Uint64
	groupEvents                                   atomic.Uint64
	uncounted                                     uncounted

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

func (s *stats) appended(d time.Duration, bytes, events int) {
	s.groups.Add(1)
	s.sizes[min(bits.Len(uint(max(events-1, 0))), GroupSizes)].Add(1)
	s.groupEvents.Add(uint64(events))
	s.groupBytes.Add(uint64(bytes))
	s.append.add(d)
}

// folded notes that p is folded, which took d.
func (s *stats) folded(p *pending, d time.Duration) {
	s.foldTime.add(d)
	if p.count > 0 {
		s.uncounted.add(p.seq, p.since)
	}
}

// uncounted are the groups that are folded and not yet counted on disk, oldest
// first. Beyond maxUncounted the newest are left out: a sample is enough, and the
// oldest says how long the disk of the projections is behind.
type uncounted struct {
	mu   sync.Mutex // protects list
	list []since
}

type since struct {
	seq uint64
	at  time.Time // when its first event came
}

const maxUncounted = 4096

func (u *uncounted) add(seq uint64, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.list) < maxUncounted {
		u.list = append(u.list, since{seq, at})
	}
}

// Counted is told that the groups up to seq are counted on disk.
func (g *Gateway) Counted(seq uint64) {
	u := &g.stats.uncounted
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for n < len(u.list) && u.list[n].seq <= seq {
		g.stats.counted.add(time.Since(u.list[n].at))
		n++
	}
	u.list = append(u.list[:0], u.list[n:]...)
}

// Uncounted returns how long the oldest event waits that is stored and not yet
// counted on disk; 0: none does.
func (g *Gateway) Uncounted() time.Duration {
	u := &g.stats.uncounted
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.list) == 0 {
		return 0
	}
	return time.Since(u.list[0].at)
}

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
		Append: s.append.load(), Fold: s.foldTime.load(), Ack: s.ack.load(), Counted: s.counted.load(), GroupEvents: s.groupEvents.Load()}
	for i := range s.sizes {
		out.GroupSizes[i] = s.sizes[i].Load()
	}
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
