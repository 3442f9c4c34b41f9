package export

import (
	"slices"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

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
