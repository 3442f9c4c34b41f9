package anomalies

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/anomaly/features"
	"github.com/cardlake/cardlake/queries/insights"
)

// reasonsAnAlert is how many sentences an alert has at most.
const reasonsAnAlert = 4

// factor is a feature in insights.alerts.
type factor struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Weight float64 `json:"weight"` // part of what is unusual, or what it adds to the log-odds of fraud
}

// factorsAnAlert is how many features an alert lists at most.
const factorsAnAlert = 8

// alertsAtOnce is of how many alerts one statement reads the rows, if they are of several days.
const alertsAtOnce = 500

// write writes the alerts of all days.
func (r *run) write(ctx context.Context, days []scoredDay) error {
	for i := 0; i < len(days); {
		r.Report("alerts", int64(i), int64(len(days)))
		end, n := i, 0
		for end < len(days) && (end == i || n+len(days[end].alerts) <= alertsAtOnce) {
			n += len(days[end].alerts)
			end++
		}
		if err := r.writeDays(ctx, days[i:end]); err != nil {
			return err
		}
		i = end
	}
	return nil
}

func (r *run) writeDays(ctx context.Context, days []scoredDay) error {
	type placed struct {
		*scored
		position int32
	}
	byID := map[string]placed{}
	var ids []string
	for _, d := range days {
		for i := range d.alerts {
			id := d.alerts[i].id.String()
			byID[id] = placed{&d.alerts[i], int32(i + 1)}
			ids = append(ids, insights.Text(id))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return r.Each(ctx, `SELECT event_id, event_time, transaction_id, card_token, customer_id, merchant_id, terminal_id, mcc, merchant_country,
		channel, approved, amount, currency FROM cards.transactions WHERE event_type = 'authorization' AND event_time >= `+insights.Time(days[0].date.Time())+
		` AND event_time < `+insights.Time((days[len(days)-1].date+1).Time())+` AND event_id IN (`+strings.Join(ids, ", ")+`) ORDER BY event_time, event_id`,
		func(row []any) error {
			id := row[0].(string)
			a, ok := byID[id]
			if !ok {
				return nil // a row that is there twice
			}
			delete(byID, id)
			reasons, factors, err := a.explain()
			if err != nil {
				return err
			}
			amount, _ := insights.Float(row[11])
			var probability any
			if !math.IsNaN(a.probability) {
				probability = a.probability
			}
			return r.Append(ctx, cardlake.Alerts, insights.ID("alert", string(r.Tenant), id), row[1], id, row[2], row[3], row[4], row[5], row[6], row[7], row[8],
				row[9], row[10], amount, row[12], a.score, probability, string(a.severity), string(a.pattern), a.position, reasons, factors)
		})
}

// explain says why in sentences, one a line, and in features, a JSON array.
func (s *scored) explain() (reasons, factors string, err error) {
	parts, err := s.contributions()
	if err != nil {
		return "", "", err
	}
	c := features.Case{Vector: &s.features, Place: s.place, Before: s.before, Contributions: parts}
	var text []string
	for _, r := range c.Reasons(reasonsAnAlert) {
		text = append(text, r.Text)
	}
	list := []factor{}
	for _, p := range parts[:min(len(parts), factorsAnAlert)] {
		list = append(list, factor{p.Feature.String(), round(float64(s.features[p.Feature])), round(p.Weight)})
	}
	body, err := json.Marshal(list)
	return strings.Join(text, "\n"), string(body), err
}

// round keeps four digits.
func round(x float64) float64 {
	if x == 0 {
		return 0
	}
	unit := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	if math.IsInf(unit, 0) || unit == 0 {
		return x
	}
	return math.Round(x*unit) / unit
}

// contributions are the features that make the event stand out, the greatest first: what the
// supervised model says if there is one, and else the detectors.
func (s *scored) contributions() (out []features.Contribution, err error) {
	if l := s.by.learned; l != nil {
		_, parts, err := l.model.Contributions(s.features[:])
		if err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
		for f, w := range parts {
			if w > 0 {
				out = append(out, features.Contribution{Feature: features.Feature(f), Weight: w})
			}
		}
	} else {
		seenRow := make([]float64, len(seen))
		look(seenRow, &s.features)
		e, err := s.by.detector.model.Explain(seenRow)
		if err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
		for i, w := range e.Shares {
			if w > 0 {
				out = append(out, features.Contribution{Feature: seen[i].feature, Weight: w})
			}
		}
	}
	slices.SortFunc(out, func(a, b features.Contribution) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Feature, b.Feature))
	})
	return out, nil
}
