package meter

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"

	"github.com/meterseal/meterseal/events"
)

// Durability says when Record returns.
type Durability uint8

const (
	// Process: the event is in a file of the spool. It survives the end of the
	// process however that comes, kill -9 too; a power cut may take what was
	// recorded within the last Options.BatchDelay.
	Process Durability = iota
	// Disk: the file was synced, so the event survives a power cut too. Records
	// that run at once share a sync.
	Disk
	// Memory: the event is in memory and ends with the process, if it was not
	// sent before.
	Memory
)

// Defaults of Options.
const (
	DefaultURL            = "nats://127.0.0.1:4222"
	DefaultMaxSpool       = 1 << 30  // bytes, in files
	DefaultMaxSpoolMemory = 64 << 20 // bytes, in memory
	DefaultBatchEvents    = 2000
	DefaultBatchDelay     = 100 * time.Millisecond
)

// Options say where usage goes and how it is kept until it is counted. Only Node
// is required, and Dir unless Durability is Memory.
type Options struct {
	// URL of the site's NATS listener; several are separated by commas. Empty:
	// DefaultURL.
	URL string
	// Node is the name of this machine or process: letters, digits, "-" and "_".
	// Two processes that run at once need two nodes.
	Node string
	// Credentials is a NATS .creds file; empty: none.
	Credentials string
	// RootCAs and ClientCert are for TLS; nil: those of the system, and none.
	RootCAs    *x509.CertPool
	ClientCert *tls.Certificate

	// SiteKey is the verifier key of the site, as "meterseal keys show" prints it;
	// empty: the first that the daemon shows is trusted from then on.
	SiteKey string

	// Dir is the folder of the spool, of this process alone.
	Dir string
	// Durability says when Record returns; zero: Process.
	Durability Durability
	// MaxSpool is the most bytes that wait to be counted; 0: DefaultMaxSpool, or
	// DefaultMaxSpoolMemory in memory.
	MaxSpool int64

	// Meters are the declarations of the meters that are used, as in the
	// configuration of the daemon; nil: Record takes any name, and the daemon
	// refuses what it does not know. Meters with a rule book have to be declared.
	Meters []events.Meter

	// BatchEvents is how many events a batch has at most, up to 10,000; 0:
	// DefaultBatchEvents.
	BatchEvents int
	// BatchDelay is how long an event waits for others at most; 0:
	// DefaultBatchDelay. In files, what was recorded is synced as often.
	BatchDelay time.Duration

	// KeepSeats leaves seats to their leases when the Meter closes; else Close
	// returns those that are not borrowed.
	KeepSeats bool

	// Refused is told of every event that the daemon refused for good. It must
	// not call the Meter and should be quick; nil: the log says it.
	Refused func(Refusal)
	// StandIn takes the place of the daemon in tests of the application; see package
	// metertest. Nothing is spooled or sent then.
	StandIn StandIn
	// MeterProvider takes metrics (meterseal.*); nil: none.
	MeterProvider metric.MeterProvider
	// Logger takes what goes on, among it events that the daemon refused: Record
	// cannot know of them. nil: slog.Default(); slog.DiscardHandler keeps silent.
	Logger *slog.Logger

	segmentBytes int64         // of tests; 0: the default
	answerWait   time.Duration // of tests; how long a batch may have no answer
	beatEvery    time.Duration // of tests; how long the node may be silent
}

// A Refusal is an event that does not count, and why.
type Refusal struct {
	Epoch, Number uint64
	Event         events.Event
	Code, Message string
}

// A Meter records usage and brings it to the daemon. Its methods may be called
// at once.
type Meter struct {
	o      Options
	log    *slog.Logger
	away   away // why there is no connection
	seldom seldom
	spool  *spool
	meters *events.Meters // nil: any
	now    func() time.Time
	nc     *nats.Conn
	stats  counters
	seats  seatBook
	allow  allowances

	ended chan struct{} // closed when the sender has ended
	link  chan struct{} // the connection came or went
	hurry chan struct{} // somebody waits
	leave chan struct{} // Close wants the sender to end

	mu        sync.Mutex // protects what follows
	stored    uint64     // numbers below are on the daemon's disk
	counted   uint64     // numbers below are in a synced projection
	changed   chan struct{}
	unobserve func() error
	closeOnce sync.Once
	closeErr  error
}

// counters are what Stats shows.
type counters struct {
	recorded, refused, lost, resent, full, batches, behind, denied atomic.Uint64

	clash atomic.Bool

	oldest   atomic.Int64 // ms since 1970 of the first event that waits; 0: none does
	spoolOld atomic.Bool
}

// Stats are counts since Open.
type Stats struct {
	Epoch      uint64 // ms since 1970 at which the numbering began
	Next       uint64 // number of the next event: events recorded in this epoch
	Stored     uint64 // events below this number are on the daemon's disk
	Counted    uint64 // events below this number are counted for good
	SpoolBytes int64  // that the spool takes

	Recorded uint64 // Records that succeeded
	Full     uint64 // Records that failed with ErrSpoolFull
	Batches  uint64 // batches stored
	Resent   uint64 // batches sent again
	Refused  uint64 // events that the daemon refused for good
	Lost     uint64 // numbers lost by damage to the spool, or refused
	Behind   uint64 // times the daemon showed a ledger that had gone back
	Denied   uint64 // messages that the credentials did not allow: they are for another node

	// Oldest is the time of the first event that is not counted, looked at every
	// ten seconds; zero: none waits. SpoolOld: it is older than nodes.spool_max_age
	// of the site. After events.id_horizon the daemon would not count it any more.
	Oldest   time.Time
	SpoolOld bool

	// NameClash: another process sends under the name of this node, or the spool is
	// an old copy; nothing is sent until this one has its own Options.Node.
	NameClash bool
}

const defaultSegmentBytes, memorySegmentBytes = 8 << 20, 1 << 20

// Open opens the spool and begins to send what it holds. It does not need the
// daemon: it tries to connect once, for two seconds at most, and goes on in the
// background.
//
// Errors: *[events.Error] with code config_invalid and the option as field,
// [ErrSpoolInUse], and those of the disk.
func Open(ctx context.Context, o Options) (*Meter, error) {
	meters, err := o.check()
	if err != nil {
		return nil, err
	}
	m := &Meter{o: o, log: o.Logger, meters: meters, now: time.Now, ended: make(chan struct{}), link: make(chan struct{}, 1),
		hurry: make(chan struct{}, 1), leave: make(chan struct{}), changed: make(chan struct{})}
	if m.log == nil {
		m.log = slog.Default()
	}
	if o.StandIn != nil {
		return openStandIn(o, m)
	}
	w, err := openWitness(o.Dir, o.Node, o.SiteKey)
	if err != nil {
		return nil, err
	}
	var cut int64
	m.spool, cut, err = openSpool(o.Dir, o.Durability == Disk, o.MaxSpool, o.segmentBytes, m.now())
	if err != nil {
		return nil, err
	}
	if cut > 0 {
		m.log.Warn("the spool ended within an event, which was never acknowledged", "path", o.Dir, "size", cut)
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, m.spool.close())
	}
	if err := m.connect(); err != nil {
		return nil, errors.Join(err, m.spool.close())
	}
	m.stored = m.spool.start()
	m.counted = m.stored
	s, err := newSender(m, w)
	if err != nil {
		m.nc.Close()
		return nil, errors.Join(err, m.spool.close())
	}
	if m.unobserve, err = m.observe(); err == nil {
		if err = m.allow.start(m); err != nil {
			err = errors.Join(err, m.unobserve())
		}
	}
	if err != nil {
		m.nc.Close()
		return nil, errors.Join(err, m.spool.close())
	}
	go s.run()
	return m, nil
}

// check fills in defaults and says which option is wrong.
func (o *Options) check() (*events.Meters, error) {
	if o.URL == "" {
		o.URL = DefaultURL
	}
	if o.Durability == Memory {
		o.MaxSpool, o.segmentBytes = orElse(o.MaxSpool, DefaultMaxSpoolMemory), orElse(o.segmentBytes, memorySegmentBytes)
	}
	o.MaxSpool, o.segmentBytes = orElse(o.MaxSpool, DefaultMaxSpool), orElse(o.segmentBytes, defaultSegmentBytes)
	o.BatchEvents, o.BatchDelay = orElse(o.BatchEvents, DefaultBatchEvents), orElse(o.BatchDelay, DefaultBatchDelay)
	o.answerWait, o.beatEvery = orElse(o.answerWait, 10*time.Second), orElse(o.beatEvery, 10*time.Second)
	switch {
	case !events.ValidNode(o.Node):
		return nil, wrongOption("Node", "use letters, digits, - and _, at most 128, with a letter or digit first", "%q is no name of a node", o.Node)
	case o.Durability > Memory:
		return nil, wrongOption("Durability", "use Process, Disk or Memory", "%d is no durability", o.Durability)
	case o.Durability != Memory && o.Dir == "" && o.StandIn == nil:
		return nil, wrongOption("Dir", "name a folder for the spool, or choose Durability: Memory", "a durable spool needs a folder")
	case o.Durability == Memory && o.Dir != "":
		return nil, wrongOption("Dir", "leave it empty, or choose another Durability", "folder %q is given, but Durability is Memory", o.Dir)
	case o.MaxSpool < 1<<16:
		return nil, wrongOption("MaxSpool", "allow 64 KiB at least", "%d bytes are too few", o.MaxSpool)
	case o.BatchEvents < 0 || o.BatchEvents > events.MaxBatchEvents:
		return nil, wrongOption("BatchEvents", "use 1 to 10000", "%d events in a batch", o.BatchEvents)
	case o.BatchDelay < 0:
		return nil, wrongOption("BatchDelay", "use 1ms or more", "batches wait for %v", o.BatchDelay)
	case o.Meters == nil:
		return nil, nil
	}
	return events.NewMeters(o.Meters)
}

func orElse[T int | int64 | time.Duration](v, other T) T {
	if v == 0 {
		return other
	}
	return v
}

func wrongOption(field, hint, format string, args ...any) error {
	return &events.Error{Code: events.CodeConfigInvalid, Field: field, Message: "Options." + field + ": " + fmt.Sprintf(format, args...), Hint: hint}
}

// Record takes one use of a meter: quantity in the meter's smallest unit, 0 or
// more. It returns when the event is as durable as Options.Durability says, and
// never waits for the network or the daemon.
//
// Errors: *[events.Error] with the field at fault; [ErrSpoolFull],
// [ErrSpoolFailed], [ErrClosed]. After any error nothing was recorded.
func (m *Meter) Record(meter string, quantity int64, attrs ...Attr) error {
	var declared *events.Meter
	if m.meters != nil {
		if declared = m.meters.Lookup(meter); declared == nil {
			return &events.Error{Code: events.CodeUnknownMeter, Field: "meter", Message: "meter " + strconv.Quote(meter) + " is not declared",
				Hint: "declare it in Options.Meters and in the configuration of the daemon"}
		}
	}
	now := m.now()
	s := m.spool
	s.mu.Lock()
	e := &s.scratch.event
	err := s.scratch.set(meter, quantity, attrs, now, declared)
	if err == nil && declared != nil {
		if declared.RuleBook != "" && quantity == 1 {
			e.Quantity = whole(declared.Scale)
		}
		err = declared.Resolve(e)
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	if m.o.StandIn != nil {
		return m.standIn(e)
	}
	if s.closed { // only to the application: an event may still get a new number
		s.mu.Unlock()
		return ErrClosed
	}
	if err = s.addUnlock(e); err != nil {
		m.failed(err)
		return err
	}
	m.stats.recorded.Add(1)
	return nil
}

// whole returns one whole unit of a scale.
func whole(scale int) int64 {
	n := int64(1)
	for range scale {
		n *= 10
	}
	return n
}

// failed counts an event that was not taken, and logs once in a while what the
// application may overlook.
func (m *Meter) failed(err error) {
	if errors.Is(err, ErrSpoolFull) {
		if n := m.stats.full.Add(1); n&(n-1) == 0 { // the 1st, 2nd, 4th, 8th ...
			m.log.Error("the spool is full: usage is refused", "node", m.o.Node, "size", m.o.MaxSpool, "refused", n, "err", err)
		}
	}
}

// Flush waits until everything recorded before is on the daemon's disk. Events that
// the daemon refused for good, of a mistyped meter for example, will never be there,
// and are no error here: Stats().Refused counts them, and Options.Refused is told.
func (m *Meter) Flush(ctx context.Context) error {
	return m.await(ctx, func() uint64 { return m.stored })
}

// Counted waits until everything recorded before is counted for good: in a
// projection that survives the loss of the daemon's stream. Events that were refused
// are no error, as in Flush.
func (m *Meter) Counted(ctx context.Context) error {
	return m.await(ctx, func() uint64 { return m.counted })
}

// await waits until a mark has reached the next number as of now.
func (m *Meter) await(ctx context.Context, mark func() uint64) error {
	_, next := m.spool.numbers()
	select {
	case m.hurry <- struct{}{}:
	default:
	}
	for {
		m.mu.Lock()
		reached, changed := mark() >= next, m.changed
		m.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return m.away.late(m.o.Node, ctx.Err())
		case <-m.ended:
			return ErrClosed
		}
	}
}

// moved sets the marks and wakes those who wait.
func (m *Meter) moved(stored, counted uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stored, m.counted = max(m.stored, stored, counted), max(m.counted, counted)
	close(m.changed)
	m.changed = make(chan struct{})
}

// countedMark returns the number below which all is counted.
func (m *Meter) countedMark() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counted
}

// setCounted sets the mark back.
func (m *Meter) setCounted(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stored, m.counted = seq, seq
}

// Stats returns counts of this Meter.
func (m *Meter) Stats() Stats {
	c := &m.stats
	s := Stats{SpoolBytes: m.spool.used(), Recorded: c.recorded.Load(), Full: c.full.Load(), Batches: c.batches.Load(),
		Resent: c.resent.Load(), Refused: c.refused.Load(), Lost: c.lost.Load(), Behind: c.behind.Load(), Denied: c.denied.Load()}
	s.Epoch, s.Next = m.spool.numbers()
	s.NameClash, s.SpoolOld = c.clash.Load(), c.spoolOld.Load()
	if ms := c.oldest.Load(); ms != 0 {
		s.Oldest = time.UnixMilli(ms)
	}
	m.mu.Lock()
	s.Stored, s.Counted = m.stored, m.counted
	m.mu.Unlock()
	return s
}

// Close sends what it can until ctx ends and closes the spool; what was not
// stored stays there for the next start, unless it is in memory. Record fails
// with [ErrClosed] from then on.
func (m *Meter) Close(ctx context.Context) error {
	m.closeOnce.Do(func() {
		m.spool.mu.Lock()
		m.spool.closed = true
		m.spool.mu.Unlock()
		m.closeSeats(ctx)
		flushed := m.Flush(ctx)
		m.hangUp()
		m.allow.keep(m, true)
		m.closeErr = errors.Join(m.unobserve(), m.spool.close())
		if flushed != nil && m.o.Durability == Memory {
			m.closeErr = errors.Join(m.closeErr, fmt.Errorf("events in memory are lost: %w", flushed))
		}
	})
	return m.closeErr
}
