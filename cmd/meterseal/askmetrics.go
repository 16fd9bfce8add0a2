package main

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meterseal/meterseal/events"
	"github.com/meterseal/meterseal/license"
)

// askMetrics count the answers to "may I?".
type askMetrics struct {
	answers *prometheus.CounterVec
	seconds prometheus.Histogram
}

func newAskMetrics() *askMetrics {
	return &askMetrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: namespace + metricAllow.name, Help: metricAllow.help}, metricAllow.labels),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: namespace + metricAllowTime.name, Help: metricAllowTime.help,
			Buckets: prometheus.ExponentialBuckets(0.000_016, 4, 11)}),
	}
}

// answered counts an answer when it is given.
func (m *askMetrics) answered(start time.Time, d *license.Decision, err *error) {
	answer, code := "yes", d.Code
	switch {
	case *err != nil:
		var e *events.Error
		if answer, code = "error", "internal_error"; errors.As(*err, &e) {
			code = e.Code
		}
	case !d.Allowed:
		answer = "no"
	case len(d.Warnings) > 0:
		answer = "warned"
	}
	m.answers.WithLabelValues(answer, code).Inc()
	m.seconds.Observe(time.Since(start).Seconds())
}
