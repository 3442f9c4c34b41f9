package anomaly

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRobust(t *testing.T) {
	// Columns: MAD 1; MAD 0 and a mean deviation of 2; constant.
	m := Matrix{Cols: 3, Data: []float64{
		1, 5, 7,
		2, 5, 7,
		3, 5, 7,
		4, 5, 7,
		100, 15, 7,
	}}
	r, err := FitRobust(m)
	if err != nil {
		t.Fatal(err)
	}
	z := make([]float64, 3)
	for _, c := range []struct{ row, want []float64 }{
		{[]float64{3, 5, 7}, []float64{0, 0, 0}},
		{[]float64{1, 15, 8}, []float64{-2 * 0.6745, 10 / (2 * 1.253314), FarZ}},
		{[]float64{5, 0, 6}, []float64{2 * 0.6745, -5 / (2 * 1.253314), -FarZ}},
		{[]float64{1e300, 5, 7}, []float64{maxZ, 0, 0}},
	} {
		if err := r.Explain(z, c.row); err != nil {
			t.Fatal(err)
		}
		var want float64
		for j := range z {
			if !near(z[j], c.want[j], 1e-9) {
				t.Errorf("%v: z %v, want %v", c.row, z, c.want)
			}
			want += math.Abs(c.want[j]) / 3
		}
		if got := scoresOf(t, r.Score, Matrix{Data: c.row, Cols: 3})[0]; !near(got, want, 1e-9*max(want, 1)) {
			t.Errorf("%v: score %v, want %v", c.row, got, want)
		}
	}
	huge, err := FitRobust(Matrix{Cols: 1, Data: []float64{-math.MaxFloat64, math.MaxFloat64, 0, math.MaxFloat64}})
	if err != nil {
		t.Fatal(err)
	}
	if s := scoresOf(t, huge.Score, Matrix{Cols: 1, Data: []float64{-math.MaxFloat64}})[0]; s-s != 0 {
		t.Errorf("score %v", s)
	}
	if _, err := FitRobust(m.slice(0, 1)); !errors.Is(err, ErrTooFew) {
		t.Errorf("one row: %v", err)
	}
}

func TestSurprise(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	exponential, pareto := make([]float64, 100_000), make([]float64, 100_000)
	for i := range exponential {
		exponential[i] = random.ExpFloat64()
		pareto[i] = math.Exp(random.ExpFloat64() / 2) // P(X > x) = 1/x².
	}
	for name, c := range map[string]struct {
		sample []float64
		truth  func(x float64) float64
		at     []float64
	}{
		"exponential": {exponential, func(x float64) float64 { return x }, []float64{0, 1, 4, 6, 9, 12, 15}},
		"pareto":      {pareto, func(x float64) float64 { return 2 * math.Log(x) }, []float64{1, 2, 10, 50, 300, 2000}},
	} {
		s, err := FitSurprise(c.sample)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range c.at {
			want := c.truth(x)
			if got := s.Of(x); !near(got, want, 0.05+0.1*max(want-4, 0)) {
				t.Errorf("%s: %v at %v, want about %v", name, got, x, want)
			}
		}
		before := math.Inf(-1)
		for x := -1.0; x < 1e12; x += 0.001 + max(x, 0)*0.01 {
			got := s.Of(x)
			if got < before || got < 0 || got > maxSurprise {
				t.Fatalf("%s: falls from %v to %v at %v", name, before, got, x)
			}
			if x > s.threshold && got == before && got < maxSurprise {
				t.Fatalf("%s: %v and what is before are the same", name, x)
			}
			before = got
		}
		if p := s.Probability(math.MaxFloat64); !(p > 0) {
			t.Errorf("%s: probability %v", name, p)
		}
	}
	flat, err := FitSurprise([]float64{3, 3, 3})
	if err != nil {
		t.Fatal(err)
	}
	for x, want := range map[float64]float64{2: 0, 3: 0, 4: math.Log(4)} {
		if got := flat.Of(x); !near(got, want, 1e-12) {
			t.Errorf("flat: %v at %v, want %v", got, x, want)
		}
	}
	if _, err := FitSurprise([]float64{1}); !errors.Is(err, ErrTooFew) {
		t.Errorf("one score: %v", err)
	}
	if _, err := FitSurprise([]float64{1, math.NaN()}); !errors.Is(err, ErrValue) {
		t.Errorf("NaN: %v", err)
	}
}

var (
	tenScores = []float64{.9, .8, .8, .8, .7, .6, .6, .5, .4, .3}
	tenLabels = []bool{true, true, false, false, true, false, true, false, false, false}
)

// The figures are those of scikit-learn 1.9.1.
func TestIsotonic(t *testing.T) {
	c, err := FitIsotonic(tenScores, tenLabels)
	if err != nil {
		t.Fatal(err)
	}
	for x, want := range map[float64]float64{.65: .5, .75: .5, .35: 0, 2: 1, -1: 0, .55: .25, .85: .75} {
		if got := c.Probability(x); !near(got, want, 1e-12) {
			t.Errorf("%v at %v, want %v", got, x, want)
		}
	}
}

// The figures are those of scikit-learn 1.9.1's sigmoid calibration, whose slope has the other
// sign and is of the plain score.
func TestPlatt(t *testing.T) {
	p, err := FitPlatt(tenScores, tenLabels)
	if err != nil {
		t.Fatal(err)
	}
	if slope := p.Slope / p.Scale; !near(slope, 4.230933800309274, 1e-4) {
		t.Errorf("slope %v", slope)
	}
	for x, want := range map[float64]float64{.3: 0.13281601, .6: 0.35274242, .9: 0.65977101} {
		if got := p.Probability(x); !near(got, want, 1e-5) {
			t.Errorf("%v at %v, want %v", got, x, want)
		}
	}
	// Perfect parting and equal scores have a finite answer too.
	for name, c := range map[string]struct {
		scores []float64
		labels []bool
	}{
		"parted": {[]float64{1, 2, 3, 4}, []bool{false, false, true, true}},
		"equal":  {[]float64{5, 5, 5, 5}, []bool{false, false, true, true}},
		"huge":   {[]float64{-math.MaxFloat64, -1, 1, math.MaxFloat64}, []bool{false, false, true, true}},
		"tiny":   {[]float64{1, 1 + 1e-12, 1 + 2e-12, 1 + 3e-12}, []bool{false, false, true, true}},
	} {
		p, err := FitPlatt(c.scores, c.labels)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []float64{-math.MaxFloat64, 0, 1, 5, math.MaxFloat64} {
			if got := p.Probability(x); !(got >= 0 && got <= 1) {
				t.Errorf("%s: %v at %v", name, got, x)
			}
		}
		if name == "equal" && !near(p.Probability(5), 0.5, 1e-6) {
			t.Errorf("equal scores: %v, want 0.5", p.Probability(5))
		}
	}
}

func TestCalibrationNeedsBothLabels(t *testing.T) {
	for _, labels := range [][]bool{{true, true}, {false, false}} {
		if _, err := FitIsotonic([]float64{1, 2}, labels); !errors.Is(err, ErrTooFew) {
			t.Errorf("isotonic: %v", err)
		}
		if _, err := FitPlatt([]float64{1, 2}, labels); !errors.Is(err, ErrTooFew) {
			t.Errorf("platt: %v", err)
		}
		if _, err := AUC([]float64{1, 2}, labels); !errors.Is(err, ErrTooFew) {
			t.Errorf("auc: %v", err)
		}
	}
}

func TestThreshold(t *testing.T) {
	scores := []float64{5, 1, 4, 4, 3, 2}
	for budget, want := range map[int]float64{0: math.Nextafter(5, 6), 1: 5, 2: 5, 3: 4, 4: 3, 5: 2, 6: 1, 99: 1} {
		got, err := Threshold(scores, budget)
		if err != nil || got != want {
			t.Errorf("budget %d: %v, %v, want %v", budget, got, err, want)
		}
	}
	if got, err := Threshold([]float64{1, 1, 1}, 2); err != nil || got <= 1 {
		t.Errorf("three equal scores, budget 2: %v, %v", got, err)
	}
	if _, err := Threshold(nil, 1); !errors.Is(err, ErrTooFew) {
		t.Errorf("none: %v", err)
	}
	if _, err := Threshold(scores, -1); err == nil {
		t.Error("negative budget")
	}
}

// The figures are those of scikit-learn 1.9.1.
func TestMetrics(t *testing.T) {
	for name, c := range map[string]struct {
		of   func([]float64, []bool) (float64, error)
		want float64
	}{
		"auc":      {AUC, 0.7708333333333334},
		"ap":       {AveragePrecision, 0.6678571428571428},
		"brier":    {Brier, 0.24400000000000005},
		"log loss": {LogLoss, 0.6891818939683783},
	} {
		got, err := c.of(tenScores, tenLabels)
		if err != nil || !near(got, c.want, 1e-12) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
	}
	for k, want := range map[int][2]float64{1: {1, .25}, 2: {2. / 3, 1. / 3}, 4: {.5, .5}, 5: {.6, .75}, 6: {3.5 / 6, .875}, 10: {.4, 1}, 50: {.4, 1}} {
		p, err := PrecisionAt(tenScores, tenLabels, k)
		if err != nil || !near(p, want[0], 1e-12) {
			t.Errorf("precision at %d: %v, %v, want %v", k, p, err, want[0])
		}
		r, err := RecallAt(tenScores, tenLabels, k)
		if err != nil || !near(r, want[1], 1e-12) {
			t.Errorf("recall at %d: %v, %v, want %v", k, r, err, want[1])
		}
	}
	curve, err := PRCurve(tenScores, tenLabels, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []PRPoint{
		{.9, 1, 1, 1, .25}, {.8, 4, 2, .5, .5}, {.7, 5, 3, .6, .75}, {.6, 7, 4, 4. / 7, 1},
		{.5, 8, 4, .5, 1}, {.4, 9, 4, 4. / 9, 1}, {.3, 10, 4, .4, 1},
	}
	if diff := cmp.Diff(want, curve); diff != "" {
		t.Error(diff)
	}
	short, err := PRCurve(tenScores, tenLabels, 2)
	if err != nil || len(short) > 4 || short[len(short)-1] != want[6] {
		t.Errorf("thinned to %v, %v", short, err)
	}
}

func TestMetricsDoNotDependOnOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	scores, labels := make([]float64, 500), make([]bool, 500)
	for i := range scores {
		scores[i], labels[i] = float64(random.IntN(12))/12, random.IntN(5) == 0
	}
	measure := func() (all []float64) {
		for _, of := range []func([]float64, []bool) (float64, error){
			AUC, AveragePrecision, LogLoss,
			func(s []float64, l []bool) (float64, error) { return PrecisionAt(s, l, 33) },
			func(s []float64, l []bool) (float64, error) { return RecallAt(s, l, 33) },
		} {
			v, err := of(scores, labels)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, math.Round(v*1e12))
		}
		return all
	}
	want := measure()
	var pairs, ordered float64
	for i := range scores {
		for j := range scores {
			if labels[i] && !labels[j] {
				pairs++
				ordered += number(scores[i] > scores[j]) + number(scores[i] == scores[j])/2
			}
		}
	}
	if got := math.Round(ordered / pairs * 1e12); got != want[0] {
		t.Errorf("auc %v, by counting pairs %v", want[0], got)
	}
	for range 5 {
		random.Shuffle(len(scores), func(i, j int) {
			scores[i], scores[j] = scores[j], scores[i]
			labels[i], labels[j] = labels[j], labels[i]
		})
		if got := measure(); !slices.Equal(got, want) {
			t.Errorf("%v, in another order %v", want, got)
		}
	}
}

func TestCalibrationBins(t *testing.T) {
	bins, err := Calibration([]float64{.1, .1, .1, .1, .1, .2, .3, .9}, []bool{false, false, true, false, false, false, true, true}, 4)
	if err != nil {
		t.Fatal(err)
	}
	want := []Bin{{.1, .1, .1, .2, 5}, {.2, .2, .2, 0, 1}, {.3, .3, .3, 1, 1}, {.9, .9, .9, 1, 1}}
	if diff := cmp.Diff(want, bins); diff != "" {
		t.Error(diff)
	}
	if e := CalibrationError(bins); !near(e, (5*.1+.2+.7+.1)/8, 1e-12) {
		t.Errorf("calibration error %v", e)
	}
	if e := CalibrationError(nil); e != 0 {
		t.Errorf("of nothing: %v", e)
	}
}

func TestMetricsRefusals(t *testing.T) {
	for name, call := range map[string]func() error{
		"lengths":     func() error { _, err := AUC([]float64{1}, nil); return err },
		"nothing":     func() error { _, err := AUC(nil, nil); return err },
		"NaN":         func() error { _, err := AveragePrecision([]float64{math.NaN()}, []bool{true}); return err },
		"no hit":      func() error { _, err := AveragePrecision([]float64{1}, []bool{false}); return err },
		"curve":       func() error { _, err := PRCurve([]float64{1}, []bool{false}, 0); return err },
		"recall":      func() error { _, err := RecallAt([]float64{1}, []bool{false}, 1); return err },
		"zero":        func() error { _, err := PrecisionAt([]float64{1}, []bool{true}, 0); return err },
		"probability": func() error { _, err := Brier([]float64{1.5}, []bool{true}); return err },
		"bins":        func() error { _, err := Calibration([]float64{.5}, []bool{true}, 0); return err },
	} {
		if call() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSampler(t *testing.T) {
	sample := func(order []int) Matrix {
		s, err := NewSampler(2, 50, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range order {
			if err := s.Add(uint64(i), []float64{float64(i), 1}); err != nil {
				t.Fatal(err)
			}
		}
		return s.Matrix()
	}
	random := rand.New(rand.NewPCG(1, 1))
	first := sample(random.Perm(10_000))
	if diff := cmp.Diff(first, sample(random.Perm(10_000))); diff != "" {
		t.Error("another order, another sample")
	}
	var mean float64
	seen := map[float64]bool{}
	for i := range first.Rows() {
		mean += first.Row(i)[0] / 50
		seen[first.Row(i)[0]] = true
	}
	if first.Rows() != 50 || len(seen) != 50 || !near(mean, 5000, 1500) {
		t.Errorf("%d rows, %d of them different, mean %v", first.Rows(), len(seen), mean)
	}
	if few := sample([]int{3, 1, 2}); few.Rows() != 3 {
		t.Errorf("%d rows of 3", few.Rows())
	}
	if _, err := NewSampler(0, 1, 1); err == nil {
		t.Error("no columns")
	}
	s, err := NewSampler(2, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(1, []float64{1}); err == nil {
		t.Error("a short row")
	}
}
