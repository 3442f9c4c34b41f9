package predictions

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/queries/predict"
)

// fill fills in the model card. It names no customer.
func fill(t *insights.Task, d *data, m *measured, next *upcoming, f *forecasts) error {
	c := t.Card
	c.Method = f.name + ", gamma-gamma, and a mixture of habits for the next purchase"
	c.Summary = "For each customer the purchases and the value expected in 30, 60 and 90 days, the probability that the customer still buys, and the likeliest category and time of the next purchase. " +
		"Good for sums over many customers and for an order among them; of a single customer, a mean is all they are."
	c.Evaluation = fmt.Sprintf("The last %d days were held out: models of the %d days before said what %d customers would do in them. The next purchase was backtested on a rolling origin over the last 40 %% of the purchases, in %d parts.",
		m.span, m.split/secondsPerDay-d.first, m.holdout.Customers, len(next.folds))
	c.Window.From, c.Window.To = time.Unix(d.visits.Time[0], 0).UTC(), t.AsOf
	for _, s := range d.visits.Time {
		if at := time.Unix(s, 0).UTC(); at.Before(c.Window.From) {
			c.Window.From = at
		}
	}
	c.Window.Counts = []report.Count{
		{Name: "customers", N: int64(len(d.customers))}, {Name: "purchases", N: int64(len(d.visits.Time))},
		{Name: "days", N: d.days()}, {Name: "merchant categories", N: int64(len(d.mccs) - 1)},
		{Name: "distinct histories", N: int64(f.groups)}, {Name: "purchases left out", N: d.leftOut},
	}
	c.Metrics = append(c.Metrics, m.metrics(d.currency)...)
	c.Metrics = append(c.Metrics, next.metrics()...)
	c.Metrics = append(c.Metrics, f.metrics(len(d.customers))...)
	c.Notes = notes(d, m, next, f)
	c.Figures = figures(m, next, f)
	return f.drift(t)
}

// metrics are those of the held-out days.
func (m *measured) metrics(currency string) []report.Metric {
	h := m.holdout
	both := func(same, average float64) []report.Baseline {
		return []report.Baseline{{Name: "same rate as before", Value: same}, {Name: "mean of all", Value: average}}
	}
	metrics := []report.Metric{
		// First, because what is expected is a mean, and of all forecasts the mean has the least
		// squared error; the least absolute error is the median's, which for a seldom customer is 0.
		{Name: "error of a customer's purchases (RMSE)", Value: h.Model.RMSE, Unit: "purchases", Better: report.Lower, Baselines: both(h.SameRate.RMSE, h.Average.RMSE),
			Doc: "Root of the mean squared difference between the purchases that were expected of a customer in the held-out days and those that were: what a mean, as forecasts here are, is to be judged by."},
		{Name: "error of a customer's purchases (MAE)", Value: h.Model.MAE, Unit: "purchases", Better: report.Lower, Baselines: both(h.SameRate.MAE, h.Average.MAE),
			Doc: "Mean absolute difference. It favours forecasts of the middle, such as 0 for who buys seldom, over those of the mean."},
		{Name: "correlation with what was", Value: h.Correlation,
			Doc: "Of what was expected of customers and what they did, over the customers."},
	}
	if h.Actual > 0 {
		metrics = append(metrics, report.Metric{Name: "expected over actual", Value: h.Expected / h.Actual,
			Doc: "All that was expected of the customers divided by what they did: 1 is right."})
	}
	if m.valued > 0 {
		metrics = append(metrics, report.Metric{Name: "error of a customer's value", Value: m.valueMAE, Unit: currency, Better: report.Lower,
			Baselines: []report.Baseline{{Name: "same rate as before", Value: m.sameMAE}},
			Doc:       "Mean absolute difference between the value that was expected of a customer in the held-out days and what was spent."})
		if m.valueSpent > 0 {
			metrics = append(metrics, report.Metric{Name: "expected over actual value", Value: m.valueExpected / m.valueSpent,
				Doc: "All value that was expected divided by what was spent: 1 is right."})
		}
	}
	return metrics
}

// mean is that of a number of each fold, weighed by how many predictions it has.
func (u *upcoming) mean(of func(predict.Fold) (value float64, n int)) float64 {
	sum, count := 0.0, 0
	for _, f := range u.folds {
		v, n := of(f)
		sum += v * float64(n)
		count += n
	}
	return sum / float64(max(1, count))
}

func (u *upcoming) metrics() []report.Metric {
	if len(u.folds) == 0 {
		return nil
	}
	category := func(of func(predict.Accuracy) float64) (float64, []report.Baseline) {
		by := func(which func(predict.Fold) predict.Accuracy) float64 {
			return u.mean(func(f predict.Fold) (float64, int) { return of(which(f)), f.Predictions })
		}
		return by(func(f predict.Fold) predict.Accuracy { return f.Model }), []report.Baseline{
			{Name: "same as last time", Value: by(func(f predict.Fold) predict.Accuracy { return f.Last })},
			{Name: "the customer's most frequent", Value: by(func(f predict.Fold) predict.Accuracy { return f.Own })},
			{Name: "the most frequent of all", Value: by(func(f predict.Fold) predict.Accuracy { return f.Frequent })},
		}
	}
	var metrics []report.Metric
	for _, x := range []struct {
		name, unit, doc string
		better          report.Better
		of              func(predict.Accuracy) float64
	}{
		{"next category right", report.Share, "Share of purchases whose category was the likeliest one.", report.Higher, func(a predict.Accuracy) float64 { return a.Top1 }},
		{"next category among three", report.Share, "Share of purchases whose category was one of the three likeliest.", report.Higher, func(a predict.Accuracy) float64 { return a.Top3 }},
		{"next category, mean of 1/rank", "", "1 divided by the place of the category that came among all by likelihood.", report.Higher, func(a predict.Accuracy) float64 { return a.MRR }},
		{"next category, log loss", "nats", "Mean of -log of the probability that the category which came was given.", report.Lower, func(a predict.Accuracy) float64 { return a.LogLoss }},
	} {
		value, baselines := category(x.of)
		metrics = append(metrics, report.Metric{Name: x.name, Value: value, Unit: x.unit, Better: x.better, Baselines: baselines, Doc: x.doc})
	}
	gap := func(of func(predict.Fold) float64, unit float64) float64 {
		return u.mean(func(f predict.Fold) (float64, int) { return of(f) / unit, f.GapPredictions })
	}
	return append(metrics,
		report.Metric{Name: "error of the time of the next purchase", Value: gap(func(f predict.Fold) float64 { return f.GapModel }, 3600), Unit: "hours", Better: report.Lower,
			Baselines: []report.Baseline{
				{Name: "the customer's last gap", Value: gap(func(f predict.Fold) float64 { return f.GapLast }, 3600)},
				{Name: "the customer's mean gap", Value: gap(func(f predict.Fold) float64 { return f.GapMean }, 3600)},
			},
			Doc: "Mean absolute difference between the time at which the next purchase was expected, half of all being earlier, and the time at which it came."},
		report.Metric{Name: "next purchases in the likely time", Value: gap(func(f predict.Fold) float64 { return f.GapInside }, 1), Unit: report.Share,
			Doc: "Share of purchases between the times before which one tenth and nine tenths were expected: 80 % is right."})
}

func (f *forecasts) metrics(customers int) []report.Metric {
	n := float64(customers)
	metrics := []report.Metric{{
		Name: "log-likelihood of a customer", Value: f.fit.LogLikelihood / n, Better: report.Higher,
		Baselines: []report.Baseline{{Name: f.other, Value: f.otherFit.LogLikelihood / n}},
		Doc:       "How well the model of counts explains the histories; the one of the greater likelihood is used.",
	}}
	if f.value != nil {
		metrics = append(metrics, report.Metric{Name: "correlation of number and value of purchases", Value: f.correlation,
			Doc: "Over the customers; the model of values takes it to be 0."})
	}
	return metrics
}

// jump is how far from what was expected all purchases of the held-out days may be before that is
// what the errors come from.
const jump = 1.2

func notes(d *data, m *measured, next *upcoming, f *forecasts) []report.Note {
	n := []report.Note{
		{Kind: report.Info, Text: "Purchases are approved authorisations that were not reversed in full, without cash. Refunds, clearings and chargebacks change nothing."},
		{Kind: report.Info, Text: "The model of counts is " + f.String() + "."},
		{Kind: report.Limit, Text: "The models know no season, no price and no campaign: a forecast says what follows if customers go on as they did."},
	}
	add := func(kind report.NoteKind, text string, args ...any) {
		n = append(n, report.Note{Kind: kind, Text: fmt.Sprintf(text, args...)})
	}
	if h := m.holdout; h.Expected > 0 && (h.Actual/h.Expected > jump || h.Actual/h.Expected < 1/jump) {
		add(report.Warning, "In the held-out days customers made %.2f times the purchases that their past let expect. No method here foretells such a change, be it a campaign, a holiday or rows that came all at once: the errors say little of ordinary days.", h.Actual/h.Expected)
	}
	if d.leftOut > 0 {
		add(report.Info, "Of a customer's purchases of one UTC day the first %d count: %d were left out, so that bursts do not decide the rates.", d.daily, d.leftOut)
	}
	if longest := int64(horizons[len(horizons)-1]); d.days() < 2*longest {
		add(report.Limit, "The history is %d days: what is expected in %d days reaches far beyond what could be measured.", d.days(), longest)
	}
	if _, ok := f.model.(predict.BGNBD); ok {
		add(report.Limit, "By this model customers leave only after a purchase: one who purchased once is alive with certainty.")
	}
	if f.value == nil {
		add(report.Limit, "Too few purchases have a billed amount in one currency: no value is expected of anyone.")
	} else {
		add(report.Info, "Values are in %s, the billing currency of most purchases; a customer without purchases in it has none. The value of a purchase is gamma-gamma with p = %.4g, q = %.4g, gamma = %.4g.", d.currency, f.value.P, f.value.Q, f.value.Gamma)
	}
	if math.Abs(f.correlation) > .3 {
		add(report.Warning, "The number and the value of purchases correlate by %.2f, where the model of values takes them to be independent: values of frequent customers are off.", f.correlation)
	}
	for _, fit := range []struct {
		name string
		predict.Fit
	}{{f.name, f.fit}, {"gamma-gamma", f.valueFit}} {
		if fit.Regularised {
			add(report.Info, "The likelihood of %s has no maximum inside, as with customers who are all alike or never leave: a weak prior chose the parameters.", fit.name)
		}
		if fit.Customers > 0 && !fit.Converged {
			add(report.Warning, "The fit of %s did not settle.", fit.name)
		}
	}
	if h := m.holdout; h.Model.MAE > min(h.SameRate.MAE, h.Average.MAE) {
		add(report.Warning, "In the held-out days a simple expectation was closer to what customers did than the model.")
	}
	if next.why != "" {
		add(report.Limit, "Nothing is said of the next purchase: %s.", next.why)
	}
	return n
}

// figures are the pictures of the card.
func figures(m *measured, next *upcoming, f *forecasts) []report.Figure {
	names := make([]string, len(m.holdout.Bins))
	expected, actual := report.Series{Name: "expected"}, report.Series{Name: "actual"}
	for i, b := range m.holdout.Bins {
		switch {
		case b.To == math.MaxInt:
			names[i] = strconv.Itoa(b.From) + "+"
		case b.To == b.From:
			names[i] = strconv.Itoa(b.From)
		default:
			names[i] = fmt.Sprintf("%d to %d", b.From, b.To)
		}
		expected.Y, actual.Y = append(expected.Y, b.Expected), append(actual.Y, b.Actual)
	}
	alive, _ := report.Binned("customers", report.Edges(0, 1, 20), f.scores.Alive)
	out := []report.Figure{
		{
			Name: "forecast", Kind: report.Line, Title: "Forecast against actual",
			Caption: fmt.Sprintf("Purchases after the first of the customers known before the last %d days, added up; right of the line the model had not seen them.", m.span),
			X:       report.Axis{Label: "day", Scale: report.Time}, Y: report.Axis{Label: "purchases so far"},
			Series:     []report.Series{report.Curve("actual", m.days, m.soFar), report.Curve("expected by "+m.name, m.days, m.forecastBy)},
			References: []report.Reference{{Kind: report.Vertical, At: float64(m.split), Label: "held out from here"}},
		},
		{
			Name: "frequency", Kind: report.Bar, Title: "Purchases by how many came before",
			Caption: fmt.Sprintf("Mean purchases of a customer in the %d held-out days, by the number before them.", m.span),
			X:       report.Axis{Label: "purchases after the first, before the held-out days", Categories: names}, Y: report.Axis{Label: "purchases of a customer"},
			Series: []report.Series{expected, actual},
		},
		{
			Name: "calibration", Kind: report.Calibration, Title: "What was expected and what came",
			Caption: "Tenths of the customers by what was expected of them in the held-out days: on the diagonal, the forecast is right.",
			X:       report.Axis{Label: "expected purchases"}, Y: report.Axis{Label: "actual purchases"},
			Series: []report.Series{m.tenths()},
		},
		{
			Name: "alive", Kind: report.Histogram, Title: "Who still buys",
			Caption: "Customers by the probability that they have not left.",
			X:       report.Axis{Label: "probability", Unit: report.Share}, Y: report.Axis{Label: "customers"},
			Series: []report.Series{alive},
		},
	}
	if len(next.folds) == 0 {
		return out
	}
	series := [4]report.Series{{Name: "model"}, {Name: "same as last time"}, {Name: "the customer's most frequent"}, {Name: "the most frequent of all"}}
	var parts []string
	for i, fold := range next.folds {
		parts = append(parts, "part "+strconv.Itoa(i+1))
		for k, a := range []predict.Accuracy{fold.Model, fold.Last, fold.Own, fold.Frequent} {
			series[k].Y = append(series[k].Y, a.Top1)
		}
	}
	return append(out, report.Figure{
		Name: "next-category", Kind: report.Bar, Title: "Next category",
		Caption: "Share of purchases whose category was predicted, in each part of the rolling origin, beside simple rules.",
		X:       report.Axis{Label: "part", Categories: parts}, Y: report.Axis{Label: "predicted", Unit: report.Share},
		Series: series[:],
	})
}

// drift adds the distributions to the card, and how far they are from those of the run before.
func (f *forecasts) drift(t *insights.Task) error {
	for _, x := range []struct {
		name   string
		values []float64
	}{{"probability alive", f.scores.Alive}, {"purchases in 30 days", f.scores.Expected[0]}} {
		profile, err := report.NewProfile(x.name, x.values)
		if err != nil {
			return err
		}
		t.Card.Profiles = append(t.Card.Profiles, profile)
		if t.Previous == nil {
			continue
		}
		if before, ok := t.Previous.Card.Profile(x.name); ok {
			moved, err := before.Drift(x.values)
			if err != nil {
				return err
			}
			t.Card.Drift = append(t.Card.Drift, moved)
		}
	}
	return nil
}
