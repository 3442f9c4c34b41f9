package segment

import (
	"context"
	"fmt"
	"math"
)

// Silhouettes is the mean silhouette width (Rousseeuw, Silhouettes: a graphical aid, J. Comput.
// Appl. Math. 20, 1987) of each of several divisions of the same rows: -1 to 1, the greater the
// further apart the clusters are. A row alone in its cluster has width 0, and so has a division
// with one cluster only.
//
// The work grows with the square of the rows: beyond limit of them (0 means 10,000) a sample of
// that many stands for all, the same for each division, drawn with the seed.
func Silhouettes(ctx context.Context, x Matrix, limit int, seed uint64, divisions ...[]int32) ([]float64, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	if limit < 0 {
		return nil, fmt.Errorf("segment: a sample of %d rows for silhouettes", limit)
	}
	if limit == 0 {
		limit = 10_000
	}
	rows := sample(x.Rows, limit, random(seed, forSilhouette))
	near := x.pick(rows)
	labels := make([][]int32, len(divisions))
	counts := make([][]float64, len(divisions))
	for v, of := range divisions {
		if len(of) != x.Rows {
			return nil, fmt.Errorf("segment: %d rows, %d labels", x.Rows, len(of))
		}
		labels[v], counts[v] = compact(of, rows)
	}
	widths := make([]float64, len(rows)*len(divisions))
	// A task is a few rows against all: as short as to share evenly, whatever the blocks.
	const some = 64
	err := each(ctx, (len(rows)+some-1)/some, func(task int) {
		distance := make([]float64, len(rows))
		var sums []float64
		for i := task * some; i < min(len(rows), (task+1)*some); i++ {
			for o := range distance {
				distance[o] = math.Sqrt(distance2(near.Row(i), near.Row(o)))
			}
			for v := range divisions {
				sums = append(sums[:0], make([]float64, len(counts[v]))...)
				for o, l := range labels[v] {
					sums[l] += distance[o]
				}
				widths[i*len(divisions)+v] = width(sums, counts[v], int(labels[v][i]))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(divisions))
	for at, w := range widths {
		out[at%len(out)] += w / float64(len(rows))
	}
	return out, nil
}

// width is the silhouette of a row of cluster own, from its distances to the rows of each.
func width(sums, counts []float64, own int) float64 {
	if counts[own] < 2 {
		return 0
	}
	within, between := sums[own]/(counts[own]-1), math.Inf(1)
	for j, s := range sums {
		if j != own {
			between = min(between, s/counts[j])
		}
	}
	if most := max(within, between); most > 0 && !math.IsInf(between, 1) {
		return (between - within) / most
	}
	return 0
}

// compact numbers the labels of the given rows from 0, and counts them.
func compact(labels []int32, rows []int) (of []int32, counts []float64) {
	number := map[int32]int32{}
	of = make([]int32, len(rows))
	for i, row := range rows {
		n, met := number[labels[row]]
		if !met {
			n = int32(len(counts))
			number[labels[row]] = n
			counts = append(counts, 0)
		}
		of[i] = n
		counts[n]++
	}
	return of, counts
}
