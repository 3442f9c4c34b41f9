package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/keys"
)

// What is said to the process of the stream, a line each. It answers its broker's address
// at the start and, when it is told to end, how many events each partition has.
const (
	sayBegin = "begin"
	sayEnd   = "end"
)

// burst is how often events are produced, those of the time in between at once.
const burst = 5 * time.Millisecond

// serveStream is the broker and the producer. Nothing is produced twice, and there is one
// producer: an event's offset is its number in its partition.
func serveStream(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	fs := flag.NewFlagSet(roleStream, flag.ContinueOnError)
	dir := fs.String("dir", "", "`folder` of the lake")
	tps := fs.Int("tps", 0, "events a `second`")
	partitions := fs.Int("partitions", 0, "`number` of partitions")
	if err := fs.Parse(args); err != nil {
		return err
	}
	l, err := openLakeWithCards(*dir)
	if err != nil {
		return err
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(*partitions), wire.Topic))
	if err != nil {
		return err
	}
	defer broker.Close()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(broker.ListenAddrs()...), kgo.DefaultProduceTopic(wire.Topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	fmt.Fprintln(stdout, broker.ListenAddrs()[0])

	p := &producer{lake: l, encoder: wire.NewEncoder(l.cardKeys, wire.EncoderConfig{}), client: client, ends: make([]int64, *partitions)}
	ctx, cancel := context.WithCancel(ctx)
	var producing sync.WaitGroup
	defer producing.Wait()
	defer cancel()
	var failed error
	for lines := bufio.NewScanner(stdin); lines.Scan(); {
		switch lines.Text() {
		case sayBegin:
			producing.Go(func() { failed = p.run(ctx, *tps) })
		case sayEnd:
			cancel()
			producing.Wait()
			if failed != nil {
				return failed
			}
			fmt.Fprintln(stdout, strings.Trim(fmt.Sprint(p.ends), "[]"))
		}
	}
	return nil
}

type producer struct {
	lake    *lake
	encoder *wire.Encoder
	client  *kgo.Client
	sent    int
	ends    []int64 // events of each partition

	mu     sync.Mutex
	failed error
}

// run produces until ctx ends. An event that waits for its turn longer than planned is
// decided later too: its time is when it is made.
func (p *producer) run(ctx context.Context, tps int) error {
	alive := context.WithoutCancel(ctx)
	tick := time.NewTicker(burst)
	defer tick.Stop()
	for start := time.Now(); ; {
		select {
		case <-ctx.Done():
			err := p.client.Flush(alive)
			p.mu.Lock()
			defer p.mu.Unlock()
			return errors.Join(err, p.failed)
		case <-tick.C:
			for due := int(time.Since(start).Seconds() * float64(tps)); p.sent < due; {
				if err := p.send(alive); err != nil {
					return err
				}
			}
		}
	}
}

func (p *producer) send(ctx context.Context) error {
	n := p.sent
	tenant := p.lake.order[n%len(p.lake.order)]
	partition := n / len(p.lake.order) % len(p.ends)
	digits := fmt.Appendf(nil, "4%014d", n*13%5_000)
	pan, err := card.ParsePAN(append(digits, card.LuhnDigit(digits)))
	if err != nil {
		return fmt.Errorf("event %d: %w", n, err)
	}
	id := card.EventKey{Tenant: tenant.Name, Network: cardlake.Visa, STAN: strconv.Itoa(n), MTI: "0100"}.ID()
	value, err := p.encoder.Append(ctx, nil, keys.OwnerOf(tenant.StorageID), &card.Message{PAN: pan, Transaction: cardlake.Transaction{
		EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: tenant.Name,
		Program: "visa-credit", Region: "local", EventTime: time.Now().UnixMicro(), Network: cardlake.Visa, Product: cardlake.Credit,
		Amount: cardlake.Money{Minor: int64(n), Currency: "MXN"}, MerchantID: fmt.Sprintf("M%05d", n%3_000), MCC: "5411", MerchantCountry: "MX",
		Channel: cardlake.POS, EntryMode: "chip", CardPresent: true, ResponseCode: "00", Approved: true, MTI: "0100", STAN: fmt.Sprintf("%06d", n%1_000_000),
	}})
	if err != nil {
		return fmt.Errorf("event %d: %w", n, err)
	}
	p.sent++
	p.ends[partition]++
	p.client.Produce(ctx, &kgo.Record{Partition: int32(partition), Key: strconv.AppendInt(nil, int64(n*13%5_000), 10), Value: value}, func(_ *kgo.Record, err error) {
		if err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.failed = err
		}
	})
	return nil
}

// stream is that process as the others see it.
type stream struct {
	*process
	broker string
}

func startStream(dir string, c common) (*stream, error) {
	s := &stream{process: newProcess(logOf(dir, roleStream), roleStream,
		"-dir", dir, "-tps", strconv.Itoa(c.tps), "-partitions", strconv.Itoa(c.partitions))}
	if err := s.start(); err != nil {
		return nil, err
	}
	var err error
	if s.broker, err = s.line(); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *stream) begin() error {
	_, err := fmt.Fprintln(s.in, sayBegin)
	return err
}

// finish ends the producing and returns where each partition ends.
func (s *stream) finish() (cardlake.Positions, error) {
	if _, err := fmt.Fprintln(s.in, sayEnd); err != nil {
		return nil, s.fault(err)
	}
	text, err := s.line()
	if err != nil {
		return nil, err
	}
	out := cardlake.Positions{}
	for i, field := range strings.Fields(text) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, err
		}
		out[partition(int32(i))] = cardlake.Offset{Next: n}
	}
	return out, nil
}

// partition is a partition of the one stream there is.
func partition(n int32) cardlake.StreamPartition {
	return cardlake.StreamPartition{Stream: wire.Topic, Partition: n}
}
