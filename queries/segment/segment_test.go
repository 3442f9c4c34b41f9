package segment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
)

// blobs are rows around k centres, each spread by sd, and which of them each row is of.
func blobs(seed uint64, rows, cols, k int, sd float64) (Matrix, []int32) {
	r := rand.New(rand.NewPCG(seed, 0))
	centres, x, of := NewMatrix(k, cols), NewMatrix(rows, cols), make([]int32, rows)
	for i := range centres.Data {
		centres.Data[i] = 10 * r.Float64()
	}
	for i := range rows {
		of[i] = int32(r.IntN(k))
		for j := range cols {
			x.Row(i)[j] = centres.Row(int(of[i]))[j] + sd*r.NormFloat64()
		}
	}
	return x, of
}

func matrix(cols int, values ...float64) Matrix {
	return Matrix{Rows: len(values) / cols, Cols: cols, Data: values}
}

// TestSameWhateverProcessors holds for every parallel step, over more rows than a block has.
func TestSameWhateverProcessors(t *testing.T) {
	x, _ := blobs(1, 3*blockRows, 5, 4, 3)
	p, err := KMeans(context.Background(), x, 4, KMeansConfig{SearchRows: 5000})
	if err != nil {
		t.Fatal(err)
	}
	if sse, err := SSE(x, p.Labels); err != nil || math.Abs(p.SSE/sse-1) > 1e-6 {
		t.Errorf("SSE %v, added up row by row %v, %v", p.SSE, sse, err)
	}
	run := func() any {
		c, err := Choose(context.Background(), x, ChooseConfig{Most: 4, Method: ByMixture, SilhouetteRows: 500, MixtureRows: 10_000, KMeans: KMeansConfig{SearchRows: 2000, Patience: 5, Seed: 3}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want := run()
	for _, n := range []int{2, 7} {
		runtime.GOMAXPROCS(n)
		if got := run(); !reflect.DeepEqual(got, want) {
			t.Errorf("%d processors give another result than 1", n)
		}
	}
}

// TestLloydIsExact compares the bounded iteration with a plain one.
func TestLloydIsExact(t *testing.T) {
	for seed := range uint64(20) {
		k := 2 + int(seed)
		x, _ := blobs(seed, 700, 1+int(seed%4), 5, 4)
		centres := make([]float64, k*x.Cols)
		copy(centres, x.Data)
		l := newLloyd(x, k)
		if _, _, err := l.run(context.Background(), centres, 12, 0); err != nil {
			t.Fatal(err)
		}
		plain := append([]float64(nil), centres...)
		for range 12 {
			sums, counts := make([]float64, len(plain)), make([]float64, k)
			for i := range x.Rows {
				near, _, _, _ := nearestTwo(x.Row(i), plain, k)
				counts[near]++
				for c, v := range x.Row(i) {
					sums[near*x.Cols+c] += v
				}
			}
			for at := range sums {
				if counts[at/x.Cols] == 0 {
					t.Fatalf("seed %d: an empty cluster; choose another seed", seed)
				}
				plain[at] = sums[at] / counts[at/x.Cols]
			}
		}
		for at, v := range plain {
			if math.Abs(l.centres[at]-v) > 1e-9 {
				t.Fatalf("seed %d: centre %v, plain iteration has %v", seed, l.centres[at], v)
			}
		}
	}
}

// TestEmptyClusters starts with centres that nothing is near.
func TestEmptyClusters(t *testing.T) {
	x := matrix(1, 0, 1, 2, 10, 11, 12, 50)
	l := newLloyd(x, 4)
	if _, rest, err := l.run(context.Background(), []float64{0, 1000, 2000, 3000}, 50, 0); err != nil || !rest {
		t.Fatalf("at rest %v, %v", rest, err)
	}
	sizes := map[int32]int{}
	for _, j := range l.labels {
		sizes[j]++
	}
	if len(sizes) != 4 {
		t.Errorf("clusters %v, want 4", sizes)
	}
	same := matrix(1, 5, 5, 5, 7)
	l = newLloyd(same, 3)
	if _, _, err := l.run(context.Background(), []float64{5, 7, 9}, 50, 0); err != nil {
		t.Error(err)
	}
}

func TestRefuses(t *testing.T) {
	ctx := context.Background()
	ok, _ := blobs(1, 40, 2, 2, 1)
	nan := matrix(2, 1, 2, math.NaN(), 4)
	few := func(what string, have, need int) error { return &TooFewError{what, have, need} }
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"no customers":      {second(KMeans(ctx, Matrix{Cols: 2}, 2, KMeansConfig{})), few("customers", 0, 1)},
		"no features":       {second(KMeans(ctx, Matrix{Rows: 2}, 2, KMeansConfig{})), few("features", 0, 1)},
		"fewer than k":      {second(KMeans(ctx, ok, 41, KMeansConfig{})), few("customers", 40, 41)},
		"fewer differ":      {second(KMeans(ctx, matrix(1, 1, 1, 1, 2), 3, KMeansConfig{})), few("customers that differ", 2, 3)},
		"NaN":               {second(KMeans(ctx, nan, 2, KMeansConfig{})), nil},
		"infinity":          {second(KMeans(ctx, matrix(1, 1, math.Inf(1)), 1, KMeansConfig{})), nil},
		"squares overflow":  {second(KMeans(ctx, matrix(1, 1, 1e200), 1, KMeansConfig{})), nil},
		"shape":             {second(KMeans(ctx, Matrix{3, 3, []float64{1}}, 1, KMeansConfig{})), nil},
		"no clusters":       {second(KMeans(ctx, ok, 0, KMeansConfig{})), nil},
		"negative starts":   {second(KMeans(ctx, ok, 2, KMeansConfig{Starts: -1})), nil},
		"mixture NaN":       {second(FitMixture(ctx, nan, 2, MixtureConfig{})), nil},
		"mixture few":       {second(FitMixture(ctx, ok, 21, MixtureConfig{})), few("customers", 40, 42)},
		"mixture none":      {second(FitMixture(ctx, ok, 0, MixtureConfig{})), nil},
		"covariance":        {second(FitMixture(ctx, ok, 2, MixtureConfig{Covariance: "VVV"})), nil},
		"choose one":        {second(Choose(ctx, matrix(2, 1, 2), ChooseConfig{})), few("customers", 1, 10)},
		"choose for many":   {second(Choose(ctx, ok, ChooseConfig{Least: 9})), few("customers", 40, 45)},
		"choose alike":      {second(Choose(ctx, NewMatrix(40, 2), ChooseConfig{})), few("customers that differ", 1, 2)},
		"choose backwards":  {second(Choose(ctx, ok, ChooseConfig{Least: 5, Most: 3})), nil},
		"choose method":     {second(Choose(ctx, ok, ChooseConfig{Method: "dbscan"})), nil},
		"silhouette NaN":    {second(Silhouettes(ctx, nan, 0, 0)), nil},
		"silhouette labels": {second(Silhouettes(ctx, ok, 0, 0, []int32{1})), nil},
		"plane NaN":         {second(FitPlane(nan)), nil},
		"grid":              {second(Grid(ok, []int{2}, 5)), nil},
		"rand":              {second(AdjustedRand([]int32{1}, nil)), nil},
		"index":             {second(CentroidIndex(ok, matrix(1, 1))), nil},
	} {
		var want *TooFewError
		if c.err == nil {
			t.Errorf("%s: no error", name)
		} else if errors.As(c.want, &want) && c.err.Error() != c.want.Error() {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Choose(stopped, ok, ChooseConfig{}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestSampleTooAlike needs rows that the sample does not have.
func TestSampleTooAlike(t *testing.T) {
	x := NewMatrix(30_000, 1)
	x.Data[7], x.Data[29_000] = 1, 2
	p, err := KMeans(context.Background(), x, 3, KMeansConfig{SearchRows: 300})
	if err != nil {
		t.Fatal(err)
	}
	if p.SSE != 0 || !reflect.DeepEqual(p.Sizes, []int{29_998, 1, 1}) {
		t.Errorf("SSE %v, sizes %v", p.SSE, p.Sizes)
	}
}

// TestFarFromOrigin loses no digits to large means.
func TestFarFromOrigin(t *testing.T) {
	x, _ := blobs(5, 500, 3, 4, 0.3)
	near, err := KMeans(context.Background(), x, 4, KMeansConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Data {
		x.Data[i] += 1e9
	}
	far, err := KMeans(context.Background(), x, 4, KMeansConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(near.Labels, far.Labels) || math.Abs(far.SSE/near.SSE-1) > 1e-5 {
		t.Errorf("SSE %v near the origin, %v far from it", near.SSE, far.SSE)
	}
}

func TestAgreement(t *testing.T) {
	a := []int32{0, 0, 0, 1, 1, 1}
	for _, c := range []struct {
		b        []int32
		ari, nmi float64 // scikit-learn 1.9.1
	}{
		{[]int32{5, 5, 5, 2, 2, 2}, 1, 1},
		{[]int32{0, 0, 1, 1, 2, 2}, 0.24242424242424243, 0.5158037429793889},
		{[]int32{0, 0, 0, 0, 0, 0}, 0, 0},
		{[]int32{0, 1, 2, 0, 1, 2}, -0.36363636363636365, 0},
	} {
		ari, err := AdjustedRand(a, c.b)
		if err != nil {
			t.Fatal(err)
		}
		nmi, err := MutualInformation(a, c.b)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(ari-c.ari) > 1e-12 || math.Abs(nmi-c.nmi) > 1e-12 {
			t.Errorf("%v: ARI %v, NMI %v, want %v, %v", c.b, ari, nmi, c.ari, c.nmi)
		}
	}
	one := []int32{3}
	if ari, err := AdjustedRand(one, one); ari != 1 || err != nil {
		t.Errorf("one row: %v, %v", ari, err)
	}
	if ci, err := CentroidIndex(matrix(1, 0, 1, 10), matrix(1, 0, 10, 11)); ci != 1 || err != nil {
		t.Errorf("centroid index %v, %v; want 1", ci, err)
	}
}

// TestChoose finds the number of clusters that there are.
func TestChoose(t *testing.T) {
	for _, k := range []int{2, 3, 5, 8} {
		x, of := blobs(uint64(40+k), 2000, 6, k, 0.5)
		c, err := Choose(context.Background(), x, ChooseConfig{KMeans: KMeansConfig{Seed: 1, Starts: 2}})
		if err != nil {
			t.Fatal(err)
		}
		ari, err := AdjustedRand(c.Labels, of)
		if err != nil || c.Centres.Rows != k || ari < 0.999 || c.Silhouette < 0.5 {
			t.Errorf("%d clusters found of %d, ARI %v, silhouette %v, %v", c.Centres.Rows, k, ari, c.Silhouette, err)
		}
		if len(c.Candidates) != 10 || c.Candidates[0].K != 1 || c.Candidates[0].Silhouette != 0 {
			t.Errorf("candidates %+v", c.Candidates)
		}
	}
}

func TestPick(t *testing.T) {
	of := []Candidate{{K: 1, BIC: 1}, {K: 2, Silhouette: 0.50, BIC: 90, Smallest: 1}, {K: 3, Silhouette: 0.49, BIC: 80, Smallest: 5}, {K: 4, Silhouette: 0.3, BIC: 10, Smallest: 4}}
	for _, c := range []struct {
		smallest float64
		want     int
	}{{0, 3}, {4.5, 3}, {6, 3}} {
		if got := of[pick(of, c.smallest)].K; got != c.want {
			t.Errorf("smallest %v: %d segments, want %d", c.smallest, got, c.want)
		}
	}
	of[2].Smallest = 1
	if got := of[pick(of, 2)].K; got != 4 {
		t.Errorf("%d segments, want 4: the others have one too small", got)
	}
}

// TestSilhouettes holds against scikit-learn 1.9.1.
func TestSilhouettes(t *testing.T) {
	for _, c := range []struct {
		name  string
		k     int
		width float64
	}{
		{"iris", 2, 0.6810461692117462}, {"iris", 3, 0.5528190123564095}, {"iris", 4, 0.49805050499728737},
		{"wine", 2, 0.6568536504294317}, {"wine", 3, 0.5711381937868838}, {"wine", 4, 0.5620323449580341}, {"s1", 15, 0.711279},
	} {
		t.Run(fmt.Sprint(c.name, c.k), func(t *testing.T) {
			x, _ := dataset(t, c.name)
			p, err := KMeans(context.Background(), x, c.k, KMeansConfig{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := Silhouettes(context.Background(), x, 0, 0, p.Labels)
			if err != nil || math.Abs(got[0]-c.width) > 1e-6 {
				t.Errorf("%v, want %v (%v)", got, c.width, err)
			}
		})
	}
	x := matrix(1, 0, 0, 5, 9)
	got, err := Silhouettes(context.Background(), x, 0, 0, []int32{0, 0, 0, 0}, []int32{7, 7, 3, 1}, []int32{0, 1, 2, 3})
	if err != nil || !reflect.DeepEqual(got, []float64{0, 0.5, 0}) {
		t.Errorf("one cluster, lone rows: %v, %v", got, err)
	}
}

func TestPlane(t *testing.T) {
	x := matrix(2, -2, -1, 0, 0, 2, 1, 4, 2)
	p, err := FitPlane(x)
	if err != nil {
		t.Fatal(err)
	}
	u, v := p.Project(x.Row(3))
	if math.Abs(u-math.Hypot(3, 1.5)) > 1e-12 || math.Abs(v) > 1e-12 || math.Abs(p.Explained[0]-1) > 1e-12 {
		t.Errorf("on a line: %v, %v, %+v", u, v, p)
	}
	for _, x := range []Matrix{matrix(1, 4, 4, 4), matrix(3, 1, 2, 3)} {
		p, err := FitPlane(x)
		if err != nil {
			t.Fatal(err)
		}
		if u, v := p.Project(x.Row(0)); u != 0 || v != 0 || p.Explained != [2]float64{} {
			t.Errorf("all alike: %v, %v, %+v", u, v, p)
		}
	}
}

func TestGrid(t *testing.T) {
	x := matrix(2, 1, 1, 2, 1, 3, 1, 4, 2)
	got, err := Grid(x, []int{0, 1}, 2)
	if err != nil || !reflect.DeepEqual(got, []int32{0, 0, 1, 2}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestStability(t *testing.T) {
	ctx := context.Background()
	x, of := blobs(11, 3000, 4, 4, 0.5)
	good, err := Stability(ctx, x, 4, KMeansConfig{})
	if err != nil || good < 0.999 {
		t.Errorf("of clusters that there are: %v, %v", good, err)
	}
	noise, _ := blobs(11, 3000, 4, 1, 1)
	bad, err := Stability(ctx, noise, 6, KMeansConfig{})
	if err != nil || bad > 0.7 {
		t.Errorf("of noise: %v, %v", bad, err)
	}
	p, err := KMeans(ctx, x, 4, KMeansConfig{})
	if err != nil {
		t.Fatal(err)
	}
	sse, err := SSE(x, of)
	if err != nil || math.Abs(sse/p.SSE-1) > 1e-6 {
		t.Errorf("SSE %v, %v of k-means, %v", sse, p.SSE, err)
	}
}

func TestMemberships(t *testing.T) {
	x := matrix(1, 0, 4, 5, 10)
	p := &Partition{Centres: matrix(1, 0, 10), Labels: []int32{0, 0, 0, 1}}
	got, err := Memberships(context.Background(), x, p)
	if want := []float64{1, 36. / 52, 0.5, 1}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v (%v)", got, want, err)
	}
}
