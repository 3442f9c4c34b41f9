// Package reconcile shows whether the lake is complete: it compares the rows of
// cards.transactions with what the processors counted, cards.control_totals, for each tenant
// and minute of event time.
//
// A processor counts a decision in the batch that makes the decision durable, and emits a
// minute's totals behind its events. So a difference that lasts is a row lost, added or
// changed on its way; and a gap in the numbers of a tenant's totals is a total lost. A
// difference in what has arrived a moment ago, or while a partition of the stream lags, says
// nothing yet.
package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// Querier runs statements for somebody, and says what they are given of a table; a
// [queries.Session] is one. Its bound on rows must allow a row for each tenant, minute and
// currency that is not complete.
type Querier interface {
	Query(ctx context.Context, sql string) (*queries.Result, error)
	Describe(ctx context.Context, table string) (queries.TableInfo, error)
}

// needed are the columns that are compared. What is masked cannot be.
var needed = map[*cardlake.Table][]string{
	cardlake.Transactions: {"tenant", "event_time", "currency", "approved", "amount", "ingested_at"},
	cardlake.ControlTotals: {
		"tenant", "minute", "processor", "currency", "events", "approved_events", "amount", "approved_amount",
		"first_sequence", "last_sequence", "emitted_at", "ingested_at",
	},
}

// Config says what is compared. The zero value compares everything.
type Config struct {
	// Since and Until bound the minutes: those from Since on that end at Until or before. They
	// are cut to whole minutes. The zero time is no bound.
	Since, Until time.Time
	// Tenant is the only tenant that is looked at; all if empty.
	Tenant cardlake.Tenant
	// Grace is how long after the last arrival of something of a minute, its end at the
	// earliest, a difference is not held to be final; 5 minutes if zero.
	Grace time.Duration
	// MaxLag is for how long after a minute's end a partition of the stream that has brought
	// nothing newer is held to lag rather than to be idle; 24 hours if zero.
	MaxLag time.Duration
	// MaxListed bounds the minutes and the gaps that the report lists one by one; 1000 if
	// zero, without bound if negative. The counts are always exact.
	MaxListed int
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Grace == 0 {
		c.Grace = 5 * time.Minute
	}
	if c.MaxLag == 0 {
		c.MaxLag = 24 * time.Hour
	}
	if c.MaxListed == 0 {
		c.MaxListed = 1000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Since, c.Until = c.Since.UTC().Truncate(time.Minute), c.Until.UTC().Truncate(time.Minute)
	return c
}

// Run compares the rows of the tenants that the querier is given. An error is the querier's, or
// says that the tenant's name is none, or, as queries.ErrNotPermitted, that a column which is
// compared is not given in clear. Who is not given the columns of the stream cannot tell a
// partition that lags from one that is idle: any may lag for Config.MaxLag.
func Run(ctx context.Context, q Querier, cfg Config) (Report, error) {
	cfg = cfg.withDefaults()
	if cfg.Tenant != "" {
		if err := cfg.Tenant.Validate(); err != nil {
			return Report{}, fmt.Errorf("reconcile: %w", err)
		}
	}
	now := cfg.Now()
	r := &run{Querier: q, cfg: cfg, now: now, reached: now, hasStreams: true}
	if err := r.describe(ctx); err != nil {
		return Report{}, fmt.Errorf("reconcile: %w", err)
	}
	r.report = Report{At: r.now.UTC(), Tenants: []Tenant{}, Minutes: []Minute{}, Gaps: []Gap{}}
	if err := r.compare(ctx); err != nil {
		return Report{}, fmt.Errorf("reconcile: compare minutes: %w", err)
	}
	if err := r.gaps(ctx); err != nil {
		return Report{}, fmt.Errorf("reconcile: look for gaps: %w", err)
	}
	return r.report, nil
}

// run is one Run.
type run struct {
	Querier
	cfg    Config
	now    time.Time
	report Report
	// reached is the event time that every partition of the stream has reached.
	reached time.Time
	// hasStreams says that the querier is told which partition a row is of.
	hasStreams bool
}

// describe looks whether what is needed is given.
func (r *run) describe(ctx context.Context) error {
	for _, t := range []*cardlake.Table{cardlake.Transactions, cardlake.ControlTotals} {
		info, err := r.Describe(ctx, t.FullName())
		if err != nil {
			return fmt.Errorf("%s: %w", t.FullName(), err)
		}
		for _, name := range needed[t] {
			if !isClear(&info, name) {
				return fmt.Errorf("%s: %w: what is compared must be given in clear", t.FullName(), queries.ErrNotPermitted)
			}
		}
		if t == cardlake.Transactions {
			r.hasStreams = isClear(&info, "stream") && isClear(&info, "stream_partition")
		}
	}
	if !r.hasStreams {
		r.reached = time.Time{}
	}
	return nil
}

func isClear(t *queries.TableInfo, column string) bool { return t.Column(column) == grants.Clear }

// compare fills in the tenants and their minutes.
func (r *run) compare(ctx context.Context) error {
	var open Minute
	var arrived time.Time
	finish := func() {
		if !open.Minute.IsZero() {
			r.judge(&open, arrived)
		}
		open, arrived = Minute{}, time.Time{}
	}
	err := r.each(ctx, compareSQL(&r.cfg, r.now, r.hasStreams), func(row []any) error {
		switch {
		case row[0] == nil && row[8] == nil: // no partition has brought anything
			return nil
		case row[0] == nil:
			r.reached = instant(row[8])
			return nil
		}
		tenant := cardlake.Tenant(text(row[0]))
		if row[1] == nil {
			r.report.Tenants = append(r.report.Tenants, Tenant{Tenant: tenant, Complete: number(row[3]), Rows: number(row[4]), Counted: number(row[9])})
			return nil
		}
		minute := instant(row[1])
		if tenant != open.Tenant || !minute.Equal(open.Minute) {
			finish()
			open = Minute{Tenant: tenant, Minute: minute}
		}
		open.Sums = append(open.Sums, Sums{
			Currency: cardlake.Currency(text(row[2])),
			Lake:     Sum{number(row[4]), number(row[5]), decimal(row[6]), decimal(row[7])},
			Totals:   Sum{number(row[9]), number(row[10]), decimal(row[11]), decimal(row[12])},
		})
		for _, v := range []any{row[8], row[13]} {
			if at := instant(v); at.After(arrived) {
				arrived = at
			}
		}
		return nil
	})
	finish()
	return err
}

// judge gives a minute that is not complete its status and counts it. arrived is when the
// newest of its rows and totals was read from the stream.
func (r *run) judge(m *Minute, arrived time.Time) {
	end := m.Minute.Add(time.Minute)
	if end.After(arrived) {
		arrived = end
	}
	// Totals are emitted, and events are out of order, by less than a minute.
	isLagging := r.reached.Before(end.Add(time.Minute)) && r.now.Sub(end) < r.cfg.MaxLag
	isPending := isLagging || r.now.Sub(arrived) < r.cfg.Grace
	t := r.tenant(m.Tenant)
	switch {
	case !isPending:
		m.Status = Wrong
		t.Wrong++
	case m.lacks():
		m.Status = Late
		t.Late++
	default:
		m.Status = Unconfirmed
		t.Unconfirmed++
	}
	r.report.Status = max(r.report.Status, m.Status)
	if r.cfg.MaxListed >= 0 && len(r.report.Minutes) >= r.cfg.MaxListed {
		r.report.Unlisted++
		return
	}
	r.report.Minutes = append(r.report.Minutes, *m)
}

// gaps fills in the gaps.
func (r *run) gaps(ctx context.Context) error {
	return r.each(ctx, gapsSQL(&r.cfg), func(row []any) error {
		g := Gap{
			Tenant: cardlake.Tenant(text(row[0])), Processor: text(row[1]),
			First: number(row[2]), Last: number(row[3]), After: instant(row[4]), Before: instant(row[5]), Status: Wrong,
		}
		// Totals of one tenant are read in order, but for the time after partitions were added.
		if r.now.Sub(instant(row[6])) < r.cfg.Grace {
			g.Status = Late
		}
		r.tenant(g.Tenant).Gaps++
		r.report.Status = max(r.report.Status, g.Status)
		if r.cfg.MaxListed >= 0 && len(r.report.Gaps) >= r.cfg.MaxListed {
			r.report.Unlisted++
			return nil
		}
		r.report.Gaps = append(r.report.Gaps, g)
		return nil
	})
}

// tenant returns the tenant's entry, which is the last one's most of the time.
func (r *run) tenant(name cardlake.Tenant) *Tenant {
	for i := len(r.report.Tenants) - 1; i >= 0; i-- {
		if r.report.Tenants[i].Tenant == name {
			return &r.report.Tenants[i]
		}
	}
	r.report.Tenants = append(r.report.Tenants, Tenant{Tenant: name})
	return &r.report.Tenants[len(r.report.Tenants)-1]
}
