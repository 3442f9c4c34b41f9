package anomaly

import (
	"fmt"
	"math"
	"slices"
)

// Surprise tells how rare a score is among those of a reference sample, without labels: the
// natural logarithm, with its sign turned, of the probability of a score that high or higher. It
// makes the scores of different detectors comparable, and is the fall-back where there are no
// labels to calibrate with.
//
// Below the highest hundredth of the sample the probability is what is counted; above, where
// counting ends, the sample's excesses over that threshold are continued by a generalised Pareto
// distribution (Pickands, Annals of Statistics 3(1), 1975) of non-negative shape, fitted by
// probability-weighted moments (Hosking and Wallis, Technometrics 29(3), 1987). So scores higher
// than any before still differ.
//
// A Surprise is immutable and safe for concurrent use.
type Surprise struct {
	body                   ecdf
	threshold, shape, unit float64 // of the tail; unit is 0 if there is none
	tail                   float64 // surprise at the threshold
}

// surpriseKeep is how many distinct scores of the reference are kept.
const surpriseKeep = 4096

// FitSurprise takes the scores of a reference sample, at least two.
func FitSurprise(scores []float64) (*Surprise, error) {
	if len(scores) < minRows {
		return nil, fmt.Errorf("tail probability: %w: %d scores, at least %d are needed", ErrTooFew, len(scores), minRows)
	}
	if i := notFinite(scores); i >= 0 {
		return nil, fmt.Errorf("tail probability: score %d: %w", i, ErrValue)
	}
	sorted := slices.Clone(scores)
	slices.Sort(sorted)
	// The hundredth, but at least the few that a fit needs, of small samples the upper quarter.
	n := len(sorted)
	k := max(n/100, min(50, n/4), 1)
	s := &Surprise{threshold: sorted[n-k]}
	for k < n && sorted[n-k-1] == s.threshold {
		k++
	}
	s.shape, s.unit = fitPareto(sorted[n-k:])
	s.body = newECDF(sorted, surpriseKeep)
	s.tail = s.counted(s.threshold)
	return s, nil
}

// fitPareto fits a generalised Pareto distribution to what the sorted x exceed the first by.
func fitPareto(x []float64) (shape, unit float64) {
	k := float64(len(x))
	spread := x[len(x)-1]/2 - x[0]/2
	if spread == 0 {
		return 0, 0
	}
	var a0, a1 float64 // moments weighted with the probability of exceeding, in spreads
	for i, v := range x {
		excess := (v/2 - x[0]/2) / spread
		a0 += excess / k
		a1 += excess * (1 - (float64(i)+0.65)/k) / k
	}
	// Equation 5 of Hosking and Wallis; their k is minus the shape.
	shape = 2 - a0/(a0-2*a1)
	if a0-2*a1 <= 0 || shape <= 0 {
		// An exponential tail, whose unit is the mean.
		return 0, min(a0*spread*2, math.MaxFloat64)
	}
	shape = min(shape, 0.95)
	return shape, min(a0*(1-shape)*spread*2, math.MaxFloat64)
}

// counted is the surprise by counting, the row itself being one of the reference.
func (s *Surprise) counted(score float64) float64 {
	below, _ := s.body.counts(score)
	all := float64(s.body.n + 1)
	return -math.Log((all - below) / all)
}

// Of is the surprise of a score, in nats: 0 for the lowest, 4.6 for one in a hundred, 9.2 for one in
// ten thousand. It never falls as the score rises. The score must be finite.
func (s *Surprise) Of(score float64) float64 {
	if score <= s.threshold {
		return s.counted(score)
	}
	if s.unit == 0 { // Nothing of the reference is above the threshold.
		return math.Log(float64(s.body.n + 1))
	}
	excess := (score/2 - s.threshold/2) / s.unit * 2
	if s.shape > 0 {
		excess = math.Log1p(min(s.shape*excess, math.MaxFloat64)) / s.shape
	}
	return min(s.tail+excess, maxSurprise)
}

// maxSurprise bounds a surprise: beyond it the probability is less than any float64 above 0.
const maxSurprise = 744

// Probability is that of a score as high or higher in the reference. It is never 0.
func (s *Surprise) Probability(score float64) float64 { return math.Exp(-s.Of(score)) }
