package main

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	awskinesis "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/ingest/kinesis"
	"github.com/cardlake/cardlake/internal/lakeflags"
)

// newSource returns the stream, and what closes what it needs beside.
func (o *options) newSource(ctx context.Context, log *slog.Logger) (_ ingest.Source, closeIt func() error, err error) {
	closeIt = func() error { return nil }
	if o.source == fromKafka {
		cfg := o.kafka()
		cfg.Log = log
		if o.isTLS() {
			cfg.TLS, err = kafka.TLSFiles{CA: o.tlsCA, Cert: o.tlsCert, Key: o.tlsKey}.Config()
		}
		return listenTo(cfg), closeIt, err
	}
	at, err := o.lake.Keys.AWS(ctx)
	if err != nil {
		return nil, nil, err
	}
	from, err := o.fromTime()
	if err != nil {
		return nil, nil, err
	}
	name := o.stream + "/" + o.group
	var leases kinesis.Leases
	if table, ok := strings.CutPrefix(o.leases, "dynamodb:"); ok {
		leases = kinesis.NewDynamoLeases(dynamodb.NewFromConfig(at, func(d *dynamodb.Options) {
			d.Retryer = aws.NopRetryer{} // the source tries again
		}), table, name)
	} else {
		db, err := openLeases(&o.lake)
		if err != nil {
			return nil, nil, err
		}
		inDB := kinesis.NewSQLLeases(db, name)
		if err := inDB.Create(ctx); err != nil {
			db.Close()
			return nil, nil, err
		}
		leases, closeIt = inDB, db.Close
	}
	cfg := kinesis.Config{
		Stream: o.stream, Consumer: o.consumer, Worker: o.instance, Log: log, From: from, SkipTrimmed: o.skipTrimmed,
	}
	if o.fanOut {
		cfg.Mode = kinesis.FanOut
	}
	return kinesis.New(awskinesis.NewFromConfig(at), leases, cfg), closeIt, nil
}

// openLeases opens the catalog's database once more. The catalog was opened before and has
// checked that the connection is a safe one.
func openLeases(lake *lakeflags.Flags) (*sql.DB, error) {
	if lake.IsPostgres() {
		cfg, err := pgx.ParseConfig(lake.Catalog)
		if err != nil {
			return nil, fmt.Errorf("leases: %w", err)
		}
		cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // poolers do not know prepared statements
		return stdlib.OpenDB(*cfg), nil
	}
	path, err := filepath.Abs(lake.Catalog)
	if err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": {"busy_timeout(10000)"}, "_txlock": {"immediate"}}.Encode()}
	return sql.Open("sqlite", dsn.String())
}

// schemaVersions are the registry's schema ids of events and of control totals that this
// program knows, nil without a registry.
func (o *options) schemaVersions(ctx context.Context) (events, totals map[uint32]int, err error) {
	if o.registry == "" {
		return nil, nil, nil
	}
	cfg := o.registryConfig()
	if o.registryCA != "" {
		pool, err := lakeflags.Certificates(o.registryCA)
		if err != nil {
			return nil, nil, fmt.Errorf("-registry-ca: %w", err)
		}
		cfg.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	registry, err := kafka.NewRegistry(cfg)
	if err != nil {
		return nil, nil, err
	}
	ofEvents, ofTotals := o.subjects()
	if events, err = registry.Versions(ctx, ofEvents, map[int]string{wire.SchemaVersion: wire.Schema()}); err != nil {
		return nil, nil, err
	}
	totals, err = registry.Versions(ctx, ofTotals, map[int]string{wire.TotalSchemaVersion: wire.TotalSchema()})
	return events, totals, err
}
