package anomaly

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// small has ties, columns of right, left and no skewness, and a constant one.
var small = Matrix{Cols: 4, Data: []float64{
	1, 5, 0, 7,
	2, 5, 1, 7,
	2, 4, 0, 7,
	3, 1, 1, 7,
	10, 5, 0, 7,
	2, 5, 1, 7,
	4, 3, 0, 7,
	1, 5, 1, 7,
}}

// The figures are those of PyOD 3.6.7 for the same rows.
func TestTailScoresArePyODs(t *testing.T) {
	for _, c := range []struct {
		name   string
		of     func(Matrix) ([]float64, Matrix, error)
		scores []float64
		fifth  []float64
	}{
		{"ecod", ECOD,
			[]float64{2.54944517093, 1.63315443905, 2.14398006282, 3.75341797525, 3.24259235149, 1.63315443905, 3.4657359028, 2.54944517093},
			[]float64{2.07944154168, 0.470003629246, 0.69314718056, 0}},
		{"copod", COPOD,
			[]float64{1.62129617574, 1.30699184603, 2.05281928442, 3.75341797525, 3.00759053686, 1.30699184603, 3.4657359028, 1.62129617574},
			[]float64{2.07944154168, 0.235001814623, 0.69314718056, 0}},
	} {
		scores, parts, err := c.of(small)
		if err != nil {
			t.Fatal(err)
		}
		for i := range scores {
			if !near(scores[i], c.scores[i], 1e-10) {
				t.Errorf("%s: row %d scores %.11f, want %.11f", c.name, i, scores[i], c.scores[i])
			}
		}
		for j, p := range parts.Row(4) {
			if !near(p, c.fifth[j], 1e-10) {
				t.Errorf("%s: column %d adds %.11f, want %.11f", c.name, j, p, c.fifth[j])
			}
		}
	}
}

func TestNoSkewnessCountsBothTails(t *testing.T) {
	for _, of := range []func(Matrix) ([]float64, Matrix, error){ECOD, COPOD} {
		scores, _, err := of(Matrix{Data: []float64{-1, 0, 1}, Cols: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !near(scores[1], -2*math.Log(2.0/3), 1e-12) || !near(scores[0], math.Log(3), 1e-12) {
			t.Errorf("scores %v", scores)
		}
	}
}

// PyOD scores a new row as the last of the sample, and so does Tails, where the row does not turn
// a column's skewness.
func TestTailsScoreARowAsIfItHadJoined(t *testing.T) {
	for _, c := range []struct {
		method Method
		row    []float64
		want   float64
	}{
		{MethodECOD, []float64{12, 0, 0, 7}, 4.98223581957},
		{MethodCOPOD, []float64{12, 0, 0, 7}, 4.68834248712},
	} {
		m := Matrix{Data: slices.Clone(small.Data), Cols: 4}
		tails, err := FitTails(m, TailsConfig{Method: c.method})
		if err != nil {
			t.Fatal(err)
		}
		got := scoresOf(t, tails.Score, Matrix{Data: c.row, Cols: 4})[0]
		// In the column without skewness both tails count; with the row it leans to the right.
		both := -math.Log(5.0/9) - math.Log(9.0/9)
		one := -math.Log(5.0 / 9)
		if c.method == MethodCOPOD {
			one /= 2
		}
		if !near(got-both+one, c.want, 1e-10) {
			t.Errorf("%v: %.11f, want %.11f", c.method, got-both+one, c.want)
		}
	}
	m := normalRows(400, 3, 5)
	for i, v := range m.Data {
		m.Data[i] = math.Exp(v)
	}
	tails, err := FitTails(m, TailsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range [][]float64{{0.1, 2, 30}, m.Row(17), {1e9, -1e9, 1}} {
		joined, _, err := ECOD(Matrix{Data: append(slices.Clone(m.Data), row...), Cols: 3})
		if err != nil {
			t.Fatal(err)
		}
		if got := scoresOf(t, tails.Score, Matrix{Data: row, Cols: 3})[0]; !near(got, joined[400], 1e-9) {
			t.Errorf("%v: %v, want %v", row, got, joined[400])
		}
	}
}

func TestSkewSign(t *testing.T) {
	for name, c := range map[string]struct {
		x    []float64
		want int8
	}{
		"right":    {[]float64{1, 1, 1, 9}, 1},
		"left":     {[]float64{-9, 1, 1, 1}, -1},
		"none":     {[]float64{-1, 0, 1}, 0},
		"even":     {slices.Repeat([]float64{1, 2, 3, 4, 5}, 100), 0},
		"cents":    {slices.Repeat([]float64{1e14, 2e14, 3e14}, 70), 0},
		"constant": {[]float64{0.1, 0.1, 0.1}, 0},
		"zero":     {[]float64{0, 0}, 0},
		"huge":     {[]float64{1e308, -1e308, -1e308}, 1},
	} {
		if got := skewSign(c.x); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestThinnedDistribution(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	x := make([]float64, 50_000)
	for i := range x {
		x[i] = math.Exp(2 * random.NormFloat64())
		if i%10 == 0 {
			x[i] = 1 // A tie in the middle.
		}
	}
	full := newECDF(slices.Clone(x), 0)
	thin := newECDF(slices.Clone(x), 400)
	if n := len(thin.values); n > 400 || n < 300 {
		t.Fatalf("%d values kept, want up to 400", n)
	}
	if !thin.sound() || !full.sound() {
		t.Fatal("not a distribution")
	}
	sorted := slices.Clone(x)
	slices.Sort(sorted)
	for i, v := range sorted {
		for _, q := range []float64{v, math.Nextafter(v, 1e9)} {
			below, upto := full.counts(q)
			b, u := thin.counts(q)
			within := 0.006 * 50_000
			if i < 99 || i >= len(sorted)-99 {
				within = 1e-3 // Interpolated within one step of the next value.
			}
			if !near(below, b, within) || !near(upto, u, within) {
				t.Fatalf("rank %d, %v: %v and %v, want %v and %v", i, q, b, u, below, upto)
			}
		}
	}
	if b, u := thin.counts(1); u-b < 5000 {
		t.Errorf("the tie of 5000 was thinned away: %v to %v", b, u)
	}
}

func TestThinKeepsAllSizes(t *testing.T) {
	for _, n := range []int{17, 18, 40, 1000} {
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(i)
		}
		e := newECDF(x, 16)
		if !e.sound() || len(e.values) > 16 || e.values[0] != 0 || e.values[len(e.values)-1] != float64(n-1) {
			t.Errorf("%d values thinned to %v", n, e.values)
		}
	}
}

func TestCountsAgainstCounting(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 1))
	for range 200 {
		x := make([]float64, 1+random.IntN(20))
		for i := range x {
			x[i] = float64(random.IntN(8))
		}
		e := newECDF(slices.Clone(x), 0)
		for q := -1.0; q < 9; q += 0.5 {
			var below, upto float64
			for _, v := range x {
				below += number(v < q)
				upto += number(v <= q)
			}
			if b, u := e.counts(q); b != below || u != upto {
				t.Fatalf("%v at %v: %v and %v, want %v and %v", x, q, b, u, below, upto)
			}
		}
	}
}

func TestTailsSameWhateverTheProcessors(t *testing.T) {
	m := normalRows(2000, 5, 1)
	var first []float64
	for _, procs := range []int{1, 4} {
		before := runtime.GOMAXPROCS(procs)
		scores, _, err := ECOD(m)
		if err != nil {
			t.Fatal(err)
		}
		tails, err := FitTails(m, TailsConfig{Keep: 64})
		if err != nil {
			t.Fatal(err)
		}
		scores = append(scores, scoresOf(t, tails.Score, m)...)
		runtime.GOMAXPROCS(before)
		if first == nil {
			first = scores
		} else if !slices.Equal(first, scores) {
			t.Fatal("other scores")
		}
	}
}

func TestTailsConstantColumn(t *testing.T) {
	m := Matrix{Data: make([]float64, 20), Cols: 2}
	for i := range 10 {
		m.Row(i)[1] = float64(i)
	}
	tails, err := FitTails(m, TailsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	parts := make([]float64, 2)
	for value, want := range map[float64]float64{0: 0, 1: math.Log(11), -1: math.Log(11)} {
		if err := tails.Explain(parts, []float64{value, 5}); err != nil {
			t.Fatal(err)
		}
		if !near(parts[0], want, 1e-12) {
			t.Errorf("%v in a column of zeros: %v, want %v", value, parts[0], want)
		}
	}
}

func TestTailsRefusals(t *testing.T) {
	bad := normalRows(10, 2, 1)
	bad.Data[3] = math.NaN()
	if _, _, err := ECOD(bad); !errors.Is(err, ErrValue) {
		t.Errorf("NaN: %v", err)
	}
	if _, _, err := COPOD(bad.slice(2, 3)); !errors.Is(err, ErrTooFew) {
		t.Errorf("one row: %v", err)
	}
	if _, err := FitTails(bad, TailsConfig{}); !errors.Is(err, ErrValue) {
		t.Errorf("NaN: %v", err)
	}
	good := normalRows(10, 2, 1)
	for _, c := range []TailsConfig{{Method: 9}, {Keep: 3}, {Keep: -1}} {
		if _, err := FitTails(good, c); err == nil {
			t.Errorf("fitted with %+v", c)
		}
	}
	tails, err := FitTails(good, TailsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tails.Score(make([]float64, 10), bad); !errors.Is(err, ErrValue) {
		t.Errorf("NaN scored: %v", err)
	}
	if err := tails.Explain(make([]float64, 2), []float64{math.Inf(1), 0}); !errors.Is(err, ErrValue) {
		t.Errorf("infinity explained: %v", err)
	}
}
