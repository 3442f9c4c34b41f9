package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/processor/outbox"
	"github.com/cardlake/cardlake/sim"
)

func testHost(t *testing.T) (*folder, *host) {
	ctx := context.Background()
	f, err := openFolder(ctx, options{dir: t.TempDir(), seed: 1, tenants: 3, transactions: 500})
	if err != nil {
		t.Fatal(err)
	}
	h, err := startHost(ctx, f, hostConfig{processorAddr: "127.0.0.1:0", window: 200 * time.Millisecond, tps: 2000, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return f, h
}

// TestDrainedEndsWithItsContext whatever the worker does: otherwise SIGTERM could not end the
// demo.
func TestDrainedEndsWithItsContext(t *testing.T) {
	f, h := testHost(t)
	traffic, err := sim.Open(f.Simulator(), f.population, sim.RunConfig{Rate: 2000})
	if err != nil {
		t.Fatal(err)
	}
	for lag := int64(1); lag != 0; lag, _ = h.lag(context.Background()) {
		time.Sleep(50 * time.Millisecond)
	}
	// The object store fails: its data folder is a file.
	data := f.Objects() + "/data"
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := traffic.Drive(context.Background(), sim.ClientConfig{Addr: h.server.Addr().String()}, 300); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	done := make(chan error, 1) // its one value may stay
	go func() { done <- h.drained(ctx) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("drained goes on 18 s after its context ended: SIGTERM cannot end the demo")
	}
	if err := errors.Join(os.Remove(data), traffic.Close(), h.stop()); err != nil {
		t.Error(err)
	}
	f.close()
}

// TestLagIsNotZeroTooEarly: lag is not 0 while events move from the outbox to the stream.
func TestLagIsNotZeroTooEarly(t *testing.T) {
	ctx := context.Background()
	f, err := openFolder(ctx, options{dir: t.TempDir(), seed: 1, tenants: 3, transactions: 500})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	h, err := startHost(ctx, f, hostConfig{processorAddr: "127.0.0.1:0", window: time.Minute, tps: 2000, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.stop()
	for lag := int64(1); lag != 0; lag, _ = h.lag(ctx) {
		time.Sleep(50 * time.Millisecond)
	}
	h.parts[2].cancel() // the relay is behind
	<-h.parts[2].done
	traffic, err := sim.Open(f.Simulator(), f.population, sim.RunConfig{Rate: 2000})
	if err != nil {
		t.Fatal(err)
	}
	defer traffic.Close()
	if _, err := traffic.Drive(ctx, sim.ClientConfig{Addr: h.server.Addr().String()}, 50); err != nil {
		t.Fatal(err)
	}
	relay := h.client
	defer relay.Close()
	// The answer to ListOffsets is slow.
	s := slow{make(chan struct{}, 1), make(chan struct{})}
	if h.client, err = kgo.NewClient(kgo.SeedBrokers(h.brokers()...), kgo.WithHooks(s)); err != nil {
		t.Fatal(err)
	}
	got := make(chan int64, 1)
	go func() { lag, _ := h.lag(ctx); got <- lag }()
	<-s.asked
	rctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- h.ledger.Outbox().Run(rctx, outbox.NewKafka(relay, wire.Topic)) }()
	for h.ledger.Outbox().Stats().Depth > 0 {
		time.Sleep(time.Millisecond)
	}
	close(s.stall)
	if lag := <-got; lag == 0 {
		snapshot, _ := h.table.Current(ctx)
		t.Errorf("lag 0 with %d of 50 rows in the lake", snapshot.Rows)
	}
	stop()
	<-done
}

// slow holds up the answer to ListOffsets.
type slow struct {
	asked chan struct{}
	stall chan struct{}
}

func (s slow) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == kmsg.ListOffsets.Int16() {
		s.asked <- struct{}{}
		<-s.stall
	}
}
