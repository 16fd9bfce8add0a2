package meter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/meterseal/meterseal/events"
)

// Bounds of heartbeats.
const (
	seatAnswerWait = 5 * time.Second // for one answer
	minSeatBeat    = 100 * time.Millisecond
	maxSeatRetry   = 10 * time.Second
)

// SeatOptions of [Meter.Checkout]. The zero value asks for a seat with the lease
// of the pool.
type SeatOptions struct {
	// Holder names who holds the seat, 1 to 128 bytes. Empty: the node, and from
	// the second seat of this Meter in the pool on the node with a number. So a
	// program that crashed finds its own seat again, rather than taking two.
	Holder string
	// User, Host and IP stand beside the holder in lists. A seat belongs to node,
	// user and host together.
	User, Host, IP string
	// Lease is after how long without a heartbeat the seat is free; 0: as the pool
	// says, which is also the most.
	Lease time.Duration
	// Borrow keeps the seat for so long without any heartbeat, as far as the pool
	// allows: for work without a network. The seat is then kept in Options.Dir,
	// and Checkout gives it again until its end, also when no daemon can be reached.
	Borrow time.Duration
	// Linger asks to keep the seat for its owner so long after Checkin.
	Linger time.Duration
}

// A Seat is a floating seat that this process holds. Heartbeats keep it in the
// background. Its methods may be called at once.
type Seat struct {
	m            *Meter
	pool, holder string
	o            SeatOptions
	lost         chan struct{}
	stop         context.CancelFunc
	ended        chan struct{} // closed when the heartbeats have ended

	mu  sync.Mutex // protects what follows
	now lease
	err error
}

// lease is what an answer of the daemon comes to, by the clock of this process.
type lease struct {
	until    time.Time // the seat is free then, unless it is renewed
	outage   time.Time // without a daemon it may be used up to here; zero: without bound
	borrowed bool
	warnings []string
}

// Checkout takes a seat of a pool, and keeps it with heartbeats until
// [Seat.Checkin] or [Meter.Close].
//
// Errors: a *[SeatError] when pool or license say no, [ErrUnreachable],
// [ErrClosed], and *[events.Error] for an option that is wrong.
func (m *Meter) Checkout(ctx context.Context, pool string, o SeatOptions) (*Seat, error) {
	if !events.ValidMeter(pool) {
		return nil, wrongOption("pool", "use the name of a pool of the license", "%q is no name of a pool", pool)
	}
	run, stop := context.WithCancel(context.Background())
	s := &Seat{m: m, pool: pool, o: o, lost: make(chan struct{}), stop: stop, ended: make(chan struct{})}
	if err := m.seats.add(s, m.o.Node); err != nil {
		stop()
		return nil, err
	}
	l, err := s.ask(ctx, o.Borrow)
	if errors.Is(err, ErrUnreachable) { // a seat that was borrowed before needs no daemon
		if kept, ok := m.keptSeat(s); ok {
			l, err = kept, nil
		}
	}
	if err == nil && l.borrowed {
		err = m.keepSeat(s, l)
	}
	if err != nil {
		m.seats.remove(s)
		stop()
		return nil, err
	}
	s.now = l
	go s.beat(run)
	return s, nil
}

// Pool and Holder name the seat.
func (s *Seat) Pool() string { return s.pool }

// Holder is who holds it.
func (s *Seat) Holder() string { return s.holder }

// Until is when the seat is free for others, unless a heartbeat renews it before;
// of a borrowed one its end. It is an instant of this machine's clock.
func (s *Seat) Until() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.until
}

// Borrowed tells whether the seat needs no heartbeats up to Until.
func (s *Seat) Borrowed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.borrowed
}

// Warnings are codes that came with the newest answer, such as over_limit.
func (s *Seat) Warnings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.now.warnings)
}

// Lost is closed when the seat is not held any more although it was not returned:
// the daemon says so, or no daemon could be reached until the lease had ended and
// the outage was over that the license allows. Err says why.
func (s *Seat) Lost() <-chan struct{} { return s.lost }

// Err is why the seat was lost; nil: it is held, or was returned.
func (s *Seat) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Checkin returns the seat, a borrowed one before its end too. Of one that is lost
// it does nothing.
//
// Errors: [ErrUnreachable]; the seat is free at [Seat.Until] then, and Checkin may
// be tried again.
func (s *Seat) Checkin(ctx context.Context) error {
	s.stop()
	<-s.ended
	if s.Err() != nil {
		return nil //nolint:nilerr // that it is lost was told before
	}
	_, err := s.m.askSeat(ctx, s.pool, seatAsk{Action: "checkin", Holder: s.holder, User: s.o.User, Host: s.o.Host, IP: s.o.IP})
	var refused *SeatError
	if err != nil && !errors.As(err, &refused) { // a seat that is unknown by now is free as well
		return err
	}
	s.m.seats.remove(s)
	return s.m.forgetSeat(s)
}

// beat renews the seat until it is returned or lost: a third of the lease after
// each answer, sooner again where there was none.
func (s *Seat) beat(ctx context.Context) {
	defer close(s.ended)
	failed := 0
	for {
		now := s.held()
		left := time.Until(now.until)
		wait := left / 3
		if failed > 0 {
			wait = min(left.Abs()/10+minSeatBeat, minSeatBeat<<min(failed, 16), maxSeatRetry)
		}
		wait = jitter(max(wait, minSeatBeat))
		if left > 0 {
			wait = min(wait, left) // its end is noticed at once
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		l, err := s.ask(ctx, 0)
		var refused *SeatError
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failed = 0
			s.renewed(l)
		case errors.As(err, &refused):
			s.lose(err)
			return
		default:
			if failed++; s.held().over(time.Now()) {
				s.lose(err)
				return
			}
		}
	}
}

// over tells whether an application that has reached no daemon since l has to stop:
// a borrowed seat ends when it ends; another one after the outage that the license
// allows (docs/explanation/licenses.md).
func (l lease) over(now time.Time) bool {
	if l.borrowed {
		return !now.Before(l.until)
	}
	return !now.Before(l.until) && !l.outage.IsZero() && now.After(l.outage)
}

func (s *Seat) held() lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// renewed takes a new lease over.
func (s *Seat) renewed(l lease) {
	s.mu.Lock()
	was := s.now
	s.now = l
	s.mu.Unlock()
	var err error
	switch {
	case l.borrowed:
		err = s.m.keepSeat(s, l)
	case was.borrowed:
		err = s.m.forgetSeat(s)
	}
	if err != nil {
		s.m.log.Error("keep a borrowed seat", "pool", s.pool, "holder", s.holder, "err", err)
	}
}

func (s *Seat) lose(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	s.m.log.Warn("a seat is lost", "pool", s.pool, "holder", s.holder, "err", err)
	s.m.seats.remove(s)
	if err := s.m.forgetSeat(s); err != nil {
		s.m.log.Error("forget a seat", "pool", s.pool, "err", err)
	}
	close(s.lost)
}

// jitter spreads beats that began together by a tenth.
func jitter(d time.Duration) time.Duration {
	return d - d/20 + rand.N(d/10+1)
}

// seatAsk is the body of a request; the daemon knows no other fields.
type seatAsk struct {
	Action string `json:"action"`
	Holder string `json:"holder"`
	User   string `json:"user,omitempty"`
	Host   string `json:"host,omitempty"`
	IP     string `json:"ip,omitempty"`
	Lease  string `json:"lease,omitempty"`
	Borrow string `json:"borrow,omitempty"`
	Linger string `json:"linger,omitempty"`
}

// seatAnswer is what is read of the answer.
type seatAnswer struct {
	Status      int        `json:"status"`
	State       string     `json:"state"`
	Time        time.Time  `json:"time"`
	Until       time.Time  `json:"until"`
	OutageUntil *time.Time `json:"outage_until"`
	Warnings    []string   `json:"warnings"`
	SeatError
	Error *struct { // of a request that was not even looked at
		Code        int    `json:"code"`
		Description string `json:"description"`
	} `json:"error"`
}

// ask takes or renews the seat. The lease counts from before the request, by the
// clock of this process: the daemon's may show another time.
func (s *Seat) ask(ctx context.Context, borrow time.Duration) (lease, error) {
	sent := time.Now()
	a, err := s.m.askSeat(ctx, s.pool, seatAsk{Action: "checkout", Holder: s.holder, User: s.o.User, Host: s.o.Host, IP: s.o.IP,
		Lease: spanText(s.o.Lease), Borrow: spanText(borrow), Linger: spanText(s.o.Linger)})
	if err != nil {
		return lease{}, err
	}
	l := lease{until: sent.Add(a.Until.Sub(a.Time)), borrowed: a.State == "borrowed", warnings: a.Warnings}
	if a.OutageUntil != nil {
		l.outage = sent.Add(a.OutageUntil.Sub(a.Time))
	}
	return l, nil
}

// spanText spells a span for the daemon; empty: none.
func spanText(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return d.String()
}

// askSeat sends one request and returns the answer if it is a yes.
func (m *Meter) askSeat(ctx context.Context, pool string, ask seatAsk) (*seatAnswer, error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, seatAnswerWait)
	defer cancel()
	data, err := m.request(ctx, "seat."+m.o.Node+"."+pool, body)
	if err != nil {
		return nil, err
	}
	var a seatAnswer
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("%w: the answer about pool %s cannot be read: %w", ErrUnreachable, pool, err)
	}
	switch {
	case a.Error != nil:
		return nil, fmt.Errorf("%w: %s", ErrUnreachable, a.Error.Description)
	case a.Status/100 == 2:
		return &a, nil
	case a.Status == 429 || a.Status >= 500:
		return nil, fmt.Errorf("%w: %s: %s", ErrUnreachable, a.Code, a.Message)
	}
	a.SeatError.Pool, a.SeatError.Holder = pool, ask.Holder
	return nil, &a.SeatError
}

// seatBook has the seats of a Meter.
type seatBook struct {
	mu     sync.Mutex
	closed bool
	list   []*Seat
}

// add takes s in and gives it a holder if it has none.
func (b *seatBook) add(s *Seat, node string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	has := func(holder string) bool {
		return slices.ContainsFunc(b.list, func(o *Seat) bool { return o.pool == s.pool && o.holder == holder })
	}
	s.holder = s.o.Holder
	if s.holder == "" {
		s.holder = node
		for i := 2; has(s.holder); i++ {
			s.holder = node + "-" + strconv.Itoa(i)
		}
	}
	if has(s.holder) {
		return wrongOption("Holder", "give each seat a holder of its own", "%q holds a seat of pool %s in this process already", s.holder, s.pool)
	}
	b.list = append(b.list, s)
	return nil
}

func (b *seatBook) remove(s *Seat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = slices.DeleteFunc(b.list, func(o *Seat) bool { return o == s })
}

// closeSeats ends the heartbeats. Seats are returned, unless they are borrowed or
// Options.KeepSeats says otherwise; without a daemon their leases end.
func (m *Meter) closeSeats(ctx context.Context) {
	m.seats.mu.Lock()
	m.seats.closed = true
	list := slices.Clone(m.seats.list)
	m.seats.mu.Unlock()
	var all sync.WaitGroup
	for _, s := range list {
		if m.o.KeepSeats || s.Borrowed() {
			s.stop()
			<-s.ended
			continue
		}
		all.Go(func() {
			if err := s.Checkin(ctx); err != nil {
				m.log.Warn("a seat was not returned: its lease ends it", "pool", s.pool, "holder", s.holder, "err", err)
			}
		})
	}
	all.Wait()
}
