package recommend

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fixed scores every user the same.
type fixed []float32

func (f fixed) Items() int                        { return len(f) }
func (f fixed) Score(dst []float32, _ Query)      { copy(dst, f) }
func (f fixed) explain(Query, int) (Reason, bool) { return Reason{Kind: Popular, Item: -1}, true }

// oracle scores the items that come next, each user's by a rule.
type oracle struct {
	items int
	next  func(q Query) int
}

func (o oracle) Items() int { return o.items }
func (o oracle) Score(dst []float32, q Query) {
	clear(dst)
	dst[o.next(q)] = 5
}

func TestEvaluate(t *testing.T) {
	// Six items in the order 5 to 0. User 0 holds out 5 and 2, user 1 holds out 3, which they
	// had, user 2 nothing, user 3 item 0.
	model := fixed{0, 1, 2, 3, 4, 5}
	known := weighted(t, 4, 6, cell{0, 4, 1}, cell{1, 3, 1}, cell{2, 5, 1}).Binary()
	held := weighted(t, 4, 6, cell{0, 5, 1}, cell{0, 2, 1}, cell{1, 3, 1}, cell{3, 0, 1}).Binary()
	got, err := Evaluate(model, held, known.Queries(true), 1, 3, 99)
	if err != nil {
		t.Fatal(err)
	}
	log := math.Log2
	// User 0 is offered 5 3 2 1 0, user 3 all of 5 4 3 2 1 0; user 1 counts only in All.
	want := []Metrics{
		{K: 1, Users: 2, Recall: 0.25, TruncatedRecall: 0.5, Precision: 0.5, NDCG: 0.5, HitRate: 0.5, Coverage: 1. / 6},
		{K: 3, Users: 2, Recall: 0.5, TruncatedRecall: 0.5, Precision: 1. / 3, NDCG: (1 + 1/log(4)) / (1 + 1/log(3)) / 2, HitRate: 0.5, Coverage: 4. / 6},
		{K: 99, Users: 2, Recall: 1, TruncatedRecall: 1, Precision: 1.5 / 99, NDCG: ((1+1/log(4))/(1+1/log(3)) + 1/log(7)) / 2, HitRate: 1, Coverage: 1},
	}
	// Items 3, 4 and 5 are had by one of four users, the others by none.
	one, none := -log(2./5), -log(1./5)
	want[0].Novelty = one
	want[1].Novelty = (one + one + none + one + one + one) / 6
	want[2].Novelty = (one + one + 3*none + 3*one + 3*none) / 11
	if diff := cmp.Diff(want, got, near()); diff != "" {
		t.Errorf("new items (-want +got):\n%s", diff)
	}
	if got, err = Evaluate(model, held, known.Queries(false), 3); err != nil || got[0].Users != 3 || math.Abs(got[0].Recall-(0.5+1+0)/3) > 1e-12 {
		t.Errorf("all items: got %+v, %v, want 3 users and a recall of a half", got, err)
	}
}

func near() cmp.Option {
	return cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-12 })
}

func TestEvaluateRefuses(t *testing.T) {
	model := fixed{1, 2}
	held := weighted(t, 1, 2, cell{0, 1, 1})
	ask := func(q Query) func(int) Query { return func(int) Query { return q } }
	for name, run := range map[string]func() ([]Metrics, error){
		"no length":       func() ([]Metrics, error) { return Evaluate(model, held, ask(Query{})) },
		"length 0":        func() ([]Metrics, error) { return Evaluate(model, held, ask(Query{}), 1, 0) },
		"other items":     func() ([]Metrics, error) { return Evaluate(model, weighted(t, 1, 3), ask(Query{}), 1) },
		"nothing held":    func() ([]Metrics, error) { return Evaluate(model, weighted(t, 1, 2), ask(Query{}), 1) },
		"nothing allowed": func() ([]Metrics, error) { return Evaluate(model, held, ask(Query{Allowed: []bool{true, false}}), 1) },
		"had already":     func() ([]Metrics, error) { return Evaluate(model, held, ask(Query{Items: []int32{1}, New: true}), 1) },
		"out of range":    func() ([]Metrics, error) { return Evaluate(model, held, ask(Query{Items: []int32{2}}), 1) },
		"below range":     func() ([]Metrics, error) { return Evaluate(model, held, ask(Query{Items: []int32{-1}}), 1) },
		"not ascending":   func() ([]Metrics, error) { return Evaluate(model, held, ask(Query{Items: []int32{1, 0}}), 1) },
		"twice":           func() ([]Metrics, error) { return Evaluate(model, held, ask(Query{Items: []int32{1, 1}}), 1) },
		"weights":         func() ([]Metrics, error) { return Evaluate(model, held, ask(Query{Weights: []float32{1}}), 1) },
		"negative": func() ([]Metrics, error) {
			return Evaluate(model, held, ask(Query{Items: []int32{0}, Weights: []float32{-1}}), 1)
		},
		"not a number": func() ([]Metrics, error) {
			return Evaluate(model, held, ask(Query{Items: []int32{0}, Weights: []float32{float32(math.NaN())}}), 1)
		},
		"mask": func() ([]Metrics, error) { return Evaluate(model, held, ask(Query{Allowed: []bool{true}}), 1) },
	} {
		if _, err := run(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestBlend(t *testing.T) {
	b, err := NewBlend([]Model{fixed{2, 4, 0, -8}, fixed{0, 1, 50, 100}}, []float64{3, 1})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := b.Weights(), []float64{0.75, 0.25}; !slices.Equal(got, want) {
		t.Errorf("weights: got %v, want %v", got, want)
	}
	scores := make([]float32, 4)
	b.Score(scores, Query{})
	if got, want := fmt.Sprintf("%.4f", scores), "[0.3750 0.7525 0.1250 0.2500]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// What may not be recommended doesn't set the scale.
	b.Score(scores, Query{Allowed: []bool{true, true, true, false}})
	if got, want := fmt.Sprintf("%.4f", scores[:3]), "[0.3750 0.7550 0.2500]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for name, make := range map[string]func() (*Blend, error){
		"no models":   func() (*Blend, error) { return NewBlend(nil, nil) },
		"few weights": func() (*Blend, error) { return NewBlend([]Model{fixed{1}}, nil) },
		"negative":    func() (*Blend, error) { return NewBlend([]Model{fixed{1}, fixed{1}}, []float64{2, -1}) },
		"NaN":         func() (*Blend, error) { return NewBlend([]Model{fixed{1}}, []float64{math.NaN()}) },
		"all 0":       func() (*Blend, error) { return NewBlend([]Model{fixed{1}}, []float64{0}) },
		"items":       func() (*Blend, error) { return NewBlend([]Model{fixed{1}, fixed{1, 2}}, []float64{1, 1}) },
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestLearn has users whose next item is one above their first for two of three, two above for
// the others; a third model is always wrong.
func TestLearn(t *testing.T) {
	const users, items = 300, 40
	var known, held []cell
	for u := range users {
		i := u % (items - 3)
		known = append(known, cell{u, i, 1})
		held = append(held, cell{u, i + 1 + btoi(u%3 == 0), 1})
	}
	m, h := weighted(t, users, items, known...).Binary(), weighted(t, users, items, held...).Binary()
	next := func(by int) Model {
		return oracle{items, func(q Query) int { return (int(q.Items[0]) + by) % items }}
	}
	models := []Model{next(20), next(2), next(1)}
	b, ndcg, err := Learn(models, h, m.Queries(true), LearnConfig{})
	if err != nil {
		t.Fatal(err)
	}
	w := b.Weights()
	if !(w[2] >= w[1] && w[1] > w[0]) || w[0] <= 0 {
		t.Errorf("got weights %.3f, want those of the models in the order of how often they are right", w)
	}
	metrics, err := Evaluate(b, h, m.Queries(true), 10)
	if err != nil {
		t.Fatal(err)
	}
	if want := 2./3 + 1./3/math.Log2(3); math.Abs(ndcg-want) > 1e-9 || math.Abs(metrics[0].NDCG-want) > 1e-9 {
		t.Errorf("got an NDCG of %g learnt and %g measured, want %g", ndcg, metrics[0].NDCG, want)
	}
	if _, ndcg2, err := Learn(models, h, m.Queries(true), LearnConfig{Users: 100}); err != nil || math.Abs(ndcg2-ndcg) > 0.05 {
		t.Errorf("100 of the users: got %g, %v, want about %g", ndcg2, err, ndcg)
	}
	few := weighted(t, users, items, held[:19]...)
	if _, _, err := Learn(models, few, m.Queries(true), LearnConfig{}); !errors.Is(err, ErrTooLittle) {
		t.Errorf("19 users: got %v, want ErrTooLittle", err)
	}
	for _, cfg := range []LearnConfig{{K: -1}, {Users: 19}, {Pool: -1}} {
		if _, _, err := Learn(models, h, m.Queries(true), cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
	if _, _, err := Learn(models, weighted(t, 1, 1), m.Queries(true), LearnConfig{}); err == nil {
		t.Error("held out of other items is accepted")
	}
	if _, _, err := Learn(models, h, func(int) Query { return Query{Items: []int32{-1}} }, LearnConfig{}); err == nil {
		t.Error("a query out of range is accepted")
	}
}

// TestLearnKeepsAll has a model that is always right and one that never is: the other keeps a
// weight that changes no order, for users of whom the first knows nothing.
func TestLearnKeepsAll(t *testing.T) {
	var known, held []cell
	for u := range 30 {
		known, held = append(known, cell{u, u, 1}), append(held, cell{u, u + 1, 1})
	}
	m := weighted(t, 30, 40, known...)
	right := oracle{40, func(q Query) int { return int(q.Items[0]) + 1 }}
	b, ndcg, err := Learn([]Model{right, oracle{40, func(Query) int { return 35 }}}, weighted(t, 30, 40, held...), m.Queries(true), LearnConfig{})
	if err != nil || ndcg != 1 {
		t.Fatalf("got %g, %v", ndcg, err)
	}
	if w := b.Weights(); w[1] <= 0 || w[1] > 0.01 {
		t.Errorf("got weights %v, want little for the second and not nothing", w)
	}
}

// tabled scores users by the first of their items.
type tabled [][]float32

func (s tabled) Items() int                   { return len(s[0]) }
func (s tabled) Score(dst []float32, q Query) { copy(dst, s[q.Items[0]]) }

// TestLearnFinely needs a weight of the first model between 0.40 and 0.47, which no step of 1/8
// hits: for users of one kind item 2 must come before 3, for the others 4 before 5.
func TestLearnFinely(t *testing.T) {
	first := tabled{{0, 0, 1, 0.75, 0, 0, 0}, {0, 0, 0, 0, 0.86, 1, 0}}
	second := tabled{{0, 0, 0.8, 0.9667, 0, 0, 1}, {0, 0, 0, 0, 1, 0.8758, 0}}
	var known, held []cell
	for u := range 40 {
		kind := btoi(u%3 > 0)
		known, held = append(known, cell{u, kind, 1}), append(held, cell{u, 2 + kind*2, 1})
	}
	m := weighted(t, 40, 7, known...)
	b, ndcg, err := Learn([]Model{first, second}, weighted(t, 40, 7, held...), m.Queries(true), LearnConfig{})
	if err != nil || ndcg != 1 {
		t.Fatalf("got %g, %v, want lists without a fault", ndcg, err)
	}
	if w := b.Weights(); w[0] < 0.40 || w[0] > 0.47 {
		t.Errorf("got weights %v", w)
	}
}

// TestTies has equal scores: the lower item comes first.
func TestTies(t *testing.T) {
	b, _ := NewBlend([]Model{fixed{1, 1, 2, 1, 1, 2, 1}}, []float64{1})
	r, err := NewRanker(b, RankerConfig{K: 4})
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.Rank(Query{})
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, e := range list {
		got = append(got, e.Item)
	}
	if want := []int{2, 5, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestRankAllIsRank finds nothing of one user in the next one's list.
func TestRankAllIsRank(t *testing.T) {
	m := synthetic(t, 300, 40)
	ease, err := FitEASE(m, 10)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := NewBlend([]Model{ease}, []float64{1})
	ranker, _ := NewRanker(all, RankerConfig{})
	err = ranker.RankAll(m.Users(), m.Queries(true), func(u int, list []Recommendation) error {
		one, _ := NewBlend([]Model{ease}, []float64{1})
		ranker, _ := NewRanker(one, RankerConfig{})
		want, err := ranker.Rank(m.Queries(true)(u))
		if len(want) == 0 || !cmp.Equal(list, want) {
			t.Fatalf("user %d: got %v, want %v", u, list, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestRank has users of two tastes: items 0 to 3, and 4 to 7. Item 8 everybody has.
func TestRank(t *testing.T) {
	var cells []cell
	for u := range 80 {
		taste := u % 2 * 4
		for k := range 4 {
			if k != u/2%4 {
				cells = append(cells, cell{u, taste + k, 1 + float64(k)})
			}
		}
		cells = append(cells, cell{u, 8, 1})
	}
	m := weighted(t, 80, 10, cells...)
	ease, err := FitEASE(m.Binary(), 5)
	if err != nil {
		t.Fatal(err)
	}
	frequency, _ := NewFrequency(10)
	popularity, _ := FitPopularity(m, nil)
	blend, err := NewBlend([]Model{ease, frequency, popularity}, []float64{2, 5, 1})
	if err != nil {
		t.Fatal(err)
	}
	knn, err := FitItemKNN(m, KNNConfig{})
	if err != nil {
		t.Fatal(err)
	}
	items := func(cfg RankerConfig, q Query) (found []int, list []Recommendation) {
		t.Helper()
		r, err := NewRanker(blend, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if list, err = r.Rank(q); err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			found = append(found, r.Item)
		}
		return found, list
	}
	known := Query{Items: []int32{1, 2}, Weights: []float32{2, 9}}

	t.Run("all", func(t *testing.T) {
		got, list := items(RankerConfig{K: 3}, known)
		if len(got) != 3 || got[0] != 2 || list[0].Reason.Kind != Habit {
			t.Errorf("got %v, %+v, want the item most bought first, as a habit", got, list)
		}
		for n := 1; n < len(list); n++ {
			if list[n].Score > list[n-1].Score {
				t.Errorf("scores are not in order: %+v", list)
			}
		}
	})
	t.Run("new", func(t *testing.T) {
		q := known
		q.New = true
		got, list := items(RankerConfig{K: 10}, q)
		if slices.Contains(got, 1) || slices.Contains(got, 2) {
			t.Fatalf("%v has what the user has", got)
		}
		if first := got[:3]; !slices.Contains(first, 0) || !slices.Contains(first, 3) || !slices.Contains(first, 8) {
			t.Errorf("got %v, want the user's taste and what everybody has before the rest", got)
		}
		if r := list[0].Reason; r.Kind != Because || r.Item != 1 && r.Item != 2 || r.Share <= 0.5 {
			t.Errorf("got %+v, want an item that the user has", r)
		}
		if slices.Contains(got, 9) {
			t.Errorf("%v has an item that nobody has", got)
		}
	})
	t.Run("nothing known", func(t *testing.T) {
		got, list := items(RankerConfig{}, Query{})
		if len(got) != 9 || got[0] != 8 || list[0].Reason != (Reason{Popular, -1, 1}) {
			t.Errorf("got %v, %+v, want the most popular first, and all that somebody has", got, list)
		}
	})
	t.Run("allowed", func(t *testing.T) {
		q := known
		q.Allowed = []bool{5: true, 6: true, 9: true}
		if got, _ := items(RankerConfig{}, q); len(got) != 2 || !slices.Contains(got, 5) || !slices.Contains(got, 6) {
			t.Errorf("got %v, want 5 and 6", got)
		}
		q.Allowed = make([]bool, 10)
		if got, _ := items(RankerConfig{}, q); len(got) != 0 {
			t.Errorf("got %v, want nothing: nothing is allowed", got)
		}
	})
	t.Run("categories", func(t *testing.T) {
		category := []int32{1, 1, 1, 1, 2, 2, 2, 2, 3, 3}
		got, _ := items(RankerConfig{K: 4, Category: category, PerCategory: 1}, known)
		if len(got) != 3 {
			t.Fatalf("got %v, want one of each category that has anything to recommend", got)
		}
		seen := map[int32]bool{}
		for _, i := range got {
			if seen[category[i]] {
				t.Errorf("%v has two of category %d", got, category[i])
			}
			seen[category[i]] = true
		}
	})
	t.Run("diversity", func(t *testing.T) {
		plain, _ := items(RankerConfig{K: 3}, known)
		got, _ := items(RankerConfig{K: 3, Diversity: 0.7, Similar: knn.Similarity}, known)
		if got[0] != plain[0] {
			t.Errorf("got %v, want the first of %v first", got, plain)
		}
		other := func(items []int) (n int) {
			for _, i := range items {
				if i >= 4 && i < 8 {
					n++
				}
			}
			return n
		}
		if other(got) <= other(plain) {
			t.Errorf("got %v, want more of the other taste than in %v", got, plain)
		}
	})
	t.Run("refused", func(t *testing.T) {
		for _, cfg := range []RankerConfig{
			{K: -1}, {Diversity: -1}, {Diversity: 2, Similar: knn.Similarity}, {Diversity: math.NaN()}, {Diversity: 0.5},
			{PerCategory: -1}, {PerCategory: 1}, {PerCategory: 1, Category: make([]int32, 9)},
		} {
			if _, err := NewRanker(blend, cfg); err == nil {
				t.Errorf("%+v is accepted", cfg)
			}
		}
		r, _ := NewRanker(blend, RankerConfig{})
		if _, err := r.Rank(Query{Items: []int32{10}}); err == nil {
			t.Error("an item out of range is accepted")
		}
		stop := errors.New("stop")
		calls := 0
		err := r.RankAll(5, m.Queries(true), func(user int, _ []Recommendation) error {
			if user != calls {
				t.Errorf("got user %d, want %d", user, calls)
			}
			calls++
			if user == 2 {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) || calls != 3 {
			t.Errorf("got %v after %d calls, want the error of the third", err, calls)
		}
		if err := r.RankAll(1, func(int) Query { return Query{Items: []int32{-1}} }, nil); err == nil {
			t.Error("a query out of range is accepted")
		}
	})
}

// TestManyOfOneCategory has more items of one category than the pool that is looked at first.
func TestManyOfOneCategory(t *testing.T) {
	scores := make(fixed, 500)
	category := make([]int32, 500)
	for i := range scores {
		scores[i] = float32(1000 - i)
		if i >= 490 {
			category[i] = int32(i)
		}
	}
	blend, _ := NewBlend([]Model{scores}, []float64{1})
	r, err := NewRanker(blend, RankerConfig{K: 4, Category: category, PerCategory: 2})
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.Rank(Query{})
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, e := range list {
		got = append(got, e.Item)
	}
	if want := []int{0, 1, 490, 491}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestOneOfEach is the smallest there is: one user, one item.
func TestOneOfEach(t *testing.T) {
	m := weighted(t, 1, 1, cell{0, 0, 4})
	models, err := everything(m, m)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRanker(models[4].(*Blend), RankerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := r.Rank(m.Queries(true)(0)); err != nil || len(list) != 0 {
		t.Errorf("new: got %+v, %v, want nothing", list, err)
	}
	if list, err := r.Rank(m.Queries(false)(0)); err != nil || len(list) != 1 || list[0].Reason.Kind != Habit {
		t.Errorf("all: got %+v, %v, want the one item, as a habit", list, err)
	}
}
