package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/processor"
	"github.com/cardlake/cardlake/processor/ledger"
	"github.com/cardlake/cardlake/processor/outbox"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/pebblestore"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
)

// partitions is how many the embedded stream has.
const partitions = 8

// host is the whole system in one process: broker, processor, worker and lake.
type host struct {
	broker   *kfake.Cluster
	client   *kgo.Client
	ledger   *ledger.Ledger
	server   *processor.Server
	totals   *processor.Totals
	store    objects.Store
	vault    *pebblestore.Store
	catalog  *iceberg.Catalog
	table    *iceberg.Table
	worker   *ingest.Worker
	failures chan error

	parts []*part // in the order in which they stop
}

// part is one running component.
type part struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
}

// velocity is how many authorisations a card may have in a minute. The demo's cards are used
// far more often than people use theirs, so the usual ten go with the pace.
func velocity(f *folder, tps float64) int {
	perCard := tps * 60 / float64(f.population.Size())
	return 10 + int(8*perCard)
}

// hostConfig is what startHost needs besides the folder.
type hostConfig struct {
	processorAddr string
	brokerPort    int
	window        time.Duration
	tps           float64
	clock         func() time.Time // of decisions; nil for the wall clock
	// repeats is how long a repeat may take to come; 0 for as long as by default. What takes
	// seconds takes days on a calendar that hurries.
	repeats time.Duration
	log     *slog.Logger
	// encoder seals the events; nil for the folder's own, made from its keyring.
	encoder processor.EventEncoder
}

// startHost starts everything in the folder. A failed start has stopped what it began.
func startHost(ctx context.Context, f *folder, cfg hostConfig) (_ *host, err error) {
	h := &host{failures: make(chan error, 8)}
	defer func() {
		if err != nil {
			h.stop()
		}
	}()

	h.broker, err = kfake.NewCluster(
		kfake.NumBrokers(1), kfake.Ports(cfg.brokerPort), kfake.ClusterID("cardlake-demo"),
		kfake.DataDir(f.Broker()), kfake.SyncWrites(),
		kfake.SeedTopics(partitions, wire.Topic),
	)
	if err != nil {
		return h, fmt.Errorf("start broker: %w (another port with -broker-port)", err)
	}
	// No compression: what matters is sealed, and the search sees every byte as it is.
	h.client, err = kgo.NewClient(
		kgo.SeedBrokers(h.brokers()...), kgo.ClientID("cardlake-processor"),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0),
		kgo.AllowIdempotentProduceCancellation(), // the relay must end although the broker is away
	)
	if err != nil {
		return h, fmt.Errorf("start producer: %w", err)
	}

	h.ledger, err = ledger.Open(ctx, f.Ledger(), f.cardKeys, ledger.Config{MaxPerMinute: velocity(f, cfg.tps), Retention: cfg.repeats})
	if err != nil {
		return h, err
	}
	cards := func(yield func(card.Issued, error) bool) {
		for c := range f.population.Cards() {
			if !yield(c, nil) {
				return
			}
		}
	}
	if _, err = h.ledger.Import(ctx, cards); err != nil {
		return h, err
	}
	encoder := cfg.encoder
	if encoder == nil {
		encoder = wire.NewEncoder(f.cardKeys, wire.EncoderConfig{})
	}
	h.server = processor.New(h.ledger, encoder, f.tenants, processor.Config{Addr: cfg.processorAddr, Now: cfg.clock, Logger: cfg.log})
	if err = h.server.Listen(); err != nil {
		return h, fmt.Errorf("%w (another address with -processor-addr)", err)
	}

	h.totals = processor.NewTotals(h.ledger, processor.TotalsConfig{Now: cfg.clock})

	if h.vault, err = pebblestore.Open(f.Vault(), pebblestore.Config{Logger: cfg.log}); err != nil {
		return h, fmt.Errorf("open vault: %w", err)
	}
	h.store = objects.NewSealed(f.Objects(), f.lakeKeys, objects.SealedConfig{})
	h.catalog, err = iceberg.Open(ctx, iceberg.Config{DB: f.Catalog(), Objects: h.store, Logger: cfg.log})
	if err != nil {
		return h, err
	}
	if h.table, err = h.catalog.Table(ctx, cardlake.Transactions); err != nil {
		return h, err
	}
	rejected, err := h.catalog.Table(ctx, cardlake.Rejected)
	if err != nil {
		return h, err
	}
	totals, err := h.catalog.Table(ctx, cardlake.ControlTotals)
	if err != nil {
		return h, err
	}
	h.worker = ingest.New(ingest.Deps{
		Source: kafka.New(kafka.Config{
			Brokers: h.brokers(), Topic: wire.Topic, Group: "cardlake-worker", InstanceID: "cardlake-demo", Log: cfg.log,
		}),
		Tenants: f.tenants, Keys: f.cardKeys, Secrets: f.cardKeys, Pins: vault.New(h.vault, vault.Config{}),
		Transactions: h.table, Rejected: rejected, Totals: totals,
		History: ingest.HistoryOf(h.table, h.store),
		Kept:    ingest.KeptIn(rejected, h.store),
		// One encoder at a time: decisions need the other processors.
		Writer:       writers.New(h.store, f.tenants, writers.Config{Parallel: 1}),
		RejectWriter: writers.NewRejected(h.store, writers.Config{}),
		TotalsWriter: writers.NewTotals(h.store, f.tenants, writers.Config{Parallel: 1}),
		Log:          cfg.log,
	}, ingest.Config{WindowAge: cfg.window, Dedup: cfg.repeats})

	h.run("processor", h.server.Run)
	h.run("control totals", h.totals.Run)
	h.run("ledger", h.ledger.Run)
	h.run("relay", func(ctx context.Context) error {
		return h.ledger.Outbox().Run(ctx, outbox.NewKafka(h.client, wire.Topic))
	})
	h.run("worker", h.worker.Run)
	return h, nil
}

// run starts one part; its failure is reported on h.failures.
func (h *host) run(name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{name: name, cancel: cancel, done: make(chan struct{})}
	h.parts = append(h.parts, p)
	go func() {
		defer close(p.done)
		if err := f(ctx); err != nil {
			h.failures <- fmt.Errorf("%s: %w", name, err)
		}
	}()
}

// stop ends the parts one after the other, upstream first, so that each finishes what the
// one before it handed over; then it closes what they used.
func (h *host) stop() error {
	for _, p := range h.parts {
		p.cancel()
		<-p.done
	}
	h.parts = nil
	var errs []error
	if h.client != nil {
		h.client.Close()
	}
	if h.ledger != nil {
		errs = append(errs, h.ledger.Close())
	}
	if h.vault != nil {
		errs = append(errs, h.vault.Close())
	}
	if h.catalog != nil {
		errs = append(errs, h.catalog.Close())
	}
	if h.broker != nil {
		h.broker.Close()
	}
	return errors.Join(errs...)
}

func (h *host) brokers() []string { return h.broker.ListenAddrs() }

// lag is how many records of the stream are not committed to the lake, outbox included.
func (h *host) lag(ctx context.Context) (int64, error) {
	// In the order in which events flow: whatever moves on meanwhile is counted further down.
	lag := int64(h.ledger.Outbox().Stats().Depth)
	ends, err := kadm.NewClient(h.client).ListEndOffsets(ctx, wire.Topic)
	if err != nil {
		return 0, fmt.Errorf("end of the stream: %w", err)
	}
	committed := h.worker.Committed()
	owned := 0
	ends.Each(func(o kadm.ListedOffset) {
		p := cardlake.StreamPartition{Stream: o.Topic, Partition: o.Partition}
		if _, ok := committed[p]; ok {
			owned++
		}
		lag += max(o.Offset-committed[p].Next, 0)
	})
	if owned < partitions {
		return max(lag, 1), nil // the worker has not joined yet
	}
	return lag, nil
}

// drained waits until everything decided is in the lake.
func (h *host) drained(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		lag, err := h.lag(ctx)
		if err == nil && lag == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case err := <-h.failures:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
