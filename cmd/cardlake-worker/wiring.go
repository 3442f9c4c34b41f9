package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/telemetry"
)

// work runs a worker until ctx ends. Things end in this order: the worker commits what it
// has, traces are sent, the admin address closes (it tells the truth up to here), then the
// databases.
func work(ctx context.Context, o *options, stderr io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	listener, err := listen(ctx, o)
	if err != nil {
		return err
	}
	if listener != nil {
		defer listener.Close()
	}
	tail, err := o.listenTail(ctx)
	if err != nil {
		return err
	}
	if tail != nil {
		defer tail.Close()
	}
	l, err := o.open(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	source, closeSource, err := o.newSource(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()

	seen := telemetry.Config{StallAfter: o.stallAfter}
	traces, err := newTraces(ctx, o, log)
	if err != nil {
		return err
	}
	if traces != nil {
		seen.Traces = traces
	}
	tel := telemetry.New(seen)
	cfg := ingest.Config{
		WindowAge: o.window, WindowRows: o.rows, WindowBytes: o.windowBytes,
		Pending: o.pending, StallAfter: o.stallAfter, Dedup: o.dedup, PinnedCards: o.pins.cards,
		SchemaVersions: l.versions, TotalVersions: l.totalVersions,
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(cfg.MemoryLimit())
	}
	deps := l.deps(source, log)
	deps.History, deps.Observe = ingest.HistoryOf(l.transactions, l.Store), tel.Observe
	worker := ingest.New(deps, cfg)
	metrics := prometheus.NewRegistry()
	view, err := tel.Watch(metrics, worker, source)
	if err != nil {
		return err
	}
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := metrics.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	a := serve(listener, handler(ctx, view, metrics, o.pprof), log)
	log.Info("worker starts", "version", cardlake.Version, "source", o.source)
	endTail, err := o.serveTail(ctx, tail, worker, log)
	if err != nil {
		return err
	}
	err = worker.Run(ctx)
	endTail() // it serves until the last commit
	s := worker.Stats()
	log.Info("worker ends", "records", s.Records, "rows", s.Rows, "duplicates", s.Duplicates, "rejected", s.Rejected, "offboarded", s.Offboarded, "commits", s.Commits)
	if traces != nil {
		endTraces(traces, log)
	}
	a.close()
	return err
}
