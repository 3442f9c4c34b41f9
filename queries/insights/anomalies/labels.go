package anomalies

import (
	"context"
	"math"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/anomaly/boost"
	"github.com/cardlake/cardlake/queries/anomaly/features"
	"github.com/cardlake/cardlake/queries/insights"
)

// labels are what the tenant has said of events of the history.
type labels struct {
	of map[cardlake.EventID][]label // in order of sources, then of time
}

type label struct {
	event    int64 // time of the event, microseconds
	reported int64 // when the tenant knew
	source   string
	isFraud  bool
}

// readLabels reads the labels of events from a day on.
func readLabels(ctx context.Context, t *insights.Task, from date) (*labels, error) {
	l := &labels{map[cardlake.EventID][]label{}}
	return l, t.Each(ctx, `SELECT l.event_id, epoch_us(t.event_time), epoch_us(l.reported_at), l.source, l.label
		FROM insights.labels AS l JOIN cards.transactions AS t ON l.event_id = t.event_id
		WHERE t.event_type = 'authorization' AND t.event_time >= `+insights.Time(from.Time())+`
		ORDER BY l.event_id, l.source, l.reported_at, l.label_id`, func(row []any) error {
		id, err := cardlake.ParseEventID(row[0].(string))
		if err != nil {
			return err
		}
		l.of[id] = append(l.of[id], label{row[1].(int64), row[2].(int64), row[3].(string), row[4] == "fraud"})
		return nil
	})
}

// authority orders the sources: a dispute that was settled outweighs what a reviewer thought.
func authority(source string) int {
	switch source {
	case "chargeback":
		return 3
	case "file":
		return 2
	}
	return 1
}

// known is what was known of an event before an instant: the newest label of the source of most
// authority.
func (l *labels) known(id cardlake.EventID, before int64) (label, bool) {
	var best label
	for _, x := range l.of[id] {
		if x.reported < before && (best.source == "" || authority(x.source) > authority(best.source) ||
			x.source == best.source && x.reported >= best.reported) {
			best = x
		}
	}
	return best, best.source != ""
}

// everKnown is what is known by now.
func (l *labels) everKnown(id cardlake.EventID) (label, bool) { return l.known(id, math.MaxInt64) }

// horizonDays is how long frauds may take to be reported: the card schemes allow 120 days for most
// chargebacks.
const horizonDays = 120

func daysBetween(from, to int64) float64 {
	return max(float64(to-from), 0) / float64(24*time.Hour.Microseconds())
}

// leastDelays is how many reports tell how long reports take.
const leastDelays = 20

// delay estimates how long frauds take to be reported, from the reports before an instant; nil
// if there are too few, when labels count as final.
func (l *labels) delay(before int64) *boost.Delay {
	var delays, ages []float64
	for id := range l.of {
		x, ok := l.known(id, before)
		if !ok || !x.isFraud || x.source == "review" || x.event >= before {
			continue
		}
		delays, ages = append(delays, daysBetween(x.event, x.reported)), append(ages, daysBetween(x.event, before))
	}
	if len(delays) < leastDelays {
		return nil
	}
	d, err := boost.FitDelay(delays, ages, horizonDays)
	if err != nil {
		return nil
	}
	return d
}

// subject is what alerts may be about time and again: a card, or a merchant that cards are tried
// at, and a pattern.
type subject struct {
	key     features.Key
	pattern features.Pattern
}

// dismissal is a review that found an event genuine, and holds until somebody reports it as fraud.
type dismissal struct{ from, until int64 } // microseconds; until is exclusive

// dismissals returns when alerts were dismissed.
func (r *run) dismissals() map[subject][]dismissal {
	out := map[subject][]dismissal{}
	for _, d := range r.days {
		for i := range d.rows {
			x := &d.rows[i]
			all := r.labels.of[x.id]
			for _, l := range all {
				if l.source != "review" || l.isFraud {
					continue
				}
				one := dismissal{l.reported, math.MaxInt64}
				for _, later := range all {
					if later.isFraud && later.reported >= l.reported {
						one.until = min(one.until, later.reported)
					}
				}
				k := subject{x.card, x.features.Pattern()}
				out[k] = append(out[k], one)
			}
		}
	}
	return out
}
