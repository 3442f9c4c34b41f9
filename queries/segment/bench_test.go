package segment

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

// customers are rows of 12 features, prepared: six overlapping kinds of customers.
func customers(rows int) Matrix {
	x, _ := blobs(7, rows, 12, 6, 1)
	r := rand.New(rand.NewPCG(8, 8))
	for i := range x.Data {
		x.Data[i] = x.Data[i]/3 + 0.6*r.NormFloat64()
	}
	return x
}

// benchRows is how many customers the benchmarks have: a million, or less for a short run.
func benchRows() int {
	if testing.Short() {
		return 20_000
	}
	return 1_000_000
}

// measured reports what op takes for a million customers.
func measured(b *testing.B, op func(x Matrix)) {
	x := customers(benchRows())
	var f meter.Meter
	for b.Loop() {
		f.Start()
		op(x)
		f.Stop(int64(x.Rows))
	}
	f.Report(b)
}

// BenchmarkChoose tries 2 to 10 segments for a million customers.
func BenchmarkChoose(b *testing.B) {
	measured(b, func(x Matrix) {
		c, err := Choose(b.Context(), x, ChooseConfig{KMeans: KMeansConfig{Seed: 1}})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(c.Centres.Rows), "segments")
	})
}

// BenchmarkPrepare makes the features of a million customers comparable.
func BenchmarkPrepare(b *testing.B) {
	measured(b, func(x Matrix) {
		columns := make([]Column, x.Cols)
		for j := range columns {
			columns[j] = Column{Name: strconv.Itoa(j), Scale: YeoJohnson}
		}
		if _, _, err := Prepare(x, columns); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkKMeans makes 8 clusters of a million customers.
func BenchmarkKMeans(b *testing.B) {
	measured(b, func(x Matrix) {
		p, err := KMeans(b.Context(), x, 8, KMeansConfig{Seed: 1})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(p.SSE/float64(x.Rows), "SSE/row")
	})
}

// BenchmarkReferenceKMeans is scikit-learn's KMeans of two starts on the same rows, if
// CARDLAKE_PYTHON names an interpreter that has it.
func BenchmarkReferenceKMeans(b *testing.B) {
	python := os.Getenv("CARDLAKE_PYTHON")
	if python == "" {
		b.Skip("CARDLAKE_PYTHON names no interpreter with scikit-learn")
	}
	x := customers(benchRows())
	body, err := binary.Append(nil, binary.LittleEndian, x.Data)
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "rows.f64")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		b.Fatal(err)
	}
	script := filepath.Join("..", "..", "internal", "bench", "insights", "segment_reference.py")
	var sum meter.Figures
	for b.Loop() {
		c := exec.CommandContext(b.Context(), python, script, file, strconv.Itoa(x.Cols), "8")
		c.Stderr = os.Stderr
		out, err := c.Output()
		if err != nil {
			b.Fatal(err)
		}
		var f struct {
			meter.Figures
			SSE float64 `json:"sse"`
		}
		if err := json.Unmarshal(out, &f); err != nil {
			b.Fatal(err)
		}
		sum.Rows, sum.CPU, sum.Wall, sum.Peak = sum.Rows+f.Rows, sum.CPU+f.CPU, sum.Wall+f.Wall, max(sum.Peak, f.Peak)
		b.ReportMetric(f.SSE/float64(x.Rows), "SSE/row")
	}
	sum.Report(b)
}
