package boost

import (
	"context"
	"math"
)

// forest grows config.ForestTrees trees on bootstrap samples, the best of √columns at each split (Breiman, Machine Learning 2001).
// A leaf holds the share of fraud among its rows; the split that lowers Gini's impurity most is the one that lowers the squared error
// most, so the histograms are those of boosting with gradient −y and hessian 1.
//
// The bootstrap draws each row a Poisson(1) number of times (Oza & Russell, AISTATS 2001): no order of draws, hence no order of goroutines.
func (t *trainer) forest(ctx context.Context, fit []uint32) ([]tree, error) {
	d, n := t.data, t.data.Rows()
	columns := len(d.Columns)
	trees := make([]tree, t.config.ForestTrees)
	type scratch struct {
		gradients []pair
		grow      *grower
	}
	workers := min(t.workers, len(trees))
	scratches := make([]scratch, workers)
	each(len(trees), workers, func(worker, k int) {
		if ctx.Err() != nil {
			return
		}
		s := &scratches[worker]
		if s.grow == nil {
			s.gradients = make([]pair, n)
			s.grow = &grower{bins: t.bins, workers: 1, columns: make([]int32, columns), limits: limits{leaves: math.MaxInt32, depth: t.config.ForestDepth,
				rows: t.config.ForestLeafRows, perSplit: max(1, int(math.Round(math.Sqrt(float64(columns)))))}}
		}
		w := s.grow
		w.seed, w.draws = mix(t.config.Seed+uint64(k)), 0
		for i := range w.columns {
			w.columns[i] = int32(i)
		}
		w.rows = w.rows[:0]
		for _, r := range fit {
			i := int(r)
			times := poisson(draw(w.seed, -2, i))
			if times == 0 {
				continue
			}
			w.rows = append(w.rows, r)
			s.gradients[i] = pair{0, float32(times * d.weight(i) * d.exposure(i))}
			if d.Fraud[i] {
				s.gradients[i].g = float32(-times * d.weight(i))
			}
		}
		trees[k] = w.grow(s.gradients, nil)
		// One fraud that was reported early may outnumber what its leaf was exposed: a share is a share all the same.
		for i := range trees[k].nodes {
			if n := &trees[k].nodes[i]; n.left == 0 {
				n.value = min(max(n.value, 0), 1)
			}
		}
	})
	return trees, ctx.Err()
}

// poisson is the number that a uniform draw stands for in a Poisson distribution of mean 1.
func poisson(u float64) float64 {
	mass := math.Exp(-1)
	sum := mass
	k := 0.0
	for u >= sum && k < 12 {
		k++
		mass /= k
		sum += mass
	}
	return k
}
