package anomalies

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/cardlake/cardlake/queries/anomaly/features"
)

// scored is an event with its score.
type scored struct {
	*row
	total       float64 // in nats: how surprising, in all
	score       float64 // share of the reference that stands out less
	probability float64 // of fraud; NaN without a supervised model
	pattern     features.Pattern
	severity    features.Severity
	by          *judge
}

// judge is all that scores a day.
type judge struct {
	from     date
	detector *detector
	learned  *learned // nil without labels
	totals   []float64
}

// scoredDay is a day with the events that could be alerts, the highest total first, and the alerts
// among them, in the same order.
type scoredDay struct {
	*day
	candidates []scored
	alerts     []scored
}

// supervisedWeight is what a nat of the supervised model counts: it has seen what fraud is, the
// others only what is usual.
const supervisedWeight = 2

// judgeAt makes the judge that holds from a boundary on.
func (r *run) judgeAt(ctx context.Context, i int) (*judge, error) {
	j := &judge{from: r.boundary(i)}
	rows := reference(r.days, j.from)
	var err error
	if j.detector, err = detect(rows, uint64(j.from)); err != nil {
		return nil, err
	}
	if j.learned, err = r.learn(ctx, j.from, rows); err != nil {
		return nil, err
	}
	all, err := j.judge(rows, nil)
	for _, s := range all {
		j.totals = append(j.totals, s.total)
	}
	slices.Sort(j.totals)
	return j, err
}

// judge scores events, with the scores of the reference in order; nil for the reference itself.
func (j *judge) judge(rows []*row, reference []float64) ([]scored, error) {
	totals, err := j.detector.score(rows)
	if err != nil {
		return nil, err
	}
	var p []float64
	if j.learned != nil && len(rows) > 0 {
		if p, err = j.learned.predict(rows); err != nil {
			return nil, err
		}
	}
	out := make([]scored, len(rows))
	for i, r := range rows {
		s := scored{row: r, total: totals[i], probability: math.NaN(), pattern: r.features.Pattern(), by: j}
		// Rarity from what is counted up to what the detectors' tails continue.
		rare := j.detector.overall.Of(totals[i])
		if p != nil {
			s.probability = p[i]
			s.total += supervisedWeight * j.learned.usual.Of(p[i])
		}
		if reference != nil {
			below, _ := slices.BinarySearch(reference, s.total)
			s.score = float64(below) / float64(len(reference))
		}
		s.severity = features.SeverityOf(s.pattern, urgency(rare, s.probability))
		out[i] = s
	}
	return out, nil
}

// urgency is what severity goes by: the probability of fraud, or without labels how rare the
// event is, 1 for one in 100,000, 0.5 for one in 316; the greater of the two.
func urgency(nats, probability float64) float64 {
	u := min(nats/(5*math.Ln10), 1)
	if !math.IsNaN(probability) {
		u = max(u, probability)
	}
	return u
}

// score scores the days from a date on and picks their alerts.
func (r *run) score(ctx context.Context, first int, from date) ([]scoredDay, error) {
	var out []scoredDay
	var j *judge
	for i := first; i < len(r.days); i++ {
		d := r.days[i]
		if d.date < from || !r.isScored(i) {
			continue
		}
		r.Report("scoring", int64(i-first), int64(len(r.days)-first))
		if j == nil || j.from != r.boundary(i) {
			var err error
			if j, err = r.judgeAt(ctx, i); err != nil {
				return nil, err
			}
		}
		var rows []*row
		for k := range d.rows {
			rows = append(rows, &d.rows[k])
		}
		all, err := j.judge(rows, j.totals)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(all, func(a, b scored) int {
			return cmp.Or(cmp.Compare(b.total, a.total), slices.Compare(a.id[:], b.id[:]))
		})
		s := scoredDay{day: d, candidates: all}
		s.alerts = r.pick(all)
		out = append(out, s)
	}
	return out, nil
}

const (
	// quiet is how long a dismissed alert keeps others of the card and pattern away.
	quiet = 30 * 24 * time.Hour
	// At most so many alerts of a day are of one card and pattern, or of one merchant that cards
	// are tried at, as long as others are left.
	ofOneCard     = 3
	ofOneMerchant = 10
)

// pick takes a day's alerts: the highest totals that reach the severity, but few of one case
// first, so that one long episode does not hide the others.
func (r *run) pick(all []scored) []scored {
	had := map[subject]int{}
	var first, rest []scored
	for _, s := range all {
		if rank(s.severity) < r.severity || r.isQuiet(&s) {
			continue
		}
		of, most := subject{s.card, s.pattern}, ofOneCard
		if s.pattern == features.CardTesting {
			of, most = subject{s.merchant, s.pattern}, ofOneMerchant
		}
		if had[of]++; had[of] <= most {
			first = append(first, s)
		} else {
			rest = append(rest, s)
		}
	}
	out := append(first[:min(len(first), r.budget):min(len(first), r.budget)], rest[:min(len(rest), max(r.budget-len(first), 0))]...)
	slices.SortFunc(out, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.total, a.total), slices.Compare(a.id[:], b.id[:]))
	})
	return out
}

// isQuiet says that the tenant had dismissed an alert of the same card and pattern when the event
// happened, not long before, and nobody had reported that event as fraud by then.
func (r *run) isQuiet(s *scored) bool {
	for _, d := range r.dismissed[subject{s.card, s.pattern}] {
		if d.from < s.time && s.time <= d.until && s.time-d.from <= quiet.Microseconds() {
			return true
		}
	}
	return false
}
