package predict

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// ParetoNBD is the Pareto/NBD model: while a customer stays, purchases are a Poisson process
// whose rate is gamma distributed over the customers (shape R, rate Alpha), and the time until a
// customer leaves is exponential with a rate that is gamma distributed (shape S, rate Beta). All
// four are positive; Alpha and Beta are in the unit of time of the histories.
type ParetoNBD struct {
	R, Alpha, S, Beta float64
}

// Validate reports a parameter that is not positive and finite.
func (m ParetoNBD) Validate() error {
	return positive("Pareto/NBD", []string{"r", "alpha", "s", "beta"}, []float64{m.R, m.Alpha, m.S, m.Beta})
}

// LogLikelihood implements [Model]. It is equation 16 of Fader and Hardie, "A Note on Deriving
// the Pareto/NBD Model and Related Expressions" (2005), before its integral over the time of
// leaving is written as a difference of hypergeometric functions:
//
//	Γ(r+x)·α^r·β^s/Γ(r) · ((α+T)^-(r+x)·(β+T)^-s + s·∫_{t_x}^T (α+τ)^-(r+x)·(β+τ)^-(s+1) dτ)
//
// All terms are positive, so that nothing cancels.
func (m ParetoNBD) LogLikelihood(h History) float64 {
	x := float64(h.X)
	stays, left := m.branches(h)
	return lgamma(m.R+x) - lgamma(m.R) + m.R*math.Log(m.Alpha) + m.S*math.Log(m.Beta) + logSum(stays, left)
}

// branches are the logarithms of the two terms in the bracket.
func (m ParetoNBD) branches(h History) (stays, left float64) {
	x := float64(h.X)
	stays = -(m.R+x)*math.Log(m.Alpha+h.T) - m.S*math.Log(m.Beta+h.T)
	if h.T == h.Tx {
		return stays, math.Inf(-1)
	}
	at, in := m.leaving(h)
	return stays, math.Log(m.S) + at + math.Log(in[0])
}

// The integrals over the time of leaving, each with the factor exp(at).
type leavings [5]float64 // of 1, log(α+τ), 1/(α+τ), log(β+τ), 1/(β+τ)

// leaving integrates (α+τ)^-(r+x)·(β+τ)^-(s+1) and its derivatives from t_x to T. The integrand
// falls from its value at t_x on; in y = log((μ+τ)/(μ+t_x)), μ the smaller of α and β, it does so
// about exponentially, ever faster. Gauss's rule is taken on pieces in which it falls by no more
// than exp(reach), until what is left is nothing.
func (m ParetoNBD) leaving(h History) (at float64, in leavings) {
	k, s1 := m.R+float64(h.X), m.S+1
	alpha, beta := m.Alpha+h.Tx, m.Beta+h.Tx
	a0, b0 := math.Log(alpha), math.Log(beta)
	scale := min(alpha, beta)
	end := math.Log1p((h.T - h.Tx) / scale)
	const longest, nothing = 1.5, 45
	reach := 4.0
	for from := 0.0; from < end; reach = min(reach*1.6, 20) {
		// How fast it falls where the piece ends at the latest.
		u := scale * (math.Exp(from+longest) - 1)
		fall := (scale + u) * (k/(alpha+u) + s1/(beta+u))
		width := min(end-from, longest, reach/fall)
		for j, node := range nodes16 {
			e := math.Exp(from + width*node)
			u := scale * (e - 1) // τ - t_x
			la, lb := math.Log(alpha+u), math.Log(beta+u)
			f := math.Exp(-k*(la-a0)-s1*(lb-b0)) * e * width * weights16[j]
			in[0] += f
			in[1] += f * la
			in[2] += f / (alpha + u)
			in[3] += f * lb
			in[4] += f / (beta + u)
		}
		from += width
		u = scale * (math.Exp(from) - 1)
		if k*(math.Log(alpha+u)-a0)+s1*(math.Log(beta+u)-b0)-from > nothing {
			break
		}
	}
	for i := range in {
		in[i] *= scale
	}
	return -k*a0 - s1*b0, in
}

// Alive implements [Model] (equation 11 of Schmittlein, Morrison and Colombo 1987).
func (m ParetoNBD) Alive(h History) float64 {
	stays, left := m.branches(h)
	return logistic(stays - left)
}

// Expected implements [Model] (equation 22 of the same).
func (m ParetoNBD) Expected(h History, t float64) float64 {
	x := float64(h.X)
	after := ParetoNBD{R: m.R + x, Alpha: m.Alpha + h.T, S: m.S, Beta: m.Beta + h.T}
	return m.Alive(h) * after.Mean(t)
}

// Mean implements [Model] (equation 17 of the same): r·β/(α·(s-1))·(1-(β/(β+t))^(s-1)).
func (m ParetoNBD) Mean(t float64) float64 {
	if t <= 0 {
		return 0
	}
	return m.R * m.Beta / m.Alpha * decay(m.S-1, math.Log1p(t/m.Beta))
}

// Probability implements [Model]: the negative binomial of customers who stay longer than t, and
// the integral of that of the others over the time when they leave (Fader and Hardie, "Deriving
// an Expression for P(X(t)=x) Under the Pareto/NBD Model", 2006).
func (m ParetoNBD) Probability(x int, t float64) float64 {
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
	norm := lgamma(m.R+k) - lgamma(m.R) - lgamma(k+1)
	buys := func(tau, log float64) float64 {
		return norm - (m.R+k)*math.Log1p(tau/m.Alpha) + k*(log-math.Log(m.Alpha))
	}
	p := math.Exp(buys(t, math.Log(t)) - m.S*math.Log1p(t/m.Beta))
	p += integrate(func(y float64) float64 {
		// τ = t/(1+e^-y), dτ/dy = τ·(1-τ/t)
		log := math.Log(t) - softplus(-y)
		tau := math.Exp(log)
		return buys(tau, log) + math.Log(m.S/m.Beta) - (m.S+1)*math.Log1p(tau/m.Beta) + log - softplus(y)
	})
	return min(p, 1)
}

// FitParetoNBD fits the model by maximum likelihood. A likelihood is an integral for each
// distinct history: it takes some thirty times as long as that of [FitBGNBD].
func FitParetoNBD(c *Cohort) (ParetoNBD, Fit, error) {
	of := func(theta []float64, unit float64) ParetoNBD {
		return ParetoNBD{R: math.Exp(theta[0]), Alpha: math.Exp(theta[1]) * unit, S: math.Exp(theta[2]), Beta: math.Exp(theta[3]) * unit}
	}
	theta, unit, fit, err := fitCounts(c, "Pareto/NBD", [][]float64{{.5, .5}, {1, 1}, {.3, 3}, {.2, .1}}, func(part *Cohort, unit float64) objective {
		return func(theta, grad []float64) float64 { return of(theta, unit).sum(part, grad) }
	})
	if err != nil {
		return ParetoNBD{}, Fit{}, err
	}
	m := of(theta, unit)
	return m, fit, m.Validate()
}

// sum is the log-likelihood of a cohort; grad receives its derivatives by the logarithms of the
// parameters.
func (m ParetoNBD) sum(c *Cohort, grad []float64) float64 {
	g := [4]float64{}
	la, lb := math.Log(m.Alpha), math.Log(m.Beta)
	lr, dr := lgamma(m.R), mathext.Digamma(m.R)
	n := float64(c.customers)
	total := n * (m.R*la + m.S*lb)
	g[0], g[1], g[2], g[3] = n*la, n*m.R/m.Alpha, n*lb, n*m.S/m.Beta
	for i, x := range c.xs {
		total += c.xweight[i] * (lgamma(m.R+x) - lr)
		g[0] += c.xweight[i] * (mathext.Digamma(m.R+x) - dr)
	}
	parts := make([][5]float64, (len(c.groups)+chunk-1)/chunk)
	inChunks(len(c.groups), func(at, from, to int) {
		p := &parts[at]
		for i := from; i < to; i++ {
			h, w := c.groups[i], c.weight[i]
			k := m.R + float64(h.X)
			lT, bT := math.Log(m.Alpha+h.T), math.Log(m.Beta+h.T)
			stays := -k*lT - m.S*bT
			if h.T == h.Tx {
				p[0] += w * stays
				p[1] -= w * lT
				p[2] -= w * k / (m.Alpha + h.T)
				p[3] -= w * bT
				p[4] -= w * m.S / (m.Beta + h.T)
				continue
			}
			at, in := m.leaving(h)
			left := math.Log(m.S*in[0]) + at
			both := logSum(stays, left)
			ws, wl := math.Exp(stays-both), math.Exp(left-both)/in[0]
			p[0] += w * both
			p[1] -= w * (ws*lT + wl*in[1])
			p[2] -= w * k * (ws/(m.Alpha+h.T) + wl*in[2])
			p[3] += w * (-ws*bT + wl*(in[0]/m.S-in[3]))
			p[4] -= w * (ws*m.S/(m.Beta+h.T) + wl*(m.S+1)*in[4])
		}
	})
	for _, p := range parts {
		total += p[0]
		for i := range g {
			g[i] += p[1+i]
		}
	}
	grad[0], grad[1], grad[2], grad[3] = g[0]*m.R, g[1]*m.Alpha, g[2]*m.S, g[3]*m.Beta
	return total
}
