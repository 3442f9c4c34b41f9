// Package predict says what customers will do next: how many purchases, of what value, whether
// they are still customers at all, what kind of merchant comes next and when.
//
// Purchases are counted by two models of customers who buy until they leave without saying so:
// [BGNBD] (Fader, Hardie and Lee, "“Counting Your Customers” the Easy Way: An Alternative to the
// Pareto/NBD Model", Marketing Science 24(2), 2005) and [ParetoNBD] (Schmittlein, Morrison and
// Colombo, "Counting Your Customers: Who Are They and What Will They Do Next?", Management
// Science 33(1), 1987). Both are fitted by maximum likelihood to a [Cohort], which holds each
// distinct (x, t_x, T) once. [GammaGamma] adds the value of a purchase (Fader, Hardie and Lee,
// "RFM and CLV: Using Iso-Value Curves for Customer Base Analysis", Journal of Marketing
// Research 42(4), 2005). [Next] is a model of the next category and of the time until it.
//
// The package knows no lake, no clock and no chance: equal input gives equal output, whatever
// the number of processors. Numbers that go in must be finite; what comes out is finite.
package predict

import (
	"errors"
	"fmt"
	"math"
)

// ErrTooFew is in every error that says that there are too few customers or purchases to learn
// from; the error says how many there are and how many are needed.
var ErrTooFew = errors.New("too little data")

// History is what the models of counts need to know of one customer. Time is in any unit, the
// same for all, and runs from the customer's first purchase. The zero value is a customer who
// made the first purchase just now.
type History struct {
	X  int     // purchases after the first
	Tx float64 // time of the last purchase; 0 if X is 0, else above 0
	T  float64 // time until the end of the observation
}

// check reports what no customer's history can be.
func (h History) check() error {
	switch {
	case h.X < 0:
		return fmt.Errorf("x is %d, it cannot be negative", h.X)
	case !finite(h.Tx) || !finite(h.T) || h.Tx < 0 || h.T < h.Tx:
		return fmt.Errorf("t_x is %g and T is %g, want 0 ≤ t_x ≤ T", h.Tx, h.T)
	case h.X == 0 && h.Tx != 0:
		return fmt.Errorf("t_x is %g without a purchase after the first", h.Tx)
	case h.X > 0 && h.Tx == 0:
		return fmt.Errorf("x is %d and t_x is 0: purchases at the time of the first belong to it", h.X)
	}
	return nil
}

// Model is a fitted model of counts.
type Model interface {
	// LogLikelihood is the logarithm of the density of a history.
	LogLikelihood(History) float64
	// Alive is the probability that a customer of this history has not left.
	Alive(History) float64
	// Expected is the number of purchases that a customer of this history will make in a time t
	// from the end of the observation on.
	Expected(h History, t float64) float64
	// Mean is the number of purchases after the first that a customer of whom nothing is known
	// makes in a time t since the first; 0 before it.
	Mean(t float64) float64
	// Probability is that of x purchases after the first in a time t since the first.
	Probability(x int, t float64) float64
}

var (
	_ Model = BGNBD{}
	_ Model = ParetoNBD{}
)

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// lgamma is the logarithm of the gamma function of a positive number.
func lgamma(x float64) float64 {
	y, _ := math.Lgamma(x)
	return y
}

// logSum is log(exp(a) + exp(b)).
func logSum(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// logistic is 1/(1+exp(-x)).
func logistic(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

// decay is (1 - (1+u)^-k)/k, which is log(1+u) at k = 0, for u = exp(l)-1 ≥ 0.
func decay(k, l float64) float64 {
	if k*l == 0 {
		return l
	}
	return -math.Expm1(-k*l) / k
}
