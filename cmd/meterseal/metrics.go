package main

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meterseal/meterseal/events/stream"
	"github.com/meterseal/meterseal/license"
	"github.com/meterseal/meterseal/projections"
)

// siteMetrics reads the site's own counters when Prometheus asks.
type siteMetrics struct{ *site }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("meterseal_"+name, help, labels, nil)
}

var (
	descEvents    = desc("events_total", "Events by what became of them.", "code")
	descGroups    = desc("event_groups_total", "Groups stored, one fsync each.")
	descBytes     = desc("event_group_bytes_total", "Bytes of stored groups.")
	descAppend    = desc("stream_fsync_seconds", "Time to store a group durably.")
	descFold      = desc("event_fold_seconds", "Time to fold a group.")
	descAck       = desc("event_ack_seconds", "Longest wait for an answer in each group.")
	descPending   = desc("events_pending", "Events taken and not yet answered.")
	descRecords   = desc("ledger_records", "Records of the ledger.")
	descClosed    = desc("ledger_closed_until_timestamp_seconds", "Windows up to here are closed.")
	descUsage     = desc("usage_units", "Usage in the meter's smallest unit; not for billing: use the report.", "meter", "span")
	descNode      = desc("node_last_seen_timestamp_seconds", "When a node was last heard of.", "node")
	descLag       = desc("projection_lag_groups", "Groups stored and not yet folded.")
	descIDs       = desc("ids_remembered", "Event ids in the duplicates index.")
	descState     = desc("license_state", "State of the license: 1 for the one that it is in.", "state")
	descEnd       = desc("license_end_timestamp_seconds", "Last second of the license.")
	descEndLeft   = desc("license_end_seconds", "Time until the license ends; below 0: since.")
	descGraceEnd  = desc("license_grace_end_timestamp_seconds", "Last second of the grace after the end.")
	descDue       = desc("report_due_timestamp_seconds", "By then a newer receipt must be imported.")
	descDueLeft   = desc("report_due_seconds", "Time until a report is due; below 0: since.")
	descNext      = desc("next_action_timestamp_seconds", "By then somebody has to do what status calls next_action.")
	descReceipt   = desc("receipt_last_timestamp_seconds", "The vendor's time of the newest receipt.")
	descDisputed  = desc("clock_disputed", "Whether the clock of this machine is in dispute.")
	descLimit     = desc("limit_units", "Limit of a meter in the current period.", "meter")
	descRemaining = desc("remaining_units", "What is left inside the limit.", "meter")
	descOverage   = desc("overage_remaining_units", "What may be used beyond the limit.", "meter")
	descSeats     = desc("seats_in_use", "Seats of a pool that are taken, borrowed ones too.", "pool")
	descSeatLimit = desc("seats_limit", "Seats of a pool.", "pool")
	descDenied    = desc("seat_denials_total", "Requests for a seat that were refused.", "pool")
	descRefused   = desc("refused_total", "What a listener refused, by reason.", "listener", "reason")
	descConnected = desc("nodes_known", "Nodes of the ledger.")
	descBehind    = desc("behind_node", "Whether a node holds a checkpoint that this ledger does not lead to.")
	descExportEnd = desc("export_last_timestamp_seconds", "When an export by a schedule last ended well.", "job")
	descExportDue = desc("export_next_timestamp_seconds", "The first period of an export that is not done.", "job")
	descExports   = desc("export_runs_total", "Attempts of exports by a schedule, by result.", "job", "result")
	descSeen      = desc("seen_total", "Statements of nodes by what became of them.", "result")
)

// maxNodeSeries bounds the series that carry a node's name.
const maxNodeSeries = 500

// newMetrics returns the handler of /metrics.
func newMetrics(s *site) http.Handler {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "meterseal_build_info", Help: "Version of the program; always 1."}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	r.MustRegister(siteMetrics{s}, s.asked.answers, s.asked.seconds, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// Describe is prometheus.Collector: the collector is unchecked, since which
// codes and nodes there are shows while it runs.
func (siteMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect is prometheus.Collector.
func (m siteMetrics) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gw := m.gateway.Stats()
	for code, n := range gw.Events {
		counter(descEvents, float64(n), code)
	}
	for what, n := range m.refusals.Counts() {
		counter(descRefused, float64(n), what[0], what[1])
	}
	counter(descGroups, float64(gw.Groups))
	counter(descBytes, float64(gw.GroupBytes))
	gauge(descPending, float64(gw.PendingEvents))
	for _, h := range []struct {
		d *prometheus.Desc
		h stream.Histogram
	}{{descAppend, gw.Append}, {descFold, gw.Fold}, {descAck, gw.Ack}} {
		ch <- histogramMetric(h.d, h.h)
	}
	st := m.store.Status()
	gauge(descRecords, float64(st.Records))
	gauge(descClosed, unixSeconds(st.ClosedUntil))
	gauge(descLag, float64(m.gateway.Seq()-min(m.gateway.Seq(), st.Cursor.Seq)))
	gauge(descIDs, float64(st.IDs))
	gauge(descConnected, float64(len(st.Nodes)))
	behind := 0.0
	if st.Behind != nil {
		behind = 1
	}
	gauge(descBehind, behind)
	counter(descSeen, float64(m.witnesses.recorded.Load()), "recorded")
	counter(descSeen, float64(m.witnesses.refused.Load()), "refused")
	counter(descSeen, float64(m.witnesses.explained.Load()), "before_restore")
	for _, u := range st.Meters {
		gauge(descUsage, float64(u.Total), u.Meter.ID, "total")
		gauge(descUsage, float64(u.SinceClose), u.Meter.ID, "since_close")
	}
	for _, p := range m.store.Pools() {
		gauge(descSeats, float64(p.Taken), p.Name)
		gauge(descSeatLimit, float64(p.Count), p.Name)
		counter(descDenied, float64(p.DeniedTotal), p.Name)
	}
	m.collectLicense(gauge, &st)
	m.collectExports(gauge, counter)
	for i, n := range st.Nodes {
		if i == maxNodeSeries {
			break
		}
		gauge(descNode, unixSeconds(n.LastHeard), n.Name)
	}
}

// collectLicense gives the state of the license, its dates as instants and as the
// time that is left, and each meter's use beside its limit.
func (m siteMetrics) collectLicense(gauge func(*prometheus.Desc, float64, ...string), st *projections.Status) {
	l := licensing(m).License()
	for _, s := range licenseStates {
		is := 0.0
		if s == l.State {
			is = 1
		}
		gauge(descState, is, string(s))
	}
	now := m.clock.Wall()
	for _, d := range []struct {
		at, left *prometheus.Desc
		t        *time.Time
	}{{descEnd, descEndLeft, l.Ends}, {descGraceEnd, nil, l.GraceEnds}, {descDue, descDueLeft, l.ReportBy}, {descNext, nil, l.NextActionBy}} {
		if d.t == nil {
			continue
		}
		gauge(d.at, unixSeconds(*d.t))
		if d.left != nil {
			gauge(d.left, d.t.Sub(now).Seconds())
		}
	}
	if st.Receipt != nil {
		gauge(descReceipt, unixSeconds(st.Receipt.VendorTime))
	}
	disputed := 0.0
	if slices.Contains(l.Warnings, license.CodeClockDisputed) {
		disputed = 1
	}
	gauge(descDisputed, disputed)
	for _, id := range slices.Sorted(maps.Keys(l.Meters)) {
		u := l.Meters[id]
		gauge(descUsage, float64(u.SinceReceipt), id, "since_receipt")
		gauge(descUsage, float64(u.Period), id, "period")
		if u.Limit != nil {
			gauge(descLimit, float64(*u.Limit), id)
		}
		if u.Remaining != nil {
			gauge(descRemaining, float64(*u.Remaining), id)
		}
		if u.OverageRemaining != nil {
			gauge(descOverage, float64(*u.OverageRemaining), id)
		}
	}
}

// collectExports gives when each export last ended well and comes next, and its
// attempts by result.
func (m siteMetrics) collectExports(gauge, counter func(*prometheus.Desc, float64, ...string)) {
	for _, j := range m.exporter.Status().Exports {
		if !j.Succeeded.IsZero() {
			gauge(descExportEnd, unixSeconds(j.Succeeded), j.Name)
		}
		gauge(descExportDue, unixSeconds(j.Next), j.Name)
	}
	for key, n := range m.exporter.Counts() {
		counter(descExports, float64(n), key[0], key[1])
	}
}

// licenseStates are all states, in the order of the table.
var licenseStates = []license.State{
	license.StateRolledBack, license.StateDeactivated, license.StateInvalid, license.StateMismatch, license.StateNone, license.StateSuspended,
	license.StateSuperseded, license.StateNotStarted, license.StateExpired, license.StateReportOverdue, license.StateInactive,
	license.StateExpiredGrace, license.StateReportDue, license.StateActive,
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
