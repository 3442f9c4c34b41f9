package boost

import "math"

// limits are what a tree's growth stops at.
type limits struct {
	leaves    int     // at most this many
	depth     int     // splits from the root to a leaf
	rows      int     // a leaf holds at least this many rows
	hessian   float64 // and at least this sum of hessians
	l2        float64 // added to the sum of hessians
	perSplit  int     // columns drawn anew at every split; 0: all that the tree has
	bestFirst bool    // the leaf that gains most is split next (leaf-wise, Ke et al., NeurIPS 2017); otherwise the newest
}

// cell is a histogram's bin: sums of gradients and hessians, and rows.
type cell struct {
	g, h float64
	n    int
}

// pair is a row's gradient and hessian.
type pair struct{ g, h float32 }

func (c *cell) count(p pair) { c.g += float64(p.g); c.h += float64(p.h); c.n++ }

func (c *cell) add(o cell) { c.g += o.g; c.h += o.h; c.n += o.n }

func (c cell) less(o cell) cell { return cell{c.g - o.g, c.h - o.h, c.n - o.n} }

// histogram is 256 cells a column, in the order of the tree's columns.
type histogram []cell

// split is the best that was found for a leaf.
type split struct {
	gain    float64
	column  int
	bin     int
	missing uint8
	left    cell
}

// open is a leaf that may yet be split.
type open struct {
	node       int32
	depth      int
	begin, end int // its rows, in grower.rows
	sum        cell
	best       split
	hist       histogram // kept for the children's sake, unless columns are drawn at every split
}

// grower grows one tree after another over the same bins. It is used by one goroutine at a time.
type grower struct {
	bins    *bins
	limits  limits
	workers int
	seed    uint64

	columns []int32  // the tree's
	rows    []uint32 // grouped by leaf, ascending within one
	spare   []uint32
	pairs   []pair // of rows, in their order, for the leaf that is being summed
	free    []histogram
	splits  []split
	draws   int
}

// largeLeaf is how many cells must be summed before it pays to wake other goroutines.
const largeLeaf = 1 << 16

// grow makes a tree over the rows in g.rows[:n] with gradients by row number. Leaves hold -G/(H+l2)
// (Chen & Guestrin, KDD 2016, equation 5). ended is told each leaf's rows.
func (w *grower) grow(gradients []pair, ended func(leaf int32, rows []uint32)) tree {
	t := tree{nodes: make([]node, 1, 2*min(w.limits.leaves, 64)), cover: make([]float32, 1, 2*min(w.limits.leaves, 64))}
	root := open{end: len(w.rows)}
	w.gather(root, gradients)
	for i := range w.rows {
		root.sum.count(w.pairs[i])
	}
	w.search(&root, nil, nil, gradients)
	leaves := []open{root}
	finish := func(o open) {
		t.nodes[o.node].value = float32(-o.sum.g / (o.sum.h + w.limits.l2))
		t.cover[o.node] = float32(max(o.sum.h, leastCover))
		if ended != nil {
			ended(o.node, w.rows[o.begin:o.end])
		}
		w.release(o.hist)
	}
	for made := 1; len(leaves) > 0; {
		at := w.pick(leaves)
		o := leaves[at]
		leaves = append(leaves[:at], leaves[at+1:]...)
		if o.best.gain <= 0 || made >= w.limits.leaves {
			finish(o)
			continue
		}
		made++
		n := &t.nodes[o.node]
		n.column = uint16(o.best.column)
		n.bin = uint8(o.best.bin)
		n.value = w.bins.bounds[n.column][o.best.bin]
		n.missing = o.best.missing
		n.left = int32(len(t.nodes))
		t.cover[o.node] = float32(max(o.sum.h, leastCover))
		middle := w.partition(o, n)
		left := open{node: n.left, depth: o.depth + 1, begin: o.begin, end: middle, sum: o.best.left}
		right := open{node: n.left + 1, depth: o.depth + 1, begin: middle, end: o.end, sum: o.sum.less(o.best.left)}
		t.nodes = append(t.nodes, node{}, node{})
		t.cover = append(t.cover, 0, 0)
		small, large := &left, &right
		if left.sum.n > right.sum.n {
			small, large = large, small
		}
		w.search(small, nil, nil, gradients)
		w.search(large, o.hist, small.hist, gradients)
		leaves = append(leaves, left, right)
	}
	return t
}

func (w *grower) pick(leaves []open) int {
	if !w.limits.bestFirst {
		return len(leaves) - 1
	}
	best := 0
	for i := range leaves {
		if leaves[i].best.gain > leaves[best].best.gain {
			best = i
		}
	}
	return best
}

// partition moves o's rows so that the left ones come first, each side ascending, and gives the index of the first right one.
func (w *grower) partition(o open, n *node) int {
	codes := w.bins.column(int(n.column))
	left, spare := o.begin, w.spare[:0]
	for _, r := range w.rows[o.begin:o.end] {
		if goesRight(n, codes[r]) {
			spare = append(spare, r)
		} else {
			w.rows[left] = r
			left++
		}
	}
	copy(w.rows[left:o.end], spare)
	w.spare = spare[:0]
	return left
}

// gather lays o's gradients and hessians out in its rows' order.
func (w *grower) gather(o open, gradients []pair) {
	rows := w.rows[o.begin:o.end]
	if cap(w.pairs) < len(rows) {
		w.pairs = make([]pair, len(rows))
	}
	w.pairs = w.pairs[:len(rows)]
	for i, r := range rows {
		w.pairs[i] = gradients[r]
	}
}

// search finds o's best split. Its histogram is what remains of its parent's when its sibling's is taken away, where there are such.
func (w *grower) search(o *open, parent, sibling histogram, gradients []pair) {
	splittable := o.depth < w.limits.depth && o.sum.n >= 2*w.limits.rows && o.sum.h >= 2*w.limits.hessian
	if !splittable {
		w.release(parent)
		return
	}
	if parent == nil || sibling == nil {
		w.release(parent)
		parent = nil
	}
	hist := parent
	if hist == nil {
		hist = w.histogram()
		w.gather(*o, gradients)
	}
	if w.splits == nil {
		w.splits = make([]split, len(w.columns))
	}
	splits := w.splits[:len(w.columns)]
	if w.limits.perSplit > 0 && w.limits.perSplit < len(splits) {
		w.shuffle()
		splits = splits[:w.limits.perSplit]
	}
	workers := w.workers
	if o.sum.n*len(splits) < largeLeaf {
		workers = 1
	}
	rows := w.rows[o.begin:o.end]
	each((len(splits)+1)/2, workers, func(_, pair int) {
		first, last := 2*pair, min(2*pair+2, len(splits))
		if parent != nil {
			other := sibling[first*256 : last*256]
			for b, cells := 0, hist[first*256:last*256]; b < len(cells); b++ {
				cells[b] = cells[b].less(other[b])
			}
		} else {
			clear(hist[first*256 : last*256])
			one := (*[256]cell)(hist[first*256:])
			if last-first == 2 {
				fillTwo(one, (*[256]cell)(hist[first*256+256:]), w.bins.column(int(w.columns[first])), w.bins.column(int(w.columns[first+1])), rows, w.pairs)
			} else {
				fill(one, w.bins.column(int(w.columns[first])), rows, w.pairs)
			}
		}
		for c := first; c < last; c++ {
			column := int(w.columns[c])
			splits[c] = w.best(hist[c*256:c*256+256], len(w.bins.bounds[column]), o.sum)
			splits[c].column = column
		}
	})
	for _, s := range splits {
		if s.gain > o.best.gain {
			o.best = s
		}
	}
	if w.limits.perSplit > 0 {
		w.release(hist)
		return
	}
	o.hist = hist
}

// shuffle draws the columns that the next split may use to the front (Fisher & Yates).
func (w *grower) shuffle() {
	for i := range min(w.limits.perSplit, len(w.columns)-1) {
		w.draws++
		j := i + int(draw(w.seed, -1, w.draws)*float64(len(w.columns)-i))
		w.columns[i], w.columns[j] = w.columns[j], w.columns[i]
	}
}

// fill sums one column's gradients and hessians by bin.
func fill(cells *[256]cell, codes []uint8, rows []uint32, pairs []pair) {
	pairs = pairs[:len(rows)]
	for i, r := range rows {
		cells[codes[r]].count(pairs[i])
	}
}

// fillTwo is fill for two columns: their sums wait for one another less than those of one column's rows do.
func fillTwo(cells, others *[256]cell, codes, otherCodes []uint8, rows []uint32, pairs []pair) {
	pairs, otherCodes = pairs[:len(rows)], otherCodes[:len(codes)]
	for i, r := range rows {
		p := pairs[i]
		cells[codes[r]].count(p)
		others[otherCodes[r]].count(p)
	}
}

// best is the split of one column that gains most (Chen & Guestrin, equation 7), missing values tried on either side.
// Values missing only from rows to come go where more of the training data went.
func (w *grower) best(cells []cell, bounds int, sum cell) split {
	var found split
	score := func(c cell) float64 { return c.g * c.g / (c.h + w.limits.l2) }
	whole := score(sum)
	missing := cells[missingBin]
	try := func(left cell, bin int, side uint8) {
		right := sum.less(left)
		if left.n < w.limits.rows || right.n < w.limits.rows || left.h < w.limits.hessian || right.h < w.limits.hessian {
			return
		}
		if gain := score(left) + score(right) - whole; gain > found.gain {
			if missing.n == 0 && right.h > left.h {
				side = 1
			}
			found = split{gain: gain, bin: bin, missing: side, left: left}
		}
	}
	var left cell
	for b := range bounds {
		if cells[b].n == 0 {
			continue
		}
		left.add(cells[b])
		try(left, b, 1)
		if missing.n > 0 {
			with := left
			with.add(missing)
			try(with, b, 0)
		}
	}
	if found.gain < minGain*math.Abs(whole) || found.gain < minGain {
		return split{}
	}
	return found
}

// minGain is the smallest gain that is not put down to rounding.
const minGain = 1e-10

func (w *grower) histogram() histogram {
	if n := len(w.free); n > 0 {
		h := w.free[n-1]
		w.free = w.free[:n-1]
		return h
	}
	width := len(w.columns)
	if w.limits.perSplit > 0 {
		width = min(width, w.limits.perSplit)
	}
	return make(histogram, width*256)
}

func (w *grower) release(h histogram) {
	if h != nil {
		w.free = append(w.free, h)
	}
}

// leastCover keeps every node's share of its parent's training data above zero, which contributions divide by.
const leastCover = 1e-30
