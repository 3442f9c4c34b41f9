// Package recommendations is the job "recommend": merchants and offers for each customer of a
// tenant, by the methods of queries/recommend.
//
// It reads which customer bought at which merchant, and how recently; finds on the last days of
// that window what weights of its methods rank purchases best; measures them on days that had no
// part in it, beside what simple methods reach; and then lists merchants for every customer from
// all of the window.
//
// What a list can tell about other customers is bounded: merchants of fewer than five customers of
// the tenant are in no list but stay with those who know them, and reasons name only merchants of
// the customer's own and towns of at least fifty customers. Categories that would tell of somebody's
// health, faith, politics or debts are left out unless the tenant asks for them.
package recommendations

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/recommend"
)

// Job is the job "recommend".
type Job struct {
	atOnce int64 // most rows whose customers the engine groups at once
}

// New returns the job.
func New() *Job { return &Job{atOnce: 4_000_000} }

// Name is "recommend".
func (*Job) Name() string { return "recommend" }

// Version is that of the methods and of what is read.
func (*Job) Version() string { return "1" }

// Tables is insights.recommendations.
func (*Job) Tables() []*cardlake.Table { return []*cardlake.Table{cardlake.Recommendations} }

// ReadsLabels is false.
func (*Job) ReadsLabels() bool { return false }

const (
	// leastDays is how long a window must be: a fifth each is held out to choose and to measure.
	leastDays = 5
	// leastMerchants and leastCustomers are what there must be to tell methods apart.
	leastMerchants = 2
	leastCustomers = 20
	// floor is the fewest customers of a merchant that is recommended.
	floor = 5
)

// Run makes the lists of all customers. It refuses with fewer than two merchants of five
// customers, or fewer than 20 customers who bought anew in each of the parts of the window. What
// the tenant allows and denies narrows the lists, not what weights and metrics come from: they
// say how customers buy.
func (j *Job) Run(ctx context.Context, t *insights.Task) error {
	p, err := parse(t.Values)
	if err != nil {
		return err
	}
	s, err := parseSettings(t.Settings)
	if err != nil {
		return err
	}
	d, err := read(ctx, t, p, t.Rows/j.atOnce+1)
	if err != nil {
		return err
	}
	p.category = d.categories()
	d.allowed = d.reachable(p)
	trained, err := train(ctx, t, p, d)
	if errors.Is(err, recommend.ErrTooLittle) {
		return insights.Refuse(fmt.Sprintf("at least %d customers who bought at a merchant that was new to them in each of the two parts of the window that are held out", leastCustomers), "fewer")
	}
	if err != nil {
		return err
	}
	s.narrow(d, p)
	lists, err := write(ctx, t, p, s, d, trained)
	if err != nil {
		return err
	}
	return fill(t, p, s, d, trained, lists)
}
