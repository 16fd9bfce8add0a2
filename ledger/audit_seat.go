package ledger

import (
	"math/bits"
	"slices"
)

// poolAudit is what the records say of a pool of seats.
type poolAudit struct {
	to    int64  // end of its newest window; 0: none
	known bool   // taken is
	taken uint64 // at to
	lost  bool   // a restore came after it: nothing follows from it
	total PoolTotal
}

// A PoolTotal is what an audit counted of a pool of seats, of the records audited.
type PoolTotal struct {
	Pool    string
	Peak    uint64 // most taken at once
	Seconds uint64 // seat-seconds
	Denied  uint64
	Actions uint64
}

// Pools returns what was counted per pool, ascending by pool.
func (a *Audit) Pools() []PoolTotal {
	out := make([]PoolTotal, 0, len(a.pools))
	for _, p := range a.pools {
		out = append(out, p.total)
	}
	slices.SortFunc(out, func(x, y PoolTotal) int { return cmpString(x.Pool, y.Pool) })
	return out
}

// addSeat checks a window of a pool by itself and against the one before it. With
// how many seats that ended only its actions say, unless there were none; but
// where a window is left out nothing was taken.
func (a *Audit) addSeat(r *Seat) {
	a.checkWindow(uint64(r.From), uint64(r.To), true)
	p := a.pool(r.Pool)
	if p == nil {
		return
	}
	if r.From < p.to {
		a.find(CodeWindowGap, "seats of %s from %s on, the window before ends %s", r.Pool, instant(r.From), instant(p.to))
	}
	switch {
	case r.From > p.to && p.to != 0 && r.Start != 0 && !p.lost:
		a.find(CodeTotals, "seats of %s: %d at the start, and no record of the window before", r.Pool, r.Start)
	case p.known && r.Start != p.taken:
		a.find(CodeTotals, "seats of %s: %d at the start, the window before ended with %d", r.Pool, r.Start, p.taken)
	}
	a.checkSeat(r)
	p.to, p.known, p.taken, p.lost = max(p.to, r.To), r.Count == 0, r.Start, false
	t := &p.total
	t.Peak = max(t.Peak, r.Peak)
	fits := true
	for _, s := range [...]struct {
		to  *uint64
		add uint64
	}{{&t.Seconds, r.Seconds}, {&t.Denied, r.Denied}, {&t.Actions, r.Count}} {
		sum, ok := addUint(*s.to, s.add)
		*s.to, fits = sum, fits && ok
	}
	if !fits {
		a.find(CodeTotals, "seats of %s come to more than 2^63-1", r.Pool)
	}
}

// checkSeat checks what the fields of a record say of each other. An action takes
// at most one seat more.
func (a *Audit) checkSeat(r *Seat) {
	least, most := uint64(0), uint64(0)
	if length := uint64(r.To - r.From); length > 0 {
		over, full := bits.Mul64(r.Peak, length)
		if most = full; over > 0 {
			most = 1<<64 - 1
		}
		if r.Count == 0 {
			least = most
		}
	}
	switch {
	case r.Peak < r.Start:
		a.find(CodeTotals, "peak %d below the start %d", r.Peak, r.Start)
	case r.Peak-r.Start > r.Count-min(r.Denied, r.Count):
		a.find(CodeTotals, "peak %d, start %d: more than %d actions can take, of which %d were refused", r.Peak, r.Start, r.Count, r.Denied)
	case r.Seconds > most || r.Seconds < least:
		a.find(CodeTotals, "%d seat-seconds of at most %d seats in %d s", r.Seconds, r.Peak, r.To-r.From)
	case r.Denied > r.Count:
		a.find(CodeTotals, "%d refusals in %d actions", r.Denied, r.Count)
	case r.Count == 0 && (r.Start == 0 || r.Root != EmptyRoot):
		a.find(CodeTotals, "no actions: %d seats at the start, root %s", r.Start, r.Root)
	}
}

// pool returns the account of a pool, and makes it when it is new; nil: there are
// too many. At the begin of a ledger nothing is taken.
func (a *Audit) pool(name string) *poolAudit {
	p := a.pools[name]
	if p == nil {
		if len(a.pools) >= PoolsMax {
			a.find(CodeTooLarge, "more than %d pools of seats", PoolsMax)
			return nil
		}
		p = &poolAudit{known: a.size == 0 && !a.restored, total: PoolTotal{Pool: name}}
		a.pools[name] = p
	}
	return p
}

// forgetSeats: a ledger that came back from its records has lost the leases, one
// that came back from a copy has older ones.
func (a *Audit) forgetSeats() {
	for _, p := range a.pools {
		p.known, p.lost = false, true
	}
}
