package anomaly

import (
	"math"
	"slices"
)

// Robust measures how far a row lies from the medians of its columns, in robust deviations: the
// modified z-score 0.6745 (x - median) / MAD, MAD being the median absolute deviation from the
// median (Iglewicz and Hoaglin: How to Detect and Handle Outliers, ASQC 1993, who call 3.5 an
// outlier). Where more than half of a column is one value and MAD is 0, the mean absolute
// deviation stands for it: (x - median) / (1.2533 MeanAD). In a constant column a value that
// differs is [FarZ] away.
//
// A Robust is immutable and safe for concurrent use.
type Robust struct {
	medians []float64
	scales  []float64 // of one deviation; 0 in a constant column
}

const (
	// FarZ is the modified z-score of a value that differs in a column that is constant in the
	// sample: ten times what is called an outlier.
	FarZ = 35
	// maxZ bounds a modified z-score, so that sums of them stay finite.
	maxZ = 1e9
)

// FitRobust takes the medians and deviations of the columns of m.
func FitRobust(m Matrix) (*Robust, error) {
	if err := checkFit("robust z", m); err != nil {
		return nil, err
	}
	r := &Robust{medians: make([]float64, m.Cols), scales: make([]float64, m.Cols)}
	each(m.Cols, func(j int) { r.medians[j], r.scales[j] = center(m.column(j)) })
	return r, nil
}

// center is the median of x, which it sorts, and the scale of one robust deviation.
func center(x []float64) (median, scale float64) {
	slices.Sort(x)
	median = middle(x)
	var mean float64
	for i, v := range x {
		x[i] = min(math.Abs(v-median), math.MaxFloat64)
		mean += x[i] / float64(len(x))
	}
	slices.Sort(x)
	if mad := middle(x); mad > 0 {
		return median, min(mad/0.6745, math.MaxFloat64)
	}
	return median, min(mean*1.253314, math.MaxFloat64)
}

// middle is the median of what is sorted.
func middle(x []float64) float64 {
	h := len(x) / 2
	if len(x)%2 == 1 {
		return x[h]
	}
	return x[h-1]/2 + x[h]/2
}

// Cols says how many columns a row has.
func (r *Robust) Cols() int { return len(r.medians) }

// z is the modified z-score of x in column j, without its sign.
func (r *Robust) z(j int, x float64) float64 {
	d := math.Abs(x - r.medians[j])
	if r.scales[j] > 0 {
		return min(d/r.scales[j], maxZ)
	}
	if d > 0 {
		return FarZ
	}
	return 0
}

// Score writes the score of each row of m to dst: the mean over the columns of |z|. So one column
// that is very far off counts, and many that are somewhat off do too.
func (r *Robust) Score(dst []float64, m Matrix) error {
	if err := checkScore("robust z", dst, m, r.Cols()); err != nil {
		return err
	}
	inBlocks(r, dst, m)
	return nil
}

func (r *Robust) block(dst []float64, m Matrix) {
	for i := range dst {
		var sum float64
		for j, x := range m.Row(i) {
			sum += r.z(j, x)
		}
		dst[i] = sum / float64(m.Cols)
	}
}

// Explain writes the modified z-score of each column of row, with its sign, to dst.
func (r *Robust) Explain(dst, row []float64) error {
	if err := checkExplain("robust z", dst, row, r.Cols()); err != nil {
		return err
	}
	for j, x := range row {
		dst[j] = math.Copysign(r.z(j, x), x-r.medians[j])
	}
	return nil
}
