package segment

import (
	"context"
	"math"
)

// lloyd is Lloyd's iteration over the rows of a matrix with the bounds of Hamerly (Making
// k-means even faster, SDM 2010): each row keeps an upper bound of the distance to its centre and a
// lower bound of the distance to every other, and is looked at again only when these cross.
type lloyd struct {
	x            Matrix
	k            int
	centres      []float64 // k × columns
	labels       []int32
	upper, lower []float64

	// Sums and counts of the rows of each cluster, by block.
	sums   []float64 // blocks × k × columns
	counts []int     // blocks × k

	next  []float64 // the next centres
	moved []float64 // how far each centre moved last
	half  []float64 // half the distance of each centre to its nearest other
}

func newLloyd(x Matrix, k int) *lloyd {
	blocks := blocksOf(x.Rows)
	return &lloyd{
		x: x, k: k, centres: make([]float64, k*x.Cols), labels: make([]int32, x.Rows),
		upper: make([]float64, x.Rows), lower: make([]float64, x.Rows),
		sums: make([]float64, blocks*k*x.Cols), counts: make([]int, blocks*k),
		next: make([]float64, k*x.Cols), moved: make([]float64, k), half: make([]float64, k),
	}
}

func (l *lloyd) centre(j int) []float64 { return l.centres[j*l.x.Cols : (j+1)*l.x.Cols] }

// run iterates from the centres given until the squares of the centres' moves add up to no more
// than tolerance, or for the given number of iterations. It says how many it made and whether
// the centres came to rest. Centres are the means of their rows afterwards.
func (l *lloyd) run(ctx context.Context, centres []float64, iterations int, tolerance float64) (made int, rest bool, err error) {
	copy(l.centres, centres)
	if err := l.first(ctx); err != nil {
		return 0, false, err
	}
	for made < iterations {
		shift, err := l.update(ctx)
		if err != nil {
			return made, false, err
		}
		made++
		if shift <= tolerance {
			return made, true, nil
		}
		if made < iterations {
			if err := l.assign(ctx); err != nil {
				return made, false, err
			}
		}
	}
	return made, false, nil
}

// first assigns every row by full search.
func (l *lloyd) first(ctx context.Context) error {
	clear(l.sums)
	clear(l.counts)
	return eachBlock(ctx, l.x.Rows, func(b, from, to int) {
		for i := from; i < to; i++ {
			row := l.x.Row(i)
			near, d1, _, d2 := nearestTwo(row, l.centres, l.k)
			l.labels[i], l.upper[i], l.lower[i] = int32(near), math.Sqrt(d1), math.Sqrt(d2)
			l.count(b, near, row, 1)
		}
	})
}

// count adds a row to a cluster of a block, or with sign -1 takes it out.
func (l *lloyd) count(block, j int, row []float64, sign int) {
	l.counts[block*l.k+j] += sign
	sum := l.sums[(block*l.k+j)*l.x.Cols:][:len(row)]
	if sign > 0 {
		for c, v := range row {
			sum[c] += v
		}
		return
	}
	for c, v := range row {
		sum[c] -= v
	}
}

// update moves each centre to the mean of its rows and returns the sum of the moves' squares.
func (l *lloyd) update(ctx context.Context) (float64, error) {
	empty, total := l.means()
	if empty > 0 {
		if err := l.fill(ctx, total); err != nil {
			return 0, err
		}
		l.means()
	}
	shift := 0.0
	for j := range l.k {
		d2 := distance2(l.centre(j), l.next[j*l.x.Cols:(j+1)*l.x.Cols])
		l.moved[j] = math.Sqrt(d2)
		shift += d2
	}
	l.centres, l.next = l.next, l.centres
	return shift, nil
}

// means computes the next centres, and how many clusters have no rows: those keep their place.
func (l *lloyd) means() (empty int, total []int) {
	cols := l.x.Cols
	total = make([]int, l.k)
	clear(l.next)
	for b := range blocksOf(l.x.Rows) {
		for j := range l.k {
			total[j] += l.counts[b*l.k+j]
		}
		for c, v := range l.sums[b*l.k*cols : (b+1)*l.k*cols] {
			l.next[c] += v
		}
	}
	for j, n := range total {
		mean := l.next[j*cols : (j+1)*cols]
		if n == 0 {
			empty++
			copy(mean, l.centre(j))
			continue
		}
		for c := range mean {
			mean[c] /= float64(n)
		}
	}
	return empty, total
}

// fill gives each cluster without rows the row that is farthest from its centre, the first of
// equals, as scikit-learn does. Where every row lies on a centre there is none to give, and the
// cluster stays without.
func (l *lloyd) fill(ctx context.Context, total []int) error {
	far := make([]float64, l.x.Rows)
	err := eachBlock(ctx, l.x.Rows, func(_, from, to int) {
		for i := from; i < to; i++ {
			far[i] = distance2(l.x.Row(i), l.centre(int(l.labels[i])))
		}
	})
	if err != nil {
		return err
	}
	for j, n := range total {
		if n > 0 {
			continue
		}
		best := -1
		for i, d := range far {
			if d > 0 && total[l.labels[i]] > 1 && (best < 0 || d > far[best]) {
				best = i
			}
		}
		if best < 0 {
			return nil
		}
		row, old := l.x.Row(best), int(l.labels[best])
		l.count(best/blockRows, old, row, -1)
		l.count(best/blockRows, j, row, 1)
		total[old]--
		total[j]++
		l.labels[best], l.upper[best], l.lower[best] = int32(j), 0, 0
		for i := range far {
			far[i] = min(far[i], distance2(l.x.Row(i), row))
		}
	}
	return nil
}

// assign moves rows to their nearest centres, after centres moved.
func (l *lloyd) assign(ctx context.Context) error {
	most, second := 0, 0.0
	for j := range l.k {
		if l.moved[j] > l.moved[most] {
			most = j
		}
	}
	for j, d := range l.moved {
		if j != most {
			second = max(second, d)
		}
	}
	for j := range l.k {
		near := math.Inf(1)
		for o := range l.k {
			if o != j {
				near = min(near, distance2(l.centre(j), l.centre(o)))
			}
		}
		l.half[j] = math.Sqrt(near) / 2
	}
	return eachBlock(ctx, l.x.Rows, func(b, from, to int) {
		for i := from; i < to; i++ {
			own := int(l.labels[i])
			upper, lower := l.upper[i]+l.moved[own], l.lower[i]-l.moved[most]
			if own == most {
				lower = l.lower[i] - second
			}
			if bound := max(l.half[own], lower); upper > bound {
				row := l.x.Row(i)
				upper = math.Sqrt(distance2(row, l.centre(own)))
				if upper > bound {
					near, d1, _, d2 := nearestTwo(row, l.centres, l.k)
					upper, lower = math.Sqrt(d1), math.Sqrt(d2)
					if near != own {
						l.count(b, own, row, -1)
						l.count(b, near, row, 1)
						l.labels[i] = int32(near)
					}
				}
			}
			l.upper[i], l.lower[i] = upper, lower
		}
	})
}

// nearestTwo finds the centre nearest to a row and the one after it, with the squares of their
// distances; of equals the first. With one centre the second is at infinity.
func nearestTwo(row, centres []float64, k int) (near int, d1 float64, after int, d2 float64) {
	d1, d2 = math.Inf(1), math.Inf(1)
	cols := len(row)
	if cols == 2 {
		x, y := row[0], row[1]
		for j := range k {
			u, v := x-centres[2*j], y-centres[2*j+1]
			if d := u*u + v*v; d < d2 {
				if d < d1 {
					near, d1, after, d2 = j, d, near, d1
				} else {
					after, d2 = j, d
				}
			}
		}
		return near, d1, after, d2
	}
	for j := range k {
		if d := distance2(row, centres[j*cols:(j+1)*cols]); d < d2 {
			if d < d1 {
				near, d1, after, d2 = j, d, near, d1
			} else {
				after, d2 = j, d
			}
		}
	}
	return near, d1, after, d2
}
