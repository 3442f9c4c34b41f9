package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/png"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// check fails on what no figure may have: places that are not numbers, words that leave the
// paper, words over words.
func check(t *testing.T, f Figure) {
	t.Helper()
	for _, isFramed := range []bool{true, false} {
		d, err := lay(f, isFramed)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		if d.height > 5000 || math.IsNaN(d.height) {
			t.Errorf("%s: height %v", f.Name, d.height)
		}
		paper := box{-0.01, -0.01, d.width + 0.01, d.height + 0.01}
		var taken []box
		var texts []string
		for _, m := range d.marks {
			for _, p := range m.points {
				if !paper.holds(p) { // false for NaN too
					t.Errorf("%s: a mark of shape %d lies at %v, off the paper", f.Name, m.shape, p)
				}
			}
			if m.shape != words {
				continue
			}
			area := d.extent(m)
			if !paper.holds(point{area.left, area.top}) || !paper.holds(point{area.right, area.bottom}) {
				t.Errorf("%s: %q is cut at the paper's edge: %v", f.Name, m.text, area)
			}
			for i, other := range taken {
				inner := box{area.left + 1, area.top + 3, area.right - 1, area.bottom - 3}
				if !m.hasHalo && inner.meets(other) {
					t.Errorf("%s: %q is written over %q", f.Name, m.text, texts[i])
				}
			}
			if !m.hasHalo {
				taken, texts = append(taken, area), append(texts, m.text)
			}
		}
	}
}

func TestFiguresKeepWordsOnThePaper(t *testing.T) {
	for _, f := range figures() {
		check(t, f)
	}
}

// harsh are figures that are valid and as hard to draw as they get.
func harsh() []Figure {
	zero, one := 0.0, 1.0
	long := strings.Repeat("An exceedingly long merchant's name ", 9)
	var many []Series
	for i := range MaxSeries {
		many = append(many, Series{Name: fmt.Sprintf("%d %s", i, long), X: []float64{0, 1}, Y: []float64{0, 1}})
	}
	var wide []string
	for i := range MaxCategories {
		wide = append(wide, fmt.Sprintf("%s%d", strings.Repeat("W", 60), i))
	}
	row := make([]float64, MaxCategories)
	for i := range row {
		row[i] = float64(i) * 1e6
	}
	var rows []Series
	for range MaxSeries {
		rows = append(rows, Series{Name: strings.Repeat("M", 300), Y: row[:10]})
	}
	table := slices.Clone(rows)
	for i := range table {
		table[i].Y = row[:MaxColumns]
	}
	base := func(kind Kind, x, y []float64) Figure {
		return Figure{Name: "harsh", Kind: kind, Title: long + long, Caption: long + long + long, X: Axis{Label: long, Unit: long}, Y: Axis{Label: long, Unit: long},
			Series:     []Series{{Name: long, X: x, Y: y}},
			References: []Reference{{Horizontal, 0.5, long}, {Vertical, 0.5, long}, {Diagonal, 0, long}}}
	}
	with := func(f Figure, change func(*Figure)) Figure { change(&f); return f }
	var out []Figure
	for _, kind := range []Kind{Line, Step, Scatter, Calibration} {
		out = append(out,
			base(kind, []float64{0}, []float64{0}),
			base(kind, []float64{5, 5}, []float64{7, 7}),
			base(kind, []float64{-1e100, 1e100}, []float64{-1e100, 1e100}),
			base(kind, []float64{-1e100, 1e100}, []float64{-1e100, 1e100}),
			base(kind, []float64{1e-300, 2e-300}, []float64{-1e-300, 2e-300}),
			base(kind, []float64{1e15, 1e15 + 1}, []float64{-12345678, 12345678}),
			with(base(kind, []float64{1e-9, 1e9}, []float64{1e-9, 1e9}), func(f *Figure) { f.X.Scale, f.Y.Scale = Log, Log }),
			with(base(kind, []float64{-5, 5}, []float64{-5, 5}), func(f *Figure) { f.X.Min, f.X.Max, f.Y.Min, f.Y.Max = &zero, &one, &zero, &one }),
			with(base(kind, []float64{2, 3}, []float64{2, 3}), func(f *Figure) { f.X.Max, f.Y.Max = &one, &one }),
			with(base(kind, []float64{0, 1}, []float64{0, 1}), func(f *Figure) { f.Series = many }),
		)
	}
	for _, span := range []float64{0, 1, 3600, 86_400, 40 * 86_400, 3e7, 1e9, 1e12, 1e100} {
		out = append(out, with(base(Line, []float64{1_770_000_000, 1_770_000_000 + span}, []float64{1, 2}), func(f *Figure) { f.X.Scale, f.References = Time, nil }))
	}
	out = append(out,
		base(Stacked, []float64{0}, []float64{0}),
		base(Stacked, []float64{0}, []float64{7}),
		base(Stacked, []float64{-1e100, 1e100}, []float64{1e100, 1e100}),
		with(base(Stacked, []float64{2, 3}, []float64{2, 3}), func(f *Figure) { f.X.Max, f.Y.Max = &one, &one }),
		with(base(Stacked, []float64{0, 1}, []float64{0, 1}), func(f *Figure) { f.Series = many }),
		base(Histogram, []float64{0, 1}, []float64{0}),
		base(Histogram, []float64{-1e100, 1e100}, []float64{-3}),
		with(base(Histogram, nil, nil), func(f *Figure) {
			f.Series = []Series{{Name: "<a>", X: []float64{0, 1, 2}, Y: []float64{1, 0}}, {X: []float64{0, 2}, Y: []float64{1e9}}, {Name: long, X: []float64{5, 6}, Y: []float64{0}}}
		}),
		with(base(Bar, nil, row), func(f *Figure) { f.X.Categories = wide }),
		with(base(Bar, nil, nil), func(f *Figure) { f.X.Categories, f.Series = wide[:10], rows[:24] }),
		with(base(Bar, nil, []float64{0, 0}), func(f *Figure) { f.X.Categories = []string{"a", "b"} }),
		with(base(Bar, nil, []float64{-1e100, 1e100}), func(f *Figure) { f.X.Categories = []string{"a", "b"} }),
		with(base(Bar, nil, []float64{5, 9}), func(f *Figure) { f.X.Categories, f.Y.Max = []string{"a", "b"}, &one }),
		with(base(Heat, nil, nil), func(f *Figure) { f.X.Categories, f.Series = wide[:MaxColumns], table }),
		with(base(Heat, nil, []float64{0}), func(f *Figure) { f.X.Categories = []string{"only"} }),
		with(base(Heat, nil, []float64{-1e100, 1e100}), func(f *Figure) { f.X.Categories, f.Series[0].Labels = []string{"a", "b"}, []string{long, "\u202e"} }),
	)
	return out
}

func TestHarshFiguresAreDrawn(t *testing.T) {
	for i, f := range harsh() {
		f.Name = fmt.Sprintf("harsh-%d-%s", i, f.Kind)
		if err := f.Validate(); err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		check(t, f)
	}
}

func TestDrawingsAreTheSameBytes(t *testing.T) {
	for _, f := range figures()[:8] {
		first, err := SVG(f)
		if err != nil {
			t.Fatal(err)
		}
		second, _ := SVG(f)
		if !bytes.Equal(first, second) {
			t.Errorf("%s: two SVG documents", f.Name)
		}
	}
	f := figures()[0]
	first, err := PNG(f, 1)
	if err != nil {
		t.Fatal(err)
	}
	second, _ := PNG(f, 1)
	if !bytes.Equal(first, second) {
		t.Error("two pictures")
	}
}

func TestPNGHasItsSize(t *testing.T) {
	for _, scale := range []float64{1, 2} {
		data, err := PNG(figures()[0], scale)
		if err != nil {
			t.Fatal(err)
		}
		config, err := png.DecodeConfig(bytes.NewReader(data))
		if err != nil || config.Width != int(figureWidth*scale) {
			t.Errorf("scale %v: %d wide, %v", scale, config.Width, err)
		}
	}
	for _, scale := range []float64{0, 100, math.NaN()} {
		if _, err := PNG(figures()[0], scale); err == nil {
			t.Errorf("scale %v: no error", scale)
		}
	}
	if _, err := PNG(Figure{}, 1); err == nil {
		t.Error("a figure of nothing: no error")
	}
}

// hostile is what a merchant may call itself.
const hostile = "\"><script>alert(1)</script><svg onload=alert(1)>'&amp;</text></title></style>]]>\x1b[2J\x00\u202e\u2028|`[x](javascript:alert(1))"

// poison puts the hostile name wherever a card has a text.
func poison() Card {
	c := segmentsCard()
	c.Job, c.Method, c.Version, c.Summary, c.Evaluation, c.Tenant, c.Run, c.Previous = hostile, hostile, hostile, hostile, hostile, hostile, hostile, hostile
	c.Window.Counts = []Count{{hostile, 1}}
	c.Parameters = []Parameter{{hostile, hostile}}
	c.Metrics = []Metric{{Name: hostile, Unit: hostile, Doc: hostile, Value: 1, Better: Higher, Baselines: []Baseline{{hostile, 2}}}}
	c.Drift = []Drift{NewDrift(hostile, PSI, 1)}
	c.Profiles = nil
	c.Notes = []Note{{Info, hostile}, {Limit, hostile}, {Warning, hostile}}
	for i := range c.Figures {
		f := &c.Figures[i]
		f.Title, f.Caption, f.X.Label, f.X.Unit, f.Y.Label, f.Y.Unit = hostile, hostile, hostile, hostile, hostile, hostile
		for k := range f.X.Categories {
			f.X.Categories[k] = hostile
		}
		for k := range f.Series {
			f.Series[k].Name = hostile
			for l := range f.Series[k].Labels {
				f.Series[k].Labels[l] = hostile
			}
		}
		for k := range f.References {
			f.References[k].Label = hostile
		}
	}
	return c
}

// elements are the names of a document's elements and attributes, by a strict parser.
func elements(t *testing.T, what string, document []byte) (names []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(document))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if e, ok := token.(xml.StartElement); ok {
			names = append(names, e.Name.Local)
			for _, a := range e.Attr {
				names = append(names, "@"+a.Name.Local)
				if strings.Contains(strings.ToLower(a.Value), "javascript:") {
					t.Errorf("%s: %s=%q", what, a.Name.Local, a.Value)
				}
			}
		}
	}
}

func unsafe(t *testing.T, what string, document []byte) {
	t.Helper()
	allowed := strings.Fields(`svg title desc rect polygon polyline circle text
		html head meta style body main header h1 h2 h3 p dl div dt dd ul li b section table thead tbody tr th td span figure figcaption footer
		@xmlns @width @height @viewBox @role @font-family @class @fill @fill-opacity @points @stroke @stroke-opacity @stroke-width @stroke-linejoin @stroke-dasharray
		@cx @cy @r @x @y @font-size @font-weight @text-anchor @textLength @lengthAdjust @transform @aria-hidden
		@lang @charset @http-equiv @content @name @id @scope`)
	for _, name := range elements(t, what, document) {
		if !slices.Contains(allowed, name) {
			t.Errorf("%s holds %s", what, name)
		}
	}
}

func TestHostileNamesStayText(t *testing.T) {
	c := poison()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := HTML(&page, c); err != nil {
		t.Fatal(err)
	}
	unsafe(t, "the page", page.Bytes())
	if !bytes.Contains(page.Bytes(), []byte("&lt;script&gt;")) {
		t.Error("the name is not on the page")
	}
	for _, f := range c.Figures {
		svg, err := SVG(f)
		if err != nil {
			t.Fatal(err)
		}
		unsafe(t, "figure "+f.Name, svg)
		check(t, f)
	}
	var text, markdown bytes.Buffer
	if err := Text(&text, c); err != nil {
		t.Fatal(err)
	}
	if err := Markdown(&markdown, c); err != nil {
		t.Fatal(err)
	}
	for what, document := range map[string]string{"the page": page.String(), "the text": text.String(), "the Markdown": markdown.String()} {
		for _, r := range "\x1b\x00\u202e\u2028" {
			if strings.ContainsRune(document, r) {
				t.Errorf("%s holds %U", what, r)
			}
		}
		if !utf8.ValidString(document) {
			t.Errorf("%s is not UTF-8", what)
		}
	}
	for _, bad := range []string{"<script", "<svg", "[x](", "</text>"} {
		if strings.Contains(markdown.String(), bad) {
			t.Errorf("the Markdown holds %s", bad)
		}
	}
	for line := range strings.Lines(markdown.String()) {
		if strings.HasPrefix(line, "| ") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") > 6 {
			t.Errorf("a name made columns: %s", line)
		}
	}
}

// A page that needs a style attribute, a script or another place could not keep its policy.
func TestPageKeepsItsPolicy(t *testing.T) {
	var page bytes.Buffer
	if err := HTML(&page, segmentsCard()); err != nil {
		t.Fatal(err)
	}
	unsafe(t, "the page", page.Bytes())
	text := page.String()
	if n := strings.Count(text, "<style>"); n != 1 {
		t.Errorf("%d style sheets", n)
	}
	for _, bad := range []string{"http://", "https://", "url(", "@import", " style=", "src=", "href="} {
		if strings.Contains(strings.ReplaceAll(text, `xmlns="http://www.w3.org/2000/svg"`, ""), bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	if !strings.Contains(text, `default-src &#39;none&#39;; style-src &#39;sha256-`) {
		t.Error("no policy")
	}
	// Every ink of the light theme has its dark counterpart.
	theme := light()
	for _, i := range append(append([]ink{theme.paper, theme.text, theme.muted, theme.grid, theme.axis, theme.baseline}, theme.series...), theme.names...) {
		if !strings.Contains(text, ".fill-"+i.class+"{") {
			t.Errorf("no dark %s", i.class)
		}
	}
}

func TestWordsCanBeRead(t *testing.T) {
	theme := light()
	for _, i := range append([]ink{theme.text, theme.muted}, theme.names...) {
		if got := contrast(i.color, theme.paper.color); got < 4.5 {
			t.Errorf("%s on paper: contrast %.2f", i.class, got)
		}
	}
	for v := -1.0; v <= 1; v += 0.01 {
		cell, letters := shade(v)
		if got := contrast(letters, cell); got < 4.2 {
			t.Errorf("words on a heat cell of %.2f: contrast %.2f", v, got)
		}
	}
}

func FuzzDraw(f *testing.F) {
	f.Add("line", 0.0, 1.0, 2.0, "name", "", false)
	f.Add("heat", -1e308, 1e308, 0.0, "\u202e<", "log", true)
	f.Add("calibration", 1e-300, 5.0, 5.0, "", "time", true)
	f.Fuzz(func(t *testing.T, kind string, a, b, c float64, name, scale string, isBaseline bool) {
		s := Series{Name: name, X: []float64{a, b, c}, Y: []float64{b, c, a}, IsBaseline: isBaseline}
		figure := Figure{Name: "x", Kind: Kind(kind), Title: "t" + name, Caption: "c" + name, X: Axis{Label: name, Scale: Scale(scale)}, Y: Axis{Label: name, Unit: name}, Series: []Series{s, s},
			References: []Reference{{Horizontal, a, name}, {Vertical, b, name}, {Diagonal, 0, name}}}
		switch figure.Kind {
		case Bar, Heat:
			figure.X.Categories = []string{"a", name + "b", "c"}
			figure.Series[0].X, figure.Series[1].X = nil, nil
		case Histogram:
			figure.Series[0].Y, figure.Series[1].Y = s.Y[:2], s.Y[1:]
		}
		if figure.Validate() != nil {
			return
		}
		check(t, figure)
		svg, err := SVG(figure)
		if err != nil {
			t.Fatal(err)
		}
		unsafe(t, "the figure", svg)
	})
}
