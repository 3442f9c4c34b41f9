package anomaly

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// Isotonic turns scores into probabilities by the monotone step function that fits the labels
// best in squared error, found by pooling adjacent violators (Ayer and others, Annals of
// Mathematical Statistics 26(4), 1955; for probabilities: Zadrozny and Elkan, KDD 2002). Between
// the pools it interpolates. It needs some hundred labelled rows; with fewer, use [Platt].
type Isotonic struct {
	scores        []float64 // ascending
	probabilities []float64 // not falling
}

// FitIsotonic fits to rows whose labels are known, some of each.
func FitIsotonic(scores []float64, labels []bool) (*Isotonic, error) {
	groups, hits, err := ranked("isotonic calibration", scores, labels)
	if err != nil {
		return nil, err
	}
	if err := needBoth("isotonic calibration", hits, len(labels)); err != nil {
		return nil, err
	}
	slices.Reverse(groups)
	type pool struct {
		low, high   float64
		hits, total int
	}
	var pools []pool
	for _, g := range groups {
		pools = append(pools, pool{g.score, g.score, g.hits, g.total})
		for n := len(pools); n > 1; n-- {
			a, b := &pools[n-2], pools[n-1]
			if a.hits*b.total < b.hits*a.total {
				break
			}
			a.high, a.hits, a.total = b.high, a.hits+b.hits, a.total+b.total
			pools = pools[:n-1]
		}
	}
	c := &Isotonic{}
	for _, p := range pools {
		probability := float64(p.hits) / float64(p.total)
		c.scores, c.probabilities = append(c.scores, p.low), append(c.probabilities, probability)
		if p.high > p.low {
			c.scores, c.probabilities = append(c.scores, p.high), append(c.probabilities, probability)
		}
	}
	return c, nil
}

// Probability is that of a row of score s being labelled. Beyond the scores that were fitted to
// it is that of the nearest. The score must be finite.
func (c *Isotonic) Probability(s float64) float64 {
	i := sort.SearchFloat64s(c.scores, s)
	switch {
	case i == 0:
		return c.probabilities[0]
	case i == len(c.scores):
		return c.probabilities[i-1]
	}
	low, high := c.probabilities[i-1], c.probabilities[i]
	return low + (high-low)*share(c.scores[i-1], c.scores[i], s)
}

// Platt turns scores into probabilities by a logistic curve (Platt: Probabilistic outputs for
// support vector machines, 1999), fitted with Newton's method as in Lin, Lin and Weng (A note on
// Platt's probabilistic outputs, Machine Learning 68, 2007), whose targets allow for few labels.
type Platt struct {
	// Slope and Offset are of the curve 1 / (1 + exp(-(Slope (score - Center) / Scale + Offset))).
	Slope, Offset float64
	// Center and Scale are the mean and deviation of the scores that were fitted to.
	Center, Scale float64
}

// FitPlatt fits to rows whose labels are known, some of each.
func FitPlatt(scores []float64, labels []bool) (*Platt, error) {
	if err := checkLabelled("platt calibration", scores, labels); err != nil {
		return nil, err
	}
	var hits float64
	for _, l := range labels {
		hits += number(l)
	}
	if err := needBoth("platt calibration", int(hits), len(labels)); err != nil {
		return nil, err
	}
	n := float64(len(scores))
	high, low := (hits+1)/(hits+2), 1/(n-hits+2)
	p := &Platt{Offset: math.Log((hits + 1) / (n - hits + 1))}
	p.standardize(scores)
	loss := p.loss(scores, labels, high, low)
	for range 100 {
		// Gradient and Hessian in slope a and offset b; the ridge keeps it invertible.
		const ridge = 1e-12
		var ga, gb, haa, hab, hbb float64
		for i, s := range scores {
			z := p.unit(s)
			q := logistic(p.Slope*z + p.Offset)
			target := low
			if labels[i] {
				target = high
			}
			d, w := q-target, q*(1-q)
			ga, gb = ga+d*z, gb+d
			haa, hab, hbb = haa+w*z*z, hab+w*z, hbb+w
		}
		if math.Abs(ga) < 1e-9*n && math.Abs(gb) < 1e-9*n {
			break
		}
		haa, hbb = haa+ridge*n, hbb+ridge*n
		determinant := haa*hbb - hab*hab
		da, db := -(hbb*ga-hab*gb)/determinant, -(haa*gb-hab*ga)/determinant
		if !p.step(scores, labels, high, low, &loss, da, db, ga*da+gb*db) {
			break
		}
	}
	return p, nil
}

// step goes along a direction as far as the loss falls enough (Armijo's rule), or not at all.
func (p *Platt) step(scores []float64, labels []bool, high, low float64, loss *float64, da, db, slope float64) bool {
	for length := 1.0; length > 1e-10; length /= 2 {
		next := *p
		next.Slope += length * da
		next.Offset += length * db
		if l := next.loss(scores, labels, high, low); l < *loss+1e-4*length*slope {
			*p, *loss = next, l
			return true
		}
	}
	return false
}

// standardize notes the mean and deviation of the scores, in which the slope is a moderate
// number whatever the scores are.
func (p *Platt) standardize(scores []float64) {
	n := float64(len(scores))
	for _, s := range scores {
		p.Center += s / n
	}
	var far float64
	for _, s := range scores {
		far = max(far, math.Abs(s/2-p.Center/2))
	}
	if far == 0 {
		p.Scale = 1
		return
	}
	var squares float64
	for _, s := range scores {
		d := (s/2 - p.Center/2) / far
		squares += d * d / n
	}
	p.Scale = min(far*math.Sqrt(squares)*2, math.MaxFloat64)
}

// unit is the score in deviations from the mean.
func (p *Platt) unit(s float64) float64 {
	u := (s/2 - p.Center/2) / p.Scale * 2
	return min(max(u, -math.MaxFloat64), math.MaxFloat64)
}

// loss is the cross-entropy of the targets.
func (p *Platt) loss(scores []float64, labels []bool, high, low float64) float64 {
	var sum float64
	for i, s := range scores {
		f := p.Slope*p.unit(s) + p.Offset
		target := low
		if labels[i] {
			target = high
		}
		// ln(1+exp(f)) - target f, without overflow.
		sum += max(f, 0) + math.Log1p(math.Exp(-math.Abs(f))) - target*f
	}
	return sum
}

func logistic(f float64) float64 {
	if f >= 0 {
		return 1 / (1 + math.Exp(-f))
	}
	e := math.Exp(f)
	return e / (1 + e)
}

// Probability is that of a row of score s being labelled. The score must be finite.
func (p *Platt) Probability(s float64) float64 {
	f := p.Slope*p.unit(s) + p.Offset
	return logistic(min(max(f, -700), 700))
}

// Threshold is the lowest score at which alerts on every score that is not below it are no more
// than budget, the most that may be looked at. Rows of equal score are alerted on together or not
// at all; if the first of them are too many already, the threshold is just above every score.
func Threshold(scores []float64, budget int) (float64, error) {
	if len(scores) == 0 {
		return 0, fmt.Errorf("threshold: %w: no scores, at least 1 is needed", ErrTooFew)
	}
	if budget < 0 {
		return 0, fmt.Errorf("threshold: budget of %d alerts, at least 0 is needed", budget)
	}
	if i := notFinite(scores); i >= 0 {
		return 0, fmt.Errorf("threshold: score %d: %w", i, ErrValue)
	}
	sorted := slices.Clone(scores)
	slices.Sort(sorted)
	cut := len(sorted) - budget
	if cut <= 0 {
		return sorted[0], nil
	}
	// What is just below the budget must stay out, and all its equals with it.
	out := sorted[cut-1]
	for _, s := range sorted[cut:] {
		if s > out {
			return s, nil
		}
	}
	return min(math.Nextafter(out, math.Inf(1)), math.MaxFloat64), nil
}
