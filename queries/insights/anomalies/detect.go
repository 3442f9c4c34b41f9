package anomalies

import (
	"fmt"
	"math"
	"slices"

	"github.com/cardlake/cardlake/queries/anomaly"
	"github.com/cardlake/cardlake/queries/anomaly/features"
)

// leastReference is how many sampled events detectors need.
const leastReference = 500

// referenceDays is how far back the sample of a model goes.
const referenceDays = 28

// view is how the detectors see a feature: more is more suspicious, and long tails are in
// logarithms, so that one far value does not hide the others.
type view uint8

const (
	plain   view = iota // as it is
	logged              // ln(1 + x)
	lacking             // 1 - x, of a share
	above               // what is above 0, logged
)

// seen are the features that say something about an event by themselves. The others, such as
// sums in a currency, are what these were made of; the supervised model has all.
var seen = [...]struct {
	feature features.Feature
	view    view
}{
	{features.Declined, plain}, {features.UnknownCard, plain}, {features.ByStripe, plain}, {features.Keyed, plain},
	{features.CardDeviation, above}, {features.CardSurge, above}, {features.CardCount1H, logged}, {features.CardCount1D, logged},
	{features.CardRising, logged}, {features.CardDeclinesInRow, logged}, {features.CardMerchants1H, logged},
	{features.NewMCC, plain}, {features.NewCountry, plain}, {features.PlaceShare, lacking}, {features.EntryShare, lacking}, {features.HourShare, lacking},
	{features.TravelKilometres, logged}, {features.TravelSpeed, logged},
	{features.MCCDeviation, above}, {features.MerchantDeviation, above}, {features.MerchantSurge, above}, {features.MerchantDeclined1D, plain},
	{features.TriedCards, logged}, {features.TriedDeclined, logged}, {features.BINUnknown1H, logged},
	{features.Marks, plain}, {features.Compromise, plain},
}

// look writes what the detectors see of an event.
func look(dst []float64, v *features.Vector) {
	for i, s := range seen {
		x := float64(v[s.feature])
		switch s.view {
		case logged:
			x = math.Log1p(x)
		case lacking:
			x = 1 - x
		case above:
			x = math.Log1p(max(x, 0))
		}
		dst[i] = x
	}
}

func matrix(rows []*row) anomaly.Matrix {
	m := anomaly.Matrix{Data: make([]float64, len(rows)*len(seen)), Cols: len(seen)}
	for i, r := range rows {
		look(m.Row(i), &r.features)
	}
	return m
}

// detector is what the days before a day have taught without labels.
type detector struct {
	model *anomaly.Model
	// signals are those of the known patterns in the sample, ascending.
	signals map[features.Pattern][]float64
	rows    int
	overall *anomaly.Surprise
}

// reference is the sample of the days before.
func reference(days []*day, before date) (out []*row) {
	for _, d := range days {
		if d.date < before && d.date >= before-referenceDays {
			out = append(out, d.sample()...)
		}
	}
	return out
}

// detect learns from a sample.
func detect(rows []*row, seed uint64) (*detector, error) {
	d := &detector{signals: map[features.Pattern][]float64{}, rows: len(rows)}
	m := matrix(rows)
	var err error
	if d.model, err = anomaly.Fit(m, anomaly.Config{Forest: anomaly.ForestConfig{Seed: seed}}); err != nil {
		return nil, fmt.Errorf("learn what is usual: %w", err)
	}
	for _, p := range features.Known() {
		for _, r := range rows {
			if s := r.features.Signal(p); s > 0 {
				d.signals[p] = append(d.signals[p], s)
			}
		}
		slices.Sort(d.signals[p])
	}
	scores, err := d.score(rows)
	if err != nil {
		return nil, err
	}
	if d.overall, err = anomaly.FitSurprise(scores); err != nil {
		return nil, fmt.Errorf("learn how rare scores are: %w", err)
	}
	return d, nil
}

// score is how surprising events are, in nats: what the detectors say of the figures, and how
// rarely events fit the pattern as well that they fit best.
func (d *detector) score(rows []*row) ([]float64, error) {
	out := make([]float64, len(rows))
	if err := d.model.Score(out, matrix(rows)); err != nil {
		return nil, fmt.Errorf("score: %w", err)
	}
	for i, r := range rows {
		out[i] += d.rule(&r.features)
	}
	return out, nil
}

func (d *detector) rule(v *features.Vector) (most float64) {
	for _, p := range features.Known() {
		s := v.Signal(p)
		if s == 0 {
			continue
		}
		k, _ := slices.BinarySearch(d.signals[p], s)
		rarer := len(d.signals[p]) - k
		most = max(most, s*math.Log(float64(d.rows+1)/float64(rarer+1)))
	}
	return most
}
