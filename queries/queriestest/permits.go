package queriestest

import (
	"context"
	"slices"
	"sync"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Caller is somebody who asks.
var Caller = grants.Caller{Principal: grants.Principal{Kind: grants.DataScientist, Name: "ana"}, Origin: "test"}

// Permits are decisions made by hand. It implements queries.Permits.
type Permits func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision

// Decide implements queries.Permits.
func (p Permits) Decide(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
	return p(c, a, t)
}

// Everything permits everybody to read everything but what is sealed.
var Everything = Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
	return Decision(c, a, t, grants.Scope{Others: true, Columns: Columns(t, nil)})
})

// Nothing permits nothing.
var Nothing = Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
	d := Decision(c, a, t)
	d.Reason = "no policy permits it"
	return d
})

// Only permits to read the rows of these tenants, and no table that is not one of tenants; the
// named columns as access says and all others in clear.
func Only(access map[string]grants.Access, tenants ...cardlake.Tenant) Permits {
	slices.Sort(tenants)
	return func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		if !t.ByTenant {
			return Nothing(c, a, t)
		}
		return Decision(c, a, t, grants.Scope{Tenants: tenants, Columns: Columns(t, access)})
	}
}

// Decision is one of the scopes.
func Decision(c grants.Caller, a grants.Action, t *cardlake.Table, scopes ...grants.Scope) *grants.Decision {
	return &grants.Decision{Principal: c.Principal, Action: a, Table: t, Scopes: scopes, Policies: []string{"by-hand"}, Version: "1"}
}

// Columns gives the named columns as access says, sealed ones not at all, and all others in
// clear.
func Columns(t *cardlake.Table, access map[string]grants.Access) []grants.Access {
	out := make([]grants.Access, len(t.Columns))
	for i, c := range t.Columns {
		out[i] = grants.Clear
		if a, ok := access[c.Name]; ok {
			out[i] = a
		}
		if c.Tag == cardlake.Sealed {
			out[i] = grants.Dropped
		}
	}
	return out
}

// Log keeps audit records in memory. It implements queries.Recorder, and is safe for concurrent
// use.
type Log struct {
	mu      sync.Mutex
	records []audit.Record
	err     error
}

// Append implements queries.Recorder.
func (l *Log) Append(ctx context.Context, r audit.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	l.records = append(l.records, r)
	return nil
}

// Fail makes Append return the error from now on; nil mends it.
func (l *Log) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// Records returns what was appended.
func (l *Log) Records() []audit.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.records)
}
