package segments

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/segment"
)

// before is what the run before found.
type before struct {
	segments []oldSegment
	known    []segment.Known
	was      []int32 // place in segments of each present customer's, -1 for none
}

type oldSegment struct {
	id, name, centre string
	customers        int64
}

// feature is what column centre of insights.segments says of a feature, by its name.
type feature struct {
	Mean    float64 `json:"mean"`    // of the customers of the segment that have a value
	Typical float64 `json:"typical"` // value at the segment's centre: what is compared with the next run
}

// readBefore reads the segments and the members of the run before. There is nothing to compare with
// if there was none, or if it was of another currency: those are other customers and other amounts.
func readBefore(ctx context.Context, t *insights.Task, d *data, p *segment.Preparation) (*before, error) {
	b := &before{was: make([]int32, len(d.customers))}
	for i := range b.was {
		b.was[i] = -1
	}
	if t.Previous == nil {
		return b, nil
	}
	t.Report("reading the run before", 0, 0)
	of := ` WHERE run_id = ` + insights.Text(t.Previous.ID)
	place := map[string]int32{}
	err := t.Each(ctx, `SELECT segment_id, name, customers, centre FROM insights.segments`+of+` AND state <> 'retired' AND currency = `+insights.Text(d.currency)+` ORDER BY segment_id`, func(row []any) error {
		s := oldSegment{id: strings.Clone(row[0].(string)), name: strings.Clone(row[1].(string)), centre: strings.Clone(row[3].(string)), customers: row[2].(int64)}
		place[s.id] = int32(len(b.segments))
		b.segments = append(b.segments, s)
		centre, err := restore(s.centre, p)
		b.known = append(b.known, segment.Known{Centre: centre, Size: int(s.customers)})
		return err
	})
	if err != nil || len(b.segments) == 0 {
		return b, err
	}
	return b, t.Each(ctx, `SELECT customer_id, segment_id FROM insights.customer_segments`+of, func(row []any) error {
		if i, here := slices.BinarySearch(d.customers, row[0].(string)); here {
			if s, known := place[row[1].(string)]; known {
				b.was[i] = s
			}
		}
		return nil
	})
}

// restore prepares the centre of an earlier segment as customers are prepared now. Features that
// the earlier run did not know count as this run's median.
func restore(text string, p *segment.Preparation) ([]float64, error) {
	var features map[string]feature
	if err := json.Unmarshal([]byte(text), &features); err != nil {
		return nil, fmt.Errorf("column centre of the run before: %w", err)
	}
	raw := segment.NewMatrix(1, len(p.Columns))
	for j, c := range p.Columns {
		raw.Data[j] = math.NaN()
		if f, known := features[c.Name]; known {
			raw.Data[j] = f.Typical
		}
	}
	x, err := p.Apply(raw)
	return x.Data, err
}
