package boost

import (
	"context"
	"math"
	"testing"
)

// TestStumpIsTheBestSplit compares a single split with an exhaustive search over thresholds and sides for missing values.
func TestStumpIsTheBestSplit(t *testing.T) {
	// Missing is like high in the first column, like low in the second, like neither in the third; the fourth is never missing.
	const rows, columns = 1500, 4
	d := Data{Columns: []string{"high", "low", "neither", "whole"}, Fraud: make([]bool, rows)}
	gradients := make([]pair, rows)
	for i := range rows {
		d.Fraud[i] = draw(1, 0, i) < 0.1
		gradients[i] = pair{0.1, 0.09}
		if d.Fraud[i] {
			gradients[i] = pair{-0.9, 0.2}
		}
		for c := range columns {
			v := draw(2, c, i)
			switch {
			case c < 2 && d.Fraud[i] && draw(3, c, i) < 0.5, c < 3 && draw(3, c, i) < 0.1:
				v = math.NaN()
			case d.Fraud[i]:
				v = []float64{0.5 + v/2, v / 2, v, v * v}[c]
			}
			d.Values = append(d.Values, float32(v))
		}
	}
	b := newBins(d, 1)
	for _, l2 := range []float64{0.01, 3, 60} {
		for c := range columns {
			w := &grower{bins: b, workers: 1, limits: limits{leaves: 2, depth: 1, rows: 20, hessian: 2, l2: l2, bestFirst: true}, columns: []int32{int32(c)}}
			for i := range rows {
				w.rows = append(w.rows, uint32(i))
			}
			tr := w.grow(gradients, nil)
			gain := func(right func(i int) bool) float64 {
				var sums [2]cell
				for i := range gradients {
					side := 0
					if right(i) {
						side = 1
					}
					sums[side].count(gradients[i])
				}
				for _, s := range sums {
					if s.n < 20 || s.h < 2 {
						return 0
					}
				}
				score := func(c cell) float64 { return c.g * c.g / (c.h + l2) }
				whole := sums[0]
				whole.add(sums[1])
				return score(sums[0]) + score(sums[1]) - score(whole)
			}
			best := 0.0
			for _, bound := range b.bounds[c] {
				for _, missing := range []bool{false, true} {
					best = max(best, gain(func(i int) bool {
						v := d.Values[i*columns+c]
						return v > bound || v != v && missing
					}))
				}
			}
			got := 0.0
			if len(tr.nodes) == 3 {
				got = gain(func(i int) bool { return leaf(tr.nodes, d.Values[i*columns:(i+1)*columns]) == 2 })
			}
			if math.Abs(got-best) > 1e-9*best {
				t.Errorf("L2 %v, column %s: the split gains %v, the best %v", l2, d.Columns[c], got, best)
			}
			sums := make([]cell, len(tr.nodes))
			for i := range gradients {
				sums[leafOf(tr.nodes, b, i)].count(gradients[i])
			}
			for l, s := range sums {
				if want := -s.g / (s.h + l2); s.n > 0 && math.Abs(want-float64(tr.nodes[l].value)) > 1e-6 {
					t.Errorf("leaf %d holds %v, want %v", l, tr.nodes[l].value, want)
				}
			}
		}
	}
}

// TestBoostingConverges gives two groups of rows, told apart by a column, whose labels are partly on their way: the probability of
// each is its frauds over its exposure, counted by weight.
func TestBoostingConverges(t *testing.T) {
	const rows = 4000
	d := Data{Columns: []string{"group"}, Fraud: make([]bool, rows), Weight: make([]float32, rows), Exposure: make([]float32, rows)}
	var frauds, exposed [2]float64
	all := make([]uint32, rows)
	for i := range rows {
		all[i] = uint32(i)
		group := i % 2
		d.Values = append(d.Values, float32(group))
		d.Weight[i], d.Exposure[i] = float32(1+i%3), float32(0.2+0.7*draw(1, group, i)*float64(1-group)+0.3*float64(group))
		d.Fraud[i] = draw(2, 0, i) < []float64{0.02, 0.2}[group]*float64(d.Exposure[i])
		if d.Fraud[i] {
			frauds[group] += d.weight(i)
		}
		exposed[group] += d.weight(i) * d.exposure(i)
	}
	tr := &trainer{data: d, bins: newBins(d, 1), workers: 1, config: Config{LearningRate: 0.5, Leaves: 4, Depth: 4, LeafRows: 1, LeafHessian: 0.1, L2: 0.1, RowShare: 1, ColumnShare: 1}}
	out, err := tr.boost(context.Background(), all, nil, 60)
	if err != nil {
		t.Fatal(err)
	}
	for group := range 2 {
		m := out.prior
		for _, grown := range out.trees {
			m += float64(grown.nodes[leaf(grown.nodes, []float32{float32(group)})].value)
		}
		if want := frauds[group] / exposed[group]; math.Abs(sigmoid(m)/want-1) > 0.01 {
			t.Errorf("group %d has the probability %v, want %v", group, sigmoid(m), want)
		}
	}
}

// TestLimits grows deep trees and counts what their leaves hold.
func TestLimits(t *testing.T) {
	d, _ := simulated(3000, 7)
	tr := &trainer{data: d, bins: newBins(d, 1), workers: 1, config: Config{LearningRate: 1, Leaves: 9, Depth: 4, LeafRows: 30, LeafHessian: 1, L2: 1, RowShare: 1, ColumnShare: 1}}
	rows := make([]uint32, d.Rows())
	for i := range rows {
		rows[i] = uint32(i)
	}
	out, err := tr.boost(context.Background(), rows, nil, 8)
	if err != nil {
		t.Fatal(err)
	}
	for k, grown := range out.trees {
		held, leaves := make([]int, len(grown.nodes)), 0
		for i := range rows {
			held[leafOf(grown.nodes, tr.bins, i)]++
			if leaf(grown.nodes, d.Values[i*12:(i+1)*12]) != leafOf(grown.nodes, tr.bins, i) {
				t.Fatalf("tree %d: row %d falls into another leaf by bins", k, i)
			}
		}
		for at, n := range grown.nodes {
			if n.left == 0 {
				leaves++
				if held[at] < 30 || grown.cover[at] < 1 {
					t.Errorf("tree %d: leaf %d has %d rows, hessian %v", k, at, held[at], grown.cover[at])
				}
			} else if d := grown.cover[n.left] + grown.cover[n.left+1] - grown.cover[at]; math.Abs(float64(d)) > 1e-3 {
				t.Errorf("tree %d: node %d covers %v less than its children", k, at, d)
			}
		}
		if leaves > 9 {
			t.Errorf("tree %d has %d leaves", k, leaves)
		}
	}
}

// TestWeightsAreRows trains on rows with weights and on as many copies.
func TestWeightsAreRows(t *testing.T) {
	d, _ := simulated(3000, 8)
	d.Weight = make([]float32, d.Rows())
	copies := Data{Columns: d.Columns}
	var rows, all []uint32
	for i := range d.Rows() {
		d.Weight[i] = float32(1 + i%3)
		rows = append(rows, uint32(i))
		for range 1 + i%3 {
			all = append(all, uint32(copies.Rows()))
			copies.Values = append(copies.Values, d.Values[i*12:(i+1)*12]...)
			copies.Fraud = append(copies.Fraud, d.Fraud[i])
		}
	}
	config := Config{LearningRate: 0.3, Leaves: 8, Depth: 5, LeafRows: 1, LeafHessian: 1, L2: 1, RowShare: 1, ColumnShare: 1}
	b := newBins(d, 1)
	a, err := (&trainer{data: d, config: config, bins: b, workers: 1}).boost(context.Background(), rows, nil, 5)
	if err != nil {
		t.Fatal(err)
	}
	same := &bins{rows: copies.Rows(), bounds: b.bounds, codes: make([]uint8, len(copies.Values))}
	for c := range copies.Columns {
		for i := range copies.Rows() {
			same.column(c)[i] = code(b.bounds[c], copies.Values[i*12+c])
		}
	}
	o, err := (&trainer{data: copies, config: config, bins: same, workers: 1}).boost(context.Background(), all, nil, 5)
	if err != nil {
		t.Fatal(err)
	}
	for i := range d.Rows() {
		row := d.Values[i*12 : (i+1)*12]
		x, y := a.prior, o.prior
		for k := range a.trees {
			x += float64(a.trees[k].nodes[leaf(a.trees[k].nodes, row)].value)
			y += float64(o.trees[k].nodes[leaf(o.trees[k].nodes, row)].value)
		}
		if math.Abs(x-y) > 1e-4 {
			t.Fatalf("row %d: %v with weights, %v with copies", i, x, y)
		}
	}
}

func TestBins(t *testing.T) {
	nan := float32(math.NaN())
	d := Data{Columns: []string{"a", "many"}, Fraud: make([]bool, 20_000)}
	for i := range d.Fraud {
		d.Fraud[i] = i >= 19_980
		d.Values = append(d.Values, []float32{5, nan, -1, 5}[i%4], float32(i))
	}
	b := newBins(d, 2)
	if want := []float32{2, math.MaxFloat32}; len(b.bounds[0]) != 2 || b.bounds[0][0] != want[0] || b.bounds[0][1] != want[1] {
		t.Errorf("bounds %v", b.bounds[0])
	}
	for i, want := range []uint8{1, missingBin, 0, 1} {
		if got := b.column(0)[i]; got != want {
			t.Errorf("row %d is in bin %d, want %d", i, got, want)
		}
	}
	if n := len(b.bounds[1]); n > maxBins || n < maxBins/2 {
		t.Errorf("%d bins", n)
	}
	// The twenty frauds at the column's end are told from the 19,980 genuine rows, and from one another.
	ends := map[uint8]bool{}
	for i := 19_980; i < 20_000; i++ {
		ends[b.column(1)[i]] = true
	}
	if ends[b.column(1)[19_970]] || len(ends) < 10 {
		t.Errorf("frauds share %d bins", len(ends))
	}
	for _, pair := range [][2]float32{{1, math.Nextafter32(1, 2)}, {-math.MaxFloat32, math.MaxFloat32}, {0, math.SmallestNonzeroFloat32}} {
		if m := between(pair[0], pair[1]); m < pair[0] || m >= pair[1] {
			t.Errorf("between %v is %v", pair, m)
		}
	}
}
