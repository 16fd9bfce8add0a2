package main

import (
	"context"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// A metric is one of /metrics. Its lines of docs/reference/metrics.md are made of it.
type metric struct {
	group, name, help string
	kind              prometheus.ValueType // 0: a histogram
	labels            []string
	desc              *prometheus.Desc
}

// allMetrics are all of them, in the order of the reference.
var allMetrics []*metric

const namespace = "meterseal_"

func declare(m metric) *metric {
	m.desc = prometheus.NewDesc(namespace+m.name, m.help, m.labels, nil)
	allMetrics = append(allMetrics, &m)
	return &m
}

func gauge(group, name, help string, labels ...string) *metric {
	return declare(metric{group: group, name: name, help: help, kind: prometheus.GaugeValue, labels: labels})
}

func counter(group, name, help string, labels ...string) *metric {
	return declare(metric{group: group, name: name, help: help, kind: prometheus.CounterValue, labels: labels})
}

func histogram(group, name, help string) *metric {
	return declare(metric{group: group, name: name, help: help})
}

// Groups of metrics.
const (
	ofEvents   = "Events"
	ofStore    = "Store"
	ofLedger   = "Ledger"
	ofUsage    = "Usage and limits"
	ofLicense  = "License"
	ofExports  = "Exports by a schedule"
	ofNodes    = "Nodes and program"
	notBilling = "; not for billing: use the report"
)

var (
	metricEvents      = counter(ofEvents, "events_total", "Events by what became of them: stored, duplicate, quarantined, or refused and its code.", "result", "code")
	metricAck         = histogram(ofEvents, "event_ack_seconds", "Longest wait for an answer in each group of events.")
	metricCounted     = histogram(ofEvents, "event_counted_seconds", "Longest wait in each group until its events were counted on disk.")
	metricGroups      = histogram(ofEvents, "event_group_events", "Events in each group; a group is one message of the stream and one fsync.")
	metricGroupBytes  = counter(ofEvents, "event_group_bytes_total", "Bytes of the groups that were stored.")
	metricPending     = gauge(ofEvents, "events_pending", "Events taken and not yet answered.")
	metricLate        = counter(ofEvents, "events_late_total", "Events whose window was closed when they came; late records count them.")
	metricKept        = gauge(ofEvents, "rejected_stored_bytes", "Room on the disk of the refused events that are kept to be looked at, estimated.")
	metricRefused     = counter(ofEvents, "refused_total", "What a listener refused, by reason: connections, requests, subjects.", "listener", "reason")
	metricFsync       = histogram(ofStore, "stream_fsync_seconds", "Time to store a group durably.")
	metricFold        = histogram(ofStore, "event_fold_seconds", "Time to count a group in memory.")
	metricSize        = gauge(ofStore, "stream_size_bytes", "Size of the stream.")
	metricSizeMax     = gauge(ofStore, "stream_size_max_bytes", "What the stream may hold (store.max_size); from there on events are refused.")
	metricFree        = gauge(ofStore, "store_free_bytes", "Free room of the disk with the data directory.")
	metricStoreErrors = counter(ofStore, "store_errors_total", "Failures to write, by operation: append, reject, keep, usage_database.", "op")
	metricLag         = gauge(ofStore, "projection_lag_events", "Events in the stream that are not yet counted on disk.")
	metricLagTime     = gauge(ofStore, "projection_lag_seconds", "How long the oldest of them waits.")
	metricBackup      = gauge(ofStore, "backup_last_timestamp_seconds", "When a backup was written last; 0: never.")
	metricIDs         = gauge(ofStore, "ids_remembered", "Event ids in the duplicates index.")
	metricRecords     = gauge(ofLedger, "ledger_records", "Records of the ledger.")
	metricOK          = gauge(ofLedger, "ledger_ok", "0: something that was checked contradicts the ledger, and no events are taken; see status.")
	metricOpened      = gauge(ofLedger, "ledger_opened_timestamp_seconds", "When the ledger was opened.")
	metricCheckpoint  = gauge(ofLedger, "ledger_checkpoint_timestamp_seconds", "When the newest checkpoint was signed.")
	metricClosed      = gauge(ofLedger, "ledger_closed_until_timestamp_seconds", "Windows up to here are closed.")
	metricGaps        = counter(ofLedger, "ledger_gap_events_total", "Events that gap records say are lost.")
	metricDisagree    = counter(ofLedger, "ledger_root_disagreements_total", "Checkpoints of nodes that this ledger does not lead to and no restore explains.")
	metricSeen        = counter(ofLedger, "seen_total", "Statements of nodes about checkpoints, by what became of them.", "result")
	metricSteps       = counter(ofLedger, "clock_steps_total", "Steps of the clock of this machine.")
	metricDisputed    = gauge(ofLedger, "clock_disputed", "1: the clock of this machine is in dispute.")
	metricUsage       = gauge(ofUsage, "usage_units", "Usage in the meter's smallest unit since the newest receipt, in the current period, since the last close record, and in all closed windows"+notBilling+".", "meter", "span")
	metricLimit       = gauge(ofUsage, "limit_units", "Limit of a meter in the current period.", "meter")
	metricRemaining   = gauge(ofUsage, "remaining_units", "What is left inside the limit.", "meter")
	metricOverage     = gauge(ofUsage, "overage_remaining_units", "What may be used beyond the limit.", "meter")
	metricSeats       = gauge(ofUsage, "seats_in_use", "Seats of a pool that are taken, borrowed ones too.", "pool")
	metricSeatLimit   = gauge(ofUsage, "seats_limit", "Seats of a pool.", "pool")
	metricDenied      = counter(ofUsage, "seat_denials_total", "Requests for a seat that were refused.", "pool")
	metricAllow       = counter(ofUsage, "allow_total", "Answers to may I, reservations and what is consumed included: yes, warned, no or error.", "answer", "code")
	metricAllowTime   = histogram(ofUsage, "allow_seconds", "Time to answer; what is reserved or consumed waits for the store.")
	metricState       = gauge(ofLicense, "license_state", "1 for the state that the license is in, 0 for each other.", "state")
	metricEnd         = gauge(ofLicense, "license_end_timestamp_seconds", "Last second of the license.")
	metricGraceEnd    = gauge(ofLicense, "license_grace_end_timestamp_seconds", "Last second of the grace after the end.")
	metricDue         = gauge(ofLicense, "report_due_timestamp_seconds", "By then a newer receipt must be imported.")
	metricExported    = gauge(ofLicense, "report_last_export_timestamp_seconds", "When a report was exported last; 0: never.")
	metricReceipt     = gauge(ofLicense, "receipt_last_timestamp_seconds", "The vendor's time of the newest receipt.")
	metricNext        = gauge(ofLicense, "next_action_timestamp_seconds", "By then somebody has to do what status calls next_action.", "action")
	metricExportEnd   = gauge(ofExports, "export_last_timestamp_seconds", "When an export by a schedule last ended well.", "export")
	metricExportDue   = gauge(ofExports, "export_next_timestamp_seconds", "The first period of an export that is not done.", "export")
	metricExportRuns  = counter(ofExports, "export_runs_total", "Attempts of exports by a schedule, by result.", "export", "result")
	metricConnected   = gauge(ofNodes, "nodes_connected", "Nodes that are connected now and proved who they are.")
	metricKnown       = gauge(ofNodes, "nodes_known", "Nodes of the ledger.")
	metricNode        = gauge(ofNodes, "node_last_seen_timestamp_seconds", "When a node was last heard of; of metrics.node_series_max nodes, by name.", "node")
	metricMembers     = gauge(ofNodes, "cluster_members", "Daemons of this site.")
	metricLeader      = gauge(ofNodes, "cluster_leader", "1: this daemon takes the events.")
	metricBuild       = gauge(ofNodes, "build_info", "The program; always 1.", "version", "go_version")
)

// newMetrics returns the handler of /metrics.
func newMetrics(s *site) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(siteMetrics{s}, s.asked.answers, s.asked.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 8})
}

// siteMetrics reads the site's own counters when Prometheus asks.
type siteMetrics struct{ *site }

// Describe is prometheus.Collector: the collector is unchecked, since which
// codes and nodes there are shows while it runs.
func (siteMetrics) Describe(chan<- *prometheus.Desc) {}

// give hands a value of a metric to Prometheus.
type give func(m *metric, v float64, labels ...string)

// Collect is prometheus.Collector.
func (m siteMetrics) Collect(ch chan<- prometheus.Metric) {
	give := func(m *metric, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
	}
	gw, st := m.gateway.Stats(), m.store.Status()
	for _, h := range []struct {
		m *metric
		h stream.Histogram
	}{{metricFsync, gw.Append}, {metricFold, gw.Fold}, {metricAck, gw.Ack}, {metricCounted, gw.Counted}} {
		ch <- histogramMetric(h.m.desc, h.h)
	}
	ch <- groupSizes(&gw)
	m.collectEvents(give, &gw, &st)
	m.collectStore(give, &gw, &st)
	m.collectLedger(give, &st)
	m.collectNodes(give, &st)
	for _, p := range m.store.Pools() {
		give(metricSeats, float64(p.Taken), p.Name)
		give(metricSeatLimit, float64(p.Count), p.Name)
		give(metricDenied, float64(p.DeniedTotal), p.Name)
	}
	m.collectLicense(give, &st)
	m.collectExports(give)
}

func (m siteMetrics) collectEvents(give give, gw *stream.Stats, st *projections.Status) {
	const stored, duplicate, quarantined = "stored", "duplicate", "quarantined"
	for _, result := range []string{stored, duplicate} { // from the start, so that a rate can be told
		give(metricEvents, float64(gw.Events[result]), result, "")
	}
	for code, n := range gw.Events {
		switch code {
		case stored, duplicate:
		case quarantined:
			give(metricEvents, float64(n), quarantined, "")
		default:
			give(metricEvents, float64(n), "refused", code)
		}
	}
	for what, n := range m.refusals.Counts() {
		give(metricRefused, float64(n), what[0], what[1])
	}
	give(metricGroupBytes, float64(gw.GroupBytes))
	give(metricPending, float64(gw.PendingEvents))
	give(metricLate, float64(st.LateEvents))
}

// collectStore leaves out what cannot be asked for now: it is not 0.
func (m siteMetrics) collectStore(give give, gw *stream.Stats, st *projections.Status) {
	if n, err := m.store.RejectedBytes(); err == nil {
		give(metricKept, float64(n))
	}
	ctx, cancel := context.WithTimeout(context.Background(), roomTime)
	defer cancel()
	if room, err := m.stream.Room(ctx); err == nil {
		give(metricSize, float64(room.Size))
		give(metricSizeMax, float64(room.Max))
	}
	if free, err := stream.FreeBytes(m.cfg.DataDir); err == nil {
		give(metricFree, float64(free))
	}
	give(metricStoreErrors, float64(gw.Full+gw.Unknown), "append")
	for op := range m.watched.errors {
		give(metricStoreErrors, float64(m.watched.errors[op].Load()), storeOps[op])
	}
	synced, _ := m.store.Counted(nil)
	give(metricLag, float64(st.Cursor.Next-min(st.Cursor.Next, synced.Cursor.Next)))
	give(metricLagTime, m.gateway.Uncounted().Seconds())
	give(metricBackup, unixSeconds(m.watched.moment(docBackup)))
	give(metricIDs, float64(st.IDs))
}

// roomTime bounds how long a scrape waits for the size of the stream.
const roomTime = 2 * time.Second

func (m siteMetrics) collectLedger(give give, st *projections.Status) {
	give(metricRecords, float64(st.Records))
	give(metricOK, number(m.ledgerTrouble() == ""))
	give(metricOpened, unixSeconds(st.Opened))
	give(metricCheckpoint, unixSeconds(m.watched.moment(docCheckpoint)))
	give(metricClosed, unixSeconds(st.ClosedUntil))
	give(metricGaps, float64(st.LostEvents))
	w := m.witnesses
	give(metricDisagree, max(float64(w.disagreed.Load()), number(st.Behind != nil))) // of one before the start too
	give(metricSeen, float64(w.recorded.Load()), "recorded")
	give(metricSeen, float64(w.refused.Load()), "refused")
	give(metricSeen, float64(w.explained.Load()), "before_restore")
	give(metricSteps, float64(m.clock.stepped()))
	for _, u := range st.Meters {
		give(metricUsage, float64(u.Total), u.Meter.ID, "total")
		give(metricUsage, float64(u.SinceClose), u.Meter.ID, "since_close")
	}
}

func (m siteMetrics) collectNodes(give give, st *projections.Status) {
	give(metricConnected, float64(len(m.stream.Connections())))
	give(metricKnown, float64(len(st.Nodes)))
	give(metricMembers, 1)
	give(metricLeader, 1)
	give(metricBuild, 1, version, runtime.Version())
	for _, n := range st.Nodes[:min(len(st.Nodes), m.cfg.NodeSeriesMax)] {
		give(metricNode, unixSeconds(n.LastHeard), n.Name)
	}
}

// collectLicense gives the state of the license, its dates, and each meter's use
// beside its limit.
func (m siteMetrics) collectLicense(give give, st *projections.Status) {
	l := licensing(m).License()
	for _, s := range licenseStates {
		give(metricState, number(s == l.State), string(s))
	}
	for _, d := range []struct {
		m *metric
		t *time.Time
	}{{metricEnd, l.Ends}, {metricGraceEnd, l.GraceEnds}, {metricDue, l.ReportBy}} {
		if d.t != nil {
			give(d.m, unixSeconds(*d.t))
		}
	}
	if l.NextActionBy != nil {
		give(metricNext, unixSeconds(*l.NextActionBy), string(l.NextActionKind))
	}
	give(metricExported, unixSeconds(m.watched.moment(docExported)))
	if st.Receipt != nil {
		give(metricReceipt, unixSeconds(st.Receipt.VendorTime))
	}
	give(metricDisputed, number(slices.Contains(l.Warnings, license.CodeClockDisputed)))
	for _, id := range slices.Sorted(maps.Keys(l.Meters)) {
		u := l.Meters[id]
		give(metricUsage, float64(u.SinceReceipt), id, "since_receipt")
		give(metricUsage, float64(u.Period), id, "period")
		for _, v := range []struct {
			m *metric
			n *int64
		}{{metricLimit, u.Limit}, {metricRemaining, u.Remaining}, {metricOverage, u.OverageRemaining}} {
			if v.n != nil {
				give(v.m, float64(*v.n), id)
			}
		}
	}
}

// collectExports gives when each export last ended well and comes next, and its
// attempts by result.
func (m siteMetrics) collectExports(give give) {
	for _, j := range m.exporter.Status().Exports {
		if !j.Succeeded.IsZero() {
			give(metricExportEnd, unixSeconds(j.Succeeded), j.Name)
		}
		give(metricExportDue, unixSeconds(j.Next), j.Name)
	}
	for key, n := range m.exporter.Counts() {
		give(metricExportRuns, float64(n), key[0], key[1])
	}
}

// licenseStates are all states, in the order of the table.
var licenseStates = []license.State{
	license.StateRolledBack, license.StateDeactivated, license.StateInvalid, license.StateMismatch, license.StateNone, license.StateSuspended,
	license.StateSuperseded, license.StateNotStarted, license.StateExpired, license.StateReportOverdue, license.StateInactive,
	license.StateExpiredGrace, license.StateReportDue, license.StateActive,
}

// number is 1 for yes.
func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func histogramMetric(d *prometheus.Desc, h stream.Histogram) prometheus.Metric {
	buckets, n := map[float64]uint64{}, uint64(0)
	for i, c := range h.Counts {
		n += c
		if i < stream.HistogramBuckets {
			buckets[stream.HistogramBound(i).Seconds()] = n
		}
	}
	return prometheus.MustNewConstHistogram(d, n, h.Sum.Seconds(), buckets)
}

// groupSizes is the histogram of event_group_events.
func groupSizes(gw *stream.Stats) prometheus.Metric {
	buckets, n := map[float64]uint64{}, uint64(0)
	for i, c := range gw.GroupSizes {
		n += c
		if i < stream.GroupSizes {
			buckets[float64(uint64(1)<<i)] = n
		}
	}
	return prometheus.MustNewConstHistogram(metricGroups.desc, n, float64(gw.GroupEvents), buckets)
}
