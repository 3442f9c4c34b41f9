package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// lake is where the events go: a folder as cardlake-worker has it.
type lake struct {
	log                           *slog.Logger
	cardKeys, lakeKeys            *local.Keyring
	tenants                       *catalog.Tenants
	order                         []catalog.TenantRecord
	store                         objects.Store
	catalog                       *iceberg.Catalog
	transactions, rejects, totals *iceberg.Table
}

func newLake(ctx context.Context, o options, log *slog.Logger) (*lake, error) {
	l := &lake{log: log}
	var err error
	secret := []byte("a passphrase for one soak")
	if l.cardKeys, err = local.Create(filepath.Join(o.dir, "card.keyring"), secret, keys.CardPurposes); err != nil {
		return nil, err
	}
	if l.lakeKeys, err = local.Create(filepath.Join(o.dir, "lake.keyring"), secret, keys.LakePurposes); err != nil {
		return nil, err
	}
	if l.tenants, err = catalog.OpenTenants(filepath.Join(o.dir, "tenants.json")); err != nil {
		return nil, err
	}
	owners := []keys.Owner{keys.Lake}
	for i := range o.tenants {
		r, err := l.tenants.Create(cardlake.Tenant(fmt.Sprintf("tenant-%03d", i)), "MX", "MXN", time.Now())
		if err != nil {
			return nil, err
		}
		l.order, owners = append(l.order, r), append(owners, keys.OwnerOf(r.StorageID))
	}
	if err := errors.Join(l.cardKeys.EnsureOwners(ctx, owners...), l.lakeKeys.EnsureOwners(ctx, owners...)); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(o.dir, "objects"), 0o700); err != nil {
		return nil, err
	}
	l.store = objects.NewSealed(filepath.Join(o.dir, "objects"), l.lakeKeys, objects.SealedConfig{})
	l.catalog, err = iceberg.Open(ctx, iceberg.Config{DB: filepath.Join(o.dir, "catalog.db"), Objects: l.store, Logger: log})
	if err != nil {
		return nil, err
	}
	for _, t := range []struct {
		table **iceberg.Table
		def   *cardlake.Table
	}{{&l.transactions, cardlake.Transactions}, {&l.rejects, cardlake.Rejected}, {&l.totals, cardlake.ControlTotals}} {
		if *t.table, err = l.catalog.Table(ctx, t.def); err != nil {
			return nil, errors.Join(err, l.catalog.Close())
		}
	}
	return l, nil
}

func (l *lake) close() error { return l.catalog.Close() }

// worker is one as cardlake-worker runs it.
func (l *lake) worker(brokers []string, o options, observe func(ingest.Stage)) *ingest.Worker {
	return ingest.New(ingest.Deps{
		Source:  kafka.New(kafka.Config{Brokers: brokers, Topic: topic, Group: "soak", Log: l.log}),
		Tenants: l.tenants, Keys: l.cardKeys, Secrets: l.cardKeys,
		Transactions: l.transactions, Rejected: l.rejects, Totals: l.totals,
		History:      ingest.HistoryOf(l.transactions, l.store),
		Kept:         ingest.KeptIn(l.rejects, l.store),
		Writer:       writers.New(l.store, l.tenants, writers.Config{}),
		RejectWriter: writers.NewRejected(l.store, writers.Config{}),
		TotalsWriter: writers.NewTotals(l.store, l.tenants, writers.Config{}),
		Log:          l.log, Observe: observe,
	}, o.worker())
}

// worker is the configuration of the worker.
func (o options) worker() ingest.Config {
	return ingest.Config{WindowAge: o.window, WindowRows: o.rows, Pending: 1}
}

// replay runs a worker until everything is committed. Once all is taken the worker is told to
// end, as it would be by an operator: it commits its open window and does not wait for its age.
func (l *lake) replay(ctx context.Context, brokers []string, b *broker, o options, stderr io.Writer) (*report, error) {
	r := &report{Transactions: int64(o.transactions), Tenants: o.tenants}
	var mu sync.Mutex
	stages := map[ingest.StageName]time.Duration{}
	w := l.worker(brokers, o, func(s ingest.Stage) {
		mu.Lock()
		defer mu.Unlock()
		stages[s.Name] += s.Took
		switch s.Name {
		case ingest.StageAppend:
			r.commits = append(r.commits, s.Took)
		case ingest.StageCommit:
			r.ages = append(r.ages, s.Began.Add(s.Took).Sub(s.Opened))
		}
	})
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, err
		}
		defer pprof.StopCPUProfile()
	}
	start, cpu, brokerCPU := time.Now(), usage(), b.cpu()
	go func() { done <- w.Run(running) }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	committed := func() (n int64) {
		for _, at := range w.Committed() {
			n += at.Next
		}
		return n
	}
	for n, isDone := 0, false; !isDone; n++ {
		taken := w.Stats().Records
		if n%20 == 0 {
			fmt.Fprintf(stderr, "\rreplaying: %d taken, %d committed of %d, %.0f s ", taken, committed(), o.transactions, time.Since(start).Seconds())
		}
		if taken == int64(o.transactions) {
			stop()
		}
		select {
		case err := <-done:
			if err = cmp.Or(err, ctx.Err()); err != nil {
				return nil, err
			}
			isDone = true
		case <-tick.C:
		}
	}
	r.Seconds, r.CPUSeconds, r.BrokerCPUSeconds = time.Since(start).Seconds(), (usage() - cpu).Seconds(), (b.cpu() - brokerCPU).Seconds()
	r.PeakMemory = peakMemory()
	fmt.Fprintf(stderr, "\rreplayed %d events in %.1f s                                        \n", o.transactions, r.Seconds)
	s := w.Stats()
	r.Commits = s.Commits
	for _, n := range s.Rejected {
		r.Rejected += n
	}
	for _, name := range []ingest.StageName{ingest.StagePoll, ingest.StageTake, ingest.StageWrite, ingest.StageAppend} {
		r.Stages = append(r.Stages, stage{string(name), stages[name].Seconds()})
	}
	return r, nil
}

// verify reads every event id of the lake: each event must be there once.
func (l *lake) verify(ctx context.Context, o options, r *report, stderr io.Writer) error {
	files, err := l.transactions.Files(ctx, 0)
	if err != nil {
		return err
	}
	seen := make([]uint8, o.transactions)
	for i, f := range files {
		body, err := objects.ReadAll(ctx, l.store, f.Name)
		if err != nil {
			return err
		}
		r.Bytes += f.Bytes
		err = parquet.EventIDs(body, 0, func(id cardlake.EventID, at int64) bool {
			n := numberOf(id)
			if n >= o.transactions || idOf(n) != id {
				r.Unexpected++
				return true
			}
			if seen[n]++; seen[n] > 1 {
				r.Duplicates++
			}
			r.Rows++
			return true
		})
		if err != nil {
			return err
		}
		if i%50 == 0 {
			fmt.Fprintf(stderr, "\rverifying: %d of %d files", i, len(files))
		}
	}
	fmt.Fprint(stderr, "\r                                        \r")
	for _, n := range seen {
		if n == 0 {
			r.Missing++
		}
	}
	r.Files = len(files)
	return nil
}
