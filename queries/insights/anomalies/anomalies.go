// Package anomalies is the job "anomaly": the events of a tenant that somebody should look at,
// with the reasons in words.
//
// It goes through the tenant's authorizations day by day, in order of time, and computes the
// features of queries/anomaly/features, which know nothing of what comes later. Of each day it
// keeps a sample, which later days are compared with, and the few hundred events that stand out.
// A day's events are scored by what the days before have taught: the detectors of queries/anomaly,
// the rules for known patterns, and, where the tenant has reported enough frauds by then, a model
// of queries/anomaly/boost. The days before the first model are only learned from.
//
// What was kept of a day, and the state at its end, are checkpoints. They hold for exactly the
// rows that they were made of: a day that has changed since, by a late row or an erasure, is
// computed anew, with all days after it. Results are the same with and without checkpoints.
//
// A tenant that dismisses an alert has no other one of the same card and pattern for 30 days.
package anomalies

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/anomaly/features"
	"github.com/cardlake/cardlake/queries/insights"
)

// Job is the job "anomaly".
type Job struct{}

// New returns the job.
func New() *Job { return &Job{} }

// Name is "anomaly".
func (*Job) Name() string { return "anomaly" }

// Version is that of the features, detectors and rules.
func (*Job) Version() string { return "1" }

// Tables is insights.alerts.
func (*Job) Tables() []*cardlake.Table { return []*cardlake.Table{cardlake.Alerts} }

// ReadsLabels is true: what the tenant reports teaches, and is what alerts are measured by.
func (*Job) ReadsLabels() bool { return true }

// Parameters implements insights.Job.
func (*Job) Parameters() []insights.Parameter {
	return []insights.Parameter{
		{Name: "budget", Default: "100", Doc: "alerts a day at most", Check: whole(1, 500)},
		{Name: "severity", Default: "medium", Doc: "least severity of an alert: low, medium, high or critical", Check: severity},
		{Name: "days", Default: "7", Doc: "days before the newest event's end whose alerts are given anew", Check: whole(1, 31)},
		{Name: "history_days", Default: "90", Doc: "days to learn from, rounded up to a whole month", Check: whole(7, 180)},
		{Name: "warm_days", Default: "14", Doc: "first days of the history, which are learned from and not scored", Check: whole(1, 90)},
		{Name: "refit_days", Default: "7", Doc: "days between models", Check: whole(1, 31)},
	}
}

func whole(least, most int) func(string) error {
	return func(v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < least || n > most {
			return fmt.Errorf("is not a whole number from %d to %d", least, most)
		}
		return nil
	}
}

var severities = [...]features.Severity{features.Low, features.Medium, features.High, features.Critical}

func severity(v string) error {
	if rank(features.Severity(v)) < 0 {
		return errors.New("is none of low, medium, high, critical")
	}
	return nil
}

func rank(s features.Severity) int {
	for i, name := range severities {
		if name == s {
			return i
		}
	}
	return -1
}

// settings are a run's parameters, read.
type settings struct {
	budget, days, history, warm, refit int
	severity                           int // rank
}

func parse(v insights.Values) settings {
	n := func(name string) int {
		n, _ := strconv.Atoi(v[name]) // checked
		return n
	}
	return settings{n("budget"), n("days"), n("history_days"), n("warm_days"), n("refit_days"), rank(features.Severity(v["severity"]))}
}

// date is a UTC day: days since the epoch.
type date = cardlake.Day

func dateOf(t time.Time) date { return cardlake.DayOf(t.UnixMicro()) }

// run is one run on its way.
type run struct {
	*insights.Task
	settings
	days   []*day // of the history, those without events left out
	labels *labels
	// dismissed is when the tenant dismissed alerts of a card and pattern.
	dismissed map[subject][]dismissal
}

// Run computes features of what has no checkpoint, scores the last days, and writes their
// alerts. It refuses a tenant that has no day after the first ones, or fewer events in these than
// detectors need.
func (j *Job) Run(ctx context.Context, t *insights.Task) error {
	r := &run{Task: t, settings: parse(t.Values)}
	var err error
	if err = r.list(ctx, j.Version()); err != nil {
		return err
	}
	if err = r.compute(ctx); err != nil {
		return err
	}
	if r.labels, err = readLabels(ctx, t, r.days[0].date); err != nil {
		return err
	}
	r.dismissed = r.dismissals()
	first := r.firstScored()
	if first < 0 {
		return insights.Refuse(
			fmt.Sprintf("a day with events after %d days of history, and of the %d days before it a sample of %d authorizations, at most %d a day",
				r.warm, referenceDays, leastReference, sampleADay),
			"%d days with events over a span of %d, with %d authorizations", len(r.days), r.days[len(r.days)-1].date-r.days[0].date+1, r.events())
	}
	from := max(r.days[first].date, dateOf(t.AsOf.Add(-time.Microsecond))-date(r.settings.days)+1)
	t.Covers(from.Time(), t.AsOf)
	scored, err := r.score(ctx, first, from)
	if err != nil {
		return err
	}
	if err := r.write(ctx, scored); err != nil {
		return err
	}
	return r.card(scored)
}

func (r *run) events() (n int) {
	for _, d := range r.days {
		n += d.events
	}
	return n
}

// isScored says whether there is enough to score day i by.
func (r *run) isScored(i int) bool {
	return r.days[i].date >= r.days[0].date+date(r.warm) && len(reference(r.days, r.boundary(i))) >= leastReference
}

// firstScored is the index of the first day that is scored, -1 if there is none.
func (r *run) firstScored() int {
	for i := range r.days {
		if r.isScored(i) {
			return i
		}
	}
	return -1
}
