package boost

import (
	"math"
	"math/bits"
	"testing"
)

// given is the mean of tree k where only the columns in known are known (Lundberg et al., algorithm 1).
func given(m *Model, k int, at int32, row []float32, known uint) float64 {
	n := m.tree(k)[at]
	switch {
	case n.left == 0:
		return float64(n.value)
	case known>>n.column&1 == 0:
		share := m.share(k, n)
		return share*given(m, k, n.left, row, known) + (1-share)*given(m, k, n.left+1, row, known)
	}
	if v := row[n.column]; v > n.value || v != v && n.missing == 1 {
		return given(m, k, n.left+1, row, known)
	}
	return given(m, k, n.left, row, known)
}

// shapley is the definition: what a column adds, averaged over all orders in which columns can become known.
func shapley(m *Model, row []float32) []float64 {
	n := len(row)
	value := make([]float64, 1<<n)
	for known := range value {
		for k := range m.roots {
			value[known] += given(m, k, 0, row, uint(known))
		}
	}
	factorial := func(k int) float64 { return math.Gamma(float64(k + 1)) }
	parts := make([]float64, n)
	for c := range parts {
		for known := range value {
			if known>>c&1 == 0 {
				size := bits.OnesCount(uint(known))
				parts[c] += factorial(size) * factorial(n-size-1) / factorial(n) * (value[known|1<<c] - value[known])
			}
		}
	}
	return parts
}

func TestContributionsAreShapleyValues(t *testing.T) {
	d, _ := simulated(6000, 11)
	// Six columns, or the definition takes too long; among them the one that is missing at times.
	few := Data{Columns: []string{"a", "b", "c", "d", "e", "f"}, Fraud: d.Fraud}
	for i := range d.Rows() {
		row := d.Values[i*12:]
		few.Values = append(few.Values, row[0], row[1], row[2], row[3], row[5], row[7])
	}
	m := train(t, few, Config{Rounds: 12, ForestTrees: 3, ForestDepth: 12, ColumnShare: 1})
	for i := range 40 {
		row := few.Values[i*6*97 : i*6*97+6]
		base, parts, err := m.Contributions(row)
		if err != nil {
			t.Fatal(err)
		}
		want, sum := shapley(m, row), base
		for c := range parts {
			sum += parts[c]
			if math.Abs(parts[c]-m.scale*want[c]) > 1e-6 {
				t.Fatalf("row %d: column %d contributes %v, by definition %v", i, c, parts[c], m.scale*want[c])
			}
		}
		p, err := m.Predict(nil, row)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(sigmoid(sum)-p[0]) > 1e-9 {
			t.Fatalf("row %d: contributions add up to %v, the prediction is %v", i, sigmoid(sum), p[0])
		}
	}
}

// TestContributionsNameTheCause looks at rows whose fraud comes from one pair of columns.
func TestContributionsNameTheCause(t *testing.T) {
	d, _ := simulated(20_000, 12)
	m := train(t, d, Config{Rounds: 60, ForestTrees: 20})
	named := 0
	const rows = 20
	for k := range rows {
		row := make([]float32, 12)
		row[0], row[4], row[5], row[6], row[8] = -0.5, 1, float32(k%4), 7, float32(math.NaN())
		row[1], row[3] = 1.5+float32(k)/rows, 0.5+float32(k)/rows
		_, parts, err := m.Contributions(row)
		if err != nil {
			t.Fatal(err)
		}
		first, second := -1, -1
		for c, p := range parts {
			if first < 0 || p > parts[first] {
				first, second = c, first
			} else if second < 0 || p > parts[second] {
				second = c
			}
		}
		if first+second == 4 && first*second == 3 {
			named++
		}
		if parts[6] != 0 || parts[8] != 0 {
			t.Errorf("a constant column contributes %v, one without values %v", parts[6], parts[8])
		}
	}
	if named < rows*9/10 {
		t.Errorf("columns c1 and c3 come first in %d of %d explanations", named, rows)
	}
}
