package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
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

// BenchmarkKafkaToCommitted moves events from a broker to committed, encrypted files: opened,
// tokenised, exactly once. The work of an embedded broker is in the figure, that of one in
// another process is not.
func BenchmarkKafkaToCommitted(b *testing.B) {
	b.Run("embedded broker", func(b *testing.B) { newSite(b).benchCommitted(b) })
	b.Run("broker apart", func(b *testing.B) { newSiteOn(b, brokerProcess(b)).benchCommitted(b) })
}

func (s *site) benchCommitted(b *testing.B) {
	s.fill(benchEvents)
	meter := newMeter(b)
	for b.Loop() {
		b.StopTimer()
		s.newLake(b.TempDir())
		b.StartTimer()
		meter.start()
		w := s.startWith("", 0, ingest.Config{WindowAge: time.Second})
		wait(b, "all events are committed", func() bool {
			var n int64
			for _, at := range w.Committed() {
				n += at.Next
			}
			return n == benchEvents
		})
		meter.stop(benchEvents)
		b.StopTimer()
		w.end(b)
		b.StartTimer()
	}
	meter.report()
}

// BenchmarkSource polls the same events and does nothing with them: the source's own share.
func BenchmarkSource(b *testing.B) {
	s := newSiteOn(b, brokerProcess(b))
	s.fill(benchEvents)
	meter := newMeter(b)
	for i := 0; b.Loop(); i++ {
		meter.start()
		source := kafka.New(kafka.Config{Brokers: s.brokers, Topic: topic, Group: fmt.Sprint("bench-", i), Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- source.Run(ctx, make(assigned, 8)) }()
		for n := 0; n < benchEvents; {
			records, err := source.Poll(ctx)
			if err != nil {
				b.Fatal(err)
			}
			n += len(records)
		}
		meter.stop(benchEvents)
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	meter.report()
}

// meter takes the figures of what a benchmark does between start and stop.
type meter struct {
	b                 *testing.B
	cpu, wall         time.Duration
	cpuStart          time.Duration
	wallStart         time.Time
	mem               runtime.MemStats
	allocs, bytes, tx uint64
}

func newMeter(b *testing.B) *meter { return &meter{b: b} }

func (m *meter) start() {
	runtime.ReadMemStats(&m.mem)
	m.cpuStart, m.wallStart = cpuTime(m.b), time.Now()
}

func (m *meter) stop(tx uint64) {
	m.cpu += cpuTime(m.b) - m.cpuStart
	m.wall += time.Since(m.wallStart)
	before := m.mem
	runtime.ReadMemStats(&m.mem)
	m.allocs += m.mem.Mallocs - before.Mallocs
	m.bytes += m.mem.TotalAlloc - before.TotalAlloc
	m.tx += tx
}

func (m *meter) report() {
	n := float64(m.tx)
	m.b.ReportMetric(n/m.cpu.Seconds(), "tx/cpu-s")
	m.b.ReportMetric(n/m.wall.Seconds(), "tx/s")
	m.b.ReportMetric(float64(m.allocs)/n, "allocs/tx")
	m.b.ReportMetric(float64(m.bytes)/n, "B/tx")
}

// BenchmarkReferenceConsume polls the same events with a bare client.
func BenchmarkReferenceConsume(b *testing.B) {
	s := newSiteOn(b, brokerProcess(b))
	s.fill(benchEvents)
	meter := newMeter(b)
	for b.Loop() {
		meter.start()
		client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			b.Fatal(err)
		}
		for n := 0; n < benchEvents; {
			n += client.PollFetches(context.Background()).NumRecords()
		}
		meter.stop(benchEvents)
		client.Close()
	}
	meter.report()
}
