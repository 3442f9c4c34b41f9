package boost

import (
	"fmt"
	"math"
)

// Data is labelled rows, oldest first: the order is what the validation tail is taken by.
type Data struct {
	Columns []string  // the features' names, in the order of a row's values
	Values  []float32 // row after row, len(Columns) each; NaN is a missing value, an infinity is an error
	Fraud   []bool    // one a row: reported as fraud
	// Weight is how many rows each stands for, from 1e-6 to 1e9, nil for one each: 20 where one genuine row in 20 was kept.
	Weight []float32
	// Exposure is the chance that a row's fraud would have been reported by now, from 1e-6 to 1; nil says that every label is final.
	// It comes from [Delay.Share]: see there what training does with it.
	Exposure []float32
}

// Rows is the number of rows.
func (d Data) Rows() int { return len(d.Fraud) }

func (d Data) weight(i int) float64 {
	if d.Weight == nil {
		return 1
	}
	return float64(d.Weight[i])
}

func (d Data) exposure(i int) float64 {
	if d.Exposure == nil {
		return 1
	}
	return float64(d.Exposure[i])
}

// Bounds of weights and exposures, within which no sum of a tree leaves the range of float32.
const (
	leastWeight = 1e-6
	mostWeight  = 1e9
)

// maxColumns is what a node's column number holds.
const maxColumns = math.MaxUint16

// check says what is wrong with d, by column and row number, never by value.
func (d Data) check() error {
	if len(d.Columns) == 0 || len(d.Columns) > maxColumns {
		return fmt.Errorf("boost: %d columns, 1 to %d are needed", len(d.Columns), maxColumns)
	}
	if err := checkValues(d.Values, d.Rows(), d.Columns); err != nil {
		return err
	}
	for _, part := range []struct {
		name   string
		values []float32
		most   float32
	}{{"weight", d.Weight, mostWeight}, {"exposure", d.Exposure, 1}} {
		if part.values != nil && len(part.values) != d.Rows() {
			return fmt.Errorf("boost: %d values of %s for %d rows", len(part.values), part.name, d.Rows())
		}
		for i, v := range part.values {
			if !(v >= leastWeight && v <= part.most) {
				return fmt.Errorf("boost: row %d: %s is not between %g and %g", i, part.name, leastWeight, part.most)
			}
		}
	}
	return nil
}

func checkValues(values []float32, rows int, columns []string) error {
	if len(values) != rows*len(columns) {
		return fmt.Errorf("boost: %d values, %d rows of %d columns need %d", len(values), rows, len(columns), rows*len(columns))
	}
	for i, v := range values {
		if math.IsInf(float64(v), 0) {
			return fmt.Errorf("boost: row %d: column %s is infinite; a missing value is NaN", i/len(columns), columns[i%len(columns)])
		}
	}
	return nil
}
