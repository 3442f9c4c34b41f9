package anomaly

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
)

// ForestConfig says how an isolation forest is grown. Zero fields mean the defaults of the paper.
type ForestConfig struct {
	Trees  int    // 100
	Sample int    // rows that each tree sees, drawn without replacement: 256, or all there are if fewer
	Seed   uint64 // of every random choice
}

// maxForest bounds trees times sample, and so a forest's memory, which is 48 bytes for each. It is
// far beyond what the method gains from.
const maxForest = 1 << 24

func (c ForestConfig) withDefaults() (ForestConfig, error) {
	if c.Trees == 0 {
		c.Trees = 100
	}
	if c.Sample == 0 {
		c.Sample = 256
	}
	if c.Trees < 1 || c.Sample < minRows || c.Trees > maxForest/c.Sample {
		return c, fmt.Errorf("isolation forest: %d trees of %d rows: at least 1 of %d is needed, and together no more than %d",
			c.Trees, c.Sample, minRows, maxForest)
	}
	return c, nil
}

// Forest is an isolation forest (Liu, Ting and Zhou: Isolation Forest, ICDM 2008; Isolation-Based
// Anomaly Detection, ACM TKDD 6(1), 2012): trees that cut their sample at random features and
// random values between its extremes. What is anomalous is alone after few cuts.
//
// A feature that is constant in a node is not drawn there, so every cut parts the rows (as in
// scikit-learn; the paper leaves it open). Trees are grown to the height limit of the paper, the
// binary logarithm of the sample, rounded up.
//
// A Forest is immutable and safe for concurrent use.
type Forest struct {
	cols, sample int
	trees        []tree
	nodes        []node    // of all trees, each breadth first
	paths        []float64 // of each node: its mean path length over the sample, see [Forest.Explain]
}

// tree is the nodes from first up to end.
type tree struct {
	first, end int
	height     int // cuts on the longest way down
}

// node is a cut, or a leaf: a cut that nothing finite passes, whose lower side is itself. So the
// walk needs no test for leaves: it goes as many steps as the tree is high.
type node struct {
	split   float64 // rows below it go to lower, others to lower+1
	feature int32
	lower   int32 // within the tree
}

// FitForest grows a forest on the rows of m.
func FitForest(m Matrix, config ForestConfig) (*Forest, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkFit("isolation forest", m); err != nil {
		return nil, err
	}
	f := &Forest{cols: m.Cols, sample: min(config.Sample, m.Rows()), trees: make([]tree, config.Trees)}
	grown := make([]grower, config.Trees)
	each(config.Trees, func(t int) {
		grown[t] = grower{m: m, random: rand.New(rand.NewPCG(mix(config.Seed), mix(config.Seed^mix(uint64(t)))))}
		grown[t].grow(f.sample)
	})
	for t := range grown {
		first := len(f.nodes)
		f.nodes = append(f.nodes, grown[t].nodes...)
		f.paths = append(f.paths, grown[t].paths...)
		f.trees[t] = tree{first: first, end: len(f.nodes), height: grown[t].height}
	}
	return f, nil
}

// grower grows one tree.
type grower struct {
	m      Matrix
	random *rand.Rand
	nodes  []node
	paths  []float64
	height int
}

// span is a node that is still to be cut: rows[lo:hi] of the sample, at depth.
type span struct{ lo, hi, depth int }

func (g *grower) grow(sample int) {
	rows := drawRows(g.random, g.m.Rows(), sample)
	limit := bits.Len(uint(sample - 1)) // the binary logarithm, rounded up
	open := []span{{0, sample, 0}}
	varying := make([]int32, 0, g.m.Cols)
	lows, highs := make([]float64, g.m.Cols), make([]float64, g.m.Cols)
	for i := 0; i < len(open); i++ {
		s := open[i]
		leaf := node{split: math.Inf(1), lower: int32(i)}
		g.height = max(g.height, s.depth)
		varying = varying[:0]
		if s.depth < limit && s.hi-s.lo > 1 {
			varying = g.varying(rows[s.lo:s.hi], lows, highs, varying)
		}
		if len(varying) == 0 {
			g.nodes = append(g.nodes, leaf)
			continue
		}
		feature := varying[g.random.IntN(len(varying))]
		split := between(lows[feature], highs[feature], g.random.Float64())
		middle := s.lo + g.part(rows[s.lo:s.hi], feature, split)
		g.nodes = append(g.nodes, node{split: split, feature: feature, lower: int32(len(open))})
		open = append(open, span{s.lo, middle, s.depth + 1}, span{middle, s.hi, s.depth + 1})
	}
	// Children come after their parents, so the means are there when they are needed.
	g.paths = make([]float64, len(g.nodes))
	for i := len(open) - 1; i >= 0; i-- {
		s, n := open[i], g.nodes[i]
		if int(n.lower) == i {
			g.paths[i] = float64(s.depth) + averagePath(s.hi-s.lo)
			continue
		}
		a, b := open[n.lower], open[n.lower+1]
		g.paths[i] = (float64(a.hi-a.lo)*g.paths[n.lower] + float64(b.hi-b.lo)*g.paths[n.lower+1]) / float64(s.hi-s.lo)
	}
}

// varying appends the features that are not constant in rows, and notes their extremes.
func (g *grower) varying(rows []int, lows, highs []float64, to []int32) []int32 {
	copy(lows, g.m.Row(rows[0]))
	copy(highs, lows)
	for _, r := range rows[1:] {
		for j, v := range g.m.Row(r) {
			lows[j], highs[j] = min(lows[j], v), max(highs[j], v)
		}
	}
	for j := range lows {
		if lows[j] < highs[j] {
			to = append(to, int32(j))
		}
	}
	return to
}

// between is a split above low and not above high, so that neither side is empty. The sum is
// weighed because the difference of two finite numbers may overflow.
func between(low, high, share float64) float64 {
	split := low*(1-share) + high*share
	if split <= low || split > high {
		return high
	}
	return split
}

// part moves the rows below split to the front and says how many they are.
func (g *grower) part(rows []int, feature int32, split float64) int {
	below := 0
	for i, r := range rows {
		if g.m.Data[r*g.m.Cols+int(feature)] < split {
			rows[i], rows[below] = rows[below], r
			below++
		}
	}
	return below
}

// drawRows draws k of n row numbers without replacement (Floyd's algorithm: Bentley and Floyd,
// Programming Pearls, CACM 30(9), 1987).
func drawRows(random *rand.Rand, n, k int) []int {
	rows := make([]int, 0, k)
	has := make(map[int]struct{}, k)
	for j := n - k; j < n; j++ {
		r := random.IntN(j + 1)
		if _, taken := has[r]; taken {
			r = j
		}
		has[r] = struct{}{}
		rows = append(rows, r)
	}
	return rows
}

// averagePath is c(n) of the paper (equation 1): the average length of an unsuccessful search in
// a binary search tree of n keys, which stands for the part of a tree that was not grown.
func averagePath(n int) float64 {
	switch {
	case n < 2:
		return 0
	case n == 2:
		return 1
	}
	const eulerGamma = 0.57721566490153286060651209008240243
	return 2*(math.Log(float64(n-1))+eulerGamma) - 2*float64(n-1)/float64(n)
}

// Cols says how many columns a row has.
func (f *Forest) Cols() int { return f.cols }

// Score writes the anomaly score of each row of m (equation 2 of the paper) to dst: 2 to the
// power of minus its mean path length over the trees in units of what is expected of the sample.
// It is above 0 and at most 1; 0.5 is what every row has where nothing varies.
func (f *Forest) Score(dst []float64, m Matrix) error {
	if err := checkScore("isolation forest", dst, m, f.cols); err != nil {
		return err
	}
	inBlocks(f, dst, m)
	return nil
}

// block scores a block: tree by tree, so that a tree stays in the first cache, and level by level,
// so that no load of one row waits for those of another. Sides are added up and not jumped to: a
// jump would be guessed wrong every third time.
func (f *Forest) block(dst []float64, m Matrix) {
	clear(dst)
	var room [blockRows]int32
	at, data, cols := room[:len(dst)], m.Data, m.Cols
	for _, t := range f.trees {
		nodes, paths := f.nodes[t.first:t.end], f.paths[t.first:t.end]
		root := nodes[0]
		first := int(root.feature)
		for r := range at {
			next := root.lower
			if data[first] >= root.split {
				next++
			}
			at[r] = next
			first += cols
		}
		for range t.height - 1 {
			first := 0
			for r, i := range at {
				n := &nodes[i]
				next := n.lower
				if data[first+int(n.feature)] >= n.split {
					next++
				}
				at[r] = next
				first += cols
			}
		}
		for r, i := range at {
			dst[r] += paths[i]
		}
	}
	unit := averagePath(f.sample) * float64(len(f.trees))
	for i, sum := range dst {
		dst[i] = math.Exp2(-sum / unit)
	}
}

// next is where a row goes from n. The comparison becomes a flag and not a jump, which would be
// guessed wrong every third time.
func (n *node) next(row []float64) int32 {
	var up int32
	if row[n.feature] >= n.split {
		up = 1
	}
	return n.lower + up
}

// Explain adds up what each feature did to the path of row and writes it to dst, a value for
// each column: each cut on the way is credited with the change of the mean path length, over the
// tree's sample, from the node to the side that the row goes (Saabas: Interpreting random
// forests, 2014, applied to the path length). The values add up to what the row's mean path is
// shorter than the trees' own mean; they are in cuts, positive where the feature made the row
// more anomalous.
func (f *Forest) Explain(dst, row []float64) error {
	if err := checkExplain("isolation forest", dst, row, f.cols); err != nil {
		return err
	}
	clear(dst)
	for _, t := range f.trees {
		nodes, paths := f.nodes[t.first:t.end], f.paths[t.first:t.end]
		for at := int32(0); nodes[at].lower != at; {
			below := nodes[at].next(row)
			dst[nodes[at].feature] += paths[at] - paths[below]
			at = below
		}
	}
	for j := range dst {
		dst[j] /= float64(len(f.trees))
	}
	return nil
}

// checkExplain says why row can't be explained into dst by a model of cols columns.
func checkExplain(what string, dst, row []float64, cols int) error {
	if len(row) != cols || len(dst) != cols {
		return fmt.Errorf("%s: a row of %d columns and room for %d, fitted to %d", what, len(row), len(dst), cols)
	}
	return checkValues(what, Matrix{Data: row, Cols: cols})
}
