package anomalies

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/anomaly"
	"github.com/cardlake/cardlake/queries/anomaly/features"
	"github.com/cardlake/cardlake/queries/insights/report"
)

// card fills in the model card.
func (r *run) card(days []scoredDay) error {
	c := r.Card
	c.Method = "isolation forest, tail probabilities and robust distances, with rules for known patterns"
	last := r.days[len(r.days)-1].date
	c.Window.From, c.Window.To = r.days[0].date.Time(), r.AsOf
	alerts, named := 0, 0
	for _, d := range days {
		alerts += len(d.alerts)
		for _, a := range d.alerts {
			if a.pattern != features.Unusual {
				named++
			}
		}
	}
	c.Window.Counts = []report.Count{{Name: "authorizations", N: int64(r.events())}, {Name: "days", N: int64(len(r.days))}, {Name: "days scored", N: int64(len(days))}}
	c.Summary = fmt.Sprintf("At most %d alerts a day, for somebody to look at. An alert says that an event is unusual and why; it is no proof of fraud.", r.budget)
	c.Evaluation = fmt.Sprintf("Each day is scored by what was known before it, by models refitted every %d days; the days to %s, exclusive, were learned from only.",
		r.refit, (r.days[0].date + date(r.warm)).String())
	c.Metrics = append(c.Metrics,
		report.Metric{Name: "alerts a day", Value: ratio(alerts, len(days)), Doc: "Mean over the days scored."},
		report.Metric{Name: "alerts with a known pattern", Value: ratio(named, alerts), Unit: report.Share, Doc: "The others are unusual in some other way."},
	)
	c.Notes = append(c.Notes,
		report.Note{Kind: report.Limit, Text: "An event's features know nothing of what comes later: the first events of an episode look like any others and are often not among the alerts."},
		report.Note{Kind: report.Limit, Text: fmt.Sprintf("An event on %s or before can get another score when rows of its day arrive late.", last)},
	)
	if err := r.judged(days); err != nil {
		return err
	}
	if len(days) > 0 {
		c.Figures = append(c.Figures, byDay(days), distribution(days))
	}
	return r.drift(days)
}

func ratio(part, whole int) float64 { return float64(part) / float64(max(whole, 1)) }

// rival is a way of picking alerts, as many a day as the job has.
type rival struct {
	name   string
	why    why
	scores []float64
	hits   int
}

// judged measures the alerts against what the tenant has reported.
func (r *run) judged(days []scoredDay) error {
	c := r.Card
	if n := len(days); n > 0 {
		if l := days[n-1].by(); l != nil && l.learned != nil {
			c.Method += ", and gradient-boosted trees trained on reported frauds"
			s := l.learned.model.Summary()
			c.Notes = append(c.Notes, report.Note{Kind: report.Info, Text: fmt.Sprintf(
				"The newest supervised model learned from %d reported frauds among %d kept events; events too young to have been reported count as unknown, not as genuine.", s.Frauds, s.Rows)})
		}
	}
	rivals := []rival{{name: "amount only", why: dear}, {name: "velocity only", why: frequent}}
	value := func(i int, v *features.Vector) float64 {
		return float64(v[[]features.Feature{features.CardDeviation, features.CardCount1H}[i]])
	}
	var ours, probabilities []float64
	var isFraud, known []bool
	alerts, hits, reported := 0, 0, 0
	covered := map[date]bool{}
	for _, d := range days {
		covered[d.date] = true
		for _, s := range d.candidates {
			l, _ := r.labels.everKnown(s.id)
			ours, isFraud = append(ours, s.total), append(isFraud, l.isFraud)
			for i := range rivals {
				rivals[i].scores = append(rivals[i].scores, value(i, &s.features))
			}
			if !math.IsNaN(s.probability) && s.why&sampled != 0 {
				probabilities, known = append(probabilities, s.probability), append(known, l.isFraud)
			}
		}
		for _, s := range d.alerts {
			alerts++
			l, ok := r.labels.everKnown(s.id)
			hits += truth(l.isFraud)
			reported += truth(ok)
		}
		for i := range rivals {
			rivals[i].hits += r.rivalHits(&d, i, value, rivals[i].why)
		}
	}
	frauds := 0
	for id := range r.labels.of {
		l, _ := r.labels.everKnown(id)
		frauds += truth(l.isFraud && covered[cardlake.DayOf(l.event)])
	}
	if frauds == 0 || alerts == 0 {
		c.Notes = append(c.Notes, report.Note{Kind: report.Limit, Text: "The tenant has reported no fraud on the days scored, so nobody knows how many alerts are right: report chargebacks, or confirm and dismiss alerts."})
		return nil
	}
	baselines := func(whole int) (out []report.Baseline) {
		for _, x := range rivals {
			out = append(out, report.Baseline{Name: x.name, Value: ratio(x.hits, whole)})
		}
		return out
	}
	c.Metrics = append(c.Metrics,
		report.Metric{Name: "alerts reported as fraud", Value: ratio(hits, alerts), Unit: report.Share, Better: report.Higher, Baselines: baselines(alerts), Doc: "Precision: of the alerts, those that the tenant reports as fraud. What has not been reported yet counts as wrong, so that it is low where little is reported."},
		report.Metric{Name: "reported frauds with an alert", Value: ratio(hits, frauds), Unit: report.Share, Better: report.Higher, Baselines: baselines(frauds), Doc: "Recall: of the frauds that the tenant reports on these days, those that had an alert."},
		report.Metric{Name: "reported frauds", Value: float64(frauds), Doc: "On the days scored."},
	)
	if reported > 0 {
		c.Metrics = append(c.Metrics, report.Metric{Name: "confirmed of the alerts reported on", Value: ratio(hits, reported), Unit: report.Share, Better: report.Higher, Doc: "Of the alerts of which the tenant has said anything, those that were fraud."})
	}
	return r.curves(ours, isFraud, rivals, frauds, probabilities, known)
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// rivalHits is how many frauds a rival finds on a day.
func (r *run) rivalHits(d *scoredDay, i int, value func(int, *features.Vector) float64, of why) (hits int) {
	var rows []scored
	for _, s := range d.candidates {
		if s.why&of != 0 {
			rows = append(rows, s)
		}
	}
	slices.SortFunc(rows, func(a, b scored) int {
		return cmp.Or(cmp.Compare(value(i, &b.features), value(i, &a.features)), slices.Compare(a.id[:], b.id[:]))
	})
	for _, s := range rows[:min(len(rows), len(d.alerts))] {
		l, _ := r.labels.everKnown(s.id)
		hits += truth(l.isFraud)
	}
	return hits
}

// curves draws precision over recall, and the calibration of probabilities.
func (r *run) curves(ours []float64, isFraud []bool, rivals []rival, frauds int, probabilities []float64, known []bool) error {
	kept := 0
	for _, f := range isFraud {
		kept += truth(f)
	}
	if kept == 0 || kept == len(isFraud) {
		return nil
	}
	figure := report.Figure{
		Name: "precision-recall", Kind: report.Line, Title: "Precision over recall",
		Caption: "Of the events above a score, the share that the tenant reports as fraud, over the share of all reported frauds that they are. Higher is better.",
		X:       report.Axis{Label: "recall", Unit: report.Share}, Y: report.Axis{Label: "precision", Unit: report.Share},
	}
	add := func(name string, scores []float64, isBaseline bool) error {
		points, err := anomaly.PRCurve(scores, isFraud, 200)
		if err != nil {
			return fmt.Errorf("precision-recall curve: %w", err)
		}
		s := report.Series{Name: name, IsBaseline: isBaseline}
		for _, p := range points {
			s.X, s.Y = append(s.X, p.Recall*ratio(kept, frauds)), append(s.Y, p.Precision)
		}
		figure.Series = append(figure.Series, s)
		return nil
	}
	if err := add("this job", ours, false); err != nil {
		return err
	}
	for _, x := range rivals {
		if err := add(x.name, x.scores, true); err != nil {
			return err
		}
	}
	r.Card.Figures = append(r.Card.Figures, figure)
	if n := slices.Index(known, true); n < 0 || len(known) < 100 {
		return nil
	}
	bins, err := anomaly.Calibration(probabilities, known, 10)
	if err != nil {
		return fmt.Errorf("calibration: %w", err)
	}
	s := report.Series{Name: "probability of fraud"}
	for _, b := range bins {
		s.X, s.Y, s.N = append(s.X, b.Mean), append(s.Y, b.Observed), append(s.N, float64(b.Rows))
	}
	r.Card.Figures = append(r.Card.Figures, report.Figure{
		Name: "calibration", Kind: report.Calibration, Title: "Calibration", Caption: "Of sampled events that were given a probability, the share that the tenant reports as fraud by now. On the diagonal both are equal.",
		X: report.Axis{Label: "probability of fraud", Unit: report.Share}, Y: report.Axis{Label: "reported as fraud", Unit: report.Share},
		Series: []report.Series{s}, References: []report.Reference{{Kind: report.Diagonal}},
	})
	return nil
}

// by is what scored the day, nil if nothing was scored.
func (d *scoredDay) by() *judge {
	if len(d.candidates) == 0 {
		return nil
	}
	return d.candidates[0].by
}

// byDay shows how many alerts of which pattern each day has.
func byDay(days []scoredDay) report.Figure {
	f := report.Figure{
		Name: "alerts-by-day", Kind: report.Bar, Title: "Alerts by day and pattern", Caption: "How many alerts of each pattern the days scored have. A pattern that is suddenly there is worth a look.",
		X: report.Axis{Label: "day"}, Y: report.Axis{Label: "alerts"},
	}
	for _, d := range days {
		f.X.Categories = append(f.X.Categories, d.date.String())
	}
	for _, p := range append(features.Known(), features.Unusual) {
		s := report.Series{Name: string(p)}
		for _, d := range days {
			n := 0
			for _, a := range d.alerts {
				n += truth(a.pattern == p)
			}
			s.Y = append(s.Y, float64(n))
		}
		f.Series = append(f.Series, s)
	}
	return f
}

// distribution shows the scores of alerts beside those of what is usual.
func distribution(days []scoredDay) report.Figure {
	var usual, alerts []float64
	for _, d := range days {
		for _, s := range d.candidates {
			if s.why&sampled != 0 {
				usual = append(usual, s.total)
			}
		}
		for _, s := range d.alerts {
			alerts = append(alerts, s.total)
		}
	}
	top := 1.0
	for _, x := range append(slices.Clone(usual), alerts...) {
		top = max(top, x)
	}
	const bins = 40
	f := report.Figure{
		Name: "scores", Kind: report.Line, Title: "Scores of alerts and of sampled events", Caption: "The less the two overlap, the more alerts stand out from what is usual.",
		X: report.Axis{Label: "score: how surprising, in nats"}, Y: report.Axis{Label: "share of the events", Unit: report.Share},
	}
	for _, x := range []struct {
		name   string
		values []float64
	}{{"sampled events", usual}, {"alerts", alerts}} {
		s := report.Series{Name: x.name, IsBaseline: x.name != "alerts", X: make([]float64, bins), Y: make([]float64, bins)}
		for i := range bins {
			s.X[i] = (float64(i) + .5) * top / bins
		}
		for _, v := range x.values {
			s.Y[min(int(v/top*bins), bins-1)] += 1 / float64(len(x.values))
		}
		f.Series = append(f.Series, s)
	}
	return f
}

// drift compares sampled events with those of the run before.
func (r *run) drift(days []scoredDay) error {
	var scores, amounts []float64
	for _, d := range days {
		for _, s := range d.candidates {
			if s.why&sampled != 0 {
				scores, amounts = append(scores, s.total), append(amounts, float64(s.features[features.Amount]))
			}
		}
	}
	for _, x := range []struct {
		name   string
		values []float64
	}{{"score", scores}, {"logarithm of the amount", amounts}} {
		if len(x.values) == 0 {
			continue
		}
		p, err := report.NewProfile(x.name, x.values)
		if err != nil {
			return err
		}
		r.Card.Profiles = append(r.Card.Profiles, p)
		if r.Previous == nil {
			continue
		}
		if before, ok := r.Previous.Card.Profile(x.name); ok {
			d, err := before.Drift(x.values)
			if err != nil {
				return err
			}
			r.Card.Drift = append(r.Card.Drift, d)
		}
	}
	return nil
}
