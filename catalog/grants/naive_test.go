package grants_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
)

// naive decides as the documentation says and nothing else: each column of each tenant by
// itself, by all policies, without memory, grouping or choice of policies, with entities that
// it makes itself.
type naive struct {
	policies *cedar.PolicySet
	entities cedar.EntityMap
}

func newNaive(t *testing.T, s *grants.Set, tenants []catalog.TenantRecord) *naive {
	n := &naive{policies: cedar.NewPolicySet(), entities: cedar.EntityMap{}}
	for _, p := range s.Policies() {
		var c cedar.Policy
		if err := c.UnmarshalCedar([]byte(p.Text)); err != nil {
			t.Fatalf("%s is not itself: %v\n%s", p.ID, err, p.Text)
		}
		n.policies.Add(cedar.PolicyID(p.ID), &c)
	}
	add := func(kind, id string, attributes cedar.RecordMap, parents ...cedar.EntityUID) {
		uid := cedar.NewEntityUID(cedar.EntityType("Lake::"+kind), cedar.String(id))
		n.entities[uid] = cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(parents...), Attributes: cedar.NewRecord(attributes)}
	}
	read := cedar.NewEntityUID("Lake::Action", "read")
	add("Action", "read", nil)
	for _, a := range []grants.Action{grants.Query, grants.ReadChanges, grants.Export} {
		add("Action", string(a), nil, read)
	}
	for _, r := range tenants {
		add("Tenant", string(r.Name), cedar.RecordMap{"country": cedar.String(r.Country), "currency": cedar.String(r.Currency), "status": cedar.String(r.Status)})
	}
	for _, a := range s.Principals() {
		attributes := cedar.RecordMap{"persona": cedar.String(a.Principal.Kind), "service": cedar.Boolean(a.IsService)}
		if a.Tenant != "" {
			attributes["tenant"] = cedar.NewEntityUID("Lake::Tenant", cedar.String(a.Tenant))
		}
		add("Principal", a.Principal.String(), attributes, cedar.NewEntityUID("Lake::Persona", cedar.String(a.Principal.Kind)))
	}
	return n
}

func (n *naive) access(c grants.Caller, a grants.Action, table *cardlake.Table, tenant cardlake.Tenant, column cardlake.Column, now time.Time) grants.Access {
	ask := func(level string) (allowed, forbidden bool) {
		slice := cedar.NewEntityUID("Lake::Slice", "asked")
		n.entities[slice] = cedar.Entity{UID: slice, Parents: cedar.NewEntityUIDSet(cedar.NewEntityUID("Lake::Table", cedar.String(table.FullName()))),
			Attributes: cedar.NewRecord(cedar.RecordMap{"tenant": cedar.NewEntityUID("Lake::Tenant", cedar.String(tenant)), "tag": cedar.String(column.Tag), "access": cedar.String(level)})}
		decision, diagnostic := cedar.Authorize(n.policies, n.entities, cedar.Request{
			Principal: cedar.NewEntityUID("Lake::Principal", cedar.String(c.Principal.String())),
			Action:    cedar.NewEntityUID("Lake::Action", cedar.String(a)), Resource: slice,
			Context: cedar.NewRecord(cedar.RecordMap{"now": cedar.NewDatetime(now), "mfa": cedar.Boolean(c.MFA), "break_glass": cedar.Boolean(c.BreakGlass), "reason": cedar.String(c.Reason)}),
		})
		for _, e := range diagnostic.Errors {
			forbidden = forbidden || n.policies.Get(e.PolicyID).Effect() == cedar.Forbid
		}
		for _, r := range diagnostic.Reasons {
			forbidden = forbidden || n.policies.Get(r.PolicyID).Effect() == cedar.Forbid
		}
		return decision == cedar.Allow && !forbidden, forbidden
	}
	masked, never := ask("masked")
	clear, _ := ask("clear")
	switch {
	case never:
		return grants.Dropped
	case clear:
		return grants.Clear
	case masked:
		return grants.Masked
	}
	return grants.Dropped
}

// randomPolicies writes some policies, each on a line of its own.
func randomPolicies(r *rand.Rand) []string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	tag := func() string {
		return pick(`"public"`, `"identifier"`, `"money"`, `"truncated_pan"`, `"lineage"`, `"sealed"`)
	}
	moment := func() string {
		return fmt.Sprintf(`datetime("2026-11-%02dT%02d:00:00Z")`, 20+r.IntN(5), r.IntN(24))
	}
	tenant := func() string { return `Lake::Tenant::` + pick(`"acme"`, `"beta"`, `"gama"`, `"shut"`, `""`) }
	var condition func(depth int) string
	condition = func(depth int) string {
		if depth > 0 && r.IntN(2) == 0 {
			return "(" + condition(depth-1) + pick(" && ", " || ") + condition(depth-1) + ")"
		}
		switch r.IntN(11) {
		case 0, 1:
			return "resource.tag " + pick("==", "!=") + " " + tag()
		case 2:
			return "[" + tag() + ", " + tag() + "].contains(resource.tag)"
		case 3:
			return "resource.access == " + pick(`"masked"`, `"clear"`)
		case 4:
			return "resource.tenant " + pick("==", "!=") + " " + tenant()
		case 5:
			return "resource.tenant.country " + pick("==", "!=") + " " + pick(`"BR"`, `"MX"`)
		case 6:
			return pick("", "!") + "(principal has tenant && resource.tenant == principal.tenant)"
		case 7:
			return pick("", "!") + "context.mfa"
		case 8:
			return "context.now " + pick("<", "<=", ">", ">=") + " " + moment()
		case 9:
			return "[" + tenant() + ", " + tenant() + "].contains(resource.tenant)"
		default:
			return "resource.tenant.currency like " + pick(`"B*"`, `"M*"`)
		}
	}
	out := make([]string, 1+r.IntN(7))
	for i := range out {
		effect := pick("permit", "permit", "permit", "forbid")
		out[i] = fmt.Sprintf("@id(\"p%d\") %s (%s, %s, %s) %s { %s };", i, effect,
			pick("principal", "principal", `principal in Lake::Persona::"data_scientist"`, `principal in Lake::Persona::"tenant_analyst"`, `principal == Lake::Principal::"data_scientist/ana"`),
			pick("action", `action == Lake::Action::"query"`, `action in Lake::Action::"read"`, `action in [Lake::Action::"export", Lake::Action::"query"]`),
			pick("resource is Lake::Slice", `resource in Lake::Table::"cards.transactions"`, `resource is Lake::Slice in Lake::Table::"cards.control_totals"`),
			pick("when", "when", "unless"), condition(2))
		if effect == "permit" && r.IntN(6) == 0 {
			out[i] = strings.Replace(out[i], ";", ` when { context.break_glass && context.reason != "" && context.now < `+moment()+" };", 1)
		}
	}
	return out
}

// everyTag has a column of each tag, of one of them two.
var everyTag = []cardlake.Column{
	{ID: 1, Name: "a", Type: cardlake.String, Tag: cardlake.Public}, {ID: 2, Name: "b", Type: cardlake.String, Tag: cardlake.Identifier},
	{ID: 3, Name: "c", Type: cardlake.Decimal18x4, Tag: cardlake.MoneyTag}, {ID: 4, Name: "d", Type: cardlake.String, Tag: cardlake.TruncatedPAN},
	{ID: 5, Name: "e", Type: cardlake.String, Tag: cardlake.Lineage}, {ID: 6, Name: "f", Type: cardlake.Binary, Tag: cardlake.Sealed},
	{ID: 7, Name: "g", Type: cardlake.String, Tag: cardlake.Public},
}

func TestDecisionsAreThoseOfANaiveEvaluation(t *testing.T) {
	tables := []*cardlake.Table{
		{Namespace: "cards", Name: "transactions", ByTenant: true, Columns: everyTag},
		{Namespace: "cards", Name: "control_totals", Columns: everyTag},
	}
	// dup and twin are of one class with acme and beta unless a policy names those.
	tenants := append(slices.Clone(register), tenantOf("dup", "BR", catalog.TenantActive), tenantOf("twin", "MX", catalog.TenantActive))
	for i := range tenants {
		if tenants[i].Country == "MX" {
			tenants[i].Currency = "MXN"
		}
	}
	names := []cardlake.Tenant{"", "unheard-of"}
	for _, r := range tenants {
		names = append(names, r.Name)
	}
	accessOf := func(d *grants.Decision, tenant cardlake.Tenant, i int) grants.Access {
		if s := d.Scope(tenant); s != nil {
			return s.Columns[i]
		}
		return grants.Dropped
	}
	var given, held, denied int
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 7))
		policies := randomPolicies(r)
		s := grantstest.New(t, strings.Join(policies, "\n"), tenants...)
		n := newNaive(t, s, tenants)
		gone := r.IntN(len(policies))
		without := s.Without(fmt.Sprintf("p%d", gone))
		isPermit := s.Policy(fmt.Sprintf("p%d", gone)).IsPermit
		for range 6 {
			caller := grants.Caller{MFA: r.IntN(2) == 0, Principal: []grants.Principal{ana, analyst, {Kind: grants.Auditor, Name: "ana"}}[r.IntN(3)]}
			if r.IntN(3) == 0 {
				caller.BreakGlass, caller.Reason = true, []string{"fire", ""}[r.IntN(2)]
			}
			action := []grants.Action{grants.Query, grants.ReadChanges, grants.Export}[r.IntN(3)]
			table := tables[r.IntN(2)]
			now := time.Date(2026, 11, 19+r.IntN(7), r.IntN(24), 0, 0, 0, time.UTC)
			for range 4 { // follow the decision from end to end
				d := s.Decide(caller, action, table, now)
				less := without.Decide(caller, action, table, now)
				check := []time.Time{now}
				if !d.Until.IsZero() {
					check = append(check, d.Until.Add(-time.Millisecond))
				}
				for _, tenant := range names {
					for i, column := range table.Columns {
						got := accessOf(d, tenant, i)
						of := tenant
						if !table.ByTenant || tenant == "unheard-of" {
							of = ""
						}
						for _, at := range check {
							if want := n.access(caller, action, table, of, column, at); got != want {
								t.Fatalf("seed %d: %v %s %s of tenant %q, column of tag %s at %s (decided at %s): %s, naively %s\n%s",
									seed, caller, action, table.FullName(), tenant, column.Tag, at, now, got, want, strings.Join(policies, "\n"))
							}
						}
						if rest := accessOf(less, tenant, i); isPermit && rest > got || !isPermit && rest < got {
							t.Fatalf("seed %d: without p%d (permit: %v) %s instead of %s\n%s", seed, gone, isPermit, rest, got, strings.Join(policies, "\n"))
						}
						if got == grants.Dropped {
							denied++
						} else {
							given++
						}
					}
				}
				for i := range d.Scopes {
					if !slices.ContainsFunc(d.Scopes[i].Columns, func(a grants.Access) bool { return a != grants.Dropped }) {
						t.Fatalf("seed %d: a scope gives nothing", seed)
					}
				}
				if d.Until.IsZero() {
					break
				}
				held++
				now = d.Until
			}
		}
	}
	if given < 2500 || denied < 5000 || held < 80 {
		t.Errorf("%d cells given, %d denied, %d decisions with an end: the policies are not varied enough", given, denied, held)
	}
}

func TestRulingsAreThoseOfANaiveEvaluation(t *testing.T) {
	given, denied := 0, 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 8))
		pick := func(of ...string) string { return of[r.IntN(len(of))] }
		tenant := func() string { return `Lake::Tenant::` + pick(`"acme"`, `"beta"`, `"gama"`, `"shut"`, `""`) }
		var policies []string
		for i := range 1 + r.IntN(4) {
			policies = append(policies, fmt.Sprintf("@id(\"p%d\") %s (%s, %s, %s) %s { %s };", i, pick("permit", "permit", "forbid"),
				pick("principal", `principal in Lake::Persona::"detokeniser"`), pick("action", `action in [Lake::Action::"maintain", Lake::Action::"detokenise"]`),
				pick("resource is Lake::Tenant", "resource is Lake::Tenant", "resource == "+tenant()), pick("when", "unless"),
				pick(`resource.country == "BR"`, "resource != "+tenant(), "context.mfa", "true", "principal has tenant && resource == principal.tenant")))
		}
		s := grantstest.New(t, strings.Join(policies, "\n"), register...)
		n := newNaive(t, s, register)
		for range 8 {
			p := []grants.Principal{analyst, {Kind: grants.Detokeniser, Name: "ana"}}[r.IntN(2)]
			c := grants.Caller{Principal: p, MFA: r.IntN(2) == 0}
			a := []grants.Action{grants.Maintain, grants.Detokenise, grants.Subscribe}[r.IntN(3)]
			ruling := s.Permitted(c, a, noon)
			for _, of := range []cardlake.Tenant{"", "acme", "beta", "gama", "shut"} {
				decision, diagnostic := cedar.Authorize(n.policies, n.entities, cedar.Request{
					Principal: cedar.NewEntityUID("Lake::Principal", cedar.String(p.String())), Action: cedar.NewEntityUID("Lake::Action", cedar.String(a)),
					Resource: cedar.NewEntityUID("Lake::Tenant", cedar.String(of)),
					Context:  cedar.NewRecord(cedar.RecordMap{"now": cedar.NewDatetime(noon), "mfa": cedar.Boolean(c.MFA), "break_glass": cedar.False, "reason": cedar.String("")}),
				})
				want := decision == cedar.Allow
				for _, e := range diagnostic.Errors {
					want = want && n.policies.Get(e.PolicyID).Effect() == cedar.Permit
				}
				if got := ruling.For(of); got != want {
					t.Fatalf("seed %d: %v %s of %q: %v, naively %v\n%s", seed, c, a, of, got, want, strings.Join(policies, "\n"))
				}
				if want {
					given++
				} else {
					denied++
				}
			}
		}
	}
	if given < 100 || denied < 100 {
		t.Errorf("%d given, %d denied: the policies are not varied enough", given, denied)
	}
}
