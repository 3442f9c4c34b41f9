package segments

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/report"
)

// mapPoints is how many customers of all segments the map shows, about.
const mapPoints = 1500

// pastRuns is how many runs before this one the figures over time show.
const pastRuns = 24

// draw adds the figures.
func (r *run) draw(ctx context.Context) error {
	r.Card.Figures = append(r.Card.Figures, r.segmentMap(), r.heat(), r.sizes())
	r.Card.Figures = append(r.Card.Figures, r.byNumber()...)
	over, err := r.overTime(ctx)
	r.Card.Figures = append(r.Card.Figures, over...)
	return err
}

// segmentMap shows every so-manieth customer on the plane of the first two components.
func (r *run) segmentMap() report.Figure {
	f := report.Figure{
		Name: "segment-map", Kind: report.Scatter, Title: "Map of segments",
		Caption: fmt.Sprintf("A sample of customers, near to each other where they behave alike; the two axes show %.0f%% of their differences.",
			100*(r.plane.Explained[0]+r.plane.Explained[1])),
		X: report.Axis{Label: "first principal component"}, Y: report.Axis{Label: "second principal component"},
	}
	series := make([]report.Series, len(r.names))
	for s, name := range r.names {
		series[s].Name = name
	}
	// At least one of each segment, and of large ones no more than their share.
	step := max(1, len(r.customers)/mapPoints)
	seen := make([]int, len(series))
	for i, s := range r.choice.Labels {
		if seen[s]%step == 0 {
			u, v := r.plane.Project(r.x.Row(i))
			series[s].X, series[s].Y = append(series[s].X, u), append(series[s].Y, v)
		}
		seen[s]++
	}
	f.Series = series
	return f
}

// heat says how each segment leans in each feature.
func (r *run) heat() report.Figure {
	f := report.Figure{
		Name: "features", Kind: report.Heat, Title: "What sets the segments apart",
		Caption: "How many standard deviations of all customers a segment's mean is above theirs, after features were made comparable.",
		X:       report.Axis{Label: "feature"}, Y: report.Axis{Label: "standard deviations"},
	}
	for _, name := range r.preparation.Kept() {
		f.X.Categories = append(f.X.Categories, strings.ReplaceAll(name, "_", " "))
	}
	for s, p := range r.profiles {
		row := report.Series{Name: r.names[s], Y: p.Lean}
		for _, v := range p.Lean {
			row.Labels = append(row.Labels, strconv.FormatFloat(v, 'f', 1, 64))
		}
		f.Series = append(f.Series, row)
	}
	return f
}

// sizes shows customers and value side by side.
func (r *run) sizes() report.Figure {
	total, values := 0.0, make([]float64, len(r.names))
	for i, s := range r.choice.Labels {
		values[s] += r.spent[i]
		total += r.spent[i]
	}
	customers, value := report.Series{Name: "customers"}, report.Series{Name: "value"}
	for s, p := range r.profiles {
		customers.Y = append(customers.Y, p.Share)
		value.Y = append(value.Y, values[s]/max(total, 1e-9))
	}
	return report.Figure{
		Name: "sizes", Kind: report.Bar, Title: "Size and value of the segments",
		Caption: "The share of all customers in each segment beside the share of what all customers spent.",
		X:       report.Axis{Label: "segment", Categories: r.names}, Y: report.Axis{Label: "share", Unit: report.Share},
		Series: []report.Series{customers, value},
	}
}

// byNumber shows what spoke for the number of segments.
func (r *run) byNumber() []report.Figure {
	silhouette, bic := report.Series{Name: "silhouette"}, report.Series{Name: "BIC"}
	for _, c := range r.choice.Candidates {
		if c.K > 1 {
			silhouette.X, silhouette.Y = append(silhouette.X, float64(c.K)), append(silhouette.Y, c.Silhouette)
		}
		bic.X, bic.Y = append(bic.X, float64(c.K)), append(bic.Y, c.BIC)
	}
	chosen := []report.Reference{{Kind: report.Vertical, At: float64(r.choice.Mixture.Means.Rows), Label: "chosen"}}
	axis := report.Axis{Label: "segments"}
	return []report.Figure{
		{
			Name: "silhouette", Kind: report.Line, Title: "Silhouette by number of segments",
			Caption: "Higher is better. Of the numbers within 0.03 of the best, the one of the lowest BIC was chosen.",
			X:       axis, Y: report.Axis{Label: "mean silhouette"}, Series: []report.Series{silhouette}, References: chosen,
		},
		{
			Name: "bic", Kind: report.Line, Title: "BIC by number of segments",
			Caption: "Lower is better: how well a Gaussian mixture of as many components describes the customers, for its number of parameters.",
			X:       axis, Y: report.Axis{Label: "BIC"}, Series: []report.Series{bic}, References: chosen,
		},
	}
}

// overTime shows sizes and values of the present segments in the runs before this one and in it.
func (r *run) overTime(ctx context.Context) ([]report.Figure, error) {
	if r.Previous == nil {
		return nil, nil
	}
	place := map[string]int{}
	customers, values := make([]report.Series, len(r.ids)), make([]report.Series, len(r.ids))
	for s, id := range r.ids {
		place[id] = s
		customers[s].Name, values[s].Name = r.names[s], r.names[s]
	}
	add := func(s int, at time.Time, size, value float64) {
		x := float64(at.Unix())
		customers[s].X, customers[s].Y = append(customers[s].X, x), append(customers[s].Y, size)
		values[s].X, values[s].Y = append(values[s].X, x), append(values[s].Y, value)
	}
	// Runs of other currencies are of other customers. A run at the same snapshot again, to
	// compare, must not see itself.
	err := r.Each(ctx, `SELECT s.segment_id, s.as_of, s.customers, CAST(s.value AS DOUBLE)
		FROM insights.segments AS s JOIN (
			SELECT run_id, sequence FROM insights.runs WHERE job = 'segment' AND sequence <= `+fmt.Sprint(r.Previous.Sequence)+` AND as_of <= `+insights.Time(r.AsOf)+`
			ORDER BY sequence DESC LIMIT `+fmt.Sprint(pastRuns)+`
		) AS past ON past.run_id = s.run_id
		WHERE s.state <> 'retired' AND s.currency = `+insights.Text(r.data.currency)+`
		ORDER BY s.as_of, past.sequence, s.segment_id`, func(row []any) error {
		if s, known := place[row[0].(string)]; known {
			add(s, row[1].(time.Time), float64(row[2].(int64)), row[3].(float64))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sums := make([]float64, len(r.ids))
	for i, s := range r.choice.Labels {
		sums[s] += r.spent[i]
	}
	isOld := false
	for s, p := range r.profiles {
		isOld = isOld || len(customers[s].X) > 0
		add(s, r.AsOf, float64(p.Size), sums[s])
	}
	if !isOld {
		return nil, nil
	}
	axis := report.Axis{Label: "end of the data", Scale: report.Time}
	return []report.Figure{
		{
			Name: "sizes-over-time", Kind: report.Line, Title: "Customers by segment over time",
			Caption: "How many customers each of the present segments had in this run and those before.",
			X:       axis, Y: report.Axis{Label: "customers"}, Series: customers,
		},
		{
			Name: "values-over-time", Kind: report.Line, Title: "Value by segment over time",
			Caption: "What the customers of each of the present segments spent in the window of each run.",
			X:       axis, Y: report.Axis{Label: "spent", Unit: r.data.currency}, Series: values,
		},
	}, nil
}
