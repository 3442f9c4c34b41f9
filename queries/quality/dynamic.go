package quality

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// tolerance is what numbers may differ by, relative to their size, and still be equal: a sum of
// decimals in binary must not fail for its last bit.
const tolerance = 1e-12

func isEqual(a, b float64) bool {
	return a == b || math.Abs(a-b) <= tolerance*max(math.Abs(a), math.Abs(b))
}

// holds says whether the condition of numbers holds for the value.
func holds(c *dqdl.Condition, v float64, operands []float64) bool {
	one := operands[0]
	switch c.Op {
	case dqdl.Equal:
		return isEqual(v, one)
	case dqdl.NotEqual:
		return !isEqual(v, one)
	case dqdl.Greater:
		return v > one && !isEqual(v, one)
	case dqdl.GreaterEqual:
		return v > one || isEqual(v, one)
	case dqdl.Less:
		return v < one && !isEqual(v, one)
	case dqdl.LessEqual:
		return v < one || isEqual(v, one)
	case dqdl.Between:
		return v > one && v < operands[1] && !isEqual(v, one) && !isEqual(v, operands[1])
	case dqdl.NotBetween:
		return !(v > one && v < operands[1]) || isEqual(v, one) || isEqual(v, operands[1])
	}
	isIn := slices.ContainsFunc(operands, func(o float64) bool { return isEqual(v, o) })
	return isIn == (c.Op == dqdl.In)
}

// resolve computes the operands of a condition of numbers, and the condition with the results
// in place of what was dynamic.
func (e *evaluation) resolve(c *dqdl.Condition, metric, of string) (*dqdl.Condition, []float64, error) {
	resolved := *c
	resolved.Operands = make([]dqdl.Operand, len(c.Operands))
	values := make([]float64, len(c.Operands))
	for i, o := range c.Operands {
		resolved.Operands[i] = o
		expr, ok := o.(dqdl.Expr)
		if !ok {
			return nil, nil, fmt.Errorf("%s is no number", o)
		}
		list, err := e.compute(expr, metric, of)
		if err != nil {
			return nil, nil, err
		}
		if len(list) != 1 {
			return nil, nil, fmt.Errorf("%s results in a list of %d values: use avg, median, max, min, sum, std or index to make one of them", o, len(list))
		}
		values[i] = list[0]
		if dqdl.IsDynamic(o) {
			resolved.Operands[i] = dqdl.Literal{Text: strconv.FormatFloat(list[0], 'f', -1, 64), Value: list[0]}
		}
	}
	return &resolved, values, nil
}

// past returns the values of earlier runs, the newest first, at most k.
func (e *evaluation) past(metric, of string, k int) []float64 {
	var values []float64
	for _, r := range slices.Backward(e.cfg.History) {
		if len(values) == k {
			break
		}
		for _, s := range r.Statistics {
			if s.Name == metric && s.Of == of {
				values = append(values, s.Value)
				break
			}
		}
	}
	return values
}

// compute returns what the expression comes to: one number or a list of them (guide, "Dynamic
// rules").
func (e *evaluation) compute(expr dqdl.Expr, metric, of string) ([]float64, error) {
	switch x := expr.(type) {
	case dqdl.Literal:
		return []float64{x.Value}, nil
	case *dqdl.Binary:
		left, err := e.compute(x.Left, metric, of)
		if err != nil {
			return nil, err
		}
		right, err := e.compute(x.Right, metric, of)
		if err != nil {
			return nil, err
		}
		if len(left) != 1 || len(right) != 1 {
			return nil, fmt.Errorf("%s: a list cannot be computed with", x)
		}
		switch a, b := left[0], right[0]; x.Op {
		case '+':
			return []float64{a + b}, nil
		case '-':
			return []float64{a - b}, nil
		case '*':
			return []float64{a * b}, nil
		default:
			if b == 0 {
				return nil, fmt.Errorf("%s divides by zero", x)
			}
			return []float64{a / b}, nil
		}
	}
	call := expr.(*dqdl.Call)
	if call.Name == "last" {
		k := 1
		if len(call.Args) == 1 {
			k = int(call.Args[0].(dqdl.Literal).Value)
		}
		if values := e.past(metric, of, k); len(values) > 0 {
			return values, nil
		}
		return []float64{0}, nil // the guide: without any data point, last is 0.0
	}
	list, err := e.compute(call.Args[0], metric, of)
	if err != nil {
		return nil, err
	}
	switch call.Name {
	case "avg":
		return []float64{mean(list)}, nil
	case "median":
		return []float64{quantile(list, 0.5)}, nil
	case "max":
		return []float64{slices.Max(list)}, nil
	case "min":
		return []float64{slices.Min(list)}, nil
	case "sum":
		return []float64{mean(list) * float64(len(list))}, nil
	case "std":
		return []float64{deviation(list)}, nil
	case "abs":
		for i, v := range list {
			list[i] = math.Abs(v)
		}
		return list, nil
	}
	second, err := e.compute(call.Args[1], metric, of)
	if err != nil {
		return nil, err
	}
	if len(second) != 1 {
		return nil, fmt.Errorf("%s: the second argument is a list", call)
	}
	if call.Name == "percentile" {
		p := second[0]
		if p > 1 {
			p /= 100
		}
		if p < 0 || p > 1 {
			return nil, fmt.Errorf("%s: a percentile is from 0 to 100", call)
		}
		return []float64{quantile(list, p)}, nil
	}
	i := int(second[0])
	if float64(i) != second[0] || i < 0 || i >= len(list) {
		return nil, fmt.Errorf("%s: there is no such value: the newest is 0, the oldest %d", call, len(list)-1)
	}
	return []float64{list[i]}, nil
}

func mean(list []float64) float64 {
	sum := 0.0
	for _, v := range list {
		sum += v
	}
	return sum / float64(len(list))
}

// deviation is the standard deviation of the population.
func deviation(list []float64) float64 {
	m, sum := mean(list), 0.0
	for _, v := range list {
		sum += (v - m) * (v - m)
	}
	return math.Sqrt(sum / float64(len(list)))
}

// quantile is the p-quantile, between the values if it falls there.
func quantile(list []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	at := p * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (sorted[high]-sorted[low])*(at-float64(low))
}
