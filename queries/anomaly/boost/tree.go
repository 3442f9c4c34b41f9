package boost

// node is a split or a leaf; a tree's nodes lie together, the root first, a split's children side by side.
type node struct {
	value   float32 // a split's threshold: at most this goes left; a leaf's value
	left    int32   // the left child, from the tree's root; the right one follows it; 0 at a leaf
	column  uint16
	bin     uint8 // value's bin, while training
	missing uint8 // where missing values go: 0 left, 1 right
}

// tree is nodes and, beside them, how much of the training data came by each (summed hessians), which contributions need.
type tree struct {
	nodes []node
	cover []float32
}

// leaf is the number of the leaf that row falls into.
func leaf(nodes []node, row []float32) int32 {
	at := int32(0)
	for {
		n := &nodes[at]
		if n.left == 0 {
			return at
		}
		v := row[n.column]
		right := int32(0)
		if v > n.value {
			right = 1
		} else if v != v {
			right = int32(n.missing)
		}
		at = n.left + right
	}
}

// leafOf is leaf for row i of binned data.
func leafOf(nodes []node, b *bins, i int) int32 {
	at := int32(0)
	for {
		n := &nodes[at]
		if n.left == 0 {
			return at
		}
		if goesRight(n, b.codes[int(n.column)*b.rows+i]) {
			at = n.left + 1
		} else {
			at = n.left
		}
	}
}

func goesRight(n *node, code uint8) bool {
	if code == missingBin {
		return n.missing == 1
	}
	return code > n.bin
}
