package recommendations

import (
	"fmt"
	"time"

	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/queries/recommend"
)

// titles are how the card names the kinds of lists.
var titles = map[string]string{"all": "all merchants", "new": "new merchants"}

// fill fills in the model card. It names no merchant and no customer.
func fill(t *insights.Task, p parameters, s *Settings, d *data, r *result, w *written) error {
	c := t.Card
	c.Method = "EASE, item-kNN, own habit and popularity, blended by validated weights"
	c.Summary = "Merchants for each customer, the best first: of all merchants, and of those where the customer has not bought; and the tenant's offers in an order of each customer's own. " +
		"Scores compare within one list only."
	c.Evaluation = fmt.Sprintf("Purchases from %s to %s were held out and compared with lists made from those before; weights and EASE's lambda were chosen by the %.3g days before that. Of customers who bought in a part, at most %d were looked at. What the tenant allows and denies narrows the lists only after that.",
		day(d.measure), day(d.until), d.measure.Sub(d.choose).Hours()/24, sampled)
	c.Window.From, c.Window.To = d.from, d.until
	c.Window.Counts = []report.Count{
		{Name: "customers", N: int64(len(d.customers))}, {Name: "merchants", N: int64(len(d.merchants))},
		{Name: "customers with a list", N: int64(w.customers)}, {Name: "pairs of customer and merchant", N: int64(len(d.pairs.customer))},
		{Name: "offers", N: int64(w.offers)},
	}
	for _, k := range r.kinds {
		c.Metrics = append(c.Metrics, k.metrics(p)...)
	}
	c.Metrics = append(c.Metrics, report.Metric{Name: "lambda of EASE", Value: r.lambda, Doc: "Regularisation: the larger, the closer to popularity."})
	c.Figures = figures(p, r)
	c.Notes = []report.Note{
		{Kind: report.Limit, Text: fmt.Sprintf("Merchants of fewer than %d customers, and all but the %d of the most customers, are in no list.", p.customers, p.merchants)},
		{Kind: report.Limit, Text: "Categories in without_mccs are neither read nor recommended: by default cash, bills, and what tells of health, faith, politics or debts."},
		{Kind: report.Limit, Text: "Approved authorizations are purchases here, whether they were reversed later or not. What was bought is compared, not what an advertisement changed: only an experiment tells that."},
	}
	for _, k := range r.kinds {
		if k.measured[0].NDCG < k.measured[1+popularityAt].NDCG {
			c.Notes = append(c.Notes, report.Note{Kind: report.Warning, Text: "Lists of " + titles[k.mode] + " were worse than those of the most popular merchants."})
		}
	}
	if w.unknown > 0 {
		c.Notes = append(c.Notes, report.Note{Kind: report.Warning, Text: fmt.Sprintf("%d of %d offers are good at no merchant that may be recommended: nobody gets them.", w.unknown, w.offers)})
	}
	if n := len(s.Offers) - w.offers; n > 0 {
		c.Notes = append(c.Notes, report.Note{Kind: report.Info, Text: fmt.Sprintf("%d of %d offers in the settings are not good on the day of the newest event.", n, len(s.Offers))})
	}
	var merchants []float64
	for u := range min(len(d.customers), sampled) {
		items, _ := r.models.history.Row(u)
		merchants = append(merchants, float64(len(items)))
	}
	for _, profile := range []struct {
		name   string
		values []float64
	}{{"merchants of a customer", merchants}, {"score of the first new merchant", w.first}} {
		if err := drift(t, profile.name, profile.values); err != nil {
			return err
		}
	}
	return nil
}

// drift adds the distribution to the card, and how far it is from that of the run before.
func drift(t *insights.Task, name string, values []float64) error {
	if len(values) == 0 {
		return nil
	}
	profile, err := report.NewProfile(name, values)
	if err != nil {
		return err
	}
	t.Card.Profiles = append(t.Card.Profiles, profile)
	if t.Previous == nil {
		return nil
	}
	if before, ok := t.Previous.Card.Profile(name); ok {
		moved, err := before.Drift(values)
		if err != nil {
			return err
		}
		t.Card.Drift = append(t.Card.Drift, moved)
	}
	return nil
}

func day(at time.Time) string { return at.UTC().Format("2006-01-02 15:04") }

// metrics are those of the lists beside the simple methods'.
func (k *kind) metrics(p parameters) []report.Metric {
	of := func(get func(recommend.Metrics) float64) (float64, []report.Baseline) {
		var simple []report.Baseline
		for at := popularityAt; at < k.methods(); at++ {
			simple = append(simple, report.Baseline{Name: methodNames[at], Value: get(k.measured[1+at])})
		}
		return get(k.measured[0]), simple
	}
	var all []report.Metric
	add := func(name, unit, doc string, better report.Better, get func(recommend.Metrics) float64) {
		value, simple := of(get)
		m := report.Metric{Name: name + ", " + titles[k.mode], Value: value, Unit: unit, Better: better, Doc: doc}
		if better != "" {
			m.Baselines = simple
		}
		all = append(all, m)
	}
	at := fmt.Sprintf("@%d", p.length)
	add("recall"+at, report.Share, "Part of the merchants where a customer then bought that was in the list.", report.Higher, func(m recommend.Metrics) float64 { return m.Recall })
	add("ndcg"+at, "", "1 if the list begins with the merchants where the customer then bought, 0 if it has none.", report.Higher, func(m recommend.Metrics) float64 { return m.NDCG })
	add("hit rate"+at, report.Share, "Part of customers who then bought at a merchant of the list.", report.Higher, func(m recommend.Metrics) float64 { return m.HitRate })
	add("coverage"+at, report.Share, "Part of the merchants that is in anybody's list.", "", func(m recommend.Metrics) float64 { return m.Coverage })
	add("novelty"+at, "bits", "Mean of -log2 of the part of customers who knew a listed merchant: 0 is what everybody knows.", "", func(m recommend.Metrics) float64 { return m.Novelty })
	if popular := k.measured[1+popularityAt].HitRate; popular > 0 {
		all = append(all, report.Metric{
			Name: "lift" + at + ", " + titles[k.mode], Value: k.measured[0].HitRate / popular, Better: report.Higher,
			Baselines: []report.Baseline{{Name: methodNames[popularityAt], Value: 1}},
			Doc:       "The hit rate, as a multiple of that of the most popular merchants.",
		})
	}
	all = append(all, report.Metric{Name: "customers measured, " + titles[k.mode], Value: float64(k.measured[0].Users), Doc: "Customers who bought in the part of the window that was held out."})
	return all
}

func figures(p parameters, r *result) []report.Figure {
	zero := 0.0
	recall := report.Figure{
		Name: "recall", Kind: report.Bar, Title: fmt.Sprintf("Recall of lists of %d", p.length),
		Caption: "Part of the merchants where customers then bought that each method had listed. The blend should be above each of its methods.",
		X:       report.Axis{Label: "method", Categories: append([]string{"blend"}, methodNames...)},
		Y:       report.Axis{Label: "recall", Unit: report.Share, Min: &zero},
	}
	weights := report.Figure{
		Name: "blend", Kind: report.Bar, Title: "What the lists rest on",
		Caption: "Each method's weight in the blend, as chosen by the days before those that measure it.",
		X:       report.Axis{Label: "method", Categories: methodNames},
		Y:       report.Axis{Label: "weight", Unit: report.Share, Min: &zero},
	}
	places := report.Figure{
		Name: "places", Kind: report.Line, Title: "Customers who then bought, by place in the list",
		Caption: "The first places should be right most often, and more often than those of a list of the most popular merchants.",
		X:       report.Axis{Label: "place"}, Y: report.Axis{Label: "customers who bought there", Unit: report.Share, Min: &zero},
	}
	for _, k := range r.kinds {
		values := make([]float64, 1+len(methodNames))
		for n, m := range k.measured {
			values[n] = m.Recall
		}
		recall.Series = append(recall.Series, report.Series{Name: titles[k.mode], Y: values})
		weights.Series = append(weights.Series, report.Series{Name: titles[k.mode], Y: append(append([]float64{}, k.weights...), make([]float64, len(methodNames)-len(k.weights))...)})
		at := make([]float64, p.length)
		for n := range at {
			at[n] = float64(n + 1)
		}
		places.Series = append(places.Series,
			report.Series{Name: titles[k.mode], X: at, Y: k.hits},
			report.Series{Name: methodNames[popularityAt] + ", " + titles[k.mode], X: at, Y: k.popular, IsBaseline: true})
	}
	return []report.Figure{recall, places, weights}
}
