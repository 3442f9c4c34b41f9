package segment

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// TestYeoJohnson finds scikit-learn 1.9.1's powers (PowerTransformer).
func TestYeoJohnson(t *testing.T) {
	for name, want := range map[string][]float64{
		"iris": {-0.32122329044594455, 0.039075646212110036, 1.0932181506667356, 0.8404841967184965},
		"wine": {
			1.2963805006686824, -0.8515543746679147, 1.5834947412608567, 0.6728037901906102, -1.4531212832239424, 0.616479274376828, 0.752715584363616,
			-1.5955973826208967, 0.25385758401883285, -0.11689953373940239, 0.864441950570028, 1.658081733003575, -0.1048133655610117,
		},
	} {
		x, _ := dataset(t, name)
		columns := make([]Column, x.Cols)
		for j := range columns {
			columns[j] = Column{Name: string(rune('a' + j)), Scale: YeoJohnson}
		}
		p, _, err := Prepare(x, columns)
		if err != nil {
			t.Fatal(err)
		}
		for j, f := range p.Columns {
			if lambda := min(greatestLambda, max(leastLambda, want[j])); math.Abs(f.Lambda-lambda) > 1e-3 {
				t.Errorf("%s, column %d: power %v, want %v", name, j, f.Lambda, lambda)
			}
		}
	}
}

func TestPrepare(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const rows = 4000
	columns := []Column{
		{Name: "plain"}, {Name: "skewed"}, {Name: "log", Scale: Log}, {Name: "rank", Scale: Quantile, Weight: 2},
		{Name: "mostly zero", Scale: Linear}, {Name: "constant"}, {Name: "missing"}, {Name: "sometimes missing"},
	}
	x := NewMatrix(rows, len(columns))
	for i := range rows {
		row := x.Row(i)
		row[0], row[1], row[2], row[3] = r.NormFloat64()*5+100, math.Exp(2*r.NormFloat64()), math.Exp(3*r.NormFloat64()), math.Floor(10*r.ExpFloat64())
		if r.IntN(10) == 0 {
			row[4] = r.Float64()
		}
		row[5] = 7
		row[6], row[7] = math.NaN(), r.Float64()
		if i%3 == 0 {
			row[6], row[7] = 1+r.Float64(), math.NaN()
		}
	}
	p, out, err := Prepare(x, columns)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"plain", "skewed", "log", "rank", "mostly zero", "sometimes missing"}; !reflect.DeepEqual(p.Kept(), want) {
		t.Errorf("kept %v", p.Kept())
	}
	if p.Columns[5].Dropped != "constant" || p.Columns[6].Dropped != "missing" || p.Columns[7].Missing != 1334 {
		t.Errorf("%+v", p.Columns[5:])
	}
	if p.Columns[0].Scale != Linear || p.Columns[1].Scale != YeoJohnson || math.Abs(p.Columns[1].Lambda) > 1 {
		t.Errorf("%+v", p.Columns[:2])
	}
	_, variance := out.moments()
	for j, v := range variance {
		if weight := []float64{1, 1, 1, 4, 1, 1}[j]; !(v > 0.2*weight && v < 3*weight) {
			t.Errorf("%s: variance %v", p.Kept()[j], v)
		}
	}
	for _, v := range out.Data {
		if !(math.Abs(v) <= 2*outermost) {
			t.Fatalf("prepared value %v", v)
		}
	}
	// What is not cut off comes back.
	for i := range rows {
		for j, v := range p.Restore(out.Row(i)) {
			from := []int{0, 1, 2, 3, 4, 7}[j]
			want := x.Row(i)[from]
			if math.IsNaN(want) || math.Abs(out.Row(i)[j]) > 3.9 {
				continue
			}
			if math.Abs(v-want) > 1e-6*math.Abs(want)+1e-6 {
				t.Fatalf("%s: %v came back as %v", columns[from].Name, want, v)
			}
		}
	}
	// It is as good after JSON.
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var again Preparation
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if same, err := again.Apply(x); err != nil || !reflect.DeepEqual(same, out) {
		t.Errorf("after JSON another result, %v", err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	one := []Column{{Name: "a"}}
	for name, c := range map[string]struct {
		x       Matrix
		columns []Column
	}{
		"no rows":      {Matrix{Cols: 1}, one},
		"names":        {matrix(2, 1, 2), one},
		"infinity":     {matrix(1, 1, math.Inf(-1)), one},
		"all missing":  {matrix(1, math.NaN(), math.NaN()), one},
		"all constant": {matrix(1, 3, 3, 3), one},
		"one customer": {matrix(1, 3), one},
		"log":          {matrix(1, -1, 3), []Column{{Name: "a", Scale: Log}}},
		"scale":        {matrix(1, -1, 3), []Column{{Name: "a", Scale: "sqrt"}}},
		"weight":       {matrix(1, -1, 3), []Column{{Name: "a", Weight: -1}}},
		"weight NaN":   {matrix(1, -1, 3), []Column{{Name: "a", Weight: math.NaN()}}},
	} {
		if _, _, err := Prepare(c.x, c.columns); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzPrepare(f *testing.F) {
	f.Add(1.0, 2.0, 3.0, uint8(0))
	f.Add(-1e100, 1e-300, 1e100, uint8(2))
	f.Add(0.0, math.Copysign(0, -1), 5e-324, uint8(3))
	f.Add(1.0, math.NaN(), math.Inf(1), uint8(1))
	f.Fuzz(func(t *testing.T, a, b, c float64, scale uint8) {
		s := []Scale{Auto, Linear, Log, YeoJohnson, Quantile}[scale%5]
		x := matrix(1, a, b, c, a, b)
		p, out, err := Prepare(x, []Column{{Name: "v", Scale: s}})
		if err != nil {
			return
		}
		for i, v := range out.Data {
			if !(math.Abs(v) <= outermost) {
				t.Fatalf("prepared %v", v)
			}
			if back := p.Restore(out.Row(i))[0]; math.IsNaN(back) || math.IsInf(back, 0) {
				t.Fatalf("restored %v", back)
			}
		}
	})
}
