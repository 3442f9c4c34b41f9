package lakeformation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/catalog/grants/lakeformation/lftest"
	"github.com/cardlake/cardlake/keys"
)

const (
	account    = "111122223333"
	region     = "us-east-1"
	bucket     = "cards-lake"
	prefix     = "lake"
	accessRole = "arn:aws:iam::111122223333:role/lakeformation"
	adminRole  = "arn:aws:iam::111122223333:role/keeper"
	strange    = "arn:aws:iam::111122223333:role/stranger"
	workerRole = "arn:aws:iam::111122223333:role/worker"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// world is a lake in an account of AWS.
type world struct {
	t       *testing.T
	tenants []catalog.TenantRecord
	mapping *Mapping
	keys    Keys
	aws     *lftest.Server
	cfg     Config
}

func keyOf(owner string) string {
	return "arn:aws:kms:us-east-1:111122223333:key/" + owner
}

func tenant(name cardlake.Tenant, country string) catalog.TenantRecord {
	r := grantstest.Tenant(name)
	r.Country = country
	r.StorageID = cardlake.StorageID(cardlake.AppendLetters(nil, []byte((string(name) + "........")[:8])))
	return r
}

// newWorld makes an account as a new one is: Lake Formation switched off.
func newWorld(t *testing.T, tenants ...catalog.TenantRecord) *world {
	t.Helper()
	return newWorldWith(t, false, tenants...)
}

// newWorldWith is newWorld, with objects that are put without bucket keys or with them.
func newWorldWith(t *testing.T, objectContext bool, tenants ...catalog.TenantRecord) *world {
	t.Helper()
	w := &world{t: t, tenants: tenants, keys: Keys{keys.Lake: {keyOf("lake")}}}
	w.mapping = &Mapping{
		Account: account, Region: region, Bucket: bucket, Prefix: prefix, DataAccessRole: accessRole, RetiringPrincipal: adminRole,
		Results: Results{Bucket: "answers", Key: keyOf("answers")}, Roles: map[string]Role{}, Known: []string{workerRole}, ObjectContext: objectContext,
		Tables: []string{"cards.transactions", "cards.transactions_rejected", "cards.control_totals"},
	}
	all := []string{accessRole, adminRole, strange, workerRole}
	reader := func(name string) {
		role := "arn:aws:iam::111122223333:role/readers/" + strings.NewReplacer("/", "-", "@", "-").Replace(name)
		w.mapping.Roles[name] = Role{role, strings.NewReplacer("/", "-", "@", "-").Replace(name)}
		all = append(all, role)
	}
	for _, name := range []string{"data_scientist/ana", "etl_job/ana", "auditor/ana"} {
		reader(name)
	}
	owners := map[cardlake.Tenant]string{"": "lake"}
	arns := []string{keyOf("lake")}
	for i, r := range tenants {
		owners[r.Name] = string(r.StorageID)
		w.keys[keys.Owner(r.StorageID)] = []string{keyOf(string(r.StorageID))}
		arns = append(arns, keyOf(string(r.StorageID)))
		if i < 2 {
			reader("tenant_analyst/analyst@" + string(r.Name))
		}
	}
	w.aws = lftest.Start(lftest.Config{
		Account: account, Region: region, Bucket: bucket, Prefix: prefix, Roles: all, Keys: arns, Tables: w.mapping.tables(),
		KeyOf: func(name cardlake.Tenant) string {
			if owner, ok := owners[name]; ok {
				return keyOf(owner)
			}
			return "" // of a tenant to come: as if anybody could decrypt
		},
		ObjectContext: objectContext, OwnerOf: func(name cardlake.Tenant) string { return owners[name] },
	})
	t.Cleanup(w.aws.Close)
	if err := w.mapping.Validate(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) account() *Account {
	lf, identities, encryption := w.aws.Clients()
	return New(lf, identities, encryption, w.mapping, w.keys, w.cfg)
}

func (w *world) set(policies string) *grants.Set {
	w.t.Helper()
	return grantstest.New(w.t, policies, w.tenants...)
}

func (w *world) plan(d Decider) *Plan {
	w.t.Helper()
	p, err := w.account().Plan(w.t.Context(), d, w.tenants, now)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// apply plans and applies, and expects the next plan to be empty.
func (w *world) apply(d Decider) *Plan {
	w.t.Helper()
	p := w.plan(d)
	if err := w.account().Apply(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
	if again := w.plan(d); len(again.Changes) > 0 {
		w.t.Fatalf("the second plan has changes: %v", again.Changes)
	}
	return p
}

// rowsOf are the tenants whose rows are looked at: those that there are, one to come, none.
func (w *world) rowsOf(t *cardlake.Table) []cardlake.Tenant {
	if t.Column("tenant") == nil {
		return []cardlake.Tenant{""}
	}
	out := []cardlake.Tenant{"zz-to-come"}
	for _, r := range w.tenants {
		out = append(out, r.Name)
	}
	return out
}

// cell is one column in one tenant's rows.
type cell struct {
	role, table, column string
	tenant              cardlake.Tenant
}

// visible is every cell that somebody sees in AWS.
func (w *world) visible() map[cell]bool {
	out := map[cell]bool{}
	roles := []string{strange}
	for _, r := range w.mapping.Roles {
		roles = append(roles, r.ARN)
	}
	for _, role := range roles {
		for _, t := range w.mapping.tables() {
			for _, tenant := range w.rowsOf(t) {
				for i, sees := range w.aws.Sees(role, t, tenant) {
					if sees {
						out[cell{role, t.FullName(), t.Columns[i].Name, tenant}] = true
					}
				}
			}
		}
	}
	return out
}

// given is every cell that the decisions give clear: at this moment to whoever showed one
// factor or more, and at every moment from now on, however many factors. It asks for each
// decision by itself.
func (w *world) given(d Decider) (some, always map[cell]bool) {
	some, always = map[cell]bool{}, map[cell]bool{}
	for name, r := range w.mapping.Roles {
		p, err := grants.ParsePrincipal(name)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, t := range w.mapping.tables() {
			var present, ever []*grants.Decision
			for _, mfa := range []bool{false, true} {
				for when := now; !when.IsZero(); {
					decision := d.Decide(grants.Caller{Principal: p, MFA: mfa}, grants.Query, t, when)
					if when.Equal(now) {
						present = append(present, decision)
					}
					ever = append(ever, decision)
					when = decision.Until
				}
			}
			for _, tenant := range w.rowsOf(t) {
				for i, c := range t.Columns {
					isClear := func(d *grants.Decision) bool {
						s := d.Scope(tenant)
						return s != nil && s.Columns[i] == grants.Clear
					}
					at := cell{r.ARN, t.FullName(), c.Name, tenant}
					if isClear(present[0]) && isClear(present[1]) {
						some[at] = true
					}
					if !slices.ContainsFunc(ever, func(d *grants.Decision) bool { return !isClear(d) }) {
						always[at] = true
					}
				}
			}
		}
	}
	return some, always
}

// beyond returns cells of a that none of the others has.
func beyond(a map[cell]bool, others ...map[cell]bool) []cell {
	var out []cell
	for c := range a {
		if !slices.ContainsFunc(others, func(o map[cell]bool) bool { return o[c] }) {
			out = append(out, c)
		}
	}
	return out
}

// expect compares what AWS gives with the decisions.
func (w *world) expect(d Decider) {
	w.t.Helper()
	visible := w.visible()
	some, always := w.given(d)
	if wider := beyond(visible, some); len(wider) > 0 {
		w.t.Errorf("AWS gives %d cells that no decision gives, such as %v", len(wider), wider[0])
	}
	if missing := beyond(always, visible); len(missing) > 0 {
		w.t.Errorf("AWS does not give %d cells that the decisions give, such as %v", len(missing), missing[0])
	}
}

func standardTenants() []catalog.TenantRecord {
	return []catalog.TenantRecord{tenant("acme", "BR"), tenant("beta", "MX"), tenant("coral", "BR"), tenant("delta", "CL")}
}

// policies writes random policies.
func policies(r *rand.Rand) string {
	var b strings.Builder
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	for i := range 1 + r.IntN(6) {
		effect := pick("permit", "permit", "forbid")
		if i == 0 {
			effect = "permit"
		}
		principal := "principal"
		if r.IntN(4) > 0 {
			principal = `principal in Lake::Persona::"` + pick("data_scientist", "etl_job", "auditor", "tenant_analyst", "tenant_analyst") + `"`
		}
		var when []string
		conditions := []string{
			`resource.tag == "` + pick("public", "money", "identifier", "truncated_pan", "lineage") + `"`,
			`["public", "money", "` + pick("identifier", "lineage") + `"].contains(resource.tag)`,
			`resource.tenant == Lake::Tenant::"` + pick("acme", "beta", "coral", "") + `"`,
			`resource.tenant != Lake::Tenant::"` + pick("acme", "delta", "") + `"`,
			`resource.tenant.country == "` + pick("BR", "MX") + `"`,
			`resource.access == "` + pick("masked", "clear") + `"`,
			`resource in Lake::Table::"` + pick("cards.transactions", "cards.control_totals", "cards.transactions_rejected") + `"`,
			pick(`context.mfa`, `!context.mfa`, `context.break_glass && context.reason != "" && context.now < datetime("2026-12-24T00:00:00Z")`, `context.now < datetime("2026-12-01T00:00:00Z")`, `context.now >= datetime("2026-11-30T00:00:00Z")`),
		}
		for range r.IntN(4) {
			condition := conditions[r.IntN(len(conditions))]
			if effect == "permit" || !strings.Contains(condition, "break_glass") {
				when = append(when, condition)
			}
		}
		fmt.Fprintf(&b, "@id(\"test.p%d\") %s (%s, action, resource is Lake::Slice)", i, effect, principal)
		if len(when) > 0 {
			fmt.Fprintf(&b, " when { %s }", strings.Join(when, " && "))
		}
		b.WriteString(";\n")
	}
	return b.String()
}

// replaces reports whether a filter becomes one that is neither narrower nor wider, which one
// call does.
func replaces(p *Plan) bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.step == stepReplace })
}

// between checks what is seen between two calls: no cell that neither the state before nor the
// decisions give, and, unless filters are replaced, never some of both: what narrows comes
// first.
func between(t *testing.T, operation string, visible, before, given map[cell]bool, isReplaced bool) {
	t.Helper()
	if wider := beyond(visible, before, given); len(wider) > 0 {
		t.Errorf("after %s, %d cells are seen that neither the state before nor the decisions give, such as %v", operation, len(wider), wider[0])
	}
	old, new := beyond(visible, before), beyond(visible, given)
	if !isReplaced && len(old) > 0 && len(new) > 0 {
		t.Errorf("after %s, %v is seen already and %v is seen still", operation, old[0], new[0])
	}
}

// TestRandomPolicies applies random policies one after another, with faults. After each call
// nobody sees a cell that neither the state before nor the decisions give; at the end AWS gives
// what the decisions give.
func TestRandomPolicies(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 7))
			w := newWorld(t, standardTenants()...)
			for range 2 {
				text := policies(r)
				set := w.set(text)
				before := w.visible()
				some, _ := w.given(set)
				isReplaced := false
				w.aws.AfterWrite(func(operation string) { between(t, operation, w.visible(), before, some, isReplaced) })
				for range 30 {
					if r.IntN(3) > 0 {
						fault := lftest.Fault{Done: r.IntN(2) == 0}
						switch r.IntN(3) {
						case 0:
							fault.Code = "ThrottlingException"
						case 1:
							fault.Code, fault.Status = "InternalServiceException", 500
						}
						for at := range 3 { // more than the SDK's attempts
							w.aws.FailWrite(1+r.IntN(12)+at, fault)
						}
					}
					p := w.plan(set)
					isReplaced = isReplaced || replaces(p)
					err := w.account().Apply(t.Context(), p)
					var stopped *StoppedError
					if err != nil && !errors.As(err, &stopped) {
						t.Fatal(err)
					}
					if err == nil {
						break
					}
				}
				w.aws.Heal()
				isReplaced = isReplaced || replaces(w.plan(set))
				w.apply(set)
				w.aws.AfterWrite(nil)
				w.expect(set)
				if t.Failed() {
					t.Logf("policies:\n%s", text)
					return
				}
			}
		})
	}
}

// TestEveryCallMayBeTheLast stops at every single call, with and without its effect, and
// expects the next apply to finish, as if nothing had happened.
func TestEveryCallMayBeTheLast(t *testing.T) {
	const before = `@id("a") permit (principal in Lake::Persona::"data_scientist", action, resource is Lake::Slice) when { resource.tag == "public" && resource.tenant.country == "BR" };
		@id("b") permit (principal in Lake::Persona::"etl_job", action, resource is Lake::Slice) when { resource.tag == "money" };
		@id("c") permit (principal in Lake::Persona::"auditor", action, resource is Lake::Slice) when { resource.tag == "lineage" && resource.tenant == Lake::Tenant::"beta" };`
	const after = `@id("a") permit (principal in Lake::Persona::"data_scientist", action, resource is Lake::Slice) when { resource.tag == "public" && resource.tenant == Lake::Tenant::"acme" };
		@id("c") permit (principal in Lake::Persona::"auditor", action, resource is Lake::Slice) when { resource.tag == "lineage" };`
	count := func() (*world, int) {
		w := newWorld(t, standardTenants()...)
		w.apply(w.set(before))
		n := w.aws.Writes()
		w.apply(w.set(after))
		return w, w.aws.Writes() - n
	}
	_, calls := count()
	if calls < 15 {
		t.Fatalf("%d calls are too few to prove anything", calls)
	}
	for _, done := range []bool{false, true} {
		w := newWorld(t, standardTenants()...)
		old, next := w.set(before), w.set(after)
		for n := 1; n <= calls; n++ {
			w.apply(old)
			w.expect(old)
			was := w.visible()
			some, _ := w.given(next)
			p := w.plan(next)
			if replaces(p) {
				t.Fatal("what narrows and what widens is to be told apart here")
			}
			w.aws.AfterWrite(func(operation string) { between(t, operation, w.visible(), was, some, false) })
			for at := range 3 {
				w.aws.FailWrite(n+at, lftest.Fault{Done: done, Code: "InternalServiceException", Status: 500})
			}
			err := w.account().Apply(t.Context(), p)
			if !done && err == nil {
				t.Errorf("call %d: the apply did not notice", n)
			}
			w.aws.Heal()
			w.apply(next)
			w.aws.AfterWrite(nil)
			w.expect(next)
		}
	}
}
