package segment

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Scale says how the values of a feature are bent before features are compared.
type Scale string

const (
	Auto       Scale = ""           // YeoJohnson if the values' skewness is beyond ±0.75, or else Linear
	Linear     Scale = "linear"     // not at all
	Log        Scale = "log"        // log(1+x), for values of 0 or more
	YeoJohnson Scale = "yeojohnson" // Yeo and Johnson, Biometrika 87, 2000, by maximum likelihood
	Quantile   Scale = "quantile"   // the normal score of the rank
)

// Column is a feature.
type Column struct {
	Name   string
	Scale  Scale
	Weight float64 // how much a standard deviation of it counts beside those of others; 0 means 1
}

// maxMissing is the part of its values that a feature may lack.
const maxMissing = 0.5

// outermost is how many robust standard deviations from the centre a value counts as at most:
// a handful of extreme customers should not get a segment to themselves.
const outermost = 4

// knots is how many quantiles the Quantile scale interpolates between.
const knots = 1000

// Fitted is a feature as [Prepare] found it, and what it does to its values.
type Fitted struct {
	Column
	Missing int    // values that were missing, and count as the median
	Dropped string // why the feature is left out: "constant", "missing"; empty if it is not

	Median  float64   // of the raw values
	Lambda  float64   // of YeoJohnson
	Knots   []float64 `json:",omitempty"` // of Quantile: raw values at equally spaced ranks
	Centre  float64   // median of the bent values
	Spread  float64   // robust standard deviation of the bent values
	Raw     float64   // mean of the raw values
	Fewest  float64   // least raw value
	Largest float64   // greatest raw value
}

// Preparation makes features comparable. It is plain data, and can be kept as JSON.
type Preparation struct{ Columns []Fitted }

// Prepare learns from raw features how to make them comparable, and does. A missing value is
// NaN and counts as the feature's median; a feature with one value only, or that lacks more than half of
// its values, is left out, and Fitted says why. What is left is bent by its scale, centred on
// its median, divided by its spread (the interquartile range / 1.349, as of a normal
// distribution, or the standard deviation where that is more than twice as great), cut off at
// ±4 and multiplied by its weight.
func Prepare(raw Matrix, columns []Column) (*Preparation, Matrix, error) {
	if len(columns) != raw.Cols || len(raw.Data) != raw.Rows*raw.Cols {
		return nil, Matrix{}, fmt.Errorf("segment: %d features named, the matrix has %d", len(columns), raw.Cols)
	}
	if raw.Rows == 0 {
		return nil, Matrix{}, &TooFewError{"customers", 0, 1}
	}
	p := &Preparation{Columns: make([]Fitted, len(columns))}
	kept := 0
	for j, c := range columns {
		f, err := fit(c, raw, j)
		if err != nil {
			return nil, Matrix{}, err
		}
		p.Columns[j] = f
		if f.Dropped == "" {
			kept++
		}
	}
	if kept == 0 {
		return nil, Matrix{}, &TooFewError{"features that vary", 0, 1}
	}
	x, err := p.Apply(raw)
	return p, x, err
}

// Kept are the features that are not left out, in order: the columns of prepared matrices.
func (p *Preparation) Kept() []string {
	var names []string
	for _, f := range p.Columns {
		if f.Dropped == "" {
			names = append(names, f.Name)
		}
	}
	return names
}

// Apply prepares raw features as it was learnt.
func (p *Preparation) Apply(raw Matrix) (Matrix, error) {
	if raw.Cols != len(p.Columns) {
		return Matrix{}, fmt.Errorf("segment: %d features, prepared for %d", raw.Cols, len(p.Columns))
	}
	out := NewMatrix(raw.Rows, len(p.Kept()))
	at := 0
	for j, f := range p.Columns {
		if f.Dropped != "" {
			continue
		}
		for i := range raw.Rows {
			v := raw.Data[i*raw.Cols+j]
			if math.IsNaN(v) {
				v = f.Median
			}
			if math.Abs(v) > largest || f.Scale == Log && v < 0 {
				return Matrix{}, fmt.Errorf("segment: feature %s, row %d: out of range", f.Name, i)
			}
			out.Data[i*out.Cols+at] = f.prepare(v)
		}
		at++
	}
	return out, nil
}

// Restore is the raw values of a prepared row, by the features that were not left out.
func (p *Preparation) Restore(prepared []float64) []float64 {
	out := make([]float64, 0, len(prepared))
	for _, f := range p.Columns {
		if f.Dropped == "" {
			out = append(out, f.restore(prepared[len(out)]))
		}
	}
	return out
}

// fit learns a feature.
func fit(c Column, raw Matrix, j int) (Fitted, error) {
	f := Fitted{Column: c}
	f.Weight = cmp.Or(f.Weight, 1)
	if !(f.Weight > 0 && f.Weight <= 1000) {
		return f, fmt.Errorf("segment: feature %s: a weight outside 0 to 1000", c.Name)
	}
	values := make([]float64, 0, raw.Rows)
	for i := range raw.Rows {
		v := raw.Data[i*raw.Cols+j]
		switch {
		case math.IsNaN(v):
			f.Missing++
		case math.Abs(v) > largest:
			return f, fmt.Errorf("segment: feature %s, row %d: not a finite number below 1e120", c.Name, i)
		default:
			values = append(values, v)
			f.Raw += v
		}
	}
	if float64(f.Missing) > maxMissing*float64(raw.Rows) {
		f.Dropped, f.Raw = "missing", 0
		return f, nil
	}
	f.Raw /= float64(len(values))
	slices.Sort(values)
	f.Fewest, f.Largest, f.Median = values[0], values[len(values)-1], quantile(values, 0.5)
	if f.Fewest == f.Largest {
		f.Dropped = "constant"
		return f, nil
	}
	switch f.Scale {
	case Linear:
	case Auto:
		f.Scale = Linear
		if math.Abs(skewness(values)) > 0.75 {
			f.Scale = YeoJohnson
		}
	case Log:
		if f.Fewest < 0 {
			return f, fmt.Errorf("segment: feature %s: scale log needs values of 0 or more", c.Name)
		}
	case YeoJohnson:
	case Quantile:
		f.Knots = make([]float64, min(knots, len(values)))
		for i := range f.Knots {
			f.Knots[i] = quantile(values, float64(i)/float64(len(f.Knots)-1))
		}
	default:
		return f, fmt.Errorf("segment: feature %s: scale %q; it is linear, log, yeojohnson or quantile", c.Name, f.Scale)
	}
	if f.Scale == YeoJohnson {
		f.Lambda = likeliestLambda(values)
	}
	// Every scale keeps the order of values, so quantiles stay where they are.
	for i, v := range values {
		values[i] = f.bend(v)
	}
	f.Centre = quantile(values, 0.5)
	f.Spread = (quantile(values, 0.75) - quantile(values, 0.25)) / 1.349
	if sd := deviation(values); sd > 2*f.Spread {
		f.Spread = sd
	}
	if !(f.Spread > 0) {
		f.Dropped = "constant"
	}
	return f, nil
}

func (f *Fitted) prepare(v float64) float64 {
	return f.Weight * min(outermost, max(-outermost, (f.bend(v)-f.Centre)/f.Spread))
}

func (f *Fitted) restore(v float64) float64 {
	return min(f.Largest, max(f.Fewest, f.unbend(v/f.Weight*f.Spread+f.Centre)))
}

func (f *Fitted) bend(v float64) float64 {
	switch f.Scale {
	case Log:
		return math.Log1p(v)
	case YeoJohnson:
		return yeoJohnson(v, f.Lambda)
	case Quantile:
		return f.score(v)
	}
	return v
}

func (f *Fitted) unbend(v float64) float64 {
	switch f.Scale {
	case Log:
		return math.Expm1(v)
	case YeoJohnson:
		return unYeoJohnson(v, f.Lambda)
	case Quantile:
		at := (1 + math.Erf(v/math.Sqrt2)) / 2
		return quantile(f.Knots, min(1, max(0, at)))
	}
	return v
}

// score is the normal score of a value: of equal knots the middle one's.
func (f *Fitted) score(v float64) float64 {
	n := len(f.Knots)
	low := sort.SearchFloat64s(f.Knots, v)
	high := sort.Search(n, func(i int) bool { return f.Knots[i] > v })
	var at float64
	switch {
	case high > low:
		at = float64(low+high-1) / 2
	case low == 0:
		at = 0
	case low == n:
		at = float64(n - 1)
	default:
		at = float64(low-1) + (v-f.Knots[low-1])/(f.Knots[low]-f.Knots[low-1])
	}
	// The ends would be infinite.
	p := min(1-1e-7, max(1e-7, at/float64(n-1)))
	return math.Sqrt2 * math.Erfinv(2*p-1)
}

// quantile interpolates linearly between sorted values (type 7 of Hyndman and Fan, The American
// Statistician 50, 1996).
func quantile(sorted []float64, p float64) float64 {
	at := p * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-1)
	if i == len(sorted)-1 {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

func deviation(values []float64) float64 {
	mean := 0.0
	for _, v := range values {
		mean += v / float64(len(values))
	}
	sum := 0.0
	for _, v := range values {
		sum += (v - mean) * (v - mean) / float64(len(values))
	}
	return math.Sqrt(sum)
}

func skewness(values []float64) float64 {
	mean, sd := 0.0, deviation(values)
	for _, v := range values {
		mean += v / float64(len(values))
	}
	if sd == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range values {
		z := (v - mean) / sd
		sum += z * z * z / float64(len(values))
	}
	return sum
}
