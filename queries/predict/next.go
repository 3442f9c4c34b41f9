package predict

import "fmt"

// Next is a model of a customer's next purchase: of which category it is and when it comes. Both
// are sequences to it, of categories and of classes of gaps between purchases, and the next
// symbol of each is predicted by a mixture of what the customer did, lately, always and after the
// last symbol, and of what all customers do, after that symbol, after that hour of the week and
// with the same habit.
type Next struct {
	categories, gaps chain
}

// leastRepeats is how many purchases after a customer's first there must be to learn from.
const leastRepeats = 50

// FitNext learns a model from all purchases.
func FitNext(v Visits, categories int) (*Next, error) {
	if err := v.check(categories); err != nil {
		return nil, err
	}
	if err := v.enough(); err != nil {
		return nil, err
	}
	at := v.quantiles(.75, 1)
	return fitNext(&v, categories, at[0], at[1]), nil
}

func (v Visits) enough() error {
	n := 0
	for i := range v.customers() {
		n += max(0, int(v.Start[i+1]-v.Start[i])-1)
	}
	if n < leastRepeats {
		return fmt.Errorf("predict: next: %w: customers purchased again %d times, at least %d are needed", ErrTooFew, n, leastRepeats)
	}
	return nil
}

func newNext(categories int) *Next {
	return &Next{categories: chain{of: category, size: categories}, gaps: chain{of: gap, gaps: true, size: gaps}}
}

func fitNext(v *Visits, categories int, heldOut, before int64) *Next {
	n := newNext(categories)
	n.categories.fit(v, heldOut, before)
	n.gaps.fit(v, heldOut, before)
	return n
}

// Forecast is what is expected of a customer's next purchase.
type Forecast struct {
	// Category has the three most probable categories, the most probable first. Where there are
	// only two categories, the third has probability 0.
	Category    [3]uint16
	Probability [3]float32
	// The time from the last purchase to the next, in seconds: with a chance of one half it is at
	// most Median, with one tenth at most Early, with nine tenths at most Late. A customer
	// without a purchase has that of all customers.
	Early, Median, Late float64
}

// Forecast predicts the next purchase of every customer, none of whom purchased between the
// last one of v and asOf, in seconds since 1970-01-01 00:00 UTC.
func (n *Next) Forecast(v Visits, asOf int64) ([]Forecast, error) {
	if err := v.check(n.categories.size); err != nil {
		return nil, err
	}
	out := make([]Forecast, v.customers())
	inChunks(len(out), func(_, from, to int) {
		c, g := n.categories.memory(), n.gaps.memory()
		pc, pg := make([]float32, n.categories.size), make([]float32, gaps)
		for i := from; i < to; i++ {
			c.forget(v.zone(i))
			g.forget(v.zone(i))
			first := v.Start[i]
			for j := first; j < v.Start[i+1]; j++ {
				c.observe(v.Category[j], v.Time[j])
				g.observe(gap(&v, first, j), v.Time[j])
			}
			elapsed := 0.0
			if end := v.Start[i+1]; end > first {
				elapsed = max(0, float64(asOf-v.Time[end-1]))
			}
			n.categories.mix(c, &n.categories.weights[seen(c.n)], pc)
			n.gaps.mix(g, &n.gaps.weights[seen(g.n)], pg)
			f := &out[i]
			f.Category, f.Probability = topThree(pc)
			f.Early, f.Median, f.Late = gapQuantiles(pg, elapsed)
		}
	})
	return out, nil
}

// topThree are the most probable symbols; of equal ones the lower comes first.
func topThree(p []float32) (s [3]uint16, q [3]float32) {
	for i, x := range p {
		for k := range q {
			if x > q[k] {
				copy(s[k+1:], s[k:2])
				copy(q[k+1:], q[k:2])
				s[k], q[k] = uint16(i), x
				break
			}
		}
	}
	return s, q
}

// gapQuantiles are the tenth, the half and the nine tenths of the distribution of a gap that is
// longer than elapsed. Within a class gaps are spread evenly.
func gapQuantiles(p []float32, elapsed float64) (early, median, late float64) {
	// What is left of each class after elapsed.
	var left [gaps]float64
	total := 0.0
	for c := range left {
		lo, hi := gapEdges[c], gapEdges[c+1]
		share := 1.0
		if elapsed > lo {
			share = max(0, (hi-elapsed)/(hi-lo))
		}
		left[c] = float64(p[c]) * share
		total += left[c]
	}
	if total <= 1e-12 { // longer than any gap: it will take as long again
		return elapsed, 2 * elapsed, 4 * elapsed
	}
	at := func(q float64) float64 {
		sum := 0.0
		for c, l := range left {
			if sum+l >= q*total && l > 0 {
				lo, hi := max(elapsed, gapEdges[c]), gapEdges[c+1]
				return lo + (hi-lo)*(q*total-sum)/l
			}
			sum += l
		}
		return max(elapsed, gapEdges[gaps])
	}
	return at(.1), at(.5), at(.9)
}
