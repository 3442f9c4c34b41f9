package anomaly

import (
	"fmt"
	"math"
)

// Method is how tail probabilities of single columns make the score of a row.
type Method uint8

const (
	// MethodECOD adds up, over the columns, the surprise of the rarer tail (Li and others: ECOD:
	// Unsupervised Outlier Detection Using Empirical Cumulative Distribution Functions, TKDE
	// 2022).
	MethodECOD Method = iota + 1
	// MethodCOPOD adds up the surprise of the tail that the column's skewness points to, or the
	// mean of both tails where that is more (Li and others: COPOD: Copula-Based Outlier
	// Detection, ICDM 2020).
	MethodCOPOD
)

func (m Method) String() string {
	if m == MethodCOPOD {
		return "copod"
	}
	return "ecod"
}

// ECOD scores the rows of m against one another. It returns the score of each row and, in a
// matrix of m's shape, what each column adds to it, in nats.
//
// It computes what the authors' reference implementation in PyOD computes: the larger of the
// tails is taken column by column, where the paper's algorithm 1 takes it after adding up, and in
// a column of no skewness at all both tails count.
func ECOD(m Matrix) (scores []float64, parts Matrix, err error) { return tailScores(MethodECOD, m) }

// COPOD scores the rows of m against one another, as [ECOD] does, with the rule of
// [MethodCOPOD].
func COPOD(m Matrix) (scores []float64, parts Matrix, err error) { return tailScores(MethodCOPOD, m) }

func tailScores(method Method, m Matrix) ([]float64, Matrix, error) {
	if err := checkFit(method.String(), m); err != nil {
		return nil, Matrix{}, err
	}
	n := float64(m.Rows())
	parts := Matrix{Data: make([]float64, len(m.Data)), Cols: m.Cols}
	each(m.Cols, func(j int) {
		column := m.column(j)
		skew := skewSign(column)
		e := newECDF(column, 0)
		for i := range m.Rows() {
			below, upto := e.counts(m.Data[i*m.Cols+j])
			parts.Data[i*m.Cols+j] = surprise(method.rarity(upto/n, (n-below)/n, skew))
		}
	})
	scores := make([]float64, m.Rows())
	for i := range scores {
		for _, v := range parts.Row(i) {
			scores[i] += v
		}
	}
	return scores, parts, nil
}

// column copies column j.
func (m Matrix) column(j int) []float64 {
	c := make([]float64, m.Rows())
	for i := range c {
		c[i] = m.Data[i*m.Cols+j]
	}
	return c
}

// rarity says how rare a column's value is: left is the probability of a value not above it,
// right that of one not below it. It is a square, because COPOD's mean of two logarithms is half
// that of a product; what the column adds to the score is the surprise of it.
func (m Method) rarity(left, right float64, skew int8) float64 {
	least := min(left, right)
	switch {
	case skew == 0:
		return left * left * right * right
	case m == MethodECOD:
		return least * least
	case skew < 0:
		return left * least
	}
	return right * least
}

// surprise is the score that a rarity, or a product of rarities, stands for.
func surprise(rarity float64) float64 { return 0 - math.Log(rarity)/2 }

// skewSign is the sign of the third central moment, 0 where the spread is below what the mean's
// precision resolves (as SciPy's skew has it).
func skewSign(x []float64) int8 {
	n := float64(len(x))
	// In units of about the largest magnitude, so that no power overflows: a power of two, so that
	// what lies evenly about its mean still does.
	var unit float64
	for _, v := range x {
		unit = max(unit, math.Abs(v))
	}
	if unit == 0 {
		return 0
	}
	_, exponent := math.Frexp(unit)
	unit = math.Ldexp(1, exponent-1)
	var mean, second, third float64
	for _, v := range x {
		mean += v / unit
	}
	mean /= n
	for _, v := range x {
		d := v/unit - mean
		second += d * d
		third += d * d * d
	}
	const epsilon = 0x1p-52
	if second/n <= (epsilon*mean)*(epsilon*mean) {
		return 0
	}
	switch {
	case third > 0:
		return 1
	case third < 0:
		return -1
	}
	return 0
}

// TailsConfig says how [Tails] are fitted.
type TailsConfig struct {
	Method Method // MethodECOD
	// Keep is how many values of a column's distribution are kept, at least 16: 4096. Columns
	// with no more distinct values are kept exactly, others exactly in the outer quarters of what
	// is kept and by interpolation in between.
	Keep int
}

// Tails is the fitted form of [ECOD] and [COPOD]: it scores rows against the distributions of
// the columns of the sample it was fitted to, each row as if it alone had joined the sample, so
// that no probability is 0. Its memory does not grow with the sample.
//
// Tails is immutable and safe for concurrent use.
type Tails struct {
	method  Method
	columns []ecdf
	skews   []int8
}

// FitTails fits the distributions to the rows of m.
func FitTails(m Matrix, config TailsConfig) (*Tails, error) {
	if config.Method == 0 {
		config.Method = MethodECOD
	}
	if config.Method > MethodCOPOD {
		return nil, fmt.Errorf("tails: method %d is not known", config.Method)
	}
	if config.Keep == 0 {
		config.Keep = 4096
	}
	if config.Keep < 16 {
		return nil, fmt.Errorf("%v: %d values to keep, at least 16 are needed", config.Method, config.Keep)
	}
	if err := checkFit(config.Method.String(), m); err != nil {
		return nil, err
	}
	t := &Tails{method: config.Method, columns: make([]ecdf, m.Cols), skews: make([]int8, m.Cols)}
	each(m.Cols, func(j int) {
		column := m.column(j)
		t.skews[j] = skewSign(column)
		t.columns[j] = newECDF(column, config.Keep)
	})
	return t, nil
}

// Cols says how many columns a row has.
func (t *Tails) Cols() int { return len(t.columns) }

// Score writes the score of each row of m, in nats, to dst.
func (t *Tails) Score(dst []float64, m Matrix) error {
	if err := checkScore(t.method.String(), dst, m, t.Cols()); err != nil {
		return err
	}
	inBlocks(t, dst, m)
	return nil
}

// block scores a block, column by column, so that a distribution is in the cache for all rows. It
// takes one logarithm for several columns, of which no number of rows makes a product too small.
func (t *Tails) block(dst []float64, m Matrix) {
	const together = 8
	var room struct {
		numbers, products [blockRows]float64
		places            [blockRows]int32
	}
	numbers, products, places := room.numbers[:len(dst)], room.products[:len(dst)], room.places[:len(dst)]
	clear(dst)
	for j := range t.columns {
		if j%together == 0 {
			for i := range products {
				products[i] = 1
			}
		}
		for i := range numbers {
			numbers[i] = m.Data[i*m.Cols+j]
		}
		t.columns[j].locate(places, numbers)
		for i, x := range numbers {
			products[i] *= t.rarity(j, places[i], x)
		}
		if j%together == together-1 || j == len(t.columns)-1 {
			for i, p := range products {
				dst[i] += surprise(p)
			}
		}
	}
}

// rarity is that of x, located at place, in column j.
func (t *Tails) rarity(j int, place int32, x float64) float64 {
	e := &t.columns[j]
	below, upto := e.at(place, x)
	all := float64(e.n + 1)
	return t.method.rarity((upto+1)/all, (all-below)/all, t.skews[j])
}

// Explain writes what each column adds to the score of row, in nats, to dst.
func (t *Tails) Explain(dst, row []float64) error {
	if err := checkExplain(t.method.String(), dst, row, t.Cols()); err != nil {
		return err
	}
	var place [1]int32
	for j, x := range row {
		t.columns[j].locate(place[:], row[j:j+1])
		dst[j] = surprise(t.rarity(j, place[0], x))
	}
	return nil
}
