package boost

import (
	"context"
	"math"
	"slices"
)

// trainer is what both kinds of trees are grown from: the rows, binned once.
type trainer struct {
	data    Data
	config  Config
	bins    *bins
	workers int
}

// prior is the log-odds of fraud among rows.
func (t *trainer) prior(rows []uint32) float64 {
	var frauds, all float64
	for _, r := range rows {
		i := int(r)
		if t.data.Fraud[i] {
			frauds += t.data.weight(i)
		}
		all += t.data.weight(i) * t.data.exposure(i)
	}
	share := min(max(frauds/all, 1e-9), 1-1e-9)
	return math.Log(share / (1 - share))
}

// boosted is a sum of trees in log-odds.
type boosted struct {
	prior   float64
	trees   []tree
	margins []float64 // of the validation rows, in their order, after the last of trees
	loss    float64   // their mean log loss
}

// chunk is how many rows one goroutine takes at a time.
const chunk = 1 << 13

// boost adds rounds trees, each fitted to the gradient of the logistic loss that the sum before it leaves (Friedman, Annals of
// Statistics 2001; second order as in Chen & Guestrin, KDD 2016). With validation rows it stops when their loss has not fallen
// for config.Patience rounds, and keeps the trees up to the lowest.
//
// A row that was exposed e of its reporting time counts with gradient e·p − y and hessian e·p·(1−p): see [Delay].
func (t *trainer) boost(ctx context.Context, fit, validation []uint32, rounds int) (boosted, error) {
	out := boosted{prior: t.prior(fit), loss: math.Inf(1)}
	d, n := t.data, t.data.Rows()
	margins := make([]float64, n)
	for i := range margins {
		margins[i] = out.prior
	}
	gradients := make([]pair, n)
	columns := len(d.Columns)
	drawn := min(columns, max(int(math.Ceil(t.config.ColumnShare*float64(columns))), min(columns, 4)))
	w := &grower{bins: t.bins, workers: t.workers, limits: limits{leaves: t.config.Leaves, depth: t.config.Depth, rows: t.config.LeafRows,
		hessian: t.config.LeafHessian, l2: t.config.L2, bestFirst: true}, columns: make([]int32, drawn)}
	order := make([]int32, columns)
	outOfBag := make([]uint32, 0, len(fit))
	bag := make([]uint32, 0, len(fit))
	best := 0
	for round := range rounds {
		if err := ctx.Err(); err != nil {
			return boosted{}, err
		}
		bag, outOfBag = bag[:0], outOfBag[:0]
		for _, r := range fit {
			if t.config.RowShare >= 1 || draw(t.config.Seed, 2*round, int(r)) < t.config.RowShare {
				bag = append(bag, r)
			} else {
				outOfBag = append(outOfBag, r)
			}
		}
		each((len(bag)+chunk-1)/chunk, t.workers, func(_, c int) {
			for _, r := range bag[c*chunk : min(len(bag), (c+1)*chunk)] {
				i := int(r)
				p, y := sigmoid(margins[i]), 0.0
				if d.Fraud[i] {
					y = 1
				}
				gradients[i] = pair{float32(d.weight(i) * (d.exposure(i)*p - y)), float32(d.weight(i) * d.exposure(i) * p * (1 - p))}
			}
		})
		for i := range order {
			order[i] = int32(i)
		}
		for i := range drawn {
			j := i + int(draw(t.config.Seed, 2*round+1, i)*float64(columns-i))
			order[i], order[j] = order[j], order[i]
		}
		copy(w.columns, order)
		slices.Sort(w.columns)
		w.rows = append(w.rows[:0], bag...)
		type reached struct {
			leaf int32
			rows []uint32
		}
		var leaves []reached
		grown := w.grow(gradients, func(leaf int32, rows []uint32) { leaves = append(leaves, reached{leaf, rows}) })
		for i := range grown.nodes {
			if grown.nodes[i].left == 0 {
				grown.nodes[i].value *= float32(t.config.LearningRate)
			}
		}
		out.trees = append(out.trees, grown)
		for _, l := range leaves {
			for _, r := range l.rows {
				margins[r] += float64(grown.nodes[l.leaf].value)
			}
		}
		for _, rows := range [][]uint32{outOfBag, validation} {
			each((len(rows)+chunk-1)/chunk, t.workers, func(_, c int) {
				for _, r := range rows[c*chunk : min(len(rows), (c+1)*chunk)] {
					margins[r] += float64(grown.nodes[leafOf(grown.nodes, t.bins, int(r))].value)
				}
			})
		}
		if len(validation) == 0 {
			continue
		}
		if loss := t.loss(validation, margins); loss < out.loss {
			out.loss, best = loss, len(out.trees)
			out.margins = out.margins[:0]
			for _, r := range validation {
				out.margins = append(out.margins, margins[r])
			}
		} else if len(out.trees)-best >= t.config.Patience {
			break
		}
	}
	if len(validation) > 0 {
		out.trees = out.trees[:best]
	}
	return out, nil
}

// loss is the weighted mean log loss of rows, whose labels must be final.
func (t *trainer) loss(rows []uint32, margins []float64) float64 {
	var sum, all float64
	for _, r := range rows {
		i := int(r)
		m, w := margins[i], t.data.weight(i)
		if t.data.Fraud[i] {
			m = -m
		}
		sum += w * softplus(m)
		all += w
	}
	return sum / all
}

func sigmoid(m float64) float64 { return 1 / (1 + math.Exp(-m)) }

// softplus is log(1+exp(m)) without overflow.
func softplus(m float64) float64 { return max(m, 0) + math.Log1p(math.Exp(-math.Abs(m))) }
