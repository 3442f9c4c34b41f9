package predict

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
)

// reference reads a table of testdata: the model of each row and its numbers.
func reference(t *testing.T, name string, f func(t *testing.T, row string, m Model, v []float64)) {
	t.Helper()
	file, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		v := make([]float64, len(row)-1)
		for i, s := range row[1:] {
			if v[i], err = strconv.ParseFloat(s, 64); err != nil {
				t.Fatal(err)
			}
		}
		var m Model = BGNBD{v[0], v[1], v[2], v[3]}
		if row[0] == "pn" {
			m = ParetoNBD{v[0], v[1], v[2], v[3]}
		}
		f(t, fmt.Sprintf("%T%v", m, row[1:len(row)-2]), m, v[4:])
	}
}

func near(got, want, tolerance float64) bool {
	return math.Abs(got-want) <= tolerance*max(math.Abs(want), 1e-2)
}

func TestHistoriesAgainstMpmath(t *testing.T) {
	worst := [3]float64{}
	reference(t, "histories.csv", func(t *testing.T, row string, m Model, v []float64) {
		h, horizon := History{X: int(v[0]), Tx: v[1], T: v[2]}, v[3]
		for i, got := range []float64{m.LogLikelihood(h), m.Alive(h), m.Expected(h, horizon)} {
			want := v[4+i]
			if !near(got, want, 1e-9) {
				t.Errorf("%s: value %d = %.15g, want %.15g", row, i, got, want)
			}
			worst[i] = max(worst[i], math.Abs(got-want)/max(math.Abs(want), 1e-2))
		}
	})
	t.Logf("largest relative errors: log-likelihood %.1e, alive %.1e, expected %.1e", worst[0], worst[1], worst[2])
}

func TestDistributionsAgainstMpmath(t *testing.T) {
	worst := [2]float64{}
	reference(t, "distributions.csv", func(t *testing.T, row string, m Model, v []float64) {
		x, at := int(v[0]), v[1]
		for i, got := range []float64{m.Probability(x, at), m.Mean(at)} {
			if !near(got, v[2+i], 1e-9) {
				t.Errorf("%s: value %d = %.15g, want %.15g", row, i, got, v[2+i])
			}
			worst[i] = max(worst[i], math.Abs(got-v[2+i])/max(math.Abs(v[2+i]), 1e-2))
		}
	})
	t.Logf("largest relative errors: probability %.1e, mean %.1e", worst[0], worst[1])
}

// Summits of any width and place, and tails of any reach.
func TestIntegrate(t *testing.T) {
	for _, at := range []float64{0, 3, -700, 2000} {
		for _, width := range []float64{1e-4, 1, 50} {
			normal := func(y float64) float64 { return -(y - at) * (y - at) / (2 * width * width) }
			if got, want := integrate(normal), width*math.Sqrt(2*math.Pi); !near(got/want, 1, 1e-8) {
				t.Errorf("normal at %g of width %g: %g, want %g", at, width, got, want)
			}
			skew := func(y float64) float64 { // falls by exp(y/width) to the left, exp(-3y) to the right
				if y < at {
					return (y - at) / width
				}
				return -3 * (y - at)
			}
			if got, want := integrate(skew), width+1./3; !near(got/want, 1, 1e-2) {
				t.Errorf("skew at %g of width %g: %g, want %g", at, width, got, want)
			}
		}
	}
	if got := integrate(func(float64) float64 { return math.Inf(-1) }); got != 0 {
		t.Errorf("nothing integrates to %g", got)
	}
}
