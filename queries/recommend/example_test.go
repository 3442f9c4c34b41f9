package recommend_test

import (
	"fmt"

	"github.com/cardlake/cardlake/queries/recommend"
)

// matrix returns a user's items by row.
func matrix(items int, rows ...[]int) *recommend.Matrix {
	b, err := recommend.NewBuilder(len(rows), items)
	if err != nil {
		panic(err)
	}
	for user, row := range rows {
		for _, item := range row {
			b.Add(user, item, 1)
		}
	}
	m, err := b.Matrix()
	if err != nil {
		panic(err)
	}
	return m.Binary()
}

// One split, two methods: fit to what is known, rank what is new, compare with what was held out.
func Example() {
	train := matrix(6, []int{0, 1, 2}, []int{0, 1}, []int{1, 2}, []int{3, 4}, []int{3, 5}, []int{3, 4, 5})
	test := matrix(6, nil, []int{2}, []int{0}, []int{5}, []int{4}, nil)

	ease, err := recommend.FitEASE(train, 0.5)
	if err != nil {
		panic(err)
	}
	knn, err := recommend.FitItemKNN(train, recommend.KNNConfig{Neighbours: 2, Similarity: recommend.Jaccard})
	if err != nil {
		panic(err)
	}
	popular, err := recommend.FitPopularity(train, nil)
	if err != nil {
		panic(err)
	}
	for _, m := range []struct {
		name string
		recommend.Model
	}{{"EASE", ease}, {"item-kNN", knn}, {"popularity", popular}} {
		metrics, err := recommend.Evaluate(m.Model, test, train.Queries(true), 1, 2)
		if err != nil {
			panic(err)
		}
		for _, at := range metrics {
			fmt.Printf("%-10s recall@%d %.2f ndcg@%d %.2f of %d users\n", m.name, at.K, at.Recall, at.K, at.NDCG, at.Users)
		}
	}
	// Output:
	// EASE       recall@1 1.00 ndcg@1 1.00 of 4 users
	// EASE       recall@2 1.00 ndcg@2 1.00 of 4 users
	// item-kNN   recall@1 1.00 ndcg@1 1.00 of 4 users
	// item-kNN   recall@2 1.00 ndcg@2 1.00 of 4 users
	// popularity recall@1 0.00 ndcg@1 0.00 of 4 users
	// popularity recall@2 0.50 ndcg@2 0.32 of 4 users
}

// Strong generalisation: the model never saw the users that it is measured on. Each has a known
// half, which the queries hold, and a held-out half (Liang et al., WWW 2018).
func ExampleEvaluate() {
	train := matrix(4, []int{0, 1}, []int{0, 1}, []int{2, 3}, []int{2, 3})
	ease, err := recommend.FitEASE(train, 1)
	if err != nil {
		panic(err)
	}
	known, held := matrix(4, []int{0}, []int{3}), matrix(4, []int{1}, []int{2})
	metrics, err := recommend.Evaluate(ease, held, known.Queries(true), 1)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.2f %.2f\n", metrics[0].TruncatedRecall, metrics[0].NDCG)
	// Output: 1.00 1.00
}

// A blend with reasons, for one user.
func ExampleRanker() {
	train := matrix(5, []int{0, 1}, []int{0, 1, 4}, []int{0, 1}, []int{2, 3, 4}, []int{2, 3})
	ease, err := recommend.FitEASE(train, 1)
	if err != nil {
		panic(err)
	}
	popular, err := recommend.FitPopularity(train, nil)
	if err != nil {
		panic(err)
	}
	blend, err := recommend.NewBlend([]recommend.Model{ease, popular}, []float64{9, 1})
	if err != nil {
		panic(err)
	}
	ranker, err := recommend.NewRanker(blend, recommend.RankerConfig{K: 2})
	if err != nil {
		panic(err)
	}
	list, err := ranker.Rank(recommend.Query{Items: []int32{2}, New: true})
	if err != nil {
		panic(err)
	}
	for _, r := range list {
		fmt.Printf("item %d, %.2f, %v %d\n", r.Item, r.Score, r.Reason.Kind, r.Reason.Item)
	}
	// Output:
	// item 3, 0.97, because 2
	// item 4, 0.36, because 2
}
