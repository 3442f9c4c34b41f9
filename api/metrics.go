package api

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the door counts. No label has a caller's name or a value of the data.
type metrics struct {
	calls    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	refusals *prometheus.CounterVec
	attempts *prometheus.CounterVec
	rows     prometheus.Counter
	running  prometheus.Gauge
}

func newMetrics(to prometheus.Registerer) (*metrics, error) {
	const space, part = "cardlake", "api"
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: "requests_total",
			Help: "Calls answered, by route and status."}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: space, Subsystem: part, Name: "request_seconds",
			Help: "Time from a call to the end of its answer, by route.", Buckets: prometheus.ExponentialBuckets(0.002, 2.5, 12)}, []string{"route"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: "refused_total",
			Help: "Calls that were refused or failed, by reason."}, []string{"reason"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: "sign_in_refused_total",
			Help: "Attempts to get in that were refused, by reason."}, []string{"reason"}),
		rows: prometheus.NewCounter(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: "rows_total",
			Help: "Rows written to callers."}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: space, Subsystem: part, Name: "queries_running",
			Help: "Statements that run."}),
	}
	if to == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.calls, m.duration, m.refusals, m.attempts, m.rows, m.running} {
		if err := to.Register(c); err != nil {
			return nil, fmt.Errorf("api: metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) done(route string, status int, took time.Duration) {
	if status == 0 {
		status = 499 // the client went away before there was an answer
	}
	m.calls.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) refused(reason string) { m.refusals.WithLabelValues(reason).Inc() }
