package console

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/internal/access"
	"github.com/meterseal/meterseal/projections"
)

// Limits of a request.
const (
	// MaxBodyBytes is the size of a request body, as sent and as unpacked.
	MaxBodyBytes = events.MaxBatchBytes
	// maxHeaderBytes bounds the request line and headers together.
	maxHeaderBytes = 32 << 10
)

// ErrStarting is what Options.Ready returns, wrapped or not, while the daemon
// still starts.
var ErrStarting = errors.New("daemon is starting")

// Intake stores events. The gateway of events/stream is one.
type Intake interface {
	// Submit returns when all evs of node are stored and folded: the position
	// of the last group that has one of them, and a disposition per event, in
	// order. It is called by many goroutines at once.
	//
	// [Refusals] as an error stand beside the answer: seq and ds hold for the
	// other events. Any other error means that none of evs may be taken as
	// stored. An *events.Error is answered with its own status: busy,
	// store_unavailable, store_full.
	Submit(ctx context.Context, node string, evs []events.Event) (seq uint64, ds []events.Disposition, err error)
	// Refuse counts an event that was refused before Submit, by its code, and
	// keeps it with the rejected events. Node may be empty; data is
	// what was sent, as far as it is known, and is not changed later.
	Refuse(node, reason string, data []byte, err error)
}

// Refusals are events that Submit itself refused and has counted, by their
// index in evs.
type Refusals map[int]*events.Error

// Error says how many there are.
func (r Refusals) Error() string { return strconv.Itoa(len(r)) + " events were refused" }

// ReportOptions says what goes into a usage report.
type ReportOptions struct {
	// From is an accepted size to begin at; nil: where the last receipt ended.
	From *uint64
	// Until is the size that an earlier close ended with; nil: the ledger is closed
	// now, and the report ends there.
	Until *uint64
	// Level is "standard", "pseudonymous" or "detailed"; empty: as configured.
	Level string
	// CloseNow closes the open windows first.
	CloseNow bool
	// Message is for the log of the site and must not get into the report
	// (O-12). The console has logged it.
	Message string
}

// A Report is a usage report that is whole, and not yet sent.
type Report struct {
	PreparedReport
	// Write writes the text, and Close gives it up: each once.
	Write func(io.Writer) error
	Close func()
}

// Reporter writes usage reports.
type Reporter interface {
	// Report decides what the report holds, and writes it. Errors of type *Problem or
	// *events.Error are answered as such.
	Report(ctx context.Context, o ReportOptions) (*Report, error)
}

// DocumentField maps a meter to a further field of `count` in GET /usageReport.
type DocumentField struct{ Field, Meter string }

// Options of New. Intake, Reporter and Store are required unless StoreDisabled.
type Options struct {
	Intake   Intake
	Reporter Reporter
	Store    *projections.Store
	// Reports knows what reports say, and which were written; nil: there are no
	// routes for that.
	Reports Reports
	// StoreDisabled says that the daemon runs without a store: it takes no
	// events and has no numbers.
	StoreDisabled bool
	// Meters returns the declared meters; it is asked for every request.
	Meters func() *events.Meters
	// Future is how far ahead of Now the time of an event may be; beyond it is
	// time_in_future. 0: not checked here, since the gateway's time is a trace.
	Future time.Duration
	// Tail has the newest events for who watches; nil: there is nothing to see.
	Tail *Tail
	// Retention is how long refused events are kept; 0: not said.
	Retention time.Duration
	// OpenMeter serves POST /api/v1/events for SDKs of OpenMeter.
	OpenMeter bool
	// SubmitWithin is how long a request with events waits for the stream; 0: 15 s.
	SubmitWithin time.Duration
	// DocumentMeter is the meter of `documentsProcessed` in GET /usageReport;
	// empty: documentsProcessed, else documents.processed, if declared.
	DocumentMeter  string
	DocumentFields []DocumentField
	// Hosts are the addresses listened on, "host:port" or "host", and further
	// names under which clients may ask; with TLS the certificate decides. Loopback names always may; an address
	// such as 0.0.0.0 admits any IP address, but no further name.
	Hosts []string

	// Site is the label of the cluster, Instance that of this daemon; empty:
	// "site" is left out, the instance is called "local".
	Site, Instance string
	Version        string
	Started        time.Time
	// Ready returns nil if events are taken, ErrStarting during the start, and
	// otherwise why not; nil: always.
	Ready func() error
	// Sizes returns sizes in bytes for GET /v1/status, by a name such as
	// "stream_bytes"; nil: none.
	Sizes func() map[string]int64
	// Rate returns how fast events are counted; nil: nobody samples it.
	Rate func() Rate
	// Config returns every setting in force; nil: there is no route for them.
	Config func() Config
	// Licensing answers for the license; nil: this site evaluates, and there are
	// no routes for one.
	Licensing Licensing
	// Seats lends floating seats; nil: pools and holders can only be read here.
	Seats Seats
	// Exports are the jobs that export by themselves; nil: there are no routes for them.
	Exports Exports
	// Variables has the device variables; nil: there are no routes for them.
	Variables Variables
	// Refused is why the daemon refused to start and only holds (on_refusal: hold).
	// Every route but status, health and documents answers it, and Licensing is
	// asked for License only. nil: it started.
	Refused *Problem
	// Metrics serves GET /metrics; nil: there is no such route.
	Metrics http.Handler
	// Control puts a line into the stream that the fold acts on, and returns the
	// position of its group when that is folded; nil: sessions cannot be reverted
	// here.
	Control func(ctx context.Context, line string) (seq uint64, err error)
	// Checks recomputes the ledger; nil: there are no routes for that.
	Checks LedgerChecks
	// Proofs finds and proves single events; nil: there are no routes for that.
	Proofs Proofs
	// Backup writes a consistent archive of the running site, without its
	// private keys, to w; nil: there is no such route.
	Backup func(ctx context.Context, w io.Writer) error
	// Health looks at the parts of the site; nil: there is no route for it.
	Health func() []HealthCheck
	// Support writes an archive for whoever is asked for help, without secrets and
	// without what names people; nil: there is no such route.
	Support func(w io.Writer) error

	// Accounts has nodes, tokens and operators; nil: there are no routes for them.
	Accounts Accounts
	// Tokens knows who shows a token; nil: nobody has one.
	Tokens Tokens
	// Sessions knows who is signed in to the pages; nil: nobody can.
	Sessions Sessions
	// Pages returns the handler of the pages, which asks api as whoever asks it, and
	// hands on to api what is no page; nil: there are none.
	Pages func(api http.Handler) http.Handler
	// LoopbackToken says that programs of this machine need a token too. Without it
	// those that show none may do everything.
	LoopbackToken bool
	// OnRefusal is told of what was refused for who sent it, or how much; nil: nobody.
	OnRefusal func(access.Refusal)

	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log takes a line per finished unit of work; nil: none.
	Log *slog.Logger
}

type server struct {
	Options
	callers  callers
	marks    markIndex
	verifies chan struct{} // documents that are verified just now
	hosts    map[string]bool
	anyIP    bool
	spec     []byte // the OpenAPI document
}

// New returns the handler of the site's HTTP API. Serve it with [NewServer].
func New(o Options) http.Handler {
	if o.Meters == nil {
		none, _ := events.NewMeters(nil)
		o.Meters = func() *events.Meters { return none }
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SubmitWithin == 0 {
		o.SubmitWithin = 15 * time.Second
	}
	if o.Instance == "" {
		o.Instance = "local"
	}
	if o.Refused != nil {
		refused := o.Refused
		o.Ready = func() error { return refused }
	}
	o.StoreDisabled = o.StoreDisabled || o.Store == nil
	s := &server{Options: o, hosts: map[string]bool{}, callers: callers{n: map[string]int{}}, verifies: make(chan struct{}, verifiesAtOnce)}
	for _, h := range o.Hosts {
		h = hostName(h)
		if ip, err := netip.ParseAddr(h); h == "" || (err == nil && ip.IsUnspecified()) {
			s.anyIP = true
			continue
		}
		s.hosts[h] = true
	}
	table := s.table()
	s.spec = table.Document()
	h := table.Handler()
	if o.Refused != nil {
		h = s.held(h)
	}
	if o.Pages != nil {
		h = o.Pages(h)
	}
	return s.guard(h)
}

// NewServer returns a server for handler with the timeouts it counts on: a
// client that is slow to send or to read does not hold a connection for ever.
// Writing a report extends its own deadline.
func NewServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeaderBytes,
	}
}

// guard stands before every route: the size of the body, who sends it, under
// which name he asked for the daemon, and the origin of the page that sent it.
func (s *server) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, &Problem{Status: http.StatusForbidden, Code: "cross_origin",
			Message: "a web page of another origin sent this request",
			Hint:    "send it from a program, or from a page of this daemon"})
	}))
	next = s.identify(cross.Handler(next))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, bodyMax(r))
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// held answers with why the daemon did not start, wherever that is not what the
// route says anyway.
func (s *server) held(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := r.URL.Path; {
		case p == "/v1/status", p == "/healthz", p == "/readyz", p == "/openapi.json", strings.HasPrefix(p, "/docs/"):
			next.ServeHTTP(w, r)
		default:
			s.refuse(w, r, problemOf(s.Refused))
		}
	})
}

func wrongHost(r *http.Request) *Problem {
	return &Problem{Status: http.StatusMisdirectedRequest, Code: "wrong_host",
		Message: "this daemon is not called " + shown(r.Host),
		Hint:    "ask for 127.0.0.1, localhost or the configured listen address"}
}

// hostAllowed keeps out pages that reach this daemon by a name of their own
// (DNS rebinding): to a browser they are of the same origin, and only the name
// gives them away. It matters where no token is shown, which no page has.
func (s *server) hostAllowed(r *http.Request) bool {
	if viaUnix(r) || r.TLS != nil {
		return true // no browser gets there, or it has compared the name with the certificate
	}
	host := hostName(r.Host)
	if host == "localhost" || s.hosts[host] {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || s.anyIP)
}

// hostName returns the host of "host:port", in lower case.
func hostName(s string) string {
	if h, _, err := net.SplitHostPort(s); err == nil {
		s = h
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	return strings.ToLower(strings.TrimSuffix(s, "."))
}
