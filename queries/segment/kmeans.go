package segment

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
)

// KMeansConfig says how [KMeans] searches. Zero fields mean the defaults.
type KMeansConfig struct {
	Seed uint64

	// Starts is how many seedings are improved, each on its own; the best is kept. By default
	// as many as go over 8,000 rows between them, but from 3 to 10.
	Starts int

	// Patience is how many swaps of a centre may fail in a row before a start is thought to be
	// as good as it gets: see [KMeans]. Default 50; negative for no swaps.
	Patience int

	// SearchRows bounds the rows that seeds are drawn from and swaps are tried on: a sample, if
	// there are more. Lloyd's iteration then goes over all rows. Default 20,000, and never
	// fewer than 100 for each cluster.
	SearchRows int

	// Iterations bounds Lloyd's iterations over all rows. Default 300.
	Iterations int

	// Tolerance ends the iteration when the squares of the centres' moves add up to no more
	// than this part of the mean variance of the columns. Default 1e-8.
	Tolerance float64
}

func (c KMeansConfig) defaults(rows, k int) (KMeansConfig, error) {
	if c.Starts < 0 || c.SearchRows < 0 || c.Iterations < 0 || !(c.Tolerance >= 0) {
		return c, fmt.Errorf("segment: starts, search rows, iterations and tolerance of k-means can't be negative")
	}
	c.Starts = cmp.Or(c.Starts, min(10, max(3, 8_000/max(1, rows))))
	c.Patience = max(0, cmp.Or(c.Patience, 50))
	c.SearchRows = max(cmp.Or(c.SearchRows, 20_000), 100*k)
	c.Iterations = cmp.Or(c.Iterations, 300)
	c.Tolerance = cmp.Or(c.Tolerance, 1e-8)
	return c, nil
}

// Partition is rows divided among clusters, the largest cluster first.
type Partition struct {
	Centres Matrix  // a row for each cluster: the mean of its rows
	Labels  []int32 // the cluster of each row
	Sizes   []int   // the rows of each cluster
	SSE     float64 // sum of the squares of the rows' distances to their centres

	Iterations int  // Lloyd's iterations over all rows
	Converged  bool // whether the centres came to rest within the iterations allowed
}

// KMeans divides rows into k clusters of least squared distance to their means.
//
// Seeds are drawn by k-means++ (Arthur and Vassilvitskii, SODA 2007) with greedy trials, as in
// scikit-learn. From where Lloyd's iteration then comes to rest, centres are swapped: a row drawn with
// probability proportional to its squared distance (Lattanzi and Sohler, A better k-means++
// algorithm via local search, ICML 2019) becomes a centre in place of the one that is missed
// least, two iterations follow, and what is better is kept. This is random swap
// (Fränti, Efficiency of random swap clustering, J. Big Data 5:13, 2018) with both ends of the
// swap chosen well, so that tens of trials do what takes restarts thousands.
//
// It needs at least k distinct rows.
func KMeans(ctx context.Context, x Matrix, k int, c KMeansConfig) (*Partition, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	c, err := c.defaults(x.Rows, k)
	switch {
	case err != nil:
		return nil, err
	case k < 1:
		return nil, fmt.Errorf("segment: %d clusters asked for, at least 1 is needed", k)
	case x.Rows < k:
		return nil, &TooFewError{"customers", x.Rows, k}
	}
	centres, err := start(ctx, x, k, c)
	if err != nil {
		return nil, err
	}
	return finish(ctx, x, k, centres, c)
}

// start finds centres to start from.
func start(ctx context.Context, x Matrix, k int, c KMeansConfig) ([]float64, error) {
	rows := x
	if x.Rows > c.SearchRows {
		rows = x.pick(sample(x.Rows, c.SearchRows, random(c.Seed, forSample)))
	}
	var best []float64
	least := math.Inf(1)
	for s := range c.Starts {
		search := newSearch(rows, k, random(c.Seed, forStart+uint64(s)))
		if found := search.seed(); found < k {
			if rows.Rows < x.Rows {
				c.SearchRows = x.Rows
				return start(ctx, x, k, c)
			}
			return nil, &TooFewError{"customers that differ", found, k}
		}
		if err := search.improve(ctx, c.Patience); err != nil {
			return nil, err
		}
		if search.sse < least {
			least, best = search.sse, search.centres
		}
	}
	return best, nil
}

// finish runs Lloyd's iteration over all rows and puts the clusters in order.
func finish(ctx context.Context, x Matrix, k int, centres []float64, c KMeansConfig) (*Partition, error) {
	_, variance := x.moments()
	mean := 0.0
	for _, v := range variance {
		mean += v / float64(len(variance))
	}
	l := newLloyd(x, k)
	made, rest, err := l.run(ctx, centres, c.Iterations, c.Tolerance*mean)
	if err != nil {
		return nil, err
	}
	p := &Partition{Centres: Matrix{Rows: k, Cols: x.Cols, Data: l.centres}, Labels: l.labels, Iterations: made, Converged: rest}
	parts := make([]float64, blocksOf(x.Rows))
	err = eachBlock(ctx, x.Rows, func(b, from, to int) {
		for i := from; i < to; i++ {
			near, d, _, _ := nearestTwo(x.Row(i), l.centres, k)
			p.Labels[i] = int32(near)
			parts[b] += d
		}
	})
	if err != nil {
		return nil, err
	}
	for _, d := range parts {
		p.SSE += d
	}
	p.sort()
	return p, nil
}

// sort puts the largest cluster first, of equals the one with the lesser centre.
func (p *Partition) sort() {
	k := p.Centres.Rows
	p.Sizes = make([]int, k)
	for _, j := range p.Labels {
		p.Sizes[j]++
	}
	order := make([]int, k)
	for j := range order {
		order[j] = j
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(p.Sizes[b], p.Sizes[a]), slices.Compare(p.Centres.Row(a), p.Centres.Row(b)), cmp.Compare(a, b))
	})
	place, sizes := make([]int32, k), make([]int, k)
	for to, from := range order {
		place[from], sizes[to] = int32(to), p.Sizes[from]
	}
	p.Centres, p.Sizes = p.Centres.pick(order), sizes
	for i, j := range p.Labels {
		p.Labels[i] = place[j]
	}
}

// Assign is the nearest centre of each row, and how far off it is.
func Assign(ctx context.Context, x, centres Matrix) (labels []int32, distance []float64, err error) {
	for _, m := range []Matrix{x, centres} {
		if err := m.check(); err != nil {
			return nil, nil, err
		}
	}
	if x.Cols != centres.Cols {
		return nil, nil, fmt.Errorf("segment: rows of %d features, centres of %d", x.Cols, centres.Cols)
	}
	labels, distance = make([]int32, x.Rows), make([]float64, x.Rows)
	err = eachBlock(ctx, x.Rows, func(_, from, to int) {
		for i := from; i < to; i++ {
			near, d, _, _ := nearestTwo(x.Row(i), centres.Data, centres.Rows)
			labels[i], distance[i] = int32(near), math.Sqrt(d)
		}
	})
	return labels, distance, err
}
