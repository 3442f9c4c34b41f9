package segment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
)

// Method is how customers are divided.
type Method string

const (
	ByKMeans  Method = "kmeans"
	ByMixture Method = "mixture" // the likeliest component of a Gaussian mixture
)

// fewestCustomers is how many [Choose] works with at least: divisions of fewer say nothing.
const fewestCustomers = 10

// ChooseConfig says what [Choose] may choose from. Zero fields mean the defaults.
type ChooseConfig struct {
	Least, Most int    // numbers of segments to try; default 2 to 10
	Method      Method // default ByKMeans

	// SmallestShare is the part of the customers that the smallest segment should have: numbers
	// of segments that leave one smaller are passed over if any does not. Default 0: any size.
	SmallestShare float64

	SilhouetteRows int // customers that silhouettes are computed from; default 10,000
	MixtureRows    int // customers that mixtures are fitted to; default 20,000

	KMeans KMeansConfig // its seed is that of every sample too

	// Mixture says what mixtures are like; its KMeans is not used. Here its floor is 0.01 by
	// default, a tenth of a standard deviation of a prepared feature: many features have
	// values that are equal for all of a segment, such as no purchases abroad, and with a lower floor
	// likelihood is above all a count of those.
	Mixture MixtureConfig
}

func (c ChooseConfig) defaults() (ChooseConfig, error) {
	if c.Least < 0 || c.Most < 0 || c.SilhouetteRows < 0 || c.MixtureRows < 0 || !(c.SmallestShare >= 0 && c.SmallestShare < 1) {
		return c, fmt.Errorf("segment: numbers of segments and rows can't be negative, nor the smallest share outside 0 to 1")
	}
	c.Least, c.Method = cmp.Or(c.Least, 2), cmp.Or(c.Method, ByKMeans)
	c.Most = cmp.Or(c.Most, max(10, c.Least))
	c.MixtureRows = cmp.Or(c.MixtureRows, 20_000)
	if c.Least < 2 || c.Most < c.Least {
		return c, fmt.Errorf("segment: %d to %d segments asked for; the least is 2", c.Least, c.Most)
	}
	if c.Method != ByKMeans && c.Method != ByMixture {
		return c, fmt.Errorf("segment: method %q; it is kmeans or mixture", c.Method)
	}
	c.Mixture.Floor = cmp.Or(c.Mixture.Floor, 0.01)
	mixture, err := c.Mixture.defaults()
	c.Mixture = mixture
	return c, err
}

// Candidate is what speaks for a number of segments.
type Candidate struct {
	K          int
	SSE        float64 // of k-means, over all customers
	Silhouette float64 // of k-means; 0 for one segment
	BIC        float64 // of the mixture, over the customers it was fitted to; the less the better
	Smallest   int     // customers of the smallest segment of k-means
}

// Choice is the division that [Choose] chose.
type Choice struct {
	*Partition

	// Mixture has the same number of components as the partition has clusters, in the order of
	// the partition of k-means it began from; with ByMixture that is not the order of Labels.
	Mixture     *Mixture
	Probability []float64 // with ByMixture, how likely each customer's segment is; nil otherwise

	Silhouette float64     // of the division chosen
	Candidates []Candidate // for 1 segment, and for each number tried
}

// closeSilhouettes is how much less than the best silhouette counts as equally good: what a
// sample of 10,000 leaves uncertain.
const closeSilhouettes = 0.03

// Choose divides customers, prepared by [Prepare], into as many segments as suit them: of the
// numbers whose silhouette is the best or within 0.03 of it, the one whose Gaussian mixture has
// the least BIC. It needs at least 10 customers, 5 for each of the fewest segments, and as many
// that differ as there are segments; numbers of segments for which there are too few are left out.
func Choose(ctx context.Context, x Matrix, c ChooseConfig) (*Choice, error) {
	c, err := c.defaults()
	if err != nil {
		return nil, err
	}
	if err := x.check(); err != nil {
		return nil, err
	}
	if need := max(fewestCustomers, 5*c.Least); x.Rows < need {
		return nil, &TooFewError{"customers", x.Rows, need}
	}
	rows := sample(x.Rows, c.MixtureRows, random(c.KMeans.Seed, forMixture))
	part := x.pick(rows)
	var partitions []*Partition
	var mixtures []*Mixture
	var divisions [][]int32
	for k := 1; k <= min(c.Most, x.Rows/5); k++ {
		if k > 1 && k < c.Least {
			continue
		}
		p, err := KMeans(ctx, x, k, c.KMeans)
		var few *TooFewError
		if errors.As(err, &few) && k > c.Least {
			break
		}
		if err != nil {
			return nil, err
		}
		on := &Partition{Centres: p.Centres, Labels: make([]int32, len(rows))}
		for i, row := range rows {
			on.Labels[i] = p.Labels[row]
		}
		m, err := fitFrom(ctx, part, on, c.Mixture)
		if err != nil {
			return nil, err
		}
		partitions, mixtures, divisions = append(partitions, p), append(mixtures, m), append(divisions, p.Labels)
	}
	widths, err := Silhouettes(ctx, x, c.SilhouetteRows, c.KMeans.Seed, divisions...)
	if err != nil {
		return nil, err
	}
	choice := &Choice{Candidates: make([]Candidate, len(partitions))}
	for i, p := range partitions {
		choice.Candidates[i] = Candidate{
			K: p.Centres.Rows, SSE: p.SSE, Silhouette: widths[i], BIC: mixtures[i].BIC, Smallest: p.Sizes[len(p.Sizes)-1],
		}
	}
	best := pick(choice.Candidates, c.SmallestShare*float64(x.Rows))
	choice.Partition, choice.Mixture, choice.Silhouette = partitions[best], mixtures[best], widths[best]
	if c.Method == ByMixture {
		return choice, choice.byMixture(ctx, x, c)
	}
	return choice, nil
}

// pick is the place of the best candidate; the first is one segment, which is no division.
func pick(of []Candidate, smallest float64) int {
	none := true
	for _, c := range of[1:] {
		none = none && float64(c.Smallest) < smallest
	}
	allowed := func(c Candidate) bool { return none || float64(c.Smallest) >= smallest }
	most := math.Inf(-1)
	for _, c := range of[1:] {
		if allowed(c) {
			most = max(most, c.Silhouette)
		}
	}
	best := 0
	for i, c := range of {
		if i > 0 && allowed(c) && c.Silhouette >= most-closeSilhouettes && (best == 0 || c.BIC < of[best].BIC) {
			best = i
		}
	}
	return best
}

// byMixture replaces the partition by that of the likeliest components.
func (c *Choice) byMixture(ctx context.Context, x Matrix, config ChooseConfig) error {
	labels, probability, err := c.Mixture.Predict(ctx, x)
	if err != nil {
		return err
	}
	c.Partition, c.Probability = partitionOf(x, labels, c.Mixture), probability
	widths, err := Silhouettes(ctx, x, config.SilhouetteRows, config.KMeans.Seed, c.Labels)
	if err != nil {
		return err
	}
	c.Silhouette = widths[0]
	return nil
}

// partitionOf is the partition that a mixture's labels make. Components that are nobody's
// likeliest are left out.
func partitionOf(x Matrix, labels []int32, m *Mixture) *Partition {
	k := m.Means.Rows
	sums, counts := NewMatrix(k, x.Cols), make([]int, k)
	for i, l := range labels {
		counts[l]++
		sum := sums.Row(int(l))
		for j, v := range x.Row(i) {
			sum[j] += v
		}
	}
	var kept []int
	number := make([]int32, k)
	for j, n := range counts {
		if n == 0 {
			continue
		}
		number[j] = int32(len(kept))
		kept = append(kept, j)
		for c := range x.Cols {
			sums.Row(j)[c] /= float64(n)
		}
	}
	p := &Partition{Centres: sums.pick(kept), Labels: labels, Iterations: m.Iterations, Converged: m.Converged}
	for i, l := range labels {
		labels[i] = number[l]
		p.SSE += distance2(x.Row(i), p.Centres.Row(int(labels[i])))
	}
	p.sort()
	return p
}
