package recommend

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type cell struct {
	user, item int
	weight     float64
}

func weighted(t testing.TB, users, items int, cells ...cell) *Matrix {
	t.Helper()
	b, err := NewBuilder(users, items)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cells {
		b.Add(c.user, c.item, c.weight)
	}
	m, err := b.Matrix()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// dense returns the matrix by user, then item.
func dense(m *Matrix) [][]float64 {
	all := make([][]float64, m.Users())
	for u := range all {
		all[u] = make([]float64, m.Items())
		items, weights := m.Row(u)
		for n, i := range items {
			all[u][i] = 1
			if weights != nil {
				all[u][i] = float64(weights[n])
			}
		}
	}
	return all
}

func products(x [][]float64) [][]float64 {
	g := make([][]float64, len(x[0]))
	for i := range g {
		g[i] = make([]float64, len(g))
		for j := range g {
			for _, row := range x {
				g[i][j] += row[i] * row[j]
			}
		}
	}
	return g
}

func TestMatrix(t *testing.T) {
	m := weighted(t, 3, 4, cell{2, 3, 1}, cell{0, 2, 2}, cell{0, 1, 3}, cell{0, 2, 0.5}, cell{1, 0, 0})
	if got, want := dense(m), [][]float64{{0, 3, 2.5, 0}, {0, 0, 0, 0}, {0, 0, 0, 1}}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if m.Entries() != 3 || m.Binary().Entries() != 3 {
		t.Errorf("got %d entries, want 3: duplicates are one, weights of 0 none", m.Entries())
	}
	if got, want := m.Counts(), []int{0, 1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("counts: got %v, want %v", got, want)
	}
	if got, want := dense(m.transpose()), [][]float64{{0, 0, 0}, {3, 0, 0}, {2.5, 0, 0}, {0, 0, 1}}; !cmp.Equal(got, want) {
		t.Errorf("transposed: got %v, want %v", got, want)
	}
	if q := m.Queries(true)(2); !q.New || !slices.Equal(q.Items, []int32{3}) {
		t.Errorf("got %+v, want the user's row", q)
	}
}

func TestBuilderRefuses(t *testing.T) {
	for _, size := range [][2]int{{0, 1}, {1, 0}, {-1, 1}, {math.MaxInt32, 1}, {1, math.MaxInt32}} {
		if _, err := NewBuilder(size[0], size[1]); err == nil {
			t.Errorf("NewBuilder(%d, %d) is accepted", size[0], size[1])
		}
	}
	for _, c := range []cell{
		{-1, 0, 1}, {2, 0, 1}, {0, -1, 1}, {0, 2, 1}, {0, 0, -1}, {0, 0, math.NaN()}, {0, 0, math.Inf(1)}, {0, 0, 2 * MaxWeight},
	} {
		b, _ := NewBuilder(2, 2)
		b.Add(0, 0, 1)
		b.Add(c.user, c.item, c.weight)
		b.Add(0, 1, 1)
		if _, err := b.Matrix(); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	b, _ := NewBuilder(1, 1)
	b.Add(0, 0, MaxWeight)
	b.Add(0, 0, MaxWeight)
	if _, err := b.Matrix(); err == nil {
		t.Error("a sum above MaxWeight is accepted")
	}
}

// TestEASESolves checks the condition of the minimum: (G + λI)B - G is 0 off the diagonal, and B
// is 0 on it (Steck 2019, equation 6). It holds for no other B.
func TestEASESolves(t *testing.T) {
	for _, m := range []*Matrix{synthetic(t, 300, 150), synthetic(t, 300, 150).Binary()} {
		const lambda = 7.5
		e, err := FitEASE(m, lambda)
		if err != nil {
			t.Fatal(err)
		}
		g := products(dense(m))
		for i := range g {
			if e.Weight(i, i) != 0 {
				t.Fatalf("B[%d,%d] = %g", i, i, e.Weight(i, i))
			}
			for j := range g {
				if i == j {
					continue
				}
				sum := lambda*e.Weight(i, j) - g[i][j]
				for k := range g {
					sum += g[i][k] * e.Weight(k, j)
				}
				if scale := g[i][i] + g[j][j] + lambda; math.Abs(sum) > 1e-5*scale {
					t.Fatalf("the condition for %d, %d is off by %g", i, j, sum)
				}
			}
		}
	}
}

// TestEASEByHand is two items that three users have: one each, one both. With λ = 1, G+λI is
// [[3 1] [1 3]], its inverse [[3 -1] [-1 3]]/8, so B is 1/3 off the diagonal.
func TestEASEByHand(t *testing.T) {
	m := weighted(t, 3, 3, cell{0, 0, 1}, cell{1, 1, 1}, cell{2, 0, 1}, cell{2, 1, 1})
	e, err := FitEASE(m.Binary(), 1)
	if err != nil {
		t.Fatal(err)
	}
	scores := make([]float32, 3)
	e.Score(scores, Query{Items: []int32{0}, Weights: []float32{5}})
	if got, want := fmt.Sprintf("%.6f", scores), "[0.000000 0.333333 0.000000]"; got != want {
		t.Errorf("binary: got %s, want %s: weights are not looked at, and nobody has item 2", got, want)
	}
	if e, err = FitEASE(m, 1); err != nil {
		t.Fatal(err)
	}
	e.Score(scores, Query{Items: []int32{0}, Weights: []float32{3}})
	if got, want := fmt.Sprintf("%.6f", scores), "[0.000000 1.000000 0.000000]"; got != want {
		t.Errorf("weighted: got %s, want %s", got, want)
	}
}

func TestEASERefuses(t *testing.T) {
	m := weighted(t, 2, 2, cell{0, 0, 1}, cell{0, 1, 1})
	for _, lambda := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, err := FitEASE(m, lambda); err == nil {
			t.Errorf("lambda %g is accepted", lambda)
		}
	}
	if _, err := FitEASE(weighted(t, 2, 2, cell{0, 0, MaxWeight}, cell{0, 1, MaxWeight}), 1e-300); err == nil {
		t.Error("a lambda that vanishes beside the weights is accepted")
	}
	if _, err := FitEASE(weighted(t, 1, 2, cell{0, 0, MaxWeight}, cell{0, 1, 1 / MaxWeight}), 1e-18); err == nil {
		t.Error("weights in which no score would be finite are accepted")
	}
	if _, err := FitEASE(weighted(t, 2, 2), 1); err == nil {
		t.Error("a matrix without interactions is accepted")
	}
}

// TestItemKNNIsBruteForce compares similarities with those computed pair by pair.
func TestItemKNNIsBruteForce(t *testing.T) {
	m := synthetic(t, 200, 60)
	x := dense(m)
	has := func(v float64) float64 { return math.Min(v, 1) }
	column := func(f func(u, i int) float64) func(i, j int) float64 {
		return func(i, j int) float64 {
			sum := 0.0
			for u := range x {
				sum += f(u, i) * f(u, j)
			}
			return sum
		}
	}
	raw := column(func(u, i int) float64 { return x[u][i] })
	both := column(func(u, i int) float64 { return has(x[u][i]) })
	idf := make([]float64, len(x))
	length, total := make([]float64, m.Items()), 0.0
	for u := range x {
		n := 0.0
		for i, v := range x[u] {
			n += has(v)
			length[i] += v
			total += v
		}
		idf[u] = math.Log(float64(m.Items()) / (1 + n))
	}
	tfidf := column(func(u, i int) float64 { return math.Sqrt(x[u][i]) * idf[u] })
	bm25 := column(func(u, i int) float64 {
		return x[u][i] * 2.2 / (1.2*(0.25+0.75*length[i]/(total/float64(m.Items()))) + x[u][i]) * idf[u]
	})
	for _, test := range []struct {
		name string
		cfg  KNNConfig
		want func(from, to int) float64
	}{
		{"cosine", KNNConfig{Shrink: 3}, func(i, j int) float64 { return raw(i, j) / (math.Sqrt(raw(i, i)*raw(j, j)) + 3) }},
		{"asymmetric", KNNConfig{Similarity: Asymmetric, Alpha: 0.3}, func(i, j int) float64 {
			return raw(i, j) / (math.Pow(raw(j, j), 0.3) * math.Pow(raw(i, i), 0.7))
		}},
		{"conditional probability", KNNConfig{Similarity: Asymmetric}, func(i, j int) float64 { return raw(i, j) / raw(i, i) }},
		{"jaccard", KNNConfig{Similarity: Jaccard}, func(i, j int) float64 { return both(i, j) / (both(i, i) + both(j, j) - both(i, j)) }},
		{"dice", KNNConfig{Similarity: Dice, Shrink: 1}, func(i, j int) float64 { return both(i, j) / (both(i, i) + both(j, j) + 1) }},
		{"tf-idf", KNNConfig{Weighting: TFIDF}, func(i, j int) float64 { return tfidf(i, j) / math.Sqrt(tfidf(i, i)*tfidf(j, j)) }},
		{"bm25", KNNConfig{Weighting: BM25}, func(i, j int) float64 { return bm25(i, j) / math.Sqrt(bm25(i, i)*bm25(j, j)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, err := FitItemKNN(m, test.cfg)
			if err != nil {
				t.Fatal(err)
			}
			for i := range m.Items() {
				for j := range m.Items() {
					want := test.want(i, j)
					if i == j || both(i, j) == 0 {
						want = 0
					}
					if got := k.Similarity(i, j); math.Abs(got-want) > 1e-5 {
						t.Fatalf("from %d to %d: got %g, want %g", i, j, got, want)
					}
				}
			}
		})
	}
}

// TestItemKNNNeighbours has an item 0 that is near to 1, 2 and 3, in this order, and each of those
// only to 0.
func TestItemKNNNeighbours(t *testing.T) {
	var cells []cell
	user := 0
	for item, n := range []int{1: 6, 2: 4, 3: 2} {
		for range n {
			cells = append(cells, cell{user, 0, 1}, cell{user, item, 1})
			user++
		}
	}
	m := weighted(t, user, 4, cells...).Binary()
	edges := func(cfg KNNConfig) (found [][2]int) {
		k, err := FitItemKNN(m, cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			for j := range 4 {
				if k.Similarity(i, j) > 0 {
					found = append(found, [2]int{i, j})
				}
			}
		}
		return found
	}
	if got, want := edges(KNNConfig{Neighbours: 1}), [][2]int{{0, 1}, {0, 2}, {0, 3}, {1, 0}}; !cmp.Equal(got, want) {
		t.Errorf("one neighbour of each scored item: got %v, want %v", got, want)
	}
	if got, want := edges(KNNConfig{Neighbours: 1, OfOwned: true}), [][2]int{{0, 1}, {1, 0}, {2, 0}, {3, 0}}; !cmp.Equal(got, want) {
		t.Errorf("one neighbour of each item had: got %v, want %v", got, want)
	}
	tied, err := FitItemKNN(weighted(t, 2, 3, cell{0, 0, 1}, cell{0, 1, 1}, cell{1, 0, 1}, cell{1, 2, 1}), KNNConfig{Neighbours: 1, OfOwned: true})
	if err != nil || tied.Similarity(0, 1) == 0 || tied.Similarity(0, 2) != 0 {
		t.Errorf("of two items that are as near the lower one is kept: %v", err)
	}
	k, err := FitItemKNN(m, KNNConfig{Normalise: true})
	if err != nil {
		t.Fatal(err)
	}
	if sum := k.Similarity(1, 0) + k.Similarity(2, 0) + k.Similarity(3, 0); math.Abs(sum-1) > 1e-6 {
		t.Errorf("normalised similarities sum to %g, want 1", sum)
	}
}

func TestItemKNNCentred(t *testing.T) {
	m := synthetic(t, 100, 30)
	k, err := FitItemKNN(m, KNNConfig{Centred: true, Neighbours: 5})
	if err != nil {
		t.Fatal(err)
	}
	x := dense(m)
	mean := make([]float64, m.Items())
	for _, row := range x {
		for i, v := range row {
			mean[i] += v / float64(len(x))
		}
	}
	scores := make([]float32, m.Items())
	for u := range x {
		k.Score(scores, m.Queries(false)(u))
		for i := range mean {
			want := mean[i]
			for j := range mean {
				want += k.Similarity(j, i) * (x[u][j] - mean[j])
			}
			if math.Abs(float64(scores[i])-want) > 1e-4 {
				t.Fatalf("user %d, item %d: got %g, want %g", u, i, scores[i], want)
			}
		}
	}
}

func TestItemKNNRefuses(t *testing.T) {
	m := weighted(t, 2, 2, cell{0, 0, 1})
	for _, cfg := range []KNNConfig{
		{Neighbours: -1}, {Similarity: -1}, {Similarity: Dice + 1}, {Weighting: -1}, {Weighting: BM25 + 1}, {Alpha: -1}, {Alpha: 3},
		{Alpha: math.NaN()}, {Shrink: -1}, {Shrink: math.NaN()}, {Shrink: math.Inf(1)},
	} {
		if _, err := FitItemKNN(m, cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
	if _, err := FitItemKNN(weighted(t, 2, 2), KNNConfig{}); err == nil {
		t.Error("a matrix without interactions is accepted")
	}
}

func TestPopularity(t *testing.T) {
	// Of 100 users everybody has item 0; the 50 of group 1 have item 1 too.
	var cells []cell
	groups := make([]int32, 100)
	for u := range 100 {
		cells = append(cells, cell{u, 0, 2})
		groups[u] = -1
		if u%2 == 0 {
			groups[u] = 1
			cells = append(cells, cell{u, 1, 1})
		}
	}
	p, err := FitPopularity(weighted(t, 100, 2, cells...), groups)
	if err != nil {
		t.Fatal(err)
	}
	for group, want := range map[int]string{-1: "[1.00 0.50]", 0: "[1.00 0.50]", 1: "[1.00 0.75]", 7: "[1.00 0.50]", -9: "[1.00 0.50]"} {
		scores := make([]float32, 2)
		p.Score(scores, Query{Group: group})
		if got := fmt.Sprintf("%.2f", scores); got != want {
			t.Errorf("group %d: got %s, want %s", group, got, want)
		}
	}
	if _, err := FitPopularity(weighted(t, 1, 1), nil); err == nil {
		t.Error("a matrix without interactions is accepted")
	}
	if _, err := FitPopularity(weighted(t, 1, 1, cell{0, 0, 1}), groups); err == nil {
		t.Error("groups of other users are accepted")
	}
}

func TestDecay(t *testing.T) {
	for age, want := range map[float64]float64{-5: 1, 0: 1, 30: 0.5, 60: 0.25} {
		if got, err := Decay(age, 30); err != nil || got != want {
			t.Errorf("Decay(%g, 30): got %g, %v, want %g", age, got, err, want)
		}
	}
	for _, bad := range [][2]float64{{1, 0}, {1, -1}, {1, math.NaN()}, {math.NaN(), 1}, {1, math.Inf(1)}} {
		if _, err := Decay(bad[0], bad[1]); err == nil {
			t.Errorf("Decay(%g, %g) is accepted", bad[0], bad[1])
		}
	}
}

// everything fits all models to m and learns a blend from held.
func everything(m, held *Matrix) ([]Model, error) {
	ease, err := FitEASE(m.Binary(), 20)
	if err != nil {
		return nil, err
	}
	knn, err := FitItemKNN(m, KNNConfig{Weighting: BM25, Shrink: 5})
	if err != nil {
		return nil, err
	}
	frequency, err := NewFrequency(m.Items())
	if err != nil {
		return nil, err
	}
	groups := make([]int32, m.Users())
	for u := range groups {
		groups[u] = int32(u % 20)
	}
	popularity, err := FitPopularity(m, groups)
	if err != nil {
		return nil, err
	}
	models := []Model{ease, knn, frequency, popularity}
	blend, _, err := Learn(models, held, m.Queries(false), LearnConfig{})
	if errors.Is(err, ErrTooLittle) {
		blend, err = NewBlend(models, []float64{1, 1, 1, 1})
	}
	return append(models, blend), err
}

// halves splits each user's items by chance: those known and those held out.
func halves(t testing.TB, m *Matrix, part float64) (known, held *Matrix) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	a, _ := NewBuilder(m.Users(), m.Items())
	b, _ := NewBuilder(m.Users(), m.Items())
	for u := range m.Users() {
		items, weights := m.Row(u)
		for n, i := range items {
			to := a
			if r.Float64() < part {
				to = b
			}
			to.Add(u, int(i), float64(weights[n]))
		}
	}
	known, err := a.Matrix()
	if err != nil {
		t.Fatal(err)
	}
	if held, err = b.Matrix(); err != nil {
		t.Fatal(err)
	}
	return known, held
}

// TestProcessors checks that the number of processors changes nothing, bit for bit.
func TestProcessors(t *testing.T) {
	known, held := halves(t, synthetic(t, 500, 300), 0.3)
	type result struct {
		Models  []Model
		Metrics [][]Metrics
		Lists   [][]Recommendation
	}
	run := func(processors int) (r result) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		models, err := everything(known, held)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range models {
			metrics, err := Evaluate(m, held, known.Queries(true), 5, 20)
			if err != nil {
				t.Fatal(err)
			}
			r.Metrics = append(r.Metrics, metrics)
		}
		ranker, err := NewRanker(models[4].(*Blend), RankerConfig{Diversity: 0.2, Similar: models[1].(*ItemKNN).Similarity})
		if err != nil {
			t.Fatal(err)
		}
		err = ranker.RankAll(known.Users(), known.Queries(false), func(u int, list []Recommendation) error {
			r.Lists = append(r.Lists, slices.Clone(list))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		r.Models = models[:4]
		return r
	}
	one, many := run(1), run(7)
	if !reflect.DeepEqual(one, many) {
		t.Error("1 and 7 processors give different results")
	}
}

// FuzzModels fits everything to any small matrix: it gives an error or finite scores.
func FuzzModels(f *testing.F) {
	f.Add(uint8(1), uint8(1), []byte{0, 0, 1})
	f.Add(uint8(1), uint8(9), []byte{0, 0, 1, 0, 5, 255})
	f.Add(uint8(9), uint8(1), []byte{0, 0, 1, 5, 0, 3})
	f.Add(uint8(3), uint8(3), []byte{})
	f.Add(uint8(4), uint8(4), []byte{0, 0, 1, 1, 1, 1, 2, 2, 1, 3, 3, 1})
	f.Add(uint8(30), uint8(5), []byte("the quick brown fox jumps over the lazy dog, again and again and again"))
	f.Fuzz(func(t *testing.T, users, items uint8, cells []byte) {
		b, err := NewBuilder(int(users), int(items))
		if err != nil {
			return
		}
		for n := 0; n+2 < len(cells); n += 3 {
			b.Add(int(cells[n])%int(users), int(cells[n+1])%int(items), math.Pow(10, float64(cells[n+2])/32))
		}
		m, err := b.Matrix()
		if err != nil {
			return
		}
		models, err := everything(m, m)
		if err != nil {
			if m.Entries() > 0 {
				t.Fatal(err)
			}
			return
		}
		scores := make([]float32, m.Items())
		for _, new := range []bool{false, true} {
			for u := range m.Users() {
				for _, model := range models {
					model.Score(scores, m.Queries(new)(u))
					for _, s := range scores {
						if f := float64(s); math.IsNaN(f) || math.IsInf(f, 0) {
							t.Fatalf("%T scores %g", model, f)
						}
					}
				}
			}
			ranker, err := NewRanker(models[4].(*Blend), RankerConfig{K: 3, PerCategory: 1, Category: make([]int32, m.Items())})
			if err != nil {
				t.Fatal(err)
			}
			err = ranker.RankAll(m.Users(), m.Queries(new), func(u int, list []Recommendation) error {
				if len(list) > 1 {
					t.Fatalf("%d of one category", len(list))
				}
				for _, r := range list {
					if !(r.Score > 0 && r.Score <= 1) || !(r.Reason.Share >= 0 && r.Reason.Share <= 1) {
						t.Fatalf("%+v", r)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
