package segment

import (
	"context"
	"math"
)

// epsilon is the distance from 1 to the next number.
const epsilon = 0x1p-52

// expectation sums up, over all rows, what the next parameters of a mixture are computed from.
// Responsibilities are used as they arise and never kept: memory does not grow with the rows.
type expectation struct {
	m      *Mixture
	x      Matrix
	size   int       // values of a component: weight, first moments, second moments
	blocks []float64 // blocks × components × size
	sums   []float64 // components × size
}

func newExpectation(m *Mixture, x Matrix) *expectation {
	size := 1 + x.Cols + x.Cols*x.Cols
	return &expectation{
		m: m, x: x, size: size,
		blocks: make([]float64, blocksOf(x.Rows)*m.Means.Rows*size), sums: make([]float64, m.Means.Rows*size),
	}
}

// run sums moments about the present means, and returns the log-likelihood of the rows. With
// labels each row belongs to one component wholly, and the likelihood is 0.
func (e *expectation) run(ctx context.Context, labels []int32) (float64, error) {
	clear(e.blocks)
	k := e.m.Means.Rows
	logs := make([]float64, blocksOf(e.x.Rows))
	err := eachBlock(ctx, e.x.Rows, func(b, from, to int) {
		sums := e.blocks[b*k*e.size : (b+1)*k*e.size]
		parts, off := make([]float64, k), make([]float64, e.x.Cols)
		for i := from; i < to; i++ {
			row := e.x.Row(i)
			if labels != nil {
				e.add(sums, int(labels[i]), row, off, 1)
				continue
			}
			total := e.m.densities(row, parts, off)
			logs[b] += total
			for j, l := range parts {
				// Less than this of a row is lost in rounding beside the rest.
				if l -= total; l > -50 {
					e.add(sums, j, row, off, math.Exp(l))
				}
			}
		}
	})
	if err != nil {
		return 0, err
	}
	clear(e.sums)
	sum := 0.0
	for b, l := range logs {
		sum += l
		for at, v := range e.blocks[b*len(e.sums) : (b+1)*len(e.sums)] {
			e.sums[at] += v
		}
	}
	return sum, nil
}

// add counts a part of a row towards component j.
func (e *expectation) add(sums []float64, j int, row, off []float64, part float64) {
	d := len(row)
	own := sums[j*e.size : (j+1)*e.size]
	mean := e.m.Means.Row(j)
	own[0] += part
	first, second := own[1:1+d], own[1+d:]
	whole := e.m.whole()
	for r, v := range row {
		off[r] = v - mean[r]
		weighted := part * off[r]
		first[r] += weighted
		if !whole {
			second[r*d+r] += weighted * off[r]
			continue
		}
		line := second[r*d : r*d+r+1]
		for c := range line {
			line[c] += weighted * off[c]
		}
	}
}

// maximise moves the parameters to the likeliest ones for the sums.
func (e *expectation) maximise(floor float64) error {
	m, d, k := e.m, e.x.Cols, e.m.Means.Rows
	total, all := make([]float64, d*d), 0.0
	for j := range k {
		own := e.sums[j*e.size : (j+1)*e.size]
		n := own[0] + 10*epsilon
		all += n
		m.Weights[j] = n
		mean, v := m.Means.Row(j), m.Variances[j*d*d:(j+1)*d*d]
		first, second := own[1:1+d], own[1+d:]
		for r := range d {
			for c := range r + 1 {
				if r != c && !m.whole() {
					continue
				}
				moment := second[r*d+c]/n - first[r]/n*first[c]/n
				if r == c {
					moment = max(0, moment)
				}
				v[r*d+c], v[c*d+r] = moment, moment
			}
		}
		for r := range d {
			mean[r] += first[r] / n
		}
		for at := range total {
			total[at] += v[at] * n
		}
	}
	for j := range k {
		v := m.Variances[j*d*d : (j+1)*d*d]
		switch m.Covariance {
		case Tied:
			for at := range v {
				v[at] = total[at] / all
			}
		case Spherical:
			mean := 0.0
			for r := range d {
				mean += v[r*d+r] / float64(d)
			}
			for r := range d {
				v[r*d+r] = mean
			}
		}
		for r := range d {
			v[r*d+r] += floor
		}
		m.Weights[j] /= all
	}
	return m.factor(floor)
}
