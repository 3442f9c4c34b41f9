package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/writerstest"
)

const (
	// fillers is how many goroutines make events, each for its own part of them.
	fillers = 2
	// day is the event time over which the events are spread, in microseconds: a whole UTC day.
	day       = 86_400_000_000
	firstDay  = writerstest.Start / day * day
	maxEvents = 1 << 31
)

// idOf is the id of event n: a UUIDv8 whose last seven bytes are n, scrambled by a
// multiplication that numberOf undoes.
func idOf(n int) (id cardlake.EventID) {
	binary.BigEndian.PutUint64(id[:8], uint64(n)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], uint64(n)*scramble&mask56)
	id[6], id[8] = id[6]&0x0f|0x80, 0x80
	return id
}

const (
	mask56          = 1<<56 - 1
	scramble uint64 = 0x9e3779b97f4a7b // odd, so that it has an inverse
)

// numberOf is the number of the event with the id.
func numberOf(id cardlake.EventID) int {
	return int(binary.BigEndian.Uint64(id[8:]) & mask56 * inverse & mask56)
}

// inverse is scramble's inverse modulo 2^56, by Newton's iteration.
var inverse = func() uint64 {
	x := uint64(1)
	for range 6 {
		x *= 2 - scramble*x
	}
	return x & mask56
}()

// fill produces the events: a day of all tenants in order of time, as card networks send
// them, each under its card's key.
func (l *lake) fill(ctx context.Context, brokers []string, o options, progress func(done int)) error {
	var done atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for part := range fillers {
		group.Go(func() error {
			client, err := kgo.NewClient(
				kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
				kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedRecords(100_000),
			)
			if err != nil {
				return err
			}
			defer client.Close()
			var failed atomic.Pointer[error]
			g, encoder := writerstest.New(uint64(part)), wire.NewEncoder(l.cardKeys, wire.EncoderConfig{})
			for n := part; n < o.transactions; n += fillers {
				record, err := l.event(ctx, g, encoder, n, o)
				if err != nil {
					return err
				}
				client.Produce(ctx, record, func(_ *kgo.Record, err error) {
					if err != nil {
						failed.Store(&err)
					}
				})
				if count := done.Add(1); count%100_000 == 0 {
					progress(int(count))
				}
				if err := failed.Load(); err != nil {
					return *err
				}
			}
			if err := client.Flush(ctx); err != nil {
				return err
			}
			if err := failed.Load(); err != nil {
				return *err
			}
			return nil
		})
	}
	return group.Wait()
}

// event is event n of the day.
func (l *lake) event(ctx context.Context, g *writerstest.Generator, encoder *wire.Encoder, n int, o options) (*kgo.Record, error) {
	m := &card.Message{Transaction: *g.Next()}
	tenant := l.order[n*7%len(l.order)]
	m.EventID, m.Tenant = idOf(n), tenant.Name
	m.TransactionID = m.EventID
	m.EventTime = firstDay + int64(float64(n)/float64(o.transactions)*day)
	m.IngestedAt = 0
	digits := make([]byte, 0, 16)
	digits = append(digits, '4')
	number := strconv.Itoa(n * 13 % 5_000_000)
	for range 14 - len(number) {
		digits = append(digits, '0')
	}
	digits = append(digits, number...)
	pan, err := card.ParsePAN(append(digits, card.LuhnDigit(digits)))
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", n, err)
	}
	m.PAN = pan
	value, err := encoder.Append(ctx, make([]byte, 0, 512), keys.OwnerOf(tenant.StorageID), m)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Key: binary.BigEndian.AppendUint64(nil, uint64(n*13%5_000_000)), Value: value}, nil
}
