package predict

import (
	"encoding/csv"
	"math"
	"os"
	"strconv"
	"testing"
)

// cdnow is the data set of the papers, in weeks and dollars.
type cdnow struct {
	histories []History
	values    Values
	later     []int
}

func openCDNOW(t testing.TB) cdnow {
	t.Helper()
	f, err := os.Open("testdata/cdnow.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var c cdnow
	for _, row := range rows[1:] {
		var v [5]int
		for i := range v {
			if v[i], err = strconv.Atoi(row[i]); err != nil {
				t.Fatal(err)
			}
		}
		c.histories = append(c.histories, History{X: v[0], Tx: float64(v[1]) / 7, T: float64(v[2]) / 7})
		c.values.N = append(c.values.N, v[0])
		mean := 0.0
		if v[0] > 0 {
			mean = float64(v[3]) / 100 / float64(v[0])
		}
		c.values.Mean = append(c.values.Mean, mean)
		c.later = append(c.later, v[4])
	}
	if len(c.histories) != 2357 {
		t.Fatalf("%d customers, want 2357", len(c.histories))
	}
	return c
}

func (c cdnow) cohort(t testing.TB) *Cohort {
	t.Helper()
	co, err := NewCohort(c.histories)
	if err != nil {
		t.Fatal(err)
	}
	return co
}

// digits fails unless got is want to the digits that were published.
func digits(t *testing.T, name string, got, want, unit float64) {
	t.Helper()
	if math.Abs(got-want) > unit/2*(1+1e-9) {
		t.Errorf("%s = %.6g, published %g", name, got, want)
	}
}

// Table 2 of Fader, Hardie and Lee (2005), Marketing Science 24(2).
func TestBGNBDOnCDNOW(t *testing.T) {
	m, fit, err := FitBGNBD(openCDNOW(t).cohort(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v %+v", m, fit)
	digits(t, "r", m.R, 0.243, .001)
	digits(t, "alpha", m.Alpha, 4.414, .001)
	digits(t, "a", m.A, 0.793, .001)
	digits(t, "b", m.B, 2.426, .001)
	digits(t, "LL", fit.LogLikelihood, -9582.4, .1)
	if !fit.Converged || fit.Regularised {
		t.Errorf("fit: %+v", fit)
	}
}

func TestParetoNBDOnCDNOW(t *testing.T) {
	m, fit, err := FitParetoNBD(openCDNOW(t).cohort(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v %+v", m, fit)
	digits(t, "r", m.R, 0.553, .001)
	digits(t, "alpha", m.Alpha, 10.578, .001)
	digits(t, "s", m.S, 0.606, .001)
	digits(t, "beta", m.Beta, 11.669, .001)
	digits(t, "LL", fit.LogLikelihood, -9595.0, .1)
	if !fit.Converged || fit.Regularised {
		t.Errorf("fit: %+v", fit)
	}
}

func TestGammaGammaOnCDNOW(t *testing.T) {
	v := openCDNOW(t).values
	m, fit, err := FitGammaGamma(v)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v %+v", m, fit)
	digits(t, "p", m.P, 6.25, .01)
	digits(t, "q", m.Q, 3.74, .01)
	digits(t, "gamma", m.Gamma, 15.44, .01)
}

// The worked example of Fader, Hardie and Lee, "Implementing the BG/NBD Model for Customer Base
// Analysis in Excel" (2005); those of the walkthrough of the R package BTYD; and the mean values
// that the documentation of lifetimes lists for the first customers.
func TestPublishedExpectations(t *testing.T) {
	data := openCDNOW(t)
	c := data.cohort(t)
	digits(t, "E[Y(39)|2, 30.43, 38.86]", BGNBD{R: 0.243, Alpha: 4.414, A: 0.793, B: 2.426}.Expected(History{2, 30.43, 38.86}, 39), 1.226, .001)

	bg, _, err := FitBGNBD(c)
	if err != nil {
		t.Fatal(err)
	}
	heavy := History{26, 30.86, 31}
	digits(t, "BG/NBD E[X(52)]", bg.Mean(52), 1.444, .001)
	digits(t, "BG/NBD E[Y(52)|26, 30.86, 31]", bg.Expected(heavy, 52), 25.76, .01)
	digits(t, "BG/NBD P(alive|26, 30.86, 31)", bg.Alive(heavy), .9689, .0001)
	pn, _, err := FitParetoNBD(c)
	if err != nil {
		t.Fatal(err)
	}
	digits(t, "Pareto/NBD E[X(52)]", pn.Mean(52), 1.473, .001)
	digits(t, "Pareto/NBD E[Y(52)|26, 30.86, 31]", pn.Expected(heavy, 52), 25.46, .01)
	digits(t, "Pareto/NBD P(alive|26, 30.86, 31)", pn.Alive(heavy), .9979, .0001)

	for i, m := range data.values.Mean { // in whole cents, as in the published table
		data.values.Mean[i] = math.Round(100*m) / 100
	}
	g, _, err := FitGammaGamma(data.values)
	if err != nil {
		t.Fatal(err)
	}
	digits(t, "E[M]", g.Expected(0, 0), 35.171, .001)
	digits(t, "E[M|2, 22.35]", g.Expected(2, 22.35), 24.659, .001)
	digits(t, "E[M|1, 11.77]", g.Expected(1, 11.77), 18.911, .001)
	digits(t, "E[M|7, 73.74]", g.Expected(7, 73.74), 71.463, .001)
	r, err := Independence(data.values)
	if err != nil {
		t.Fatal(err)
	}
	digits(t, "correlation", r, .114, .001)
}

// What 2,357 customers did in the 39 weeks after, by the purchases they had made in the first 39:
// the tables of the walkthrough of BTYD.
func TestHoldoutOfCDNOW(t *testing.T) {
	data := openCDNOW(t)
	c := data.cohort(t)
	pn, _, err := FitParetoNBD(c)
	if err != nil {
		t.Fatal(err)
	}
	bg, _, err := FitBGNBD(c)
	if err != nil {
		t.Fatal(err)
	}
	actual := []float64{.2367, .6970, 1.3925, 1.5600, 2.5323, 2.9474, 3.8621, 6.3594}
	for _, m := range []struct {
		Model
		expected []float64
	}{
		{pn, []float64{.138, .599, 1.196, 1.714, 2.398, 2.907, 3.819, 6.403}},
		{bg, []float64{.225, .523, 1.044, 1.520, 2.164, 2.654, 3.504, 6.157}},
	} {
		h, err := Validate(m.Model, c, data.later, 39, []int{0, 1, 2, 3, 4, 5, 6, 7})
		if err != nil {
			t.Fatal(err)
		}
		customers := 0
		for i, b := range h.Bins {
			digits(t, "expected", b.Expected, m.expected[i], .001)
			digits(t, "actual", b.Actual, actual[i], .0001)
			customers += b.Customers
		}
		if customers != 2357 || h.Actual != 1882 {
			t.Errorf("%d customers made %g purchases", customers, h.Actual)
		}
		if h.Model.MAE >= h.SameRate.MAE || h.Model.MAE >= h.Average.MAE || h.Model.RMSE >= h.SameRate.RMSE {
			t.Errorf("%T does not beat the simple expectations: %+v", m.Model, h)
		}
		// The tracking plot, at its middle.
		within(t, "repeat purchases so far", Cumulative(m.Model, c, 0), c.purchases, .04)
		if got := Cumulative(m.Model, c, -100); got != 0 {
			t.Errorf("%g purchases before the first", got)
		}
	}
	if _, err := Validate(bg, c, data.later[1:], 39, []int{0}); err == nil {
		t.Error("customers without a later time were accepted")
	}
}

// The closed form of the Pareto/NBD model (equation 2 of "RFM and CLV", with Tricomi's function),
// evaluated by mpmath at 15 % a year.
func TestDiscounted(t *testing.T) {
	m := ParetoNBD{R: 0.553, Alpha: 10.578, S: 0.606, Beta: 11.669}
	for _, c := range []struct {
		h    History
		want float64
	}{
		{History{0, 0, 77.86}, 0.181515897021125},
		{History{1, 30, 77.86}, 1.42625480669297},
		{History{7, 70, 77.86}, 14.0714890527968},
	} {
		got, err := Discounted(m, c.h, .0027)
		if err != nil || !near(got, c.want, 1e-9) {
			t.Errorf("%+v: %.15g, %v, want %.15g", c.h, got, err, c.want)
		}
	}
	if _, err := Discounted(m, History{}, 0); err == nil {
		t.Error("a rate of 0 was accepted")
	}
}
