package report

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"
)

// Validate reports every fault of the card at once. Errors name the place (a metric by its name,
// a series by its number, because its name may come from data) and the rule. A card needs a job,
// a method and its version, a tenant, a run, a window whose end is after its start, and AsOf.
func (c Card) Validate() error {
	var v faults
	v.text("job", c.Job, true)
	v.text("method", c.Method, true)
	v.text("method_version", c.Version, true)
	v.text("summary", c.Summary, false)
	v.text("evaluation", c.Evaluation, false)
	v.text("tenant", c.Tenant, true)
	v.text("run", c.Run, true)
	v.text("previous_run", c.Previous, false)
	v.time("as_of", c.AsOf)
	v.time("window: from", c.Window.From)
	v.time("window: to", c.Window.To)
	if c.Window.To.Before(c.Window.From) {
		v.add("window: ends before it starts")
	}
	if c.Window.Rows < 0 {
		v.add("window: rows are negative")
	}
	v.most("window: counts", len(c.Window.Counts), MaxCounts)
	for i, n := range c.Window.Counts {
		v.text(fmt.Sprintf("window: count %d: name", i), n.Name, true)
		if n.N < 0 {
			v.add("window: count %d: is negative", i)
		}
	}
	v.most("parameters", len(c.Parameters), MaxParameters)
	for i, p := range c.Parameters {
		v.text(fmt.Sprintf("parameter %d: name", i), p.Name, true)
		v.text(fmt.Sprintf("parameter %d: value", i), p.Value, false)
	}
	v.most("metrics", len(c.Metrics), MaxMetrics)
	for i, m := range c.Metrics {
		v.metric(i, m)
	}
	v.most("drift", len(c.Drift), MaxDrift)
	for i, d := range c.Drift {
		place := fmt.Sprintf("drift %d", i)
		v.text(place+": name", d.Name, true)
		v.finite(fmt.Sprintf("drift %q", clip(d.Name, 60)), d.Value)
		if !slices.Contains([]Measure{PSI, KS, ARI, Moved}, d.Measure) {
			v.add("%s: measure is none of psi, ks, ari, moved", place)
		} else if d.Level != levelOf(d.Measure, d.Value) {
			v.add("%s: level is not the one of its value", place)
		}
	}
	v.most("profiles", len(c.Profiles), MaxProfiles)
	for i, p := range c.Profiles {
		v.text(fmt.Sprintf("profile %d: name", i), p.Name, true)
		v.most(fmt.Sprintf("profile %d: edges", i), len(p.Edges), MaxCategories)
		if _, err := StabilityIndex(p.Shares, p.Shares); err != nil {
			v.errs = append(v.errs, fmt.Errorf("profile %d: %w", i, err))
		}
		if len(p.Shares) != len(p.Edges)+1 || !slices.IsSorted(p.Edges) || finite(p.Edges) != nil {
			v.add("profile %d: edges are not ascending finite numbers, one fewer than the shares", i)
		}
	}
	v.most("notes", len(c.Notes), MaxNotes)
	for i, n := range c.Notes {
		v.text(fmt.Sprintf("note %d: text", i), n.Text, true)
		if n.Kind != Info && n.Kind != Limit && n.Kind != Warning {
			v.add("note %d: kind is none of info, limit, warning", i)
		}
	}
	v.most("figures", len(c.Figures), MaxFigures)
	names := make(map[string]bool, len(c.Figures))
	for i, f := range c.Figures {
		if err := f.Validate(); err != nil {
			v.errs = append(v.errs, fmt.Errorf("figure %d: %w", i, err))
		}
		if names[f.Name] {
			v.add("figure %d: its name is another figure's", i)
		}
		names[f.Name] = true
	}
	return errors.Join(v.errs...)
}

// faults collects what is wrong.
type faults struct{ errs []error }

func (v *faults) add(format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf(format, args...))
}

func (v *faults) text(place, s string, isNeeded bool) {
	switch {
	case s == "" && isNeeded:
		v.add("%s: is empty", place)
	case len(s) > MaxText:
		v.add("%s: %d bytes, at most %d", place, len(s), MaxText)
	case !utf8.ValidString(s):
		v.add("%s: is not UTF-8", place)
	}
}

func (v *faults) time(place string, t time.Time) {
	// JSON's times end with year 9999, and a time before the epoch is a mistake here.
	if y := t.Year(); y < 1970 || y > 9999 {
		v.add("%s: is not a time from 1970 to 9999", place)
	}
}

func (v *faults) most(place string, n, most int) {
	if n > most {
		v.add("%s: %d, at most %d", place, n, most)
	}
}

func (v *faults) finite(place string, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		v.add("%s: value is not finite", place)
	}
}

func (v *faults) metric(i int, m Metric) {
	v.text(fmt.Sprintf("metric %d: name", i), m.Name, true)
	place := fmt.Sprintf("metric %q", clip(m.Name, 60))
	v.finite(place, m.Value)
	v.text(place+": unit", m.Unit, false)
	v.text(place+": doc", m.Doc, false)
	if m.Better != "" && m.Better != Higher && m.Better != Lower {
		v.add("%s: better is neither higher nor lower", place)
	}
	if in := m.Interval; in != nil {
		v.finite(place+": interval: low", in.Low)
		v.finite(place+": interval: high", in.High)
		if in.Low > in.High {
			v.add("%s: interval: low is above high", place)
		}
		if !(in.Level > 0 && in.Level < 1) {
			v.add("%s: interval: level is not between 0 and 1", place)
		}
	}
	v.most(place+": baselines", len(m.Baselines), MaxBaselines)
	for k, b := range m.Baselines {
		v.text(fmt.Sprintf("%s: baseline %d: name", place, k), b.Name, true)
		v.finite(fmt.Sprintf("%s: baseline %q", place, clip(b.Name, 60)), b.Value)
	}
}

// largest is where figures end: the difference and the tenfold of two numbers must be finite.
const largest = 1e100

var figureName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// Validate reports every fault of the figure at once: what its kind needs, bounds, numbers that
// are not finite.
func (f Figure) Validate() error {
	var v faults
	place := func(rest string, args ...any) string { return fmt.Sprintf(rest, args...) }
	if !figureName.MatchString(f.Name) {
		v.add("name: is not 1 to 40 lower-case letters, digits and hyphens")
	} else {
		place = func(rest string, args ...any) string { return f.Name + ": " + fmt.Sprintf(rest, args...) }
	}
	v.text(place("title"), f.Title, true)
	v.text(place("caption"), f.Caption, true)
	v.axis(place("x"), f.X)
	v.axis(place("y"), f.Y)
	if len(f.Series) == 0 {
		v.add("%s", place("no series, at least 1 is needed"))
	}
	v.most(place("series"), len(f.Series), MaxSeries)
	switch f.Kind {
	case Heat:
		v.most(place("x: categories of a heat figure"), len(f.X.Categories), MaxColumns)
	case Bar:
		v.most(place("bars"), len(f.X.Categories)*len(f.Series), MaxBars)
	}
	v.most(place("references"), len(f.References), MaxReferences)
	for i, r := range f.References {
		v.text(place("reference %d: label", i), r.Label, false)
		v.finite(place("reference %d: at", i), r.At)
		if abs(r.At) > largest {
			v.add("%s", place("reference %d: is beyond 1e100, as far as a figure reaches", i))
		}
		if !slices.Contains([]ReferenceKind{Diagonal, Horizontal, Vertical}, r.Kind) {
			v.add("%s", place("reference %d: kind is none of diagonal, horizontal, vertical", i))
		}
	}
	categorical := f.Kind == Bar || f.Kind == Heat
	switch {
	case !slices.Contains([]Kind{Line, Step, Bar, Stacked, Scatter, Heat, Histogram, Calibration}, f.Kind):
		v.add("%s", place("kind is none of line, step, bar, stacked, scatter, heat, histogram, calibration"))
	case categorical && len(f.X.Categories) == 0:
		v.add("%s", place("x: no categories, a %s figure needs at least 1", f.Kind))
	case !categorical && len(f.X.Categories) > 0:
		v.add("%s", place("x: categories, a %s figure has none", f.Kind))
	case categorical && f.X.Scale != Linear, f.Kind == Heat && f.Y.Scale != Linear, (f.Kind == Bar || f.Kind == Stacked || f.Kind == Histogram) && f.Y.Scale != Linear:
		v.add("%s", place("a %s figure has no logarithmic or time scale there", f.Kind))
	}
	for i, s := range f.Series {
		v.series(func(rest string, args ...any) string { return place("series %d: "+rest, append([]any{i}, args...)...) }, f, s)
	}
	return errors.Join(v.errs...)
}

func (v *faults) axis(place string, a Axis) {
	v.text(place+": label", a.Label, false)
	v.text(place+": unit", a.Unit, false)
	v.most(place+": categories", len(a.Categories), MaxCategories)
	for i, name := range a.Categories {
		v.text(fmt.Sprintf("%s: category %d", place, i), name, true)
	}
	if a.Scale != Linear && a.Scale != Log && a.Scale != Time {
		v.add("%s: scale is none of log, time and the empty one", place)
	}
	for _, end := range []*float64{a.Min, a.Max} {
		if end == nil {
			continue
		}
		v.finite(place+": end", *end)
		if abs(*end) > largest {
			v.add("%s: an end is beyond 1e100, as far as a figure reaches", place)
		}
		if a.Scale == Log && *end <= 0 {
			v.add("%s: an end is not positive, as a logarithmic scale needs it", place)
		}
	}
	if a.Min != nil && a.Max != nil && *a.Min >= *a.Max {
		v.add("%s: min is not below max", place)
	}
}

func (v *faults) series(place func(string, ...any) string, f Figure, s Series) {
	v.text(place("name"), s.Name, f.Kind == Heat)
	v.most(place("points"), max(len(s.X), len(s.Y)), MaxPoints)
	want := len(s.X)
	switch f.Kind {
	case Bar, Heat:
		want = len(f.X.Categories)
		if s.X != nil {
			v.add("%s", place("x is given, the axis's categories are the places"))
		}
	case Stacked:
		if !slices.Equal(s.X, f.Series[0].X) {
			v.add("%s", place("x differs from that of series 0"))
		}
		if len(s.Y) > 0 && slices.Min(s.Y) < 0 {
			v.add("%s", place("y is negative, which cannot be stacked"))
		}
	case Histogram:
		want--
	}
	switch f.Kind {
	case Stacked, Histogram:
		for i := 1; i < len(s.X); i++ {
			if s.X[i] <= s.X[i-1] {
				v.add("%s", place("x[%d]: does not ascend", i))
				break
			}
		}
	}
	if len(s.Y) == 0 {
		v.add("%s", place("no points, at least 1 is needed"))
	} else if len(s.Y) != want {
		v.add("%s", place("%d values of y, %d are needed", len(s.Y), want))
	}
	for _, list := range []struct {
		name   string
		values []float64
		scale  Scale
	}{{"x", s.X, f.X.Scale}, {"y", s.Y, f.Y.Scale}, {"low", s.Low, f.Y.Scale}, {"high", s.High, f.Y.Scale}, {"n", s.N, Linear}} {
		if list.name != "x" && list.values != nil && len(list.values) != len(s.Y) {
			v.add("%s", place("%d values of %s, %d are needed", len(list.values), list.name, len(s.Y)))
		}
		for i, value := range list.values {
			if math.IsNaN(value) || math.IsInf(value, 0) {
				v.add("%s", place("%s[%d] is not finite", list.name, i))
				break
			}
			if abs(value) > largest {
				v.add("%s", place("%s[%d] is beyond 1e100, as far as a figure reaches", list.name, i))
				break
			}
			if list.scale == Log && value <= 0 {
				v.add("%s", place("%s[%d] is not positive, as a logarithmic scale needs it", list.name, i))
				break
			}
		}
	}
	if (s.Low == nil) != (s.High == nil) {
		v.add("%s", place("low and high come together"))
	}
	if s.Labels != nil && len(s.Labels) != len(s.Y) {
		v.add("%s", place("%d labels, %d are needed", len(s.Labels), len(s.Y)))
	}
	for i, label := range s.Labels {
		v.text(place("label %d", i), label, false)
	}
}

// clip is at most n runes of s; what it cuts ends in an ellipsis.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:n-1]) + "…"
}
