package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/ingest/tailserver"
	"github.com/cardlake/cardlake/writers"
)

// group is the workers' consumer group.
const group = "cardlake-worker"

// sessionTimeout is after how long the group gives a dead worker's partitions to another one
// that lives, if it does not come back: the least that brokers allow by default.
const sessionTimeout = 6 * time.Second

// serveWorker is a worker with its tail, until ctx ends.
func serveWorker(ctx context.Context, args []string, stderr io.Writer) (err error) {
	defer func() {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // it was ended before it had begun
		}
	}()
	fs := flag.NewFlagSet(roleWorker, flag.ContinueOnError)
	dir := fs.String("dir", "", "`folder` of the lake")
	broker := fs.String("broker", "", "`address` of the broker")
	name := fs.String("name", "", "the worker's `name` in its group")
	window := fs.Duration("window", 0, "the longest `time` that an event waits for its commit")
	tailAddr := fs.String("tail", "", "`address` at which the tail is served")
	if err := fs.Parse(args); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	l, err := openLakeWithCards(*dir)
	if err != nil {
		return err
	}
	c, err := iceberg.Open(ctx, iceberg.Config{DB: l.dir.Catalog(), Objects: l.store, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	transactions, err := c.Table(ctx, cardlake.Transactions)
	if err != nil {
		return err
	}
	rejected, err := c.Table(ctx, cardlake.Rejected)
	if err != nil {
		return err
	}
	w := ingest.New(ingest.Deps{
		Source: kafka.New(kafka.Config{
			Brokers: []string{*broker}, Topic: wire.Topic, Group: group, InstanceID: *name, Log: log,
			Options: []kgo.Opt{kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(200 * time.Millisecond)},
		}),
		Tenants: l.tenants, Keys: l.cardKeys, Secrets: l.cardKeys,
		Transactions: transactions, Rejected: rejected,
		History:      ingest.HistoryOf(transactions, l.store),
		Kept:         ingest.KeptIn(rejected, l.store),
		Writer:       writers.New(l.store, l.tenants, writers.Config{Parallel: 1}),
		RejectWriter: writers.NewRejected(l.store, writers.Config{}),
		Log:          log,
	}, ingest.Config{WindowAge: *window})
	own, authority, err := certificate(*dir, workerName)
	if err != nil {
		return err
	}
	server, err := tailserver.New(w, tailserver.Config{
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &own, nil },
		ClientCAs:   authority, Clients: []string{gatewayName}, Log: log,
	})
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *tailAddr)
	if err != nil {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return w.Run(ctx) })
	tasks.Go(func() error { return server.Serve(ctx, listener) })
	return tasks.Wait()
}

// worker is that process as the others see it.
type worker struct {
	*process
	name, addr string
}

// newWorker describes the worker; start starts it, each time at the same address.
func newWorker(dir, name, broker string, window time.Duration) (*worker, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, fmt.Errorf("an address for %s: %w", name, err)
	}
	return &worker{name: name, addr: addr, process: newProcess(logOf(dir, name), roleWorker,
		"-dir", dir, "-broker", broker, "-name", name, "-window", window.String(), "-tail", addr)}, nil
}
