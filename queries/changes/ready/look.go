package ready

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/reconcile"
)

// state is what a look has found.
type state struct {
	through    map[cardlake.Tenant]time.Time
	partitions []Partition // by day and tenant
}

// look compares the last days.
//
// A tenant's rows are all there up to the earliest of: the first minute that is not complete; the
// minute up to which every processor has sent its totals; the time up to which every partition of
// the stream has brought events. A processor counts a minute behind its events, and emits the
// totals of all tenants together, so before that time a minute without rows and totals is one in
// which nothing happened.
func (w *Watcher) look(ctx context.Context) (state, error) {
	now := w.cfg.Now().UTC()
	since := now.Truncate(24*time.Hour).AddDate(0, 0, -w.cfg.Days)
	reached, err := w.reached(ctx, since)
	if err != nil {
		return state{}, err
	}
	if reached.After(now) {
		reached = now // a clock that is ahead makes no day end
	}
	report, err := reconcile.Run(ctx, w.deps.Asker, reconcile.Config{Since: since, MaxListed: -1, Now: w.cfg.Now})
	if err != nil {
		return state{}, err
	}
	// The sums come last, so that they have all that was found complete.
	sums, positions, err := w.sums(ctx, since)
	if err != nil {
		return state{}, err
	}
	out := state{through: map[cardlake.Tenant]time.Time{}}
	for _, t := range report.Tenants {
		out.through[t.Tenant] = reached
	}
	before := func(tenant cardlake.Tenant, at time.Time) {
		if has, ok := out.through[tenant]; ok && at.Before(has) {
			out.through[tenant] = at
		}
	}
	for _, m := range report.Minutes {
		if m.Status != reconcile.Complete {
			before(m.Tenant, m.Minute)
		}
	}
	for _, g := range report.Gaps {
		after := g.After
		if after.Before(since) {
			after = since
		}
		before(g.Tenant, after)
	}
	for _, p := range sums {
		day, err := time.Parse(time.DateOnly, p.Partition)
		if err != nil {
			return state{}, err
		}
		through := out.through[p.Tenant]
		p.ValidThrough = through
		out.partitions = append(out.partitions, Partition{p, !through.Before(day.AddDate(0, 0, 1))})
	}
	if positions != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.marks = append(w.marks[max(0, len(w.marks)-maxMarks+1):], mark{positions, maps.Clone(out.through)})
	}
	return out, nil
}

func literal(t time.Time) string {
	return "TIMESTAMP WITH TIME ZONE '" + t.UTC().Format("2006-01-02 15:04:05") + " UTC'"
}

// sums adds up each tenant's days, and says before which positions all of that lies, if the asker
// is told.
func (w *Watcher) sums(ctx context.Context, since time.Time) (out []Detail, positions cardlake.Positions, err error) {
	snapshot, err := w.each(ctx, `
SELECT date_trunc('day', event_time) AS day, tenant, currency, count(*) AS events, sum(amount) AS amount
FROM cards.transactions WHERE event_time >= `+literal(since)+` GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`, func(row []any) error {
		day, ok := row[0].(time.Time)
		tenant, ok2 := row[1].(string)
		currency, ok3 := row[2].(string)
		events, ok4 := row[3].(int64)
		amount, ok5 := row[4].(decimal128.Num)
		if !ok || !ok2 || !ok3 || !ok4 || !ok5 {
			return errors.New("the sums have another form")
		}
		name := day.Format(time.DateOnly)
		if n := len(out); n == 0 || out[n-1].Tenant != cardlake.Tenant(tenant) || out[n-1].Partition != name {
			out = append(out, Detail{Table: cardlake.Transactions.FullName(), Tenant: cardlake.Tenant(tenant), Partition: name, Sums: map[string]string{}})
		}
		p := &out[len(out)-1]
		p.Rows += events
		p.Sums[currency] = amount.ToString(4)
		return nil
	})
	for i := range out {
		out[i].Snapshot = snapshot.ID
	}
	return out, snapshot.Positions, err
}

// reached is the time up to which all processors have sent totals, and all partitions of the
// stream have brought events; the zero time if nothing has.
func (w *Watcher) reached(ctx context.Context, since time.Time) (reached time.Time, err error) {
	_, err = w.each(ctx, `
SELECT min(reached) AS reached FROM (
  SELECT max(minute) AS reached FROM cards.control_totals WHERE minute >= `+literal(since)+` GROUP BY region, processor
) AS processors`, func(row []any) error {
		if at, ok := row[0].(time.Time); ok {
			reached = at.Add(time.Minute)
		}
		return nil
	})
	if err != nil || reached.IsZero() {
		return time.Time{}, err
	}
	info, err := w.deps.Asker.Describe(ctx, cardlake.Transactions.FullName())
	if err != nil {
		return time.Time{}, err
	}
	if info.Column("stream") != grants.Clear || info.Column("stream_partition") != grants.Clear {
		// Any partition may lag, for as long as none is held to be idle.
		if at := w.cfg.Now().Add(-w.cfg.Idle); at.Before(reached) {
			reached = at.UTC()
		}
		return reached, nil
	}
	_, err = w.each(ctx, `
SELECT min(reached) AS reached FROM (
  SELECT max(event_time) AS reached FROM cards.transactions WHERE event_time >= `+literal(since)+` GROUP BY stream, stream_partition
) AS partitions WHERE reached >= `+literal(reached.Add(-w.cfg.Idle)), func(row []any) error {
		// A processor counts a minute when it is over: what a partition has brought of the next
		// one is behind all of it.
		if at, ok := row[0].(time.Time); ok && at.Before(reached) {
			reached = at
		}
		return nil
	})
	return reached, err
}

// each calls f with every row of the answer, and returns the state of the only table.
func (w *Watcher) each(ctx context.Context, sql string, f func(row []any) error) (snapshot queries.Snapshot, err error) {
	r, err := w.deps.Asker.Query(ctx, sql)
	if err != nil {
		return snapshot, fmt.Errorf("look at partitions: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if s := r.Snapshots(); len(s) > 0 {
		snapshot = s[0]
	}
	row := make([]any, len(r.Columns()))
	for {
		switch err := r.Next(row); {
		case errors.Is(err, io.EOF):
			return snapshot, nil
		case err != nil:
			return snapshot, err
		}
		if err := f(row); err != nil {
			return snapshot, err
		}
	}
}
