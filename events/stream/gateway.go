package stream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meterseal/meterseal/events"
)

// A Log is where the gateway appends its groups and reads them back. [Stream]
// is one; tests have others. What it hands out was checked with [Verify].
type Log interface {
	Last(ctx context.Context) (Stored, error)
	Read(ctx context.Context, after uint64) iter.Seq2[Stored, error]
	Append(ctx context.Context, prev uint64, data []byte) (seq uint64, err error)
}

// Fold applies a stored group and returns dst with what became of each event
// appended: one disposition per event of the runs of forms 0 and 1, in the
// order of the runs. It is called on one goroutine, in the order of the
// stream, once per group. An error stops the gateway.
//
// The group, its slices and all strings in it are reused as soon as Fold has
// returned and the clients are answered: Fold must copy what it keeps.
type Fold func(seq uint64, g *events.Group, dst []events.Disposition) ([]events.Disposition, error)

// Clock says where the time of groups comes from.
type Clock uint8

const (
	// ClockSystem is the wall clock of this machine.
	ClockSystem Clock = iota
	// ClockTrace is the time that replaying nodes announce on beat.<node>: a
	// group has the least of their newest times as of the group before, and
	// events are neither clamped nor refused for their time. For replaying
	// recorded usage.
	ClockTrace
)

// GatewayOptions says what the gateway checks, where groups go when they are
// stored, and how much may be pending.
type GatewayOptions struct {
	// Meters returns the declared meters; it is asked again and again, so that
	// they may change. Required.
	Meters func() *events.Meters
	// Fold gets every stored group. Required.
	Fold Fold
	// Cursor is the position up to which the fold is already; groups after it
	// are folded before the gateway takes anything.
	Cursor uint64
	// Reject gets every event that is refused, before it reaches the stream or by
	// the fold, but those of batches out of order, which are sent again;
	// nil: they are only counted. It is called on one goroutine, after the
	// group that counts the refusal is stored.
	Reject func(RejectedEvent)
	// Refuse says why no event may be taken at present, such as that the ledger has
	// ended: what applications send is answered with that and neither stored nor
	// counted by the fold. It is asked for every message, so it must be cheap. nil:
	// never; it returns nil: none.
	//
	// Events that are already on their way are still folded, and what the fold says
	// of them is their answer.
	Refuse func() *events.Error
	// Keeping says what is stored of users, hosts and addresses; nil: all of it. What
	// it takes away never reaches the stream. Of a refused event neither a sample
	// nor what the refusal quotes is handed to Reject, since nobody can say what
	// stands in it. Its Hash is called with the gateway locked.
	Keeping *events.Keeping
	// Tick is asked about every second without events whether a group for the
	// time alone is wanted, since something can close by wallNS; nil: never.
	// It is called on the goroutine of Fold.
	Tick func(wallNS int64) bool
	// Fatal is called once when the gateway has to stop: another gateway has
	// appended, or the fold or the log failed; nil: see [Gateway.Done].
	Fatal func(error)

	// Clock is where time comes from; Now is the clock of ClockSystem, nil:
	// time.Now.
	Clock Clock
	Now   func() time.Time
	// TraceStart is the time of groups before the first beat under ClockTrace.
	TraceStart time.Time
	// Future is how far ahead of the clock an event may be; it then gets the
	// time of its group. 0: 5 minutes.
	Future time.Duration
	// AliveEvery is the least time between two `alive` lines of a node under
	// ClockSystem; 0: 10 s.
	AliveEvery time.Duration

	// PendingEvents and PendingBytes bound what is gathered, in flight or
	// being folded; beyond it clients are answered `busy` at once. 0: 262,144
	// events, 64 MiB.
	PendingEvents, PendingBytes int
	// NodeRate is how many events a second one node may send, and at once after a
	// pause of a second; beyond it it is answered `busy`. 0: any number.
	NodeRate int
	// GroupEvents and GroupBytes bound a group; 0: 16,384 events, 960 KiB.
	GroupEvents, GroupBytes int

	// Logger; nil: discarded.
	Logger *slog.Logger

	// natsGo takes events through nats.go also when the server is embedded.
	natsGo bool
}

func (o GatewayOptions) withDefaults() (GatewayOptions, error) {
	if o.Meters == nil || o.Fold == nil {
		return o, errors.New("gateway options: Meters and Fold are required")
	}
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&o.PendingEvents, 1<<18)
	def(&o.PendingBytes, 64<<20)
	def(&o.GroupEvents, 1<<14)
	def(&o.GroupBytes, 960<<10)
	o.GroupEvents = min(o.GroupEvents, events.MaxGroupEvents)
	o.GroupBytes = min(o.GroupBytes, MaxAppendBytes-64<<10)
	if o.Future == 0 {
		o.Future = 5 * time.Minute
	}
	if o.AliveEvery == 0 {
		o.AliveEvery = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = discardLog()
	}
	return o, nil
}

// MaxSampleBytes is how much is kept of an event that was refused.
const MaxSampleBytes = 4096

// A RejectedEvent is one that was refused.
type RejectedEvent struct {
	Node, Meter string // as of the subject or token; may be empty
	Err         *events.Error
	Seq         uint64 // the group that counts or holds it
	WallNS      int64  // time of that group
	Sample      []byte // the beginning of what was sent, at most MaxSampleBytes, or of what the stream holds; may be empty
	// Whole says that Sample is all that was sent, with the id and content type of
	// its headers: it can be read again.
	Whole           bool
	ID, ContentType string
}

// Gateway gathers events into groups, one stream message and one fsync each,
// and answers everybody when the group is stored and folded.
//
// There is no timer: what arrives while an fsync runs forms the next group, so
// a single event costs one fsync and many cost little more. It may be used
// from many goroutines.
type Gateway struct {
	opts   GatewayOptions
	log    Log
	intake intake // nil: only Submit, Control and Refuse

	mu       sync.Mutex // protects what follows
	cond     *sync.Cond // of mu: something below changed
	queue    []*pending // groups that gather, oldest first; the last takes events
	free     []*pending // for reuse
	inflight int        // encoded, but not yet stored
	chain    chain      // after the newest encoded group
	serial   bool       // encode nothing ahead, until inflight is 0
	held     int        // groups between the queue and their last answer
	heldN    int        // events, refusals and controls in queue and held
	heldB    int        // their bytes
	nodes    map[string]*node
	clock    traceClock
	closing  bool
	err      error // why the gateway stopped

	hungry  atomic.Bool // the encoder waits for mu
	down    atomic.Bool // the log does not answer: refuse at once
	full    atomic.Bool // the log was full when it was asked last
	lastSeq atomic.Uint64

	appendCh chan *pending
	foldCh   chan *pending
	answerCh chan *pending
	done     chan struct{} // closed when the gateway has stopped or closed
	loops    sync.WaitGroup
	stats    stats
}

// chain is what the next group must name.
type chain struct {
	seq   uint64 // position of the newest group
	sum   [32]byte
	first uint64 // events in all groups so far
	wall  int64  // its time
	term  uint64
}

// node is what the gateway knows of a node.
type node struct {
	name    string
	gather  uint64 // serial number of the pending group that run belongs to
	run     int    // its run of plain events there
	aliveMS int64  // newest `alive` line

	left   float64 // of NodeRate
	leftNS int64   // as of then; 0: all of it
}

// NewGateway folds what the log holds after o.Cursor and then serves: the
// clients of log if it is a [Stream], and the methods below.
//
// Errors: those of [Stream.Read], and those of o.Fold.
func NewGateway(ctx context.Context, log Log, o GatewayOptions) (*Gateway, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Gateway{opts: o, log: log, nodes: map[string]*node{},
		appendCh: make(chan *pending, 2), foldCh: make(chan *pending, 2), answerCh: make(chan *pending, 2),
		done: make(chan struct{})}
	g.cond = sync.NewCond(&g.mu)
	if s, ok := log.(*Stream); ok {
		g.full.Store(s.atItsSize()) // before anybody is refused
	}
	g.clock.nodes = map[string]int64{}
	if err := g.catchUp(ctx); err != nil {
		return nil, err
	}
	g.queue = []*pending{g.newPendingLocked()}
	g.loops.Add(4)
	go g.appendLoop(g.chain) // before the encoder moves it
	go g.encodeLoop()
	go g.foldLoop()
	go g.answerLoop()
	if s, ok := log.(*Stream); ok {
		if err := s.startIntake(ctx, g); err != nil {
			g.fail(err)
			g.loops.Wait()
			return nil, fmt.Errorf("serve clients: %w", err)
		}
	}
	return g, nil
}

// catchUp folds what the log holds after the cursor and finds the end of the
// chain.
func (g *Gateway) catchUp(ctx context.Context) error {
	last, err := g.log.Last(ctx)
	if err != nil {
		return fmt.Errorf("read the end of the stream: %w", err)
	}
	if last.Seq < g.opts.Cursor {
		return fmt.Errorf("%w: last group is %d, want %d", ErrTruncated, last.Seq, g.opts.Cursor)
	}
	var disp []events.Disposition
	for s, err := range g.log.Read(ctx, g.opts.Cursor) {
		if err != nil {
			return fmt.Errorf("read the stream after %d: %w", g.opts.Cursor, err)
		}
		if disp, err = g.opts.Fold(s.Seq, s.Group, disp[:0]); err != nil {
			return fmt.Errorf("fold group %d: %w", s.Seq, err)
		}
		last = s
	}
	g.chain = chain{term: 1, wall: g.opts.TraceStart.UnixNano()}
	if g.opts.Clock != ClockTrace || g.opts.TraceStart.IsZero() {
		g.chain.wall = 0
	}
	if last.Seq > 0 {
		g.chain = chain{seq: last.Seq, sum: last.Group.Sum, first: last.Group.First + uint64(last.Group.Count),
			wall: last.Group.WallNS, term: last.Group.Term + 1}
	}
	g.clock.atNS = g.chain.wall
	g.lastSeq.Store(last.Seq)
	return nil
}

// Seq returns the position of the newest group that was folded.
func (g *Gateway) Seq() uint64 { return g.lastSeq.Load() }

// Term returns the number of this gateway's leadership.
func (g *Gateway) Term() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.chain.term
}

// Done is closed when the gateway has stopped; [Gateway.Err] says why.
func (g *Gateway) Done() <-chan struct{} { return g.done }

// Ready returns nil while events can be taken, and else why not (what
// GatewayOptions.Refuse says is another matter):
// [ErrClosed], [ErrUnknown] while the log does not answer, or [ErrFull] while
// the stream is at its size or the disk of the embedded server has too little
// room.
func (g *Gateway) Ready() error {
	switch {
	case g.stopped():
		return errors.Join(ErrClosed, g.Err())
	case g.down.Load():
		return fmt.Errorf("the stream does not answer: %w", ErrUnknown)
	}
	s, ok := g.log.(*Stream)
	if g.full.Load() && (!ok || s.atItsSize()) {
		return fmt.Errorf("the stream is at its size: %w", ErrFull)
	}
	if ok {
		return s.checkRoom()
	}
	return nil
}

// Err returns why the gateway stopped: nil while it runs and after Close.
func (g *Gateway) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// fail stops the gateway. Whoever still waits is told that the outcome is not
// known; nothing is answered with success from here on.
func (g *Gateway) fail(err error) {
	g.mu.Lock()
	first := g.err == nil
	if first {
		g.err = err
		close(g.done)
	}
	g.cond.Broadcast()
	g.mu.Unlock()
	if first {
		g.opts.Logger.Error("gateway stopped", "err", err)
		if g.opts.Fatal != nil {
			g.opts.Fatal(err)
		}
	}
}

// stopped reports whether fail or Close is through.
func (g *Gateway) stopped() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// Close stops taking events, stores, folds and answers what has come, and
// returns when the answers are with the server. Clients whose events come
// later get no responder and send again. It returns why the gateway stopped
// before, if it did.
func (g *Gateway) Close(ctx context.Context) error {
	var errs []error
	if g.intake != nil && !g.stopped() {
		if err := g.intake.drain(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop taking events: %w", err))
		}
	}
	g.mu.Lock()
	g.closing = true
	g.mu.Unlock()
	if err := g.wait(ctx); err != nil {
		errs = append(errs, err)
	}
	g.mu.Lock()
	if g.err == nil && !g.stopped() {
		close(g.done)
	}
	errs = append(errs, g.err)
	g.cond.Broadcast()
	g.mu.Unlock()
	g.loops.Wait()
	if g.intake != nil {
		errs = append(errs, g.intake.close(ctx))
	}
	return errors.Join(errs...)
}

// wait returns when nothing is pending.
func (g *Gateway) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.cond.Broadcast()
	})
	defer stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.heldN > 0 || g.held > 0 {
		if g.stopped() {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("close gateway with %d events pending: %w", g.heldN, err)
		}
		g.cond.Wait()
	}
	return nil
}
