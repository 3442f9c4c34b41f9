package lakeformation

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
)

// maxFilters is how many filters of one table a principal may be granted (Lake Formation
// developer guide, "Data filtering limitations"). A grant here is of one filter, of the ten
// that the guide allows.
const maxFilters = 100

// ours begins the names of objects that this package makes.
const ours = "cardlake-"

// Note is something that the policies give and AWS will not.
type Note struct {
	Principal grants.Principal
	Table     *cardlake.Table
	Text      string
}

// String is "KIND/NAME on TABLE: text".
func (n Note) String() string {
	s := n.Principal.String()
	if n.Table != nil {
		s += " on " + n.Table.FullName()
	}
	return s + ": " + n.Text
}

// filter is a data cells filter, for one principal.
type filter struct {
	table   *cardlake.Table
	name    string
	columns []string
	rows    rows
	why     []string
}

// reader is what is compiled for one principal.
type reader struct {
	principal grants.Principal
	role      Role
	filters   []filter // in order of table and name
	why       []string
}

// compiled is what the decisions are in AWS.
type compiled struct {
	version string
	readers []reader // in order of principal
	owners  []owned  // whose keys are needed, in order
	notes   []Note
}

// owned is an owner of objects that must be decrypted.
type owned struct {
	owner keys.Owner
	why   []string
}

// compile decides what is given to each principal of the mapping.
func compile(d Decider, m *Mapping, k Keys, tenants []catalog.TenantRecord, now time.Time) (*compiled, error) {
	c := &compiled{version: d.Version()}
	known := make([]cardlake.Tenant, len(tenants))
	storage := map[cardlake.Tenant]keys.Owner{}
	for i, t := range tenants {
		known[i] = t.Name
		storage[t.Name] = keys.Owner(t.StorageID)
	}
	slices.Sort(known)
	needed := map[keys.Owner][]string{}
	need := func(owner keys.Owner, why []string) {
		needed[owner] = slices.Compact(slices.Sorted(slices.Values(slices.Concat(needed[owner], why))))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Roles)) {
		p, err := grants.ParsePrincipal(name)
		if err != nil {
			return nil, fmt.Errorf("compile grants: %q: %w", name, err)
		}
		r := reader{principal: p, role: m.Roles[name]}
		for _, t := range m.tables() {
			v := decided(d, p, t, now)
			note := func(format string, args ...any) {
				c.notes = append(c.notes, Note{p, t, fmt.Sprintf(format, args...)})
			}
			kept(d, p, t, v, now, note)
			if v.limited && !m.IgnoreLimits {
				note("kept to the gateway: Athena does not know the decision's limits (ignore_limits gives it without them)")
				continue
			}
			filters, err := v.filters(p, known, note)
			if err != nil {
				note("kept to the gateway: %v", err)
				continue
			}
			if len(filters) == 0 {
				continue
			}
			if masked := v.masked(); len(masked) > 0 {
				note("without what the gateway masks: %s", strings.Join(masked, ", "))
			}
			r.filters = append(r.filters, filters...)
			r.why = slices.Compact(slices.Sorted(slices.Values(slices.Concat(r.why, v.policies))))
			need(keys.Lake, v.policies) // the table's metadata
			for _, tenant := range known {
				if t.ByTenant && slices.Contains(v.access(tenant), grants.Clear) {
					need(storage[tenant], v.policies)
				}
			}
		}
		c.readers = append(c.readers, r)
	}
	var errs []error
	for _, owner := range slices.Sorted(maps.Keys(needed)) {
		if len(k[owner]) == 0 {
			errs = append(errs, fmt.Errorf("there is no KMS key of owner %q: name it in the file of keys", owner))
		}
		c.owners = append(c.owners, owned{owner, needed[owner]})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("compile grants: %w", err)
	}
	return c, nil
}

// kept notes what the gateway gives beyond v to who shows a second factor, in an emergency, or
// for some time.
func kept(d Decider, p grants.Principal, t *cardlake.Table, v *view, now time.Time, note func(string, ...any)) {
	if v.reason != "" && v.named == nil {
		note("kept to the gateway: %s", v.reason)
		return
	}
	beyond := func(c grants.Caller) bool {
		c.Principal = p
		return !viewOf(t, d.Decide(c, grants.Query, t, now)).within(v)
	}
	plain := beyond(grants.Caller{})
	if plain && !v.until.IsZero() {
		note("kept to the gateway: what is given for a time only, next to change %s", v.until.UTC().Format(time.RFC3339))
	} else if plain {
		note("kept to the gateway: what is given only to who shows a single factor")
	}
	if !plain && beyond(grants.Caller{MFA: true}) {
		note("kept to the gateway: what is given only to who shows a second factor")
	}
	if beyond(grants.Caller{BreakGlass: true, MFA: true, Reason: "emergency"}) && !beyond(grants.Caller{MFA: true}) {
		note("kept to the gateway: what is given in an emergency only")
	}
}

// filters returns the filters that give what v gives clear.
func (v *view) filters(p grants.Principal, known []cardlake.Tenant, note func(string, ...any)) ([]filter, error) {
	var out []filter
	for _, g := range v.groups() {
		parts, isListed := g.split(known)
		for i, r := range parts {
			name := ours + string(p.Kind) + "-" + p.Name + "-" + digest(g.columns...)
			if len(parts) > 1 {
				name += "-" + strconv.Itoa(i+1)
			}
			out = append(out, filter{table: v.table, name: name, columns: g.columns, rows: r, why: v.policies})
		}
		if isListed {
			note("names the tenants there are, for the exceptions are too many: a new one is read after the next apply")
		}
	}
	if len(out) > maxFilters {
		return nil, fmt.Errorf("it takes %d filters, and Lake Formation grants a principal %d of a table", len(out), maxFilters)
	}
	slices.SortFunc(out, func(a, b filter) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// digest is 16 letters that depend on all of the texts.
func digest(texts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\x00")))
	return string(cardlake.AppendLetters(nil, sum[:8]))
}
