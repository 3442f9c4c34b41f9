package grants_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
)

// TestNarrowedCallers: who is narrowed to a tenant is given of its rows what would be given anyway,
// and nothing of anything else, whatever was decided before.
func TestNarrowedCallers(t *testing.T) {
	tables := []*cardlake.Table{
		{Namespace: "cards", Name: "transactions", ByTenant: true, Columns: everyTag},
		{Namespace: "cards", Name: "control_totals", Columns: everyTag},
	}
	names := []cardlake.Tenant{"", "unheard-of"}
	for _, r := range register {
		names = append(names, r.Name)
	}
	given := 0
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		s := grantstest.New(t, strings.Join(randomPolicies(r), "\n"), register...)
		for range 6 {
			caller := grants.Caller{MFA: r.IntN(2) == 0, Principal: []grants.Principal{ana, analyst, grantstest.All}[r.IntN(3)]}
			narrowed := caller
			narrowed.Tenant = names[1+r.IntN(len(names)-1)]
			table, action := tables[r.IntN(2)], []grants.Action{grants.Query, grants.Export}[r.IntN(2)]
			callers := []grants.Caller{caller, narrowed}
			if r.IntN(2) == 0 {
				slices.Reverse(callers)
			}
			for _, c := range callers { // in either order: one is remembered when the other is asked for
				s.Decide(c, action, table, noon)
			}
			whole, d := s.Decide(caller, action, table, noon), s.Decide(narrowed, action, table, noon)
			if d.IsWhole() || len(d.Except) > 0 || !d.Allowed() && (d.Reason == "" || d.BreakGlass) {
				t.Fatalf("seed %d: %+v", seed, d)
			}
			for _, tenant := range names {
				got, want := d.Scope(tenant), whole.Scope(tenant)
				if tenant != narrowed.Tenant || !table.ByTenant {
					want = nil
				}
				if (got == nil) != (want == nil) || got != nil && !slices.Equal(got.Columns, want.Columns) {
					t.Fatalf("seed %d: %+v of %q of %s: %+v, want %+v", seed, narrowed, tenant, table.FullName(), got, want)
				}
				if got != nil {
					given++
				}
			}
			for _, a := range []grants.Action{grants.Review, grants.Maintain, grants.ReadAudit, grants.Grant} {
				whole, ruling := s.Permitted(caller, a, noon), s.Permitted(narrowed, a, noon)
				for _, tenant := range names {
					if want := tenant == narrowed.Tenant && tenant != "" && whole.For(tenant); ruling.For(tenant) != want {
						t.Fatalf("seed %d: %v %s of %q: %v", seed, narrowed, a, tenant, !want)
					}
				}
				if ruling.Allowed() || len(ruling.Tenants) == 0 && ruling.Reason == "" {
					t.Fatalf("seed %d: %+v", seed, ruling)
				}
			}
			for _, tenant := range names {
				if _, err := s.Explain(narrowed, action, table, tenant, noon); (err == nil) != (tenant == narrowed.Tenant && tenant != "unheard-of") {
					t.Fatalf("seed %d: %v is told of %q: %v", seed, narrowed, tenant, err)
				}
			}
		}
	}
	if given < 40 {
		t.Errorf("%d scopes are given: the policies are not varied enough", given)
	}
}
