package serving

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardlake/cardlake/catalog/audit"
)

// recordProbe is what is written to find out whether the log can be written again.
var recordProbe = audit.Record{Actor: "cardlake serve", Action: "serve.probe", Resource: "audit log", Outcome: audit.Allowed}

// probeEvery is how often that is tried, at most.
const probeEvery = time.Second

// trail is a log of package audit.
type trail interface {
	Append(ctx context.Context, r audit.Record) error
	Close() error
}

// watchedLog is the audit log, and knows whether it could be written last.
type watchedLog struct {
	trail
	failures prometheus.Counter

	mu     sync.Mutex
	err    error     // of the last record, nil if it was written
	probed time.Time // when it was last tried
}

func newWatchedLog(t trail, metrics prometheus.Registerer) *watchedLog {
	w := &watchedLog{trail: t, failures: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "cardlake", Subsystem: "audit", Name: "failures_total",
		Help: "Records that could not be written, so that what they were to say was refused.",
	})}
	metrics.MustRegister(w.failures)
	return w
}

// Append writes a record.
func (w *watchedLog) Append(ctx context.Context, r audit.Record) error {
	err := w.trail.Append(ctx, r)
	if err != nil && (ctx.Err() != nil || errors.Is(err, audit.ErrRecord)) {
		return err // the caller's doing: it says nothing of the log
	}
	if err != nil {
		w.failures.Inc()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	return err
}

// Ready returns why the log can't be written. It tries when the last record could not be: who
// is not ready is not asked, and would else never find out.
func (w *watchedLog) Ready(ctx context.Context) error {
	w.mu.Lock()
	err, now := w.err, time.Now()
	try := err != nil && now.Sub(w.probed) >= probeEvery
	if try {
		w.probed = now
	}
	w.mu.Unlock()
	if try {
		err = w.Append(ctx, recordProbe)
	}
	return err
}
