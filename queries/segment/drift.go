package segment

import (
	"context"
	"fmt"
	"math"
)

// Drift is what changed since an earlier run.
type Drift struct {
	Returned  int     // customers that both runs have
	Moved     int     // those of them whose segment is another now
	Joined    int     // customers that the earlier run did not have
	Agreement float64 // adjusted Rand index over those that returned; 1 if none did
	PSI       float64 // of the segments' shares of customers
	Segments  []SegmentDrift
}

// SegmentDrift is what changed in a segment.
type SegmentDrift struct {
	Share, Before float64 // part of the customers now, and in the earlier run; 0 if it is new
	Came, Left    int     // customers that returned and came from another segment; that went to another
}

// Measure compares a run with the earlier one that [Match] was given.
func Measure(now *Partition, known []Known, was []int32, kept []Kept) (*Drift, error) {
	if len(was) != len(now.Labels) || len(kept) != now.Centres.Rows {
		return nil, fmt.Errorf("segment: earlier segments of %d customers and %d segments; there are %d and %d",
			len(was), len(kept), len(now.Labels), now.Centres.Rows)
	}
	d := &Drift{Agreement: 1, Segments: make([]SegmentDrift, len(kept))}
	place := make([]int, len(known)) // of the earlier segment among the present ones
	for o := range place {
		place[o] = -1
	}
	for n, k := range kept {
		if k.Old >= len(known) {
			return nil, fmt.Errorf("segment: earlier segment %d, there are %d", k.Old, len(known))
		}
		if k.Old >= 0 {
			place[k.Old] = n
		}
	}
	var before, after []int32
	for i, w := range was {
		n := now.Labels[i]
		if w < 0 {
			d.Joined++
			continue
		}
		if int(w) >= len(known) {
			return nil, fmt.Errorf("segment: a customer of earlier segment %d, there are %d", w, len(known))
		}
		before, after = append(before, w), append(after, n)
		if place[w] == int(n) {
			continue
		}
		d.Moved++
		d.Segments[n].Came++
		if place[w] >= 0 {
			d.Segments[place[w]].Left++
		}
	}
	d.Returned = len(before)
	if d.Returned > 0 {
		agreement, err := AdjustedRand(before, after)
		if err != nil {
			return nil, err
		}
		d.Agreement = agreement
	}
	total := 0
	for _, o := range known {
		total += o.Size
	}
	var expected, actual []float64
	for n, k := range kept {
		s := &d.Segments[n]
		s.Share = float64(now.Sizes[n]) / float64(len(now.Labels))
		if k.Old >= 0 && total > 0 {
			s.Before = float64(known[k.Old].Size) / float64(total)
		}
		expected, actual = append(expected, s.Before), append(actual, s.Share)
	}
	if total == 0 {
		return d, nil
	}
	for o, k := range known {
		if place[o] < 0 {
			expected, actual = append(expected, float64(k.Size)/float64(total)), append(actual, 0)
		}
	}
	psi, err := PSI(expected, actual)
	d.PSI = psi
	return d, err
}

// Distances is how far each customer is from the centre of its segment, in prepared features.
func Distances(x Matrix, of *Partition) ([]float64, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	if x.Cols != of.Centres.Cols || x.Rows != len(of.Labels) {
		return nil, fmt.Errorf("segment: %d customers of %d features, a partition of %d and %d", x.Rows, x.Cols, len(of.Labels), of.Centres.Cols)
	}
	out := make([]float64, x.Rows)
	for i, l := range of.Labels {
		out[i] = math.Sqrt(distance2(x.Row(i), of.Centres.Row(int(l))))
	}
	return out, nil
}

// Memberships is how surely each customer belongs to its segment, 0 to 1: the membership of
// fuzzy c-means with exponent 2 (Bezdek, Pattern Recognition with Fuzzy Objective Function
// Algorithms, 1981, theorem 11.1), which is 1 at the segment's centre and one k-th where all k
// centres are as far.
func Memberships(ctx context.Context, x Matrix, of *Partition) ([]float64, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	if x.Cols != of.Centres.Cols || x.Rows != len(of.Labels) {
		return nil, fmt.Errorf("segment: %d customers of %d features, a partition of %d and %d", x.Rows, x.Cols, len(of.Labels), of.Centres.Cols)
	}
	out := make([]float64, x.Rows)
	err := eachBlock(ctx, x.Rows, func(_, from, to int) {
		for i := from; i < to; i++ {
			row, own := x.Row(i), distance2(x.Row(i), of.Centres.Row(int(of.Labels[i])))
			sum := 0.0
			for j := range of.Centres.Rows {
				if d := distance2(row, of.Centres.Row(j)); d > 0 {
					sum += own / d
				} else if own > 0 {
					sum = math.Inf(1)
				}
			}
			out[i] = 1
			if own > 0 {
				out[i] = 1 / sum
			}
		}
	})
	return out, err
}
