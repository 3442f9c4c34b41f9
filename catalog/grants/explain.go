package grants

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	cedar "github.com/cedar-policy/cedar-go"
)

// Finding says how much of a table's columns of one tag is given in the rows of one tenant,
// and why.
type Finding struct {
	Tag     cardlake.Tag
	Columns []string
	Access  Access
	// Policies decided: they permit, or, if IsForbidden, they forbid what others permit. None
	// decided where nothing permits.
	Policies    []*Policy
	IsForbidden bool
}

// Explain says for each tag of the table what the caller is given in the rows of the tenant
// now, and why. The empty tenant stands for rows of no tenant and of unknown tenants. The
// error says why nothing can be said: an unknown principal or tenant, an action of no table.
func (s *Set) Explain(c Caller, a Action, t *cardlake.Table, tenant cardlake.Tenant, now time.Time) ([]Finding, error) {
	q, reason := s.ask(c, a, now)
	switch {
	case q == nil:
	case !slices.Contains(tableActions, a):
		reason = string(a) + " is not asked for a table"
	case c.Tenant != "" && tenant != c.Tenant:
		reason = "the caller is narrowed to another tenant"
	case tenant != "" && !s.knows(tenant):
		reason = "there is no tenant " + string(tenant) + " in the register"
	}
	if reason != "" {
		return nil, denied(reason)
	}
	e := newEvaluation(q, t)
	out := make([]Finding, len(e.tags))
	for i, tag := range e.tags {
		access, v := q.access(t, tenant, tag)
		out[i] = Finding{Tag: tag, Access: access, IsForbidden: len(v.forbids) > 0, Policies: s.policiesOf(append(v.permits, v.forbids...))}
	}
	for i, c := range t.Columns {
		f := &out[e.tagOf[i]]
		f.Columns = append(f.Columns, c.Name)
	}
	return out, nil
}

// denied is the error of what cannot be explained, for operators.
type denied string

func (d denied) Error() string { return string(d) }

func (s *Set) knows(tenant cardlake.Tenant) bool {
	_, ok := slices.BinarySearchFunc(s.tenants, tenant, func(r catalog.TenantRecord, name cardlake.Tenant) int {
		return strings.Compare(string(r.Name), string(name))
	})
	return ok
}

func (s *Set) policiesOf(ids []cedar.PolicyID) []*Policy {
	out := make([]*Policy, len(ids))
	for i, id := range ids {
		out[i] = s.byID[string(id)]
	}
	slices.SortFunc(out, func(a, b *Policy) int { return strings.Compare(a.ID, b.ID) })
	return slices.Compact(out)
}

// Candidates are the permits whose head holds for the principal and the action: if nothing is
// permitted, their conditions do not hold.
func (s *Set) Candidates(p Principal, a Action) []*Policy {
	q, _ := s.ask(Caller{Principal: p}, a, time.Time{})
	if q == nil {
		return nil
	}
	return slices.Clone(q.permits)
}

// Who returns what each principal may do with the table by the action, in order of principal:
// only decisions that permit. Each is taken with more than one factor shown, and once more as
// an emergency if that gives anything by a policy for emergencies.
func (s *Set) Who(a Action, t *cardlake.Table, now time.Time) []*Decision {
	var out []*Decision
	for _, p := range s.Principals() {
		usual, emergency := s.most(p.Principal)
		if d := s.Decide(usual, a, t, now); d.Allowed() {
			out = append(out, d)
		}
		if d := s.Decide(emergency, a, t, now); d.BreakGlass {
			out = append(out, d)
		}
	}
	return out
}

// most are the callers to whom most is given: as usual, and in an emergency.
func (s *Set) most(p Principal) (usual, emergency Caller) {
	usual = Caller{Principal: p, MFA: true}
	return usual, Caller{Principal: p, MFA: true, BreakGlass: true, Reason: "review"}
}

// ByTag returns the tags, of those that the table has, whose columns the scope gives with the
// access.
func (s *Scope) ByTag(t *cardlake.Table, a Access) []cardlake.Tag {
	var out []cardlake.Tag
	for i, c := range t.Columns {
		if s.Columns[i] == a && !slices.Contains(out, c.Tag) {
			out = append(out, c.Tag)
		}
	}
	slices.SortFunc(out, func(a, b cardlake.Tag) int {
		return cmp.Compare(slices.Index(tags, a), slices.Index(tags, b))
	})
	return out
}

// Rows says in words which rows the scope of the decision has.
func (d *Decision) Rows(s *Scope) string {
	switch named := len(d.Except) > 0 || len(d.Scopes) > 1; {
	case !s.Others:
		return join(s.Tenants)
	case !d.Table.ByTenant:
		return "all"
	case !named:
		return "every tenant"
	case len(d.Except) == 0:
		return "every other tenant"
	case len(d.Scopes) == 1:
		return "every tenant but " + join(d.Except)
	default:
		return "every other tenant but " + join(d.Except)
	}
}
