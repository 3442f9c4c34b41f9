package report

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Measure is how drift between two runs is measured.
type Measure string

const (
	// PSI is the population stability index ([StabilityIndex]); thresholds 0.1 and 0.25
	// (Siddiqi, "Credit Risk Scorecards", Wiley 2006).
	PSI Measure = "psi"
	// KS is the two-sample Kolmogorov-Smirnov distance ([Distance]), as an effect size
	// rather than a test, because with a million rows every difference is significant;
	// thresholds 0.1 and 0.2.
	KS Measure = "ks"
	// ARI is the adjusted Rand index of two partitions, 1 when they are the same; thresholds
	// 0.9 and 0.65, below which agreement is no longer excellent, then no longer moderate
	// (Steinley, "Properties of the Hubert-Arabie adjusted Rand index", Psychological
	// Methods 9(3), 2004).
	ARI Measure = "ari"
	// Moved is the share of members whose label is another one than in the run before
	// ([ShareMoved]); thresholds 0.1 and 0.25.
	Moved Measure = "moved"
)

// Level is how much a drift matters.
type Level string

const (
	None     Level = "none"
	Moderate Level = "moderate"
	Major    Level = "major"
)

// Drift is how far one distribution or labelling moved since the run before.
type Drift struct {
	// Name is what moved, such as "amount" or "segment membership".
	Name    string  `json:"name"`
	Measure Measure `json:"measure"`
	Value   float64 `json:"value"`
	Level   Level   `json:"level"`
}

// NewDrift is a drift with the level that its measure's thresholds give: a value at a threshold
// is of the worse level.
func NewDrift(name string, measure Measure, value float64) Drift {
	return Drift{name, measure, value, levelOf(measure, value)}
}

func levelOf(measure Measure, value float64) Level {
	moderate, major := 0.1, 0.25
	switch measure {
	case KS:
		major = 0.2
	case ARI:
		value, moderate, major = 1-value, 1-0.9, 1-0.65
	}
	switch {
	case value >= major:
		return Major
	case value >= moderate:
		return Moderate
	}
	return None
}

// errNotFinite is for input that holds NaN or an infinity.
var errNotFinite = errors.New("a value is not finite")

func finite(lists ...[]float64) error {
	for _, list := range lists {
		for _, v := range list {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return errNotFinite
			}
		}
	}
	return nil
}

// Quantiles returns at most bins-1 distinct edges that cut the reference into bins of equal
// numbers, ascending. A reference of few distinct values has fewer; the edges are values of the
// reference, so they mean the same for every later sample.
//
// It fails on no values, on values that are not finite and on fewer than two bins.
func Quantiles(reference []float64, bins int) ([]float64, error) {
	switch {
	case bins < 2:
		return nil, fmt.Errorf("quantiles: %d bins, at least 2 are needed", bins)
	case len(reference) == 0:
		return nil, errors.New("quantiles: no values, at least 1 is needed")
	}
	if err := finite(reference); err != nil {
		return nil, fmt.Errorf("quantiles: %w", err)
	}
	sorted := slices.Clone(reference)
	slices.Sort(sorted)
	edges := make([]float64, 0, bins-1)
	for i := 1; i < bins; i++ {
		edges = append(edges, sorted[i*len(sorted)/bins])
	}
	return slices.Compact(edges), nil
}

// Shares returns the share of values in each of len(edges)+1 bins: below edges[0], from
// edges[0] on and below edges[1], and so on; the last one has no upper end. Edges ascend. With
// a run's edges and shares kept, a later run can be compared without its rows.
//
// It fails on no values and on values that are not finite.
func Shares(edges, values []float64) ([]float64, error) {
	if len(values) == 0 {
		return nil, errors.New("shares: no values, at least 1 is needed")
	}
	if err := finite(edges, values); err != nil {
		return nil, fmt.Errorf("shares: %w", err)
	}
	if !slices.IsSorted(edges) {
		return nil, errors.New("shares: edges do not ascend")
	}
	counts := make([]int, len(edges)+1)
	for _, v := range values {
		i, found := slices.BinarySearch(edges, v)
		if found {
			i++
		}
		counts[i]++
	}
	shares := make([]float64, len(counts))
	for i, n := range counts {
		shares[i] = float64(n) / float64(len(values))
	}
	return shares, nil
}

// leastShare stands in for the share of an empty bin, whose logarithm would not be finite.
const leastShare = 1e-4

// StabilityIndex is the population stability index of two lists of shares over the same bins:
// the sum of (a-e)·ln(a/e) for actual a and expected e, 0 when they are the same. Shares below
// 0.0001 count as 0.0001, so that one row in a bin that was empty is no catastrophe.
//
// It fails on lists of different lengths, empty lists, negative shares and lists that do not
// add up to 1.
func StabilityIndex(expected, actual []float64) (float64, error) {
	if len(expected) == 0 || len(expected) != len(actual) {
		return 0, fmt.Errorf("stability index: %d and %d shares, the same number is needed", len(expected), len(actual))
	}
	if err := finite(expected, actual); err != nil {
		return 0, fmt.Errorf("stability index: %w", err)
	}
	sum, of, total := 0.0, 0.0, 0.0
	for i, e := range expected {
		a := actual[i]
		if e < 0 || a < 0 {
			return 0, errors.New("stability index: a share is negative")
		}
		of, total = of+e, total+a
		e, a = max(e, leastShare), max(a, leastShare)
		sum += (a - e) * math.Log(a/e)
	}
	if abs(of-1) > 1e-6 || abs(total-1) > 1e-6 {
		return 0, errors.New("stability index: shares do not add up to 1")
	}
	return sum, nil
}

// Stability is the population stability index of a sample against a reference, over ten bins
// of the reference's quantiles.
func Stability(reference, actual []float64) (float64, error) {
	edges, err := Quantiles(reference, 10)
	if err != nil {
		return 0, fmt.Errorf("stability: reference: %w", err)
	}
	expected, err := Shares(edges, reference)
	if err != nil {
		return 0, fmt.Errorf("stability: reference: %w", err)
	}
	shares, err := Shares(edges, actual)
	if err != nil {
		return 0, fmt.Errorf("stability: actual: %w", err)
	}
	return StabilityIndex(expected, shares)
}

// Distance is the two-sample Kolmogorov-Smirnov statistic: the largest difference between the
// two empirical distribution functions, from 0 to 1. Neither slice is changed.
//
// It fails on an empty sample and on values that are not finite.
func Distance(a, b []float64) (float64, error) {
	if len(a) == 0 || len(b) == 0 {
		return 0, fmt.Errorf("distance: %d and %d values, at least 1 of each is needed", len(a), len(b))
	}
	if err := finite(a, b); err != nil {
		return 0, fmt.Errorf("distance: %w", err)
	}
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	largest := 0.0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		at := min(a[i], b[j])
		for i < len(a) && a[i] == at { // ties of both samples step together
			i++
		}
		for j < len(b) && b[j] == at {
			j++
		}
		largest = max(largest, abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return largest, nil
}

// ShareMoved is the share of members whose label differs between two runs, for the members that
// both runs have, at the same places of both slices.
//
// It fails on slices of different lengths and on none.
func ShareMoved[T comparable](before, after []T) (float64, error) {
	if len(before) == 0 || len(before) != len(after) {
		return 0, fmt.Errorf("share moved: %d and %d labels, the same number of at least 1 is needed", len(before), len(after))
	}
	moved := 0
	for i, label := range before {
		if label != after[i] {
			moved++
		}
	}
	return float64(moved) / float64(len(before)), nil
}
