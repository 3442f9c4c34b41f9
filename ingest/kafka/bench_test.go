package kafka_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// benchEvents is how many events an end-to-end benchmark moves at once.
const benchEvents = 200_000

// benchTenants is how many tenants they belong to.
const benchTenants = 12

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
			records = append(records, &kgo.Record{Topic: topic, Key: digits, Value: value})
			done++
		}
		if err := s.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			s.t.Fatal(err)
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkKafkaToCommitted moves events from an embedded broker to committed, encrypted
// files: opened, tokenised, exactly once. The broker's own work is in the figure.
func BenchmarkKafkaToCommitted(b *testing.B) {
	s := newSite(b)
	s.fill(benchEvents)
	var cpu, wall time.Duration
	for b.Loop() {
		b.StopTimer()
		s.newLake(b.TempDir())
		b.StartTimer()
		startCPU, start := cpuTime(b), time.Now()
		w := s.startWith("", 0, ingest.Config{WindowAge: time.Second})
		wait(b, "all events are committed", func() bool {
			var n int64
			for _, at := range w.Committed() {
				n += at.Next
			}
			return n == benchEvents
		})
		cpu += cpuTime(b) - startCPU
		wall += time.Since(start)
		b.StopTimer()
		w.end(b)
		b.StartTimer()
	}
	n := float64(b.N) * benchEvents
	b.ReportMetric(n/cpu.Seconds(), "tx/cpu-s")
	b.ReportMetric(n/wall.Seconds(), "tx/s")
}

// BenchmarkReferenceConsume polls the same events from the same broker and does nothing.
func BenchmarkReferenceConsume(b *testing.B) {
	s := newSite(b)
	s.fill(benchEvents)
	var cpu, wall time.Duration
	for b.Loop() {
		startCPU, start := cpuTime(b), time.Now()
		client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			b.Fatal(err)
		}
		for n := 0; n < benchEvents; {
			n += client.PollFetches(context.Background()).NumRecords()
		}
		cpu += cpuTime(b) - startCPU
		wall += time.Since(start)
		client.Close()
	}
	n := float64(b.N) * benchEvents
	b.ReportMetric(n/cpu.Seconds(), "tx/cpu-s")
	b.ReportMetric(n/wall.Seconds(), "tx/s")
}
