package segment

import (
	"context"
	"fmt"
)

// stabilityRows bounds each of the two samples of [Stability].
const stabilityRows = 50_000

// Stability is how far k clusters are the same whichever customers are asked: the adjusted Rand
// index of two divisions of all rows, by the centres of k-means on one half of them and on the
// other (Dolnicar and Leisch, Evaluation of structure and reproducibility of cluster solutions
// using the bootstrap, Marketing Letters 21, 2010). Halves have 50,000 rows at most.
func Stability(ctx context.Context, x Matrix, k int, c KMeansConfig) (float64, error) {
	if err := x.check(); err != nil {
		return 0, err
	}
	if x.Rows < 2*k {
		return 0, &TooFewError{"customers", x.Rows, 2 * k}
	}
	drawn := sample(x.Rows, min(x.Rows, 2*stabilityRows), random(c.Seed, forStability))
	shuffle := random(c.Seed, forHalves)
	shuffle.Shuffle(len(drawn), func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
	var labels [2][]int32
	for h, half := range [][]int{drawn[:len(drawn)/2], drawn[len(drawn)/2:]} {
		p, err := KMeans(ctx, x.pick(half), k, c)
		if err != nil {
			return 0, err
		}
		if labels[h], _, err = Assign(ctx, x, p.Centres); err != nil {
			return 0, err
		}
	}
	return AdjustedRand(labels[0], labels[1])
}

// SSE is the sum of squares of the rows' distances to the means of the rows with their label,
// which are numbers from 0.
func SSE(x Matrix, labels []int32) (float64, error) {
	if err := x.check(); err != nil {
		return 0, err
	}
	if len(labels) != x.Rows {
		return 0, fmt.Errorf("segment: %d rows, %d labels", x.Rows, len(labels))
	}
	most := int32(0)
	for _, l := range labels {
		if most = max(most, l); l < 0 {
			return 0, fmt.Errorf("segment: a label below 0")
		}
	}
	means, counts, sum := NewMatrix(int(most)+1, x.Cols), make([]float64, most+1), 0.0
	for i, l := range labels {
		counts[l]++
		for j, v := range x.Row(i) {
			means.Row(int(l))[j] += v
		}
	}
	for l, n := range counts {
		for j := range x.Cols {
			means.Row(l)[j] /= max(1, n)
		}
	}
	for i, l := range labels {
		sum += distance2(x.Row(i), means.Row(int(l)))
	}
	return sum, nil
}
