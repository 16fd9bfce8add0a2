package main

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meterseal/meterseal/portal"
)

// metrics counts what the portal does (docs/reference/vendor-metrics.md).
type metrics struct {
	registry *prometheus.Registry
	reports  *prometheus.CounterVec
	intake   prometheus.Histogram
	bytes    prometheus.Counter
	hooks    *prometheus.CounterVec
	mails    *prometheus.CounterVec
	requests *prometheus.HistogramVec
	failures prometheus.Counter
}

const namespace = "meterseal_vendor"

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		reports:  counter("reports_total", "Files that came, by verdict and, of refusals, by code.", "verdict", "error"),
		intake: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "intake_seconds", Help: "How long taking a file in took.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14)}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "intake_bytes_total", Help: "Size of the files that came."}),
		hooks: counter("webhooks_total", "Attempts to deliver an event, by result.", "result"),
		mails: counter("mails_total", "Attempts to send a mail, by result.", "result"),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "http_request_seconds", Help: "How long requests took, by route and status.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 10)}, []string{"route", "code"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "sign_in_failures_total", Help: "Sign-ins that failed."}),
	}
	m.registry.MustRegister(m.reports, m.intake, m.bytes, m.hooks, m.mails, m.requests, m.failures, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// taken is told of an intake.
func (m *metrics) taken(a *portal.Answer, took time.Duration) {
	verdict, code := a.Code, ""
	if a.Refusal != nil {
		verdict, code = "refused", a.Refusal.Code
	}
	m.reports.WithLabelValues(verdict, code).Inc()
	m.intake.Observe(took.Seconds())
	m.bytes.Add(float64(a.FileBytes))
}

// sent is told of an attempt of package notify.
func (m *metrics) sent(what, result string) {
	if what == "mail" {
		m.mails.WithLabelValues(result).Inc()
		return
	}
	m.hooks.WithLabelValues(result).Inc()
}

// timed measures requests by the pattern of their route, so that no path of a
// stranger becomes a label.
func (m *metrics) timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		s := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(s, r)
		_, route, found := strings.Cut(r.Pattern, " ")
		if !found {
			route = r.Pattern
		}
		m.requests.WithLabelValues(route, strconv.Itoa(s.status)).Observe(time.Since(begin).Seconds())
	})
}

// A statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
	begun  bool
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	if !w.begun {
		w.status, w.begun = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// watch adds what waits in the database, asked at each scrape.
func (m *metrics) watch(p *portal.Portal, log *slog.Logger) {
	m.registry.MustRegister(&gauges{p: p, log: log})
}

// handler serves the metrics.
func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}

// gauges is a collector of portal.Gauges.
type gauges struct {
	p   *portal.Portal
	log *slog.Logger
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

var (
	descOverdue    = describe("reports_overdue", "Ledgers whose report is overdue.")
	descEnding     = describe("licenses_ending", "Ledgers whose license ends within so many days.", "days")
	descAlerts     = describe("alerts_open", "Alerts that wait for somebody.")
	descDeliveries = describe("webhooks_pending", "Deliveries that wait or are tried again.")
	descMails      = describe("mails_pending", "Mails that wait or are tried again.")
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descOverdue, descEnding, descAlerts, descDeliveries, descMails} {
		c <- d
	}
}

// gaugesTime bounds how long a scrape waits for the database.
const gaugesTime = 5 * time.Second

// Collect implements prometheus.Collector.
func (g *gauges) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), gaugesTime)
	defer cancel()
	x, err := g.p.Gauges(ctx)
	if err != nil {
		g.log.Warn("gauges not read", "err", err)
		return // what is not known is left out, not 0
	}
	gauge := func(d *prometheus.Desc, n int64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(descOverdue, x.Overdue)
	gauge(descAlerts, x.OpenAlerts)
	gauge(descDeliveries, x.Deliveries)
	gauge(descMails, x.Mails)
	for _, days := range portal.EndingDays {
		gauge(descEnding, x.Ending[days], strconv.Itoa(days))
	}
}
