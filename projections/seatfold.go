package projections

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
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

// seat folds a request.
func (a *applier) seat(line string) error {
	q, err := parseSeatRequest(line)
	if err != nil {
		return err
	}
	st := a.st
	if n := st.nodes[q.Node]; n != nil {
		st.heard(n, a.wallMS) // of a node that is not in the ledger yet its events and beats tell
	}
	answer := SeatAnswer{Code: CodeUnknownPool}
	p := st.seats.pools[q.Pool]
	switch {
	case st.retired:
		answer.Code = events.CodeRetired
	case st.origin == "" || p == nil:
	case q.Action == SeatCheckin:
		answer = st.checkin(p, &q)
	case q.Action == SeatRelease:
		answer = st.release(p, &q)
	case p.inForce:
		answer = st.checkout(p, &q)
	}
	if p != nil {
		answer.Count, answer.Over, answer.Taken = p.terms.count, p.terms.over, p.taken()
		answer.NextEnd = p.nextEnd()
	}
	st.seats.answers = append(st.seats.answers, seatReply{q.ID, answer})
	return nil
}

func (st *State) checkout(p *pool, q *SeatRequest) SeatAnswer {
	now := p.now(st)
	s := p.seats[q.Holder]
	if s != nil && !s.isOf(q) {
		return SeatAnswer{Code: CodeHeldByAnother, Seat: s.describe()}
	}
	if q.Refuse != "" {
		return st.deny(p, q, q.Refuse)
	}
	if s == nil {
		s = p.keptFor(q)
	}
	switch {
	case s == nil:
		warning, refused := p.room(q)
		if refused {
			return st.deny(p, q, license.CodeNoSeat)
		}
		s = &seat{pool: p, holder: q.Holder, owner: seatOwner{q.Node, q.User, q.Host}, ip: q.IP, share: p.shareOf(q)}
		c := p.open(st, now)
		st.claim(s, now)
		st.leaseFor(s, q, now)
		st.act(c, s.action(now, s.claimed()))
		return SeatAnswer{Code: SeatClaimed, Seat: s.describe(), Warning: warning}
	case s.lingering:
		c := p.open(st, now)
		st.drop(s)
		s.holder, s.ip, s.lingering = q.Holder, cmp.Or(q.IP, s.ip), false
		st.claim(s, now)
		st.leaseFor(s, q, now)
		st.act(c, s.action(now, s.claimed()))
		return SeatAnswer{Code: SeatClaimed, Seat: s.describe()}
	}
	s.ip = cmp.Or(q.IP, s.ip)
	if st.leaseFor(s, q, now) {
		st.act(p.open(st, now), s.action(now, actionBorrow))
	}
	return SeatAnswer{Code: SeatRenewed, Seat: s.describe()}
}

// isOf tells whether q comes from the owner of s. What q leaves out is not asked
// for: a renewal need not repeat everything.
func (s *seat) isOf(q *SeatRequest) bool {
	return q.Node == s.owner.node && (q.User == "" || q.User == s.owner.user) && (q.Host == "" || q.Host == s.owner.host)
}

// keptFor returns the seat that is kept for who asks, of several the one that ends
// first; nil: none is.
func (p *pool) keptFor(q *SeatRequest) (best *seat) {
	for _, s := range p.lingering[seatOwner{q.Node, q.User, q.Host}] {
		if best == nil || cmp.Or(cmp.Compare(s.until, best.until), cmp.Compare(s.number, best.number)) < 0 {
			best = s
		}
	}
	return best
}

// shareOf returns what the seat of q counts as: with sharing all of a user, or
// host, are one.
func (p *pool) shareOf(q *SeatRequest) string {
	switch {
	case p.terms.share == "user" && q.User != "":
		return "u" + q.User
	case p.terms.share == "host" && q.Host != "":
		return "h" + q.Host
	}
	return "s" + strconv.FormatUint(p.next, 10)
}

// room tells whether one more seat may be taken: the row about seats of the table
// in docs/licenses.md.
func (p *pool) room(q *SeatRequest) (warning string, refused bool) {
	taken := p.taken()
	switch {
	case p.shares[p.shareOf(q)] > 0 || taken < p.terms.count:
		return "", false
	case taken < p.terms.count+p.terms.over:
		return license.CodeOverLimit, false
	}
	return license.CodeNoSeat, p.terms.enforcement != string(license.Advisory)
}

// claim puts s into its pool.
func (st *State) claim(s *seat, now int64) {
	p := s.pool
	s.since, s.until, s.number, s.borrowed = now, now, p.next, false
	p.next++
	p.put(s)
	st.touchPool(p)
	st.touchSeat(s)
}

func (p *pool) put(s *seat) {
	p.seats[s.holder] = s
	p.shares[s.share]++
	heap.Push(&p.ends, s)
	if s.lingering {
		p.lingering[s.owner] = append(p.lingering[s.owner], s)
	}
}

// drop takes s out of its pool.
func (st *State) drop(s *seat) {
	p := s.pool
	delete(p.seats, s.holder)
	if p.shares[s.share]--; p.shares[s.share] == 0 {
		delete(p.shares, s.share)
	}
	heap.Remove(&p.ends, s.heapAt)
	if s.lingering {
		kept := slices.DeleteFunc(p.lingering[s.owner], func(x *seat) bool { return x == s })
		if p.lingering[s.owner] = kept; len(kept) == 0 {
			delete(p.lingering, s.owner)
		}
	}
	st.touchSeat(s)
}

// leaseFor gives s the time that q asks for and its pool allows, and reports
// whether it is borrowed by that. Of a seat that is borrowed already the end comes
// no earlier.
func (st *State) leaseFor(s *seat, q *SeatRequest, now int64) (borrows bool) {
	t := s.pool.terms
	lease := t.leaseSeconds()
	if q.Lease > 0 {
		lease = min(lease, int64(q.Lease/time.Second))
	}
	if q.Linger > 0 {
		s.linger = int64(min(q.Linger, MaxLinger) / time.Second)
	}
	until := now + lease*1000
	if b := min(int64(q.Borrow/time.Second), t.borrow); b > 0 {
		borrows, until = true, max(now+b*1000, until)
	}
	switch {
	case s.borrowed && until <= s.until:
	default:
		s.borrowed, s.until = borrows, until
	}
	heap.Fix(&s.pool.ends, s.heapAt)
	st.touchSeat(s)
	return borrows
}

// claimed names the action with which s began.
func (s *seat) claimed() string {
	if s.borrowed {
		return actionBorrow
	}
	return string(SeatCheckout)
}

// deny books a refusal.
func (st *State) deny(p *pool, q *SeatRequest, code string) SeatAnswer {
	now := p.now(st)
	st.act(p.open(st, now), seatEvent{pool: p, ms: now, action: actionDeny, holder: q.Holder, owner: seatOwner{q.Node, q.User, q.Host}, ip: q.IP, reason: code})
	return SeatAnswer{Code: code}
}

// checkin returns a seat. It is kept for its owner as long as the license or the
// application says, whichever is longer.
func (st *State) checkin(p *pool, q *SeatRequest) SeatAnswer {
	s := p.seats[q.Holder]
	switch {
	case s == nil:
		return SeatAnswer{Code: CodeSeatUnknown}
	case !s.isOf(q):
		return SeatAnswer{Code: CodeHeldByAnother, Seat: s.describe()}
	case s.lingering: // the answer was lost, and it is sent again
		return SeatAnswer{Code: SeatReturned, Seat: s.describe()}
	}
	now := p.now(st)
	c := p.open(st, now)
	st.drop(s)
	was := s.describe()
	if keep := max(p.terms.hold, s.linger); keep > 0 {
		s.until, s.lingering, s.borrowed = now+keep*1000, true, false
		p.put(s)
		was = s.describe()
	}
	st.act(c, s.action(now, string(SeatCheckin)))
	return SeatAnswer{Code: SeatReturned, Seat: was}
}

// release ends a seat at once: an operator says so.
func (st *State) release(p *pool, q *SeatRequest) SeatAnswer {
	s := p.seats[q.Holder]
	if s == nil {
		return SeatAnswer{Code: CodeSeatUnknown}
	}
	now := p.now(st)
	c := p.open(st, now)
	st.drop(s)
	e := s.action(now, string(SeatRelease))
	e.reason = q.Reason
	st.act(c, e)
	return SeatAnswer{Code: SeatReturned, Seat: s.describe()}
}

// expireSeats ends every lease that is over by the group's time, each at its own
// instant: it does not matter how late the group comes. ran is up to when a daemon
// ran, in ms: whose lease ended later found nobody to renew it, and has one lease
// more for that.
func (st *State) expireSeats(ran int64) {
	now := floorDiv(st.cursor.WallNS, 1e6)
	for _, p := range st.seats.list {
		for len(p.ends) > 0 && p.ends[0].until <= now {
			s := p.ends[0]
			if s.until > ran && !s.borrowed && !s.lingering {
				s.until = now + p.terms.leaseSeconds()*1000
				heap.Fix(&p.ends, s.heapAt)
				st.touchSeat(s)
				continue
			}
			at := max(s.until, p.at)
			c := p.open(st, at)
			st.drop(s)
			st.act(c, s.action(at, actionExpire))
		}
	}
}

// leaseSeconds is how long a lease is unless its holder asks for less.
func (t poolTerms) leaseSeconds() int64 { return cmp.Or(t.lease, int64(DefaultLease/time.Second)) }

// endSeats ends all seats with the ledger, and the windows that they stand in:
// nothing comes after.
func (st *State) endSeats() {
	until := int64(0)
	for _, p := range st.seats.list {
		now := p.now(st)
		for len(p.ends) > 0 {
			s, c := p.ends[0], p.open(st, now)
			st.drop(s)
			e := s.action(now, string(SeatRelease))
			e.reason = "retired"
			st.act(c, e)
		}
		until = max(until, st.window(now)+st.windowSeconds())
	}
	st.bookSeats(until)
}

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
