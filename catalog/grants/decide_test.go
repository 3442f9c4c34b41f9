package grants_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func tenantOf(name cardlake.Tenant, country string, status catalog.TenantStatus) catalog.TenantRecord {
	r := grantstest.Tenant(name)
	r.Country, r.Status = country, status
	return r
}

var register = grantstest.Tenants{
	tenantOf("acme", "BR", catalog.TenantActive),
	tenantOf("beta", "MX", catalog.TenantActive),
	tenantOf("gama", "BR", catalog.TenantActive),
	tenantOf("shut", "BR", catalog.TenantSuspended),
}

var (
	ana     = grants.Principal{Kind: grants.DataScientist, Name: "ana"}
	analyst = grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@acme"}
)

// given writes a decision's scopes as "rows: tag=access …", dropped tags left out.
func given(d *grants.Decision) []string {
	var out []string
	for i := range d.Scopes {
		s := &d.Scopes[i]
		text := d.Rows(s) + ":"
		for _, a := range []grants.Access{grants.Clear, grants.Masked} {
			for _, tag := range s.ByTag(d.Table, a) {
				text += fmt.Sprintf(" %s=%s", tag, a)
			}
		}
		out = append(out, text)
	}
	return out
}

func TestDecisions(t *testing.T) {
	permit := func(when string) string {
		return `permit (principal, action == Lake::Action::"query", resource in Lake::Table::"cards.transactions") when { ` + when + ` };`
	}
	for _, c := range []struct {
		name, policies string
		who            grants.Principal
		table          *cardlake.Table
		want           []string
		except         []cardlake.Tenant
	}{
		{name: "nothing is permitted by default", who: ana},
		{name: "tags", who: ana,
			policies: permit(`["public", "money"].contains(resource.tag)`),
			want:     []string{"every tenant but shut: public=clear money=clear"}, except: []cardlake.Tenant{"shut"}},
		{name: "masked", who: ana,
			policies: permit(`resource.tag == "public" || (resource.tag == "identifier" && resource.access == "masked")`),
			want:     []string{"every tenant but shut: public=clear identifier=masked"}, except: []cardlake.Tenant{"shut"}},
		{name: "a country resolves to tenants, and to none that the register does not know", who: ana,
			policies: permit(`resource.tag == "public" || (resource.tag == "money" && resource.tenant.country == "BR")`),
			want:     []string{"acme, gama: public=clear money=clear", "every other tenant but shut: public=clear"}, except: []cardlake.Tenant{"shut"}},
		{name: "not a country is none that the register does not know either", who: ana,
			policies: permit(`resource.tag == "public" && resource.tenant.country != "BR"`),
			want:     []string{"beta: public=clear"}},
		{name: "all but one", who: ana,
			policies: permit(`resource.tag == "public" && resource.tenant != Lake::Tenant::"beta"`),
			want:     []string{"every tenant but beta, shut: public=clear"}, except: []cardlake.Tenant{"beta", "shut"}},
		{name: "one", who: ana,
			policies: permit(`resource.tag == "public" && resource.tenant == Lake::Tenant::"beta"`),
			want:     []string{"beta: public=clear"}},
		{name: "deny overrides", who: ana,
			policies: permit(`resource.tag == "public"`) + `forbid (principal, action, resource is Lake::Slice) when { resource.tenant == Lake::Tenant::"acme" };`,
			want:     []string{"every tenant but acme, shut: public=clear"}, except: []cardlake.Tenant{"acme", "shut"}},
		{name: "a forbid that cannot be evaluated forbids", who: ana,
			policies: permit(`resource.tag == "public"`) + `forbid (principal, action, resource is Lake::Slice) when { resource.tenant.country == "MX" };`,
			want:     []string{"acme, gama: public=clear"}},
		{name: "clear forbidden leaves masked", who: ana,
			policies: permit(`resource.tag == "money"`) + `forbid (principal, action, resource is Lake::Slice) when { resource.access == "clear" };`,
			want:     []string{"every tenant but shut: money=masked"}, except: []cardlake.Tenant{"shut"}},
		{name: "masked forbidden forbids clear", who: ana,
			policies: permit(`resource.tag == "money"`) + `forbid (principal, action, resource is Lake::Slice) when { resource.access == "masked" };`},
		{name: "a tenant's own", who: analyst,
			policies: permit(`resource.tag == "public"`),
			want:     []string{"acme: public=clear"}},
		{name: "a table that is not of tenants is given whole or not at all", who: grantstest.All, table: cardlake.Rejected,
			want: []string{"all: public=clear lineage=clear"}},
		{name: "and never to a tenant", who: analyst, table: cardlake.Rejected,
			policies: `permit (principal, action, resource is Lake::Slice);`},
		{name: "another action", who: ana,
			policies: `permit (principal, action == Lake::Action::"export", resource is Lake::Slice);`},
		{name: "a group of actions", who: ana,
			policies: `permit (principal, action in Lake::Action::"read", resource in Lake::Table::"cards.transactions") when { resource.tag == "public" };`,
			want:     []string{"every tenant but shut: public=clear"}, except: []cardlake.Tenant{"shut"}},
		{name: "another table", who: ana,
			policies: `permit (principal, action, resource in Lake::Table::"cards.control_totals");`},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := c.table
			if table == nil {
				table = cardlake.Transactions
			}
			d := grantstest.New(t, c.policies, register...).Decide(grants.Caller{Principal: c.who}, grants.Query, table, noon)
			if diff := cmp.Diff(c.want, given(d)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.except, d.Except); diff != "" {
				t.Error("except", diff)
			}
			if d.Allowed() != (c.want != nil) || d.Allowed() == (d.Reason != "") || d.Version == "" {
				t.Errorf("allowed %v, reason %q, version %q", d.Allowed(), d.Reason, d.Version)
			}
		})
	}
}

// Each case is denied by the one built-in policy alone: with everything permitted, and
// without that policy, it is given.
func TestBuiltInForbidsCannotBeOverridden(t *testing.T) {
	everything := `@id("x") permit (principal, action, resource);`
	s := grantstest.New(t, everything, register...)
	folder := grantstest.Folder(t, everything, register...)
	grantstest.Write(t, folder, "principals.json", `{"principals": [
		{"principal": "auditor/new", "owner": "a@b", "valid_from": "2026-11-22T12:00:00.001Z"},
		{"principal": "auditor/old", "owner": "a@b", "valid_until": "2026-11-22T12:00:00Z"},
		{"principal": "operator/all", "owner": "a@b"}]}`)
	bounded, err := grants.Load(folder, register)
	if err != nil {
		t.Fatal(err)
	}
	sealed := &cardlake.Table{Namespace: "cards", Name: "transactions", ByTenant: true, Columns: []cardlake.Column{{ID: 1, Name: "x", Type: cardlake.Binary, Tag: cardlake.Sealed}}}
	table := func(c grants.Caller, a grants.Action, tb *cardlake.Table, tenant cardlake.Tenant) func(*grants.Set) bool {
		return func(s *grants.Set) bool { return s.Decide(c, a, tb, noon).Scope(tenant) != nil }
	}
	lake := func(c grants.Caller, a grants.Action, tenant cardlake.Tenant) func(*grants.Set) bool {
		return func(s *grants.Set) bool { return s.Permitted(c, a, noon).For(tenant) }
	}
	as := func(kind grants.Kind, name string) grants.Caller {
		return grants.Caller{Principal: grants.Principal{Kind: kind, Name: name}}
	}
	all, detokeniser := grants.Caller{Principal: grantstest.All, MFA: true}, as(grants.Detokeniser, "ana")
	withMFA := detokeniser
	withMFA.MFA = true
	events := &cardlake.Table{Namespace: "audit", Name: "events", Columns: []cardlake.Column{{ID: 1, Name: "x", Type: cardlake.String, Tag: cardlake.Public}}}
	cases := []struct {
		id    string
		set   *grants.Set
		given func(*grants.Set) bool
	}{
		{"builtin.sealed", s, table(all, grants.Query, sealed, "acme")},
		{"builtin.closed-tenant", s, table(all, grants.Query, cardlake.Transactions, "shut")},
		{"builtin.closed-tenant", s, table(all, grants.ReadChanges, cardlake.Transactions, "shut")},
		{"builtin.closed-tenant", s, table(all, grants.Export, cardlake.Transactions, "shut")},
		{"builtin.closed-tenant", s, table(as(grants.TenantAnalyst, "analyst@shut"), grants.Query, cardlake.Transactions, "shut")},
		{"builtin.closed-tenant-tokens", s, lake(withMFA, grants.Detokenise, "shut")},
		{"builtin.closed-tenant-tokens", s, lake(all, grants.Subscribe, "shut")},
		{"builtin.own-tenant-rows", s, table(as(grants.TenantAnalyst, "analyst@acme"), grants.Query, cardlake.Transactions, "beta")},
		{"builtin.own-tenant-rows", s, table(as(grants.TenantService, "service@acme"), grants.Export, cardlake.Transactions, "")},
		{"builtin.own-tenant", s, lake(as(grants.TenantAnalyst, "analyst@acme"), grants.Subscribe, "beta")},
		{"builtin.own-tenant", s, lake(as(grants.TenantAnalyst, "analyst@acme"), grants.Maintain, "")},
		{"builtin.validity-begin", bounded, table(as(grants.Auditor, "new"), grants.Query, cardlake.Transactions, "acme")},
		{"builtin.validity-end", bounded, table(as(grants.Auditor, "old"), grants.Query, cardlake.Transactions, "acme")},
		{"builtin.detokenise", s, lake(detokeniser, grants.Detokenise, "acme")}, // no second factor
		{"builtin.detokenise", s, lake(all, grants.Detokenise, "acme")},         // no detokeniser
		{"builtin.break-glass-reason", s, table(grants.Caller{Principal: grantstest.All, BreakGlass: true, Reason: " "}, grants.Query, cardlake.Transactions, "acme")},
		{"builtin.audit-by-read-audit", s, table(all, grants.Query, events, "")},
		{"builtin.read-audit-of-audit", s, table(all, grants.ReadAudit, cardlake.Transactions, "acme")},
	}
	tested := map[string]bool{
		"builtin.tenant-of-persona": true, // principals.json says so too: TestFaults
	}
	for i, c := range cases {
		if c.given(c.set) {
			t.Errorf("case %d: given in spite of %s", i, c.id)
		}
		if !c.given(c.set.Without(c.id)) {
			t.Errorf("case %d: is not given without %s either: something else denies it, so this tests nothing", i, c.id)
		}
		tested[c.id] = true
	}
	for _, id := range s.BuiltIn() {
		if !tested[id] {
			t.Errorf("%s has no case", id)
		}
	}
	if !withMFA.MFA || !s.Permitted(withMFA, grants.Detokenise, noon).For("acme") {
		t.Error("a detokeniser with two factors may not detokenise")
	}
	if d := s.Decide(all, grants.ReadAudit, events, noon); !d.Allowed() {
		t.Errorf("the audit log cannot be read by read_audit: %s", d.Reason)
	}
}

func TestUnknownIsDeniedWithAReason(t *testing.T) {
	s := grantstest.New(t, "", register...)
	all := grants.Caller{Principal: grantstest.All}
	odd := &cardlake.Table{Namespace: "cards", Name: "transactions", Columns: []cardlake.Column{
		{ID: 1, Name: "a", Type: cardlake.String, Tag: cardlake.Public}, {ID: 2, Name: "b", Type: cardlake.String, Tag: "secret"}}}
	if got := s.Decide(all, grants.Query, odd, noon).Access(); !slices.Equal(got, []grants.Access{grants.Clear, grants.Dropped}) {
		t.Errorf("a column of an unknown tag is given: %v", got)
	}
	for _, c := range []struct {
		d    *grants.Decision
		want string
	}{
		{s.Decide(grants.Caller{Principal: grants.Principal{Kind: grants.Auditor, Name: "nobody"}}, grants.Query, cardlake.Transactions, noon), "no principal auditor/nobody"},
		{s.Decide(grants.Caller{}, grants.Query, cardlake.Transactions, noon), "no principal"},
		{s.Decide(all, grants.Maintain, cardlake.Transactions, noon), "maintain is not asked for a table"},
		{s.Decide(all, "drop", cardlake.Transactions, noon), `no action "drop"`},
		{s.Decide(grants.Caller{Principal: ana}, grants.Query, cardlake.Transactions, noon), "no policy permits data_scientist/ana to query cards.transactions"},
	} {
		if c.d.Allowed() || !strings.Contains(c.d.Reason, c.want) {
			t.Errorf("allowed %v, reason %q, want %q", c.d.Allowed(), c.d.Reason, c.want)
		}
	}
	if r := s.Permitted(all, grants.Query, noon); r.Allowed() || r.Reason == "" {
		t.Errorf("query is permitted without a table: %+v", r)
	}
	if _, err := s.Explain(all, grants.Query, cardlake.Transactions, "nobody", noon); err == nil || !strings.Contains(err.Error(), "no tenant nobody") {
		t.Errorf("error %v", err)
	}
	if s.Permitted(all, grants.Maintain, noon).For("nobody") {
		t.Error("permitted for a tenant that the register does not know")
	}
}

// A decision's end is the very millisecond at which it changes, whichever way a policy says it.
func TestUntilIsExact(t *testing.T) {
	end := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	literal := `datetime("2026-12-01T00:00:00Z")`
	ms := time.Millisecond
	for _, c := range []struct {
		condition string
		change    time.Time
		before    bool
	}{
		{"context.now < " + literal, end, true},
		{"context.now <= " + literal, end.Add(ms), true},
		{"context.now > " + literal, end.Add(ms), false},
		{"context.now >= " + literal, end, false},
		{literal + " > context.now", end, true},
		{literal + " >= context.now", end.Add(ms), true},
		{literal + " < context.now", end.Add(ms), false},
		{literal + " <= context.now", end, false},
		{"!(context.now >= " + literal + ")", end, true},
	} {
		s := grantstest.New(t, `permit (principal == Lake::Principal::"data_scientist/ana", action, resource) when { `+c.condition+` };`, register...)
		caller := grants.Caller{Principal: ana}
		for _, at := range []struct {
			now   time.Time
			want  bool
			until time.Time
		}{
			{noon, c.before, c.change}, {c.change.Add(-1), c.before, c.change}, {c.change, !c.before, time.Time{}}, {noon, c.before, c.change},
		} {
			d := s.Decide(caller, grants.Query, cardlake.Transactions, at.now)
			if d.Allowed() != at.want || !d.Until.Equal(at.until) {
				t.Errorf("%s at %s: allowed %v until %s, want %v until %s", c.condition, at.now, d.Allowed(), d.Until, at.want, at.until)
			}
			if r := s.Permitted(caller, grants.Maintain, at.now); r.Allowed() != at.want || !r.Until.Equal(at.until) {
				t.Errorf("%s at %s: ruling %v until %s", c.condition, at.now, r.Allowed(), r.Until)
			}
		}
	}
}

func TestValidityBoundsTheDecision(t *testing.T) {
	dir := grantstest.Folder(t, `permit (principal, action, resource);`, register...)
	grantstest.Write(t, dir, "principals.json", `{"principals": [{"principal": "operator/all", "owner": "a@b"},
		{"principal": "auditor/ana", "owner": "a@b", "valid_from": "2026-11-01T00:00:00Z", "valid_until": "2026-12-01T00:00:00Z"}]}`)
	s, err := grants.Load(dir, register)
	if err != nil {
		t.Fatal(err)
	}
	c := grants.Caller{Principal: grants.Principal{Kind: grants.Auditor, Name: "ana"}}
	from, until := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for _, x := range []struct {
		now  time.Time
		want bool
		end  time.Time
	}{{from.Add(-1), false, from}, {from, true, until}, {until.Add(-1), true, until}, {until, false, time.Time{}}} {
		if d := s.Decide(c, grants.Query, cardlake.Transactions, x.now); d.Allowed() != x.want || !d.Until.Equal(x.end) {
			t.Errorf("at %s: %v until %s (%s)", x.now, d.Allowed(), d.Until, d.Reason)
		}
	}
	// The others' validity is not theirs.
	if d := s.Decide(grants.Caller{Principal: grantstest.All}, grants.Query, cardlake.Transactions, noon); !d.Until.IsZero() {
		t.Errorf("until %s", d.Until)
	}
}

func TestBreakGlassIsMarked(t *testing.T) {
	s := grantstest.New(t, `@id("usual") permit (principal == Lake::Principal::"data_scientist/ana", action, resource is Lake::Slice) when { resource.tag == "public" };
@id("glass") permit (principal == Lake::Principal::"data_scientist/ana", action, resource is Lake::Slice)
when { context.break_glass && context.reason != "" && context.now < datetime("2026-12-01T00:00:00Z") };`, register...)
	decide := func(c grants.Caller) *grants.Decision {
		c.Principal = ana
		return s.Decide(c, grants.Query, cardlake.Transactions, noon)
	}
	if d := decide(grants.Caller{}); d.BreakGlass || !slices.Equal(d.Policies, []string{"usual"}) {
		t.Errorf("usual: %v %v", d.BreakGlass, d.Policies)
	}
	d := decide(grants.Caller{BreakGlass: true, Reason: "fire"})
	if !d.BreakGlass || !slices.Equal(d.Policies, []string{"glass", "usual"}) || d.Access()[0] != grants.Clear || !slices.ContainsFunc(given(d), func(s string) bool { return strings.Contains(s, "identifier=clear") }) {
		t.Errorf("emergency: %v %v %v", d.BreakGlass, d.Policies, given(d))
	}
	if d := decide(grants.Caller{BreakGlass: true}); d.Allowed() || !slices.Contains(d.Policies, "builtin.break-glass-reason") {
		t.Errorf("without a reason: %v %v", d.Allowed(), d.Policies)
	}
	if d := decide(grants.Caller{Reason: "fire"}); d.BreakGlass {
		t.Error("a reason alone breaks the glass")
	}
}

func TestLimits(t *testing.T) {
	dir := grantstest.Folder(t, "", register...)
	grantstest.Write(t, dir, "principals.json", `{"personas": {"operator": {"limits": {"max_rows": 10, "timeout": "1m", "memory": 5}}},
		"principals": [{"principal": "operator/all", "owner": "a@b", "limits": {"max_rows": 20, "max_bytes": 7}}]}`)
	s, err := grants.Load(dir, register)
	if err != nil {
		t.Fatal(err)
	}
	want := grants.Limits{MaxRows: 20, MaxBytes: 7, Timeout: time.Minute, Memory: 5}
	if got := s.Decide(grants.Caller{Principal: grantstest.All}, grants.Query, cardlake.Transactions, noon).Limits; got != want {
		t.Errorf("limits %+v, want %+v", got, want)
	}
}

func TestConcurrentDecisionsAreOne(t *testing.T) {
	s := grantstest.New(t, `permit (principal in Lake::Persona::"data_scientist", action, resource is Lake::Slice) when { resource.tenant.country == "BR" };`, register...)
	want := given(s.Decide(grants.Caller{Principal: ana}, grants.Query, cardlake.Transactions, noon))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				table := *cardlake.Transactions // each is decided anew
				d := s.Decide(grants.Caller{Principal: ana, MFA: i%2 == 0}, grants.Query, &table, noon)
				if diff := cmp.Diff(want, given(d)); diff != "" {
					t.Error(diff)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestMemoryOfDecisionsIsBounded(t *testing.T) {
	s := grantstest.New(t, "", register...)
	c := grants.Caller{Principal: grantstest.All}
	first := s.Decide(c, grants.Query, cardlake.Transactions, noon)
	for range 5 * grants.MemoSize {
		table := cardlake.Table{Namespace: "cards", Name: "transactions"}
		s.Decide(c, grants.Query, &table, noon)
		if s.Decide(c, grants.Query, cardlake.Transactions, noon) != first {
			t.Fatal("what is asked for all the time was forgotten")
		}
	}
	n := s.Remembered()
	if n > 2*grants.MemoSize {
		t.Errorf("%d decisions in memory", n)
	}
	for i := range 10 {
		s.Decide(grants.Caller{Principal: grants.Principal{Kind: grants.Auditor, Name: fmt.Sprint(i)}}, grants.Query, cardlake.Transactions, noon)
	}
	if s.Remembered() != n {
		t.Error("whoever invents names fills the memory")
	}
}

func TestSubjects(t *testing.T) {
	s := grantstest.New(t, "", register...)
	if p, ok := s.PrincipalOf("x509:CN=data_scientist/ana"); !ok || p != ana {
		t.Errorf("%v %v", p, ok)
	}
	for _, subject := range []string{"", "x509:CN=nobody", "data_scientist/ana"} {
		if p, ok := s.PrincipalOf(subject); ok {
			t.Errorf("%q is %s", subject, p)
		}
	}
}
