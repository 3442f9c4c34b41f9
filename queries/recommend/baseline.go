package recommend

import "fmt"

// Frequency scores an item by how much of it the user has: with weights that are counts of
// purchases, or counts that fade by [Decay], it repeats the user's habits. Repeat consumption is
// most of what cards buy (A. Anderson et al., "The dynamics of repeat consumption", WWW 2014).
type Frequency struct{ items int }

// NewFrequency returns the model for that many items.
func NewFrequency(items int) (*Frequency, error) {
	if items < 1 {
		return nil, fmt.Errorf("recommend: frequency: %d items, at least 1 is needed", items)
	}
	return &Frequency{items}, nil
}

// Items is how many items the model scores.
func (f *Frequency) Items() int { return f.items }

// Score sets dst to the user's weights, 0 for what they don't have.
func (f *Frequency) Score(dst []float32, q Query) {
	clear(dst)
	for n, i := range q.Items {
		dst[i] = q.weight(n)
	}
}

func (f *Frequency) explain(q Query, item int) (Reason, bool) {
	return Reason{Kind: Habit, Item: -1}, true
}

// Popularity scores an item by the share of the user's group that has it, drawn towards the share
// of all users, so that a group of few users doesn't decide by chance.
type Popularity struct {
	items  int
	shares []float32 // of everybody, then of each group
}

// popularityPrior is how many users of everybody's habits are added to a group.
const popularityPrior = 50

// FitPopularity counts m's users by group: groups[u] is that of user u, from 0; below 0 is none.
// Nil groups mean that there are none. Errors: no interactions, or groups of another number of
// users.
func FitPopularity(m *Matrix, groups []int32) (*Popularity, error) {
	if m.Entries() == 0 {
		return nil, fmt.Errorf("%w: popularity: 0 interactions, at least 1 is needed", ErrTooLittle)
	}
	if groups != nil && len(groups) != m.users {
		return nil, fmt.Errorf("recommend: popularity: groups of %d users, there are %d", len(groups), m.users)
	}
	n := 0
	for _, g := range groups {
		n = max(n, int(g)+1)
	}
	counts := make([]float64, (n+1)*m.items)
	size := make([]float64, n+1)
	size[0] = float64(m.users)
	for u := range m.users {
		items, _ := m.Row(u)
		for _, i := range items {
			counts[i]++
		}
		if groups == nil || groups[u] < 0 {
			continue
		}
		g := int(groups[u]) + 1
		size[g]++
		for _, i := range items {
			counts[g*m.items+int(i)]++
		}
	}
	p := &Popularity{items: m.items, shares: make([]float32, len(counts))}
	for i := range m.items {
		all := counts[i] / size[0]
		p.shares[i] = float32(all)
		for g := 1; g <= n; g++ {
			at := g*m.items + i
			p.shares[at] = float32((counts[at] + popularityPrior*all) / (size[g] + popularityPrior))
		}
	}
	return p, nil
}

// Items is how many items the model scores.
func (p *Popularity) Items() int { return p.items }

// Score sets dst to the shares of the query's group.
func (p *Popularity) Score(dst []float32, q Query) {
	g := q.Group + 1
	if g < 0 || g >= len(p.shares)/p.items {
		g = 0
	}
	copy(dst, p.shares[g*p.items:])
}

func (p *Popularity) explain(q Query, item int) (Reason, bool) {
	return Reason{Kind: Popular, Item: -1}, true
}
