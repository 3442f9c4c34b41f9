package anomalies

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardlake/cardlake/queries/anomaly"
	"github.com/cardlake/cardlake/queries/anomaly/boost"
	"github.com/cardlake/cardlake/queries/anomaly/features"
)

// learnDays is how far back labelled events teach.
const learnDays = 90

// learned is a supervised model with what its probabilities are among the events of the
// reference.
type learned struct {
	model *boost.Model
	usual *anomaly.Surprise
}

// learn trains on the events before a boundary that are kept, with the labels of that time. It
// returns nil if the tenant had reported too few frauds.
func (r *run) learn(ctx context.Context, before date, rows []*row) (*learned, error) {
	cut := before.Time().UnixMicro()
	data := boost.Data{Columns: features.Names()}
	delay := r.labels.delay(cut)
	frauds := 0
	for _, d := range r.days {
		if d.date >= before || d.date < before-learnDays {
			continue
		}
		weight := d.weight()
		for i := range d.rows {
			x := &d.rows[i]
			l, reported := r.labels.known(x.id, cut)
			w, exposure := float32(1), float32(1)
			if x.why == sampled && !l.isFraud {
				w = weight
			}
			if delay != nil && !reported {
				exposure = float32(max(delay.Share(daysBetween(x.time, cut)), .001))
			}
			if l.isFraud {
				frauds++
				if delay != nil {
					exposure = float32(max(delay.Share(daysBetween(x.time, cut)), .001))
				}
			}
			data.Values = append(data.Values, x.features[:]...)
			data.Fraud = append(data.Fraud, l.isFraud)
			data.Weight = append(data.Weight, w)
			data.Exposure = append(data.Exposure, exposure)
		}
	}
	if frauds == 0 {
		return nil, nil
	}
	model, err := boost.Train(ctx, data, boost.Config{Seed: uint64(before)})
	if errors.Is(err, boost.ErrTooFew) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("learn from labels: %w", err)
	}
	l := &learned{model: model}
	p, err := l.predict(rows)
	if err == nil {
		l.usual, err = anomaly.FitSurprise(p)
	}
	return l, err
}

// weight is how many events each of the day's stands for that is kept as a sample only.
func (d *day) weight() float32 {
	drawn := 0
	for i := range d.rows {
		if d.rows[i].why == sampled {
			drawn++
		}
	}
	return max(float32(d.events-len(d.rows)+drawn)/float32(max(drawn, 1)), 1)
}

// predict returns the probabilities of fraud.
func (l *learned) predict(rows []*row) ([]float64, error) {
	values := make([]float32, 0, len(rows)*features.Features)
	for _, r := range rows {
		values = append(values, r.features[:]...)
	}
	return l.model.Predict(nil, values)
}
