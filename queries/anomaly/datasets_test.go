package anomaly

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// readCSV reads a set: a header, then features, empty where missing, and a last column of 0 or 1.
// What is missing becomes the median of its column.
func readCSV(t testing.TB, name string) (Matrix, []bool) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	m := Matrix{Cols: len(lines[0]) - 1}
	var labels []bool
	for _, line := range lines[1:] {
		for _, field := range line[:m.Cols] {
			v := math.NaN()
			if field != "" {
				if v, err = strconv.ParseFloat(field, 64); err != nil {
					t.Fatal(err)
				}
			}
			m.Data = append(m.Data, v)
		}
		labels = append(labels, line[m.Cols] == "1")
	}
	for j := range m.Cols {
		known := slices.DeleteFunc(m.column(j), math.IsNaN)
		if len(known) == m.Rows() {
			continue
		}
		slices.Sort(known)
		for i := range m.Rows() {
			if v := &m.Row(i)[j]; math.IsNaN(*v) {
				*v = middle(known)
			}
		}
	}
	return m, labels
}

func mustAUC(t *testing.T, scores []float64, labels []bool) float64 {
	t.Helper()
	a, err := AUC(scores, labels)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// forestAUC is the mean over seeds.
func forestAUC(t *testing.T, m Matrix, labels []bool, seeds int) float64 {
	t.Helper()
	var sum float64
	for seed := range seeds {
		f := mustForest(t, m, ForestConfig{Seed: uint64(seed)})
		sum += mustAUC(t, scoresOf(t, f.Score, m), labels)
	}
	return sum / float64(seeds)
}

// TestSets holds the detectors against those of scikit-learn 1.9.1 (the mean of 20 forests) and
// PyOD 3.6.7 on the sets in testdata.
func TestSets(t *testing.T) {
	for _, c := range []struct {
		name                string
		forest, ecod, copod float64
		ecodSum, copodSum   float64
	}{
		{"wdbc.csv", 0.9858, 0.9705882352941176, 0.9941176470588236, 18353.226528998483, 14618.852733490638},
		{"wine.csv", 0.8025, 0.7327731092436974, 0.8672268907563025, 2705.7876003865995, 2153.8319279899024},
	} {
		m, labels := readCSV(t, filepath.Join("testdata", c.name))
		if got := forestAUC(t, m, labels, 10); !near(got, c.forest, 0.02) {
			t.Errorf("%s: isolation forest %.4f, want %.4f", c.name, got, c.forest)
		}
		for method, want := range map[Method][2]float64{MethodECOD: {c.ecod, c.ecodSum}, MethodCOPOD: {c.copod, c.copodSum}} {
			scores, _, err := tailScores(method, m)
			if err != nil {
				t.Fatal(err)
			}
			var sum float64
			for _, s := range scores {
				sum += s
			}
			if got := mustAUC(t, scores, labels); !near(got, want[0], 1e-9) || !near(sum, want[1], 1e-6) {
				t.Errorf("%s: %v %v with scores of %v together, want %v and %v", c.name, method, got, sum, want[0], want[1])
			}
			tails, err := FitTails(m, TailsConfig{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			if got := mustAUC(t, scoresOf(t, tails.Score, m), labels); !near(got, want[0], 0.01) {
				t.Errorf("%s: fitted %v %v, want about %v", c.name, method, got, want[0])
			}
		}
	}
}

// published are areas under the curve from the literature, by the names that ADBench gives the
// sets: of the isolation forest from table 3 of Liu, Ting and Zhou 2008, and from PyOD's benchmark
// (means of ten splits, docs/tables/roc.csv of its repository) where the paper has none.
var published = map[string]float64{
	"http": 1.00, "cover": 0.88, "smtp": 0.88, "shuttle": 1.00, "mammography": 0.86, "annthyroid": 0.82,
	"satellite": 0.71, "pima": 0.67, "breastw": 0.99, "ionosphere": 0.85,
	"cardio": 0.9213, "letter": 0.6420, "lympho": 0.9941, "mnist": 0.8159, "musk": 0.9999, "optdigits": 0.7253,
	"pendigits": 0.9435, "satimage-2": 0.9947, "vowels": 0.7585,
}

// TestDatasets measures every set of the folder that CARDLAKE_DATASETS names, and holds the forest
// against what is published.
func TestDatasets(t *testing.T) {
	folder := os.Getenv("CARDLAKE_DATASETS")
	if folder == "" {
		t.Skip("CARDLAKE_DATASETS names no folder of .npz files")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.npz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no .npz files there: %v", err)
	}
	for _, file := range files {
		name := strings.TrimLeft(strings.ToLower(strings.TrimSuffix(filepath.Base(file), ".npz")), "0123456789_")
		t.Run(name, func(t *testing.T) {
			m, labels, err := readNPZ(file)
			if err != nil {
				t.Fatal(err)
			}
			seeds := 20 // Single forests differ by up to 0.04.
			if m.Rows() > 10_000 {
				seeds = 3
			}
			forest := forestAUC(t, m, labels, seeds)
			ecod, _, err := ECOD(m)
			if err != nil {
				t.Fatal(err)
			}
			copod, _, err := COPOD(m)
			if err != nil {
				t.Fatal(err)
			}
			model := mustFit(t, m, Config{})
			t.Logf("%s %d x %d: forest %.4f, ecod %.4f, copod %.4f, model %.4f", name, m.Rows(), m.Cols,
				forest, mustAUC(t, ecod, labels), mustAUC(t, copod, labels), mustAUC(t, scoresOf(t, model.Score, m), labels))
			if want, is := published[name]; is && !near(forest, want, 0.03) {
				t.Errorf("isolation forest %.4f, published %.4f", forest, want)
			}
		})
	}
}

// TestCardTransactions measures every fraud/*.csv of the folder that CARDLAKE_DATASETS names, of card
// transactions. The model must reach the plain isolation forest, and scikit-learn's with the best of
// several samples if CARDLAKE_PYTHON names a Python that has it.
func TestCardTransactions(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(os.Getenv("CARDLAKE_DATASETS"), "fraud", "*.csv"))
	if os.Getenv("CARDLAKE_DATASETS") == "" || err != nil || len(files) == 0 {
		t.Skip("CARDLAKE_DATASETS names no folder that has fraud/*.csv")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".csv"), func(t *testing.T) {
			m, labels := readCSV(t, file)
			type quality struct{ auc, precision float64 }
			measure := func(what string, score func([]float64, Matrix) error) quality {
				s := scoresOf(t, score, m)
				precision, err := AveragePrecision(s, labels)
				if err != nil {
					t.Fatal(err)
				}
				q := quality{mustAUC(t, s, labels), precision}
				t.Logf("%-24s auc %.4f, average precision %.4f", what, q.auc, q.precision)
				return q
			}
			model := mustFit(t, m, Config{})
			best := measure("forest of 256 rows", mustForest(t, m, ForestConfig{}).Score)
			measure("forest of 4096 rows", model.forest.Score)
			measure("tails", model.tails.Score)
			measure("robust", model.robust.Score)
			got := measure("model", model.Score)
			if os.Getenv("CARDLAKE_PYTHON") != "" {
				for _, sample := range []string{"256", "1024", "4096"} {
					f := reference(t, m, labels, []string{"forest", sample})
					t.Logf("%-24s auc %.4f, average precision %.4f", "scikit-learn, "+sample, f.AUC, f.Precision)
					best = quality{max(best.auc, f.AUC), max(best.precision, f.Precision)}
				}
			}
			// Forests of other seeds differ by as much.
			if got.auc < best.auc-0.01 || got.precision < 0.8*best.precision {
				t.Errorf("the model has auc %.4f and average precision %.4f, isolation forests reach %.4f and %.4f",
					got.auc, got.precision, best.auc, best.precision)
			}
		})
	}
}

// readNPZ reads the arrays X and y of an archive of NumPy's.
func readNPZ(file string) (Matrix, []bool, error) {
	archive, err := zip.OpenReader(file)
	if err != nil {
		return Matrix{}, nil, err
	}
	defer archive.Close()
	var m Matrix
	var labels []bool
	for _, part := range archive.File {
		if part.Name != "X.npy" && part.Name != "y.npy" {
			continue
		}
		r, err := part.Open()
		if err != nil {
			return Matrix{}, nil, err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return Matrix{}, nil, err
		}
		values, cols, err := readNPY(b)
		if err != nil {
			return Matrix{}, nil, fmt.Errorf("%s: %w", part.Name, err)
		}
		if part.Name == "X.npy" {
			m = Matrix{Data: values, Cols: cols}
			continue
		}
		for _, v := range values {
			labels = append(labels, v != 0)
		}
	}
	return m, labels, nil
}

var npyHeader = regexp.MustCompile(`'descr': '[<|]([a-z])(\d)', 'fortran_order': (True|False), 'shape': \((\d+),? ?(\d*)\)`)

// readNPY reads an array of numbers in NumPy's format, version 1.
func readNPY(b []byte) (values []float64, cols int, err error) {
	if len(b) < 10 || !bytes.HasPrefix(b, []byte("\x93NUMPY\x01")) {
		return nil, 0, fmt.Errorf("not an array of version 1")
	}
	start := 10 + int(binary.LittleEndian.Uint16(b[8:]))
	h := npyHeader.FindStringSubmatch(string(b[10:start]))
	if h == nil {
		return nil, 0, fmt.Errorf("an array of %s", b[10:start])
	}
	size, err := strconv.Atoi(h[2])
	if err != nil {
		return nil, 0, err
	}
	rows, err := strconv.Atoi(h[4])
	if err != nil {
		return nil, 0, err
	}
	cols = 1
	if h[5] != "" {
		if cols, err = strconv.Atoi(h[5]); err != nil {
			return nil, 0, err
		}
	}
	values = make([]float64, rows*cols)
	for i := range values {
		field := b[start+i*size:][:size]
		var v float64
		switch {
		case h[1] == "f" && size == 8:
			v = math.Float64frombits(binary.LittleEndian.Uint64(field))
		case h[1] == "f" && size == 4:
			v = float64(math.Float32frombits(binary.LittleEndian.Uint32(field)))
		case (h[1] == "i" || h[1] == "u") && size == 8:
			v = float64(int64(binary.LittleEndian.Uint64(field)))
		case (h[1] == "i" || h[1] == "u") && size == 4:
			v = float64(int32(binary.LittleEndian.Uint32(field)))
		case (h[1] == "i" || h[1] == "u") && size == 2:
			v = float64(int16(binary.LittleEndian.Uint16(field)))
		case (h[1] == "i" || h[1] == "u" || h[1] == "b") && size == 1:
			v = float64(field[0])
		default:
			return nil, 0, fmt.Errorf("numbers of kind %s%d", h[1], size)
		}
		if h[3] == "True" {
			values[i%rows*cols+i/rows] = v
		} else {
			values[i] = v
		}
	}
	return values, cols, nil
}
