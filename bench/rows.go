package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/meterseal/meterseal/meter"
)

// metric is one figure of a row.
type metric string

// Figures. Each is kept once a round.
const (
	perSecond     metric = "events_per_s"            // until the last answer and the total confirmed
	serverCPU     metric = "server_cpu_us_per_event" // user and system, over the same span
	stopCPU       metric = "server_cpu_us_per_event_to_stop"
	clientCPU     metric = "client_cpu_us_per_event"
	diskBytes     metric = "disk_bytes_per_event" // of all files, after a clean stop
	perGroup      metric = "events_per_group"
	ackP50        metric = "ack_p50_ms"
	ackP99        metric = "ack_p99_ms"
	ackMax        metric = "ack_max_ms"
	fsyncP50      metric = "fsync_p50_ms"
	fsyncP99      metric = "fsync_p99_ms"
	perRecord     metric = "us_per_record"      // of the Go package meter, in the application
	ofAllowed     metric = "ack_p99_of_allowed" // of 5 ms, or of 10 fsync p99 of the round where that is more
	recordsSecond metric = "records_per_s"
	rssAnonPeak   metric = "rss_anon_peak_mib"
	readySeconds  metric = "ready_s"        // from exec to 200, after a clean stop
	readyKilled   metric = "ready_killed_s" // the same after kill -9
)

// values are the figures of one row in one round.
type values map[metric]float64

// String lists them, the most telling first.
func (v values) String() string {
	s := ""
	for _, m := range metricOrder {
		if x, ok := v[m.metric]; ok {
			s += fmt.Sprintf(" %s %s", m.head, m.spell(x))
		}
	}
	return s
}

// row is one thing that is measured.
type row struct {
	name       string
	what       string
	durability string  // what an answer promises after a power cut
	share      float64 // of -events
	extra      bool    // only with -only
	slow       bool    // not with -quick
	job        job     // of the publisher
	always     bool    // raw JetStream: sync always
	perTx      int     // SQLite: events a transaction
	record     recordJob
	http       bool // not over NATS
	measure    func(*bench, context.Context, *row) (values, error)
}

const fsynced, unsynced = "fsynced before the answer", "lost: synced every 2 min"

// rows are the canonical workloads.
var rows = []row{
	{name: "json", what: "sealed, one JSON event of 182 B a message", durability: fsynced, share: 2, job: job{Window: 16384}, measure: (*bench).siteRate},
	{name: "raw-lazy", what: "raw JetStream, the same messages, default sync", durability: unsynced, share: 1, job: job{Window: 16384}, measure: (*bench).rawRate},
	{name: "raw-always", what: "raw JetStream, the same messages, sync always", durability: fsynced, share: 0.01, job: job{Window: 16384}, always: true, measure: (*bench).rawRate},
	{name: "batch", what: "sealed, SDK batches of 1000 of the same events", durability: fsynced, share: 2, job: job{Window: 32, Batches: true}, measure: (*bench).siteRate},
	{name: "sqlite-1000", what: "SQLite WAL/FULL, unique key and total, 1000 a transaction", durability: fsynced, share: 0.3, perTx: 1000, measure: (*bench).sqliteRate},
	{name: "sqlite-1", what: "SQLite WAL/FULL, unique key and total, single commits", durability: fsynced, share: 0.01, perTx: 1, measure: (*bench).sqliteRate},
	{name: "batch-lean", what: "sealed, SDK batches of 1000 with meter, time, quantity only", durability: fsynced, share: 2, job: job{Window: 32, Batches: true, Lean: true}, measure: (*bench).siteRate},
	{name: "json-random", what: "as json, with random ids", durability: fsynced, share: 1, extra: true, job: job{Window: 16384, Random: true}, measure: (*bench).siteRate},
	{name: "ack", what: "sealed, 10,000 events/s", durability: fsynced, job: job{Rate: 10_000}, measure: (*bench).siteLatency},
	{name: "ack-raw-lazy", what: "raw JetStream, 10,000/s, default sync", durability: unsynced, job: job{Rate: 10_000}, measure: (*bench).rawLatency},
	{name: "ack-raw-always", what: "raw JetStream, 10,000/s, sync always", durability: fsynced, job: job{Rate: 10_000}, always: true, measure: (*bench).rawLatency},
	{name: "seats", what: "sealed, 10,000 seats held, 1,000 checkouts/s over NATS", durability: fsynced, measure: (*bench).seatLatency},
	{name: "seats-http", what: "the same over HTTP", durability: fsynced, http: true, measure: (*bench).seatLatency},
	{name: "fsync", what: "append of 128 B and fsync, this disk, one at a time", durability: fsynced, measure: (*bench).fsyncLatency},
	{name: "record", what: "Record of the Go package, in memory, no daemon", durability: "lost with the process", share: 1, record: recordJob{durability: meter.Memory, goroutines: 1}, measure: (*bench).record},
	{name: "record-live", what: "the same, with a site that takes the events", durability: "lost with the process", share: 1, record: recordJob{durability: meter.Memory, goroutines: 1, live: true}, measure: (*bench).record},
	{name: "record-process", what: "Record into a file, one goroutine, no daemon", durability: "lost: synced every 100 ms; kept after kill -9", share: 0.3, record: recordJob{durability: meter.Process, goroutines: 1}, measure: (*bench).record},
	{name: "record-disk", what: "Record into a synced file, 2,000 goroutines, no daemon", durability: "synced before Record returns", share: 0.3, record: recordJob{durability: meter.Disk, goroutines: 2000}, measure: (*bench).record},
	{name: "append-fsync", what: "append of 48 B and fsync, one at a time", durability: "synced", measure: (*bench).appendSync},
	{name: "verify", what: "report verify, a report of 1,000,000 records", measure: (*bench).verifyReport},
	{name: "rebuild", what: "restore --rebuild, projections from a stream of batches of 1000", slow: true, share: 10, job: job{Window: 32, Batches: true}, measure: (*bench).rebuild},
	{name: "restart", what: "serve with the NASA history in place", slow: true, measure: (*bench).restart},
}

func rowNames() []string {
	var names []string
	for i := range rows {
		names = append(names, rows[i].name)
	}
	return names
}

func rowOf(name string) *row {
	for i := range rows {
		if rows[i].name == name {
			return &rows[i]
		}
	}
	return nil
}

// count returns how many events a round of r takes, in full batches.
func (r *row) count(b *bench) int {
	n := int(float64(b.events) * r.share)
	return max(n/batchEvents, 1) * batchEvents
}

// siteRate measures a fresh site at full speed.
func (b *bench) siteRate(ctx context.Context, r *row) (values, error) {
	s, err := b.startSite(ctx, "", siteFlags...)
	if err != nil {
		return nil, err
	}
	return b.rate(ctx, r, s)
}

// rawRate measures a fresh raw JetStream at full speed.
func (b *bench) rawRate(ctx context.Context, r *row) (values, error) {
	s, err := b.startRaw(ctx, r.always)
	if err != nil {
		return nil, err
	}
	return b.rate(ctx, r, s)
}

// rate publishes the events of r to s and stops s.
func (b *bench) rate(ctx context.Context, r *row, s *server) (v values, err error) {
	defer func() {
		if err != nil {
			s.kill()
			err = fmt.Errorf("%w\n%s", err, s.tail())
		}
	}()
	j := r.job
	j.Addr, j.Node, j.Events = s.addr, "node-01", r.count(b)
	j.Warm = max(j.Events/10/batchEvents, 1) * batchEvents
	p, err := b.startPublisher(ctx, j)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	if err := p.warm(); err != nil {
		return nil, err
	}
	before, groups := s.cpu(), s.groups(ctx)
	res, err := p.finish()
	if err != nil {
		return nil, err
	}
	all := j.Warm + j.Events
	if err := s.confirm(ctx, all); err != nil {
		return nil, err
	}
	end := time.Now().UnixNano()
	n := float64(j.Events)
	v = values{
		perSecond: n / (float64(end-res.StartNS) / 1e9),
		serverCPU: (s.cpu() - before) * 1e6 / n,
		clientCPU: res.CPU * 1e6 / n,
	}
	if g := s.groups(ctx) - groups; g > 0 {
		v[perGroup] = n / g
	}
	total, err := s.stop()
	if err != nil {
		return nil, err
	}
	v[stopCPU] = (total - before) * 1e6 / n
	size, err := folderBytes(s.dir)
	v[diskBytes] = float64(size) / float64(all)
	return v, joinRemove(err, s.dir)
}

// siteLatency measures answers of a site at a fixed rate.
func (b *bench) siteLatency(ctx context.Context, r *row) (values, error) {
	s, err := b.startSite(ctx, "", siteFlags...)
	if err != nil {
		return nil, err
	}
	return b.latency(ctx, r, s)
}

func (b *bench) rawLatency(ctx context.Context, r *row) (values, error) {
	s, err := b.startRaw(ctx, r.always)
	if err != nil {
		return nil, err
	}
	return b.latency(ctx, r, s)
}

// pacedSeconds is how long events are sent at a fixed rate.
const pacedSeconds = 3

func (b *bench) latency(ctx context.Context, r *row, s *server) (values, error) {
	defer os.RemoveAll(s.dir)
	defer s.kill()
	j := r.job
	j.Addr, j.Node, j.Warm, j.Events = s.addr, "node-01", batchEvents, j.Rate*pacedSeconds
	j.Window = j.Warm + j.Events // the rate is kept whatever the answers do
	p, err := b.startPublisher(ctx, j)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	if err := p.warm(); err != nil {
		return nil, err
	}
	before := s.cpu()
	res, err := p.finish()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, s.tail())
	}
	if err := s.confirm(ctx, j.Warm+j.Events); err != nil {
		return nil, err
	}
	return values{ackP50: res.P50, ackP99: res.P99, ackMax: res.Max, serverCPU: (s.cpu() - before) * 1e6 / float64(j.Events)}, nil
}
