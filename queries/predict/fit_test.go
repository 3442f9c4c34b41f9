package predict

import (
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// imitate makes the histories of customers who live by a model, and the purchases each makes in
// a time later after the observation. Ages are whole days from 1 to oldest.
func imitate(m Model, n, oldest int, later float64, seed uint64) (histories []History, future []int) {
	d := rand.New(rand.NewPCG(seed, 1))
	histories, future = make([]History, n), make([]int, n)
	for i := range histories {
		h := History{T: float64(1 + d.IntN(oldest))}
		rate, stays := life(m, d)
		for at := 0.0; ; {
			at += d.ExpFloat64() / rate
			if at > h.T+later || !stays(at) {
				break
			}
			if at <= h.T {
				h.X++
				h.Tx = min(h.T, math.Ceil(at))
			} else {
				future[i]++
			}
		}
		histories[i] = h
	}
	return histories, future
}

// life draws a customer's rate and whether the customer is still there at a purchase.
func life(m Model, d *rand.Rand) (rate float64, stays func(at float64) bool) {
	switch m := m.(type) {
	case BGNBD:
		a, b := gammaOf(d, m.A), gammaOf(d, m.B)
		p := a / (a + b)
		first := true
		return gammaOf(d, m.R) / m.Alpha, func(float64) bool {
			// The first purchase after the first comes for certain; each one may be the last.
			if first {
				first = false
				return true
			}
			return d.Float64() >= p
		}
	case ParetoNBD:
		end := d.ExpFloat64() / (gammaOf(d, m.S) / m.Beta)
		return gammaOf(d, m.R) / m.Alpha, func(at float64) bool { return at <= end }
	}
	panic("no such model")
}

// gammaOf draws from a gamma distribution of scale 1 (Marsaglia and Tsang, "A Simple Method for
// Generating Gamma Variables", 2000).
func gammaOf(d *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return max(1e-300, gammaOf(d, shape+1)*math.Pow(d.Float64(), 1/shape))
	}
	k := shape - 1.0/3
	for {
		x := d.NormFloat64()
		v := math.Pow(1+x/math.Sqrt(9*k), 3)
		if v > 0 && math.Log(d.Float64()) < x*x/2+k-k*v+k*math.Log(v) {
			return k * v
		}
	}
}

func cohortOf(t testing.TB, h []History) *Cohort {
	t.Helper()
	c, err := NewCohort(h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func within(t *testing.T, name string, got, want, share float64) {
	t.Helper()
	if math.Abs(got-want) > share*math.Abs(want) {
		t.Errorf("%s = %g, want %g within %g %%", name, got, want, 100*share)
	}
}

func TestFitsFindWhatMadeTheData(t *testing.T) {
	t.Run("BG/NBD", func(t *testing.T) {
		want := BGNBD{R: 0.8, Alpha: 12, A: 0.7, B: 3}
		h, future := imitate(want, 60_000, 300, 60, 1)
		c := cohortOf(t, h)
		m, fit, err := FitBGNBD(c)
		if err != nil || !fit.Converged || fit.Regularised {
			t.Fatalf("%+v, %v", fit, err)
		}
		t.Logf("%+v %+v", m, fit)
		within(t, "r", m.R, want.R, .05)
		within(t, "alpha", m.Alpha, want.Alpha, .05)
		within(t, "a/(a+b)", m.A/(m.A+m.B), want.A/(want.A+want.B), .05)
		checkFuture(t, m, c, future, 60)
	})
	t.Run("Pareto/NBD", func(t *testing.T) {
		want := ParetoNBD{R: 0.8, Alpha: 12, S: 0.9, Beta: 120}
		h, future := imitate(want, 20_000, 300, 60, 2)
		c := cohortOf(t, h)
		m, fit, err := FitParetoNBD(c)
		if err != nil || !fit.Converged || fit.Regularised {
			t.Fatalf("%+v, %v", fit, err)
		}
		t.Logf("%+v %+v", m, fit)
		within(t, "r", m.R, want.R, .06)
		within(t, "alpha", m.Alpha, want.Alpha, .06)
		within(t, "s/beta", m.S/m.Beta, want.S/want.Beta, .25)
		checkFuture(t, m, c, future, 60)
	})
	t.Run("gamma-gamma", func(t *testing.T) {
		want := GammaGamma{P: 4, Q: 3, Gamma: 900}
		d := rand.New(rand.NewPCG(3, 3))
		v := Values{N: make([]int, 50_000), Mean: make([]float64, 50_000)}
		for i := range v.N {
			nu := gammaOf(d, want.Q) / want.Gamma
			v.N[i] = d.IntN(8)
			for range v.N[i] {
				v.Mean[i] += gammaOf(d, want.P) / nu / float64(v.N[i])
			}
		}
		m, fit, err := FitGammaGamma(v)
		if err != nil || !fit.Converged || fit.Regularised {
			t.Fatalf("%+v, %v", fit, err)
		}
		t.Logf("%+v %+v", m, fit)
		within(t, "p", m.P, want.P, .05)
		within(t, "q", m.Q, want.Q, .05)
		within(t, "mean", m.Mean(), want.Mean(), .02)
		if r, err := Independence(v); err != nil || math.Abs(r) > .02 {
			t.Errorf("independent values correlate by %g, %v", r, err)
		}
	})
}

// Where the mean value has no bound, the fit is one that has.
// Customers who all spend the same are expected to go on doing so, to the cent.
func TestGammaGammaOfOneValue(t *testing.T) {
	for _, spread := range []float64{0, 1e-6} {
		v := Values{N: make([]int, 200), Mean: make([]float64, 200)}
		for i := range v.N {
			v.N[i], v.Mean[i] = 3, 10+spread*float64(i%3)
		}
		m, _, err := FitGammaGamma(v)
		if err != nil {
			t.Fatal(err)
		}
		if e := m.Expected(3, 10); math.Abs(e-10) > .005 || math.Abs(m.Mean()-10) > .005 {
			t.Errorf("spread %g: %g is expected, %g of somebody new, want 10", spread, e, m.Mean())
		}
	}
}

func TestGammaGammaOfHeavyTails(t *testing.T) {
	d := rand.New(rand.NewPCG(4, 4))
	v := Values{N: make([]int, 5000), Mean: make([]float64, 5000)}
	for i := range v.N {
		v.N[i] = 1 + d.IntN(5)
		nu := gammaOf(d, .7)
		for range v.N[i] {
			v.Mean[i] += gammaOf(d, 2) / nu / float64(v.N[i])
		}
	}
	m, fit, err := FitGammaGamma(v)
	if err != nil || !fit.Regularised || m.Q <= 1 || !finite(m.Mean()) {
		t.Errorf("%+v, %+v, %v", m, fit, err)
	}
	// All alike: the likelihood rises for ever.
	for i := range v.Mean {
		v.Mean[i] = 12.5
	}
	m, fit, err = FitGammaGamma(v)
	if err != nil || !fit.Regularised || math.Abs(m.Expected(3, 12.5)-12.5) > .1 {
		t.Errorf("%+v, %+v, %v: %g", m, fit, err, m.Expected(3, 12.5))
	}
	for name, v := range map[string]Values{
		"lengths":      {N: []int{1, 2}, Mean: []float64{1}},
		"negative":     {N: []int{-1}, Mean: []float64{1}},
		"no value":     {N: []int{1, 1, 1, 1}, Mean: []float64{1, 2, 3, 0}},
		"not a number": {N: []int{1, 1, 1, 1}, Mean: []float64{1, 2, 3, math.NaN()}},
		"two":          {N: []int{1, 1, 0, 0}, Mean: []float64{1, 2, 0, 0}},
	} {
		if _, _, err := FitGammaGamma(v); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := Independence(v); err == nil {
			t.Errorf("%s: no error of the correlation", name)
		}
	}
}

// checkFuture compares what is expected of customers with what they did.
func checkFuture(t *testing.T, m Model, c *Cohort, future []int, span float64) {
	t.Helper()
	s, err := Score(m, c, []float64{span})
	if err != nil {
		t.Fatal(err)
	}
	expected, actual := 0.0, 0.0
	for i, n := range future {
		expected += s.Expected[0][i]
		actual += float64(n)
	}
	within(t, "purchases to come", expected, actual, .03)
}

// The gradients that the fits climb by are those of their likelihoods.
func TestGradients(t *testing.T) {
	h, _ := imitate(BGNBD{.8, 12, .7, 3}, 500, 200, 0, 5)
	h = append(h, History{}, History{X: 3, Tx: 20, T: 20}, History{X: 900, Tx: 100, T: 300})
	c := cohortOf(t, h)
	v := openCDNOW(t).values
	s := newSpending(v)
	for name, f := range map[string]objective{
		"BG/NBD": func(th, g []float64) float64 {
			return BGNBD{math.Exp(th[0]), math.Exp(th[1]), math.Exp(th[2]), math.Exp(th[3])}.sum(c, g)
		},
		"Pareto/NBD": func(th, g []float64) float64 {
			return ParetoNBD{math.Exp(th[0]), math.Exp(th[1]), math.Exp(th[2]), math.Exp(th[3])}.sum(c, g)
		},
		"gamma-gamma": func(th, g []float64) float64 {
			return GammaGamma{math.Exp(th[0]), unbounded + math.Exp(th[1]), math.Exp(th[2])}.sum(s, unbounded, g[:3])
		},
	} {
		theta := []float64{-.3, 1.7, .2, .9}
		got, scratch := make([]float64, 4), make([]float64, 4)
		f(theta, got)
		for i := range theta {
			if name == "gamma-gamma" && i == 3 {
				continue
			}
			const e = 1e-5
			at := theta[i]
			theta[i] = at + e
			up := f(theta, scratch)
			theta[i] = at - e
			down := f(theta, scratch)
			theta[i] = at
			if want := (up - down) / (2 * e); math.Abs(got[i]-want) > 1e-5*max(1, math.Abs(want)) {
				t.Errorf("%s: derivative %d = %g, want %g", name, i, got[i], want)
			}
		}
	}
}

// The sum that is maximised is that of the customers' likelihoods.
func TestSumIsOfLikelihoods(t *testing.T) {
	h, _ := imitate(BGNBD{.8, 12, .7, 3}, 3000, 50, 0, 6)
	c := cohortOf(t, h)
	if c.Groups() >= c.Customers() {
		t.Fatalf("%d groups of %d customers", c.Groups(), c.Customers())
	}
	bg, pn := BGNBD{.8, 12, .7, 3}, ParetoNBD{.8, 12, .9, 30}
	var one, two float64
	for i, h := range h {
		if c.History(i) != h {
			t.Fatalf("customer %d has another history", i)
		}
		one += bg.LogLikelihood(h)
		two += pn.LogLikelihood(h)
	}
	g := make([]float64, 4)
	within(t, "BG/NBD", bg.sum(c, g), one, 1e-11)
	within(t, "Pareto/NBD", pn.sum(c, g), two, 1e-11)
	within(t, "all customers", c.LogLikelihood(pn), two, 1e-11)

	// A thinned cohort stands for the whole one.
	thin := c.Thin(200)
	if thin.Groups() > 200 || thin.Customers() != c.Customers() {
		t.Errorf("thinned to %d groups of %d customers", thin.Groups(), thin.Customers())
	}
	within(t, "thinned", thin.LogLikelihood(pn), two, .01)
}

func TestResultsDoNotDependOnProcessors(t *testing.T) {
	h, _ := imitate(BGNBD{.8, 12, .7, 3}, 30_000, 300, 0, 7)
	run := func(procs int) (m BGNBD, s Scores) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		c := cohortOf(t, h)
		m, _, err := FitBGNBD(c)
		if err != nil {
			t.Fatal(err)
		}
		s, err = Score(m, c, []float64{30})
		if err != nil {
			t.Fatal(err)
		}
		return m, s
	}
	m1, s1 := run(1)
	m2, s2 := run(4)
	if m1 != m2 || !cmp.Equal(s1, s2) {
		t.Errorf("one processor: %v, four: %v", m1, m2)
	}
}

// Customers for whom a likelihood has no maximum, and customers of whom there are too few.
func TestOddCustomers(t *testing.T) {
	repeat := func(n int, h ...History) (out []History) {
		for range n {
			out = append(out, h...)
		}
		return out
	}
	heavy := repeat(50, History{X: 20_000, Tx: 364, T: 365}, History{X: 3, Tx: 100, T: 365}, History{T: 365})
	for _, c := range []struct {
		name      string
		histories []History
		refused   string
	}{
		{"nobody", nil, "there are no customers"},
		{"nobody came back", repeat(1000, History{T: 30}), "0 of 1000 customers purchased again, at least 3 are needed"},
		{"one", []History{{X: 5, Tx: 20, T: 30}}, "1 of 1 customers purchased again, at least 3"},
		{"all at the end", repeat(10, History{}), "0 of 10 customers purchased again"},
		{"negative x", []History{{X: -1}}, "x is -1"},
		{"not a number", []History{{T: math.NaN()}}, "want 0 ≤ t_x ≤ T"},
		{"infinite", []History{{T: math.Inf(1)}}, "want 0 ≤ t_x ≤ T"},
		{"t_x above T", []History{{X: 1, Tx: 3, T: 2}}, "want 0 ≤ t_x ≤ T"},
		{"t_x without a purchase", []History{{Tx: 1, T: 2}}, "without a purchase"},
		{"no time", []History{{X: 2, T: 3}}, "x is 2 and t_x is 0"},
		{name: "all alike", histories: repeat(1000, History{X: 5, Tx: 28, T: 30})},
		{name: "all at their last purchase", histories: repeat(200, History{X: 5, Tx: 30, T: 30}, History{X: 2, Tx: 20, T: 20})},
		{name: "all left at once", histories: repeat(200, History{X: 9, Tx: 1, T: 300}, History{X: 1, Tx: 1, T: 300})},
		{name: "a few bought very often", histories: heavy},
		{name: "three", histories: []History{{X: 1, Tx: 1, T: 9}, {X: 2, Tx: 4, T: 5}, {X: 1, Tx: 6, T: 7}}},
		{name: "tiny times", histories: repeat(100, History{X: 3, Tx: 2e-9, T: 3e-9}, History{X: 1, Tx: 1e-9, T: 3e-9}, History{T: 2e-9})},
		{name: "huge times", histories: repeat(100, History{X: 3, Tx: 2e12, T: 3e12}, History{X: 1, Tx: 1e12, T: 3e12}, History{T: 2e12})},
		{name: "some at the very end", histories: repeat(100, History{}, History{X: 4, Tx: 9, T: 20}, History{X: 1, Tx: 1, T: 15})},
	} {
		t.Run(c.name, func(t *testing.T) {
			co, err := NewCohort(c.histories)
			var models []Model
			var fits []Fit
			if err == nil {
				var bg BGNBD
				var fit Fit
				if bg, fit, err = FitBGNBD(co); err == nil {
					models, fits = append(models, bg), append(fits, fit)
				}
			}
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("error %v, want %q", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			pn, fit, err := FitParetoNBD(co)
			if err != nil {
				t.Fatal(err)
			}
			models, fits = append(models, pn), append(fits, fit)
			for i, m := range models {
				t.Logf("%T %+v %+v", m, m, fits[i])
				if !finite(fits[i].LogLikelihood) || !fits[i].Converged {
					t.Errorf("%T: %+v", m, fits[i])
				}
				checkScores(t, m, co)
			}
		})
	}
}

// checkScores checks what holds of every model: probabilities are from 0 to 1, expectations are
// finite, at least 0 and rise with time.
func checkScores(t *testing.T, m Model, c *Cohort) {
	t.Helper()
	horizons := []float64{0, 1, 30, 60, 90, 10_000}
	s, err := Score(m, c, horizons)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Customers() {
		if p := s.Alive[i]; !(p >= 0 && p <= 1) {
			t.Fatalf("%v: alive %g at %+v", m, p, c.History(i))
		}
		before := 0.0
		for j := range horizons {
			e := s.Expected[j][i]
			if !(e >= before) || !finite(e) {
				t.Fatalf("%v: expected %g within %g, %g before, at %+v", m, e, horizons[j], before, c.History(i))
			}
			before = e
		}
		if s.Expected[0][i] != 0 {
			t.Fatalf("%v: expected %g in no time", m, s.Expected[0][i])
		}
	}
}

// FuzzModels asks models of any parameters about any history.
func FuzzModels(f *testing.F) {
	f.Add(.243, 4.414, .793, 2.426, 2, 30.43, 38.86, 39.0)
	f.Add(1e-4, 1e4, 1.0, 1e-4, 0, 0.0, 0.0, 1e6)
	f.Add(1e4, 1e-4, 1e-4, 1e4, 100_000, 1e-3, 1e5, 1.0)
	f.Add(9000.0, 9000.0, 1e-3, 8000.0, 1, 0.5, 1e3, 90.0)
	f.Fuzz(func(t *testing.T, p1, p2, p3, p4 float64, x int, tx, T, horizon float64) {
		for _, p := range []float64{p1, p2, p3, p4} {
			if !(p >= 1e-4 && p <= 1e4) {
				return
			}
		}
		h := History{X: x, Tx: tx, T: T}
		if h.check() != nil || x > 1e6 || T > 1e6 || !(horizon >= 0 && horizon <= 1e6) {
			return
		}
		for _, m := range []Model{BGNBD{p1, p2, p3, p4}, ParetoNBD{p1, p2, p3, p4}} {
			if l := m.LogLikelihood(h); !finite(l) {
				t.Errorf("%v: log-likelihood %g", m, l)
			}
			if p := m.Alive(h); !(p >= 0 && p <= 1) {
				t.Errorf("%v: alive %g", m, p)
			}
			short, long := m.Expected(h, horizon/2), m.Expected(h, horizon)
			if !(short >= 0) || !(long >= short*(1-1e-9)) || !finite(long) {
				t.Errorf("%v: expected %g, then %g", m, short, long)
			}
			if p := m.Probability(min(x, 1000), horizon); !(p >= 0 && p <= 1) {
				t.Errorf("%v: probability %g", m, p)
			}
		}
	})
}

// The probabilities of all numbers of purchases add up to one, and their mean is the mean.
func TestProbabilitiesAddUp(t *testing.T) {
	for _, m := range []Model{BGNBD{.243, 4.414, .793, 2.426}, ParetoNBD{.553, 10.578, .606, 11.669}} {
		sum, mean := 0.0, 0.0
		for x := range 400 {
			p := m.Probability(x, 39)
			sum += p
			mean += float64(x) * p
		}
		within(t, "sum", sum, 1, 1e-9)
		within(t, "mean", mean, m.Mean(39), 1e-7)
		if m.Probability(-1, 39) != 0 || m.Probability(0, 0) != 1 || m.Probability(1, 0) != 0 {
			t.Errorf("%T: limits", m)
		}
	}
}
