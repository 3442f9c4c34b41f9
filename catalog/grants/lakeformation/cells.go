package lakeformation

import (
	"maps"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// maxSteps bounds how often decisions that depend on time are taken anew; policies compare the
// time with constants only, so there are as many steps as constants.
const maxSteps = 1000

// view is what one principal may see of one table whatever the moment and the number of
// factors: the meet of decisions.
type view struct {
	table *cardlake.Table
	// named is the access to each column by tenant, and others that to the rows of every
	// tenant that is not named, and of none. A nil access is that to nothing.
	named    map[cardlake.Tenant][]grants.Access
	others   []grants.Access
	policies []string
	limited  bool // some decision has limits
	reason   string
	until    time.Time // when the first decision ends, zero if it does not
}

// decided returns the meet of all decisions on the principal's query from now on. The second
// factor is not known to AWS; an emergency is declared at the gateway only.
func decided(d Decider, p grants.Principal, t *cardlake.Table, now time.Time) *view {
	var v *view
	for _, mfa := range []bool{false, true} {
		at := now
		for range maxSteps {
			decision := d.Decide(grants.Caller{Principal: p, MFA: mfa}, grants.Query, t, at)
			next := viewOf(t, decision)
			if v == nil {
				v = next
				v.until = decision.Until
			} else {
				v = meet(v, next)
			}
			// A decision that no longer ends is the last; one that does not end later than it
			// begins says nothing of what follows.
			if decision.Until.IsZero() {
				at = time.Time{}
				break
			}
			if !decision.Until.After(at) {
				break
			}
			at = decision.Until
		}
		if !at.IsZero() {
			return &view{table: t, reason: "the decisions go on changing with time", until: v.until}
		}
	}
	return v
}

func viewOf(t *cardlake.Table, d *grants.Decision) *view {
	v := &view{table: t, named: map[cardlake.Tenant][]grants.Access{}, policies: d.Policies, reason: d.Reason, limited: d.Allowed() && d.Limits != grants.Limits{}}
	for _, tenant := range d.Except {
		v.named[tenant] = nil
	}
	for _, s := range d.Scopes {
		for _, tenant := range s.Tenants {
			v.named[tenant] = s.Columns
		}
		if s.Others {
			v.others = s.Columns
		}
	}
	return v
}

// access returns the access to the tenant's rows; the empty tenant stands for rows of none.
func (v *view) access(tenant cardlake.Tenant) []grants.Access {
	if access, ok := v.named[tenant]; ok {
		return access
	}
	return v.others
}

// meet is what both give.
func meet(a, b *view) *view {
	out := &view{
		table: a.table, named: map[cardlake.Tenant][]grants.Access{}, others: narrower(a.others, b.others),
		limited: a.limited || b.limited, reason: a.reason, until: a.until,
	}
	if out.reason == "" {
		out.reason = b.reason
	}
	for _, named := range []map[cardlake.Tenant][]grants.Access{a.named, b.named} {
		for tenant := range named {
			out.named[tenant] = narrower(a.access(tenant), b.access(tenant))
		}
	}
	out.policies = slices.Compact(slices.Sorted(slices.Values(slices.Concat(a.policies, b.policies))))
	return out
}

func narrower(a, b []grants.Access) []grants.Access {
	if a == nil || b == nil {
		return nil
	}
	out := make([]grants.Access, len(a))
	for i := range a {
		out[i] = min(a[i], b[i])
	}
	return out
}

// group is rows of which the same columns are given clear.
type group struct {
	columns []string // in the table's order
	// tenants are those whose rows are given; with others they are those whose rows are not,
	// and all other rows are. In order of name.
	tenants []cardlake.Tenant
	others  bool
}

// groups returns what is given clear, in order of columns.
func (v *view) groups() []group {
	byColumns := map[string]*group{}
	key := func(access []grants.Access) string {
		b := make([]byte, len(access))
		for i, a := range access {
			if a == grants.Clear {
				b[i] = 1
			}
		}
		return string(b)
	}
	find := func(access []grants.Access) *group {
		if !slices.Contains(access, grants.Clear) {
			return nil
		}
		g := byColumns[key(access)]
		if g == nil {
			g = &group{}
			for i, a := range access {
				if a == grants.Clear {
					g.columns = append(g.columns, v.table.Columns[i].Name)
				}
			}
			byColumns[key(access)] = g
		}
		return g
	}
	rest := find(v.others)
	if rest != nil {
		rest.others = true
	}
	if v.table.Column("tenant") != nil {
		for _, tenant := range slices.Sorted(maps.Keys(v.named)) {
			g := find(v.named[tenant])
			if g != nil && g != rest {
				g.tenants = append(g.tenants, tenant)
			}
			if g != rest && rest != nil {
				rest.tenants = append(rest.tenants, tenant)
			}
		}
	}
	var out []group
	for _, k := range slices.Sorted(maps.Keys(byColumns)) {
		if g := byColumns[k]; g.others || len(g.tenants) > 0 {
			out = append(out, *g)
		}
	}
	return out
}

// masked returns the columns that some row gives masked and none clear enough for AWS.
func (v *view) masked() []string {
	var out []string
	for i, c := range v.table.Columns {
		is := func(access []grants.Access) bool { return access != nil && access[i] == grants.Masked }
		if is(v.others) || slices.ContainsFunc(slices.Collect(maps.Values(v.named)), is) {
			out = append(out, c.Name)
		}
	}
	return out
}

// within reports whether b gives every cell that v gives, each as clear.
func (v *view) within(b *view) bool {
	le := func(x, y []grants.Access) bool {
		for i := range x {
			if x[i] != grants.Dropped && (y == nil || x[i] > y[i]) {
				return false
			}
		}
		return true
	}
	for _, named := range []map[cardlake.Tenant][]grants.Access{v.named, b.named} {
		for tenant := range named {
			if !le(v.access(tenant), b.access(tenant)) {
				return false
			}
		}
	}
	return le(v.others, b.others)
}
