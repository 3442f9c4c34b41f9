package grants

import (
	"fmt"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	cedar "github.com/cedar-policy/cedar-go"
)

// Ruling says whether one principal may do now what is of no table: maintain, grant,
// detokenise, read the audit log, subscribe. The zero Ruling permits nothing.
type Ruling struct {
	Principal Principal
	Action    Action

	// Lake permits the action for the lake as a whole, that is for what is of no tenant.
	Lake bool
	// Tenants are those for which the action is permitted, in order of name.
	Tenants []cardlake.Tenant

	// Policies, Reason, Version, Until and BreakGlass are as in Decision.
	Policies   []string
	Reason     string
	Version    string
	Until      time.Time
	BreakGlass bool
}

// Allowed reports whether the action is permitted for the lake as a whole.
func (r *Ruling) Allowed() bool { return r.Lake }

// For reports whether the action is permitted for the tenant. One that the register does not
// know is not permitted; the empty tenant stands for the lake as a whole.
func (r *Ruling) For(tenant cardlake.Tenant) bool {
	if tenant == "" {
		return r.Lake
	}
	_, ok := slices.BinarySearch(r.Tenants, tenant)
	return ok
}

// Permitted rules on an action that is of no table. It is never nil, and evaluated anew each
// time.
func (s *Set) Permitted(c Caller, a Action, now time.Time) *Ruling {
	r := &Ruling{Principal: c.Principal, Action: a, Version: s.version}
	q, reason := s.ask(c, a, now)
	if q == nil {
		r.Reason = reason
		return r
	}
	if !slices.Contains(lakeActions, a) {
		r.Reason = fmt.Sprintf("%s is asked for a table", a)
		return r
	}
	if _, until := q.interval(now.UnixMilli()); until != maxTime {
		r.Until = time.UnixMilli(until).UTC()
	}
	permits, forbids := map[cedar.PolicyID]bool{}, map[cedar.PolicyID]bool{}
	ask := func(tenant cardlake.Tenant) bool {
		resource, ok := s.entities[tenantUID(tenant)]
		if !ok {
			resource = cedar.Entity{UID: tenantUID(tenant)}
		}
		v := q.about(resource)
		for _, id := range v.forbids {
			forbids[id] = true
		}
		for _, id := range v.permits {
			permits[id] = true
		}
		return len(v.permits) > 0
	}
	r.Lake = ask("")
	classes, named := map[class]bool{}, q.named()
	for _, t := range s.tenants {
		of := classOf(t, named)
		permitted, ok := classes[of]
		if !ok {
			permitted = ask(t.Name)
			classes[of] = permitted
		}
		if permitted {
			r.Tenants = append(r.Tenants, t.Name)
		}
	}
	if c.Tenant != "" && (r.Lake || len(r.Tenants) > 0) {
		permitted := r.For(c.Tenant)
		r.Lake, r.Tenants = false, nil
		if !permitted {
			r.Reason = "the caller is narrowed to a tenant for which it is not permitted"
			return r
		}
		r.Tenants = []cardlake.Tenant{c.Tenant}
	}
	r.Policies, r.BreakGlass = s.deciding(permits, forbids)
	if !r.Lake && len(r.Tenants) == 0 {
		r.Reason = s.reason(c.Principal, string(a), r.Policies)
	}
	return r
}
