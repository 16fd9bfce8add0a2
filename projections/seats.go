package projections

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/ledger"
	"github.com/meterseal/meterseal/license"
)

// Seats are leases of a pool (Y-10, X-11). Whoever asks for one becomes a control
// line of the stream, and the fold alone decides, so every replica and every
// replay gives the same answer:
//
//	pools                                  begins a new set, so the old one ends
//	pool NAME COUNT OVER LEASE BORROW HOLD SHARE ENFORCEMENT
//	seat checkout ID NODE POOL HOLDER LEASE BORROW LINGER USER HOST IP REFUSE
//	seat checkin ID NODE POOL HOLDER USER HOST IP
//	seat release ID POOL HOLDER REASON
//
// Spans are seconds, 0: none; an absent value is "-". The time of a request is that
// of its group. docs/decisions/seats.md has the rules.

// SeatAction is what a [SeatRequest] asks for.
type SeatAction string

// The actions. Checkout also renews what one holds; release is an operator's.
const (
	SeatCheckout SeatAction = "checkout"
	SeatCheckin  SeatAction = "checkin"
	SeatRelease  SeatAction = "release"
)

// What of an action its record has, beside the three above.
const (
	actionExpire = "expire"
	actionDeny   = "deny"
	actionBorrow = "borrow"
)

// Codes of a [SeatAnswer]. A refusal may also have a code of the license.
const (
	SeatClaimed       = "claimed"
	SeatRenewed       = "renewed"
	SeatReturned      = "returned"
	CodeHeldByAnother = "held_by_another" // the holder's name, by another node, user or host
	CodeUnknownPool   = "unknown_pool"
	CodeSeatUnknown   = "seat_unknown"
)

// States of a [Seat].
const (
	SeatStateHeld      = "held"
	SeatStateBorrowed  = "borrowed"  // needs no renewal
	SeatStateLingering = "lingering" // returned, and kept for its owner for a while
)

// Bounds of what a license or an application may ask for; more is taken for as
// much.
const (
	MaxBorrow    = license.MaxBorrow
	MaxHold      = license.MaxHold
	MaxLinger    = MaxHold
	DefaultLease = 5 * time.Minute
	maxLease     = MaxBorrow
)

// A SeatRequest is one line about a seat. (Pool, Holder) names the seat; its owner
// is Node, User and Host together.
type SeatRequest struct {
	ID     string // for [Store.ExpectSeat]
	Action SeatAction
	Node   string // not of a release
	Pool   string
	Holder string
	User   string // may be empty, as Host and IP
	Host   string
	IP     string
	Lease  time.Duration // 0: that of the pool, which is also the longest
	Borrow time.Duration // above 0: for so long without renewal, at most as the pool says
	Linger time.Duration // keep the seat for its owner so long after the checkin, at most MaxLinger
	Refuse string        // code of the license: the answer is no whatever is free
	Reason string        // of a release
}

// Check finds what must not get into the stream. Whoever sends a request asks
// first.
func (q *SeatRequest) Check() error {
	text := func(name, s string, most int) error {
		if len(s) > most {
			return fmt.Errorf("%s has %d bytes, at most %d are allowed", name, len(s), most)
		}
		return nil
	}
	err := errors.Join(ledger.CheckName(q.Pool), text("id", q.ID, 128), text("holder", q.Holder, 128), text("user", q.User, 128),
		text("host", q.Host, 128), text("ip", q.IP, 45), text("reason", q.Reason, 256), text("refusal", q.Refuse, 64))
	if q.Action != SeatRelease {
		err = errors.Join(err, ledger.CheckNode(q.Node))
	}
	switch {
	case err != nil:
		return err
	case q.ID == "" || q.ID == "-":
		return errors.New("id is missing")
	case q.Holder == "" || q.Holder == "-":
		return errors.New("holder is missing")
	case q.Action != SeatCheckout && q.Action != SeatCheckin && q.Action != SeatRelease:
		return fmt.Errorf("unknown action %q", q.Action)
	case q.Lease < 0 || q.Borrow < 0 || q.Linger < 0:
		return errors.New("a span below 0")
	}
	_, err = parseSeatRequest(q.Line()) // it finds text that is not UTF-8
	return err
}

// Line returns the control line of q, which has passed Check.
func (q SeatRequest) Line() string {
	value := func(s string) string {
		if s == "" {
			return "-"
		}
		return ledger.EscapeValue(s)
	}
	whole := func(d time.Duration) string { // a part of a second counts as one
		return strconv.FormatInt(int64((min(d, maxLease)+time.Second-1)/time.Second), 10)
	}
	f := []string{"seat", string(q.Action), value(q.ID)}
	switch q.Action {
	case SeatCheckout:
		f = append(f, value(q.Node), value(q.Pool), value(q.Holder), whole(q.Lease), whole(q.Borrow), whole(q.Linger),
			value(q.User), value(q.Host), value(q.IP), value(q.Refuse))
	case SeatCheckin:
		f = append(f, value(q.Node), value(q.Pool), value(q.Holder), value(q.User), value(q.Host), value(q.IP))
	case SeatRelease:
		f = append(f, value(q.Pool), value(q.Holder), value(q.Reason))
	}
	return strings.Join(f, " ")
}

// parseSeatRequest is the inverse of Line.
func parseSeatRequest(line string) (q SeatRequest, err error) {
	f := strings.Split(line, " ")
	bad := func(err error) (SeatRequest, error) {
		return q, fmt.Errorf("%w: control line %q: %w", ErrDamaged, line, err)
	}
	text := func(to *string) func(string) error {
		return func(s string) (err error) {
			if s != "-" {
				*to, err = ledger.UnescapeValue(s)
			}
			return err
		}
	}
	span := func(to *time.Duration) func(string) error {
		return func(s string) error {
			n, err := ledger.ParseUint(s)
			if err == nil && n > uint64(maxLease/time.Second) {
				err = fmt.Errorf("%d seconds", n)
			}
			*to = time.Duration(n) * time.Second
			return err
		}
	}
	if len(f) < 3 {
		return bad(fmt.Errorf("%d fields", len(f)))
	}
	var fields []func(string) error
	switch q.Action = SeatAction(f[1]); q.Action {
	case SeatCheckout:
		fields = []func(string) error{text(&q.ID), text(&q.Node), text(&q.Pool), text(&q.Holder), span(&q.Lease), span(&q.Borrow), span(&q.Linger),
			text(&q.User), text(&q.Host), text(&q.IP), text(&q.Refuse)}
	case SeatCheckin:
		fields = []func(string) error{text(&q.ID), text(&q.Node), text(&q.Pool), text(&q.Holder), text(&q.User), text(&q.Host), text(&q.IP)}
	case SeatRelease:
		fields = []func(string) error{text(&q.ID), text(&q.Pool), text(&q.Holder), text(&q.Reason)}
	}
	if len(f)-2 != len(fields) {
		return bad(fmt.Errorf("%d fields", len(f)))
	}
	for i, set := range fields {
		if err := set(f[2+i]); err != nil {
			return bad(err)
		}
	}
	return q, nil
}

// A Seat is one that is taken.
type Seat struct {
	Pool, Holder         string
	Node, User, Host, IP string
	Since                time.Time
	Until                time.Time // at this instant it is free
	Borrowed             bool
	State                string // held, borrowed, lingering
}

// SeatAnswer is what the fold decided. Count, Over and Taken are those of the pool
// afterwards.
type SeatAnswer struct {
	Code               string
	Time               time.Time // at which it was decided: what ends are counted from, whatever the wall clock shows since
	Seat               Seat      // that was claimed, renewed or returned, or that another holds
	Count, Over, Taken uint64
	NextEnd            time.Time // when the next lease of the pool ends; zero: none is taken
	Warning            string    // over_limit or no_seat: granted beyond the count
}

// PoolUse is a pool as it is now, and its totals since the ledger was opened.
type PoolUse struct {
	Name        string
	InForce     bool // a license or the configuration has it: else its seats end with their leases
	Count, Over uint64
	Lease       time.Duration
	Borrow      time.Duration
	Hold        time.Duration
	Share       string
	Enforcement string

	Taken    uint64 // seats that count: with sharing fewer than holders
	Holders  uint64
	Borrowed uint64 // of the holders
	NextEnd  time.Time

	Peak         uint64 // most taken at once
	SecondsTotal uint64 // seat-seconds
	DeniedTotal  uint64
}

// PoolLines returns the control lines with which the pools of l come into force;
// nil: none, so all that are in force end. They go with its `license` line.
func PoolLines(l *license.License) []string {
	lines := []string{"pools"}
	if l == nil {
		return lines
	}
	for _, x := range l.Seats {
		if p := l.Pool(x.Name); !slices.ContainsFunc(lines, func(s string) bool { return strings.HasPrefix(s, "pool "+p.Name+" ") }) {
			lines = append(lines, poolTerms{
				count: p.Count, over: p.Over, lease: wholeSeconds(p.Lease.Duration(), maxLease), borrow: wholeSeconds(p.Borrow.Duration(), MaxBorrow),
				hold: wholeSeconds(p.Hold.Duration(), MaxHold), share: p.Share, enforcement: string(l.Enforcement),
			}.line(p.Name))
		}
	}
	return lines
}

func wholeSeconds(d, most time.Duration) int64 { return int64(min(d, most) / time.Second) }

// PoolsInForce returns the lines of the pools that the fold has. Whoever starts
// compares them with [PoolLines] of the license in force.
func (s *Store) PoolsInForce() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.st.seats.lines) == 0 {
		return PoolLines(nil)
	}
	return s.st.seats.lines
}

// ExpectSeat tells where the answer to a request will come; it is called before the
// request goes into the stream. The channel has room for it. Forget ends the wait.
func (s *Store) ExpectSeat(id string) (answer <-chan SeatAnswer, forget func()) {
	c := make(chan SeatAnswer, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expected == nil {
		s.expected = map[string]chan SeatAnswer{}
	}
	s.expected[id] = c
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.expected[id] == c {
			delete(s.expected, id)
		}
	}
}

// answerSeats hands out what the fold decided; mu is held.
func (s *Store) answerSeats() {
	for _, a := range s.st.seats.answers {
		if c := s.expected[a.id]; c != nil {
			c <- a.answer
			delete(s.expected, a.id)
		}
	}
	s.st.seats.answers = s.st.seats.answers[:0]
}

// Seats returns the seats that are taken of a pool, or of all ("") by name; in each
// the one first that was taken first.
func (s *Store) Seats(pool string) []Seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Seat
	for _, p := range s.st.seats.byName() {
		if pool != "" && p.name != pool {
			continue
		}
		for _, x := range p.inOrder() {
			out = append(out, x.describe())
		}
	}
	return out
}

// SeatsToEnd returns the seats of a pool that end first, in that order, most at
// the most. It costs nothing that grows with how many are taken.
func (s *Store) SeatsToEnd(name string, most int) []Seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.st.seats.pools[name]
	if p == nil {
		return nil
	}
	var out []Seat
	for _, x := range p.ends.first(most) {
		out = append(out, x.describe())
	}
	return out
}

// Seat returns the seat of a holder, if it is taken.
func (s *Store) Seat(name, holder string) (Seat, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.st.seats.pools[name]; p != nil {
		if x := p.seats[holder]; x != nil {
			return x.describe(), true
		}
	}
	return Seat{}, false
}

// SeatsTaken returns how many seats of a pool are taken.
func (s *Store) SeatsTaken(name string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.st.seats.pools[name]; p != nil {
		return p.taken()
	}
	return 0
}

// Pools returns every pool that is in force or was used, by name.
func (s *Store) Pools() []PoolUse {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []PoolUse
	for _, p := range s.st.seats.byName() {
		out = append(out, p.use())
	}
	return out
}
