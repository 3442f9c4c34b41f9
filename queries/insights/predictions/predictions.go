// Package predictions is the job predict: what each customer of a tenant is expected to do in
// the next days, by the models of package queries/predict.
//
// A purchase is an approved authorisation that opens a purchase and was not reversed in full.
// Cash (cash machines, and merchant categories 6010 and 6011) is none, and neither are refunds,
// clearings and authorisations of nothing. Times are in days: purchases are told apart by their
// UTC day.
//
// Values are in the billing currency of most of the tenant's purchases; what is billed in
// another one has a time and a category, and no value.
package predictions

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/predict"
)

const (
	leastDays      = 14 // of history
	leastCustomers = 50
	leastReturning = 10 // customers with two purchases
)

// horizons are those of insights.predictions, in days.
var horizons = []float64{30, 60, 90}

// Job is the job predict. It has no state.
type Job struct{}

// New returns the job.
func New() *Job { return &Job{} }

// Name implements [insights.Job].
func (*Job) Name() string { return "predict" }

// Version implements [insights.Job].
func (*Job) Version() string { return "1" }

// Tables implements [insights.Job].
func (*Job) Tables() []*cardlake.Table { return []*cardlake.Table{cardlake.Predictions} }

// ReadsLabels implements [insights.Job].
func (*Job) ReadsLabels() bool { return false }

// Parameters implements [insights.Job].
func (*Job) Parameters() []insights.Parameter {
	return []insights.Parameter{
		{Name: "holdout_days", Default: "0", Doc: "days at the end that the forecast is measured on, at most half of the history; 0 takes a quarter of it, at most 90", Check: between(0, 365)},
		{Name: "folds", Default: "3", Doc: "parts of the last 40 % of the purchases that the next purchase is backtested on", Check: between(1, 10)},
	}
}

func between(least, most int) func(string) error {
	return func(v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < least || n > most {
			return fmt.Errorf("is not a whole number from %d to %d", least, most)
		}
		return nil
	}
}

// Run implements [insights.Job].
func (*Job) Run(ctx context.Context, t *insights.Task) error {
	d, err := read(ctx, t)
	if err != nil {
		return err
	}
	if err := d.enough(); err != nil {
		return err
	}
	asked, _ := strconv.Atoi(t.Values["holdout_days"])
	holdout := d.holdout(asked)
	if holdout < asked {
		return insights.Refuse(fmt.Sprintf("at least %d days of purchases for %d held-out days", 2*asked, asked), "%d days", d.days())
	}

	t.Report("measuring the forecast", 0, 0)
	measured, err := d.measure(holdout)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t.Report("measuring the next purchase", 0, 0)
	folds, _ := strconv.Atoi(t.Values["folds"])
	next, err := d.next(folds)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t.Report("fitting", 0, 0)
	forecast, err := d.forecast()
	if err != nil {
		return err
	}
	if err := fill(t, d, measured, next, forecast); err != nil {
		return err
	}
	return d.write(ctx, t, next, forecast)
}

// enough refuses what is too little to say anything of the next months.
func (d *data) enough() error {
	if len(d.customers) == 0 {
		return insights.Refuse("purchases (approved authorisations of customers, not reversed, other than cash)", "none")
	}
	if d.days() < leastDays {
		return insights.Refuse(fmt.Sprintf("purchases over at least %d days", leastDays), "purchases over %d", d.days())
	}
	returning := 0
	for i := range d.customers {
		if d.visits.Start[i+1]-d.visits.Start[i] > 1 {
			returning++
		}
	}
	if len(d.customers) < leastCustomers || returning < leastReturning {
		return insights.Refuse(fmt.Sprintf("at least %d customers, of whom %d purchased twice or more", leastCustomers, leastReturning),
			"%d customers, of whom %d did", len(d.customers), returning)
	}
	return nil
}

// holdout is how many days are held out.
func (d *data) holdout(asked int) int {
	if asked == 0 {
		return min(90, int(d.usualDays())/4)
	}
	return min(asked, int(d.days())/2)
}

// chosen is the model of counts that explains the customers best, and the other one.
type chosen struct {
	name     string
	model    predict.Model
	fit      predict.Fit
	other    string
	otherFit predict.Fit
}

// mostGroups bounds the distinct histories that the Pareto/NBD model is fitted to: its
// likelihood costs an integral for each.
const mostGroups = 50_000

// choose fits both models and takes the one of the greater likelihood over all customers.
func choose(c *predict.Cohort) (chosen, error) {
	bg, bgFit, err := predict.FitBGNBD(c)
	if err != nil {
		return chosen{}, err
	}
	thin := c.Thin(mostGroups)
	pareto, paretoFit, err := predict.FitParetoNBD(thin)
	if err != nil {
		return chosen{}, err
	}
	if thin != c {
		paretoFit.LogLikelihood = c.LogLikelihood(pareto)
	}
	const bgName, paretoName = "BG/NBD", "Pareto/NBD"
	if paretoFit.LogLikelihood > bgFit.LogLikelihood {
		return chosen{paretoName, pareto, paretoFit, bgName, bgFit}, nil
	}
	return chosen{bgName, bg, bgFit, paretoName, paretoFit}, nil
}

// String names the model with its parameters, times in days.
func (c chosen) String() string {
	switch m := c.model.(type) {
	case predict.BGNBD:
		return fmt.Sprintf("%s with r = %.4g, alpha = %.4g days, a = %.4g, b = %.4g", c.name, m.R, m.Alpha, m.A, m.B)
	case predict.ParetoNBD:
		return fmt.Sprintf("%s with r = %.4g, alpha = %.4g days, s = %.4g, beta = %.4g days", c.name, m.R, m.Alpha, m.S, m.Beta)
	}
	return c.name
}

// forecasts are what is expected of every customer from the end of the data on.
type forecasts struct {
	chosen
	groups int // distinct histories
	scores predict.Scores
	// value is nil if no value can be told.
	value    *predict.GammaGamma
	valueFit predict.Fit
	values   predict.Values
	// correlation is that of the number and the value of a customer's purchases.
	correlation float64
}

func (d *data) forecast() (*forecasts, error) {
	cohort, err := predict.NewCohort(d.histories(d.end))
	if err != nil {
		return nil, err
	}
	f := &forecasts{groups: cohort.Groups(), values: d.values(d.end)}
	if f.chosen, err = choose(cohort); err != nil {
		return nil, err
	}
	if f.scores, err = predict.Score(f.model, cohort, horizons); err != nil {
		return nil, err
	}
	f.value, f.valueFit, err = fitValue(f.values)
	if err == nil && f.value != nil {
		f.correlation, err = predict.Independence(f.values)
	}
	return f, err
}

// fitValue fits the value of a purchase. There is none where nearly no purchase is billed in the
// tenant's main currency.
func fitValue(v predict.Values) (*predict.GammaGamma, predict.Fit, error) {
	m, fit, err := predict.FitGammaGamma(v)
	if errors.Is(err, predict.ErrTooFew) {
		return nil, fit, nil
	}
	return &m, fit, err
}
