package segment

import (
	"context"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestAssignment compares the Hungarian method with all permutations.
func TestAssignment(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		rows, cols := 1+r.IntN(5), r.IntN(6)
		cost := make([]float64, rows*max(1, cols))
		for i := range cost {
			cost[i] = math.Floor(r.Float64()*8) / 4 // with ties
		}
		at := func(r, c int) float64 { return cost[r*cols+c] }
		of := assignment(rows, cols, at)
		got, met := 0.0, map[int]bool{}
		for row, c := range of {
			if c < 0 {
				continue
			}
			if met[c] {
				t.Fatalf("column %d twice: %v", c, of)
			}
			met[c] = true
			got += at(row, c)
		}
		if len(met) != min(rows, cols) {
			t.Fatalf("%d rows, %d columns: %v", rows, cols, of)
		}
		if want := cheapest(rows, cols, at, 0, make([]bool, cols), max(0, rows-cols)); math.Abs(got-want) > 1e-12 {
			t.Fatalf("%v costs %v, the cheapest %v", of, got, want)
		}
	}
}

// cheapest tries everything; spare rows may go without a column.
func cheapest(rows, cols int, cost func(r, c int) float64, row int, taken []bool, spare int) float64 {
	if row == rows {
		return 0
	}
	best := math.Inf(1)
	if spare > 0 {
		best = cheapest(rows, cols, cost, row+1, taken, spare-1)
	}
	for c := range cols {
		if !taken[c] {
			taken[c] = true
			best = min(best, cost(row, c)+cheapest(rows, cols, cost, row+1, taken, spare))
			taken[c] = false
		}
	}
	return best
}

// division is a partition of one feature: the centres, and the label of each customer.
func division(centres []float64, labels ...int32) *Partition {
	p := &Partition{Centres: matrix(1, centres...), Labels: labels, Sizes: make([]int, len(centres))}
	for _, l := range labels {
		p.Sizes[l]++
	}
	return p
}

func places(kept []Kept) (out []int) {
	for _, k := range kept {
		out = append(out, k.Old)
	}
	return out
}

func TestMatch(t *testing.T) {
	known := []Known{{Centre: []float64{0}, Size: 4}, {Centre: []float64{10}, Size: 4}}
	for name, c := range map[string]struct {
		now     *Partition
		was     []int32
		want    []int
		retired []int
	}{
		"other order":         {division([]float64{10.5, 0.2}, 0, 0, 0, 0, 1, 1, 1, 1), []int32{1, 1, 1, 1, 0, 0, 0, 0}, []int{1, 0}, nil},
		"no customers return": {division([]float64{10.5, 0.2}, 0, 0, 0, 0, 1, 1, 1, 1), nil, []int{1, 0}, nil},
		"one splits":          {division([]float64{10, 1, -1}, 0, 0, 0, 0, 1, 1, 1, 2), []int32{1, 1, 1, 1, 0, 0, 0, 0}, []int{1, 0, -1}, nil},
		"two merge":           {division([]float64{4}, 0, 0, 0, 0, 0, 0, 0), []int32{0, 0, 0, 0, 1, 1, 1}, []int{0}, []int{1}},
		"strangers":           {division([]float64{100, 90}, 0, 0, 1, 1), []int32{-1, -1, -1, -1}, []int{-1, -1}, []int{0, 1}},
		"members outweigh":    {division([]float64{3, 7}, 0, 0, 0, 0, 1, 1, 1, 1), []int32{1, 1, 1, 1, 0, 0, 0, 0}, []int{1, 0}, nil},
	} {
		kept, retired, err := Match(c.now, known, c.was)
		if err != nil || !reflect.DeepEqual(places(kept), c.want) || !reflect.DeepEqual(retired, c.retired) {
			t.Errorf("%s: %+v, retired %v, %v; want %v, %v", name, kept, retired, err, c.want, c.retired)
		}
	}
	first, _, err := Match(division([]float64{1, 2}, 0, 1), nil, nil)
	if err != nil || !reflect.DeepEqual(places(first), []int{-1, -1}) {
		t.Errorf("first run: %+v, %v", first, err)
	}
	for name, f := range map[string]func() error{
		"was": func() error { _, _, err := Match(division([]float64{1}, 0), known, []int32{2}); return err },
		"features": func() error {
			_, _, err := Match(division([]float64{1}, 0), []Known{{Centre: []float64{1, 2}}}, nil)
			return err
		},
	} {
		if f() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestStable keeps ids over runs with other seeds and slowly changing customers.
func TestStable(t *testing.T) {
	x, _ := blobs(3, 1500, 4, 5, 0.8)
	r := rand.New(rand.NewPCG(9, 9))
	var known []Known
	var was []int32
	for run := range uint64(6) {
		p, err := KMeans(context.Background(), x, 5, KMeansConfig{Seed: run})
		if err != nil {
			t.Fatal(err)
		}
		kept, retired, err := Match(p, known, was)
		if err != nil {
			t.Fatal(err)
		}
		if run > 0 && (len(retired) > 0 || slices.Contains(places(kept), -1)) {
			t.Fatalf("run %d: %+v, retired %v", run, kept, retired)
		}
		if run > 0 {
			d, err := Measure(p, known, was, kept)
			if err != nil || d.Returned != x.Rows || d.Agreement < 0.95 || d.PSI > 0.01 || d.Moved > x.Rows/20 {
				t.Errorf("run %d: %+v, %v", run, d, err)
			}
		}
		known, was = nil, p.Labels
		for s := range kept {
			known = append(known, Known{slices.Clone(p.Centres.Row(s)), p.Sizes[s]})
		}
		for i := range x.Data {
			x.Data[i] += 0.1 * r.NormFloat64()
		}
	}
}

func TestMeasure(t *testing.T) {
	known := []Known{{Size: 5}, {Size: 5}, {Size: 10}}
	now := division([]float64{0, 1, 2}, 0, 0, 0, 1, 1, 2)
	kept := []Kept{{Old: 1}, {Old: 0}, {Old: -1}}
	d, err := Measure(now, known, []int32{1, 1, 2, 0, 1, -1}, kept)
	if err != nil {
		t.Fatal(err)
	}
	want := []SegmentDrift{{Share: 0.5, Before: 0.25, Came: 1, Left: 1}, {Share: 2. / 6, Before: 0.25, Came: 1}, {Share: 1. / 6}}
	if d.Returned != 5 || d.Moved != 2 || d.Joined != 1 || !reflect.DeepEqual(d.Segments, want) {
		t.Errorf("%+v", d)
	}
	if d.PSI < 1 { // a new segment, and half of the customers in a retired one
		t.Errorf("PSI %v", d.PSI)
	}
	psi, err := PSI([]float64{0.5, 0.5}, []float64{0.25, 0.75})
	if want := -0.25*math.Log(0.5) + 0.25*math.Log(1.5); err != nil || math.Abs(psi-want) > 1e-12 {
		t.Errorf("PSI %v, want %v (%v)", psi, want, err)
	}
	if _, err := PSI([]float64{math.NaN()}, []float64{1}); err == nil {
		t.Error("PSI of NaN")
	}
}

func TestNames(t *testing.T) {
	features := []string{"recency", "frequency", "monetary", "night", "cross_border"}
	of := func(size int, lean ...float64) Profile { return Profile{Size: size, Lean: lean} }
	profiles := []Profile{
		of(50, -0.3, 1.2, 0.1, 1.5, 0),
		of(40, 2, -0.2, 0.9, 0, 1.1),
		of(30, 0.1, 0.2, -0.1, 0.3, 0),
		of(20, -0.3, 1.2, 0.1, 1.5, 0.7),
		of(10, -0.3, 1.2, 0.1, 1.5, 0),
		of(5, 0, 0, 0, 0, 0.2),
	}
	want := []string{
		"Frequent night-time spenders", "Lapsed high-value travellers", "Typical customers",
		"Frequent night-time spenders who buy abroad", "Frequent night-time spenders 2", "Typical customers 2",
	}
	got, err := Spending.Names(features, profiles, nil)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	got, err = Spending.Names(features, profiles, []string{"", "Old friends", "Frequent night-time spenders", "", "", ""})
	want = []string{
		"Frequent night-time spenders 2", "Old friends", "Frequent night-time spenders",
		"Frequent night-time spenders who buy abroad", "Frequent night-time spenders 3", "Typical customers",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("kept: %q, %v", got, err)
	}
	if got := Spending.Describe(features, profiles[1]); got != "They have not bought for long (+2.0), buy abroad (+1.1) and spend much (+0.9)." {
		t.Error(got)
	}
	if got := Spending.Describe(features, profiles[5]); !strings.Contains(got, "much like all") {
		t.Error(got)
	}
}

func TestProfiles(t *testing.T) {
	raw := matrix(2, 1, 5, 2, 6, 1, 7, 9, 8, 10, 9, 11, 10)
	p, x, err := Prepare(raw, []Column{{Name: "a", Scale: Linear}, {Name: "b", Scale: Linear}})
	if err != nil {
		t.Fatal(err)
	}
	part, err := KMeans(context.Background(), x, 2, KMeansConfig{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Profiles(p, x, part)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range got {
		if s.Size != 3 || s.Share != 0.5 || math.Abs(math.Abs(s.Lean[0])-1) > 0.02 {
			t.Errorf("%+v", s)
		}
		if a := s.Typical[0]; math.Abs(a-4./3) > 1e-9 && math.Abs(a-10) > 1e-9 {
			t.Errorf("typical %v", s.Typical)
		}
	}
	far, err := Distances(x, part)
	if err != nil || len(far) != 6 {
		t.Errorf("%v, %v", far, err)
	}
}
