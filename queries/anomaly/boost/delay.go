package boost

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Delay is how long frauds take to be reported: labels such as chargebacks arrive days to weeks after the transaction, so a young row
// without a report is not genuine, it is not yet known. Taking it for genuine teaches the model that recent fraud is rare.
//
// What training does about it. A fraud of age a is on record with chance F(a) ([Delay.Share]), independently of its features; so a row's
// label y has the mean F(a)·p, and y/F(a) is unbiased for p (Horvitz & Thompson, JASA 1952; for delayed feedback Yasui et al., WWW 2020,
// after Chapelle, KDD 2014). Each row enters the logistic loss with that target and the weight F(a), which keeps the variance of young
// rows bounded: the gradient is F·p − y and the hessian F·p·(1−p); a mature row (F = 1) is an ordinary one. Rows whose F is below 0.9 take
// no part in choosing rounds, the forest's share or the calibration: those use final labels only.
type Delay struct {
	horizon float64
	days    []float64 // distinct delays, ascending
	share   []float64 // of frauds reported within days[i]
}

// leastReports is how many reports a distribution of delays is estimated from.
const leastReports = 20

// FitDelay estimates the distribution from reported frauds: delays[i] is the days from transaction to report, ages[i] the days from
// transaction to now, at least the delay. Late reports of young frauds are not on record yet, so the mean of what is would be too short:
// the estimate is Lynden-Bell's for data truncated on the right (MNRAS 1971; Lagakos, Barraj & De Gruttola, Biometrika 1988).
// Frauds not reported within horizon days count as never reported; horizon is the longest delay that the card scheme's rules allow
// (120 days for most chargebacks). Where no row is as old as the horizon, longer delays than the oldest age cannot be known and count as none.
func FitDelay(delays, ages []float64, horizon float64) (*Delay, error) {
	if len(delays) != len(ages) {
		return nil, fmt.Errorf("boost: %d delays for %d ages", len(delays), len(ages))
	}
	if !(horizon > 0) || math.IsInf(horizon, 0) {
		return nil, fmt.Errorf("boost: the horizon is not a number of days above 0")
	}
	type report struct{ delay, age float64 }
	var reports []report
	for i := range delays {
		if !(delays[i] >= 0 && delays[i] <= ages[i]) || math.IsInf(ages[i], 0) {
			return nil, fmt.Errorf("boost: report %d: its delay is not between 0 and its age", i)
		}
		if delays[i] <= horizon {
			reports = append(reports, report{delays[i], ages[i]})
		}
	}
	if len(reports) < leastReports {
		return nil, fmt.Errorf("boost: %w: %d reports within %g days, at least %d are needed for their delays", ErrTooFew, len(reports), horizon, leastReports)
	}
	slices.SortFunc(reports, func(a, b report) int { return cmp.Or(cmp.Compare(a.delay, b.delay), cmp.Compare(a.age, b.age)) })
	youngest := make([]float64, len(reports)) // ages, ascending
	for i, r := range reports {
		youngest[i] = r.age
	}
	slices.Sort(youngest)
	d := &Delay{horizon: horizon}
	var dead, risk []float64
	for i := 0; i < len(reports); {
		j := i
		for j < len(reports) && reports[j].delay == reports[i].delay {
			j++
		}
		// At risk of a delay as long as this: those with a delay up to it that were old enough to show one as long.
		younger, _ := slices.BinarySearch(youngest, reports[i].delay)
		d.days, dead, risk = append(d.days, reports[i].delay), append(dead, float64(j-i)), append(risk, float64(j-younger))
		i = j
	}
	// F(t) is the product over longer delays s of 1 − dead(s)/risk(s); a set at risk that dies whole before the shortest delay would make
	// every shorter share zero, so half a survivor is kept.
	d.share = make([]float64, len(d.days))
	share := 1.0
	for i := len(d.days) - 1; i >= 0; i-- {
		d.share[i] = share
		if i > 0 {
			share *= max(1-dead[i]/risk[i], 0.5/(risk[i]+0.5))
		}
	}
	return d, nil
}

// Share is the part of frauds that are on record by an age in days, from 0 to 1.
func (d *Delay) Share(age float64) float64 {
	if age >= d.horizon {
		return 1
	}
	i, found := slices.BinarySearch(d.days, age)
	switch {
	case found:
		return d.share[i]
	case i == 0:
		return 0
	}
	return d.share[i-1]
}

// Maturity is the age in days from which at least share of frauds are on record.
func (d *Delay) Maturity(share float64) float64 {
	for i, s := range d.share {
		if s >= share {
			return d.days[i]
		}
	}
	return d.horizon
}
