package recommend

import (
	"fmt"
	"math"
	"slices"
)

// Metrics tell how well lists of K items match what was held out, as means over users.
type Metrics struct {
	K int
	// Users is how many users had anything held out that may be recommended to them; the others
	// are in no mean.
	Users int
	// Recall is hits / held out. TruncatedRecall is hits / min(K, held out), the recall of
	// D. Liang et al., "Variational autoencoders for collaborative filtering", WWW 2018, and of
	// the papers that use its splits. Precision is hits / K.
	Recall, TruncatedRecall, Precision float64
	// NDCG is Σ 1/log₂(rank+1) over the hits, as a part of what a perfect list of K has.
	NDCG float64
	// HitRate is the part of users with a hit.
	HitRate float64
	// Coverage is the part of all items that is in at least one user's list.
	Coverage float64
	// Novelty is the mean of -log₂ of the part of users that has a listed item, by the queries
	// (Zhou et al., PNAS 107(10), 2010), in bits: 0 is what everybody has.
	Novelty float64
}

// Evaluate ranks the items of each user of held by the model, as queries ask, and compares the
// lists with what was held out: one Metrics for each of ks. Items that a query doesn't allow are
// in no list and don't count as held out. A list is of all that may be recommended, whatever its
// score.
//
// Evaluate(model, test, train.Queries(true), 20) is the usual evaluation on one split; for
// strong generalisation the queries are those of the other users' known halves. Errors: a k
// below 1, a query or held that doesn't fit the model, or nothing held out.
func Evaluate(model Model, held *Matrix, queries func(user int) Query, ks ...int) ([]Metrics, error) {
	if len(ks) == 0 || slices.Min(ks) < 1 {
		return nil, fmt.Errorf("recommend: evaluate: at least one length of list is needed, and none below 1")
	}
	items := model.Items()
	if held.items != items {
		return nil, fmt.Errorf("recommend: evaluate: %d items are held out, the model has %d", held.items, items)
	}
	most := min(slices.Max(ks), items)
	lists := make([]int32, held.users*most)
	length := make([]int32, held.users)
	relevant := make([]int32, held.users)
	hits := make([]bool, len(lists))
	errs := make([]error, held.users)
	spread(held.users, func() *scratch { return newScratch(items, most) }, func(s *scratch, u int) {
		wanted, _ := held.Row(u)
		if len(wanted) == 0 {
			return
		}
		q := queries(u)
		if errs[u] = q.check(items); errs[u] != nil {
			return
		}
		s.mark(q)
		defer s.unmark(q)
		for _, i := range wanted {
			if s.candidate(q, i) {
				relevant[u]++
			}
		}
		if relevant[u] == 0 {
			return
		}
		model.Score(s.score, q)
		for n, e := range s.top(q, s.score, most) {
			lists[u*most+n] = e.item
			_, hits[u*most+n] = slices.BinarySearch(wanted, e.item)
			length[u]++
		}
	})
	counts := make([]float64, items)
	for u := range held.users {
		if errs[u] != nil {
			return nil, fmt.Errorf("recommend: evaluate: user %d: %w", u, errs[u])
		}
		for _, i := range queries(u).Items {
			if int(i) < items && i >= 0 {
				counts[i]++
			}
		}
	}
	all := make([]Metrics, len(ks))
	for n, k := range ks {
		all[n] = measure(k, most, items, lists, length, relevant, hits, counts)
		if all[n].Users == 0 {
			return nil, fmt.Errorf("%w: evaluate: 0 users have anything held out, at least 1 is needed", ErrTooLittle)
		}
	}
	return all, nil
}

// measure adds up in the order of users, so that the sums are the same however they were ranked.
func measure(k, most, items int, lists, length, relevant []int32, hits []bool, counts []float64) Metrics {
	m := Metrics{K: k}
	listed := make([]bool, items)
	entries := 0
	for u, wanted := range relevant {
		if wanted == 0 {
			continue
		}
		m.Users++
		found, dcg, ideal := 0.0, 0.0, 0.0
		for n := range min(k, int(wanted)) {
			ideal += 1 / math.Log2(float64(n+2))
		}
		for n := range min(k, int(length[u])) {
			i := lists[u*most+n]
			listed[i] = true
			entries++
			// One more user than there are, who has everything: an item that no query has is
			// as new as it gets, and not infinitely so.
			m.Novelty += -math.Log2((counts[i] + 1) / float64(len(relevant)+1))
			if hits[u*most+n] {
				found++
				dcg += 1 / math.Log2(float64(n+2))
			}
		}
		m.Recall += found / float64(wanted)
		m.TruncatedRecall += found / float64(min(k, int(wanted)))
		m.Precision += found / float64(k)
		m.NDCG += dcg / ideal
		if found > 0 {
			m.HitRate++
		}
	}
	if m.Users == 0 {
		return m
	}
	for _, sum := range []*float64{&m.Recall, &m.TruncatedRecall, &m.Precision, &m.NDCG, &m.HitRate} {
		*sum /= float64(m.Users)
	}
	if entries > 0 {
		m.Novelty /= float64(entries)
	}
	for _, is := range listed {
		if is {
			m.Coverage++
		}
	}
	m.Coverage /= float64(items)
	return m
}
