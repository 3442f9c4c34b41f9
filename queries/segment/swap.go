package segment

import (
	"context"
	"math"
	"math/rand/v2"
)

// search looks for good centres of a number of rows small enough to go over many times.
type search struct {
	x       Matrix
	k       int
	random  *rand.Rand
	centres []float64
	sse     float64

	label  []int32   // the centre nearest to each row
	d1, d2 []float64 // squares of the distances to it and to the one after it
	lloyd  *lloyd
	trial  []float64 // centres of a swap that is tried
}

func newSearch(x Matrix, k int, r *rand.Rand) *search {
	return &search{
		x: x, k: k, random: r, centres: make([]float64, 0, k*x.Cols),
		label: make([]int32, x.Rows), d1: make([]float64, x.Rows), d2: make([]float64, x.Rows),
		lloyd: newLloyd(x, k), trial: make([]float64, k*x.Cols),
	}
}

// seed draws centres by greedy k-means++ and returns how many there are: fewer than k if there
// are not as many rows that differ.
func (s *search) seed() int {
	trials := 2 + int(math.Log(float64(s.k)))
	first := s.x.Row(s.random.IntN(s.x.Rows))
	s.centres = append(s.centres, first...)
	total := 0.0
	for i := range s.d1 {
		s.d1[i] = distance2(s.x.Row(i), first)
		total += s.d1[i]
	}
	best, next := make([]float64, s.x.Rows), make([]float64, s.x.Rows)
	for found := 1; found < s.k; found++ {
		if total == 0 {
			return found
		}
		least, chosen := math.Inf(1), 0
		for range trials {
			candidate := s.draw(total)
			row, sum := s.x.Row(candidate), 0.0
			for i, d := range s.d1 {
				next[i] = min(d, distance2(s.x.Row(i), row))
				sum += next[i]
			}
			if sum < least {
				least, chosen = sum, candidate
				best, next = next, best
			}
		}
		s.centres = append(s.centres, s.x.Row(chosen)...)
		s.d1, best = best, s.d1
		total = least
	}
	return s.k
}

// draw is a row drawn with probability proportional to d1, whose sum is total.
func (s *search) draw(total float64) int {
	at := s.random.Float64() * total
	last := 0
	for i, d := range s.d1 {
		if d == 0 {
			continue
		}
		if at -= d; at < 0 {
			return i
		}
		last = i
	}
	return last
}

// settleIterations bounds the iterations after the seeding and after the last swap, and
// swapIterations those that show whether a swap was good.
const (
	settleIterations = 100
	swapIterations   = 2
)

// improve brings the centres to rest and swaps them until patience swaps in a row were in vain.
func (s *search) improve(ctx context.Context, patience int) error {
	if err := s.settle(ctx, settleIterations); err != nil {
		return err
	}
	if s.k == 1 {
		return nil
	}
	for failed := 0; failed < patience && s.sse > 0; {
		s.swap()
		old := s.sse
		better, err := s.try(ctx)
		if err != nil {
			return err
		}
		// What a last digit gains is not progress.
		if better && s.sse < old*(1-1e-6) {
			failed = 0
			continue
		}
		failed++
	}
	return s.settle(ctx, settleIterations)
}

// settle runs Lloyd's iteration from the centres.
func (s *search) settle(ctx context.Context, iterations int) error {
	if _, _, err := s.lloyd.run(ctx, s.centres, iterations, 0); err != nil {
		return err
	}
	copy(s.centres, s.lloyd.centres)
	return s.scan(ctx, s.centres)
}

// try settles the trial a little and keeps it if it is better.
func (s *search) try(ctx context.Context) (bool, error) {
	if _, _, err := s.lloyd.run(ctx, s.trial, swapIterations, 0); err != nil {
		return false, err
	}
	sse, err := s.cost(ctx, s.lloyd.centres)
	if err != nil || sse >= s.sse {
		return false, err
	}
	copy(s.centres, s.lloyd.centres)
	return true, s.scan(ctx, s.centres)
}

// scan finds the nearest two centres of each row.
func (s *search) scan(ctx context.Context, centres []float64) error {
	parts := make([]float64, blocksOf(s.x.Rows))
	err := eachBlock(ctx, s.x.Rows, func(b, from, to int) {
		for i := from; i < to; i++ {
			near, d1, _, d2 := nearestTwo(s.x.Row(i), centres, s.k)
			s.label[i], s.d1[i], s.d2[i] = int32(near), d1, d2
			parts[b] += d1
		}
	})
	s.sse = 0
	for _, d := range parts {
		s.sse += d
	}
	return err
}

// cost is the sum of squared distances of the rows to the centres Lloyd's iteration assigned
// them: no less than that to the nearest ones.
func (s *search) cost(ctx context.Context, centres []float64) (float64, error) {
	parts := make([]float64, blocksOf(s.x.Rows))
	cols := s.x.Cols
	err := eachBlock(ctx, s.x.Rows, func(b, from, to int) {
		for i := from; i < to; i++ {
			j := int(s.lloyd.labels[i])
			parts[b] += distance2(s.x.Row(i), centres[j*cols:(j+1)*cols])
		}
	})
	sum := 0.0
	for _, d := range parts {
		sum += d
	}
	return sum, err
}

// swap makes the trial: the centres with one replaced by a row. Of the rows drawn it takes the
// one that, with the centre that is then missed least, leaves the least cost.
func (s *search) swap() {
	const draws = 2
	best, in, out := math.Inf(1), 0, 0
	missed := make([]float64, s.k)
	for range draws {
		candidate := s.draw(s.sse)
		row, gain := s.x.Row(candidate), 0.0
		clear(missed)
		for i, d1 := range s.d1 {
			d := distance2(s.x.Row(i), row)
			if d < d1 {
				gain += d1 - d
			} else {
				missed[s.label[i]] += min(d, s.d2[i]) - d1
			}
		}
		for j, loss := range missed {
			if loss-gain < best {
				best, in, out = loss-gain, candidate, j
			}
		}
	}
	copy(s.trial, s.centres)
	cols := s.x.Cols
	copy(s.trial[out*cols:(out+1)*cols], s.x.Row(in))
}
