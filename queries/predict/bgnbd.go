package predict

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mathext"
)

// BGNBD is the beta-geometric/NBD model: while a customer stays, purchases are a Poisson process
// whose rate is gamma distributed over the customers (shape R, rate Alpha), and after each
// purchase a customer leaves with a probability that is beta distributed over them (A, B). All
// four are positive; Alpha is in the unit of time of the histories.
type BGNBD struct {
	R, Alpha, A, B float64
}

// Validate reports a parameter that is not positive and finite.
func (m BGNBD) Validate() error {
	return positive("BG/NBD", []string{"r", "alpha", "a", "b"}, []float64{m.R, m.Alpha, m.A, m.B})
}

func positive(model string, names []string, values []float64) error {
	for i, v := range values {
		if !(v > 0) || !finite(v) {
			return fmt.Errorf("predict: %s: %s is %g, want a positive finite number", model, names[i], v)
		}
	}
	return nil
}

// LogLikelihood implements [Model] with equation 6 of Fader, Hardie and Lee (2005).
func (m BGNBD) LogLikelihood(h History) float64 {
	x := float64(h.X)
	stays, left := m.branches(h)
	l := lgamma(m.R+x) - lgamma(m.R) + m.R*math.Log(m.Alpha) +
		lgamma(m.B+x) - lgamma(m.B) + lgamma(m.A+m.B) - lgamma(m.A+m.B+x)
	if h.X == 0 {
		return l + stays
	}
	return l + logSum(stays, left)
}

// branches are the logarithms of the two terms of the likelihood that differ in whether the
// customer stayed after the last purchase or left; the second is meant for x > 0.
func (m BGNBD) branches(h History) (stays, left float64) {
	x := float64(h.X)
	stays = -(m.R + x) * math.Log(m.Alpha+h.T)
	if h.X == 0 {
		return stays, math.Inf(-1)
	}
	return stays, math.Log(m.A) - math.Log(m.B+x-1) - (m.R+x)*math.Log(m.Alpha+h.Tx)
}

// Alive implements [Model]. By the model only a purchase makes a customer leave: who bought once
// is alive for certain (Fader, Hardie and Lee, "Computing P(alive) Using the BG/NBD Model", 2008).
func (m BGNBD) Alive(h History) float64 {
	if h.X == 0 {
		return 1
	}
	stays, left := m.branches(h)
	return logistic(stays - left)
}

// Expected implements [Model] with equation 10 of the paper: given the history and that the
// customer is alive, the rate is gamma distributed with (r+x, alpha+T) and the probability of
// leaving beta distributed with (a, b+x), so it is the mean of a model of those parameters.
func (m BGNBD) Expected(h History, t float64) float64 {
	x := float64(h.X)
	after := BGNBD{R: m.R + x, Alpha: m.Alpha + h.T, A: m.A, B: m.B + x}
	return m.Alive(h) * after.Mean(t)
}

// Mean implements [Model] with equation 9 of the paper,
//
//	E[X(t)] = (a+b-1)/(a-1) · (1 - (α/(α+t))^r · ₂F₁(r, b; a+b-1; z)),  z = t/(α+t),
//
// in a form that has no pole at a = 1 nor at a+b = 1. With
// Euler's transformation ₂F₁(r, b; c; z) = (1-z)^(a-1-r) · ₂F₁(A, a-1; c; z), where c = a+b-1 and
// A = c-r, the first term of the series joins the one of the bracket:
//
//	E[X(t)] = c·(1-(1-z)^(a-1))/(a-1) - (1-z)^(a-1) · Σ_{n≥1} (A)_n·(a)_{n-1}/((c+1)_{n-1}·n!)·z^n
//
// Where the series is slow or its terms cancel, an integral is taken instead.
func (m BGNBD) Mean(t float64) float64 {
	if t <= 0 {
		return 0
	}
	z := t / (m.Alpha + t)
	if z > slowSeries {
		return m.meanByIntegral(t)
	}
	c, l := m.A+m.B-1, math.Log1p(t/m.Alpha)
	top := c - m.R
	term := top * z
	sum, largest := term, math.Abs(term)
	for n := 1.0; math.Abs(term) > 1e-17*math.Abs(sum) && n < 1e5; n++ {
		term *= (top + n) * (m.A + n - 1) / ((c + n) * (n + 1)) * z
		sum += term
		largest = max(largest, math.Abs(term))
	}
	head, scale := c*decay(m.A-1, l), math.Exp(-(m.A-1)*l)
	mean := head - scale*sum
	if lost := math.Abs(head) + scale*largest; !(lost < 1e5*mean) {
		return m.meanByIntegral(t)
	}
	return mean
}

// slowSeries is the argument above which the series would take thousands of terms.
const slowSeries = 0.995

// meanByIntegral is the mean as what it is an expectation of: a customer of rate λ and
// probability p makes (1-exp(-λpt))/p purchases, which over λ is (1-(1+pt/α)^-r)/p. The integral
// over the beta distribution of p is taken on its logarithmic odds, where the integrand falls
// off exponentially on both sides.
func (m BGNBD) meanByIntegral(t float64) float64 {
	norm := lgamma(m.A+m.B) - lgamma(m.A) - lgamma(m.B)
	logOf := func(y float64) float64 {
		lp, lq := -softplus(-y), -softplus(y) // log p, log(1-p)
		l := math.Log(m.R * t / m.Alpha)      // the limit at p = 0
		if lp > -300 {
			l = math.Log(-math.Expm1(-m.R*math.Log1p(math.Exp(lp)*t/m.Alpha))) - lp
		}
		return l + norm + m.A*lp + m.B*lq
	}
	return integrate(logOf)
}

// softplus is log(1+exp(y)).
func softplus(y float64) float64 {
	if y > 0 {
		return y + math.Log1p(math.Exp(-y))
	}
	return math.Log1p(math.Exp(y))
}

// Probability implements [Model] with equation 8 of the paper; its finite sum is that of a
// negative binomial distribution, an incomplete beta function.
func (m BGNBD) Probability(x int, t float64) float64 {
	if x < 0 || !(t >= 0) {
		return 0
	}
	if t == 0 {
		if x == 0 {
			return 1
		}
		return 0
	}
	k := float64(x)
	l := math.Log1p(t / m.Alpha)
	beta := lgamma(m.A+m.B) - lgamma(m.B)
	p := math.Exp(beta + lgamma(m.B+k) - lgamma(m.A+m.B+k) +
		lgamma(m.R+k) - lgamma(m.R) - lgamma(k+1) - m.R*l + k*math.Log(t/(m.Alpha+t)))
	if x > 0 {
		left := math.Exp(beta + math.Log(m.A) + lgamma(m.B+k-1) - lgamma(m.A+m.B+k))
		p += left * mathext.RegIncBeta(k, m.R, t/(m.Alpha+t))
	}
	return min(p, 1)
}

// FitBGNBD fits the model by maximum likelihood.
func FitBGNBD(c *Cohort) (BGNBD, Fit, error) {
	of := func(theta []float64, unit float64) BGNBD {
		return BGNBD{R: math.Exp(theta[0]), Alpha: math.Exp(theta[1]) * unit, A: math.Exp(theta[2]), B: math.Exp(theta[3])}
	}
	theta, unit, fit, err := fitCounts(c, "BG/NBD", [][]float64{{.5, .8}, {1, 1}, {.1, 2}, {1, 8}}, func(part *Cohort, unit float64) objective {
		return func(theta, grad []float64) float64 { return of(theta, unit).sum(part, grad) }
	})
	if err != nil {
		return BGNBD{}, Fit{}, err
	}
	m := of(theta, unit)
	return m, fit, m.Validate()
}

// sum is the log-likelihood of a cohort; grad receives its derivatives by the logarithms of the
// parameters.
func (m BGNBD) sum(c *Cohort, grad []float64) float64 {
	total := 0.0
	g := [4]float64{}
	// What depends on x alone.
	la := math.Log(m.Alpha)
	lr, dr := lgamma(m.R), mathext.Digamma(m.R)
	lb, db := lgamma(m.B), mathext.Digamma(m.B)
	lab, dab := lgamma(m.A+m.B), mathext.Digamma(m.A+m.B)
	for i, x := range c.xs {
		w := c.xweight[i]
		if x == 0 {
			total += w * m.R * la
			g[0] += w * la
			g[1] += w * m.R / m.Alpha
			continue
		}
		dabx := mathext.Digamma(m.A + m.B + x)
		total += w * (lgamma(m.R+x) - lr + m.R*la + lgamma(m.B+x) - lb + lab - lgamma(m.A+m.B+x))
		g[0] += w * (mathext.Digamma(m.R+x) - dr + la)
		g[1] += w * m.R / m.Alpha
		g[2] += w * (dab - dabx)
		g[3] += w * (mathext.Digamma(m.B+x) - db + dab - dabx)
	}
	// What depends on all three, by chunks.
	logA := math.Log(m.A)
	parts := make([][5]float64, (len(c.groups)+chunk-1)/chunk)
	inChunks(len(c.groups), func(at, from, to int) {
		p := &parts[at]
		for i := from; i < to; i++ {
			h, w := c.groups[i], c.weight[i]
			x := float64(h.X)
			lT := math.Log(m.Alpha + h.T)
			stays := -(m.R + x) * lT
			if h.X == 0 {
				p[0] += w * stays
				p[1] -= w * lT
				p[2] -= w * m.R / (m.Alpha + h.T)
				continue
			}
			ltx := math.Log(m.Alpha + h.Tx)
			left := logA - math.Log(m.B+x-1) - (m.R+x)*ltx
			both := logSum(stays, left)
			ws, wl := math.Exp(stays-both), math.Exp(left-both)
			p[0] += w * both
			p[1] -= w * (ws*lT + wl*ltx)
			p[2] -= w * (m.R + x) * (ws/(m.Alpha+h.T) + wl/(m.Alpha+h.Tx))
			p[3] += w * wl / m.A
			p[4] -= w * wl / (m.B + x - 1)
		}
	})
	for _, p := range parts {
		total += p[0]
		for i := range g {
			g[i] += p[1+i]
		}
	}
	grad[0], grad[1], grad[2], grad[3] = g[0]*m.R, g[1]*m.Alpha, g[2]*m.A, g[3]*m.B
	return total
}
