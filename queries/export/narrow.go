package export

import (
	"slices"
	"sync"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// Narrow returns permits that give of the rows those of one tenant, and nothing of tables that
// are not of tenants.
func Narrow(p queries.Permits, tenant cardlake.Tenant) queries.Permits {
	return &narrow{permits: p, tenant: tenant, memo: map[*grants.Decision]*grants.Decision{}}
}

// narrow keeps the decisions that it made of others, so that one that did not change is found
// equal at once.
type narrow struct {
	permits queries.Permits
	tenant  cardlake.Tenant

	mu   sync.Mutex
	memo map[*grants.Decision]*grants.Decision
}

// maxMemo bounds how many decisions are kept: those of a few tables, of a few versions.
const maxMemo = 64

// Decide implements queries.Permits.
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

// tenantsOf are the tenants that a decision names; whole says that there are others besides.
func tenantsOf(d *grants.Decision) (tenants []cardlake.Tenant, whole bool) {
	for _, s := range d.Scopes {
		tenants = append(tenants, s.Tenants...)
		whole = whole || s.Others
	}
	slices.Sort(tenants)
	return slices.Compact(tenants), whole
}

// givenOf is what the decision, which is narrowed, gives of the used columns; nil used: of all.
func givenOf(d *grants.Decision, used func(i int) bool) Given {
	g := Given{Table: d.Table.FullName(), Columns: map[string]grants.Access{}}
	for i, a := range d.Access() {
		if a != grants.Dropped && (used == nil || used(i)) {
			g.Columns[d.Table.Columns[i].Name] = a
		}
	}
	return g
}

// lacks names a column of which the decision gives less than was given, or the table if it gives
// nothing; "" if it gives as much.
func (g *Given) lacks(d *grants.Decision) string {
	if d == nil || !d.Allowed() {
		return g.Table
	}
	access := d.Access()
	for i, c := range d.Table.Columns {
		if access[i] < g.Columns[c.Name] {
			return g.Table + "." + c.Name
		}
	}
	return ""
}
