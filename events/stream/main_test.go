package stream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
	"github.com/nats-io/nats.go"
)

// TestMain runs the parts of tests that are processes of their own.
func TestMain(m *testing.M) {
	switch os.Getenv("METERSEAL_STREAM_CHILD") {
	case "":
		os.Exit(m.Run())
	case "publish":
		os.Exit(childPublish())
	case "daemon":
		os.Exit(childDaemon())
	}
	os.Exit(2)
}

// meters are those of most tests.
func meters(tb testing.TB) *events.Meters {
	tb.Helper()
	return must(events.NewMeters([]events.Meter{
		{ID: "render.pages", Unit: "page", Aggregation: events.Sum, Corrections: true},
		{ID: "api.calls", Aggregation: events.Count},
		{ID: "storage", Unit: "GB", Scale: 3, Aggregation: events.Max},
	}))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// counted is a small fold: what a projection does, in memory and in few lines.
type counted struct {
	mu       sync.Mutex
	byID     map[string]int64 // node/id to quantity
	total    int64
	events   int
	dups     int
	groups   int
	seq      uint64
	wallNS   int64
	controls []string
	refusals map[string]uint64
	next     map[string]uint64 // of SDK batches
	slow     chan struct{}     // if not nil, each group waits for one
}

func newCounted() *counted {
	return &counted{byID: map[string]int64{}, refusals: map[string]uint64{}, next: map[string]uint64{}}
}

func (c *counted) fold(seq uint64, g *events.Group, dst []events.Disposition) ([]events.Disposition, error) {
	if c.slow != nil {
		<-c.slow
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq != c.seq+1 {
		return dst, fmt.Errorf("fold gets group %d after %d", seq, c.seq)
	}
	if g.WallNS < c.wallNS {
		return dst, errors.New("time falls")
	}
	c.seq, c.wallNS = seq, g.WallNS
	c.groups++
	for i := range g.Runs {
		r := &g.Runs[i]
		switch r.Form {
		case events.FormControl:
			c.controls = append(c.controls, string(r.Raw))
		case events.FormRefusals:
			for _, f := range r.Refusals {
				c.refusals[r.Node+" "+f.Reason] += f.Count
			}
		case events.FormBatch:
			d := events.Stored
			switch next := c.next[r.Node]; {
			case r.First > next:
				d = events.OutOfOrder
			case r.First < next:
				d = events.Duplicate
			default:
				c.next[r.Node] += uint64(len(r.Events))
			}
			for j := range r.Events {
				if d == events.Stored {
					c.total += r.Events[j].Quantity
					c.events++
				}
				dst = append(dst, d)
			}
		case events.FormEvents:
			for j := range r.Events {
				dst = append(dst, c.one(r.Node, &r.Events[j]))
			}
		}
	}
	return dst, nil
}

func (c *counted) one(node string, e *events.Event) events.Disposition {
	key := node + "/" + e.ID
	if q, ok := c.byID[key]; ok {
		if q != e.Quantity {
			return events.Conflict
		}
		c.dups++
		return events.Duplicate
	}
	c.byID[key] = e.Quantity
	c.total += e.Quantity
	c.events++
	return events.Stored
}

func (c *counted) sum() (total int64, events, groups int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total, c.events, c.groups
}

// openStream opens an embedded stream that listens on a free port.
func openStream(tb testing.TB, dir string) *stream.Stream {
	tb.Helper()
	s, err := stream.Open(context.Background(), stream.Options{Dir: dir, Listen: "127.0.0.1:0", MaxBytes: 1 << 30})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// site is a stream with a gateway and its fold.
type site struct {
	*stream.Stream
	gw   *stream.Gateway
	fold *counted
}

// openSite opens a site in dir; edit may change the options of the gateway.
func openSite(tb testing.TB, dir string, edit func(*stream.GatewayOptions)) *site {
	tb.Helper()
	return serve(tb, openStream(tb, dir), edit)
}

func serve(tb testing.TB, s *stream.Stream, edit func(*stream.GatewayOptions)) *site {
	tb.Helper()
	m := meters(tb)
	st := &site{Stream: s, fold: newCounted()}
	o := stream.GatewayOptions{Meters: func() *events.Meters { return m }, Fold: st.fold.fold}
	if edit != nil {
		edit(&o)
	}
	gw, err := stream.NewGateway(context.Background(), s, o)
	if err != nil {
		tb.Fatal(err)
	}
	st.gw = gw
	tb.Cleanup(func() { st.stop(tb) })
	return st
}

// stop closes the site; again does nothing.
func (s *site) stop(tb testing.TB) {
	if s.gw == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.gw.Close(ctx); err != nil && !tb.Failed() {
		tb.Logf("close gateway: %v", err)
	}
	s.gw = nil
	s.Close()
}

// client connects as an application does.
func (s *site) client(tb testing.TB) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect("nats://" + s.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// answer is what clients read.
type answer struct {
	Stream      string `json:"stream"`
	Seq         uint64 `json:"seq"`
	Duplicate   bool   `json:"duplicate"`
	Count       int    `json:"count"`
	Duplicates  int    `json:"duplicates"`
	Epoch, Next uint64
	Error       *struct {
		Code        int    `json:"code"`
		ErrCode     int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
	Hint string `json:"hint"`
}

// ask publishes with a reply and returns the answer.
func ask(tb testing.TB, nc *nats.Conn, m *nats.Msg) answer {
	tb.Helper()
	r, err := nc.RequestMsg(m, 10*time.Second)
	if err != nil {
		tb.Fatalf("publish to %s: %v", m.Subject, err)
	}
	var a answer
	if err := json.Unmarshal(r.Data, &a); err != nil {
		tb.Fatalf("answer %q: %v", r.Data, err)
	}
	return a
}

// eventually waits for a condition, without a limit of its own: the test's
// deadline is the limit.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// replay reads the whole stream into a fresh fold.
func replay(tb testing.TB, s *stream.Stream) (*counted, error) {
	tb.Helper()
	c := newCounted()
	for st, err := range s.Read(context.Background(), 0) {
		if err != nil {
			return c, err
		}
		if _, err := c.fold(st.Seq, st.Group, nil); err != nil {
			return c, err
		}
	}
	return c, nil
}

// sorted returns the keys of m in order.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
