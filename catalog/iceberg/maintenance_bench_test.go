package iceberg

import (
	"fmt"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// large is a table of 100,000 files of a hundred tenants.
func large(b *testing.B, history int) *Table {
	b.Helper()
	t := newFaulty().open(b, history)
	const tenants, days, each = 100, 100, 10
	for day := range days {
		var a catalog.Append
		for i := range tenants * each {
			at := noon + int64(day)*86_400_000_000
			a.Files = append(a.Files, cardlake.DataFile{
				Name:   fmt.Sprintf("data/transactions/%016x/%s/%s.parquet", i%tenants, cardlake.DayOf(at), appendID()[:20]),
				Tenant: cardlake.Tenant(fmt.Sprintf("tenant-%d", i%tenants)), Day: cardlake.DayOf(at),
				Rows: 100, Bytes: 9000, MinTime: at, MaxTime: at + 999_999, SplitOffsets: []int64{4},
			})
		}
		mustAppend(b, t, a)
	}
	return t
}

// BenchmarkReplace replaces a thousand files, one tenant's, in a table of 100,000: cold, as a
// process that just began, and again with what was decoded for the first time.
func BenchmarkReplace(b *testing.B) {
	t := large(b, 10)
	n := 0
	var cold, warm time.Duration
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		files, err := t.FilesOf(b.Context(), 0, cardlake.Tenant(fmt.Sprintf("tenant-%d", n%100)))
		if err != nil {
			b.Fatal(err)
		}
		byDay := map[cardlake.Day][]cardlake.DataFile{}
		for _, f := range files {
			byDay[f.Day] = append(byDay[f.Day], f)
		}
		r := catalog.Replace{Operation: catalog.OpReplace, Remove: namesOf(files...)}
		for _, files := range byDay {
			r.Add = append(r.Add, merged(files...))
		}
		tbl := t
		if n%2 == 0 {
			tbl = &Table{cat: t.cat, def: t.def}
		}
		b.StartTimer()
		start := processorTime()
		mustReplace(b, tbl, r)
		if used := processorTime() - start; n%2 == 0 {
			cold += used
		} else {
			warm += used
		}
		n++
	}
	b.ReportMetric(float64(cold.Milliseconds())/float64((n+1)/2), "cpu-ms/cold")
	b.ReportMetric(float64(warm.Milliseconds())/float64(max(1, n/2)), "cpu-ms/warm")
}

// BenchmarkExpire drops a thousand snapshots, each of twelve files, of which every tenth
// replaced what was before.
func BenchmarkExpire(b *testing.B) {
	var used time.Duration
	n := 0
	for b.Loop() {
		b.StopTimer()
		t := newFaulty().open(b, 1100)
		for i := range 910 {
			mustAppend(b, t, window(i, 12))
			if i%10 == 9 {
				files := ofTenant(b, t, cardlake.Tenant(fmt.Sprintf("tenant-%d", i/10%12)))
				mustReplace(b, t, compaction(files...))
			}
		}
		fresh := &Table{cat: t.cat, def: t.def}
		b.StartTimer()
		start := processorTime()
		if done := mustExpire(b, fresh, Expiry{KeepLast: 1, Grace: -1}); done.Snapshots != 1000 {
			b.Fatalf("%+v", done)
		}
		used += processorTime() - start
		n++
	}
	b.ReportMetric(float64(used.Milliseconds())/float64(n), "cpu-ms/expire")
}

// BenchmarkFilesOf plans for one tenant of a table of 100,000 files, cold, before and after
// its manifests were sorted; Files beside it.
func BenchmarkFilesOf(b *testing.B) {
	t := large(b, 10)
	run := func(name string) {
		b.Run(name+"/all", func(b *testing.B) {
			for b.Loop() {
				if files, err := (&Table{cat: t.cat, def: t.def}).Files(b.Context(), 0); err != nil || len(files) != 100_000 {
					b.Fatal(len(files), err)
				}
			}
		})
		b.Run(name+"/tenant", func(b *testing.B) {
			for b.Loop() {
				if files, err := (&Table{cat: t.cat, def: t.def}).FilesOf(b.Context(), 0, "tenant-7"); err != nil || len(files) != 1000 {
					b.Fatal(len(files), err)
				}
			}
		})
	}
	run("unsorted")
	start := processorTime()
	if done, err := t.RewriteManifests(b.Context()); err != nil || !done {
		b.Fatal(done, err)
	}
	b.Logf("RewriteManifests used %s", processorTime()-start)
	run("sorted")
}
