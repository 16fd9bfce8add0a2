package meter

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/meterseal/meterseal/internal/crashtest"
)

// A node that uses nothing says that it runs, and when it leaves.
func TestBeats(t *testing.T) {
	s := openSite(t, "127.0.0.1:0")
	m := open(t, Options{URL: s.url(), Durability: Memory, beatEvery: time.Millisecond})
	beats := func() (n int) {
		s.fold.mu.Lock()
		defer s.fold.mu.Unlock()
		for _, l := range s.fold.lines {
			if strings.HasPrefix(l, "alive node-01 ") {
				n++
			}
		}
		return n
	}
	crashtest.Eventually(t, "a sign of life", func() (bool, string) { n := beats(); return n == 1, fmt.Sprint(n) })
	closeMeter(t, m)
	crashtest.Eventually(t, "the last sign", func() (bool, string) { n := beats(); return n == 2, fmt.Sprint(n) })
}

// An epoch in memory that ends as it should says so, whether the last events are
// still to be sent then or not; one that goes on after a restart never does.
func TestEpochEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     Options
		flush bool
		want  bool
	}{
		{"memory, all sent", Options{Durability: Memory}, true, true},
		{"memory, to be sent", Options{Durability: Memory, BatchDelay: time.Hour}, false, true},
		{"files", Options{Dir: t.TempDir()}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openSite(t, "127.0.0.1:0")
			c.o.URL = s.url()
			m := open(t, c.o)
			for range 3 {
				if err := m.Record("pages", 5); err != nil {
					t.Fatal(err)
				}
			}
			if c.flush {
				flush(t, m)
			}
			if err := m.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			crashtest.Eventually(t, "the node to have left", func() (bool, string) {
				s.fold.mu.Lock()
				defer s.fold.mu.Unlock()
				return len(s.fold.lines) > 0, "no line"
			})
			if got := s.fold.total("pages"); got != 15 || s.fold.ended != c.want {
				t.Errorf("total %d, epoch ended: %v, want 15, %v", got, s.fold.ended, c.want)
			}
		})
	}
}

// provider is an application's OpenTelemetry, as far as it matters here.
type provider struct {
	noop.MeterProvider
	meter
}

type meter struct {
	noop.Meter
	registration
}

type registration struct {
	noop.Registration
	ask *metric.Callback
}

type observer struct {
	noop.Observer
	values map[string]int64
}

type gauge struct {
	noop.Int64ObservableGauge
	name string
}

type counter struct {
	noop.Int64ObservableCounter
	name string
}

func (p *provider) Meter(string, ...metric.MeterOption) metric.Meter { return p.meter }

func (m meter) Int64ObservableGauge(name string, _ ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	return gauge{name: name}, nil
}

func (m meter) Int64ObservableCounter(name string, _ ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return counter{name: name}, nil
}

func (m meter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	*m.ask = f
	return m.registration, nil
}

func (r registration) Unregister() error {
	*r.ask = nil
	return nil
}

func (o *observer) ObserveInt64(i metric.Int64Observable, v int64, _ ...metric.ObserveOption) {
	switch i := i.(type) {
	case gauge:
		o.values[i.name] = v
	case counter:
		o.values[i.name] = v
	}
}

// P-07: what an operator should see has a metric, a full spool too.
func TestMetrics(t *testing.T) {
	var ask metric.Callback
	m := open(t, Options{Durability: Memory, MaxSpool: 1 << 16, MeterProvider: &provider{meter: meter{registration: registration{ask: &ask}}}})
	recorded := int64(0)
	for m.Record("pages", 1) == nil {
		recorded++
	}
	o := &observer{values: map[string]int64{}}
	if err := ask(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"meterseal.events.recorded": recorded, "meterseal.events.waiting": recorded, "meterseal.spool.full": 1,
		"meterseal.spool.size": m.Stats().SpoolBytes, "meterseal.events.lost": 0, "meterseal.ledger.behind": 0, "meterseal.messages.denied": 0} {
		if got, ok := o.values[name]; !ok || got != want {
			t.Errorf("%s = %d (%v), want %d", name, got, ok, want)
		}
	}
	if closeMeter(t, m); ask != nil {
		t.Error("a closed meter still shows metrics")
	}
}
