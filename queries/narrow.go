package queries

import (
	"sync"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Narrow returns permits that give of the rows those of one tenant, and nothing of tables that
// are not of tenants.
func Narrow(p Permits, tenant cardlake.Tenant) Permits {
	return &narrow{permits: p, tenant: tenant, memo: map[*grants.Decision]*grants.Decision{}}
}

// narrow keeps the decisions that it made of others, so that one that did not change is found
// equal at once.
type narrow struct {
	permits Permits
	tenant  cardlake.Tenant

	mu   sync.Mutex
	memo map[*grants.Decision]*grants.Decision
}

// maxMemo bounds how many decisions are kept: those of a few tables, of a few versions.
const maxMemo = 64

// Decide implements Permits.
func (n *narrow) Decide(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
	d := n.permits.Decide(c, a, t)
	if d == nil || !d.Allowed() {
		return d
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if made := n.memo[d]; made != nil {
		return made
	}
	if len(n.memo) >= maxMemo {
		clear(n.memo)
	}
	made := *d
	made.Scopes, made.Except = nil, nil
	if s := d.Scope(n.tenant); s != nil && t.ByTenant {
		made.Scopes = []grants.Scope{{Tenants: []cardlake.Tenant{n.tenant}, Columns: s.Columns}}
	} else {
		made.Reason = "the table has no rows of the tenant for the caller"
	}
	n.memo[d] = &made
	return &made
}
