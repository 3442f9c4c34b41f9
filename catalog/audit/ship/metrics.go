package ship

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardlake/cardlake/catalog/audit"
)

type metrics struct {
	lines, segments, failures prometheus.Counter
	seq, last, broken         prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "cardlake_audit_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "cardlake_audit_" + name, Help: help})
	}
	m := &metrics{
		lines:    counter("shipped_lines_total", "Lines of the audit log that were committed to audit.events."),
		segments: counter("shipped_segments_total", "Closed segments of the audit log that were put into the archive."),
		failures: counter("ship_failures_total", "Attempts to ship the audit log that failed."),
		seq:      gauge("shipped_seq", "Number of the newest line of the audit log in audit.events."),
		last:     gauge("shipped_timestamp_seconds", "Unix time at which the audit log was last found to be shipped whole."),
		broken:   gauge("log_broken", "1 while the audit log does not hold together and is not shipped."),
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.lines, m.segments, m.failures, m.seq, m.last, m.broken} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) done(r Report, err error, now time.Time) {
	m.lines.Add(float64(r.Lines))
	m.segments.Add(float64(r.Segments))
	m.seq.Set(float64(r.Seq))
	m.broken.Set(0)
	switch {
	case err == nil:
		m.last.Set(float64(now.Unix()))
	case errors.Is(err, audit.ErrBreak):
		m.broken.Set(1)
		fallthrough
	default:
		m.failures.Inc()
	}
}
