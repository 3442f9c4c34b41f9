package recommend

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cardlake/cardlake/internal/bench/meter"
)

// synthetic returns customers whose merchants follow a Zipf law and the taste of one of 20
// towns, with a mean of about 20 merchants a customer.
func synthetic(tb testing.TB, users, items int) *Matrix {
	tb.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	everybody, local := rand.NewZipf(r, 1.2, 10, uint64(items-1)), rand.NewZipf(r, 1.1, 5, uint64(max(1, items/20-1)))
	b, err := NewBuilder(users, items)
	if err != nil {
		tb.Fatal(err)
	}
	for u := range users {
		town := u % 20
		for range 5 + r.IntN(40) {
			i := int(everybody.Uint64())
			if r.IntN(3) > 0 {
				i = town + 20*int(local.Uint64())
			}
			b.Add(u, min(i, items-1), 1+float64(r.IntN(4)))
		}
	}
	m, err := b.Matrix()
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// benchUsers is how many customers the benchmarks have: a million, less for a short run, or what
// CARDLAKE_BENCH_USERS says.
func benchUsers(b *testing.B) int {
	b.Helper()
	if testing.Short() {
		return 10_000
	}
	s := os.Getenv("CARDLAKE_BENCH_USERS")
	if s == "" {
		return 1_000_000
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		b.Fatal("CARDLAKE_BENCH_USERS is not a number above 0")
	}
	return n
}

const benchItems = 2000

// BenchmarkRecommend fits a model to 2,000 merchants and lists 10 new ones with reasons for each
// customer. A row is a customer.
func BenchmarkRecommend(b *testing.B) {
	m := synthetic(b, benchUsers(b), benchItems)
	fits := map[string]func() (Model, error){
		"ease":       func() (Model, error) { return FitEASE(m.Binary(), 500) },
		"knn":        func() (Model, error) { return FitItemKNN(m.Binary(), KNNConfig{OfOwned: true}) },
		"frequency":  func() (Model, error) { return NewFrequency(benchItems) },
		"popularity": func() (Model, error) { return FitPopularity(m, nil) },
	}
	for _, bench := range []struct {
		name   string
		models []string
	}{
		{"ease", []string{"ease"}},
		{"knn", []string{"knn"}},
		{"blend", []string{"ease", "knn", "frequency", "popularity"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			var figures meter.Meter
			figures.Start()
			users := int64(0)
			for b.Loop() {
				var models []Model
				var weights []float64
				for n, name := range bench.models {
					model, err := fits[name]()
					if err != nil {
						b.Fatal(err)
					}
					models, weights = append(models, model), append(weights, float64(4-n))
				}
				blend, err := NewBlend(models, weights)
				if err != nil {
					b.Fatal(err)
				}
				ranker, err := NewRanker(blend, RankerConfig{})
				if err != nil {
					b.Fatal(err)
				}
				if err := ranker.RankAll(m.Users(), m.Queries(true), func(int, []Recommendation) error { return nil }); err != nil {
					b.Fatal(err)
				}
				users += int64(m.Users())
			}
			figures.Stop(users)
			figures.Report(b)
		})
	}
}

// BenchmarkReference is the same work by Python, on the same matrix, if CARDLAKE_PYTHON names an
// interpreter that has numpy, scipy and implicit.
func BenchmarkReference(b *testing.B) {
	python := os.Getenv("CARDLAKE_PYTHON")
	if python == "" {
		b.Skip("CARDLAKE_PYTHON names no interpreter with numpy, scipy and implicit")
	}
	dir := b.TempDir()
	m := synthetic(b, benchUsers(b), benchItems)
	for name, numbers := range map[string][]int32{"start.i32": m.start, "item.i32": m.item} {
		data, err := binary.Append(nil, binary.LittleEndian, numbers)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	script := filepath.Join("..", "..", "internal", "bench", "insights", "recommend_reference.py")
	for _, bench := range []struct{ name, method string }{{"numpy", "ease"}, {"implicit", "knn"}} {
		b.Run(bench.name, func(b *testing.B) {
			var sum meter.Figures
			for b.Loop() {
				c := exec.CommandContext(b.Context(), python, script, bench.method, dir)
				c.Stderr = os.Stderr
				out, err := c.Output()
				if err != nil {
					b.Fatal(err)
				}
				var f meter.Figures
				if err := json.Unmarshal(out, &f); err != nil {
					b.Fatal(err)
				}
				sum.Rows, sum.CPU, sum.Wall, sum.Peak = sum.Rows+f.Rows, sum.CPU+f.CPU, sum.Wall+f.Wall, max(sum.Peak, f.Peak)
			}
			sum.Report(b)
		})
	}
}

// BenchmarkFitEASE fits 2,000 merchants alone: the Gram matrix of 100,000 customers, and its
// inverse.
func BenchmarkFitEASE(b *testing.B) {
	m := synthetic(b, 100_000, benchItems).Binary()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := FitEASE(m, 500); err != nil {
			b.Fatal(err)
		}
	}
}
