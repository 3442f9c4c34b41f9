package predict

import (
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shoppers makes purchases of customers over 90 days who each have two favourites among the
// categories, buy coffee (0) after fuel (1), and rest for about a time of their own between
// purchases.
func shoppers(customers, categories int, seed uint64) Visits {
	d := rand.New(rand.NewPCG(seed, 2))
	v := Visits{Start: []int64{0}}
	const begin, span = 1_700_000_000, 90 * 86400
	for range customers {
		a, b := uint16(1+d.IntN(categories-1)), uint16(1+d.IntN(categories-1))
		rest := 86400 * math.Exp(1+d.NormFloat64())
		last := uint16(0)
		for at := rest * d.ExpFloat64(); at < span; at += rest * d.ExpFloat64() {
			c := uint16(d.IntN(categories))
			switch u := d.Float64(); {
			case last == 1 && u < .8:
				c = 0
			case u < .5:
				c = a
			case u < .8:
				c = b
			}
			v.Time, v.Category = append(v.Time, begin+int64(at)), append(v.Category, c)
			last = c
		}
		v.Start = append(v.Start, int64(len(v.Time)))
	}
	return v
}

func TestNextBeatsTheBaselines(t *testing.T) {
	folds, err := Backtest(shoppers(3000, 40, 1), 40, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(folds) != 3 {
		t.Fatalf("%d folds, want 3", len(folds))
	}
	for _, f := range folds {
		t.Logf("%+v", f)
		if f.Predictions < 1000 || f.From >= f.To {
			t.Errorf("fold: %+v", f)
		}
		for name, b := range map[string]Accuracy{"same as last": f.Last, "most frequent own": f.Own, "most frequent of all": f.Frequent} {
			if f.Model.Top1 <= b.Top1 || f.Model.Top3 <= b.Top3 || f.Model.MRR <= b.MRR || f.Model.LogLoss >= b.LogLoss {
				t.Errorf("%s: %+v, the model %+v", name, b, f.Model)
			}
			if b.Top1 > b.MRR || b.MRR > 1 || b.Top3 < b.Top1 || b.Top3 > 1 {
				t.Errorf("%s: %+v", name, b)
			}
		}
		if f.GapModel >= f.GapLast || f.GapModel >= f.GapMean {
			t.Errorf("gap: off by %g, the last by %g, the mean by %g", f.GapModel, f.GapLast, f.GapMean)
		}
		if math.Abs(f.GapInside-.8) > .05 {
			t.Errorf("%g of the gaps are where 0.8 should be", f.GapInside)
		}
	}
}

// What a mixture says of all symbols is what its experts say of each, and adds up to one.
func TestMixture(t *testing.T) {
	v := shoppers(200, 12, 3)
	n, err := FitNext(v, 12)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*chain{&n.categories, &n.gaps} {
		m := c.memory()
		p := make([]float32, c.size)
		for i := range v.customers() {
			m.forget(0)
			for j := v.Start[i]; j < v.Start[i+1]; j++ {
				w := &c.weights[seen(m.n)]
				c.mix(m, w, p)
				sum := 0.0
				for s, q := range p {
					sum += float64(q)
					if one := c.probability(m, w, uint16(s)); math.Abs(float64(one-q)) > 1e-5 {
						t.Fatalf("symbol %d: %g, alone %g", s, q, one)
					}
				}
				if math.Abs(sum-1) > 1e-4 {
					t.Fatalf("the probabilities add up to %g", sum)
				}
				m.observe(c.of(&v, v.Start[i], j), v.Time[j])
			}
		}
	}
}

// A customer of very many purchases: what grows is brought back, and recent ones count.
func TestLongMemory(t *testing.T) {
	c := chain{size: 3}
	m := c.memory()
	for i := range 100_000 {
		m.observe(uint16(i/50_000), int64(i))
	}
	if share := m.recent[1] / m.recents; m.n != 100_000 || !(share > .999 && share <= 1) {
		t.Errorf("the recent share is %g of %d", share, m.n)
	}
	m.forget(0)
	if diff := cmp.Diff(c.memory(), m, cmp.AllowUnexported(memory{}), cmp.Comparer(func(a, b []uint16) bool { return len(a) == len(b) }), cmp.Comparer(func(a, b []int32) bool { return len(a) == len(b) })); diff != "" {
		t.Error(diff)
	}
}

func TestForecasts(t *testing.T) {
	v := shoppers(2000, 10, 4)
	// One more customer who never purchased, and one who does the same every day.
	v.Start = append(v.Start, v.Start[len(v.Start)-1])
	begin := int64(1_700_000_000)
	for i := range int64(60) {
		v.Time, v.Category = append(v.Time, begin+i*86400), append(v.Category, 7)
	}
	v.Start = append(v.Start, int64(len(v.Time)))
	n, err := FitNext(v, 10)
	if err != nil {
		t.Fatal(err)
	}
	f, err := n.Forecast(v, begin+59*86400+3600)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range f {
		sum := 0.0
		for k, p := range x.Probability {
			sum += float64(p)
			if !(p >= 0) || k > 0 && p > x.Probability[k-1] {
				t.Fatalf("customer %d: %+v", i, x)
			}
		}
		if sum > 1.0001 || !(x.Early >= 0 && x.Median >= x.Early && x.Late >= x.Median) || !finite(x.Late) {
			t.Fatalf("customer %d: %+v", i, x)
		}
	}
	daily := f[len(f)-1]
	if daily.Category[0] != 7 || daily.Probability[0] < .5 || math.Abs(daily.Median-86400) > 20000 {
		t.Errorf("daily: %+v", daily)
	}
	if daily.Early < 3600 {
		t.Errorf("the daily customer is forecast to have purchased before: %+v", daily)
	}
}

// Nothing of a fold reaches its model: other purchases after its begin change no prediction of
// what came before.
func TestBacktestKnowsNoFuture(t *testing.T) {
	v := shoppers(500, 10, 5)
	at := v.quantiles(.45, .6, .8)
	before := backtest(&v, 10, at[0], at[1], at[2])
	d := rand.New(rand.NewPCG(9, 9))
	for i, s := range v.Time {
		if s >= at[2] {
			v.Category[i] = uint16(d.IntN(10))
		}
	}
	if diff := cmp.Diff(before, backtest(&v, 10, at[0], at[1], at[2])); diff != "" {
		t.Error(diff)
	}
	learnt := &chain{of: category, size: 10}
	learnt.fit(&v, at[0], at[1])
	weights, prior := learnt.weights, learnt.prior
	for i, s := range v.Time {
		if s >= at[1] {
			v.Category[i] = uint16(d.IntN(10))
		}
	}
	learnt.fit(&v, at[0], at[1])
	if !cmp.Equal(weights, learnt.weights) || !cmp.Equal(prior, learnt.prior) {
		t.Error("the model learnt from what came after its time")
	}
}

// The weights are learnt on purchases that the experts did not learn from.
func TestWeightsAreOfHeldOut(t *testing.T) {
	v := shoppers(300, 10, 8)
	at := v.quantiles(.4, .6)
	want := 0
	for i := range v.customers() {
		for j := v.Start[i] + 1; j < v.Start[i+1]; j++ {
			if v.Time[j] >= at[0] && v.Time[j] < at[1] {
				want++
			}
		}
	}
	c := &newNext(10).categories
	c.learn(&v, at[0])
	if got := c.listen(&v, at[0], at[1], 1<<20); len(got) != want || want == 0 {
		t.Errorf("the experts were asked of %d purchases, want %d", len(got), want)
	}
	if got := c.listen(&v, at[0], at[1], 100); len(got) > 200 || len(got) < 50 {
		t.Errorf("the experts were asked of %d purchases, want about 100", len(got))
	}
}

func TestNextDoesNotDependOnProcessors(t *testing.T) {
	v := shoppers(2500, 10, 6)
	run := func(procs int) ([]Fold, []Forecast) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		folds, err := Backtest(v, 10, 1)
		if err != nil {
			t.Fatal(err)
		}
		n, err := FitNext(v, 10)
		if err != nil {
			t.Fatal(err)
		}
		f, err := n.Forecast(v, v.Time[len(v.Time)-1])
		if err != nil {
			t.Fatal(err)
		}
		return folds, f
	}
	a, b := run(1)
	c, d := run(4)
	if !cmp.Equal(a, c) || !cmp.Equal(b, d) {
		t.Error("one processor and four do not agree")
	}
}

func TestNextRefusals(t *testing.T) {
	good := shoppers(100, 5, 7)
	same := shoppers(100, 5, 7)
	for i := range same.Time {
		same.Time[i] = 5
	}
	for _, c := range []struct {
		name       string
		v          Visits
		categories int
		want       string
	}{
		{"nobody", Visits{}, 5, "there are no customers"},
		{"one category", good, 1, "1 categories, want 2 to 2048"},
		{"too many categories", good, 5000, "5000 categories"},
		{"category beyond", good, 3, "has category"},
		{"lengths", Visits{Start: []int64{0, 2}, Time: []int64{1, 2}, Category: []uint16{0}}, 5, "do not agree"},
		{"order", Visits{Start: []int64{0, 2}, Time: []int64{2, 1}, Category: []uint16{0, 0}}, 5, "not in the order of time"},
		{"backwards", Visits{Start: []int64{0, 2, 1, 2}, Time: []int64{1, 2}, Category: []uint16{0, 0}}, 5, "ends before the start"},
		{"zones", Visits{Start: []int64{0, 2}, Time: []int64{1, 2}, Category: []uint16{0, 0}, Zone: []int32{0, 0}}, 5, "2 zones for 1 customers"},
		{"too few", Visits{Start: []int64{0, 2}, Time: []int64{1, 2}, Category: []uint16{0, 0}}, 5, "again 1 times, at least 50"},
	} {
		if _, err := FitNext(c.v, c.categories); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
		if _, err := Backtest(c.v, c.categories, 3); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v of the backtest, want %q", c.name, err, c.want)
		}
	}
	if _, err := Backtest(same, 5, 3); err == nil || !strings.Contains(err.Error(), "longer data are needed") {
		t.Errorf("all at one time: error %v", err)
	}
	if _, err := FitNext(same, 5); err != nil {
		t.Errorf("all at one time: %v", err)
	}
}

func TestSlots(t *testing.T) {
	for seconds, want := range map[int64]int{
		0:                 0,  // Thursday 00:00
		2*86400 - 1:       23, // Friday 23:59:59
		2 * 86400:         24, // Saturday 00:00
		3*86400 + 13*3600: 24 + 13,
		4 * 86400:         0,  // Monday
		-1:                23, // Wednesday
		-4 * 86400:        24, // Sunday
	} {
		if got := slotOf(seconds); got != want {
			t.Errorf("slot of %d = %d, want %d", seconds, got, want)
		}
	}
	m := (&chain{size: 2}).memory()
	m.forget(-3 * 3600)
	if m.observe(1, 2*86400); m.slot != 21 {
		t.Errorf("Saturday 00:00 UTC is slot %d three hours to the west, want Friday 21:00", m.slot)
	}
	for class := range gaps - 1 {
		if edge := gapEdges[class+1]; int(gapOf(int64(edge*1.001)+1)) != class+1 {
			t.Errorf("a gap above %g has class %d, want %d", edge, gapOf(int64(edge*1.001)+1), class+1)
		}
	}
}
