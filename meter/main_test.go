package meter

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/events/stream"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// declared are the meters that the daemon of the tests knows.
func declared() *events.Meters {
	return must(events.NewMeters([]events.Meter{
		{ID: "pages", Unit: "page", Aggregation: events.Sum, Corrections: true},
		{ID: "documents", Aggregation: events.Sum, RuleBook: "documents/3", Scale: 2},
	}))
}

// numbered is a fold that follows SDK batches as projections do, in few lines.
type numbered struct {
	mu     sync.Mutex
	epoch  uint64
	next   uint64
	sum    map[string]int64
	events []events.Event
	lines  []string
	batch  int
	dups   int
	ended  bool // the epoch
}

func (n *numbered) fold(_ uint64, g *events.Group, dst []events.Disposition) ([]events.Disposition, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range g.Runs {
		r := &g.Runs[i]
		if r.Form == events.FormControl {
			n.lines = append(n.lines, string(r.Raw))
			var node string
			var epoch, first, after uint64
			if _, err := fmt.Sscanf(string(r.Raw), "lost %s %d %d %d", &node, &epoch, &first, &after); err == nil && epoch == n.epoch && first <= n.next && after > n.next {
				n.next = after
			}
		}
		if r.Form != events.FormBatch {
			continue
		}
		n.batch++
		n.ended = n.ended || r.Last
		if r.Epoch > n.epoch {
			n.epoch, n.next = r.Epoch, r.First
		}
		for j := range r.Events {
			seq := r.First + uint64(j)
			switch {
			case r.First > n.next && j == 0, len(dst) > 0 && j > 0 && dst[len(dst)-1] == events.OutOfOrder:
				dst = append(dst, events.OutOfOrder)
			case r.Epoch < n.epoch || seq < n.next:
				n.dups++
				dst = append(dst, events.Repeated)
			default:
				n.next = seq + 1
				n.sum[strings.Clone(r.Events[j].Meter)] += r.Events[j].Quantity
				n.events = append(n.events, cloneEvent(r.Events[j]))
				dst = append(dst, events.Stored)
			}
		}
	}
	return dst, nil
}

func (n *numbered) total(meter string) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sum[meter]
}

// said are the control lines.
func (n *numbered) said() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

// site is a stream with a gateway, in this process.
type site struct {
	*stream.Stream
	gw    *stream.Gateway
	fold  *numbered
	book  *book // ledger that tell shows
	voice *stream.Service
}

func openSite(tb testing.TB, listen string) *site {
	tb.Helper()
	s, err := stream.Open(context.Background(), stream.Options{Dir: tb.TempDir(), Listen: listen, MaxBytes: 1 << 30})
	if err != nil {
		tb.Fatal(err)
	}
	st := &site{Stream: s, fold: &numbered{sum: map[string]int64{}}}
	m := declared()
	if st.gw, err = stream.NewGateway(context.Background(), s, stream.GatewayOptions{Meters: func() *events.Meters { return m }, Fold: st.fold.fold}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		st.gw.Close(ctx)
		s.Close()
	})
	return st
}

func (s *site) url() string { return "nats://" + s.Addr() }

func open(tb testing.TB, o Options) *Meter {
	tb.Helper()
	if o.Node == "" {
		o.Node = "node-01"
	}
	if o.URL == "" {
		o.URL = "nats://127.0.0.1:1" // nobody listens there
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := Open(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeMeter(tb, m) })
	return m
}

// closeMeter closes without waiting for the daemon.
func closeMeter(tb testing.TB, m *Meter) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.Close(ctx); err != nil && m.o.Durability != Memory {
		tb.Errorf("Close() = %v", err)
	}
}

func flush(tb testing.TB, m *Meter) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := m.Flush(ctx); err != nil {
		tb.Fatalf("Flush() = %v; %+v", err, m.Stats())
	}
}
