package report

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCardComesBack(t *testing.T) {
	c := segmentsCard()
	c.AsOf = c.AsOf.In(time.FixedZone("CET", 3600))
	data, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	c.AsOf = c.AsOf.UTC()
	if diff := cmp.Diff(c, back); diff != "" {
		t.Error(diff)
	}
	again, err := Encode(back)
	if err != nil || !bytes.Equal(data, again) {
		t.Errorf("encoded twice: other bytes (%v)", err)
	}
	if !bytes.Contains(data, []byte(`"snapshot":"7345612345678901234"`)) {
		t.Error("the snapshot is a number that JavaScript would round")
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := Encode(segmentsCard())
	if err != nil {
		t.Fatal(err)
	}
	text := string(good)
	for name, c := range map[string][2]string{
		"other format":  {strings.Replace(text, `"format":1`, `"format":2`, 1), "format 2"},
		"no format":     {strings.Replace(text, `"format":1,`, ``, 1), "format 0"},
		"unknown field": {strings.Replace(text, `"job":`, `"jobs":"x","job":`, 1), "unknown field"},
		"deep unknown":  {strings.Replace(text, `"baselines":[{`, `"baselines":[{"color":"red",`, 1), "unknown field"},
		"tail":          {text + `{}`, "no JSON"},
		"half":          {text[:len(text)/2], "no JSON"},
		"wrong type":    {strings.Replace(text, `"value":0.412`, `"value":"0.412"`, 1), "wrong type"},
		"huge number":   {strings.Replace(text, `"value":0.412`, `"value":1e999`, 1), "wrong type"},
		"not a card":    {`[]`, "wrong type"},
		"empty":         {``, "no JSON"},
		"too long":      {text + strings.Repeat(" ", MaxEncoded), "at most"},
		"invalid":       {strings.Replace(text, `"tenant":"acme"`, `"tenant":""`, 1), "tenant: is empty"},
		"level":         {strings.Replace(text, `"level":"major"`, `"level":"none"`, 1), "level is not"},
	} {
		_, err := Decode([]byte(c[0]))
		if err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v, want one with %q", name, err, c[1])
		}
	}
}

func TestDecodeErrorsHoldNoContent(t *testing.T) {
	for _, data := range []string{`{"format":1,"SECRET":1}`, `{"format":1,"job":7,"x":"SECRET"}`, `{"format":1,"as_of":"SECRET"}`, `{"format":1,"snapshot":"SECRET"}`, `SECRET`} {
		if _, err := Decode([]byte(data)); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestEncodeNamesWhatIsNotFinite(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		c := segmentsCard()
		c.Metrics[1].Value = bad
		c.Metrics[0].Baselines[1].Value = bad
		c.Metrics[0].Interval.High = bad
		c.Drift[0].Value = bad
		c.Figures[0].Series[2].Y = append([]float64{bad}, c.Figures[0].Series[2].Y[1:]...)
		c.Figures[1].Series[1].Low = append([]float64{bad}, c.Figures[1].Series[1].Low[1:]...)
		_, err := Encode(c)
		for _, want := range []string{
			`metric "purchases explained": value is not finite`, `metric "silhouette": baseline "one cut at the median": value is not finite`,
			`metric "silhouette": interval: high: value is not finite`, `drift "recency": value is not finite`,
			`precision-recall: series 2: y[0] is not finite`, `forecast: series 1: low[0] is not finite`,
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: no %q in %v", bad, want, err)
			}
		}
	}
}

func TestValidateTellsEveryFaultOfAFigure(t *testing.T) {
	line := func(change func(*Figure)) Figure {
		f := Figure{Name: "x", Kind: Line, Title: "t", Caption: "c", Series: []Series{{Name: "a", X: []float64{1, 2}, Y: []float64{3, 4}}}}
		change(&f)
		return f
	}
	low, high := 2.0, 1.0
	for want, f := range map[string]Figure{
		"":                                    line(func(*Figure) {}),
		"name: is not 1 to 40":                line(func(f *Figure) { f.Name = "../x" }),
		"x: kind is none of":                  line(func(f *Figure) { f.Kind = "pie" }),
		"x: caption: is empty":                line(func(f *Figure) { f.Caption = "" }),
		"x: no series":                        line(func(f *Figure) { f.Series = nil }),
		"x: series 0: 1 values of y":          line(func(f *Figure) { f.Series[0].Y = []float64{1} }),
		"x: series 0: no points":              line(func(f *Figure) { f.Series[0].X, f.Series[0].Y = nil, nil }),
		"x: series 0: low and high":           line(func(f *Figure) { f.Series[0].Low = []float64{1, 2} }),
		"x: series 0: 1 values of low":        line(func(f *Figure) { f.Series[0].Low, f.Series[0].High = []float64{1}, []float64{2, 2} }),
		"x: series 0: y[0] is not positive":   line(func(f *Figure) { f.Y.Scale, f.Series[0].Y = Log, []float64{0, 1} }),
		"x: series 0: y[1] is beyond 1e100":   line(func(f *Figure) { f.Series[0].Y = []float64{1, 2e100} }),
		"x: x: min is not below max":          line(func(f *Figure) { f.X.Min, f.X.Max = &low, &high }),
		"x: x: categories, a line figure":     line(func(f *Figure) { f.X.Categories = []string{"a"} }),
		"x: x: no categories, a bar":          line(func(f *Figure) { f.Kind, f.Series[0].X = Bar, nil }),
		"x: series 0: x is given":             line(func(f *Figure) { f.Kind, f.X.Categories = Bar, []string{"a", "b"} }),
		"x: series 0: 2 values of y, 1 are":   line(func(f *Figure) { f.Kind = Histogram }),
		"x: series 0: x[1]: does not ascend":  line(func(f *Figure) { f.Kind, f.Series[0].X = Histogram, []float64{1, 1, 2} }),
		"x: series 0: points: 2001, at most":  line(func(f *Figure) { f.Series[0].Y = make([]float64, 2001) }),
		"x: a heat figure has no logarithmic": line(func(f *Figure) { f.Kind, f.Y.Scale, f.X.Categories, f.Series[0].X = Heat, Log, []string{"a", "b"}, nil }),
		"x: series 1: x differs from that": line(func(f *Figure) {
			f.Kind, f.Series = Stacked, append(f.Series, Series{X: []float64{1, 3}, Y: []float64{1, 1}})
		}),
		"x: series 0: y is negative":      line(func(f *Figure) { f.Kind, f.Series[0].Y = Stacked, []float64{1, -1} }),
		"x: reference 0: kind is none of": line(func(f *Figure) { f.References = []Reference{{Kind: "slope"}} }),
		"x: series 0: name: is not UTF-8": line(func(f *Figure) { f.Series[0].Name = "\xff" }),
	} {
		err := f.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestValidateBoundsTheCard(t *testing.T) {
	for want, change := range map[string]func(*Card){
		"metrics: 65, at most 64":       func(c *Card) { c.Metrics = make([]Metric, 65) },
		"figures: 17, at most 16":       func(c *Card) { c.Figures = make([]Figure, 17) },
		"summary: 2001 bytes":           func(c *Card) { c.Summary = strings.Repeat("x", 2001) },
		"figure 1: its name is another": func(c *Card) { c.Figures[1].Name = c.Figures[0].Name },
		"window: ends before it starts": func(c *Card) { c.Window.From = c.Window.To.AddDate(0, 0, 1) },
		"as_of: is not a time":          func(c *Card) { c.AsOf = time.Time{} },
		"profile 0":                     func(c *Card) { c.Profiles[0].Shares = []float64{0.5, 0.5} },
		"note 0: kind is none of":       func(c *Card) { c.Notes[0].Kind = "shout" },
	} {
		c := segmentsCard()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestVerdict(t *testing.T) {
	bases := []Baseline{{"a", 0.5}, {"b", 0.7}}
	for _, c := range []struct {
		value  float64
		better Better
		want   Verdict
	}{{0.8, Higher, Ahead}, {0.6, Higher, Worse}, {0.7 + 1e-9, Higher, Equal}, {0.4, Lower, Ahead}, {0.6, Lower, Worse}, {0.6, "", NoVerdict}} {
		if got := (Metric{Value: c.value, Better: c.better, Baselines: bases}).Verdict(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if got := (Metric{Value: 1, Better: Higher}).Verdict(); got != NoVerdict {
		t.Errorf("no baselines: %v", got)
	}
}

func FuzzDecode(f *testing.F) {
	small := segmentsCard()
	small.Figures = nil
	for _, c := range []Card{small, {}} {
		data, _ := Encode(c)
		f.Add(data)
	}
	f.Add([]byte(`{"format":1,"figures":[{"name":"a","kind":"heat","title":"t","caption":"c","x":{"label":"","categories":["\u202e"]},"y":{"label":""},"series":[{"name":"r","y":[1e308]}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(c)
		if err != nil {
			t.Fatalf("decoded, not encoded: %v", err)
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, back); diff != "" {
			t.Fatal(diff)
		}
	})
}
