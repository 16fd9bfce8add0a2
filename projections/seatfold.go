package projections

import (
	"cmp"
	"container/heap"
	"slices"
	"strconv"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
)

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
	answer.Time = time.Unix(0, st.cursor.WallNS).UTC()
	if p != nil {
		answer.Time = time.UnixMilli(p.now(st)).UTC()
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
// in docs/explanation/licenses.md.
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
