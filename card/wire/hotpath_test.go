package wire_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// stream is realistic events of several tenants as they lie on the stream, in one buffer.
type stream struct {
	ring    *local.Keyring
	tenants map[cardlake.Tenant]int
	owners  []keys.Owner
	values  [][]byte
	now     time.Time
}

func newStream(t testing.TB, tenants, events int) *stream {
	s := &stream{tenants: map[cardlake.Tenant]int{}, now: time.Now()}
	for i := range tenants {
		s.owners = append(s.owners, keys.Owner(fmt.Sprintf("owner%d", i)))
		s.tenants[cardlake.Tenant(fmt.Sprintf("tenant-%d", i))] = i
	}
	s.ring = keyring(t, s.owners...)
	encoder, g := wire.NewEncoder(s.ring, wire.EncoderConfig{}), writerstest.New(1)
	var pan card.PAN
	var buf []byte
	var ends []int
	for n := range events {
		m := &card.Message{Transaction: *g.Next()}
		digits := fmt.Appendf(nil, "4%014d", n%100_000)
		if err := pan.Set(append(digits, card.LuhnDigit(digits))); err != nil {
			t.Fatal(err)
		}
		tenant := n % tenants
		m.PAN, m.Tenant = pan, cardlake.Tenant(fmt.Sprintf("tenant-%d", tenant))
		var err error
		if buf, err = encoder.Append(context.Background(), buf, s.owners[tenant], m); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, len(buf))
	}
	for from, i := 0, 0; i < events; i++ {
		s.values = append(s.values, buf[from:ends[i]:ends[i]])
		from = ends[i]
	}
	return s
}

// BenchmarkHotPath takes events from the stream's bytes to sorted columns: decoded, opened,
// tokenised, appended to the batch of their tenant, and the batches' records made.
func BenchmarkHotPath(b *testing.B) {
	for _, tenants := range []int{1, 12, 100} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			s := newStream(b, tenants, 100_000)
			ctx := b.Context()
			decoder, tokenizer := wire.NewDecoder(s.ring, wire.DecoderConfig{}), tokenize.New(s.ring, tokenize.Config{})
			batches := make([]*cardlake.Batch, tenants)
			for i := range batches {
				batches[i] = cardlake.NewBatch()
			}
			var row cardlake.Row
			var pan card.PAN
			window := func() {
				for n, value := range s.values {
					sealed, err := decoder.DecodeRow(value, &row)
					if err != nil {
						b.Fatal(err)
					}
					tenant := s.tenants[cardlake.Tenant(row.Text(cardlake.TextTenant))]
					if err := decoder.OpenRow(ctx, s.owners[tenant], &row, sealed, &pan); err != nil {
						b.Fatal(err)
					}
					minter, err := tokenizer.Minter(ctx, s.owners[tenant], s.now)
					if err != nil {
						b.Fatal(err)
					}
					minter.ApplyRow(&row, pan)
					row.IngestedAt = s.now.UnixMicro()
					row.Position = cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards", Partition: int32(tenant)}, Offset: int64(n)}
					if err := batches[tenant].AppendRow(&row); err != nil {
						b.Fatal(err)
					}
				}
				for _, batch := range batches {
					if _, err := batch.Record(); err != nil {
						b.Fatal(err)
					}
					batch.Reset()
				}
			}
			window() // grow what is reused
			b.ReportAllocs()
			cpu := cpuTime(b)
			for b.Loop() {
				window()
			}
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N*len(s.values)), "cpu-ns/row")
		})
	}
}

// BenchmarkHotPathStages takes the stages of BenchmarkHotPath one by one, over a window of one
// tenant's events.
func BenchmarkHotPathStages(b *testing.B) {
	const events = 8000
	s := newStream(b, 1, events)
	decoder, tokenizer := wire.NewDecoder(s.ring, wire.DecoderConfig{}), tokenize.New(s.ring, tokenize.Config{})
	minter, err := tokenizer.Minter(b.Context(), s.owners[0], s.now)
	if err != nil {
		b.Fatal(err)
	}
	rows, sealed, pans := make([]cardlake.Row, events), make([][]byte, events), make([]card.PAN, events)
	batch := cardlake.NewBatch()
	stage := func(name string, do func(i int) error, end func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			cpu := cpuTime(b)
			for b.Loop() {
				for i := range events {
					if err := do(i); err != nil {
						b.Fatal(err)
					}
				}
				end()
			}
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N*events), "cpu-ns/row")
		})
	}
	decode := func(i int) (err error) {
		sealed[i], err = decoder.DecodeRow(s.values[i], &rows[i])
		return err
	}
	open := func(i int) error { return decoder.OpenRow(b.Context(), s.owners[0], &rows[i], sealed[i], &pans[i]) }
	for i := range rows {
		if err := errors.Join(decode(i), open(i)); err != nil {
			b.Fatal(err)
		}
		rows[i].IngestedAt, rows[i].Position = s.now.UnixMicro(), cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards"}, Offset: int64(i)}
	}
	stage("decode", decode, func() {})
	stage("open", open, func() {})
	stage("token", func(i int) error {
		minter.ApplyRow(&rows[i], pans[i])
		return nil
	}, func() {})
	for i := range rows { // the minter's memory holds the last one only
		minter.ApplyRow(&rows[i], pans[i])
		rows[i].CardToken, rows[i].BIN, rows[i].Last4 = strings.Clone(rows[i].CardToken), strings.Clone(rows[i].BIN), strings.Clone(rows[i].Last4)
	}
	appendRow := func(i int) error { return batch.AppendRow(&rows[i]) }
	stage("append", appendRow, batch.Reset)
	stage("append-record", appendRow, func() {
		if _, err := batch.Record(); err != nil {
			b.Fatal(err)
		}
		batch.Reset()
	})
	stage("append-view", appendRow, func() {
		batch.View()
		batch.Reset()
	})
}

// cpuTime is the process's time on a CPU, user and system.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
