// Package anomaly finds the rows of a table of features that do not belong: detectors that need
// no labels, their combination, the calibration of what they say to a probability, and the
// measures by which any detector is judged.
//
// [Fit] is the short way: it fits every detector to a sample and returns a [Model] that scores
// rows, explains them and gives tail probabilities. The parts stand alone too:
//
//   - [Forest]: the isolation forest of Liu, Ting and Zhou (ICDM 2008; ACM TKDD 6(1), 2012).
//   - [ECOD] and [COPOD] score the rows of one table against one another, as the papers of Li,
//     Zhao, Hu, Botta, Ionescu and Chen (TKDE 2022) and Li, Zhao, Botta, Ionescu and Hu (ICDM
//     2020) do; [Tails] is their fitted form, for rows that come later.
//   - [Robust]: distances from the median in robust deviations (Iglewicz and Hoaglin 1993).
//   - [Surprise], [Isotonic] and [Platt] turn scores into probabilities, without and with labels.
//   - [AUC], [AveragePrecision] and their neighbours measure scores against labels.
//
// In every detector more is more anomalous. A value that is NaN or infinite is refused, by row
// and column, wherever it is met: what stands for a missing value is the caller's to say. A
// constant column is no fault. Equal input and seed give equal bits, however many processors
// there are.
package anomaly

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
)

// Matrix is a table of numbers, row after row.
type Matrix struct {
	// Data holds the value of row i and column j at i*Cols+j. Its length is a multiple of Cols.
	Data []float64
	Cols int
}

// Rows says how many rows there are.
func (m Matrix) Rows() int {
	if m.Cols <= 0 {
		return 0
	}
	return len(m.Data) / m.Cols
}

// Row is row i, and shares its memory.
func (m Matrix) Row(i int) []float64 { return m.Data[i*m.Cols : (i+1)*m.Cols : (i+1)*m.Cols] }

// slice is the rows from lo up to hi.
func (m Matrix) slice(lo, hi int) Matrix {
	return Matrix{Data: m.Data[lo*m.Cols : hi*m.Cols], Cols: m.Cols}
}

// ErrValue is in the error about a NaN or an infinity among the features or the scores.
var ErrValue = errors.New("not a finite number; replace missing values first")

// ErrTooFew is in the error about a table that has too few rows to fit anything to.
var ErrTooFew = errors.New("too few rows")

// minRows is what it takes to have a distribution at all.
const minRows = 2

// checkFit says why m can't be fitted to, in the name of what.
func checkFit(what string, m Matrix) error {
	if err := checkShape(what, m); err != nil {
		return err
	}
	if n := m.Rows(); n < minRows {
		return fmt.Errorf("%s: %w: %d, at least %d are needed", what, ErrTooFew, n, minRows)
	}
	return checkValues(what, m)
}

func checkShape(what string, m Matrix) error {
	if m.Cols <= 0 {
		return fmt.Errorf("%s: no columns, at least 1 is needed", what)
	}
	if len(m.Data)%m.Cols != 0 {
		return fmt.Errorf("%s: %d values are no whole number of rows of %d columns", what, len(m.Data), m.Cols)
	}
	return nil
}

func checkValues(what string, m Matrix) error {
	if i := notFinite(m.Data); i >= 0 {
		return fmt.Errorf("%s: row %d, column %d: %w", what, i/m.Cols, i%m.Cols, ErrValue)
	}
	return nil
}

// checkScore says why the rows of m can't be scored into dst by a model of cols columns.
func checkScore(what string, dst []float64, m Matrix, cols int) error {
	if err := checkShape(what, m); err != nil {
		return err
	}
	if m.Cols != cols {
		return fmt.Errorf("%s: rows of %d columns, fitted to %d", what, m.Cols, cols)
	}
	if len(dst) != m.Rows() {
		return fmt.Errorf("%s: room for %d scores of %d rows", what, len(dst), m.Rows())
	}
	return checkValues(what, m)
}

// notFinite finds the first NaN or infinity, or returns -1.
func notFinite(x []float64) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}

// blockRows is how many rows are worked on together: 30 features of them fit the first cache.
const blockRows = 64

// blocks is what scores at most blockRows rows, each by itself alone.
type blocks interface {
	block(dst []float64, m Matrix)
}

// inBlocks scores all rows of m, on all processors if there are many.
func inBlocks(b blocks, dst []float64, m Matrix) {
	rows := m.Rows()
	workers := min(runtime.GOMAXPROCS(0), (rows+blockRows-1)/blockRows)
	if workers <= 1 {
		oneByOne(b, dst, m)
		return
	}
	share := (rows + workers - 1) / workers
	share = (share + blockRows - 1) / blockRows * blockRows
	var wait sync.WaitGroup
	for lo := 0; lo < rows; lo += share {
		hi := min(lo+share, rows)
		wait.Go(func() { oneByOne(b, dst[lo:hi], m.slice(lo, hi)) })
	}
	wait.Wait()
}

func oneByOne(b blocks, dst []float64, m Matrix) {
	for lo := 0; lo < len(dst); lo += blockRows {
		hi := min(lo+blockRows, len(dst))
		b.block(dst[lo:hi], m.slice(lo, hi))
	}
}

// each calls work for every i below n, on all processors.
func each(n int, work func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < n; i += workers {
				work(i)
			}
		})
	}
	wait.Wait()
}
