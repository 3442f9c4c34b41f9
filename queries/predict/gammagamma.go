package predict

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat"
)

// GammaGamma is the gamma-gamma model of the value of a purchase: a customer's purchases are
// gamma distributed with shape P and a rate that is gamma distributed over the customers (shape
// Q, rate Gamma). Gamma is in the unit of the values. The model takes the value of a purchase to
// be independent of how many there are; see [Independence].
type GammaGamma struct {
	P, Q, Gamma float64
}

// Validate reports a parameter that is not positive and finite, and a Q that leaves the mean
// without a bound.
func (m GammaGamma) Validate() error {
	if err := positive("gamma-gamma", []string{"p", "q", "gamma"}, []float64{m.P, m.Q, m.Gamma}); err != nil {
		return err
	}
	if m.Q <= 1 {
		return fmt.Errorf("predict: gamma-gamma: q is %g, only above 1 the mean value has a bound", m.Q)
	}
	return nil
}

// LogLikelihood is the logarithm of the density of a mean value of n > 0 purchases (equation 1a
// of Fader and Hardie, "The Gamma-Gamma Model of Monetary Value", 2013).
func (m GammaGamma) LogLikelihood(n int, mean float64) float64 {
	k := float64(n)
	return lgamma(m.P*k+m.Q) - lgamma(m.P*k) - lgamma(m.Q) + m.Q*math.Log(m.Gamma) +
		(m.P*k-1)*math.Log(mean) + m.P*k*math.Log(k) - (m.P*k+m.Q)*math.Log(m.Gamma+k*mean)
}

// Mean is the mean value of a purchase over all customers: p·γ/(q-1).
func (m GammaGamma) Mean() float64 { return m.P * m.Gamma / (m.Q - 1) }

// Expected is the mean value of a customer's future purchases after n of this mean value
// (equation 5 of the same note): between the customer's own mean and that of all, the closer to
// the former the more purchases there were. With n = 0 it is [GammaGamma.Mean].
func (m GammaGamma) Expected(n int, mean float64) float64 {
	k := float64(n)
	own := m.P * k / (m.P*k + m.Q - 1)
	return (1-own)*m.Mean() + own*mean
}

// Values are what customers spent: N[i] purchases of mean value Mean[i]. Customers with no
// purchase count for nothing.
type Values struct {
	N    []int
	Mean []float64
}

func (v Values) check() error {
	if len(v.N) != len(v.Mean) {
		return fmt.Errorf("predict: values: %d counts for %d means", len(v.N), len(v.Mean))
	}
	for i, n := range v.N {
		if n < 0 {
			return fmt.Errorf("predict: values: customer %d: %d purchases", i, n)
		}
		if n > 0 && !(v.Mean[i] > 0 && finite(v.Mean[i])) {
			return fmt.Errorf("predict: values: customer %d: the mean value is %g, want a positive finite number", i, v.Mean[i])
		}
	}
	return nil
}

// FitGammaGamma fits the model by maximum likelihood to customers with at least one purchase. If
// the likelihood is greatest where the mean over all has no bound (q ≤ 1), the greatest is taken
// of those that have one, and the fit says that it was regularised.
func FitGammaGamma(v Values) (GammaGamma, Fit, error) {
	if err := v.check(); err != nil {
		return GammaGamma{}, Fit{}, err
	}
	s := newSpending(v)
	if s.customers < leastValued {
		return GammaGamma{}, Fit{}, fmt.Errorf("predict: gamma-gamma: %w: %d customers have a value, at least %d are needed", ErrTooFew, s.customers, leastValued)
	}
	thinned := newSpending(v.thin(4096, s.customers))
	starts := [][]float64{{1, 2, 1}, {6, 4, .5}, {2, 1.2, .2}, {20, 20, 1}}
	logs := func(shift float64) [][]float64 {
		var from [][]float64
		for _, t := range starts {
			from = append(from, []float64{math.Log(t[0]), math.Log(t[1] - shift), math.Log(t[2])})
		}
		return from
	}
	fitAbove := func(least float64) (GammaGamma, Fit) {
		of := func(theta []float64) GammaGamma {
			return GammaGamma{P: math.Exp(theta[0]), Q: least + math.Exp(theta[1]), Gamma: math.Exp(theta[2])}
		}
		by := func(s *spending) objective {
			return func(theta, grad []float64) float64 { return of(theta).sum(s, least, grad) }
		}
		theta, fit := maximise(logs(least), float64(thinned.customers), by(thinned), float64(s.customers), by(s))
		m := of(theta)
		m.Gamma *= s.unit
		return m, fit
	}
	m, fit := fitAbove(0)
	if m.Q <= unbounded {
		m, fit = fitAbove(unbounded)
		fit.Regularised = true
	}
	if !fit.Converged {
		// Customers who spend all the same leave p and q without a bound, and so steep a ridge
		// that the climb ends beside it: γ, which decides the mean, is put on top.
		m.Gamma = s.summit(m.P, m.Q) * s.unit
		fit.LogLikelihood = GammaGamma{m.P, m.Q, m.Gamma / s.unit}.sum(s, 0, make([]float64, 3))
	}
	fit.LogLikelihood -= float64(s.customers) * math.Log(s.unit)
	fit.Customers, fit.Groups = s.customers, s.customers
	return m, fit, m.Validate()
}

// unbounded is the q up to which the mean over all customers is of no use: above it by so
// little, a few customers of the sample decide it.
const unbounded = 1.05

// thin keeps every so many customers of n with a value, about size of them.
func (v Values) thin(size, n int) Values {
	step := (n + size - 1) / size
	if step <= 1 {
		return v
	}
	var t Values
	seen := 0
	for i, k := range v.N {
		if k == 0 {
			continue
		}
		if seen%step == step/2 {
			t.N = append(t.N, k)
			t.Mean = append(t.Mean, v.Mean[i])
		}
		seen++
	}
	return t
}

// spending is values as the likelihood needs them, in multiples of their mean.
type spending struct {
	customers int
	unit      float64
	n         []float64 // purchases of each customer
	total     []float64 // their value
	logs      float64   // sum of log mean
	nlogs     float64   // sum of n·log mean
	kinds     []float64 // the distinct n
	count     []float64 // customers of each
}

func newSpending(v Values) *spending {
	s := &spending{}
	for i, n := range v.N {
		if n > 0 {
			s.customers++
			s.unit += v.Mean[i] // of finite positive numbers; a mean of means is scale enough
		}
	}
	s.unit /= float64(max(1, s.customers))
	byN := map[int]float64{}
	for i, n := range v.N {
		if n == 0 {
			continue
		}
		mean := v.Mean[i] / s.unit
		s.n = append(s.n, float64(n))
		s.total = append(s.total, float64(n)*mean)
		s.logs += math.Log(mean)
		s.nlogs += float64(n) * math.Log(mean)
		byN[n]++
	}
	for n := range byN {
		s.kinds = append(s.kinds, float64(n))
	}
	slices.Sort(s.kinds)
	for _, k := range s.kinds {
		s.count = append(s.count, byN[int(k)])
	}
	return s
}

// sum is the log-likelihood; grad receives its derivatives by log p, log(q-least) and log γ.
func (m GammaGamma) sum(s *spending, least float64, grad []float64) float64 {
	lq, dq, lg := lgamma(m.Q), mathext.Digamma(m.Q), math.Log(m.Gamma)
	n := float64(s.customers)
	total := n*(m.Q*lg-lq) + m.P*s.nlogs - s.logs
	gp, gq, gg := s.nlogs, n*(lg-dq), n*m.Q/m.Gamma
	for i, k := range s.kinds {
		w, pk := s.count[i], m.P*k
		dboth := mathext.Digamma(pk + m.Q)
		total += w * (lgamma(pk+m.Q) - lgamma(pk) + pk*math.Log(k))
		gp += w * k * (dboth - mathext.Digamma(pk) + math.Log(k))
		gq += w * dboth
	}
	parts := make([][4]float64, (len(s.n)+chunk-1)/chunk)
	inChunks(len(s.n), func(at, from, to int) {
		p := &parts[at]
		for i := from; i < to; i++ {
			k, both := s.n[i], m.Gamma+s.total[i]
			l := math.Log(both)
			p[0] -= (m.P*k + m.Q) * l
			p[1] -= k * l
			p[2] -= l
			p[3] -= (m.P*k + m.Q) / both
		}
	})
	for _, p := range parts {
		total += p[0]
		gp += p[1]
		gq += p[2]
		gg += p[3]
	}
	grad[0], grad[1], grad[2] = gp*m.P, gq*(m.Q-least), gg*m.Gamma
	return total
}

// summit is the γ that is likeliest with p and q: where n·q = Σ (p·n+q)·γ/(γ+total), whose right side
// rises with γ.
func (s *spending) summit(p, q float64) float64 {
	low, high := -60.0, 60.0 // of log γ
	for range 100 {
		middle := (low + high) / 2
		gamma, sum := math.Exp(middle), 0.0
		for i, k := range s.n {
			sum += (p*k + q) * gamma / (gamma + s.total[i])
		}
		if sum < float64(s.customers)*q {
			low = middle
		} else {
			high = middle
		}
	}
	return math.Exp((low + high) / 2)
}

// Independence is the correlation of the number and the mean value of purchases over customers
// with a purchase; the gamma-gamma model takes it to be 0. It is 0 if either is constant.
func Independence(v Values) (float64, error) {
	if err := v.check(); err != nil {
		return 0, err
	}
	var n, mean []float64
	for i, k := range v.N {
		if k > 0 {
			n, mean = append(n, float64(k)), append(mean, v.Mean[i])
		}
	}
	if len(n) < leastValued {
		return 0, fmt.Errorf("predict: gamma-gamma: %w: %d customers have a value, at least %d are needed", ErrTooFew, len(n), leastValued)
	}
	if r := stat.Correlation(n, mean, nil); finite(r) {
		return r, nil
	}
	return 0, nil
}
