package recommend

import (
	"fmt"
	"math"
	"slices"
)

// scratch is what one goroutine needs to rank.
type scratch struct {
	score []float32
	had   []bool // the items of the query at hand, between mark and unmark
	best  []entry
}

func newScratch(items, most int) *scratch {
	return &scratch{score: make([]float32, items), had: make([]bool, items), best: make([]entry, 0, most)}
}

func (s *scratch) mark(q Query) {
	for _, i := range q.Items {
		s.had[i] = true
	}
}

func (s *scratch) unmark(q Query) {
	for _, i := range q.Items {
		s.had[i] = false
	}
}

// candidate says whether the item may be recommended.
func (s *scratch) candidate(q Query, i int32) bool {
	return !(q.New && s.had[i]) && (q.Allowed == nil || q.Allowed[i])
}

// top returns the k candidates of the highest score, best first and among equals the lower item.
// They are good until the next call.
func (s *scratch) top(q Query, score []float32, k int) []entry {
	best := s.best[:0]
	floor := float32(math.Inf(-1))
	for i, v := range score {
		if len(best) == k && v <= floor || !s.candidate(q, int32(i)) {
			continue
		}
		best = insert(best, k, entry{int32(i), v})
		floor = best[len(best)-1].weight
	}
	s.best = best
	return best
}

// Recommendation is one item of a list.
type Recommendation struct {
	Item int
	// Score is the blend's, above 0 and at most 1. Scores of two users, or of lists with and
	// without what a user has, don't compare.
	Score  float64
	Reason Reason
}

// RankerConfig are the settings of a [Ranker]; the zero value gives lists of 10, in the order of
// scores.
type RankerConfig struct {
	// K is the length of lists; 0 means 10.
	K int
	// Diversity, from 0 to 1, is how much an item loses for being like one above it: maximal
	// marginal relevance with λ = 1 - Diversity (J. Carbonell, J. Goldstein, "The use of MMR",
	// SIGIR 1998), over the 5·K best. 0 doesn't look; with 1 only the first item is chosen by
	// its score.
	Diversity float64
	// Similar is how alike two items are, from 0 to 1; needed for Diversity, such as the
	// Similarity of an [ItemKNN].
	Similar func(a, b int) float64
	// Category is each item's category, such as its MCC, and PerCategory how many of one
	// category a list may have; 0 for any number.
	Category    []int32
	PerCategory int
}

// Ranker makes lists of a blend's scores. It may be used by several goroutines.
type Ranker struct {
	blend *Blend
	cfg   RankerConfig
}

// NewRanker returns a ranker; it errs on settings that don't fit the blend or one another.
func NewRanker(b *Blend, cfg RankerConfig) (*Ranker, error) {
	cfg.K = orElse(cfg.K, 10)
	switch {
	case cfg.K < 1:
		return nil, fmt.Errorf("recommend: ranker: K below 1")
	case !(cfg.Diversity >= 0 && cfg.Diversity <= 1):
		return nil, fmt.Errorf("recommend: ranker: diversity must be from 0 to 1")
	case cfg.Diversity > 0 && cfg.Similar == nil:
		return nil, fmt.Errorf("recommend: ranker: diversity needs a similarity of items")
	case cfg.PerCategory < 0:
		return nil, fmt.Errorf("recommend: ranker: items per category below 0")
	case cfg.PerCategory > 0 && len(cfg.Category) != b.Items():
		return nil, fmt.Errorf("recommend: ranker: categories of %d items, there are %d", len(cfg.Category), b.Items())
	}
	return &Ranker{b, cfg}, nil
}

// Rank returns the user's list, best first. It is shorter than K, or empty, if the query allows
// fewer items that score above 0.
func (r *Ranker) Rank(q Query) ([]Recommendation, error) {
	if err := q.check(r.blend.Items()); err != nil {
		return nil, err
	}
	p := r.blend.free.Get().(*parts)
	defer r.blend.free.Put(p)
	return r.rank(nil, p, q), nil
}

// RankAll calls each with the lists of users 0 to users-1, in that order and from one goroutine,
// while others rank. The list is good until each returns; an error of each, or of a query, ends
// it.
func (r *Ranker) RankAll(users int, queries func(user int) Query, each func(user int, list []Recommendation) error) error {
	const batch = 4096
	lists := make([]Recommendation, batch*r.cfg.K)
	length := make([]int, batch)
	errs := make([]error, batch)
	workers := func() *parts { return newParts(r.blend.models) }
	for from := 0; from < users; from += batch {
		n := min(batch, users-from)
		spread(n, workers, func(p *parts, k int) {
			q := queries(from + k)
			if errs[k] = q.check(r.blend.Items()); errs[k] == nil {
				length[k] = len(r.rank(lists[k*r.cfg.K:k*r.cfg.K:(k+1)*r.cfg.K], p, q))
			}
		})
		for k := range n {
			if errs[k] != nil {
				return fmt.Errorf("recommend: user %d: %w", from+k, errs[k])
			}
			if err := each(from+k, lists[k*r.cfg.K:][:length[k]]); err != nil {
				return err
			}
		}
	}
	return nil
}

// rank appends the list to dst.
func (r *Ranker) rank(dst []Recommendation, p *parts, q Query) []Recommendation {
	p.mark(q)
	defer p.unmark(q)
	r.blend.score(p.scratch.score, p, q)
	pool := r.cfg.K
	if r.cfg.Diversity > 0 || r.cfg.PerCategory > 0 {
		pool *= 5
	}
	for {
		pool = min(pool, r.blend.Items())
		top := p.top(q, p.scratch.score, pool)
		full := len(top) == pool
		for len(top) > 0 && top[len(top)-1].weight <= 0 {
			top, full = top[:len(top)-1], false
		}
		list := r.choose(dst, top)
		// A cap on categories may have used up the pool.
		if len(list)-len(dst) == r.cfg.K || !full || pool == r.blend.Items() {
			for n := len(dst); n < len(list); n++ {
				list[n].Reason = r.blend.reason(p, q, list[n].Item)
			}
			return list
		}
		pool *= 4
	}
}

// choose appends up to K of the pool, whose best is first, to dst.
func (r *Ranker) choose(dst []Recommendation, pool []entry) []Recommendation {
	start := len(dst)
	if r.cfg.Diversity == 0 && r.cfg.PerCategory == 0 {
		for _, e := range pool {
			dst = append(dst, recommended(e))
		}
		return dst
	}
	if len(pool) == 0 {
		return dst
	}
	best := float64(pool[0].weight)
	like := make([]float64, 0, len(pool))
	if r.cfg.Diversity > 0 {
		like = like[:len(pool)]
	}
	taken := make([]int32, 0, r.cfg.K)
	pool = slices.Clone(pool)
	for len(dst)-start < r.cfg.K {
		at, value := -1, 0.0
		for n, e := range pool {
			if e.item < 0 || r.cfg.PerCategory > 0 && count(taken, r.cfg.Category[e.item]) >= r.cfg.PerCategory {
				continue
			}
			v := float64(e.weight) / best
			if r.cfg.Diversity > 0 {
				v = (1-r.cfg.Diversity)*v - r.cfg.Diversity*like[n]
			}
			if at < 0 || v > value {
				at, value = n, v
			}
			if r.cfg.Diversity == 0 || len(dst) == start {
				break // the pool is in order
			}
		}
		if at < 0 {
			break
		}
		e := pool[at]
		pool[at].item = -1
		dst = append(dst, recommended(e))
		if r.cfg.PerCategory > 0 {
			taken = append(taken, r.cfg.Category[e.item])
		}
		for n := range like {
			if i := pool[n].item; i >= 0 {
				s := max(r.cfg.Similar(int(e.item), int(i)), r.cfg.Similar(int(i), int(e.item)))
				like[n] = max(like[n], min(1, s))
			}
		}
	}
	return dst
}

func recommended(e entry) Recommendation {
	return Recommendation{Item: int(e.item), Score: min(1, float64(e.weight))}
}

func count(of []int32, v int32) int {
	n := 0
	for _, o := range of {
		if o == v {
			n++
		}
	}
	return n
}
