package retention

import (
	"syscall"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/parquet"
)

// BenchmarkErase measures what an erasure costs for each row of a tenant: files that bloom
// filters pass over, files whose columns are read because there is no filter or only a hash
// to look for, and files that are rewritten.
func BenchmarkErase(b *testing.B) {
	const rows = 100_000
	l := newLake(b)
	l.config = parquet.Config{}
	l.put(l.rowsOf(acme, "2026-03-02", rows, maria, 20)...)
	f := l.live(cardlake.Transactions)[0]
	k := l.keeper()
	r, err := l.tenants.Lookup(acme)
	l.check(err)
	s, err := k.secret(b.Context(), r, true)
	l.check(err)
	cpu := func() (t time.Duration) {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	report := func(b *testing.B, used time.Duration) {
		b.ReportMetric(float64(used.Nanoseconds())/float64(b.N)/rows, "cpu-ns/row")
		b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	}
	look := func(w func() *wanted, want int64) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			began := cpu()
			for b.Loop() {
				found, err := k.scan(b.Context(), f, w())
				if err != nil || found.rows != want {
					b.Fatal(found.rows, err)
				}
			}
			report(b, cpu()-began)
		}
	}
	b.Run("pass over", look(func() *wanted {
		w := newWanted(s)
		w.customers["cu-who-is-not-there"] = true
		return w
	}, 0))
	b.Run("look", look(func() *wanted {
		w := newWanted(s)
		w.customers[maria] = true
		return w
	}, 20))
	b.Run("look by hash", look(func() *wanted {
		w := newWanted(s)
		w.persons[s.hash(personHash, []byte(maria))] = true
		return w
	}, 20))
	b.Run("rewrite", func(b *testing.B) {
		b.ReportAllocs()
		w := newWanted(s)
		w.customers[maria] = true
		began := cpu()
		for b.Loop() {
			rewriter := k.newRewriter(r, w)
			files, n, err := rewriter.rewrite(b.Context(), f)
			if err != nil || n != 20 {
				b.Fatal(n, err)
			}
			rewriter.drop(b.Context(), files)
		}
		report(b, cpu()-began)
	})
}
