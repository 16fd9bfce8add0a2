package main

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meterseal/meterseal/events/stream"
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
	descConnected = desc("nodes_known", "Nodes of the ledger.")
)

// maxNodeSeries bounds the series that carry a node's name.
const maxNodeSeries = 500

// newMetrics returns the handler of /metrics.
func newMetrics(s *site) http.Handler {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "meterseal_build_info", Help: "Version of the program; always 1."}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	r.MustRegister(siteMetrics{s}, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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
	for _, u := range st.Meters {
		gauge(descUsage, float64(u.Total), u.Meter.ID, "total")
		gauge(descUsage, float64(u.SinceClose), u.Meter.ID, "since_close")
	}
	for i, n := range st.Nodes {
		if i == maxNodeSeries {
			break
		}
		gauge(descNode, unixSeconds(n.LastHeard), n.Name)
	}
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
