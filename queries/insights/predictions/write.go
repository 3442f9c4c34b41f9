package predictions

import (
	"context"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
)

// likely is the probability of being alive from which on a next purchase is expected at a time.
const likely = 0.5

// write writes a row for each customer, in their order.
func (d *data) write(ctx context.Context, t *insights.Task, next *upcoming, f *forecasts) error {
	for i, name := range d.customers {
		if i%10_000 == 0 {
			t.Report("writing", int64(i), int64(len(d.customers)))
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		h := d.history(i, d.end)
		row := []any{name, int64(h.X), h.Tx, h.T, f.scores.Alive[i]}
		for k := range horizons {
			row = append(row, f.scores.Expected[k][i])
		}
		n := f.values.N[i]
		for k := range horizons {
			if f.value == nil || n == 0 {
				row = append(row, nil)
				continue
			}
			row = append(row, min(f.scores.Expected[k][i]*f.value.Expected(n, f.values.Mean[i]), insights.MostMoney))
		}
		if f.value == nil || n == 0 {
			row = append(row, nil)
		} else {
			row = append(row, d.currency)
		}
		row = append(row, d.nextOf(i, next, f.scores.Alive[i])...)
		if err := t.Append(ctx, cardlake.Predictions, row...); err != nil {
			return err
		}
	}
	return nil
}

// nextOf is what is said of a customer's next purchase: category, probability and time.
func (d *data) nextOf(customer int, next *upcoming, alive float64) []any {
	row := []any{nil, nil, nil}
	if next.forecasts == nil {
		return row
	}
	f := next.forecasts[customer]
	if k := int(f.Category[0]); k < len(d.mccs) && d.mccs[k] != "" {
		row[0], row[1] = d.mccs[k], float64(f.Probability[0])
	}
	if alive >= likely {
		last := d.visits.Time[d.visits.Start[customer+1]-1]
		row[2] = time.Unix(last, 0).Add(time.Duration(f.Median * float64(time.Second)).Truncate(time.Second)).UTC()
	}
	return row
}
