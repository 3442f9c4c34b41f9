package recommend

import (
	"fmt"
	"math"
	"slices"
)

// Weighting says how an interaction is weighed before items are compared. Items are the
// documents and users the terms: a user who has everything says little of any item.
type Weighting int

const (
	// Plain takes the matrix as it is.
	Plain Weighting = iota
	// TFIDF is √weight · idf, with idf = ln(items / (1 + items that the user has)).
	TFIDF
	// BM25 is weight·(K1+1) / (K1·(1-B+B·length/mean length) + weight) · idf, where a length is
	// an item's sum of weights, K1 is 1.2 and B is 0.75 (Robertson et al., TREC-3, 1994).
	BM25
)

// Similarity is how two items are compared, each the column of its users' weights.
type Similarity int

const (
	// Cosine is x·y / (|x||y| + shrink).
	Cosine Similarity = iota
	// Asymmetric is x·y / (|y|^2α |x|^2(1-α) + shrink), where y is the item scored (F. Aiolli,
	// RecSys 2013); an Alpha of ½ is the cosine, 0 the conditional probability of y given x
	// that Deshpande and Karypis describe.
	Asymmetric
	// Jaccard is n / (users of x + users of y - n + shrink), n being the users of both; it takes
	// no notice of weights.
	Jaccard
	// Dice is n / (users of x + users of y + shrink), with n as above.
	Dice
)

// KNNConfig are the settings of an ItemKNN; the zero value compares by the plain cosine with 100
// neighbours.
type KNNConfig struct {
	// Neighbours is how many are kept for each item; 0 means 100.
	Neighbours int
	// Similarity compares, after Weighting.
	Similarity Similarity
	Weighting  Weighting
	// Alpha is for Asymmetric, from 0 to 2.
	Alpha float64
	// Shrink is added to the divisor, so that what few users have in common counts less; at
	// least 0, in units of the divisor.
	Shrink float64
	// Normalise divides the similarities of an item's neighbours by their sum.
	Normalise bool
	// Centred scores by what a user has beyond the mean of all users: an item's own mean, plus
	// the similarities times weight less mean (H. Ma et al., SIGIR 2007).
	Centred bool
	// OfOwned keeps the nearest neighbours of each item that a user has, as Deshpande and
	// Karypis and the library implicit do. The default keeps those of each item to be scored,
	// as Sarwar et al. do.
	OfOwned bool
}

const (
	bm25K1 = 1.2
	bm25B  = 0.75
	// divisorFloor keeps a divisor off 0, as in the code of Ferrari Dacrema et al., RecSys 2019.
	divisorFloor = 1e-6
)

func (c KNNConfig) check() (KNNConfig, error) {
	if c.Neighbours == 0 {
		c.Neighbours = 100
	}
	switch {
	case c.Neighbours < 0:
		return c, fmt.Errorf("recommend: item-kNN: neighbours below 0")
	case c.Similarity < Cosine || c.Similarity > Dice:
		return c, fmt.Errorf("recommend: item-kNN: unknown similarity")
	case c.Weighting < Plain || c.Weighting > BM25:
		return c, fmt.Errorf("recommend: item-kNN: unknown weighting")
	case !(c.Alpha >= 0 && c.Alpha <= 2):
		return c, fmt.Errorf("recommend: item-kNN: alpha must be from 0 to 2")
	case !(c.Shrink >= 0 && c.Shrink <= MaxWeight):
		return c, fmt.Errorf("recommend: item-kNN: shrink must be from 0 to %g", float64(MaxWeight))
	}
	return c, nil
}

// ItemKNN scores an item by how near it is to the items that the user has: the sum of their
// similarities, each times the user's weight (B. Sarwar, G. Karypis, J. Konstan, J. Riedl,
// "Item-based collaborative filtering recommendation algorithms", WWW 2001; M. Deshpande,
// G. Karypis, "Item-based top-N recommendation algorithms", ACM TOIS 22(1), 2004).
type ItemKNN struct {
	items    int
	weighted bool
	near     *Matrix   // by the item had: the items scored, and how near
	base     []float32 // what an item scores for somebody who has nothing; nil for 0
}

// FitItemKNN finds each item's nearest neighbours in m. Whether a query's weights count follows
// from m, as with [FitEASE]. Memory is 8 bytes a neighbour; the work grows with the pairs of
// items that users have. An item that shares no user with another has no neighbours and is
// scored 0. Errors: no interactions, or a setting out of range.
func FitItemKNN(m *Matrix, cfg KNNConfig) (*ItemKNN, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	if m.Entries() == 0 {
		return nil, fmt.Errorf("%w: item-kNN: 0 interactions, at least 1 is needed", ErrTooLittle)
	}
	if int64(m.items)*int64(min(cfg.Neighbours, m.items)) > maxEntries {
		return nil, fmt.Errorf("recommend: item-kNN: %d neighbours of %d items are more than %d pairs", cfg.Neighbours, m.items, maxEntries)
	}
	w := m.Binary()
	if cfg.Similarity == Cosine || cfg.Similarity == Asymmetric {
		w = weigh(m, cfg.Weighting)
	}
	near := neighbours(w, cfg)
	if cfg.Normalise {
		normalise(near)
	}
	if !cfg.OfOwned {
		near = near.transpose()
	}
	k := &ItemKNN{items: m.items, weighted: m.weight != nil, near: near}
	if cfg.Centred {
		k.base = baseline(m, near)
	}
	return k, nil
}

// baseline returns, for each item, its mean less the means of the items it is near to, times how
// near.
func baseline(m, near *Matrix) []float32 {
	mean := make([]float64, m.items)
	for n, i := range m.item {
		w := 1.0
		if m.weight != nil {
			w = float64(m.weight[n])
		}
		mean[i] += w / float64(m.users)
	}
	sums := slices.Clone(mean)
	for from := range near.users {
		items, weights := near.Row(from)
		for n, to := range items {
			sums[to] -= float64(weights[n]) * mean[from]
		}
	}
	base := make([]float32, m.items)
	for i, s := range sums {
		base[i] = float32(s)
	}
	return base
}

// lengths returns K1·(1-B+B·length/mean length) of each item.
func lengths(m *Matrix) []float64 {
	sums := make([]float64, m.items)
	total := 0.0
	for n, i := range m.item {
		w := 1.0
		if m.weight != nil {
			w = float64(m.weight[n])
		}
		sums[i] += w
		total += w
	}
	mean := total / float64(m.items)
	for i := range sums {
		sums[i] = bm25K1 * (1 - bm25B + bm25B*sums[i]/mean)
	}
	return sums
}

// weigh returns the matrix with its weights replaced. A user's idf below 0, of one who has nearly
// every item, counts as 0: the entries then stay, with a weight of 0.
func weigh(m *Matrix, by Weighting) *Matrix {
	if by == Plain {
		return m
	}
	w := *m
	w.weight = make([]float32, len(m.item))
	var length []float64
	if by == BM25 {
		length = lengths(m)
	}
	for u := range m.users {
		items, weights := m.Row(u)
		idf := max(0, math.Log(float64(m.items)/(1+float64(len(items)))))
		for n, i := range items {
			v := 1.0
			if weights != nil {
				v = float64(weights[n])
			}
			if by == TFIDF {
				v = math.Sqrt(v)
			} else {
				v *= (bm25K1 + 1) / (length[i] + v)
			}
			w.weight[int(m.start[u])+n] = float32(v * idf)
		}
	}
	return &w
}

// neighbours returns, by item, the items nearest to it, with their similarities.
func neighbours(m *Matrix, cfg KNNConfig) *Matrix {
	t := m.transpose()
	squares := make([]float64, m.items)
	for i := range m.items {
		users, weights := t.Row(i)
		if weights == nil {
			squares[i] = float64(len(users))
		}
		for _, w := range weights {
			squares[i] += float64(w) * float64(w)
		}
	}
	divisor := func(from, to int) float64 { // from the item had to the item scored
		switch cfg.Similarity {
		case Asymmetric:
			return math.Pow(squares[to], cfg.Alpha)*math.Pow(squares[from], 1-cfg.Alpha) + cfg.Shrink
		case Jaccard, Dice:
			return squares[from] + squares[to] + cfg.Shrink
		}
		return math.Sqrt(squares[from]*squares[to]) + cfg.Shrink
	}
	k := min(cfg.Neighbours, m.items)
	top := make([]entry, m.items*k)
	found := make([]int, m.items)
	sums := func() []float64 { return make([]float64, m.items) }
	spread(m.items, sums, func(sums []float64, i int) {
		clear(sums)
		gram(sums, m, t, i, 0)
		best := top[i*k : i*k : (i+1)*k]
		for j, s := range sums {
			if s <= 0 || j == i {
				continue
			}
			from, to := j, i
			if cfg.OfOwned {
				from, to = i, j
			}
			d := divisor(from, to)
			if cfg.Similarity == Jaccard {
				d -= s
			}
			best = insert(best, k, entry{int32(j), float32(s / (d + divisorFloor))})
		}
		slices.SortFunc(best, func(a, b entry) int { return int(a.item) - int(b.item) })
		found[i] = len(best)
	})
	n := &Matrix{users: m.items, items: m.items, start: make([]int32, m.items+1)}
	for i, f := range found {
		n.start[i+1] = n.start[i] + int32(f)
		for _, e := range top[i*k : i*k+f] {
			n.item, n.weight = append(n.item, e.item), append(n.weight, e.weight)
		}
	}
	if n.weight == nil {
		n.weight = []float32{}
	}
	return n
}

// normalise divides each row by its sum.
func normalise(m *Matrix) {
	for i := range m.users {
		_, weights := m.Row(i)
		sum := 0.0
		for _, w := range weights {
			sum += float64(w)
		}
		for n := range weights {
			weights[n] = float32(float64(weights[n]) / sum)
		}
	}
}

// insert keeps best the k entries of the largest weight, largest first, and among equals the
// ones that came first.
func insert(best []entry, k int, e entry) []entry {
	if len(best) == k {
		if k == 0 || e.weight <= best[k-1].weight {
			return best
		}
		best = best[:k-1]
	}
	at := len(best)
	best = append(best, e)
	for ; at > 0 && best[at-1].weight < e.weight; at-- {
		best[at] = best[at-1]
	}
	best[at] = e
	return best
}

// Items is how many items the model scores.
func (k *ItemKNN) Items() int { return k.items }

// Similarity returns how near an item that is had is to one that is scored; 0 unless they are
// neighbours.
func (k *ItemKNN) Similarity(from, to int) float64 {
	items, weights := k.near.Row(from)
	if n, ok := slices.BinarySearch(items, int32(to)); ok {
		return float64(weights[n])
	}
	return 0
}

// Score adds up the similarities to the user's items.
func (k *ItemKNN) Score(dst []float32, q Query) {
	clear(dst)
	copy(dst, k.base)
	for n, i := range q.Items {
		w := float32(1)
		if k.weighted {
			w = q.weight(n)
		}
		items, weights := k.near.Row(int(i))
		for at, j := range items {
			dst[j] += w * weights[at]
		}
	}
}

func (k *ItemKNN) explain(q Query, item int) (Reason, bool) {
	return strongest(q, k.weighted, func(from int32) float64 { return k.Similarity(int(from), item) })
}
