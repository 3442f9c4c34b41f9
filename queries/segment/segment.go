// Package segment divides customers into groups that differ, and says how they differ: it
// prepares features, finds clusters (k-means, Gaussian mixtures), chooses their number, names
// them in plain English and recognises them from one run to the next.
//
// It is a method, not a job: everything works on a [Matrix] of numbers, reads no clock, keeps
// no state and logs nothing. Equal input and seed give equal output, bit for bit, however many
// processors there are: parallel work is cut into blocks of fixed size and their results are
// added in the order of the blocks.
//
// The usual order of calls is [Prepare] (raw features to comparable ones), [Choose] (how many
// segments, and which), [Profiles] and [Vocabulary.Names] (what each is like), [Match] (which segment of
// the last run each one is) and [Measure] (who moved and what shifted).
//
// Functions refuse what they cannot answer: a value that is not a finite number, or fewer rows
// than the question needs ([TooFewError]). Missing values are for Prepare alone, as NaN.
package segment

import (
	"fmt"
	"math"
)

// Matrix holds the features of customers, a row each, one row after another in Data.
type Matrix struct {
	Rows, Cols int
	Data       []float64 // Rows × Cols values; value (i, j) is Data[i*Cols+j]
}

// NewMatrix is a matrix of zeros.
func NewMatrix(rows, cols int) Matrix {
	return Matrix{Rows: rows, Cols: cols, Data: make([]float64, rows*cols)}
}

// Row is row i, not a copy.
func (m Matrix) Row(i int) []float64 {
	return m.Data[i*m.Cols : (i+1)*m.Cols : (i+1)*m.Cols]
}

// pick copies the given rows.
func (m Matrix) pick(rows []int) Matrix {
	out := NewMatrix(len(rows), m.Cols)
	for to, from := range rows {
		copy(out.Row(to), m.Row(from))
	}
	return out
}

// TooFewError says that there is less than a method needs.
type TooFewError struct {
	What       string // what there is too little of, in the plural: "customers"
	Have, Need int
}

func (e *TooFewError) Error() string {
	return fmt.Sprintf("segment: %d %s, at least %d are needed", e.Have, e.What, e.Need)
}

// largest is the greatest magnitude a value may have: squares of differences, summed over any
// number of rows and columns, stay finite.
const largest = 1e120

// check refuses a matrix whose shape is false or that holds what is not a number to work with.
func (m Matrix) check() error {
	if m.Rows < 0 || m.Cols < 0 || len(m.Data) != m.Rows*m.Cols {
		return fmt.Errorf("segment: a matrix of %d rows and %d columns holds %d values", m.Rows, m.Cols, len(m.Data))
	}
	if m.Rows == 0 {
		return &TooFewError{"customers", 0, 1}
	}
	if m.Cols == 0 {
		return &TooFewError{"features", 0, 1}
	}
	for at, v := range m.Data {
		if !(math.Abs(v) <= largest) {
			return fmt.Errorf("segment: row %d, column %d: not a finite number below 1e120", at/m.Cols, at%m.Cols)
		}
	}
	return nil
}

// distance2 is the square of the Euclidean distance of two rows.
func distance2(a, b []float64) float64 {
	b = b[:len(a)]
	var even, odd float64
	i := 0
	for ; i+1 < len(a); i += 2 {
		d, e := a[i]-b[i], a[i+1]-b[i+1]
		even += d * d
		odd += e * e
	}
	if i < len(a) {
		d := a[i] - b[i]
		even += d * d
	}
	return even + odd
}

// moments is the mean of each column, and its variance (divisor: rows).
func (m Matrix) moments() (mean, variance []float64) {
	mean, variance = make([]float64, m.Cols), make([]float64, m.Cols)
	for i := range m.Rows {
		for j, v := range m.Row(i) {
			mean[j] += v
		}
	}
	for j := range mean {
		mean[j] /= float64(m.Rows)
	}
	for i := range m.Rows {
		for j, v := range m.Row(i) {
			variance[j] += (v - mean[j]) * (v - mean[j])
		}
	}
	for j := range variance {
		variance[j] /= float64(m.Rows)
	}
	return mean, variance
}
