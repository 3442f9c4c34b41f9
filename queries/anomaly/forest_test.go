package anomaly

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// normalRows makes n rows of independent standard normal values.
func normalRows(n, cols int, seed uint64) Matrix {
	random := rand.New(rand.NewPCG(seed, 1))
	m := Matrix{Data: make([]float64, n*cols), Cols: cols}
	for i := range m.Data {
		m.Data[i] = random.NormFloat64()
	}
	return m
}

func mustForest(t testing.TB, m Matrix, config ForestConfig) *Forest {
	t.Helper()
	f, err := FitForest(m, config)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// scoresOf is what a detector says of the rows of m.
func scoresOf(t testing.TB, score func([]float64, Matrix) error, m Matrix) []float64 {
	t.Helper()
	s := make([]float64, m.Rows())
	if err := score(s, m); err != nil {
		t.Fatal(err)
	}
	return s
}

func near(a, b, within float64) bool { return math.Abs(a-b) <= within }

func TestAveragePath(t *testing.T) {
	// c(n) of the paper; 10.244770920116851 is scikit-learn's for 256.
	for n, want := range map[int]float64{0: 0, 1: 0, 2: 1, 3: 1.2073923578, 256: 10.2447709201, 1000: 12.9699408871} {
		if got := averagePath(n); !near(got, want, 1e-9) {
			t.Errorf("c(%d) = %.10f, want %.10f", n, got, want)
		}
	}
}

// plainPath goes down a tree as the paper's algorithm 3 does, cut by cut.
func plainPath(f *Forest, t tree, row []float64) float64 {
	at := int32(0)
	for {
		n := f.nodes[t.first+int(at)]
		if n.lower == at {
			return f.paths[t.first+int(at)]
		}
		at = n.lower
		if row[n.feature] >= n.split {
			at++
		}
	}
}

func TestForestScoreIsThePapers(t *testing.T) {
	m := normalRows(1000, 5, 1)
	f := mustForest(t, m, ForestConfig{Trees: 20, Seed: 3})
	more := normalRows(blockRows*2+7, 5, 2)
	for i, got := range scoresOf(t, f.Score, more) {
		var sum float64
		for _, tr := range f.trees {
			sum += plainPath(f, tr, more.Row(i))
		}
		if want := math.Pow(2, -sum/20/averagePath(256)); !near(got, want, 1e-12) {
			t.Fatalf("row %d: %v, want %v", i, got, want)
		}
	}
}

func TestForestTreesPartTheirSample(t *testing.T) {
	m := normalRows(300, 3, 1)
	f := mustForest(t, m, ForestConfig{Trees: 5, Sample: 64, Seed: 9})
	for _, tr := range f.trees {
		if tr.height > 6 {
			t.Errorf("height %d, the binary logarithm of 64 is the limit", tr.height)
		}
		nodes := f.nodes[tr.first:tr.end]
		for i, n := range nodes {
			if int(n.lower) != i && (n.split-n.split != 0 || int(n.lower)+1 >= len(nodes)) {
				t.Fatalf("node %d: a cut without a finite value or without sides", i)
			}
		}
	}
	// Two rows: one cut parts them, in every tree.
	two := mustForest(t, Matrix{Data: []float64{0, 1, 10, 1}, Cols: 2}, ForestConfig{Trees: 7})
	for _, tr := range two.trees {
		if tr.end-tr.first != 3 || two.nodes[tr.first].feature != 0 {
			t.Errorf("%d nodes, cut at column %d; want one cut, at the column that varies", tr.end-tr.first, two.nodes[tr.first].feature)
		}
	}
	for _, s := range scoresOf(t, two.Score, Matrix{Data: []float64{0, 1, 10, 1}, Cols: 2}) {
		if s != 0.5 { // One cut, c(2) = 1.
			t.Errorf("score %v, want 0.5", s)
		}
	}
}

func TestBetweenLeavesNoSideEmpty(t *testing.T) {
	tiny := math.Nextafter(1, 2)
	for _, c := range [][3]float64{{0, 1, 0}, {0, 1, 0.5}, {1, tiny, 0.3}, {-math.MaxFloat64, math.MaxFloat64, 0.25}, {-1, 0, 0.9999999999999999}} {
		if s := between(c[0], c[1], c[2]); !(s > c[0] && s <= c[1]) {
			t.Errorf("between(%v) = %v", c, s)
		}
	}
}

func TestForestSameWhateverTheProcessors(t *testing.T) {
	m := normalRows(5000, 4, 1)
	var first []float64
	for _, procs := range []int{1, 3, 8} {
		before := runtime.GOMAXPROCS(procs)
		s := scoresOf(t, mustForest(t, m, ForestConfig{Seed: 5}).Score, m)
		runtime.GOMAXPROCS(before)
		if first == nil {
			first = s
		} else if !slices.Equal(s, first) {
			t.Fatalf("other scores with %d processors", procs)
		}
	}
	if slices.Equal(first, scoresOf(t, mustForest(t, m, ForestConfig{Seed: 6}).Score, m)) {
		t.Error("the seed changes nothing")
	}
}

func TestForestFindsWhatIsFar(t *testing.T) {
	m := normalRows(2000, 6, 1)
	copy(m.Row(77), []float64{5, -5, 5, 0, 9, 0})
	f := mustForest(t, m, ForestConfig{Seed: 1})
	s := scoresOf(t, f.Score, m)
	if best := slices.Index(s, slices.Max(s)); best != 77 {
		t.Errorf("row %d scores highest, want 77", best)
	}
	parts := make([]float64, 6)
	if err := f.Explain(parts, m.Row(77)); err != nil {
		t.Fatal(err)
	}
	if min(parts[0], parts[1], parts[2], parts[4]) < 1 || max(parts[3], parts[5]) > 0 {
		t.Errorf("columns 0, 1, 2 and 4 are far, but the parts are %.2f", parts)
	}
}

func TestForestExplanationAddsUp(t *testing.T) {
	m := normalRows(1000, 4, 1)
	f := mustForest(t, m, ForestConfig{Trees: 30, Seed: 2})
	parts := make([]float64, 4)
	for i := range 50 {
		root := f.nodes[f.trees[i%30].first]
		m.Row(i)[root.feature] = root.split // What is at a cut goes one way everywhere.
		if err := f.Explain(parts, m.Row(i)); err != nil {
			t.Fatal(err)
		}
		var want, got float64
		for _, tr := range f.trees {
			want += (f.paths[tr.first] - plainPath(f, tr, m.Row(i))) / 30
		}
		for _, p := range parts {
			got += p
		}
		if !near(got, want, 1e-9) {
			t.Fatalf("row %d: parts add up to %v, want %v", i, got, want)
		}
	}
}

func TestForestConstantColumns(t *testing.T) {
	m := Matrix{Data: make([]float64, 100*3), Cols: 3}
	f := mustForest(t, m, ForestConfig{})
	for _, s := range scoresOf(t, f.Score, Matrix{Data: []float64{0, 0, 0, 5, 5, 5}, Cols: 3}) {
		if !near(s, 0.5, 1e-12) {
			t.Errorf("score %v, want 0.5 where nothing varies", s)
		}
	}
	// A constant column changes nothing but the draws of the others.
	for i := range m.Rows() {
		m.Row(i)[1] = float64(i % 50)
	}
	f = mustForest(t, m, ForestConfig{})
	parts := make([]float64, 3)
	if err := f.Explain(parts, []float64{7, 99, 7}); err != nil {
		t.Fatal(err)
	}
	if parts[0] != 0 || parts[2] != 0 || parts[1] <= 0 {
		t.Errorf("constant columns have a part: %v", parts)
	}
}

func TestForestHugeValues(t *testing.T) {
	m := normalRows(500, 2, 1)
	for i := range m.Data {
		m.Data[i] *= 1e307
	}
	m.Row(3)[0], m.Row(4)[0] = math.MaxFloat64, -math.MaxFloat64
	for i, s := range scoresOf(t, mustForest(t, m, ForestConfig{}).Score, m) {
		if !(s > 0 && s < 1) {
			t.Fatalf("row %d: score %v", i, s)
		}
	}
}

func TestForestRefusals(t *testing.T) {
	good := normalRows(10, 2, 1)
	with := func(v float64) Matrix {
		m := normalRows(10, 2, 1)
		m.Data[7] = v
		return m
	}
	for name, c := range map[string]struct {
		m      Matrix
		config ForestConfig
		want   error
		says   string
	}{
		"NaN":           {with(math.NaN()), ForestConfig{}, ErrValue, "isolation forest: row 3, column 1: not a finite number; replace missing values first"},
		"infinite":      {with(math.Inf(-1)), ForestConfig{}, ErrValue, "isolation forest: row 3, column 1: not a finite number; replace missing values first"},
		"one row":       {good.slice(0, 1), ForestConfig{}, ErrTooFew, "isolation forest: too few rows: 1, at least 2 are needed"},
		"no row":        {Matrix{Cols: 2}, ForestConfig{}, ErrTooFew, "isolation forest: too few rows: 0, at least 2 are needed"},
		"no column":     {Matrix{}, ForestConfig{}, nil, "isolation forest: no columns, at least 1 is needed"},
		"half a row":    {Matrix{Data: make([]float64, 5), Cols: 2}, ForestConfig{}, nil, "isolation forest: 5 values are no whole number of rows of 2 columns"},
		"negative":      {good, ForestConfig{Trees: -1}, nil, "isolation forest: -1 trees of 256 rows: at least 1 of 2 is needed, and together no more than 16777216"},
		"out of bounds": {good, ForestConfig{Sample: 1 << 20}, nil, "isolation forest: 100 trees of 1048576 rows: at least 1 of 2 is needed, and together no more than 16777216"},
	} {
		_, err := FitForest(c.m, c.config)
		if err == nil || err.Error() != c.says || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.says)
		}
	}
	f := mustForest(t, good, ForestConfig{})
	for name, c := range map[string]struct {
		m    Matrix
		room int
	}{"NaN": {with(math.NaN()), 10}, "columns": {normalRows(3, 3, 1), 3}, "room": {good, 9}} {
		if err := f.Score(make([]float64, c.room), c.m); err == nil {
			t.Errorf("%s: scored", name)
		}
	}
	if err := f.Score(nil, Matrix{Cols: 2}); err != nil {
		t.Errorf("no rows: %v", err)
	}
	if err := f.Explain(make([]float64, 2), []float64{1, math.NaN()}); !errors.Is(err, ErrValue) {
		t.Errorf("NaN explained: %v", err)
	}
	if err := f.Explain(make([]float64, 1), []float64{1, 2}); err == nil {
		t.Error("explained without room")
	}
}
