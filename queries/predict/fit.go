package predict

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/optimize"
)

// Fit says how a model was fitted.
type Fit struct {
	LogLikelihood float64 // at the parameters found, without any penalty
	Customers     int
	Groups        int // distinct histories, or customers with a value
	Evaluations   int // of the likelihood, on all data

	// Converged says that no parameter would move: Gradient is below 1e-5.
	Converged bool
	// Gradient is the steepest derivative of what was maximised by the logarithm of a
	// parameter, for one customer.
	Gradient float64
	// Regularised says that the likelihood has no maximum inside, as with customers who are all
	// alike or who never leave: it rises for ever towards a limit of the model. Then the
	// parameters maximise the likelihood times a weak prior instead, a log-normal one for each
	// parameter, of median 1 (of times: the mean T) and a deviation of a factor e^3.
	Regularised bool
}

// objective returns the log-likelihood at the logarithms of the parameters and sets its gradient.
type objective func(theta, grad []float64) float64

const (
	leastRepeating = 3   // customers who came back, for a fit of counts
	leastValued    = 3   // customers with a value, for a fit of values
	edge           = 9.0 // a logarithm of a parameter beyond which it runs for a limit
	priorDeviation = 3.0
	settled        = 1e-5
)

// fitCounts maximises a likelihood of counts. The first two parameters are the shape and the
// rate of the gamma distribution of purchases; starts has pairs for the other two. Times are in
// multiples of unit, the mean T, inside.
func fitCounts(c *Cohort, model string, starts [][]float64, likelihood func(*Cohort, float64) objective) (theta []float64, unit float64, fit Fit, err error) {
	if c.repeating < leastRepeating {
		return nil, 0, Fit{}, fmt.Errorf("predict: %s: %w: %d of %d customers purchased again, at least %d are needed", model, ErrTooFew, c.repeating, c.customers, leastRepeating)
	}
	unit = c.time / float64(c.customers)
	rate := c.purchases / float64(c.customers)
	thinned := c.Thin(1024)
	var from [][]float64
	for i, s := range starts {
		shape := []float64{.3, 1, .5, 3}[i%4]
		from = append(from, []float64{math.Log(shape), math.Log(shape / rate), math.Log(s[0]), math.Log(s[1])})
	}
	theta, fit = maximise(from, float64(thinned.customers), likelihood(thinned, unit), float64(c.customers), likelihood(c, unit))
	fit.Customers, fit.Groups = c.customers, len(c.groups)
	return theta, unit, fit, nil
}

// maximise climbs from every start on a thinned set of coarse customers, and from the best
// summit on the full set.
func maximise(starts [][]float64, coarse float64, coarsely objective, full float64, fully objective) ([]float64, Fit) {
	var best []float64
	height := math.Inf(-1)
	for _, s := range starts {
		if at, value, _, _ := climb(s, coarse, coarsely, 0, 1000*settled); value > height {
			best, height = at, value
		}
	}
	var fit Fit
	at, _, gradient, evaluations := climb(inside(best), full, fully, 0, settled)
	if outside(at) {
		fit.Regularised = true
		var n int
		best, _, _, _ = climb(inside(at), coarse, coarsely, coarse/full, settled)
		at, _, gradient, n = climb(best, full, fully, 1, settled)
		evaluations += n
	}
	fit.Evaluations = evaluations
	fit.Gradient, fit.Converged = gradient, gradient <= settled
	fit.LogLikelihood = fully(at, make([]float64, len(at)))
	return at, fit
}

// outside says that a parameter runs for a limit.
func outside(theta []float64) bool {
	for _, t := range theta {
		if math.Abs(t) > edge {
			return true
		}
	}
	return false
}

// inside brings parameters back from the edge.
func inside(theta []float64) []float64 {
	if !outside(theta) {
		return theta
	}
	in := make([]float64, len(theta))
	for i, t := range theta {
		in[i] = max(-edge/2, min(edge/2, t))
	}
	return in
}

// stopper ends a climb that does not get higher or, without a prior, that runs for a limit.
type stopper struct {
	optimize.FunctionConverge
	edges bool
}

func (s *stopper) Converged(at *optimize.Location) optimize.Status {
	if s.edges && outside(at.X) {
		return optimize.MethodConverge
	}
	return s.FunctionConverge.Converged(at)
}

// climb maximises the likelihood of n customers, with so many weak priors, by the method of
// Broyden, Fletcher, Goldfarb and Shanno, until no derivative is above enough. A steep wall far
// out keeps numbers in their range.
func climb(start []float64, n float64, f objective, prior, enough float64) (at []float64, value, gradient float64, evaluations int) {
	dim := len(start)
	x, g := make([]float64, dim), make([]float64, dim)
	known, last := false, 0.0
	eval := func(theta []float64) {
		if known {
			same := true
			for i := range theta {
				same = same && theta[i] == x[i]
			}
			if same {
				return
			}
		}
		copy(x, theta)
		// Beyond the wall the likelihood is that of the wall, and the wall's height is added.
		inside := make([]float64, dim)
		for i := range x {
			inside[i] = max(-edge-3, min(edge+3, x[i]))
		}
		last = f(inside, g) / n
		for i := range g {
			g[i] /= n
			if over := x[i] - inside[i]; over != 0 {
				last -= over * over / 2
				g[i] = -over
			}
			last -= prior / n * x[i] * x[i] / (2 * priorDeviation * priorDeviation)
			g[i] -= prior / n * x[i] / (priorDeviation * priorDeviation)
		}
		known = true
		evaluations++
	}
	problem := optimize.Problem{
		Func: func(theta []float64) float64 { eval(theta); return -last },
		Grad: func(grad, theta []float64) {
			eval(theta)
			for i := range grad {
				grad[i] = -g[i]
			}
		},
	}
	at = append([]float64(nil), start...)
	// A search along a line that fails close to the summit is tried again from there with a
	// fresh estimate of the curvature.
	for range 4 {
		r, err := optimize.Minimize(problem, at, &optimize.Settings{
			GradientThreshold: enough / 1000, MajorIterations: 300, FuncEvaluations: 1000,
			Converger: &stopper{FunctionConverge: optimize.FunctionConverge{Relative: 1e-15, Iterations: 20}, edges: prior == 0},
		}, &optimize.BFGS{})
		if r != nil && len(r.X) == dim {
			copy(at, r.X)
		}
		eval(at)
		gradient = 0
		for i := range g {
			gradient = max(gradient, math.Abs(g[i]))
		}
		if err == nil && gradient <= enough || gradient <= enough/10 || prior == 0 && outside(at) {
			break
		}
	}
	return at, last, gradient, evaluations
}
