package segment

import "math"

// assignment pairs rows with columns, each at most once, at the least total cost: the Hungarian
// method (Kuhn, Naval Research Logistics Quarterly 2, 1955) with shortest augmenting paths
// (Jonker and Volgenant, Computing 38, 1987). The answer is the column of each row, -1 for a row left
// over where there are fewer columns.
func assignment(rows, cols int, cost func(r, c int) float64) []int {
	if rows > cols {
		of := make([]int, rows)
		for r := range of {
			of[r] = -1
		}
		for c, r := range assignment(cols, rows, func(r, c int) float64 { return cost(c, r) }) {
			of[r] = c
		}
		return of
	}
	// Row and column 0 are sentinels; taken[c] is the row that column c is paired with.
	rowPrice, colPrice := make([]float64, rows+1), make([]float64, cols+1)
	taken, before := make([]int, cols+1), make([]int, cols+1)
	for r := 1; r <= rows; r++ {
		taken[0] = r
		least, done := make([]float64, cols+1), make([]bool, cols+1)
		for c := range least {
			least[c] = math.Inf(1)
		}
		at := 0
		for taken[at] != 0 {
			done[at] = true
			row, step, next := taken[at], math.Inf(1), 0
			for c := 1; c <= cols; c++ {
				if done[c] {
					continue
				}
				if d := cost(row-1, c-1) - rowPrice[row] - colPrice[c]; d < least[c] {
					least[c], before[c] = d, at
				}
				if least[c] < step {
					step, next = least[c], c
				}
			}
			for c := range least {
				if done[c] {
					rowPrice[taken[c]] += step
					colPrice[c] -= step
				} else {
					least[c] -= step
				}
			}
			at = next
		}
		for at != 0 {
			taken[at] = taken[before[at]]
			at = before[at]
		}
	}
	of := make([]int, rows)
	for c := 1; c <= cols; c++ {
		if taken[c] > 0 {
			of[taken[c]-1] = c - 1
		}
	}
	return of
}
