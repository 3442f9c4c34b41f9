package quality

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// Anomalies. Glue's algorithm is not published; this one takes the median of the earlier values
// as what is expected, and calls a value anomalous that is farther from it than four times the
// values' own spread (their median absolute deviation, scaled to a standard deviation), but at
// least a quarter of what is expected, so that a constant series has some slack.
const (
	// leastPast is how many earlier values there must be (guide, "Anomaly detection": at least
	// three data points).
	leastPast   = 3
	mostPast    = 100
	spreads     = 4
	perSpread   = 1.4826 // median absolute deviation to standard deviation, of a normal one
	leastSpread = 0.25
)

// expect returns what is expected of the next value, and the limits beyond which it is anomalous.
func expect(past []float64) (expected, lower, upper float64) {
	expected = quantile(past, 0.5)
	off := make([]float64, len(past))
	for i, v := range past {
		off[i] = math.Abs(v - expected)
	}
	slack := max(spreads*perSpread*quantile(off, 0.5), leastSpread*math.Abs(expected))
	return expected, expected - slack, expected + slack
}

// planAnomalies plans DetectAnomalies TYPE parameters.
func (e *evaluation) planAnomalies(ctx context.Context, r *dqdl.Rule) *plan {
	followed, _ := dqdl.Lookup(r.Params[0].Value())
	inner := e.planAnalyzer(ctx, &dqdl.Rule{Pos: r.Pos, Type: followed.Name, Params: r.Params[1:]})
	return &plan{rule: r, finish: func(ctx context.Context) verdict {
		v := inner.finish(ctx)
		if v.result != Passed {
			return v
		}
		var reasons []string
		for _, name := range sortedKeys(v.metrics) {
			actual := v.metrics[name]
			of := subject(followed.Name, r.Params[1:])
			past := e.past(name, of, mostPast)
			e.record(name, of, actual)
			if len(past) < leastPast {
				continue
			}
			expected, lower, upper := expect(past)
			if actual >= lower && actual <= upper {
				continue
			}
			e.observations = append(e.observations, Observation{
				Description: fmt.Sprintf("%s is %s, and was expected between %s and %s after %d earlier values", name, formatted(actual), formatted(lower), formatted(upper), len(past)),
				MetricName:  name, ActualValue: actual, ExpectedValue: expected, LowerLimit: lower, UpperLimit: upper,
			})
			reasons = append(reasons, fmt.Sprintf("Anomaly: %s is %s, expected between %s and %s", name, formatted(actual), formatted(lower), formatted(upper)))
		}
		if len(reasons) > 0 {
			return verdict{result: Failed, reason: strings.Join(reasons, "\n"), metrics: v.metrics}
		}
		return v
	}}
}

// subject is what a CustomSql's metric is told apart by; the names of others say it.
func subject(ruleType string, params []dqdl.Param) string {
	if ruleType == "CustomSql" {
		return params[0].Value()
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
