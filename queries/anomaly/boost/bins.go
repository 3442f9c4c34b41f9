package boost

import (
	"math"
	"slices"
)

const (
	maxBins    = 255     // of present values in a column; the 256th is the missing one
	missingBin = 255     // what a missing value is binned as
	sketchRows = 1 << 16 // genuine rows that a column's bounds are chosen from
)

// bins is a table cut into at most 255 ranges a column, column after column: what a histogram is filled from.
type bins struct {
	rows   int
	codes  []uint8     // column after column, rows each
	bounds [][]float32 // per column: bin b holds the values above bounds[b-1] up to bounds[b]
}

func (b *bins) column(c int) []uint8 { return b.codes[c*b.rows : (c+1)*b.rows] }

// newBins cuts d's columns. The bounds are quantiles of a mixture in which all frauds weigh as much as all genuine rows:
// with plain quantiles the few frauds, mostly at a column's far end, would share one bin with hundreds of genuine rows
// (Chen & Guestrin, KDD 2016, section 3.3, weigh their sketch for the same reason).
func newBins(d Data, workers int) *bins {
	columns := len(d.Columns)
	b := &bins{rows: d.Rows(), codes: make([]uint8, len(d.Values)), bounds: make([][]float32, columns)}
	frauds := 0
	for _, f := range d.Fraud {
		if f {
			frauds++
		}
	}
	stride := max(1, (d.Rows()-frauds)/sketchRows)
	fraudWeight := max(1, float64(d.Rows()-frauds)/float64(stride)/float64(max(1, frauds)))
	each(columns, workers, func(_, c int) {
		b.bounds[c] = cut(d, c, stride, fraudWeight)
		codes := b.column(c)
		for i := range codes {
			codes[i] = code(b.bounds[c], d.Values[i*columns+c])
		}
	})
	return b
}

// code is the bin of v: the first whose bound is at least v. A value above every bound seen falls into the last bin.
func code(bounds []float32, v float32) uint8 {
	if v != v {
		return missingBin
	}
	lo, hi := 0, len(bounds)-1
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if v <= bounds[mid] {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return uint8(max(lo, 0))
}

// weighted is a value and the weight of the rows that have it.
type weighted struct {
	value  float32
	weight float64
}

// cut chooses a column's bounds, each half way between two values seen; the last is the largest number there is.
func cut(d Data, column, stride int, fraudWeight float64) []float32 {
	columns := len(d.Columns)
	var genuine, frauds []float32
	seen := 0
	for i, fraud := range d.Fraud {
		v := d.Values[i*columns+column]
		switch {
		case v != v:
		case fraud:
			frauds = append(frauds, v)
		default:
			if seen++; seen%stride == 0 {
				genuine = append(genuine, v)
			}
		}
	}
	slices.Sort(genuine)
	slices.Sort(frauds)
	var distinct []weighted
	total := 0.0
	for len(genuine)+len(frauds) > 0 {
		from, weight := &genuine, 1.0
		if len(genuine) == 0 || len(frauds) > 0 && frauds[0] < genuine[0] {
			from, weight = &frauds, fraudWeight
		}
		v := (*from)[0]
		*from = (*from)[1:]
		total += weight
		if n := len(distinct); n > 0 && distinct[n-1].value == v {
			distinct[n-1].weight += weight
		} else {
			distinct = append(distinct, weighted{v, weight})
		}
	}
	if len(distinct) == 0 {
		return nil
	}
	var bounds []float32
	held, left := 0.0, total
	for i := 0; i+1 < len(distinct); i++ {
		held += distinct[i].weight
		// A bin is closed when it holds its part of what is left; while values are fewer than bins, at every value.
		free := maxBins - len(bounds)
		if len(distinct)-i <= free || held >= left/float64(free) {
			bounds = append(bounds, between(distinct[i].value, distinct[i+1].value))
			left -= held
			held = 0
			if len(bounds) == maxBins-1 {
				break
			}
		}
	}
	return append(bounds, math.MaxFloat32)
}

// between is half way from a to b, a or above and below b even where rounding or the range of numbers says otherwise.
func between(a, b float32) float32 {
	mid := float32((float64(a) + float64(b)) / 2)
	if mid >= b {
		return a
	}
	return mid
}
