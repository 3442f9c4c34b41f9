package insights_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
)

// late is a job that does something once its rows are written.
type late struct {
	counter
	after func()
}

func (l late) Run(ctx context.Context, t *insights.Task) error {
	err := l.counter.Run(ctx, t)
	l.after()
	return err
}

// withdrawable permits as others do, until the grant is withdrawn.
type withdrawable struct {
	insights.Permits
	gone *bool
}

func (w withdrawable) Permitted(c grants.Caller, a grants.Action) *grants.Ruling {
	if *w.gone {
		return &grants.Ruling{Principal: c.Principal, Action: a, Reason: "withdrawn"}
	}
	return w.Permits.Permitted(c, a)
}

// TestWithdrawnWhileItRuns: a run whose grant is withdrawn, or whose tenant is suspended, after it
// has read all rows is not published and leaves nothing.
func TestWithdrawnWhileItRuns(t *testing.T) {
	l := insightstest.New(t, acme)
	l.Add(transactions(acme, 1, 20)...)
	deps, gone := l.Deps(), false
	deps.Permits = withdrawable{deps.Permits, &gone}
	r := insights.New(deps, grants.Caller{Principal: insightstest.Principal})
	job := late{after: func() { gone = true }}
	if _, err := r.Run(t.Context(), job, insights.Request{Tenant: acme}); !errors.Is(err, insights.ErrNotPermitted) {
		t.Errorf("withdrawn while it ran: %v", err)
	}
	if got := l.Ask(acme, `SELECT count(*) FROM insights.runs`); got[0][0] != int64(0) {
		t.Errorf("%v runs", got)
	}
	for info, err := range l.Store.List(t.Context(), "data/predictions/") {
		t.Errorf("left %s (%v)", info.Name, err)
	}
}

// watched is a gateway that shows what it is asked.
type watched struct {
	insights.Gateway
	see func(queries.At)
}

func (w watched) QueryAt(ctx context.Context, c grants.Caller, at queries.At, sql string) (*queries.Result, error) {
	w.see(at)
	return w.Gateway.QueryAt(ctx, c, at, sql)
}

// TestNoMasks: every statement of a run is of one tenant, and refused if a value would be masked.
func TestNoMasks(t *testing.T) {
	l := insightstest.New(t, acme)
	l.Add(transactions(acme, 1, 20)...)
	deps, asked := l.Deps(), 0
	deps.Gateway = watched{deps.Gateway, func(at queries.At) {
		if asked++; !at.Clear || at.Tenant != acme {
			t.Errorf("asked %+v", at)
		}
	}}
	if _, err := insights.New(deps, grants.Caller{Principal: insightstest.Principal}).Run(t.Context(), counter{}, insights.Request{Tenant: acme}); err != nil || asked == 0 {
		t.Errorf("%d statements, %v", asked, err)
	}
}
