package boost

import (
	"cmp"
	"math"
	"slices"
)

// judge measures the boosted trees, the forest and their sums on rows that neither saw, chooses the forest's share,
// and gives the chosen sum for each of rows.
func (t *trainer) judge(rows []uint32, boosting boosted, forest []tree, sum *Summary) []float64 {
	means := make([]float64, len(rows))
	each((len(rows)+chunk-1)/chunk, t.workers, func(_, c int) {
		for k := c * chunk; k < min(len(rows), (c+1)*chunk); k++ {
			for _, tr := range forest {
				means[k] += float64(tr.nodes[leafOf(tr.nodes, t.bins, int(rows[k]))].value)
			}
			means[k] /= float64(len(forest))
		}
	})
	var frauds, all float64
	for _, r := range rows {
		if t.data.Fraud[r] {
			sum.ValidationFrauds++
			frauds += t.data.weight(int(r))
		}
		all += t.data.weight(int(r))
	}
	sum.Prevalence = frauds / all
	sum.Boosted, sum.Forest = t.precision(rows, boosting.margins), t.precision(rows, means)
	var chosen []float64
	for _, share := range forestShares {
		scores := make([]float64, len(rows))
		for k := range scores {
			scores[k] = boosting.margins[k] + share*means[k]
		}
		if p := t.precision(rows, scores); chosen == nil || p > sum.Model+shareMargin {
			chosen, sum.Model, sum.ForestShare = scores, p, share
		}
	}
	return chosen
}

// precision is the average precision of scores, equal ones taken together.
func (t *trainer) precision(rows []uint32, scores []float64) float64 {
	order := make([]int, len(rows))
	var frauds float64
	for i, r := range rows {
		order[i] = i
		if t.data.Fraud[r] {
			frauds += t.data.weight(int(r))
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	var found, alerts, area float64
	for k := 0; k < len(order); {
		before := found
		for at := scores[order[k]]; k < len(order) && scores[order[k]] == at; k++ {
			w := t.data.weight(int(rows[order[k]]))
			alerts += w
			if t.data.Fraud[rows[order[k]]] {
				found += w
			}
		}
		area += (found - before) / frauds * found / alerts
	}
	return area
}

const (
	leastScale, mostScale = 0.05, 5.0
	calibrationRounds     = 50
)

// calibrate fits scale and offset so that sigmoid(scale·margin+offset) is the share of fraud among rows (Platt, Advances in Large Margin
// Classifiers 1999, with his targets for few frauds, by Newton's method as in Lin, Lin & Weng, Machine Learning 2007).
// The scale stays positive: calibration changes no order. Frauds are few and high up, so that is where the fit is close; far below,
// where boosting and the forest say the same thing twice, probabilities come out too high, though small.
func (t *trainer) calibrate(rows []uint32, margins []float64) (scale, offset float64) {
	var frauds, genuine float64
	for _, r := range rows {
		if t.data.Fraud[r] {
			frauds++
		} else {
			genuine++
		}
	}
	hit, miss := (frauds+1)/(frauds+2), 1/(genuine+2)
	loss := func(a, b float64) (sum float64) {
		for k, r := range rows {
			target := miss
			if t.data.Fraud[r] {
				target = hit
			}
			m := a*margins[k] + b
			sum += t.data.weight(int(r)) * (softplus(m) - target*m)
		}
		return sum
	}
	scale = 1
	lowest := loss(scale, offset)
	for range calibrationRounds {
		var ga, gb, haa, hab, hbb float64
		for k, r := range rows {
			target := miss
			if t.data.Fraud[r] {
				target = hit
			}
			w, p := t.data.weight(int(r)), sigmoid(scale*margins[k]+offset)
			d, h := w*(p-target), w*p*(1-p)
			ga += d * margins[k]
			gb += d
			haa += h * margins[k] * margins[k]
			hab += h * margins[k]
			hbb += h
		}
		// A little is added to the diagonal, so that margins that are all alike leave the scale where it is.
		haa, hbb = haa+1e-6*(1+haa), hbb+1e-6*(1+hbb)
		det := haa*hbb - hab*hab
		stepA, stepB := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		improved := false
		for size := 1.0; size > 1e-6; size /= 2 {
			a, b := min(max(scale-size*stepA, leastScale), mostScale), offset-size*stepB
			if l := loss(a, b); l < lowest {
				improved = lowest-l > 1e-9*(1+math.Abs(lowest))
				scale, offset, lowest = a, b, l
				break
			}
		}
		if !improved {
			break
		}
	}
	return scale, offset
}
