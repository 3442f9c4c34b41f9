// Package telemetry shows a worker to those who keep it running: Prometheus metrics of what
// it did and how it stands, an OpenTelemetry trace of every window, and a report in JSON.
//
// Everything is told in counts, times and partitions. No tenant is named, in no label,
// attribute or field: who may look at a dashboard may not know the customers, and labels
// without bound would outgrow the server that stores them. docs/metrics.md lists the metrics
// and is generated from them.
package telemetry

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/cardlake/cardlake/ingest"
)

// Worker is what is shown; *ingest.Worker implements it.
type Worker interface {
	Stats() ingest.Stats
	Status() ingest.Status
	// Ready says why the worker does not do its work, nil if it does.
	Ready() error
}

// Config configures a Telemetry. The zero Config is ready to use.
type Config struct {
	// Traces gets a trace of each window; default none.
	Traces trace.TracerProvider
	// StallAfter is how long the stream may be silent before the worker is not ready; default
	// 1 minute.
	StallAfter time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Telemetry watches one worker. Give its Observe to ingest.Deps, then Watch the worker.
type Telemetry struct {
	stages stages
	spans  spans
	stall  time.Duration
	now    func() time.Time
}

// New returns a Telemetry that watches nothing yet.
func New(cfg Config) *Telemetry {
	if cfg.Traces == nil {
		cfg.Traces = noop.NewTracerProvider()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.StallAfter == 0 {
		cfg.StallAfter = time.Minute
	}
	return &Telemetry{stages: newStages(), spans: newSpans(cfg.Traces), stall: cfg.StallAfter, now: cfg.Now}
}

// Observe is for ingest.Deps. It takes no lock while records are polled and taken.
func (t *Telemetry) Observe(s ingest.Stage) {
	t.stages.observe(s)
	t.spans.observe(s)
}

// Watch registers the metrics of the worker and its source. The source may say more of
// itself than ingest.Source asks for; see [View].
func (t *Telemetry) Watch(r prometheus.Registerer, w Worker, s ingest.Source) (*View, error) {
	v := &View{worker: w, source: s, stall: t.stall, now: t.now}
	for _, c := range []prometheus.Collector{&t.stages, newCollector(v)} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the worker's metrics: %w", err)
		}
	}
	return v, nil
}
