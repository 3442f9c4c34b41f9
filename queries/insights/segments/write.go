package segments

import (
	"context"
	"encoding/json"
	"math"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/segment"
)

// write writes the rows of both tables.
func (r *run) write(ctx context.Context) error {
	values := make([]float64, len(r.ids))
	for i, s := range r.choice.Labels {
		values[s] += r.spent[i]
	}
	means, typical := r.means(), r.preparation.Kept()
	for s, p := range r.profiles {
		state, shift, before := "new", any(nil), any(nil)
		if k := r.kept[s]; k.Old >= 0 {
			state, shift, before = "kept", k.Shift, r.before.segments[k.Old].customers
		}
		centre := map[string]feature{}
		for j, name := range typical {
			centre[name] = feature{rounded(means[s][name]), rounded(p.Typical[j])}
		}
		text, err := json.Marshal(centre) // maps in order of their keys
		if err != nil {
			return err
		}
		u, v := r.plane.Project(r.choice.Centres.Row(s))
		err = r.Append(ctx, cardlake.Segments, r.ids[s], r.names[s], segment.Spending.Describe(typical, p), state,
			int64(p.Size), p.Share, r.money(values[s]), r.data.currency, before, shift, u, v, string(text))
		if err != nil {
			return err
		}
	}
	for _, o := range r.retired {
		old := r.before.segments[o]
		u, v := r.plane.Project(r.before.known[o].Centre)
		err := r.Append(ctx, cardlake.Segments, old.id, old.name, "No segment is like it any more; its customers are in others.", "retired",
			int64(0), 0.0, 0.0, r.data.currency, old.customers, nil, u, v, old.centre)
		if err != nil {
			return err
		}
	}
	return r.writeCustomers(ctx)
}

// money is a sum as a row takes it.
func (r *run) money(sum float64) float64 {
	if sum > insights.MostMoney {
		r.tooMuch = true
		return insights.MostMoney
	}
	return sum
}

func (r *run) writeCustomers(ctx context.Context) error {
	far, err := segment.Distances(r.x, r.choice.Partition)
	if err != nil {
		return err
	}
	sure := r.choice.Probability
	if sure == nil {
		if sure, err = segment.Memberships(ctx, r.x, r.choice.Partition); err != nil {
			return err
		}
	}
	for i, customer := range r.customers {
		var was any
		if o := r.before.was[i]; o >= 0 {
			was = r.before.segments[o].id
		}
		raw := r.raw.Row(i)
		err := r.Append(ctx, cardlake.CustomerSegments, customer, r.ids[r.choice.Labels[i]], sure[i], was, far[i],
			raw[recency], int64(raw[frequency]), r.money(r.spent[i]), r.data.currency)
		if err != nil {
			return err
		}
		if i%100_000 == 0 {
			r.Report("writing customers", int64(i), int64(len(r.customers)))
		}
	}
	return nil
}

// means are those of the raw features of each segment, of the values that are known.
func (r *run) means() []map[string]float64 {
	out := make([]map[string]float64, len(r.ids))
	sums, counts := segment.NewMatrix(len(out), len(columns)), segment.NewMatrix(len(out), len(columns))
	for i, s := range r.choice.Labels {
		sum, count := sums.Row(int(s)), counts.Row(int(s))
		for j, v := range r.raw.Row(i) {
			if !math.IsNaN(v) {
				sum[j] += v
				count[j]++
			}
		}
	}
	for s := range out {
		out[s] = map[string]float64{}
		for j, c := range columns {
			out[s][c.Name] = sums.Row(s)[j] / max(1, counts.Row(s)[j])
		}
	}
	return out
}

// rounded is a number of six significant digits: no more is meant.
func rounded(v float64) float64 {
	if v == 0 {
		return 0
	}
	scale := math.Pow(10, 5-math.Floor(math.Log10(math.Abs(v))))
	if math.IsInf(scale, 0) || scale == 0 {
		return v
	}
	return math.Round(v*scale) / scale
}
