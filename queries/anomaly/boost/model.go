package boost

import (
	"errors"
	"fmt"
	"math"
)

// Model tells fraud from genuine rows. It comes from [Train] or from [Model.UnmarshalBinary], and is safe for use by several goroutines
// at once.
type Model struct {
	columns       []string
	summary       Summary
	prior         float64 // log-odds before any tree
	scale, offset float64 // from the trees' sum to the log-odds of fraud

	nodes []node    // every tree's, one after another
	cover []float32 // beside nodes: how much training data came by
	roots []int32   // where each tree begins in nodes

	steps  []step
	values []float32 // beside steps: a leaf's value
	base   float64   // what the trees' sum is on average
	depth  int       // of the deepest tree
}

// step is a node made for walking: a leaf leads to itself, so that several rows can walk in step without asking who has arrived.
type step struct {
	threshold float32
	next      int32 // the left child's index in Model.steps; the right one follows
	column    uint16
	missing   uint16
}

// Columns is the names of a row's values, in their order.
func (m *Model) Columns() []string { return append([]string(nil), m.columns...) }

// Summary is how the training went.
func (m *Model) Summary() Summary { return m.summary }

// add appends a tree.
func (m *Model) add(t tree) {
	m.roots = append(m.roots, int32(len(m.nodes)))
	m.nodes = append(m.nodes, t.nodes...)
	m.cover = append(m.cover, t.cover...)
}

// finish derives what prediction and contributions walk over from nodes, cover and roots.
func (m *Model) finish() {
	m.steps, m.values = make([]step, len(m.nodes)), make([]float32, len(m.nodes))
	m.base = m.prior
	for k, root := range m.roots {
		for i, n := range m.tree(k) {
			at := root + int32(i)
			if n.left == 0 {
				m.steps[at] = step{threshold: math.MaxFloat32, next: at}
				m.values[at] = n.value
				continue
			}
			m.steps[at] = step{threshold: n.value, next: root + n.left, column: n.column, missing: uint16(n.missing)}
		}
		mean, depth := m.expect(k, 0)
		m.base += mean
		m.depth = max(m.depth, depth)
	}
}

// tree is the nodes of tree k.
func (m *Model) tree(k int) []node {
	if k+1 < len(m.roots) {
		return m.nodes[m.roots[k]:m.roots[k+1]]
	}
	return m.nodes[m.roots[k]:]
}

// expect is the mean of tree k's values below node at, weighted by cover, and the splits to its deepest leaf.
func (m *Model) expect(k int, at int32) (mean float64, depth int) {
	n := m.tree(k)[at]
	if n.left == 0 {
		return float64(n.value), 0
	}
	share := m.share(k, n)
	left, leftDepth := m.expect(k, n.left)
	right, rightDepth := m.expect(k, n.left+1)
	return share*left + (1-share)*right, 1 + max(leftDepth, rightDepth)
}

// share is the part of n's training data that went left.
func (m *Model) share(k int, n node) float64 {
	left, right := float64(m.cover[m.roots[k]+n.left]), float64(m.cover[m.roots[k]+n.left+1])
	return left / (left + right)
}

// mostLogOdds keeps a probability between 0 and 1, neither of which a model can know.
const mostLogOdds = 30

const block = 256 // rows that walk one tree before the next: the tree stays in the processor's nearest cache

// Predict appends the probability of fraud of every row of values (row after row, in the order of [Model.Columns]; NaN is missing) to dst.
// It fails, by row and column, on an infinity or on a part of a row.
func (m *Model) Predict(dst []float64, values []float32) ([]float64, error) {
	columns := len(m.columns)
	if columns == 0 {
		return nil, errors.New("boost: the model is empty: train or read one first")
	}
	if len(values)%columns != 0 {
		return nil, fmt.Errorf("boost: %d values are no whole rows of %d columns", len(values), columns)
	}
	rows := len(values) / columns
	if err := checkValues(values, rows, m.columns); err != nil {
		return nil, err
	}
	var sums [block]float64
	for from := 0; from < rows; from += block {
		n := min(block, rows-from)
		part := values[from*columns : (from+n)*columns]
		for i := range sums[:n] {
			sums[i] = m.prior
		}
		for _, root := range m.roots {
			m.walk(sums[:n], part, root)
		}
		for _, sum := range sums[:n] {
			dst = append(dst, sigmoid(min(max(m.scale*sum+m.offset, -mostLogOdds), mostLogOdds)))
		}
	}
	return dst, nil
}

// walk adds the value that each row of values reaches from root to its sum; four rows walk in step, which hides the latency of one.
func (m *Model) walk(sums []float64, values []float32, root int32) {
	columns, steps := len(m.columns), m.steps
	i := 0
	for ; i+4 <= len(sums); i += 4 {
		r0 := values[i*columns : (i+1)*columns]
		r1 := values[(i+1)*columns : (i+2)*columns]
		r2 := values[(i+2)*columns : (i+3)*columns]
		r3 := values[(i+3)*columns : (i+4)*columns]
		a0, a1, a2, a3 := root, root, root, root
		for {
			b0, b1, b2, b3 := steps[a0].after(r0), steps[a1].after(r1), steps[a2].after(r2), steps[a3].after(r3)
			if (a0^b0)|(a1^b1)|(a2^b2)|(a3^b3) == 0 {
				break
			}
			a0, a1, a2, a3 = b0, b1, b2, b3
		}
		sums[i] += float64(m.values[a0])
		sums[i+1] += float64(m.values[a1])
		sums[i+2] += float64(m.values[a2])
		sums[i+3] += float64(m.values[a3])
	}
	for ; i < len(sums); i++ {
		row := values[i*columns : (i+1)*columns]
		at := root
		for next := steps[at].after(row); next != at; next = steps[at].after(row) {
			at = next
		}
		sums[i] += float64(m.values[at])
	}
}

// after is where row goes from s. A leaf's threshold is above every number and its missing side is left, so it stays.
func (s *step) after(row []float32) int32 {
	v := row[s.column]
	var right int32
	if v > s.threshold {
		right = 1
	}
	var missing int32
	if v != v {
		missing = 1
	}
	return s.next + right + missing&int32(s.missing)
}
