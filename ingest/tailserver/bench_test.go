package tailserver_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest/tailserver"
	"github.com/cardlake/cardlake/queries/tail"
	"github.com/cardlake/cardlake/writers/writerstest"
)

const (
	// benchRows are those of 30 s at 600 transactions a second.
	benchRows = 18_000
	// benchPartitions is a stream's.
	benchPartitions = 8
)

// benchTail is a tail of so many records of so many tenants.
func benchTail(b *testing.B, tenants int) workerFunc {
	b.Helper()
	batches, g := make([]*cardlake.Batch, tenants), writerstest.New(1)
	to := cardlake.Positions{}
	for i := range benchRows {
		t := i % tenants
		if batches[t] == nil {
			batches[t] = cardlake.NewBatch()
		}
		tx, p := g.Next(), cardlake.StreamPartition{Stream: "cards", Partition: int32(i % benchPartitions)}
		tx.Tenant, tx.Position = cardlake.Tenant(fmt.Sprintf("tenant-%03d", t)), cardlake.Position{StreamPartition: p, Offset: int64(i / benchPartitions)}
		if err := batches[t].Append(tx); err != nil {
			b.Fatal(err)
		}
		to[p] = cardlake.Offset{Next: int64(i/benchPartitions) + 1}
	}
	var rows []arrow.RecordBatch
	for _, batch := range batches {
		rows = append(rows, batch.View())
	}
	return tailOf(to, rows...)
}

// read looks at the position of each row, as whoever unites tails does.
func read(b *testing.B, records []arrow.RecordBatch) {
	rows := 0
	for _, r := range records {
		_, err := cardlake.SelectByPosition(r, func(cardlake.Position) bool { rows++; return false })
		if err != nil {
			b.Fatal(err)
		}
	}
	if rows != benchRows {
		b.Fatalf("%d rows", rows)
	}
}

// measure runs op, which asks for the tail once, and reports rates of rows.
func measure(b *testing.B, op func()) {
	op() // connect
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, rows := cpuTime(b), 0
	for b.Loop() {
		op()
		rows += benchRows
	}
	cpu = cpuTime(b) - cpu
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/row")
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(rows)/cpu.Seconds(), "rows/cpu-s")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(rows), "allocs/row")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// meter counts what a connection receives.
type meter struct {
	net.Conn
	bytes *atomic.Int64
}

func (m meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.bytes.Add(int64(n))
	return n, err
}

var benchTenants = []int{1, 100}

// BenchmarkFlight asks for a tail through TLS on loopback, both ends in this process.
func BenchmarkFlight(b *testing.B) {
	for _, tenants := range benchTenants {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			var bytes atomic.Int64
			c := serve(b, benchTail(b, tenants), tailserver.Config{}).client(tail.Config{Dial: func(ctx context.Context, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
				return meter{conn, &bytes}, err
			}})
			answers := int64(0)
			measure(b, func() {
				got, err := c.Tail(b.Context(), nil)
				if err != nil {
					b.Fatal(err)
				}
				read(b, got.Records)
				got.Release()
				answers++
			})
			b.ReportMetric(float64(bytes.Load())/float64(answers*benchRows), "bytes/row")
		})
	}
}

// BenchmarkReferenceInProcess asks for the same tail in process.
func BenchmarkReferenceInProcess(b *testing.B) {
	for _, tenants := range benchTenants {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			w := benchTail(b, tenants)
			measure(b, func() {
				got, err := w.Tail(nil)
				if err != nil {
					b.Fatal(err)
				}
				read(b, got.Rows)
				got.Release()
			})
		})
	}
}
