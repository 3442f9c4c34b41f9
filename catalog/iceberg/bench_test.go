package iceberg

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// BenchmarkAppend commits windows of twelve tenants, one file each, to one table whose
// history grows all along. It reports the commits at the table's beginning and those after
// b.N more: their difference is what history costs.
func BenchmarkAppend(b *testing.B) {
	c := mustOpen(b, filepath.Join(b.TempDir(), "catalog.db"), newStore())
	t, err := c.Table(b.Context(), cardlake.Transactions)
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	commits := func(count int) time.Duration {
		start := time.Now()
		for range count {
			if _, err := t.Append(b.Context(), window(n, 12)); err != nil {
				b.Fatal(err)
			}
			n++
		}
		return time.Since(start) / time.Duration(count)
	}
	first := commits(50)
	b.ReportAllocs()
	b.ResetTimer()
	commits(b.N)
	b.StopTimer()
	last := commits(50)
	b.ReportMetric(float64(first.Microseconds())/1000, "ms/first50")
	b.ReportMetric(float64(last.Microseconds())/1000, "ms/last50")
	b.ReportMetric(float64(n), "commits")
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
