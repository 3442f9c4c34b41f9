package report

import (
	"math"
	"slices"
	"testing"
)

func TestCurveKeepsEndsAndPeaks(t *testing.T) {
	n := 50_000
	x, y := make([]float64, n), make([]float64, n)
	for i := range x {
		x[i], y[i] = float64(i), math.Sin(float64(i)/3000)
	}
	y[31_337] = 9 // one point that a reader must see
	s := Curve("c", x, y)
	if len(s.X) != MaxPoints || len(s.Y) != MaxPoints {
		t.Fatalf("%d points", len(s.X))
	}
	if s.X[0] != 0 || s.X[MaxPoints-1] != float64(n-1) || !slices.IsSorted(s.X) {
		t.Error("ends or order are lost")
	}
	if slices.Max(s.Y) != 9 {
		t.Error("the peak is lost")
	}
	again := Curve("c", x, y)
	if !slices.Equal(s.Y, again.Y) {
		t.Error("other points the second time")
	}
	// Units change nothing: largest triangles are largest in cents too.
	cents := slices.Clone(y)
	for i := range cents {
		cents[i] *= 64
	}
	if scaled := Curve("c", x, cents); !slices.Equal(scaled.X, s.X) {
		t.Error("other points in another unit")
	}
	if short := Curve("c", x[:3], y[:3]); !slices.Equal(short.X, x[:3]) {
		t.Errorf("three points became %v", short.X)
	}
}

// The places by hand: five points to four, buckets {1}, {2, 3}; of the second one the point with
// the larger triangle to the last point stays.
func TestTrianglesByHand(t *testing.T) {
	x, y := []float64{0, 1, 2, 3, 4}, []float64{0, 0, 1, 5, 0}
	if got := triangles(x, y, 4); !slices.Equal(got, []int{0, 1, 3, 4}) {
		t.Errorf("%v", got)
	}
}

func TestCloudSpreadsItsSample(t *testing.T) {
	x := make([]float64, 10_000)
	for i := range x {
		x[i] = float64(i)
	}
	s := Cloud("c", x, x, 4)
	if !slices.Equal(s.X, []float64{0, 2500, 5000, 7500}) {
		t.Errorf("%v", s.X)
	}
	if n := len(Cloud("c", x, x, 0).X); n != MaxPoints {
		t.Errorf("%d points", n)
	}
	if n := len(Cloud("c", nil, nil, 0).X); n != 0 {
		t.Errorf("%d points of none", n)
	}
}

func TestBinnedCountsEachValueOnce(t *testing.T) {
	s, err := Binned("b", []float64{0, 1, 2}, []float64{-0.1, 0, 0.5, 1, 1.5, 2, 2.1})
	if err != nil || !slices.Equal(s.Y, []float64{2, 3}) {
		t.Errorf("%v, %v", s.Y, err)
	}
	for _, edges := range [][]float64{{1}, {1, 1}, {2, 1}, {0, math.NaN()}} {
		if _, err := Binned("b", edges, nil); err == nil {
			t.Errorf("edges %v: no error", edges)
		}
	}
	if got := Edges(3, 3, 2); !slices.Equal(got, []float64{2.5, 3, 3.5}) {
		t.Errorf("edges of a constant: %v", got)
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		unit   string
		values []float64
		want   []string
	}{
		{"", []float64{0.87312, 0.5}, []string{"0.8731", "0.5000"}},
		{"", []float64{1_234_567, 12}, []string{"1,234,567", "12"}},
		{"", []float64{-9582.4291}, []string{"-9,582.4"}},
		{Share, []float64{0.61234, 0.1}, []string{"61.2%", "10.0%"}},
		{Share, []float64{0.0001}, []string{"0.0100%"}},
		{"EUR", []float64{12.4, -3}, []string{"12.40 EUR", "-3.00 EUR"}},
		{"", []float64{0}, []string{"0"}},
		{"", []float64{1e300}, []string{"1e+300"}},
		{"", []float64{-0.00000000001, 1.5}, []string{"0.000", "1.500"}},
	} {
		if got := amounts(c.unit, 4, c.values...); !slices.Equal(got, c.want) {
			t.Errorf("%v %q: %v, want %v", c.values, c.unit, got, c.want)
		}
	}
	for v, want := range map[float64]string{0: "0", 950: "950", 9999: "9,999", 12_345: "12.3k", 4_500_000: "4.50M", 0.25: "0.25", -3.14159: "-3.14", 2e-7: "2e-07", 1e30: "1e+30"} {
		if got := short("", v); got != want {
			t.Errorf("short %v: %s, want %s", v, got, want)
		}
	}
}
