package anomaly

import "slices"

// ecdf is the empirical distribution of n numbers: at each of its values how many are below it
// and how many are not above it. All distinct values are kept, or those that tell most.
type ecdf struct {
	n      int
	values []float64 // ascending, each once
	below  []int32   // how many of n are below the value
	upto   []int32   // how many of n are not above it
}

// newECDF takes the numbers, which it sorts in place, and keeps at most keep distinct ones, or
// all if keep is 0.
func newECDF(numbers []float64, keep int) ecdf {
	slices.Sort(numbers)
	e := ecdf{n: len(numbers)}
	for lo := 0; lo < len(numbers); {
		hi := lo + 1
		for hi < len(numbers) && numbers[hi] == numbers[lo] {
			hi++
		}
		e.values = append(e.values, numbers[lo])
		e.below = append(e.below, int32(lo))
		e.upto = append(e.upto, int32(hi))
		lo = hi
	}
	if keep > 0 && len(e.values) > keep {
		e = e.thin(keep)
	}
	return e
}

// thin keeps a quarter of the places for the lowest values, a quarter for the highest, because
// tails are what the distribution is asked about, and spreads the rest evenly by rank.
func (e ecdf) thin(keep int) ecdf {
	tail := max(keep/4, 1)
	t := ecdf{n: e.n, values: make([]float64, 0, keep), below: make([]int32, 0, keep), upto: make([]int32, 0, keep)}
	take := func(i int) {
		t.values = append(t.values, e.values[i])
		t.below = append(t.below, e.below[i])
		t.upto = append(t.upto, e.upto[i])
	}
	for i := range tail {
		take(i)
	}
	last := len(e.values) - tail
	from, to := float64(e.below[tail]), float64(e.below[last])
	middle := keep - 2*tail
	for i, k := tail, 0; i < last && k < middle; i++ {
		if float64(e.upto[i]) <= from+(to-from)*float64(k)/float64(middle) {
			continue
		}
		take(i)
		for k < middle && float64(e.upto[i]) > from+(to-from)*float64(k)/float64(middle) {
			k++
		}
	}
	for i := last; i < len(e.values); i++ {
		take(i)
	}
	return t
}

// counts says how many of the numbers are below x and how many are not above it. Between two
// kept values that others lay between it interpolates.
func (e *ecdf) counts(x float64) (below, upto float64) {
	numbers, places := [1]float64{x}, [1]int32{}
	e.locate(places[:], numbers[:])
	return e.at(places[0], x)
}

// locate finds, for each number, the last kept value that is not above it, or the first of all.
// The binary searches take their steps together, so that none waits for the loads of another, and
// without jumps.
func (e *ecdf) locate(places []int32, numbers []float64) {
	clear(places)
	places = places[:len(numbers)]
	for length := int32(len(e.values)); length > 1; {
		half := length / 2
		for i, x := range numbers {
			place := places[i]
			next := place + half
			if e.values[next] <= x {
				place = next
			}
			places[i] = place
		}
		length -= half
	}
}

// at is the counts of x, which locate found at place.
func (e *ecdf) at(place int32, x float64) (below, upto float64) {
	v := e.values[place]
	switch {
	case x < v: // Only below the lowest.
		return 0, 0
	case x == v:
		return float64(e.below[place]), float64(e.upto[place])
	case int(place)+1 == len(e.values):
		return float64(e.n), float64(e.n)
	}
	low, high := float64(e.upto[place]), float64(e.below[place+1])
	if low < high {
		low += (high - low) * share(v, e.values[place+1], x)
	}
	return low, low
}

// share is how far x lies from low to high. The halves are for differences beyond what a float64
// holds.
func share(low, high, x float64) float64 { return (x/2 - low/2) / (high/2 - low/2) }

// sound says whether a distribution that was read is one.
func (e *ecdf) sound() bool {
	if len(e.values) == 0 || len(e.below) != len(e.values) || len(e.upto) != len(e.values) {
		return false
	}
	before := int32(0)
	for i, v := range e.values {
		if i > 0 && v <= e.values[i-1] || e.below[i] < before || e.upto[i] <= e.below[i] {
			return false
		}
		before = e.upto[i]
	}
	return e.below[0] == 0 && int(before) == e.n
}
