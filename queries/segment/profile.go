package segment

import (
	"fmt"
	"math"
	"slices"
)

// Profile is what a segment is like, feature by feature.
type Profile struct {
	Size  int
	Share float64 // of all customers

	// Typical are the raw values of the segment's centre, and Lean how many standard deviations of
	// all customers its mean lies from theirs, by the features that were kept.
	Typical, Lean []float64
}

// Profiles describes the segments of a partition of prepared customers.
func Profiles(p *Preparation, x Matrix, of *Partition) ([]Profile, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	if x.Cols != len(p.Kept()) || x.Cols != of.Centres.Cols || len(of.Labels) != x.Rows {
		return nil, fmt.Errorf("segment: %d customers of %d features, a partition of %d and %d, a preparation of %d features",
			x.Rows, x.Cols, len(of.Labels), of.Centres.Cols, len(p.Kept()))
	}
	mean, variance := x.moments()
	out := make([]Profile, of.Centres.Rows)
	for s := range out {
		centre := of.Centres.Row(s)
		lean := make([]float64, x.Cols)
		for j, v := range centre {
			if variance[j] > 0 {
				lean[j] = (v - mean[j]) / math.Sqrt(variance[j])
			}
		}
		out[s] = Profile{
			Size: of.Sizes[s], Share: float64(of.Sizes[s]) / float64(x.Rows), Typical: p.Restore(centre), Lean: lean,
		}
	}
	return out, nil
}

// PSI is the population stability index of shares against those expected: the sum of
// (a−e)·ln(a/e) (Siddiqi, Credit Risk Scorecards, 2006). Below 0.1 little has changed, above 0.25
// much. A share of nothing counts as 0.0001.
func PSI(expected, actual []float64) (float64, error) {
	if len(expected) != len(actual) || len(actual) == 0 {
		return 0, fmt.Errorf("segment: shares of %d and of %d parts can't be compared", len(expected), len(actual))
	}
	sum := 0.0
	for i, e := range expected {
		a := actual[i]
		if !(e >= 0 && e <= 1+1e-6 && a >= 0 && a <= 1+1e-6) {
			return 0, fmt.Errorf("segment: a share outside 0 to 1")
		}
		a, e = max(a, 1e-4), max(e, 1e-4)
		sum += (a - e) * math.Log(a/e)
	}
	return sum, nil
}

// Grid is the classic alternative to clusters: customers ranked by each of some columns and cut
// into that many equal parts, a label for each combination that occurs, numbered from 0.
// Customers of equal value fall into the same part.
func Grid(x Matrix, columns []int, parts int) ([]int32, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	if parts < 2 || len(columns) == 0 {
		return nil, fmt.Errorf("segment: a grid of %d parts of %d features", parts, len(columns))
	}
	cells := make([]int32, x.Rows)
	values := make([]float64, x.Rows)
	for _, j := range columns {
		if j < 0 || j >= x.Cols {
			return nil, fmt.Errorf("segment: column %d of %d", j, x.Cols)
		}
		for i := range x.Rows {
			values[i] = x.Data[i*x.Cols+j]
		}
		sorted := slices.Sorted(slices.Values(values))
		edges := make([]float64, parts-1)
		for e := range edges {
			edges[e] = quantile(sorted, float64(e+1)/float64(parts))
		}
		for i, v := range values {
			at, _ := slices.BinarySearch(edges, v)
			cells[i] = cells[i]*int32(parts) + int32(at)
		}
		// Numbers stay small however many columns there are.
		number := map[int32]int32{}
		for i, cell := range cells {
			n, met := number[cell]
			if !met {
				n = int32(len(number))
				number[cell] = n
			}
			cells[i] = n
		}
	}
	return cells, nil
}
