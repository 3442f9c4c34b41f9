package report

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// What a metric's mark says.
const (
	better = "better"
	worse  = "worse"
	equal  = "equal"
)

// statement is a card in words and shown numbers, safe to show: what the page, the terminal and
// Markdown have in common.
type statement struct {
	Card     Card // its texts are clean
	Facts    []fact
	Metrics  []measured
	Drift    []drifted
	Warnings []string
	Notes    []Note // without the warnings
}

type fact struct{ Name, Value string }

type measured struct {
	Name, Value, Interval, Verdict, Doc string
	Baselines                           []fact
}

type drifted struct {
	Name, Measure, Value string
	Level                Level
}

func view(c Card) statement {
	c.Job, c.Method, c.Version = clean(c.Job), clean(c.Method), clean(c.Version)
	c.Summary, c.Evaluation = clean(c.Summary), clean(c.Evaluation)
	c.Tenant, c.Run, c.Previous = clean(c.Tenant), clean(c.Run), clean(c.Previous)
	c.Parameters = slices.Clone(c.Parameters)
	for i, p := range c.Parameters {
		c.Parameters[i] = Parameter{clean(p.Name), clean(p.Value)}
	}
	s := statement{Card: c}
	s.Facts = []fact{
		{"Data from", moment(c.Window.From)},
		{"Data to, exclusive", moment(c.Window.To)},
		{"Rows", number(float64(c.Window.Rows), 0)},
	}
	for _, n := range c.Window.Counts {
		s.Facts = append(s.Facts, fact{clean(n.Name), number(float64(n.N), 0)})
	}
	s.Facts = append(s.Facts, fact{"As of", moment(c.AsOf)}, fact{"Snapshot", fmt.Sprint(c.Snapshot)}, fact{"Run", c.Run})
	for _, m := range c.Metrics {
		s.Metrics = append(s.Metrics, measure(m))
	}
	names := map[Measure]string{PSI: "stability index (PSI)", KS: "Kolmogorov-Smirnov distance", ARI: "adjusted Rand index", Moved: "share moved"}
	for _, d := range c.Drift {
		// Rounded down, so that no value is shown at a threshold that it did not reach.
		thousandths := math.Floor(d.Value*1000 + 1e-9)
		value := number(thousandths/1000, 3)
		if d.Measure == Moved {
			value = number(thousandths/10, 1) + "%"
		}
		s.Drift = append(s.Drift, drifted{clean(d.Name), names[d.Measure], value, d.Level})
	}
	for _, n := range c.Notes {
		n.Text = clean(n.Text)
		if n.Kind == Warning {
			s.Warnings = append(s.Warnings, n.Text)
		} else {
			s.Notes = append(s.Notes, n)
		}
	}
	slices.SortStableFunc(s.Notes, func(a, b Note) int {
		switch {
		case a.Kind == b.Kind:
			return 0
		case a.Kind == Limit:
			return -1
		}
		return 1
	})
	return s
}

func measure(m Metric) measured {
	values := []float64{m.Value}
	for _, b := range m.Baselines {
		values = append(values, b.Value)
	}
	if m.Interval != nil {
		values = append(values, m.Interval.Low, m.Interval.High)
	}
	shown := amounts(clean(m.Unit), 4, values...)
	out := measured{Name: clean(m.Name), Value: shown[0], Doc: clean(m.Doc)}
	for i, b := range m.Baselines {
		out.Baselines = append(out.Baselines, fact{clean(b.Name), shown[1+i]})
	}
	if m.Interval != nil {
		ends := shown[1+len(m.Baselines):]
		out.Interval = fmt.Sprintf("%s to %s (%s)", ends[0], ends[1], short(Share, m.Interval.Level))
	}
	out.Verdict = [...]string{NoVerdict: "", Worse: worse, Equal: equal, Ahead: better}[m.Verdict()]
	// A difference that the shown digits do not tell is none to a reader.
	if best, ok := m.Best(); ok && out.Baselines[slices.Index(m.Baselines, best)].Value == out.Value {
		out.Verdict = equal
	}
	return out
}

// moment is a time as people write it, to the minute it has.
func moment(t time.Time) string {
	t = t.UTC()
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return t.Format("2 January 2006")
	}
	if t.Equal(t.Truncate(time.Minute)) {
		return t.Format("2 January 2006 15:04 UTC")
	}
	return t.Format("2 January 2006 15:04:05 UTC")
}
