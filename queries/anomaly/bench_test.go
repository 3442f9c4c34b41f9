package anomaly

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cardlake/cardlake/internal/bench/meter"
)

// benchRows makes n rows of 30 columns: lognormal, normal and count-like, and 1 % of anomalies
// that are shifted in five columns.
func benchRows(n int) (Matrix, []bool) {
	const cols = 30
	m := Matrix{Data: make([]float64, n*cols), Cols: cols}
	labels := make([]bool, n)
	random := rand.New(rand.NewPCG(7, 7))
	for i := range n {
		row := m.Row(i)
		labels[i] = random.IntN(100) == 0
		for j := range row {
			v := random.NormFloat64()
			if labels[i] && j < 5 {
				v += 2
			}
			switch j % 3 {
			case 0:
				v = math.Exp(v)
			case 1:
				v = math.Floor(math.Abs(v) * 3)
			}
			row[j] = v
		}
	}
	return m, labels
}

// BenchmarkScore scores rows of 30 columns with what was fitted to them, and has scikit-learn and
// PyOD do the same if CARDLAKE_PYTHON names a Python that has them. The area under the curve and
// the average precision are of the same rows.
func BenchmarkScore(b *testing.B) {
	m, labels := benchRows(65_536)
	model := mustFit(b, m, Config{})
	transductive := func(of func(Matrix) ([]float64, Matrix, error)) func([]float64, Matrix) error {
		return func(dst []float64, m Matrix) error {
			scores, _, err := of(m)
			copy(dst, scores)
			return err
		}
	}
	for _, c := range []struct {
		name      string
		score     func([]float64, Matrix) error
		reference []string
	}{
		{"forest", mustForest(b, m, ForestConfig{}).Score, []string{"forest"}},
		{"forest-4096", model.forest.Score, []string{"forest", "4096"}},
		{"ecod", transductive(ECOD), []string{"ecod"}},
		{"copod", transductive(COPOD), []string{"copod"}},
		{"tails", model.tails.Score, nil},
		{"robust", model.robust.Score, nil},
		{"model", model.Score, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			dst := make([]float64, m.Rows())
			meter.Loop(b, m.Rows(), func() int64 {
				if err := c.score(dst, m); err != nil {
					b.Fatal(err)
				}
				return 0
			})
			auc, err := AUC(dst, labels)
			if err != nil {
				b.Fatal(err)
			}
			precision, err := AveragePrecision(dst, labels)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(auc, "auc")
			b.ReportMetric(precision, "precision")
		})
		if c.reference != nil {
			b.Run("reference="+c.name, func(b *testing.B) {
				f := reference(b, m, labels, c.reference)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(f.Rows, "rows/cpu-s")
				b.ReportMetric(1e9/f.Rows, "cpu-ns/row")
				b.ReportMetric(f.AUC, "auc")
				b.ReportMetric(f.Precision, "precision")
			})
		}
	}
}

// figures are what anomaly_reference.py prints.
type figures struct {
	Rows      float64 `json:"rows_per_s"`
	AUC       float64 `json:"auc"`
	Precision float64 `json:"precision"`
}

// reference is what a detector of Python does with the rows; without a Python it skips.
func reference(t testing.TB, m Matrix, labels []bool, detector []string) figures {
	t.Helper()
	python := os.Getenv("CARDLAKE_PYTHON")
	if python == "" {
		t.Skip("CARDLAKE_PYTHON names no Python with numpy, scikit-learn and pyod")
	}
	file := filepath.Join(t.TempDir(), "rows")
	data := putFloats(putInt(putInt(nil, m.Rows()), m.Cols), m.Data...)
	for _, l := range labels {
		data = append(data, byte(number(l)))
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join("..", "..", "internal", "bench", "insights", "anomaly_reference.py")
	command := exec.CommandContext(t.Context(), python, append([]string{script, detector[0], file}, detector[1:]...)...)
	command.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "NUMBA_NUM_THREADS=1")
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %v", detector, err)
	}
	var f figures
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatalf("%v: %v", detector, err)
	}
	return f
}

// BenchmarkFit fits to samples of rows of 30 columns.
func BenchmarkFit(b *testing.B) {
	for _, rows := range []int{8192, 65_536} {
		m, _ := benchRows(rows)
		b.Run("forest/"+strconv.Itoa(rows), func(b *testing.B) {
			meter.Loop(b, rows, func() int64 {
				mustForest(b, m, ForestConfig{})
				return 0
			})
		})
		b.Run("model/"+strconv.Itoa(rows), func(b *testing.B) {
			meter.Loop(b, rows, func() int64 {
				mustFit(b, m, Config{})
				return 0
			})
		})
	}
}

// BenchmarkExplain explains one alert.
func BenchmarkExplain(b *testing.B) {
	m, _ := benchRows(8192)
	model := mustFit(b, m, Config{})
	meter.Loop(b, 100, func() int64 {
		for i := range 100 {
			if _, err := model.Explain(m.Row(i)); err != nil {
				b.Fatal(err)
			}
		}
		return 0
	})
}
