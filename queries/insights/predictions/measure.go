package predictions

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/queries/predict"
)

// measured is how a forecast from the day split on compares with what was.
type measured struct {
	chosen
	split    int64 // in seconds: what was before it, the models knew
	span     int64 // held-out days
	holdout  predict.Holdout
	expected []float64 // of each customer who was known
	actual   []int

	// Errors of what a customer spends in the held-out days, in the main currency, of the
	// customers for whom a value can be told; none if there is no such model.
	valued                    int
	valueMAE, sameMAE         float64
	valueExpected, valueSpent float64

	// The purchases after the first of those customers, summed up by day.
	days              []float64 // ends of days, in seconds
	soFar, forecastBy []float64
}

// mostPoints is about how many days of a long history the forecast is compared on.
const mostPoints = 200

// mostBins is into how many groups of frequency customers are put.
const mostBins = 8

func (d *data) measure(holdout int) (*measured, error) {
	m := &measured{split: (d.last + 1 - int64(holdout)) * secondsPerDay, span: int64(holdout)}
	histories := d.histories(m.split)
	cohort, err := predict.NewCohort(histories)
	if err != nil {
		return nil, err
	}
	if m.chosen, err = choose(cohort); err != nil {
		if errors.Is(err, predict.ErrTooFew) {
			err = insights.Refuse(fmt.Sprintf("more customers who come back before the %d held-out days", holdout), "too few: %v", err)
		}
		return nil, err
	}
	byDay := make([]float64, d.days())
	spent := make([]float64, 0, len(histories))
	for i := range d.customers {
		if !d.known(i, m.split) {
			continue
		}
		value := 0.0
		from, to, split := d.visits.Start[i], d.visits.Start[i+1], d.until(i, m.split)
		for k := from; k < to; k++ {
			if k >= split {
				value += float64(d.value[k])
			}
			if k > from {
				byDay[d.visits.Time[k]/secondsPerDay-d.first]++
			}
		}
		m.actual, spent = append(m.actual, int(to-split)), append(spent, value)
	}
	span := float64(m.span)
	if m.holdout, err = predict.Validate(m.model, cohort, m.actual, span, bins(histories)); err != nil {
		return nil, err
	}
	scores, err := predict.Score(m.model, cohort, []float64{span})
	if err != nil {
		return nil, err
	}
	m.expected = scores.Expected[0]
	if err := m.measureValue(histories, d.values(m.split), spent); err != nil {
		return nil, err
	}
	sum, step := 0.0, len(byDay)/mostPoints+1
	for i, n := range byDay {
		sum += n
		end := (d.first + int64(i) + 1) * secondsPerDay
		if i%step != 0 && end != m.split && i < len(byDay)-1 {
			continue
		}
		m.days = append(m.days, float64(end))
		m.soFar = append(m.soFar, sum)
		m.forecastBy = append(m.forecastBy, predict.Cumulative(m.model, cohort, float64(end-m.split)/secondsPerDay))
	}
	return m, nil
}

// measureValue compares what customers were expected to spend with what they spent.
func (m *measured) measureValue(h []predict.History, v predict.Values, spent []float64) error {
	model, _, err := fitValue(v)
	if err != nil || model == nil {
		return err
	}
	for i, n := range v.N {
		if n == 0 {
			continue
		}
		m.valued++
		e := m.expected[i] * model.Expected(n, v.Mean[i])
		// At the same rate as before; who came at the very end has no rate.
		same := 0.0
		if h[i].T > 0 {
			same = float64(h[i].X) / h[i].T * float64(m.span) * v.Mean[i]
		}
		m.valueExpected += e
		m.valueSpent += spent[i]
		m.valueMAE += math.Abs(e - spent[i])
		m.sameMAE += math.Abs(same - spent[i])
	}
	m.valueMAE /= float64(max(1, m.valued))
	m.sameMAE /= float64(max(1, m.valued))
	return nil
}

// bins are where groups of about equally many customers begin, by their purchases.
func bins(h []predict.History) []int {
	x := make([]int, len(h))
	for i := range h {
		x[i] = h[i].X
	}
	slices.Sort(x)
	from := []int{0}
	for i := 1; i < mostBins; i++ {
		if at := x[i*len(x)/mostBins]; at > from[len(from)-1] {
			from = append(from, at)
		}
	}
	return from
}

// tenths are the held-out purchases of customers by what was expected of them: means of tenths
// of the customers.
func (m *measured) tenths() report.Series {
	order := make([]int, len(m.expected))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(m.expected[a], m.expected[b]), cmp.Compare(a, b))
	})
	s := report.Series{Name: m.name}
	for k := range 10 {
		part := order[k*len(order)/10 : (k+1)*len(order)/10]
		if len(part) == 0 {
			continue
		}
		expected, actual := 0.0, 0.0
		for _, i := range part {
			expected += m.expected[i]
			actual += float64(m.actual[i])
		}
		n := float64(len(part))
		s.X, s.Y, s.N = append(s.X, expected/n), append(s.Y, actual/n), append(s.N, n)
	}
	return s
}

// upcoming is what is known of customers' next purchases; nothing if there were too few to learn.
type upcoming struct {
	forecasts []predict.Forecast // by customer
	folds     []predict.Fold
	why       string // why there are none
}

func (d *data) next(folds int) (*upcoming, error) {
	categories := max(2, len(d.mccs)) // a category that never comes does no harm
	measured, err := predict.Backtest(d.visits, categories, folds)
	if errors.Is(err, predict.ErrTooFew) {
		return &upcoming{why: err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	model, err := predict.FitNext(d.visits, categories)
	if err != nil {
		return nil, err
	}
	f, err := model.Forecast(d.visits, d.end)
	return &upcoming{forecasts: f, folds: measured}, err
}
