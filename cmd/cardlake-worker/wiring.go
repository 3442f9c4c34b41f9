package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"runtime/debug"

	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/telemetry"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/s3"
)

// work runs a worker until ctx ends. Things end in this order: the worker commits what it
// has, traces are sent, the admin address closes (it tells the truth up to here), then the
// databases.
func work(ctx context.Context, o *options, stderr io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	cardKeys, err := local.OpenFile(o.cardKeyring, o.cardSecret)
	if err != nil {
		return err
	}
	tenants, err := catalog.OpenTenants(home.Dir(o.dir).Tenants())
	if err != nil {
		return err
	}
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
	store, err := o.store()
	if err != nil {
		return err
	}
	lake, err := o.openCatalog(ctx, store, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lake.Close()) }()
	transactions, err := lake.Table(ctx, cardlake.Transactions)
	if err != nil {
		return err
	}
	rejected, err := lake.Table(ctx, cardlake.Rejected)
	if err != nil {
		return err
	}
	totals, err := lake.Table(ctx, cardlake.ControlTotals)
	if err != nil {
		return err
	}
	versions, totalVersions, err := o.schemaVersions(ctx)
	if err != nil {
		return err
	}
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
		Pending: o.pending, StallAfter: o.stallAfter, Dedup: o.dedup, SchemaVersions: versions, TotalVersions: totalVersions,
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(cfg.MemoryLimit())
	}
	worker := ingest.New(ingest.Deps{
		Source:  source,
		Tenants: tenants, Keys: cardKeys, Secrets: cardKeys,
		Transactions: transactions, Rejected: rejected, Totals: totals,
		History:      ingest.HistoryOf(transactions, store),
		Kept:         ingest.KeptIn(rejected, store),
		Writer:       writers.New(store, tenants, writers.Config{}),
		RejectWriter: writers.NewRejected(store, writers.Config{}),
		TotalsWriter: writers.NewTotals(store, tenants, writers.Config{}),
		Log:          log, Observe: tel.Observe,
	}, cfg)
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
	log.Info("worker ends", "records", s.Records, "rows", s.Rows, "duplicates", s.Duplicates, "rejected", s.Rejected, "commits", s.Commits)
	if traces != nil {
		endTraces(traces, log)
	}
	a.close()
	return err
}

// store is where the lake's objects are: a bucket, or a sealed folder.
func (o *options) store() (objects.Store, error) {
	if o.s3Bucket == "" {
		lakeKeys, err := local.OpenFile(o.lakeKeyring, o.lakeSecret)
		if err != nil {
			return nil, err
		}
		return objects.NewSealed(home.Dir(o.dir).Objects(), lakeKeys, objects.SealedConfig{}), nil
	}
	kms, err := openKMSKeys(o.kmsKeys)
	if err != nil {
		return nil, err
	}
	cfg := o.s3()
	if o.s3CA != "" {
		if cfg.RootCAs, err = certificates(o.s3CA); err != nil {
			return nil, fmt.Errorf("-s3-ca: %w", err)
		}
	}
	return s3.New(kms, cfg)
}

func (o *options) openCatalog(ctx context.Context, store objects.Store, log *slog.Logger) (*iceberg.Catalog, error) {
	cfg := iceberg.Config{Objects: store, Logger: log}
	if o.s3Bucket != "" {
		cfg.Location = (&url.URL{Scheme: "s3", Host: o.s3Bucket, Path: o.s3Prefix}).String()
	}
	if o.catalog != inGlue {
		cfg.DB = o.catalog
		return iceberg.Open(ctx, cfg)
	}
	at, err := o.aws(ctx)
	if err != nil {
		return nil, err
	}
	cfg.Glue, cfg.GlueCatalogID = glue.NewFromConfig(at), o.glueCatalogID
	return iceberg.Open(ctx, cfg)
}
