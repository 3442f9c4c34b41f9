package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func near(t *testing.T, what string, got, want, by float64) {
	t.Helper()
	if !(math.Abs(got-want) <= by) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// The shares and the index are the worked example of Siddiqi, "Credit Risk Scorecards" (2006),
// chapter 10, in form: index by hand, bin by bin.
func TestStabilityIndex(t *testing.T) {
	expected, actual := []float64{0.25, 0.25, 0.5}, []float64{0.2, 0.3, 0.5}
	byHand := (0.2-0.25)*math.Log(0.2/0.25) + (0.3-0.25)*math.Log(0.3/0.25)
	got, err := StabilityIndex(expected, actual)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "index", got, byHand, 1e-15)
	if back, _ := StabilityIndex(actual, expected); math.Abs(back-got) > 1e-15 {
		t.Errorf("index is %v one way and %v the other", got, back)
	}
	if got, err := StabilityIndex([]float64{1, 0}, []float64{0, 1}); err != nil || math.IsInf(got, 0) || got < 10 {
		t.Errorf("empty bins: %v, %v", got, err)
	}
	for _, bad := range [][2][]float64{
		{nil, nil}, {{1}, {0.5, 0.5}}, {{0.5, 0.6}, {0.5, 0.5}}, {{0.5, 0.5}, {1.5, -0.5}}, {{math.NaN(), 1}, {0.5, 0.5}},
	} {
		if got, err := StabilityIndex(bad[0], bad[1]); err == nil {
			t.Errorf("%v: %v, want an error", bad, got)
		}
	}
}

func TestStabilityOfSamples(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(n int, mean float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = mean + r.NormFloat64()
		}
		return out
	}
	reference := draw(20_000, 0)
	same, err := Stability(reference, draw(20_000, 0))
	if err != nil || same > 0.005 {
		t.Errorf("same distribution: %v, %v", same, err)
	}
	// Two normals a standard deviation apart: the index tends to mean² = 1 (symmetrised
	// Kullback-Leibler divergence) with many bins, a little less with ten.
	moved, err := Stability(reference, draw(20_000, 1))
	if err != nil || moved < 0.8 || moved > 1 {
		t.Errorf("moved by one deviation: %v, %v", moved, err)
	}
	constant, err := Stability([]float64{5, 5, 5}, []float64{5, 5})
	if err != nil || constant != 0 {
		t.Errorf("constant: %v, %v", constant, err)
	}
	if gone, err := Stability([]float64{5, 5, 5}, []float64{4, 4}); err != nil || NewDrift("x", PSI, gone).Level != Major {
		t.Errorf("a constant that moved: %v, %v", gone, err)
	}
	if _, err := Stability(nil, reference); err == nil {
		t.Error("no reference: no error")
	}
	if _, err := Stability(reference, []float64{math.Inf(1)}); err == nil {
		t.Error("infinity: no error")
	}
}

func TestProfileKeepsWhatDriftNeeds(t *testing.T) {
	before := []float64{1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144}
	after := []float64{2, 2, 4, 6, 10, 16, 26, 42, 68, 110, 178, 288}
	p, err := NewProfile("amount", before)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Drift(after)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := Stability(before, after)
	if got.Value != want || got.Name != "amount" || got.Measure != PSI {
		t.Errorf("drift of profile %+v, from the rows %v", got, want)
	}
}

func TestSharesTakeEdgesUpwards(t *testing.T) {
	got, err := Shares([]float64{0, 10}, []float64{-1, 0, 9, 10})
	if err != nil || !slices.Equal(got, []float64{0.25, 0.5, 0.25}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Shares([]float64{1, 0}, []float64{1}); err == nil {
		t.Error("edges that descend: no error")
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []float64
		want float64
	}{
		{"same", []float64{1, 2, 3}, []float64{3, 1, 2}, 0},
		{"apart", []float64{1, 2}, []float64{3, 4}, 1},
		{"one each", []float64{1}, []float64{1}, 0},
		{"all the same", []float64{1}, []float64{1, 1}, 0},
		{"ties", []float64{1, 1, 1, 2}, []float64{1, 2, 2, 2}, 0.5},
		// scipy.stats.ks_2samp([1,2,3,4,5], [3,4,5,6,7,8]) = 0.5
		{"scipy", []float64{1, 2, 3, 4, 5}, []float64{3, 4, 5, 6, 7, 8}, 0.5},
	} {
		got, err := Distance(c.a, c.b)
		if err != nil {
			t.Fatal(err)
		}
		near(t, c.name, got, c.want, 1e-15)
	}
	if _, err := Distance(nil, []float64{1}); err == nil {
		t.Error("empty sample: no error")
	}
	if _, err := Distance([]float64{math.NaN()}, []float64{1}); err == nil {
		t.Error("NaN: no error")
	}
}

func TestShareMoved(t *testing.T) {
	if got, err := ShareMoved([]string{"a", "b", "b", "c"}, []string{"a", "b", "c", "c"}); err != nil || got != 0.25 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ShareMoved([]int{}, []int{}); err == nil {
		t.Error("nobody: no error")
	}
}

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		measure Measure
		value   float64
		want    Level
	}{
		{PSI, 0.0999, None}, {PSI, 0.1, Moderate}, {PSI, 0.25, Major},
		{KS, 0.09, None}, {KS, 0.1, Moderate}, {KS, 0.2, Major},
		{ARI, 1, None}, {ARI, 0.91, None}, {ARI, 0.89, Moderate}, {ARI, 0.64, Major}, {ARI, -0.1, Major},
		{Moved, 0.05, None}, {Moved, 0.1, Moderate}, {Moved, 0.9, Major},
	} {
		if got := NewDrift("x", c.measure, c.value).Level; got != c.want {
			t.Errorf("%s %v: %s, want %s", c.measure, c.value, got, c.want)
		}
	}
}
