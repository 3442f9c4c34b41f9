package predict

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"
)

// Holdout compares what a model expected of customers with what they did in a time that the
// model was not fitted to, beside two simple expectations: that everybody goes on at the same
// rate as before, and that everybody does what all did on average.
type Holdout struct {
	Customers        int
	Expected, Actual float64 // purchases of all customers

	Model, SameRate, Average Errors

	// Correlation of expected and actual purchases over the customers; 0 if either is constant.
	Correlation float64
	Bins        []Bin
}

// Errors are how far expectations of customers' purchases are off.
type Errors struct {
	MAE  float64 // mean absolute error
	RMSE float64 // root of the mean squared error
}

// Bin is the customers with From to To purchases in the observation, both included.
type Bin struct {
	From, To         int
	Customers        int
	Expected, Actual float64 // mean purchases of a customer
}

// Validate compares a model with the purchases that customers made in a span after the
// observation. Bins begin at the numbers of purchases in from, which must rise and begin at 0;
// the last one has no end.
func Validate(m Model, c *Cohort, later []int, span float64, from []int) (Holdout, error) {
	if len(later) != c.customers {
		return Holdout{}, fmt.Errorf("predict: holdout: %d customers were observed and %d later", c.customers, len(later))
	}
	if !(span > 0) || !finite(span) {
		return Holdout{}, fmt.Errorf("predict: holdout: the span is %g, want a positive finite time", span)
	}
	if len(from) == 0 || from[0] != 0 {
		return Holdout{}, fmt.Errorf("predict: holdout: the bins must begin at 0")
	}
	h := Holdout{Customers: c.customers, Bins: make([]Bin, len(from))}
	for i := range from {
		h.Bins[i] = Bin{From: from[i], To: math.MaxInt}
		if i > 0 {
			if from[i] <= from[i-1] {
				return Holdout{}, fmt.Errorf("predict: holdout: the bins must rise")
			}
			h.Bins[i-1].To = from[i] - 1
		}
	}
	s, err := Score(m, c, []float64{span})
	if err != nil {
		return Holdout{}, err
	}
	average := 0.0
	if c.time > 0 {
		average = c.purchases / c.time * span
	}
	actual := make([]float64, len(later))
	for i, n := range later {
		if n < 0 {
			return Holdout{}, fmt.Errorf("predict: holdout: customer %d made %d purchases later", i, n)
		}
		actual[i] = float64(n)
		x := c.History(i)
		same := average
		if x.T > 0 {
			same = float64(x.X) / x.T * span
		}
		e := s.Expected[0][i]
		h.Expected += e
		h.Actual += actual[i]
		h.Model.add(e - actual[i])
		h.SameRate.add(same - actual[i])
		h.Average.add(average - actual[i])
		b := &h.Bins[0]
		for k := range h.Bins {
			if x.X >= h.Bins[k].From {
				b = &h.Bins[k]
			}
		}
		b.Customers++
		b.Expected += e
		b.Actual += actual[i]
	}
	for _, e := range []*Errors{&h.Model, &h.SameRate, &h.Average} {
		e.MAE /= float64(c.customers)
		e.RMSE = math.Sqrt(e.RMSE / float64(c.customers))
	}
	for i := range h.Bins {
		if b := &h.Bins[i]; b.Customers > 0 {
			b.Expected /= float64(b.Customers)
			b.Actual /= float64(b.Customers)
		}
	}
	if r := stat.Correlation(s.Expected[0], actual, nil); finite(r) {
		h.Correlation = r
	}
	return h, nil
}

func (e *Errors) add(off float64) {
	e.MAE += math.Abs(off)
	e.RMSE += off * off
}

// Discounted is the number of purchases that a customer of this history will ever make, each
// discounted at a continuous rate to the end of the observation (Fader, Hardie and Lee, "RFM and
// CLV", 2005, equation 2): times the value of a purchase it is what the customer is worth. The
// rate is by the unit of time of the histories; it must be positive.
func Discounted(m Model, h History, rate float64) (float64, error) {
	if !(rate > 0) || !finite(rate) {
		return 0, fmt.Errorf("predict: the discount rate is %g, want a positive finite number", rate)
	}
	// By parts: the integral of exp(-δt) over dE(t) is that of δ·exp(-δt)·E(t) over t = e^y/δ.
	return integrate(func(y float64) float64 {
		e := m.Expected(h, math.Exp(y)/rate)
		if e <= 0 || y > 30 {
			return math.Inf(-1)
		}
		return math.Log(e) + y - math.Exp(y)
	}), nil
}
