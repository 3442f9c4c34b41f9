package recommend

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

const (
	// MaxWeight is the largest weight of an interaction, and of a sum of them.
	MaxWeight = 1e9
	// maxEntries is how many interactions a matrix holds: positions in it are int32.
	maxEntries = math.MaxInt32
)

// Matrix is which user has which item, and how much of it: sparse, by user, never changed. A
// matrix without weights is one in which every weight is 1; it needs 4 bytes an entry instead
// of 8.
type Matrix struct {
	users, items int
	start        []int32 // of each user's entries, and the end
	item         []int32 // ascending within a user
	weight       []float32
}

// Builder collects interactions in any order.
type Builder struct {
	users, items int
	user, item   []int32
	weight       []float32
	err          error
}

// NewBuilder returns a builder of a matrix of that size; a matrix has at least one user and one
// item, and at most 2^31-1 of each.
func NewBuilder(users, items int) (*Builder, error) {
	if users < 1 || items < 1 {
		return nil, fmt.Errorf("recommend: %d users and %d items, at least 1 of each is needed", users, items)
	}
	if users >= math.MaxInt32 || items >= math.MaxInt32 {
		return nil, fmt.Errorf("recommend: %d users and %d items, more than a matrix holds", users, items)
	}
	return &Builder{users: users, items: items}, nil
}

// Add notes that the user has the item. Weights of the same pair are added up; a weight of 0 is
// no interaction. The first error stays and is what Matrix returns: an index out of range, a
// weight below 0, above MaxWeight or not a number.
func (b *Builder) Add(user, item int, weight float64) {
	switch {
	case b.err != nil || weight == 0:
	case user < 0 || user >= b.users:
		b.err = fmt.Errorf("recommend: interaction %d: user %d of %d", len(b.user), user, b.users)
	case item < 0 || item >= b.items:
		b.err = fmt.Errorf("recommend: interaction %d: item %d of %d", len(b.user), item, b.items)
	case !(weight > 0 && weight <= MaxWeight):
		b.err = fmt.Errorf("recommend: interaction %d: a weight that is not from 0 to %g", len(b.user), float64(MaxWeight))
	case len(b.user) == maxEntries:
		b.err = fmt.Errorf("recommend: more than %d interactions", maxEntries)
	default:
		b.user, b.item = append(b.user, int32(user)), append(b.item, int32(item))
		b.weight = append(b.weight, max(float32(weight), math.SmallestNonzeroFloat32))
	}
}

// Matrix returns what was added; the builder is empty then. A matrix may have no interactions:
// models that need some say so.
func (b *Builder) Matrix() (*Matrix, error) {
	if b.err != nil {
		return nil, b.err
	}
	m := &Matrix{users: b.users, items: b.items, start: make([]int32, b.users+1)}
	for _, u := range b.user {
		m.start[u+1]++
	}
	for u := range b.users {
		m.start[u+1] += m.start[u]
	}
	item, weight := make([]int32, len(b.item)), make([]float32, len(b.item))
	next := slices.Clone(m.start[:b.users])
	for n, u := range b.user {
		item[next[u]], weight[next[u]] = b.item[n], b.weight[n]
		next[u]++
	}
	b.user, b.item, b.weight = nil, nil, nil
	kept := int32(0)
	var row []entry
	for u := range b.users {
		from, to := m.start[u], m.start[u+1]
		m.start[u] = kept
		row = row[:0]
		for n := from; n < to; n++ {
			row = append(row, entry{item[n], weight[n]})
		}
		// Stable, so that equal pairs are added up in the order they came.
		slices.SortStableFunc(row, func(a, b entry) int { return cmp.Compare(a.item, b.item) })
		for n := 0; n < len(row); {
			sum, i := 0.0, row[n].item
			for ; n < len(row) && row[n].item == i; n++ {
				sum += float64(row[n].weight)
			}
			if sum > MaxWeight {
				return nil, fmt.Errorf("recommend: the weights of user %d and item %d sum to more than %g", u, i, float64(MaxWeight))
			}
			item[kept], weight[kept] = i, float32(sum)
			kept++
		}
	}
	m.start[b.users] = kept
	m.item, m.weight = item[:kept:kept], weight[:kept:kept]
	return m, nil
}

type entry struct {
	item   int32
	weight float32
}

// Users and Items are the matrix's size, Entries how many interactions it has.
func (m *Matrix) Users() int   { return m.users }
func (m *Matrix) Items() int   { return m.items }
func (m *Matrix) Entries() int { return len(m.item) }

// Row returns the user's items, ascending, and their weights, nil if the matrix has none. They
// are the matrix's own and must not be changed.
func (m *Matrix) Row(user int) (items []int32, weights []float32) {
	from, to := m.start[user], m.start[user+1]
	if m.weight != nil {
		weights = m.weight[from:to:to]
	}
	return m.item[from:to:to], weights
}

// Queries returns for each user of the matrix the query that asks for items by that user's row,
// only for new ones if new is set.
func (m *Matrix) Queries(new bool) func(user int) Query {
	return func(user int) Query {
		items, weights := m.Row(user)
		return Query{Items: items, Weights: weights, Group: -1, New: new}
	}
}

// Binary returns the matrix without its weights. The two share memory.
func (m *Matrix) Binary() *Matrix {
	b := *m
	b.weight = nil
	return &b
}

// Counts returns how many users have each item.
func (m *Matrix) Counts() []int {
	counts := make([]int, m.items)
	for _, i := range m.item {
		counts[i]++
	}
	return counts
}

// transpose returns the matrix by item: its users are m's items.
func (m *Matrix) transpose() *Matrix {
	t := &Matrix{users: m.items, items: m.users, start: make([]int32, m.items+1), item: make([]int32, len(m.item))}
	if m.weight != nil {
		t.weight = make([]float32, len(m.weight))
	}
	for _, i := range m.item {
		t.start[i+1]++
	}
	for i := range m.items {
		t.start[i+1] += t.start[i]
	}
	next := slices.Clone(t.start[:m.items])
	for u := range m.users {
		for n := m.start[u]; n < m.start[u+1]; n++ {
			at := next[m.item[n]]
			next[m.item[n]]++
			t.item[at] = int32(u)
			if m.weight != nil {
				t.weight[at] = m.weight[n]
			}
		}
	}
	return t
}

// gram adds to sums[j], for the items j from low on, the product of column i with column j of m,
// of which t is the transpose. Each sum is taken in the order of users, so it doesn't depend on
// who else computes which row.
func gram(sums []float64, m, t *Matrix, i, low int) {
	users, mine := t.Row(i)
	for n, u := range users {
		items, weights := m.Row(int(u))
		first := 0
		if low > 0 {
			first, _ = slices.BinarySearch(items, int32(low))
		}
		if weights == nil {
			for _, j := range items[first:] {
				sums[j]++
			}
			continue
		}
		w := float64(mine[n])
		for k := first; k < len(items); k++ {
			sums[items[k]] += w * float64(weights[k])
		}
	}
}
