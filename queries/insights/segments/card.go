package segments

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/queries/segment"
)

// weakSilhouette is below what Kaufman and Rousseeuw (Finding Groups in Data, 1990, table 4) call a structure
// at all.
const weakSilhouette = 0.25

// fill fills in the model card. It names no customer.
func (r *run) fill(ctx context.Context) error {
	r.Report("measuring", 0, 0)
	c := r.Card
	c.Method = "k-means++ with guided swaps on RFM and behaviour features; number of segments by silhouette and BIC"
	if r.method == segment.ByMixture {
		c.Method = "Gaussian mixture on RFM and behaviour features; number of segments by silhouette and BIC"
	}
	c.Summary = fmt.Sprintf("%d segments of customers who behave alike, named by what sets them apart from all customers of the tenant. For addressing groups; not for decisions about a single person.", len(r.ids))
	c.Evaluation = fmt.Sprintf("Numbers of segments from %d to %d were tried on all customers. Silhouettes are those of a sample of at most 10,000, BIC that of mixtures fitted to at most 20,000. There is no truth to compare with: baselines are the usual divisions by rank.", r.least, r.most)
	c.Window.From, c.Window.To = r.from, r.until
	if c.Window.From.Before(r.First) {
		c.Window.From = r.First
	}
	c.Window.Counts = []report.Count{{Name: "customers", N: int64(len(r.customers))}}
	if r.drift != nil {
		c.Window.Counts = append(c.Window.Counts,
			report.Count{Name: "customers of the run before", N: int64(r.drift.Returned)}, report.Count{Name: "customers who are new", N: int64(r.drift.Joined)})
	}
	if err := r.measure(ctx); err != nil {
		return err
	}
	if err := r.measureDrift(); err != nil {
		return err
	}
	r.note()
	return r.draw(ctx)
}

// measure adds the metrics beside their baselines.
func (r *run) measure(ctx context.Context) error {
	k := len(r.ids)
	one, chosen := r.choice.Candidates[0], r.choice.Candidates[0]
	for _, candidate := range r.choice.Candidates[1:] {
		if candidate.K == r.choice.Mixture.Means.Rows {
			chosen = candidate
		}
	}
	silhouette := report.Metric{
		Name: "silhouette", Value: r.choice.Silhouette, Better: report.Higher,
		Doc: "How much nearer customers are to their own segment than to the next one, from -1 to 1.",
	}
	explained := report.Metric{
		Name: "explained", Value: 1 - r.choice.SSE/one.SSE, Unit: report.Share, Better: report.Higher,
		Doc: "Share of the variance of the features that the segments account for.",
	}
	rfm, tiers, err := r.baselines()
	if err != nil {
		return err
	}
	widths, err := segment.Silhouettes(ctx, r.x, 0, r.seed, append(rfm[:len(rfm):len(rfm)], tiers...)...)
	if err != nil {
		return err
	}
	for i := range rfm {
		silhouette.Baselines = append(silhouette.Baselines, report.Baseline{Name: "RFM grid of quintiles", Value: widths[i]})
	}
	for i, labels := range tiers {
		sse, err := segment.SSE(r.x, labels)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d tiers by spending", k)
		silhouette.Baselines = append(silhouette.Baselines, report.Baseline{Name: name, Value: widths[len(rfm)+i]})
		explained.Baselines = append(explained.Baselines, report.Baseline{Name: name, Value: 1 - sse/one.SSE})
	}
	stability, err := segment.Stability(ctx, r.x, k, segment.KMeansConfig{Seed: r.seed})
	var few *segment.TooFewError // of which halves may have
	if err != nil && !errors.As(err, &few) {
		return err
	}
	if err == nil {
		r.Card.Metrics = append(r.Card.Metrics, report.Metric{
			Name: "stability", Value: stability, Better: report.Higher,
			Doc: "Agreement of the divisions that two halves of the customers give (adjusted Rand index): 1 is the same, 0 is chance.",
		})
	}
	r.Card.Metrics = append(r.Card.Metrics, silhouette, explained, report.Metric{
		Name: "BIC", Value: chosen.BIC, Better: report.Lower, Baselines: []report.Baseline{{Name: "one segment", Value: one.BIC}},
		Doc: "Bayesian information criterion of a Gaussian mixture of as many components: the lower, the better they describe the customers.",
	}, report.Metric{Name: "segments", Value: float64(k), Doc: "Number of segments."})
	return nil
}

// baselines are the usual divisions: customers ranked by recency, frequency and spending and cut
// in five each, and cut by spending into as many tiers as there are segments. Each is missing where its features are.
func (r *run) baselines() (rfm, tiers [][]int32, err error) {
	var grid []int
	spending := -1
	for j, name := range r.preparation.Kept() {
		switch name {
		case columns[recency].Name, columns[frequency].Name:
			grid = append(grid, j)
		case columns[monetary].Name:
			grid, spending = append(grid, j), j
		}
	}
	if len(grid) == 3 {
		labels, err := segment.Grid(r.x, grid, 5)
		if err != nil {
			return nil, nil, err
		}
		rfm = append(rfm, labels)
	}
	if spending >= 0 && len(r.ids) > 1 {
		labels, err := segment.Grid(r.x, []int{spending}, len(r.ids))
		if err != nil {
			return nil, nil, err
		}
		tiers = append(tiers, labels)
	}
	return rfm, tiers, nil
}

// measureDrift compares with the run before: who is where, and how features are spread.
func (r *run) measureDrift() error {
	c := r.Card
	if d := r.drift; d != nil {
		if d.Returned > 0 {
			c.Drift = append(c.Drift, report.NewDrift("customers who changed segments", report.Moved, float64(d.Moved)/float64(d.Returned)),
				report.NewDrift("segments of those who returned", report.ARI, d.Agreement))
		}
		c.Drift = append(c.Drift, report.NewDrift("sizes of segments", report.PSI, d.PSI))
	}
	values := make([]float64, 0, r.raw.Rows)
	for j, column := range columns {
		values = values[:0]
		for i := range r.raw.Rows {
			if v := r.raw.Row(i)[j]; !math.IsNaN(v) {
				values = append(values, v)
			}
		}
		if len(values) == 0 {
			continue
		}
		if r.Previous != nil {
			if old, known := r.Previous.Card.Profile(column.Name); known {
				drift, err := old.Drift(values)
				if err != nil {
					return err
				}
				c.Drift = append(c.Drift, drift)
			}
		}
		profile, err := report.NewProfile(column.Name, values)
		if err != nil {
			return err
		}
		c.Profiles = append(c.Profiles, profile)
	}
	return nil
}

// note says what the segments do not cover, and what went badly.
func (r *run) note() {
	add := func(kind report.NoteKind, format string, args ...any) {
		r.Card.Notes = append(r.Card.Notes, report.Note{Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	add(report.Limit, "Customers without a purchase or withdrawal in the %d days of the window are in no segment. Amounts are of approved authorisations less reversals, in %s.", r.days, r.data.currency)
	if r.foreign > 0 {
		add(report.Limit, "%d approved authorisations in other currencies than %s are left out: amounts are not converted. Parameter currency chooses another.", r.foreign, r.data.currency)
	}
	if r.tooMuch {
		add(report.Warning, "Sums of more than %.0f %s stand as that, the most that a row takes.", insights.MostMoney, r.data.currency)
	}
	if r.anonymous > 0 {
		add(report.Limit, "%d approved authorisations without a customer are left out.", r.anonymous)
	}
	if r.home != "" {
		add(report.Info, "Cross-border means outside %s, where most purchases on the spot were made.", r.home)
	}
	for _, f := range r.preparation.Columns {
		switch {
		case f.Dropped == "constant":
			add(report.Info, "Feature %s is the same for all customers and is left out.", f.Name)
		case f.Dropped != "":
			add(report.Info, "Feature %s is unknown for more than half of the customers and is left out.", f.Name)
		case f.Missing > 0:
			add(report.Info, "Feature %s is unknown for %d customers, who count as in the middle.", f.Name, f.Missing)
		}
	}
	if r.choice.Silhouette < weakSilhouette {
		add(report.Warning, "The segments run into each other (silhouette %.2f, below %.2f): read them as a convenient cut, not as kinds of people.", r.choice.Silhouette, weakSilhouette)
	}
	var fresh, gone []string
	for s, k := range r.kept {
		if k.Old < 0 && r.drift != nil {
			fresh = append(fresh, r.names[s])
		}
	}
	for _, o := range r.retired {
		gone = append(gone, r.before.segments[o].name)
	}
	if len(fresh) > 0 {
		add(report.Info, "New since the last run: %s.", strings.Join(fresh, "; "))
	}
	if len(gone) > 0 {
		add(report.Info, "Gone since the last run: %s.", strings.Join(gone, "; "))
	}
	if r.Previous != nil && len(r.before.known) == 0 {
		add(report.Warning, "The run before has no segments in %s to compare with: all segments are new.", r.data.currency)
	}
}

var _ insights.Job = (*Job)(nil)
