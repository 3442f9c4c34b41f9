package segment

import (
	"fmt"
	"math"
)

// contingency counts how often each label of one division meets each of another.
type contingency struct {
	rows       int
	left       map[int32]int
	right      map[int32]int
	both       map[[2]int32]int
	leftOrder  []int32
	rightOrder []int32
	pairs      [][2]int32
}

// tabulate counts in the order of first appearance, so that sums do not depend on the map.
func tabulate(a, b []int32) (*contingency, error) {
	if len(a) != len(b) {
		return nil, fmt.Errorf("segment: divisions of %d and of %d rows can't be compared", len(a), len(b))
	}
	if len(a) == 0 {
		return nil, &TooFewError{"customers", 0, 1}
	}
	t := &contingency{rows: len(a), left: map[int32]int{}, right: map[int32]int{}, both: map[[2]int32]int{}}
	for i := range a {
		pair := [2]int32{a[i], b[i]}
		if t.left[a[i]]++; t.left[a[i]] == 1 {
			t.leftOrder = append(t.leftOrder, a[i])
		}
		if t.right[b[i]]++; t.right[b[i]] == 1 {
			t.rightOrder = append(t.rightOrder, b[i])
		}
		if t.both[pair]++; t.both[pair] == 1 {
			t.pairs = append(t.pairs, pair)
		}
	}
	return t, nil
}

// AdjustedRand is the adjusted Rand index of two divisions of the same rows (Hubert and Arabie,
// Comparing partitions, J. Classification 2, 1985, equation 5): 1 if they are the same but for
// the numbers of the labels, about 0 for divisions made by chance.
func AdjustedRand(a, b []int32) (float64, error) {
	t, err := tabulate(a, b)
	if err != nil {
		return 0, err
	}
	pairs := func(n int) float64 { return float64(n) * float64(n-1) / 2 }
	var both, left, right float64
	for _, p := range t.pairs {
		both += pairs(t.both[p])
	}
	for _, l := range t.leftOrder {
		left += pairs(t.left[l])
	}
	for _, r := range t.rightOrder {
		right += pairs(t.right[r])
	}
	all := pairs(t.rows)
	if all == 0 {
		return 1, nil
	}
	expected, most := left*right/all, (left+right)/2
	if most == expected { // both divisions are trivial, and the same
		return 1, nil
	}
	return (both - expected) / (most - expected), nil
}

// MutualInformation is the mutual information of two divisions of the same rows, normalised by
// the mean of their entropies: 0 to 1.
func MutualInformation(a, b []int32) (float64, error) {
	t, err := tabulate(a, b)
	if err != nil {
		return 0, err
	}
	n := float64(t.rows)
	entropy := func(order []int32, counts map[int32]int) float64 {
		h := 0.0
		for _, l := range order {
			p := float64(counts[l]) / n
			h -= p * math.Log(p)
		}
		return h
	}
	left, right := entropy(t.leftOrder, t.left), entropy(t.rightOrder, t.right)
	if left == 0 && right == 0 {
		return 1, nil
	}
	shared := 0.0
	for _, p := range t.pairs {
		c := float64(t.both[p])
		shared += c / n * math.Log(c*n/(float64(t.left[p[0]])*float64(t.right[p[1]])))
	}
	return min(1, max(0, shared/((left+right)/2))), nil
}

// CentroidIndex counts the clusters that two sets of centres do not share (Fränti, Rezaei and
// Zhao, Centroid index: cluster level similarity measure, Pattern Recognition 47, 2014): 0 if
// each centre of either set is nearest to some centre of the other.
func CentroidIndex(a, b Matrix) (int, error) {
	for _, m := range []Matrix{a, b} {
		if err := m.check(); err != nil {
			return 0, err
		}
	}
	if a.Cols != b.Cols {
		return 0, fmt.Errorf("segment: centres of %d and of %d features can't be compared", a.Cols, b.Cols)
	}
	orphans := func(from, to Matrix) int {
		met := make([]bool, to.Rows)
		left := to.Rows
		for i := range from.Rows {
			near, _, _, _ := nearestTwo(from.Row(i), to.Data, to.Rows)
			if !met[near] {
				met[near] = true
				left--
			}
		}
		return left
	}
	return max(orphans(a, b), orphans(b, a)), nil
}
