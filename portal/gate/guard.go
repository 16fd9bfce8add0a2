package gate

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/meterseal/meterseal/portal"
)

// formBytesMax bounds what somebody may send who is not signed in.
const formBytesMax = 1 << 20

// refuse answers without asking any handler: as a problem of RFC 9457 to programs, as
// text to people.
func refuse(w http.ResponseWriter, r *http.Request, e *portal.Error) {
	if seconds, ok := e.Details["retry_after"].(int64); ok {
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	w.Header().Set("Cache-Control", "no-store")
	if strings.HasPrefix(r.URL.Path, "/api/") {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(e.Status)
		major, minor, _ := strings.Cut(e.Code, "/")
		_ = json.NewEncoder(w).Encode(map[string]any{"major": major, "minor": minor, "type": "/docs/errors/" + e.Code, "title": http.StatusText(e.Status), "status": e.Status, "detail": e.Message,
			"code": e.Code, "message": e.Message, "hint": e.Hint, "fix_by": e.FixBy, "how": e.Hint})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(e.Status)
	fmt.Fprintf(w, "%s\n%s\n[%s]\n", e.Message, e.Hint, e.Code)
}

// flooded refuses one request of too many.
func flooded(wait time.Duration) *portal.Error {
	return &portal.Error{Code: "busy/rate", Status: http.StatusTooManyRequests, FixBy: "courier", Message: "too many requests come from this address",
		Hint: "wait, send it again: safe, nothing was booked", Details: map[string]any{"retry_after": int64(math.Ceil(wait.Seconds()))}}
}

// tooMany refuses for a while.
func tooMany(wait time.Duration) *portal.Error {
	seconds := int64(math.Ceil(wait.Seconds()))
	return &portal.Error{Code: portal.CodeTooMany, Status: http.StatusTooManyRequests, Message: fmt.Sprintf("too many attempts: none is looked at for %d s", seconds),
		Hint: "wait, then try once", Details: map[string]any{"retry_after": seconds}}
}

// hostAllowed tells whether a request may be for this name. Addresses are: no name can
// be made to point here by writing one.
func (g *Gate) hostAllowed(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return g.hosts[host]
}

// Address is where a request comes from: the nearest one that is no trusted proxy.
func (g *Gate) Address(r *http.Request) string {
	at := addressOf(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && g.trusted(at); i-- {
		next := addressOf(strings.TrimSpace(hops[i]))
		if !next.IsValid() {
			break
		}
		at = next
	}
	if !at.IsValid() {
		return "unknown"
	}
	if at.Is6() { // a household has a whole net of 2^64
		p, _ := at.WithZone("").Prefix(64)
		return p.String()
	}
	return at.String()
}

func addressOf(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap()
	}
	a, _ := netip.ParseAddr(s)
	return a.Unmap()
}

func (g *Gate) trusted(a netip.Addr) bool {
	for _, p := range g.o.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// flood counts the requests of addresses: a bucket for each, which fills with time.
type flood struct {
	rate, burst float64
	mu          sync.Mutex
	buckets     map[string]bucket // guarded by mu
}

type bucket struct {
	left float64
	at   time.Time
}

// bucketsMax bounds memory: at so many, those that are full again are dropped, and
// all if none is.
const bucketsMax = 50_000

// wait returns how long an address has to; 0: it may go on.
func (f *flood) wait(address string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.buckets == nil {
		f.buckets = map[string]bucket{}
	}
	b, ok := f.buckets[address]
	if !ok {
		if len(f.buckets) >= bucketsMax {
			f.sweep(now)
		}
		b = bucket{f.burst, now}
	}
	b.left = min(f.burst, b.left+now.Sub(b.at).Seconds()*f.rate)
	b.at = now
	if b.left < 1 {
		f.buckets[address] = b
		return time.Duration((1 - b.left) / f.rate * float64(time.Second))
	}
	b.left--
	f.buckets[address] = b
	return 0
}

func (f *flood) sweep(now time.Time) {
	for a, b := range f.buckets {
		if b.left+now.Sub(b.at).Seconds()*f.rate >= f.burst {
			delete(f.buckets, a)
		}
	}
	if len(f.buckets) >= bucketsMax {
		clear(f.buckets)
	}
}

// Paces of a connection: who sends or takes nothing for so long, or sends slower than
// this after a grace, is cut off. A long upload is not.
const (
	stallTime   = 30 * time.Second
	bytesPerSec = 1 << 10
)

// errSlow is what reading a body ends with that comes too slowly.
var errSlow = fmt.Errorf("the body comes too slowly: %w", os.ErrDeadlineExceeded)

// paced watches over the body of r and what is written to w. That a deadline cannot
// be set, as in a test without a connection, only means that nothing is watched.
func paced(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Time{}) // that of the request before
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &pacedBody{ReadCloser: r.Body, c: c}
	}
	return &pacedWriter{w, c}, r
}

type pacedBody struct {
	io.ReadCloser
	c     *http.ResponseController
	n     int64
	spent time.Duration // in Read: what the portal does between counts for nobody
}

func (b *pacedBody) Read(p []byte) (int, error) {
	left := stallTime + time.Duration(b.n/bytesPerSec)*time.Second - b.spent
	if left <= 0 {
		return 0, errSlow
	}
	began := time.Now()
	_ = b.c.SetReadDeadline(began.Add(min(stallTime, left)))
	n, err := b.ReadCloser.Read(p)
	b.n, b.spent = b.n+int64(n), b.spent+time.Since(began)
	if err == io.EOF {
		_ = b.c.SetReadDeadline(time.Time{}) // else the server takes it for the end of the connection
	}
	return n, err
}

type pacedWriter struct {
	http.ResponseWriter
	c *http.ResponseController
}

// Unwrap lets http.ResponseController reach what is below.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) Write(p []byte) (int, error) {
	_ = w.c.SetWriteDeadline(time.Now().Add(2 * stallTime))
	return w.ResponseWriter.Write(p)
}
