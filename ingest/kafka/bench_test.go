package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// benchTenants is how many tenants the events of a benchmark belong to.
const benchTenants = 12

// benchEvents is how many events an end-to-end benchmark moves at once.
func benchEvents() int {
	if testing.Short() {
		return 20_000
	}
	return 500_000
}

// BenchmarkKafka moves the same events of one topic: through the worker, to committed and
// encrypted files, opened, tokenised, exactly once; and through what one would use or write
// instead. But for "broker inside" the broker is another process, whose work is in no figure.
func BenchmarkKafka(b *testing.B) {
	apart := newSiteOn(b, brokerProcess(b))
	apart.fill(benchEvents())
	run := func(name string, bench func(*site, *testing.B)) {
		b.Run(name, func(b *testing.B) {
			s := *apart
			s.t = b
			bench(&s, b)
		})
	}
	run("worker", (*site).benchWorker)
	b.Run("worker broker inside", func(b *testing.B) {
		s := newSite(b)
		s.fill(benchEvents())
		s.benchWorker(b)
	})
	run("source alone", (*site).benchSource)
	run("reference client", (*site).benchClient)
	run("reference loop", (*site).benchLoop)
	run("reference Bento Avro", (*site).benchBentoAvro)
	run("reference Bento JSON", (*site).benchBentoJSON)
}

// fill produces n realistic events of several tenants.
func (s *site) fill(n int) {
	ctx := context.Background()
	var owners []keys.Owner
	var names []cardlake.Tenant
	for i := range benchTenants {
		r, err := s.tenants.Create(cardlake.Tenant(fmt.Sprintf("tenant-%d", i)), "MX", "MXN", time.Now())
		if err != nil {
			s.t.Fatal(err)
		}
		owners, names = append(owners, keys.OwnerOf(r.StorageID)), append(names, r.Name)
	}
	if err := s.ring.EnsureOwners(ctx, owners...); err != nil {
		s.t.Fatal(err)
	}
	g := writerstest.New(1)
	for done := 0; done < n; {
		var records []*kgo.Record
		for range min(10_000, n-done) {
			i := done % benchTenants
			m := &card.Message{Transaction: *g.Next()}
			digits := fmt.Appendf(nil, "4%014d", done%100_000)
			pan, err := card.ParsePAN(append(digits, card.LuhnDigit(digits)))
			if err != nil {
				s.t.Fatal(err)
			}
			m.PAN, m.Tenant = pan, names[i]
			value, err := s.encoder.Append(ctx, nil, owners[i], m)
			if err != nil {
				s.t.Fatal(err)
			}
			records = append(records, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "card-%d", done%100_000), Value: value})
			done++
		}
		if err := s.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// benchWorker runs a worker until all is committed, and reads off the table what that wrote.
func (s *site) benchWorker(b *testing.B) {
	events := int64(benchEvents())
	var m meter.Meter
	for b.Loop() {
		s.newLake(b.TempDir())
		m.Start()
		w := s.startWith("", 0, ingest.Config{WindowAge: time.Second})
		wait(b, "all events are committed", func() bool {
			var n int64
			for _, at := range w.Committed() {
				n += at.Next
			}
			return n == events
		})
		m.Stop(events)
		w.end(b)
		rows, bytes := s.committed(b)
		if rows != events {
			b.Fatalf("%d rows in the table, want %d", rows, events)
		}
		m.Bytes += bytes
	}
	m.Report(b)
}

// committed returns the rows of the table and the size of its files.
func (s *site) committed(b *testing.B) (rows, bytes int64) {
	lake, err := iceberg.Open(b.Context(), iceberg.Config{DB: s.dir + "/catalog.db", Objects: s.store, ReadOnly: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer lake.Close()
	table, err := lake.Table(b.Context(), cardlake.Transactions)
	if err != nil {
		b.Fatal(err)
	}
	files, err := table.Files(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range files {
		rows, bytes = rows+f.Rows, bytes+f.Bytes
	}
	return rows, bytes
}

// benchSource polls the events and does nothing with them: the source's own share.
func (s *site) benchSource(b *testing.B) {
	events := benchEvents()
	var m meter.Meter
	for i := 0; b.Loop(); i++ {
		m.Start()
		source := kafka.New(kafka.Config{Brokers: s.brokers, Topic: topic, Group: fmt.Sprint("bench-", i), Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- source.Run(ctx, make(assigned, 8)) }()
		for n := 0; n < events; {
			records, err := source.Poll(ctx)
			if err != nil {
				b.Fatal(err)
			}
			n += len(records)
		}
		m.Stop(int64(events))
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	m.Report(b)
}
