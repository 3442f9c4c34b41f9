package predict

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Cohort is customers with those of equal history taken together: at the resolution of a day a
// million customers have far fewer distinct histories.
type Cohort struct {
	customers int
	of        []int32 // the group of each customer

	// The groups, by x, then t_x, then T.
	groups []History
	weight []float64 // customers of each group

	// The distinct values of x: what depends on x alone is computed once for each.
	xs      []float64
	xweight []float64

	// The distinct T, rising, with the customers of each.
	ages      []float64
	ageweight []float64

	purchases float64 // sum of x
	repeating int     // customers with x > 0
	time      float64 // sum of T
}

// NewCohort takes customers of equal history together. It does not keep the slice.
func NewCohort(histories []History) (*Cohort, error) {
	if len(histories) == 0 {
		return nil, fmt.Errorf("predict: %w: there are no customers", ErrTooFew)
	}
	order := make([]int32, len(histories))
	for i, h := range histories {
		if err := h.check(); err != nil {
			return nil, fmt.Errorf("predict: customer %d: %w", i, err)
		}
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		x, y := &histories[a], &histories[b]
		return cmp.Or(cmp.Compare(x.X, y.X), cmp.Compare(x.Tx, y.Tx), cmp.Compare(x.T, y.T))
	})
	c := &Cohort{customers: len(histories), of: make([]int32, len(histories))}
	for _, i := range order {
		h := histories[i]
		if n := len(c.groups); n == 0 || c.groups[n-1] != h {
			c.add(h, 0)
		}
		g := len(c.groups) - 1
		c.of[i] = int32(g)
		c.weight[g]++
		c.xweight[len(c.xs)-1]++
		c.purchases += float64(h.X)
		c.time += h.T
		if h.X > 0 {
			c.repeating++
		}
	}
	byAge := map[float64]float64{}
	for g, h := range c.groups {
		byAge[h.T] += c.weight[g]
	}
	c.ages = slices.Sorted(maps.Keys(byAge))
	for _, t := range c.ages {
		c.ageweight = append(c.ageweight, byAge[t])
	}
	return c, nil
}

// Customers is the number of customers.
func (c *Cohort) Customers() int { return c.customers }

// Groups is the number of distinct histories.
func (c *Cohort) Groups() int { return len(c.groups) }

// History is that of customer i.
func (c *Cohort) History(i int) History { return c.groups[c.of[i]] }

// LogLikelihood is the sum of a model's over all customers.
func (c *Cohort) LogLikelihood(m Model) float64 {
	parts := make([]float64, (len(c.groups)+chunk-1)/chunk)
	inChunks(len(c.groups), func(at, from, to int) {
		for g := from; g < to; g++ {
			parts[at] += c.weight[g] * m.LogLikelihood(c.groups[g])
		}
	})
	sum := 0.0
	for _, p := range parts {
		sum += p
	}
	return sum
}

// Thin is a cohort of at most n groups that stands for this one: neighbours in the groups' order
// are taken for the one in their middle. It is for finding parameters cheaply, as where
// [FitParetoNBD] takes long; customers of it cannot be scored.
func (c *Cohort) Thin(n int) *Cohort {
	step := (len(c.groups) + n - 1) / n
	if step <= 1 {
		return c
	}
	t := &Cohort{customers: c.customers, purchases: c.purchases, repeating: c.repeating, time: c.time, ages: c.ages, ageweight: c.ageweight}
	for from := 0; from < len(c.groups); from += step {
		to := min(from+step, len(c.groups))
		w := 0.0
		for _, v := range c.weight[from:to] {
			w += v
		}
		t.add(c.groups[(from+to)/2], w)
	}
	return t
}

// add appends a group, whose x is at least that of the last one.
func (c *Cohort) add(h History, weight float64) {
	x := float64(h.X)
	if n := len(c.xs); n == 0 || c.xs[n-1] != x {
		c.xs = append(c.xs, x)
		c.xweight = append(c.xweight, 0)
	}
	c.groups = append(c.groups, h)
	c.weight = append(c.weight, weight)
	c.xweight[len(c.xs)-1] += weight
}

// Scores are what a model says of each customer of a cohort, by the customers' order.
type Scores struct {
	Alive    []float64   // probability
	Expected [][]float64 // by horizon: expected purchases within it
}

// Score applies a model to every customer of a cohort. Horizons are in the cohort's unit of time.
func Score(m Model, c *Cohort, horizons []float64) (Scores, error) {
	for _, t := range horizons {
		if !finite(t) || t < 0 {
			return Scores{}, fmt.Errorf("predict: a horizon is %g, want a finite time of at least 0", t)
		}
	}
	width := 1 + len(horizons)
	table := make([]float64, len(c.groups)*width)
	inChunks(len(c.groups), func(_, from, to int) {
		for g := from; g < to; g++ {
			row := table[g*width : (g+1)*width]
			row[0] = m.Alive(c.groups[g])
			for i, t := range horizons {
				row[1+i] = m.Expected(c.groups[g], t)
			}
		}
	})
	s := Scores{Alive: make([]float64, c.customers), Expected: make([][]float64, len(horizons))}
	for i := range s.Expected {
		s.Expected[i] = make([]float64, c.customers)
	}
	for i, g := range c.of {
		row := table[int(g)*width:][:width]
		s.Alive[i] = row[0]
		for j := range s.Expected {
			s.Expected[j][i] = row[1+j]
		}
	}
	return s, nil
}

// Cumulative is the number of purchases after the first that the model expects of the whole
// cohort up to a time u after the end of the observation; a negative u lies before it. At every
// u it counts the customers who had made their first purchase: the line of the papers' tracking
// plots (Fader, Hardie and Lee 2005, Figure 2).
func Cumulative(m Model, c *Cohort, u float64) float64 {
	sum := 0.0
	for i, t := range c.ages {
		sum += c.ageweight[i] * m.Mean(t+u)
	}
	return sum
}

// chunk is how many items a worker takes at a time. It is fixed, and the results of chunks are
// put together in their order, so that the number of workers does not show in a sum.
const chunk = 2048

// inChunks calls f for every chunk of n items, on all processors.
func inChunks(n int, f func(chunk, from, to int)) {
	chunks := (n + chunk - 1) / chunk
	workers := min(runtime.GOMAXPROCS(0), chunks)
	if workers <= 1 {
		for i := range chunks {
			f(i, i*chunk, min(n, (i+1)*chunk))
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < chunks; i = int(next.Add(1)) - 1 {
				f(i, i*chunk, min(n, (i+1)*chunk))
			}
		})
	}
	wg.Wait()
}
