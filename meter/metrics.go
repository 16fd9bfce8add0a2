package meter

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// instruments are what a Meter shows through OpenTelemetry, all read from Stats
// when somebody asks: Record pays nothing for them.
var instruments = []struct {
	name, unit, what string
	gauge            bool // may fall
	value            func(*Stats) int64
}{
	{"meterseal.events.recorded", "{event}", "events that Record took", false, func(s *Stats) int64 { return int64(s.Recorded) }},
	{"meterseal.events.refused", "{event}", "events that the daemon refused for good", false, func(s *Stats) int64 { return int64(s.Refused) }},
	{"meterseal.events.lost", "{event}", "numbers declared lost: damage to the spool, and refused events", false, func(s *Stats) int64 { return int64(s.Lost) }},
	{"meterseal.events.waiting", "{event}", "events that are not counted yet", true, func(s *Stats) int64 { return int64(s.Next - s.Counted) }},
	{"meterseal.spool.size", "By", "bytes that the spool takes", true, func(s *Stats) int64 { return s.SpoolBytes }},
	{"meterseal.spool.age", "s", "age of the first event that is not counted yet", true, func(s *Stats) int64 { return s.age() }},
	{"meterseal.spool.old", "1", "1: that age is over nodes.spool_max_age of the site", true, func(s *Stats) int64 {
		if s.SpoolOld {
			return 1
		}
		return 0
	}},
	{"meterseal.spool.full", "{event}", "events that Record refused, since the spool was full", false, func(s *Stats) int64 { return int64(s.Full) }},
	{"meterseal.batches.stored", "{batch}", "batches that the daemon stored", false, func(s *Stats) int64 { return int64(s.Batches) }},
	{"meterseal.batches.resent", "{batch}", "batches that were sent again", false, func(s *Stats) int64 { return int64(s.Resent) }},
	{"meterseal.ledger.behind", "{time}", "times the daemon showed a ledger that had gone back", false, func(s *Stats) int64 { return int64(s.Behind) }},
	{"meterseal.messages.denied", "{message}", "messages that the credentials did not allow: they are for another node", false, func(s *Stats) int64 { return int64(s.Denied) }},
}

// age is that of the first event that waits, in seconds.
func (s *Stats) age() int64 {
	if s.Oldest.IsZero() {
		return 0
	}
	return int64(max(time.Since(s.Oldest), 0) / time.Second)
}

// observe registers the instruments; stop ends that.
func (m *Meter) observe() (stop func() error, err error) {
	if m.o.MeterProvider == nil {
		return func() error { return nil }, nil
	}
	meter := m.o.MeterProvider.Meter("github.com/meterseal/meterseal/meter")
	list := make([]metric.Int64Observable, len(instruments))
	all := make([]metric.Observable, len(instruments))
	for i, in := range instruments {
		if in.gauge {
			list[i], err = meter.Int64ObservableGauge(in.name, metric.WithDescription(in.what), metric.WithUnit(in.unit))
		} else {
			list[i], err = meter.Int64ObservableCounter(in.name, metric.WithDescription(in.what), metric.WithUnit(in.unit))
		}
		if err != nil {
			return nil, fmt.Errorf("instrument %s: %w", in.name, err)
		}
		all[i] = list[i]
	}
	node := metric.WithAttributes(attribute.String("meterseal.node", m.o.Node))
	r, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := m.Stats()
		for i, in := range instruments {
			o.ObserveInt64(list[i], in.value(&s), node)
		}
		return nil
	}, all...)
	if err != nil {
		return nil, fmt.Errorf("register instruments: %w", err)
	}
	return r.Unregister, nil
}
