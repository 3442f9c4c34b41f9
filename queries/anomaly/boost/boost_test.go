package boost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// simulated is rows with rare fraud that depends on four of the columns, one of them by being missing, and the chance of each.
func simulated(rows int, seed uint64) (Data, []float64) {
	const columns = 12
	random := rand.New(rand.NewPCG(seed, 1))
	d := Data{Columns: make([]string, columns), Values: make([]float32, rows*columns), Fraud: make([]bool, rows)}
	for c := range d.Columns {
		d.Columns[c] = fmt.Sprintf("c%d", c)
	}
	chance := make([]float64, rows)
	for i := range rows {
		row := d.Values[i*columns : (i+1)*columns]
		for c := range row {
			row[c] = float32(random.NormFloat64())
		}
		row[4] = float32(math.Exp(float64(row[4])))
		row[5] = float32(random.IntN(4))
		row[6] = 7 // constant
		m := -6.5 + 1.5*float64(row[0]) + 0.7*math.Abs(float64(row[2]))
		if row[1] > 1 && row[3] > 0 {
			m += 4
		}
		if random.Float64() < 0.1 {
			row[7] = float32(math.NaN())
			m += 1.5
		}
		row[8] = float32(math.NaN())
		chance[i] = sigmoid(m)
		d.Fraud[i] = random.Float64() < chance[i]
	}
	return d, chance
}

func train(t testing.TB, d Data, c Config) *Model {
	t.Helper()
	m, err := Train(context.Background(), d, c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func predict(t testing.TB, m *Model, d Data) []float64 {
	t.Helper()
	p, err := m.Predict(nil, d.Values)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range p {
		if !(v > 0 && v < 1) {
			t.Fatalf("row %d: a probability not between 0 and 1", i)
		}
	}
	return p
}

// quality is average precision and ROC-AUC, equal scores taken together.
func quality(d Data, scores []float64) (precision, auc float64) {
	rows := make([]uint32, d.Rows())
	for i := range rows {
		rows[i] = uint32(i)
	}
	precision = (&trainer{data: d}).precision(rows, scores)
	type scored struct {
		score float64
		fraud bool
	}
	all := make([]scored, len(scores))
	for i := range all {
		all[i] = scored{scores[i], d.Fraud[i]}
	}
	slices.SortFunc(all, func(a, b scored) int {
		if a.score < b.score {
			return -1
		} else if a.score > b.score {
			return 1
		}
		return 0
	})
	var below, frauds, area float64
	for k := 0; k < len(all); {
		var f, g float64
		for at := all[k].score; k < len(all) && all[k].score == at; k++ {
			if all[k].fraud {
				f++
			} else {
				g++
			}
		}
		area += f * (below + g/2)
		below += g
		frauds += f
	}
	return precision, area / frauds / below
}

func TestPrecision(t *testing.T) {
	// scikit-learn's average_precision_score and roc_auc_score of the same: 0.7555…, 0.7916…
	d := Data{Fraud: []bool{true, false, true, false, true, false, false}}
	precision, auc := quality(d, []float64{.9, .8, .7, .6, .6, .2, .1})
	if math.Abs(precision-(1./3+2./9+1./5)) > 1e-12 || math.Abs(auc-9.5/12) > 1e-12 {
		t.Errorf("average precision %v, AUC %v", precision, auc)
	}
}

func TestLearns(t *testing.T) {
	train30, _ := simulated(30_000, 1)
	test, chance := simulated(30_000, 2)
	m := train(t, train30, Config{Seed: 1})
	got := predict(t, m, test)
	precision, auc := quality(test, got)
	best, bestAUC := quality(test, chance)
	t.Logf("average precision %.3f of the best possible %.3f, AUC %.3f of %.3f; %+v", precision, best, auc, bestAUC, m.Summary())
	if precision < 0.85*best || auc < bestAUC-0.03 {
		t.Errorf("average precision %.3f of %.3f, AUC %.3f of %.3f", precision, best, auc, bestAUC)
	}
	// Calibrated: over all, and in every part of the upper half by probability, the mean is about the share of fraud.
	order := make([]int, len(got))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(math.Copysign(1, got[a]-got[b])) })
	for _, part := range [][2]int{{0, 30_000}, {15_000, 27_000}, {27_000, 29_700}, {29_700, 30_000}} {
		var mean, share float64
		for _, i := range order[part[0]:part[1]] {
			mean += got[i]
			share += chance[i]
		}
		rows := float64(part[1] - part[0])
		if mean, share = mean/rows, share/rows; math.Abs(mean-share) > 0.002+0.35*share {
			t.Errorf("rows %d to %d by probability: predicted %.4f, true %.4f", part[0], part[1], mean, share)
		}
	}
	s := m.Summary()
	if s.Boosted <= s.Prevalence || s.Forest <= s.Prevalence || s.Model <= s.Prevalence || s.Rounds == 0 || s.ValidationRows != 6000 {
		t.Errorf("summary %+v", s)
	}
}

func TestSameForAnyProcessors(t *testing.T) {
	d, _ := simulated(20_000, 3)
	var models [][]byte
	for _, workers := range []int{1, 2, 5} {
		before := runtime.GOMAXPROCS(workers)
		m := train(t, d, Config{Seed: 9, Workers: workers, Rounds: 20, ForestTrees: 6})
		runtime.GOMAXPROCS(before)
		b, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		models = append(models, b)
	}
	if !bytes.Equal(models[0], models[1]) || !bytes.Equal(models[0], models[2]) {
		t.Error("the model depends on the number of workers")
	}
	other, err := train(t, d, Config{Seed: 10, Rounds: 20, ForestTrees: 6}).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(models[0], other) {
		t.Error("the seed changes nothing")
	}
}

func TestRefusals(t *testing.T) {
	good, _ := simulated(8000, 4)
	few := Data{Columns: []string{"a"}, Values: make([]float32, 100), Fraud: make([]bool, 100)}
	for i := range 19 {
		few.Fraud[i*5] = true
	}
	mostly := Data{Columns: []string{"a"}, Values: make([]float32, 100), Fraud: make([]bool, 100)}
	for i := range 81 {
		mostly.Fraud[i] = true
	}
	infinite := good
	infinite.Values = slices.Clone(good.Values)
	infinite.Values[12*5+3] = float32(math.Inf(-1))
	weights := make([]float32, good.Rows())
	young := make([]float32, good.Rows())
	for i := range young {
		young[i] = 0.5
	}
	with := func(change func(*Data)) Data {
		d := good
		change(&d)
		return d
	}
	for _, test := range []struct {
		name   string
		data   Data
		config Config
		want   string
		few    bool
	}{
		{"few frauds", few, Config{}, "19 rows with a final label are fraud, at least 20 are needed", true},
		{"few genuine", mostly, Config{}, "19 rows with a final label are genuine, at least 20 are needed", true},
		{"none", Data{Columns: []string{"a"}}, Config{}, "0 rows with a final label are fraud", true},
		{"all young", with(func(d *Data) { d.Exposure = young }), Config{}, "0 rows with a final label", true},
		{"no columns", Data{Fraud: make([]bool, 50)}, Config{}, "0 columns", false},
		{"infinite", infinite, Config{}, "row 5: column c3 is infinite", false},
		{"short", with(func(d *Data) { d.Values = d.Values[1:] }), Config{}, "need 96000", false},
		{"weight", with(func(d *Data) { d.Weight = weights }), Config{}, "row 0: weight is not between", false},
		{"weights", with(func(d *Data) { d.Weight = weights[:5] }), Config{}, "5 values of weight for 8000 rows", false},
		{"exposure", with(func(d *Data) { d.Exposure = append([]float32{1.5}, young[1:]...) }), Config{}, "row 0: exposure", false},
		{"config", good, Config{LearningRate: 2, Depth: -1}, "Depth -1", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Train(context.Background(), test.data, test.config)
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrTooFew) != test.few {
				t.Errorf("got %v", err)
			}
		})
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Train(cancelled, good, Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	m := train(t, good, Config{Rounds: 5, ForestTrees: 2})
	if _, err := m.Predict(nil, infinite.Values); err == nil || !strings.Contains(err.Error(), "row 5: column c3") {
		t.Errorf("predict an infinity: %v", err)
	}
	if _, err := m.Predict(nil, good.Values[:13]); err == nil {
		t.Error("a part of a row was predicted")
	}
	if _, _, err := m.Contributions(infinite.Values[60:72]); err == nil || strings.Contains(err.Error(), "Inf") {
		t.Errorf("contributions of an infinity: %v", err)
	}
	if _, err := new(Model).Predict(nil, good.Values); err == nil {
		t.Error("a model that is none predicts")
	}
	if got, err := m.Predict(nil, nil); err != nil || len(got) != 0 {
		t.Errorf("no rows: %v, %v", got, err)
	}
}

// TestOddData trains where nothing can be learned, or only barely.
func TestOddData(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	nan := float32(math.NaN())
	frame := func(rows, frauds int, value func(i int, fraud bool) float32) Data {
		d := Data{Columns: []string{"a", "b"}, Fraud: make([]bool, rows)}
		for i := range rows {
			d.Fraud[i] = i >= rows-frauds
			d.Values = append(d.Values, value(i, d.Fraud[i]), 1)
		}
		return d
	}
	for _, test := range []struct {
		name string
		data Data
		auc  float64
	}{
		{"constant", frame(500, 40, func(int, bool) float32 { return 3 }), 0.5},
		{"all missing", frame(500, 40, func(int, bool) float32 { return nan }), 0.5},
		{"noise", frame(500, 40, func(int, bool) float32 { return random.Float32() }), 0.4},
		{"missing says it", frame(500, 40, func(_ int, fraud bool) float32 {
			if fraud {
				return nan
			}
			return random.Float32()
		}), 1},
		{"present says it", frame(500, 40, func(_ int, fraud bool) float32 {
			if !fraud {
				return nan
			}
			return random.Float32()
		}), 1},
		{"extremes", frame(500, 40, func(_ int, fraud bool) float32 {
			if fraud {
				return math.MaxFloat32
			}
			return -math.MaxFloat32
		}), 1},
		{"weights", func() Data {
			d := frame(500, 40, func(_ int, fraud bool) float32 {
				if fraud {
					return 1
				}
				return 0
			})
			for i := range 500 {
				d.Weight = append(d.Weight, []float32{leastWeight, mostWeight}[i%2])
				d.Exposure = append(d.Exposure, []float32{leastWeight, 1, 1, 1, 1}[i%5])
			}
			return d
		}(), 0.5},
		{"least", frame(40, 20, func(_ int, fraud bool) float32 {
			if fraud {
				return 1
			}
			return 0
		}), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := train(t, test.data, Config{})
			if _, auc := quality(test.data, predict(t, m, test.data)); auc < test.auc {
				t.Errorf("AUC %v", auc)
			}
			// All frauds are at the end: the newest rows alone can't judge.
			if s := m.Summary(); !strings.Contains(s.Validation, "chance") || s.ValidationFrauds == 0 || s.ValidationFrauds == s.ValidationRows {
				t.Errorf("validation: %+v", s)
			}
			if _, err := m.Predict(nil, []float32{nan, nan, math.MaxFloat32, -math.MaxFloat32, 0, 0}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDivide holds the newest rows out of the trees that they judge.
func TestDivide(t *testing.T) {
	d, _ := simulated(10_000, 5)
	rows := make([]uint32, d.Rows())
	frauds := 0
	for i := range rows {
		rows[i] = uint32(i)
		if d.Fraud[i] {
			frauds++
		}
	}
	config, err := Config{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	tr := &trainer{data: d, config: config}
	fit, validation, how := tr.divide(slices.Clone(rows), frauds)
	if len(validation) != 2000 || slices.Max(fit) >= slices.Min(validation) || !strings.Contains(how, "newest 20 %") {
		t.Errorf("%d and %d rows, %s", len(fit), len(validation), how)
	}
	// A last fifth without fraud: the tail is lengthened to hold a fifth of the frauds.
	for i := 8000; i < 10_000; i++ {
		if d.Fraud[i] {
			d.Fraud[i], frauds = false, frauds-1
		}
	}
	fit, validation, how = tr.divide(slices.Clone(rows), frauds)
	held := 0
	for _, r := range validation {
		if d.Fraud[r] {
			held++
		}
	}
	if held != (frauds+4)/5 || slices.Max(fit) >= slices.Min(validation) || !strings.Contains(how, "newest") {
		t.Errorf("%d of %d frauds held out, %s", held, frauds, how)
	}
	// Drawn by chance, both sides are whole and disjoint.
	for i := range d.Fraud {
		d.Fraud[i] = i >= 9900
	}
	fit, validation, how = tr.divide(slices.Clone(rows), 100)
	if whole := slices.Sorted(slices.Values(append(slices.Clone(fit), validation...))); !slices.Equal(whole, rows) || !strings.Contains(how, "chance") || !slices.IsSorted(fit) {
		t.Errorf("%d and %d rows, %s", len(fit), len(validation), how)
	}
}
