package grants

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// tableActions are asked for a table, lakeActions for the lake or a tenant.
var (
	tableActions = []Action{Query, ReadChanges, Export, ReadAudit}
	lakeActions  = []Action{ReadAudit, Subscribe, Maintain, Grant, Detokenise, RunJobs, Review}
)

// question is all that one principal's answers depend on but the resource.
type question struct {
	set              *Set
	request          cedar.Request
	permits, forbids applicable
	resource         cedar.Entity
}

// applicable are the policies whose scope holds for a principal and an action.
type applicable []*Policy

// All implements cedar.PolicyIterator, in the order of the set.
func (a applicable) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, p := range a {
			if !yield(cedar.PolicyID(p.ID), p.compiled) {
				return
			}
		}
	}
}

// bounds are the time bounds of all.
func (a applicable) bounds() []timeBound {
	var out []timeBound
	for _, p := range a {
		out = append(out, p.bounds...)
	}
	return out
}

// ask returns the question of a caller, or the reason why there is none.
func (s *Set) ask(c Caller, a Action, now time.Time) (*question, string) {
	uid := principalUID(c.Principal)
	principal, ok := s.entities[uid]
	if !ok {
		return nil, fmt.Sprintf("there is no principal %s in %s", c.Principal, principalsFile)
	}
	action, ok := s.actions[a]
	if !ok {
		return nil, fmt.Sprintf("there is no action %q", a)
	}
	q := &question{set: s, request: cedar.Request{Principal: uid, Action: action.UID, Context: cedar.NewRecord(cedar.RecordMap{
		"now":         types.NewDatetime(now),
		"mfa":         types.Boolean(c.MFA),
		"break_glass": types.Boolean(c.BreakGlass),
		"reason":      types.String(strings.TrimSpace(c.Reason)),
	})}}
	for _, p := range s.policies {
		switch {
		case !p.appliesTo(principal, action):
		case p.IsPermit:
			q.permits = append(q.permits, p)
		default:
			q.forbids = append(q.forbids, p)
		}
	}
	return q, ""
}

// Get implements types.EntityGetter: the resource, and what the set knows.
func (q *question) Get(uid types.EntityUID) (types.Entity, bool) {
	if uid == q.resource.UID {
		return q.resource, true
	}
	e, ok := q.set.entities[uid]
	return e, ok
}

// which evaluates policies of one effect for one resource and returns those that hold.
func (q *question) which(policies applicable, resource cedar.Entity) []cedar.PolicyID {
	if len(policies) == 0 {
		return nil
	}
	q.resource, q.request.Resource = resource, resource.UID
	_, diagnostic := cedar.Authorize(policies, q, q.request)
	var ids []cedar.PolicyID
	for _, r := range diagnostic.Reasons {
		ids = append(ids, r.PolicyID)
	}
	// Cedar passes over a policy that cannot be evaluated, as an attribute is missing
	// ("Authorization", docs.cedarpolicy.com). That must not widen: such a forbid forbids.
	for _, e := range diagnostic.Errors {
		if !q.set.byID[string(e.PolicyID)].IsPermit {
			ids = append(ids, e.PolicyID)
		}
	}
	return ids
}

// verdict says what decided: the policies that permit, or those that forbid what others
// permit. Neither is the default, which is to deny.
type verdict struct {
	permits, forbids []cedar.PolicyID
}

// about answers for one resource of a lake action.
func (q *question) about(resource cedar.Entity) verdict {
	permits := q.which(q.permits, resource)
	if len(permits) == 0 {
		return verdict{}
	}
	if forbids := q.which(q.forbids, resource); len(forbids) > 0 {
		return verdict{forbids: forbids}
	}
	return verdict{permits: permits}
}

// sliceOf is the resource of a table's columns of a tag in a tenant's rows.
func sliceOf(t *cardlake.Table, tenant cardlake.Tenant, tag cardlake.Tag, a Access) cedar.Entity {
	return cedar.Entity{
		UID:     types.NewEntityUID(sliceType, types.String(t.FullName())),
		Parents: cedar.NewEntityUIDSet(tableUID(t.FullName())),
		Attributes: cedar.NewRecord(cedar.RecordMap{
			"tenant": tenantUID(tenant), "tag": types.String(tag), "access": types.String(a.String()),
		}),
	}
}

// access answers for a tenant and a tag: the access, and what decided it. A forbid of masked
// values forbids clear ones too.
func (q *question) access(t *cardlake.Table, tenant cardlake.Tenant, tag cardlake.Tag) (Access, verdict) {
	if !slices.Contains(tags, tag) {
		return Dropped, verdict{}
	}
	clear, masked := sliceOf(t, tenant, tag, Clear), sliceOf(t, tenant, tag, Masked)
	permitted, access := q.which(q.permits, clear), Clear
	if len(permitted) == 0 {
		permitted, access = q.which(q.permits, masked), Masked
	}
	if len(permitted) == 0 {
		return Dropped, verdict{}
	}
	if forbids := q.which(q.forbids, masked); len(forbids) > 0 {
		return Dropped, verdict{forbids: forbids}
	}
	if access == Masked {
		return Masked, verdict{permits: permitted}
	}
	forbids := q.which(q.forbids, clear)
	if len(forbids) == 0 {
		return Clear, verdict{permits: permitted}
	}
	if permitted = q.which(q.permits, masked); len(permitted) > 0 {
		return Masked, verdict{permits: permitted}
	}
	return Dropped, verdict{forbids: forbids}
}

// interval returns when the answers for the principal may change: the last such instant that
// is not after now, and the first after it, in milliseconds since 1970.
func (q *question) interval(now int64) (from, until int64) {
	from, until = minTime, maxTime
	attributes := q.set.entities[q.request.Principal].Attributes
	for _, policies := range []applicable{q.permits, q.forbids} {
		for _, b := range policies.bounds() {
			at := b.at
			if b.attribute != "" {
				own, ok := attributes.Get(b.attribute)
				if !ok {
					continue
				}
				at += own.(types.Datetime).Milliseconds()
			}
			if at <= now {
				from = max(from, at)
			} else {
				until = min(until, at)
			}
		}
	}
	return from, until
}

// decide evaluates a decision, and says from when to when it holds.
func (s *Set) decide(c Caller, a Action, t *cardlake.Table, now time.Time) (d *Decision, from, until int64) {
	d = &Decision{Principal: c.Principal, Action: a, Table: t, Version: s.version}
	q, reason := s.ask(c, a, now)
	if q == nil {
		d.Reason = reason
		return d, minTime, maxTime
	}
	if !slices.Contains(tableActions, a) {
		d.Reason = fmt.Sprintf("%s is not asked for a table", a)
		return d, minTime, maxTime
	}
	from, until = q.interval(now.UnixMilli())
	if until != maxTime {
		d.Until = time.UnixMilli(until).UTC()
	}

	e := newEvaluation(q, t)
	others := e.columns("")
	if t.ByTenant {
		byColumns := map[string]int{} // index of the scope
		classes := map[class][]Access{}
		named := q.named()
		for _, record := range s.tenants {
			of := classOf(record, named)
			columns, ok := classes[of]
			if !ok {
				columns = e.columns(record.Name)
				classes[of] = columns
			}
			switch key := string(bytesOf(columns)); {
			case columns == nil && others != nil:
				d.Except = append(d.Except, record.Name)
			case columns == nil:
			case others != nil && slices.Equal(columns, others):
			default:
				at, ok := byColumns[key]
				if !ok {
					at = len(d.Scopes)
					byColumns[key] = at
					d.Scopes = append(d.Scopes, Scope{Columns: columns})
				}
				d.Scopes[at].Tenants = append(d.Scopes[at].Tenants, record.Name)
			}
		}
	}
	if others != nil {
		d.Scopes = append(d.Scopes, Scope{Others: true, Columns: others})
	}
	if c.Tenant != "" && d.Allowed() && !d.narrow(c.Tenant) {
		return d, from, until
	}
	d.Limits = s.principals[c.Principal].Limits.or(s.personas[c.Principal.Kind])
	d.Policies, d.BreakGlass = s.deciding(e.permits, e.forbids)
	if !d.Allowed() {
		d.Reason = s.reason(c.Principal, fmt.Sprintf("%s %s", a, t.FullName()), d.Policies)
	}
	return d, from, until
}

// class is all of a tenant that answers can depend on: its attributes, and who it is if a
// policy or the principal names it. Tenants of one class have one answer.
type class struct {
	country, currency, status string
	name                      cardlake.Tenant
}

func classOf(r catalog.TenantRecord, named map[types.EntityUID]bool) class {
	c := class{r.Country, string(r.Currency), statusOf(r), ""}
	if named[tenantUID(r.Name)] {
		c.name = r.Name
	}
	return c
}

// named returns the tenants that the policies, or entities that can be reached from the
// principal, name: of any other, a policy can only ask for attributes.
func (q *question) named() map[types.EntityUID]bool {
	named, seen := map[types.EntityUID]bool{}, map[types.EntityUID]bool{}
	for _, policies := range []applicable{q.permits, q.forbids} {
		for _, p := range policies {
			for _, uid := range p.tenants {
				named[uid] = true
			}
		}
	}
	var reach func(v types.Value)
	reach = func(v types.Value) {
		switch v := v.(type) {
		case types.EntityUID:
			if v.Type == tenantType {
				named[v] = true
			} else if !seen[v] {
				seen[v] = true
				reach(q.set.entities[v].Attributes)
			}
		case types.Record:
			for x := range v.Values() {
				reach(x)
			}
		case types.Set:
			for x := range v.All() {
				reach(x)
			}
		}
	}
	reach(q.request.Principal)
	return named
}

// deciding returns the ids of the policies that permit, or, if none does, of those that forbid,
// and whether one that permits is for emergencies only.
func (s *Set) deciding(permits, forbids map[cedar.PolicyID]bool) (ids []string, breakGlass bool) {
	from := permits
	if len(permits) == 0 {
		from = forbids
	}
	for id := range from {
		ids = append(ids, string(id))
		breakGlass = breakGlass || s.byID[string(id)].IsBreakGlass
	}
	slices.Sort(ids)
	return ids, breakGlass
}

func (s *Set) reason(p Principal, what string, forbidding []string) string {
	if len(forbidding) > 0 {
		return fmt.Sprintf("%s may not %s: forbidden by %s", p, what, s.place(forbidding))
	}
	return fmt.Sprintf("no policy permits %s to %s", p, what)
}

// evaluation evaluates one decision.
type evaluation struct {
	q                *question
	t                *cardlake.Table
	tags             []cardlake.Tag // that the table has
	tagOf            []int          // of each column, an index of tags
	permits, forbids map[cedar.PolicyID]bool
}

func newEvaluation(q *question, t *cardlake.Table) *evaluation {
	e := &evaluation{q: q, t: t, permits: map[cedar.PolicyID]bool{}, forbids: map[cedar.PolicyID]bool{}}
	for _, c := range t.Columns {
		i := slices.Index(e.tags, c.Tag)
		if i < 0 {
			i = len(e.tags)
			e.tags = append(e.tags, c.Tag)
		}
		e.tagOf = append(e.tagOf, i)
	}
	return e
}

// columns returns the access to each column in the tenant's rows, nil if to none.
func (e *evaluation) columns(tenant cardlake.Tenant) []Access {
	byTag := make([]Access, len(e.tags))
	var most Access
	for i, tag := range e.tags {
		access, v := e.q.access(e.t, tenant, tag)
		byTag[i], most = access, max(most, access)
		for _, id := range v.permits {
			if access != Dropped {
				e.permits[id] = true
			}
		}
		for _, id := range v.forbids {
			e.forbids[id] = true
		}
	}
	if most == Dropped {
		return nil
	}
	out := make([]Access, len(e.tagOf))
	for i, tag := range e.tagOf {
		out[i] = byTag[tag]
	}
	return out
}

func bytesOf(columns []Access) []byte {
	out := make([]byte, len(columns))
	for i, a := range columns {
		out[i] = byte(a)
	}
	return out
}
