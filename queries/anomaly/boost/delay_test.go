package boost

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// reported draws frauds over the last days days whose reports take an exponential time of the given mean, as they are known today.
func reported(days, mean float64, frauds int, seed uint64) (delays, ages []float64) {
	random := rand.New(rand.NewPCG(seed, 2))
	for range frauds {
		age, delay := days*random.Float64(), math.Floor(mean*random.ExpFloat64())
		if delay <= age {
			delays, ages = append(delays, delay), append(ages, age)
		}
	}
	return delays, ages
}

func TestDelayIsNotTooShort(t *testing.T) {
	const mean = 20.0
	delays, ages := reported(120, mean, 3000, 1)
	d, err := FitDelay(delays, ages, 120)
	if err != nil {
		t.Fatal(err)
	}
	naive := func(age float64) float64 {
		n := 0.0
		for _, v := range delays {
			if v <= age {
				n++
			}
		}
		return n / float64(len(delays))
	}
	for _, age := range []float64{3, 10, 20, 40, 80} {
		want := (1 - math.Exp(-(age+1)/mean)) / (1 - math.Exp(-121/mean))
		got := d.Share(age)
		if math.Abs(got-want) > 0.03 {
			t.Errorf("within %v days %.3f are reported, want %.3f (%.3f by counting)", age, got, want, naive(age))
		}
		if age == 20 && naive(age)-want < 0.06 {
			t.Errorf("counting is not biased here (%.3f of %.3f): the test shows nothing", naive(age), want)
		}
	}
	if d.Share(-1) != 0 || d.Share(120) != 1 || d.Share(1e9) != 1 {
		t.Errorf("shares at the ends: %v, %v", d.Share(-1), d.Share(120))
	}
	if m := d.Maturity(0.9); math.Abs(m-45) > 6 || d.Share(m) < 0.9 || d.Share(m-1) >= 0.9 || d.Maturity(2) != 120 {
		t.Errorf("90 %% are in after %v days", m)
	}
	last := 0.0
	for age := range 120 {
		if s := d.Share(float64(age)); s < last || s > 1 {
			t.Fatalf("share %v after %v", s, last)
		} else {
			last = s
		}
	}
}

func TestDelayRefusals(t *testing.T) {
	delays, ages := reported(100, 10, 100, 2)
	for _, test := range []struct {
		name         string
		delays, ages []float64
		horizon      float64
		want         string
	}{
		{"few", delays[:19], ages[:19], 120, "19 reports within 120 days, at least 20"},
		{"lengths", delays, ages[1:], 120, "ages"},
		{"horizon", delays, ages, 0, "horizon"},
		{"delay beyond age", []float64{5}, []float64{4}, 120, "report 0"},
		{"not a number", []float64{math.NaN()}, []float64{4}, 120, "report 0"},
		{"infinite", []float64{1}, []float64{math.Inf(1)}, 120, "report 0"},
	} {
		if _, err := FitDelay(test.delays, test.ages, test.horizon); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := FitDelay(nil, nil, 90); !errors.Is(err, ErrTooFew) {
		t.Errorf("nothing: %v", err)
	}
	same := make([]float64, 30)
	d, err := FitDelay(same, same, 90)
	if err != nil || d.Share(0) != 1 || d.Maturity(0.9) != 0 {
		t.Errorf("all at once: %v", err)
	}
}

// TestDelayedFeedback trains on 60 days of which the last labels are still on their way, with and without regard for that,
// and compares with the truth, which only the simulation knows.
func TestDelayedFeedback(t *testing.T) {
	const days, mean = 60.0, 15.0
	d, _ := simulated(40_000, 21)
	random := rand.New(rand.NewPCG(21, 3))
	var delays, ages []float64
	age := make([]float64, d.Rows())
	truth := d.Fraud
	d.Fraud = make([]bool, d.Rows())
	for i := range age {
		age[i] = days * (1 - float64(i)/float64(d.Rows()))
		if delay := math.Floor(mean * random.ExpFloat64()); truth[i] && delay <= age[i] {
			d.Fraud[i] = true
			delays, ages = append(delays, delay), append(ages, age[i])
		}
	}
	reports, err := FitDelay(delays, ages, 90)
	if err != nil {
		t.Fatal(err)
	}
	aware := d
	aware.Exposure = make([]float32, d.Rows())
	for i := range aware.Exposure {
		aware.Exposure[i] = float32(max(0.01, reports.Share(age[i])))
	}
	test, testChance := simulated(20_000, 22)
	bias := func(d Data) float64 {
		var got, want float64
		for i, p := range predict(t, train(t, d, Config{Rounds: 60, ForestTrees: 12}), test) {
			got += p
			want += testChance[i]
		}
		return got/want - 1
	}
	naive, better := bias(d), bias(aware)
	t.Logf("naive bias %+.3f, delay-aware %+.3f", naive, better)
	if naive > -0.15 {
		t.Errorf("naive training is biased by %+.3f only: the test shows nothing", naive)
	}
	if math.Abs(better) > 0.12 || math.Abs(better) > math.Abs(naive)/2 {
		t.Errorf("delay-aware training is biased by %+.3f, naive by %+.3f", better, naive)
	}
}

// TestEarlyReports has frauds reported on their first day, when hardly any are: each stands for many that are still to come, but the
// forest's leaves stay shares and contributions stay within reason.
func TestEarlyReports(t *testing.T) {
	d, _ := simulated(12_000, 23)
	d.Exposure = make([]float32, d.Rows())
	for i := range d.Exposure {
		d.Exposure[i] = 1
		if i > 9000 {
			d.Exposure[i] = 0.001
			d.Fraud[i] = d.Fraud[i] && i%7 == 0
		}
	}
	tr := &trainer{data: d, bins: newBins(d, 1), workers: 1, config: Config{ForestTrees: 10, ForestDepth: 14, ForestLeafRows: 1}}
	rows := make([]uint32, d.Rows())
	for i := range rows {
		rows[i] = uint32(i)
	}
	forest, err := tr.forest(t.Context(), rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, grown := range forest {
		for _, n := range grown.nodes {
			if n.left == 0 && !(n.value >= 0 && n.value <= 1) {
				t.Fatalf("a leaf holds %v, which is no share", n.value)
			}
		}
	}
	predict(t, train(t, d, Config{Rounds: 60, ForestTrees: 10}), d)
}
