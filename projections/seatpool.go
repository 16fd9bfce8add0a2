package projections

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
)

// seatState is the part of the state that seats are. Times are ms.
type seatState struct {
	pools   map[string]*pool
	list    []*pool  // by index, the order in which they were first seen
	lines   []string // that gave the pools in force
	answers []seatReply
}

type seatReply struct {
	id     string
	answer SeatAnswer
}

// pool is a pool with its seats, and its windows that are not booked yet.
type pool struct {
	index   uint32
	name    string
	dirty   bool
	inForce bool
	terms   poolTerms

	seats     map[string]*seat      // by holder
	ends      seatHeap              // the one first that ends first
	shares    map[string]int        // seats by what they count as: as many different ones are taken
	lingering map[seatOwner][]*seat // returned, kept for their owner
	next      uint64                // number of the next seat

	at    int64       // the open windows hold what was taken up to then
	cells []*seatCell // not booked, by window
	total poolTotal   // of what is booked
}

// poolTerms are what a license says of a pool; spans are seconds.
type poolTerms struct {
	count, over         uint64
	lease, borrow, hold int64
	share, enforcement  string
}

// poolTotal folds the seat records of a pool.
type poolTotal struct{ peak, seconds, denied uint64 }

// seat is a seat that is taken.
type seat struct {
	pool   *pool
	holder string
	owner  seatOwner
	ip     string
	number uint64 // order of claims
	share  string // what it counts as, by the terms under which it was claimed
	since  int64
	until  int64
	linger int64 // s, that its application asked for

	borrowed, lingering bool
	heapAt              int
}

// seatOwner is who may renew and return a seat.
type seatOwner struct{ node, user, host string }

// seatHeap orders seats by their end; what ends together ends in the order in
// which it was claimed.
type seatHeap []*seat

func (h seatHeap) Len() int { return len(h) }
func (h seatHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].until, h[j].until), cmp.Compare(h[i].number, h[j].number)) < 0
}
func (h seatHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

// Push and Pop are for package heap.
func (h *seatHeap) Push(x any) {
	s := x.(*seat)
	s.heapAt = len(*h)
	*h = append(*h, s)
}

// Pop removes the last one.
func (h *seatHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return s
}

// first returns the n seats that end first, in that order.
func (h seatHeap) first(n int) []*seat {
	var out []*seat
	next := []int{0} // who ends after those in out; nobody ends before its parent
	for len(out) < min(n, len(h)) {
		k := 0
		for i := range next {
			if h.Less(next[i], next[k]) {
				k = i
			}
		}
		at := next[k]
		out = append(out, h[at])
		next = slices.Delete(next, k, k+1)
		for _, child := range [...]int{2*at + 1, 2*at + 2} {
			if child < len(h) {
				next = append(next, child)
			}
		}
	}
	return out
}

func (t poolTerms) line(name string) string {
	return fmt.Sprintf("pool %s %d %d %d %d %d %s %s", name, t.count, t.over, t.lease, t.borrow, t.hold, t.share, t.enforcement)
}

func parsePool(f []string) (name string, t poolTerms, err error) {
	if len(f) != 9 {
		return "", t, fmt.Errorf("%d fields", len(f))
	}
	name, t.share, t.enforcement = f[1], f[7], f[8]
	for i, to := range []*uint64{&t.count, &t.over} {
		if *to, err = ledger.ParseUint(f[2+i]); err != nil {
			return "", t, err
		}
	}
	for i, to := range []*int64{&t.lease, &t.borrow, &t.hold} {
		if *to, err = strconv.ParseInt(f[4+i], 10, 64); err != nil || *to < 0 || *to > int64(maxLease/time.Second) {
			return "", t, fmt.Errorf("span %q", f[4+i])
		}
	}
	if t.share != "none" && t.share != "user" && t.share != "host" {
		return "", t, fmt.Errorf("share %q", t.share)
	}
	return name, t, ledger.CheckName(name)
}

// setPool folds a line of the pools. Seats that are held stay held, whatever the
// new terms say: they count as they were claimed, and a pool that is no longer in
// force gives and renews none.
func (st *State) setPool(line string) error {
	x := &st.seats
	if line == "pools" {
		x.lines = nil
		for _, p := range x.list {
			p.inForce, p.terms = false, poolTerms{}
		}
	} else {
		name, terms, err := parsePool(strings.Split(line, " "))
		if err != nil {
			return fmt.Errorf("%w: control line %q: %w", ErrDamaged, line, err)
		}
		if p := st.pool(name); p != nil { // a ledger has room for so many only
			p.inForce, p.terms = true, terms
		}
	}
	// The list may have been handed out, so it is never changed in place.
	x.lines = append(x.lines[:len(x.lines):len(x.lines)], line)
	st.fx.pools = true
	return nil
}

// pool returns the pool of a name, and makes it when it is new; nil: a ledger may
// not have that many.
func (st *State) pool(name string) *pool {
	x := &st.seats
	p := x.pools[name]
	if p == nil && len(x.list) < ledger.PoolsMax {
		p = &pool{index: uint32(len(x.list)), name: strings.Clone(name), at: floorDiv(st.cursor.WallNS, 1e6)}
		p.init()
		x.pools[p.name] = p
		x.list = append(x.list, p)
		st.touchPool(p)
	}
	return p
}

func (p *pool) init() {
	p.seats, p.shares, p.lingering = map[string]*seat{}, map[string]int{}, map[seatOwner][]*seat{}
}

func (p *pool) taken() uint64 { return uint64(len(p.shares)) }

// now is the time of the group, or that of what is booked already if a restored
// ledger is ahead of it.
func (p *pool) now(st *State) int64 { return max(floorDiv(st.cursor.WallNS, 1e6), p.at) }

func (p *pool) nextEnd() time.Time {
	if len(p.ends) == 0 {
		return time.Time{}
	}
	return time.UnixMilli(p.ends[0].until).UTC()
}

// seatsDue returns when the next lease of any pool ends, or the next window that
// is one to be, in ns; 0: nothing is taken and nothing happened.
func (st *State) seatsDue() int64 {
	due := int64(math.MaxInt64)
	for _, p := range st.seats.list {
		if len(p.ends) > 0 {
			due = min(due, p.ends[0].until*1e6)
		}
		if from, ok := p.firstWindow(st); ok {
			due = min(due, (from+st.windowSeconds())*int64(time.Second))
		}
	}
	if due == math.MaxInt64 {
		return 0
	}
	return due
}

func (x *seatState) byName() []*pool {
	return slices.SortedFunc(slices.Values(x.list), func(a, b *pool) int { return strings.Compare(a.name, b.name) })
}

// inOrder returns the seats in the order in which they were claimed.
func (p *pool) inOrder() []*seat {
	return slices.SortedFunc(slices.Values(p.ends), func(a, b *seat) int { return cmp.Compare(a.number, b.number) })
}

func (s *seat) describe() Seat {
	state := SeatStateHeld
	switch {
	case s.lingering:
		state = SeatStateLingering
	case s.borrowed:
		state = SeatStateBorrowed
	}
	return Seat{Pool: s.pool.name, Holder: s.holder, Node: s.owner.node, User: s.owner.user, Host: s.owner.host, IP: s.ip,
		Since: time.UnixMilli(s.since).UTC(), Until: time.UnixMilli(s.until).UTC(), Borrowed: s.borrowed, State: state}
}

func (p *pool) use() PoolUse {
	t := p.terms
	u := PoolUse{Name: p.name, InForce: p.inForce, Count: t.count, Over: t.over, Share: t.share, Enforcement: t.enforcement,
		Lease: time.Duration(t.lease) * time.Second, Borrow: time.Duration(t.borrow) * time.Second, Hold: time.Duration(t.hold) * time.Second,
		Taken: p.taken(), Holders: uint64(len(p.seats)), NextEnd: p.nextEnd(),
		Peak: p.total.peak, SecondsTotal: p.total.seconds, DeniedTotal: p.total.denied}
	for _, s := range p.ends {
		if s.borrowed {
			u.Borrowed++
		}
	}
	for _, c := range p.cells {
		u.Peak, u.SecondsTotal, u.DeniedTotal = max(u.Peak, c.peak), u.SecondsTotal+c.seconds(), u.DeniedTotal+c.denied
	}
	u.Peak = max(u.Peak, u.Taken)
	return u
}
