package boost

import (
	"context"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// outcome is what boost_reference.py prints of a model.
type outcome struct {
	Train     float64 `json:"train_s"`
	Predict   float64 `json:"predict_s"`
	Precision float64 `json:"precision"`
	AUC       float64 `json:"auc"`
}

// reference trains another library's model in Python, which CARDLAKE_PYTHON names; without it the test or benchmark is skipped.
func reference(t testing.TB, model string, train, test Data) outcome {
	t.Helper()
	python := os.Getenv("CARDLAKE_PYTHON")
	if python == "" {
		t.Skip("CARDLAKE_PYTHON names no Python with scikit-learn and lightgbm")
	}
	folder := t.TempDir()
	for name, d := range map[string]Data{"train": train, "test": test} {
		le := binary.LittleEndian
		b := le.AppendUint32(le.AppendUint32(nil, uint32(d.Rows())), uint32(len(d.Columns)))
		for _, v := range d.Values {
			b = le.AppendUint32(b, math.Float32bits(v))
		}
		for _, f := range d.Fraud {
			if f {
				b = append(b, 1)
			} else {
				b = append(b, 0)
			}
		}
		if err := os.WriteFile(filepath.Join(folder, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := filepath.Join("..", "..", "..", "internal", "bench", "insights", "boost_reference.py")
	cmd := exec.Command(python, script, model, filepath.Join(folder, "train"), filepath.Join(folder, "test"))
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var o outcome
	if err := json.Unmarshal(out, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// cpu is the CPU time that this process has used.
func cpu() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// TestPublicSets trains on every file fraud/*.csv in the folder that CARDLAKE_DATASETS names (boost_datasets.py beside
// boost_reference.py makes some), with nothing set, and compares with a
// well-tuned random forest. A file has a heading, rows oldest first, numbers only (an empty field is missing), and the label, 0 or 1, last.
// The newest 30 % of rows are predicted from those before, and 30 % drawn by chance from the others.
func TestPublicSets(t *testing.T) {
	folder := os.Getenv("CARDLAKE_DATASETS")
	if folder == "" {
		t.Skip("CARDLAKE_DATASETS names no folder of public data sets")
	}
	names, err := filepath.Glob(filepath.Join(folder, "fraud", "*.csv"))
	if err != nil || len(names) == 0 {
		t.Skip("no fraud/*.csv in the folder that CARDLAKE_DATASETS names")
	}
	for _, name := range names {
		d := table(t, name)
		newest := func(i int) bool { return i >= d.Rows()*7/10 }
		for _, split := range []struct {
			name string
			test func(i int) bool
		}{
			{"newest", newest},
			{"chance 1", func(i int) bool { return draw(1, 0, i) < 0.3 }},
			{"chance 2", func(i int) bool { return draw(2, 0, i) < 0.3 }},
		} {
			t.Run(filepath.Base(name)+"/"+split.name, func(t *testing.T) {
				past, future := Data{Columns: d.Columns}, Data{Columns: d.Columns}
				for i := range d.Rows() {
					to := &past
					if split.test(i) {
						to = &future
					}
					to.Values = append(to.Values, d.Values[i*len(d.Columns):(i+1)*len(d.Columns)]...)
					to.Fraud = append(to.Fraud, d.Fraud[i])
				}
				beside(t, past, future)
			})
		}
	}
}

// TestMadeUpSet is the same on the benchmarks' rows, which boosting suits better than a forest.
func TestMadeUpSet(t *testing.T) {
	if os.Getenv("CARDLAKE_PYTHON") == "" {
		t.Skip("CARDLAKE_PYTHON names no Python with scikit-learn and lightgbm")
	}
	beside(t, wide(40_000, 1), wide(40_000, 2))
}

// beside trains on past with nothing set, predicts future, and compares with a well-tuned random forest where there is one.
func beside(t *testing.T, past, future Data) {
	t.Helper()
	start := cpu()
	m := train(t, past, Config{})
	trained := cpu()
	runtime.GC()
	ready := cpu()
	scores := predict(t, m, future)
	done := cpu()
	precision, auc := quality(future, scores)
	t.Logf("boost     AP %.4f AUC %.4f, training %.1f s CPU, predicting %.0f ns a row; %+v", precision, auc, (trained - start).Seconds(),
		float64(done-ready)/float64(future.Rows()), m.Summary())
	for _, other := range []string{"histgb", "lightgbm", "forest"} {
		o := reference(t, other, past, future)
		t.Logf("%-9s AP %.4f AUC %.4f, training %.1f s CPU, predicting %.0f ns a row", other, o.Precision, o.AUC, o.Train, 1e9*o.Predict/float64(future.Rows()))
		if other == "forest" && (precision < o.Precision-0.02 || auc < o.AUC-0.01) {
			t.Errorf("AP %.4f and AUC %.4f, a random forest reaches %.4f and %.4f", precision, auc, o.Precision, o.AUC)
		}
	}
}

func table(t *testing.T, name string) Data {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := csv.NewReader(file)
	lines.ReuseRecord = true
	heading, err := lines.Read()
	if err != nil {
		t.Fatal(err)
	}
	heading = slices.Clone(heading)
	d := Data{Columns: heading[:len(heading)-1]}
	for {
		record, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return d
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range record[:len(record)-1] {
			v := math.NaN()
			if field != "" {
				if v, err = strconv.ParseFloat(field, 32); err != nil {
					t.Fatalf("row %d: %v", d.Rows(), err)
				}
			}
			d.Values = append(d.Values, float32(v))
		}
		label, err := strconv.ParseFloat(record[len(record)-1], 64)
		if err != nil {
			t.Fatalf("row %d: %v", d.Rows(), err)
		}
		d.Fraud = append(d.Fraud, label == 1)
	}
}

// wide is rows of 30 columns, 0.5 % of them fraud: what the benchmarks share with their references.
func wide(rows int, seed uint64) Data {
	const columns = 30
	d := Data{Values: make([]float32, 0, rows*columns), Fraud: make([]bool, rows)}
	for c := range columns {
		d.Columns = append(d.Columns, "c"+strconv.Itoa(c))
	}
	normal := func(i, c int) float64 { // by Box & Muller
		return math.Sqrt(-2*math.Log(1-draw(seed, 2*c, i))) * math.Cos(2*math.Pi*draw(seed, 2*c+1, i))
	}
	for i := range rows {
		for c := range columns {
			d.Values = append(d.Values, float32(normal(i, c)))
		}
		row := d.Values[i*columns:]
		m := -8.5 + 1.5*float64(row[0]) + float64(row[1]*row[2]) + 1.2*math.Abs(float64(row[3]))
		if row[4] > 1 && row[5] > 0 {
			m += 3
		}
		d.Fraud[i] = draw(seed, 99, i) < sigmoid(m)
	}
	return d
}

const benchRows = 100_000

func BenchmarkTrain(b *testing.B) {
	d := wide(benchRows, 1)
	perValue := func(b *testing.B, used time.Duration) {
		b.ReportMetric(float64(used.Nanoseconds())/float64(b.N)/benchRows, "cpu-ns/row")
		b.ReportMetric(float64(b.N)*float64(len(d.Values))/used.Seconds(), "values/cpu-s")
	}
	b.Run("whole", func(b *testing.B) { // two boostings, two forests, choice and calibration
		b.ReportAllocs()
		start := cpu()
		for range b.N {
			train(b, d, Config{Workers: 1})
		}
		perValue(b, cpu()-start)
	})
	b.Run("boosting", func(b *testing.B) { // 100 trees of 31 leaves on all rows and columns, as the references do
		b.ReportAllocs()
		config, err := Config{Leaves: 31, Depth: 64, RowShare: 1, ColumnShare: 1, LeafRows: 20, LeafHessian: 1e-3, L2: 1e-6}.withDefaults()
		if err != nil {
			b.Fatal(err)
		}
		rows := make([]uint32, d.Rows())
		for i := range rows {
			rows[i] = uint32(i)
		}
		start := cpu()
		for range b.N {
			t := &trainer{data: d, config: config, workers: 1, bins: newBins(d, 1)}
			if _, err := t.boost(context.Background(), rows, nil, 100); err != nil {
				b.Fatal(err)
			}
		}
		perValue(b, cpu()-start)
	})
}

func BenchmarkPredict(b *testing.B) {
	m, d := train(b, wide(benchRows/2, 1), Config{Workers: runtime.GOMAXPROCS(0)}), wide(benchRows/5, 2)
	var p []float64
	var err error
	b.ReportAllocs()
	b.ResetTimer()
	start := cpu()
	for range b.N {
		if p, err = m.Predict(p[:0], d.Values); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu()-start).Nanoseconds())/float64(b.N)/float64(d.Rows()), "predict-cpu-ns/row")
}

func BenchmarkContributions(b *testing.B) {
	m, d := train(b, wide(benchRows/2, 1), Config{}), wide(1000, 2)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		at := i % d.Rows() * len(d.Columns)
		if _, _, err := m.Contributions(d.Values[at : at+len(d.Columns)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReference is other libraries on the rows of BenchmarkTrain and BenchmarkPredict.
func BenchmarkReference(b *testing.B) {
	for _, model := range []string{"histgb", "lightgbm"} {
		b.Run(model, func(b *testing.B) {
			past, future := wide(benchRows, 1), wide(benchRows/5, 2)
			var sum outcome
			for range b.N {
				o := reference(b, model, past, future)
				sum.Train, sum.Predict = sum.Train+o.Train, sum.Predict+o.Predict
			}
			b.ReportMetric(1e9*sum.Train/float64(b.N)/benchRows, "cpu-ns/row")
			b.ReportMetric(1e9*sum.Predict/float64(b.N)/float64(future.Rows()), "predict-cpu-ns/row")
		})
	}
}
