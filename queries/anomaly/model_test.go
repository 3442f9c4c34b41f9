package anomaly

import (
	"bytes"
	"encoding"
	"errors"
	"math"
	"runtime"
	"slices"
	"testing"
)

func mustFit(t testing.TB, m Matrix, config Config) *Model {
	t.Helper()
	model, err := Fit(m, config)
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func TestModelFindsAndExplains(t *testing.T) {
	m := normalRows(5000, 6, 1)
	for _, combine := range []Combination{Average, Maximum} {
		model := mustFit(t, m, Config{Combine: combine})
		row := []float64{0.1, -0.2, 8, 6, -7, 0}
		e, err := model.Explain(row)
		if err != nil {
			t.Fatal(err)
		}
		all := scoresOf(t, model.Score, m)
		if e.Score <= slices.Max(all) {
			t.Errorf("score %v, of the sample the highest is %v", e.Score, slices.Max(all))
		}
		if got := scoresOf(t, model.Score, Matrix{Data: row, Cols: 6})[0]; got != e.Score {
			t.Errorf("scored %v, explained %v", got, e.Score)
		}
		if e.Probability <= 0 || e.Probability > 1.0/5000 {
			t.Errorf("probability %v", e.Probability)
		}
		var sum float64
		for _, s := range e.Shares {
			sum += s
		}
		if !near(sum, 1, 1e-9) || e.Shares[2]+e.Shares[3]+e.Shares[4] < 0.9 {
			t.Errorf("shares %v", e.Shares)
		}
		if e.Z[2] < 5 || e.Z[4] > -5 {
			t.Errorf("z %v", e.Z)
		}
		// The probability is the alarm rate of the sample.
		slices.Sort(all)
		if p := model.Probability(all[len(all)-50]); !near(p, 0.01, 0.001) {
			t.Errorf("the 50th of 5000 has probability %v", p)
		}
	}
}

func TestModelSameWhateverTheProcessors(t *testing.T) {
	m := normalRows(3000, 4, 1)
	var first []byte
	var scores []float64
	for _, procs := range []int{1, 4} {
		before := runtime.GOMAXPROCS(procs)
		model := mustFit(t, m, Config{Forest: ForestConfig{Seed: 3}})
		b, err := model.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		s := scoresOf(t, model.Score, m)
		runtime.GOMAXPROCS(before)
		if first == nil {
			first, scores = b, s
		} else if !bytes.Equal(first, b) || !slices.Equal(scores, s) {
			t.Fatal("another model")
		}
	}
}

func TestModelOfLittle(t *testing.T) {
	for name, m := range map[string]Matrix{
		"two rows":  normalRows(2, 3, 1),
		"constant":  {Data: make([]float64, 30), Cols: 3},
		"two equal": {Data: []float64{1, 1}, Cols: 1},
		"huge":      {Data: []float64{-math.MaxFloat64, math.MaxFloat64, 0, 1}, Cols: 1},
	} {
		model := mustFit(t, m, Config{})
		row := make([]float64, m.Cols)
		for _, v := range []float64{0, 1, -1e300, math.MaxFloat64} {
			for j := range row {
				row[j] = v
			}
			e, err := model.Explain(row)
			if err != nil {
				t.Fatal(err)
			}
			if i := notFinite(append(append([]float64{e.Score, e.Probability, e.Forest, e.Tails, e.Robust}, e.Shares...), e.Z...)); i >= 0 {
				t.Errorf("%s at %v: value %d is not finite: %+v", name, v, i, e)
			}
		}
	}
	if _, err := Fit(normalRows(1, 3, 1), Config{}); !errors.Is(err, ErrTooFew) {
		t.Errorf("one row: %v", err)
	}
	if _, err := Fit(normalRows(9, 3, 1), Config{Combine: 7}); err == nil {
		t.Error("an unknown combination")
	}
}

// stored are one of each that can be stored, and an empty one to read it into.
func stored(t testing.TB) map[string][2]any {
	m := normalRows(300, 3, 1)
	for i := range m.Rows() {
		m.Row(i)[2] = math.Floor(m.Row(i)[2])
	}
	forest := mustForest(t, m, ForestConfig{Trees: 5, Sample: 32})
	tails, err := FitTails(m, TailsConfig{Keep: 20, Method: MethodCOPOD})
	if err != nil {
		t.Fatal(err)
	}
	robust, err := FitRobust(m)
	if err != nil {
		t.Fatal(err)
	}
	surprise, err := FitSurprise(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	isotonic, err := FitIsotonic(tenScores, tenLabels)
	if err != nil {
		t.Fatal(err)
	}
	platt, err := FitPlatt(tenScores, tenLabels)
	if err != nil {
		t.Fatal(err)
	}
	model := mustFit(t, m, Config{Forest: ForestConfig{Trees: 3, Sample: 16}, Tails: TailsConfig{Keep: 16}, Combine: Maximum})
	return map[string][2]any{
		"forest": {forest, new(Forest)}, "tails": {tails, new(Tails)}, "robust": {robust, new(Robust)},
		"surprise": {surprise, new(Surprise)}, "isotonic": {isotonic, new(Isotonic)}, "platt": {platt, new(Platt)},
		"model": {model, new(Model)},
	}
}

func TestStored(t *testing.T) {
	rows := normalRows(100, 3, 2)
	for name, pair := range stored(t) {
		b, err := pair[0].(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		read := pair[1].(encoding.BinaryUnmarshaler)
		if err := read.UnmarshalBinary(b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := pair[1].(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%s: other bytes after reading", name)
		}
		for i := range b {
			if err := read.UnmarshalBinary(b[:i]); !errors.Is(err, ErrFormat) {
				t.Fatalf("%s: the first %d bytes of %d: %v", name, i, len(b), err)
			}
		}
		if err := read.UnmarshalBinary(append(slices.Clone(b), 0)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: a byte too many: %v", name, err)
		}
		future := slices.Clone(b)
		future[2]++
		if err := read.UnmarshalBinary(future); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: the next version: %v", name, err)
		}
		type scorer interface {
			Score([]float64, Matrix) error
			Cols() int
		}
		if a, ok := pair[0].(scorer); ok {
			b := pair[1].(scorer)
			if !slices.Equal(scoresOf(t, a.Score, rows), scoresOf(t, b.Score, rows)) || b.Cols() != 3 {
				t.Errorf("%s: scores otherwise after reading", name)
			}
		}
	}
}

// TestDamaged flips bits all over what is stored: it is refused, or it still gives finite answers.
func TestDamaged(t *testing.T) {
	for _, pair := range stored(t) {
		whole, err := pair[0].(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(whole); i += 3 {
			b := slices.Clone(whole)
			b[i] ^= 1 << (i % 8)
			use(t, pair[1], b)
		}
	}
}

func TestForestWithImpossiblePaths(t *testing.T) {
	f := mustForest(t, normalRows(20, 1, 1), ForestConfig{Trees: 1})
	for _, path := range []float64{-1, 1e300, math.NaN()} {
		f.paths[len(f.paths)-1] = path
		b, err := f.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := new(Forest).UnmarshalBinary(b); !errors.Is(err, ErrFormat) {
			t.Errorf("a path of %v: %v", path, err)
		}
	}
}

// use reads b into v, and asks v everything if it can be read.
func use(t *testing.T, v any, b []byte) {
	t.Helper()
	if err := v.(encoding.BinaryUnmarshaler).UnmarshalBinary(b); err != nil {
		if !errors.Is(err, ErrFormat) {
			t.Fatalf("%T: %v", v, err)
		}
		return
	}
	if again, err := v.(encoding.BinaryMarshaler).MarshalBinary(); err != nil || len(again) != len(b) {
		t.Fatalf("%T: %d bytes, %d after reading, %v", v, len(b), len(again), err)
	}
	if s, ok := v.(interface {
		Score([]float64, Matrix) error
		Cols() int
	}); ok && s.Cols() < 1<<16 {
		m := Matrix{Data: make([]float64, 3*s.Cols()), Cols: s.Cols()}
		for j := range s.Cols() {
			m.Row(1)[j], m.Row(2)[j] = 1e300, -1e300
		}
		if i := notFinite(scoresOf(t, s.Score, m)); i >= 0 {
			t.Fatalf("%T: score %d is not finite", v, i)
		}
	}
	if p, ok := v.(interface{ Probability(float64) float64 }); ok {
		for _, x := range []float64{-1e300, 0, 1, 1e300} {
			if q := p.Probability(x); !(q >= 0 && q <= 1) {
				t.Fatalf("%T: probability %v of %v", v, q, x)
			}
		}
	}
}

// FuzzStored reads any bytes as any kind.
func FuzzStored(f *testing.F) {
	for _, pair := range stored(f) {
		b, err := pair[0].(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{new(Forest), new(Tails), new(Robust), new(Surprise), new(Isotonic), new(Platt), new(Model)} {
			use(t, v, b)
		}
	})
}
