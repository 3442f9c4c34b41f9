package iceberg

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
)

// commitBlock is how many commits are measured together: a whole round of manifest merging
// up to the third level.
const commitBlock = 512

// BenchmarkAppend commits windows of twelve tenants, one file each, to one table whose
// history grows all along. It reports the processor time of the table's first commits and of
// those after b.N more: their difference is what history costs.
//
// With CARDLAKE_COMMITS=10000 it makes that many commits once, on the sealed store with its
// syncs, and reports the ratio of the last ones to the first.
func BenchmarkAppend(b *testing.B) {
	total, _ := strconv.Atoi(os.Getenv("CARDLAKE_COMMITS"))
	var store objects.Store = newStore()
	if total > 0 {
		b.N = 1
		store = objects.NewSealed(b.TempDir(), objectstest.NewKeys(), objects.SealedConfig{})
	}
	c, err := Open(b.Context(), Config{DB: filepath.Join(b.TempDir(), "catalog.db"), Objects: store, Grace: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	t, err := c.Table(b.Context(), cardlake.Transactions)
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	commits := func(count int) (cpu time.Duration) {
		start := processorTime()
		for range count {
			if _, err := t.Append(b.Context(), window(n, 12)); err != nil {
				b.Fatal(err)
			}
			n++
		}
		return (processorTime() - start) / time.Duration(max(1, count))
	}
	commits(10) // the process warms up
	first := commits(commitBlock)
	b.ReportAllocs()
	b.ResetTimer()
	commits(max(b.N, total-n-commitBlock))
	b.StopTimer()
	last := commits(commitBlock)
	v, err := t.load(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	list, err := v.doc.current.list(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	start := processorTime()
	files, err := (&Table{cat: c, def: cardlake.Transactions}).Files(b.Context(), 0)
	if err != nil || len(files) != 12*n {
		b.Fatal(len(files), err)
	}
	b.ReportMetric(float64((processorTime()-start).Microseconds())/1000, "cpu-ms/files-cold")
	b.ReportMetric(float64(first.Microseconds())/1000, "cpu-ms/first")
	b.ReportMetric(float64(last.Microseconds())/1000, "cpu-ms/last")
	b.ReportMetric(float64(last)/float64(first), "last/first")
	b.ReportMetric(float64(n), "commits")
	b.ReportMetric(float64(len(list)), "manifests")
}

// processorTime is what the process has used of all processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFiles reads the file list of a table of 300 commits, as every query does: with
// nothing decoded before, and again after one more commit.
func BenchmarkFiles(b *testing.B) {
	c := mustOpen(b, filepath.Join(b.TempDir(), "catalog.db"), newStore())
	t, err := c.Table(b.Context(), cardlake.Transactions)
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for ; n < 300; n++ {
		if _, err := t.Append(b.Context(), window(n, 12)); err != nil {
			b.Fatal(err)
		}
	}
	read := func(b *testing.B, t *Table) {
		files, err := t.Files(b.Context(), 0)
		if err != nil || len(files) != 12*n {
			b.Fatal(len(files), err)
		}
	}
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			read(b, &Table{cat: c, def: cardlake.Transactions})
		}
		b.ReportMetric(float64(12*n*b.N)/b.Elapsed().Seconds(), "files/s")
	})
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			if _, err := t.Append(b.Context(), window(n, 12)); err != nil {
				b.Fatal(err)
			}
			n++
			b.StartTimer()
			read(b, t)
		}
	})
}

const noon = 1_700_049_600_000_000 // 2023-11-15T12:00:00Z

// window is the n-th append of a worker that reads all twelve partitions: a thousand records
// of each, in one file for each tenant.
func window(n, tenants int) catalog.Append {
	a := catalog.Append{From: cardlake.Positions{}, To: cardlake.Positions{}}
	for p := range int32(12) {
		sp := cardlake.StreamPartition{Stream: "cards.decisions", Partition: p}
		a.From[sp], a.To[sp] = cardlake.Offset{Next: int64(n) * 1000}, cardlake.Offset{Next: int64(n+1) * 1000}
	}
	for i := range tenants {
		at := noon + int64(n)*1_000_000
		a.Files = append(a.Files, cardlake.DataFile{
			Name:   fmt.Sprintf("data/transactions/%016x/%s/%s.parquet", i, cardlake.DayOf(at), appendID()[:20]),
			Tenant: cardlake.Tenant(fmt.Sprintf("tenant-%d", i)), Day: cardlake.DayOf(at),
			Rows: 12000 / int64(tenants), Bytes: 9000 + int64(n*i)%1000, MinTime: at, MaxTime: at + 999_999,
			SplitOffsets: []int64{4},
		})
	}
	return a
}
