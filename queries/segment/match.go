package segment

import (
	"fmt"
	"math"
)

// Known is a segment of an earlier run.
type Known struct {
	Centre []float64 // prepared as the present customers are; nil if that is not known
	Size   int       // its customers
}

// Kept is what a segment was.
type Kept struct {
	Old   int     // the earlier segment's place in what [Match] was given, -1 if none is like it
	Alike float64 // 0 to 1, how like the earlier segment it is
	Shift float64 // distance of the centre to the earlier one's
}

// alikeEnough is how like an earlier segment must be to be the same: a segment's larger half is
// (half of the members, a centre not far off), a stranger that stands near is not.
const alikeEnough = 0.35

// Match says which earlier segment each segment is, so that ids and names stay from run to
// run. Segments are alike by their centres, and by their members where some of the present
// customers were there before: the mean of
//   - 1 − d/D, not below 0, where d is the distance of the centres and D the mean distance of
//     the present centres to one another or, if greater, of the earlier ones (for single segments, the
//     root of the number of features), and
//   - the Jaccard index of the members that both runs have.
//
// Pairs are made so that all are as alike as can be together (Hungarian method), and pairs that are not
// alike enough are undone: such a segment is born, as is the smaller part of one that split.
// Earlier segments that nobody is are retired: their places are returned. Segments of known
// without a centre count by their members alone.
//
// was is the place in known of each present customer's earlier segment, -1 for none, or nil.
func Match(now *Partition, known []Known, was []int32) (kept []Kept, retired []int, err error) {
	k := now.Centres.Rows
	if was != nil && len(was) != len(now.Labels) {
		return nil, nil, fmt.Errorf("segment: earlier segments of %d customers, there are %d", len(was), len(now.Labels))
	}
	for o, of := range known {
		if of.Centre != nil && len(of.Centre) != now.Centres.Cols {
			return nil, nil, fmt.Errorf("segment: earlier segment %d has %d features, there are %d", o, len(of.Centre), now.Centres.Cols)
		}
	}
	both, here, there, returned := make([]int, k*len(known)), make([]int, k), make([]int, len(known)), 0
	for i, w := range was {
		if w < 0 {
			continue
		}
		if int(w) >= len(known) {
			return nil, nil, fmt.Errorf("segment: a customer of earlier segment %d, there are %d", w, len(known))
		}
		both[int(now.Labels[i])*len(known)+int(w)]++
		here[now.Labels[i]]++
		there[w]++
		returned++
	}
	earlier := Matrix{Cols: now.Centres.Cols}
	for _, o := range known {
		if o.Centre != nil {
			earlier.Rows++
			earlier.Data = append(earlier.Data, o.Centre...)
		}
	}
	reach := max(spacing(now.Centres), spacing(earlier))
	if reach == 0 {
		reach = math.Sqrt(float64(now.Centres.Cols))
	}
	shift := func(n, o int) float64 {
		return math.Sqrt(distance2(now.Centres.Row(n), known[o].Centre))
	}
	alike := func(n, o int) float64 {
		near := 0.0
		if known[o].Centre != nil {
			near = max(0, 1-shift(n, o)/reach)
		}
		if returned == 0 {
			return near
		}
		shared := both[n*len(known)+o]
		members := 0.0
		if union := here[n] + there[o] - shared; union > 0 {
			members = float64(shared) / float64(union)
		}
		if known[o].Centre == nil {
			return members
		}
		return (near + members) / 2
	}
	met := make([]bool, len(known))
	kept = make([]Kept, k)
	pairs := assignment(k, len(known), func(n, o int) float64 { return 1 - alike(n, o) })
	for n, o := range pairs {
		if o >= 0 && alike(n, o) >= alikeEnough {
			met[o] = true
			kept[n] = Kept{Old: o, Alike: alike(n, o)}
			if known[o].Centre != nil {
				kept[n].Shift = shift(n, o)
			}
			continue
		}
		kept[n] = Kept{Old: -1}
	}
	for o := range known {
		if !met[o] {
			retired = append(retired, o)
		}
	}
	return kept, retired, nil
}

// spacing is the mean distance of centres to one another, 0 for fewer than two.
func spacing(centres Matrix) float64 {
	sum, pairs := 0.0, 0.0
	for a := range centres.Rows {
		for b := range a {
			sum += math.Sqrt(distance2(centres.Row(a), centres.Row(b)))
			pairs++
		}
	}
	return sum / max(1, pairs)
}
