package recommendations

import (
	"context"
	"fmt"

	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/recommend"
)

const (
	// sampled is how many customers are enough to choose and to measure by.
	sampled = 20_000
	// prime steps through customers in no order.
	prime = 1<<31 - 1
	// The item-kNN's settings; the blend's weights decide how much it counts.
	neighbours, shrink = 100, 10
)

// The methods, in the order in which models have them. Lists of new merchants leave out habit.
const (
	easeAt = iota
	knnAt
	popularityAt
	habitAt
)

var methodNames = []string{"EASE", "item-kNN", "most popular", "own habit"}

// models are fitted to one part of the window.
type models struct {
	of      []recommend.Model // as methodNames
	knn     *recommend.ItemKNN
	history *recommend.Matrix
}

// kind is one kind of list.
type kind struct {
	mode string
	new  bool
	// weights are those of the blend, in the order of methodNames.
	weights []float64
	// measured are the metrics of the blend, then those of each method.
	measured []recommend.Metrics
	// hits and popular are the parts of customers for whom the list's places were right, those
	// of this list and of the most popular merchants'.
	hits, popular []float64
}

// methods are how many of methodNames the lists rest on.
func (k *kind) methods() int {
	if k.new {
		return habitAt
	}
	return habitAt + 1
}

// result is what training comes to.
type result struct {
	lambda float64
	kinds  []*kind
	models models // of all of the window
	tested int    // customers that were looked at to measure
}

// train chooses by the part of the window before the last, measures by the last, and fits to all.
func train(ctx context.Context, t *insights.Task, p parameters, d *data) (*result, error) {
	r := &result{kinds: []*kind{{mode: "all"}, {mode: "new", new: true}}}
	step := func(n int64) error {
		t.Report("training", n, 4)
		return ctx.Err()
	}
	if err := step(0); err != nil {
		return nil, err
	}
	chosen, err := d.held(d.pairs.choose)
	if err != nil {
		return nil, err
	}
	early, err := r.choose(p, d, chosen)
	if err != nil {
		return nil, err
	}
	if err := step(1); err != nil {
		return nil, err
	}
	for _, k := range r.kinds {
		b, _, err := recommend.Learn(early.of[:k.methods()], chosen, d.queries(early.history, k.new), recommend.LearnConfig{K: p.length})
		if err != nil {
			return nil, err
		}
		k.weights = b.Weights()
	}
	if err := step(2); err != nil {
		return nil, err
	}
	measured, err := d.held(d.pairs.measure)
	if err != nil {
		return nil, err
	}
	history, err := d.matrix(d.pairs.fit, d.pairs.choose)
	if err != nil {
		return nil, err
	}
	late, err := fit(d, history, r.lambda)
	if err != nil {
		return nil, err
	}
	for _, k := range r.kinds {
		if err := k.measure(p, d, late, measured); err != nil {
			return nil, err
		}
	}
	if err := step(3); err != nil {
		return nil, err
	}
	if history, err = d.matrix(d.pairs.fit, d.pairs.choose, d.pairs.measure); err != nil {
		return nil, err
	}
	r.models, err = fit(d, history, r.lambda)
	return r, err
}

// held is what a sample of customers bought in a part of the window.
func (d *data) held(part []float32) (*recommend.Matrix, error) {
	has := make([]bool, len(d.customers))
	for n, u := range d.pairs.customer {
		has[u] = has[u] || part[n] > 0
	}
	var buyers []int
	for u, is := range has {
		if is {
			buyers = append(buyers, u)
		}
	}
	if len(buyers) < leastCustomers {
		return nil, fmt.Errorf("%w: %d customers bought in a part of the window that is held out", recommend.ErrTooLittle, len(buyers))
	}
	clear(has)
	for k := range min(sampled, len(buyers)) {
		has[buyers[k*prime%len(buyers)]] = true
	}
	b, err := recommend.NewBuilder(len(d.customers), len(d.merchants))
	if err != nil {
		return nil, err
	}
	for n, u := range d.pairs.customer {
		if part[n] > 0 && has[u] {
			b.Add(int(u), int(d.pairs.merchant[n]), 1)
		}
	}
	return b.Matrix()
}

// fit fits every method. Only habit looks at how much a customer bought: who buys once a week
// at a supermarket is no less a customer of the bookshop.
func fit(d *data, history *recommend.Matrix, lambda float64) (models, error) {
	ease, err := recommend.FitEASE(history.Binary(), lambda)
	if err != nil {
		return models{}, err
	}
	return beside(d, history, ease)
}

// beside fits every method but EASE.
func beside(d *data, history *recommend.Matrix, ease recommend.Model) (models, error) {
	knn, err := recommend.FitItemKNN(history.Binary(), recommend.KNNConfig{Neighbours: neighbours, Shrink: shrink, Weighting: recommend.TFIDF})
	if err != nil {
		return models{}, err
	}
	popularity, err := recommend.FitPopularity(history, d.group)
	if err != nil {
		return models{}, err
	}
	habit, err := recommend.NewFrequency(history.Items())
	return models{[]recommend.Model{ease, knn, popularity, habit}, knn, history}, err
}

// choose fits to the first part of the window, with the lambda that ranks new merchants best.
func (r *result) choose(p parameters, d *data, held *recommend.Matrix) (models, error) {
	history, err := d.matrix(d.pairs.fit)
	if err != nil {
		return models{}, err
	}
	var best recommend.Model
	value := -1.0
	for _, lambda := range p.lambdas {
		ease, err := recommend.FitEASE(history.Binary(), lambda)
		if err != nil {
			return models{}, err
		}
		metrics := []recommend.Metrics{{}}
		if len(p.lambdas) > 1 {
			if metrics, err = recommend.Evaluate(ease, held, d.queries(history, true), p.length); err != nil {
				return models{}, err
			}
		}
		if metrics[0].NDCG > value {
			value, best, r.lambda = metrics[0].NDCG, ease, lambda
		}
	}
	return beside(d, history, best)
}

// measure evaluates the blend and its methods by what is held out.
func (k *kind) measure(p parameters, d *data, m models, held *recommend.Matrix) error {
	queries := d.queries(m.history, k.new)
	blend, err := recommend.NewBlend(m.of[:k.methods()], k.weights)
	if err != nil {
		return err
	}
	for _, model := range append([]recommend.Model{blend}, m.of[:k.methods()]...) {
		metrics, err := recommend.Evaluate(model, held, queries, p.length)
		if err != nil {
			return err
		}
		k.measured = append(k.measured, metrics[0])
	}
	if k.hits, err = places(blend, p, m, held, queries); err != nil {
		return err
	}
	popular, err := recommend.NewBlend(m.of[popularityAt:popularityAt+1], []float64{1})
	if err != nil {
		return err
	}
	k.popular, err = places(popular, p, m, held, queries)
	return err
}

// places are, for each place of the lists as customers get them, the part of customers who then
// bought there.
func places(b *recommend.Blend, p parameters, m models, held *recommend.Matrix, queries func(int) recommend.Query) ([]float64, error) {
	ranker, err := ranker(b, p, m)
	if err != nil {
		return nil, err
	}
	var customers []int
	for u := range held.Users() {
		if items, _ := held.Row(u); len(items) > 0 {
			customers = append(customers, u)
		}
	}
	hits := make([]float64, p.length)
	bought := make([]bool, held.Items())
	err = ranker.RankAll(len(customers), func(n int) recommend.Query { return queries(customers[n]) }, func(n int, list []recommend.Recommendation) error {
		items, _ := held.Row(customers[n])
		for _, i := range items {
			bought[i] = true
		}
		for place, r := range list {
			if bought[r.Item] {
				hits[place] += 1 / float64(len(customers))
			}
		}
		for _, i := range items {
			bought[i] = false
		}
		return nil
	})
	return hits, err
}

// ranker makes lists as customers get them.
func ranker(b *recommend.Blend, p parameters, m models) (*recommend.Ranker, error) {
	cfg := recommend.RankerConfig{K: p.length, PerCategory: p.perCategory, Category: p.category}
	if p.diversity > 0 {
		cfg.Diversity, cfg.Similar = float64(p.diversity)/100, m.knn.Similarity
	}
	return recommend.NewRanker(b, cfg)
}
