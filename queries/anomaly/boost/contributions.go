package boost

import "fmt"

// Contributions explains one row: base + the sum of parts is the log-odds of fraud that [Model.Predict] gives it, exactly but for
// rounding and for the ends, where a probability stops at log-odds of ±30. base is the log-odds of an average training row; parts[i] is what column i's value adds to it: its Shapley value in the
// game where a column left out is averaged over by the training data's own shares (TreeSHAP with path-dependent expectations, Lundberg
// et al., Nature Machine Intelligence 2020, algorithm 2).
//
// It costs leaves × depth² steps a tree, about a thousand times a prediction: it is for alerts, not for every row.
func (m *Model) Contributions(row []float32) (base float64, parts []float64, err error) {
	if len(row) != len(m.columns) {
		return 0, nil, fmt.Errorf("boost: %d values for %d columns", len(row), len(m.columns))
	}
	if err := checkValues(row, 1, m.columns); err != nil {
		return 0, nil, err
	}
	e := explainer{model: m, row: row, parts: make([]float64, len(row)), paths: make([]pathStep, (m.depth+2)*(m.depth+3)/2)}
	for k := range m.roots {
		e.tree, e.nodes = k, m.tree(k)
		e.walk(0, e.paths[:0], e.paths, 1, 1, -1)
	}
	for i := range e.parts {
		e.parts[i] *= m.scale
	}
	return m.scale*m.base + m.offset, e.parts, nil
}

// pathStep is a column that was split by on the way to a node.
type pathStep struct {
	column    int     // -1 for the root
	zero, one float64 // the share of subsets' flow that comes through without and with the column
	weight    float64 // of subsets with as many columns as the step's index
}

type explainer struct {
	model *Model
	row   []float32
	parts []float64
	paths []pathStep
	tree  int
	nodes []node
}

// walk visits node at, reached by path through column's split with the given flows. room is where its own path is laid out.
func (e *explainer) walk(at int32, path, room []pathStep, zero, one float64, column int) {
	own := append(room[:0:len(room)], path...)
	own = extend(own, zero, one, column)
	room = room[len(own):]
	n := e.nodes[at]
	if n.left == 0 {
		for i := 1; i < len(own); i++ {
			e.parts[own[i].column] += unwoundSum(own, i) * (own[i].one - own[i].zero) * float64(n.value)
		}
		return
	}
	hot, cold := n.left, n.left+1
	share := e.model.share(e.tree, n)
	hotShare, coldShare := share, 1-share
	if v := e.row[n.column]; v > n.value || v != v && n.missing == 1 {
		hot, cold, hotShare, coldShare = cold, hot, coldShare, hotShare
	}
	zeroBefore, oneBefore := 1.0, 1.0
	for i := 1; i < len(own); i++ {
		if own[i].column == int(n.column) {
			zeroBefore, oneBefore = own[i].zero, own[i].one
			own = unwind(own, i)
			break
		}
	}
	e.walk(hot, own, room, zeroBefore*hotShare, oneBefore, int(n.column))
	e.walk(cold, own, room, zeroBefore*coldShare, 0, int(n.column))
}

// extend adds a column to a path.
func extend(path []pathStep, zero, one float64, column int) []pathStep {
	l := len(path)
	weight := 0.0
	if l == 0 {
		weight = 1
	}
	path = append(path, pathStep{column, zero, one, weight})
	for i := l - 1; i >= 0; i-- {
		path[i+1].weight += one * path[i].weight * float64(i+1) / float64(l+1)
		path[i].weight *= zero * float64(l-i) / float64(l+1)
	}
	return path
}

// unwind takes the column at index i out of a path again.
func unwind(path []pathStep, i int) []pathStep {
	l := len(path) - 1
	zero, one := path[i].zero, path[i].one
	next := path[l].weight
	for j := l - 1; j >= 0; j-- {
		if one != 0 {
			was := path[j].weight
			path[j].weight = next * float64(l+1) / (float64(j+1) * one)
			next = was - path[j].weight*zero*float64(l-j)/float64(l+1)
		} else {
			path[j].weight = path[j].weight * float64(l+1) / (zero * float64(l-j))
		}
	}
	for j := i; j < l; j++ {
		path[j].column, path[j].zero, path[j].one = path[j+1].column, path[j+1].zero, path[j+1].one
	}
	return path[:l]
}

// unwoundSum is the sum of the weights of unwind(path, i), without changing path.
func unwoundSum(path []pathStep, i int) float64 {
	l := len(path) - 1
	zero, one := path[i].zero, path[i].one
	sum, next := 0.0, path[l].weight
	for j := l - 1; j >= 0; j-- {
		if one != 0 {
			w := next * float64(l+1) / (float64(j+1) * one)
			sum += w
			next = path[j].weight - w*zero*float64(l-j)/float64(l+1)
		} else {
			sum += path[j].weight / (zero * float64(l-j) / float64(l+1))
		}
	}
	return sum
}
