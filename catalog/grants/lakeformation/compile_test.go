package lakeformation

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
)

// TestRows compares what rows within others means with the rows themselves, and reads back
// what it writes.
func TestRows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all := []cardlake.Tenant{"a", "b-1", "c", "to-come"}
	some := func() rows {
		out := rows{others: r.IntN(2) == 0}
		for _, tenant := range all[:3] {
			if r.IntN(2) == 0 {
				out.tenants = append(out.tenants, tenant)
			}
		}
		if !out.others && len(out.tenants) == 0 {
			out.tenants = all[:1]
		}
		return out
	}
	gives := func(x rows, tenant cardlake.Tenant) bool { return slices.Contains(x.tenants, tenant) != x.others }
	for range 2000 {
		x, y := some(), some()
		within := !slices.ContainsFunc(all, func(tenant cardlake.Tenant) bool { return gives(x, tenant) && !gives(y, tenant) })
		if x.within(y) != within {
			t.Fatalf("%q within %q: %v, want %v", x.expression(), y.expression(), !within, within)
		}
		if text := x.expression(); text != "" {
			if diff := cmp.Diff(x, parseRows(text), cmp.AllowUnexported(rows{})); diff != "" {
				t.Fatal(diff)
			}
		}
	}
	for _, text := range []string{
		"tenant = 'a'", "tenant IN ('a') OR 1=1", "tenant IN ()", "tenant <> 'a' AND (tenant <> 'b')", "(tenant <> 'a') AND (tenant <> 'b'", "tenant IN ('a','b')", "tenant in ('a')", "",
	} {
		if r := parseRows(text); r.foreign != text || text != "" && r.within(rows{tenants: all}) {
			t.Errorf("%q is %+v", text, r)
		}
	}
}

// manyTenants have the longest names there may be.
func manyTenants(n int) []catalog.TenantRecord {
	var out []catalog.TenantRecord
	for i := range n {
		name := cardlake.Tenant(fmt.Sprintf("t%03d-%s", i, strings.Repeat("x", 35)))
		r := tenant(name, []string{"BR", "MX"}[i%2])
		r.StorageID = cardlake.StorageID(cardlake.AppendLetters(nil, fmt.Appendf(nil, "%08d", i)))
		out = append(out, r)
	}
	return out
}

// TestLongLists gives more tenants, and all but more tenants, than an expression takes.
func TestLongLists(t *testing.T) {
	w := newWorld(t, manyTenants(150)...)
	set := fixed{decide: func(c grants.Caller) *grants.Decision {
		money := make([]grants.Access, len(cardlake.Transactions.Columns))
		money[16] = grants.Clear
		var brazil []cardlake.Tenant
		for _, r := range w.tenants {
			if r.Country == "BR" {
				brazil = append(brazil, r.Name)
			}
		}
		d := &grants.Decision{Table: cardlake.Transactions, Scopes: []grants.Scope{{Tenants: brazil, Columns: money}}}
		switch c.Principal.Kind {
		case grants.ETLJob:
			d.Scopes, d.Except = []grants.Scope{{Others: true, Columns: money}}, brazil
		case grants.DataScientist:
		default:
			d.Scopes = nil
		}
		return d
	}}
	w.mapping.Tables = []string{"cards.transactions"}
	p := w.apply(set)
	parts := 0
	for _, c := range p.Changes {
		if strings.HasPrefix(c.ID, "filter ") {
			parts++
		}
	}
	if parts != 4 { // 75 names of 44 characters each, in 2,047, for each
		t.Errorf("%d filters", parts)
	}
	some, always := w.given(set)
	visible := w.visible()
	if wider := beyond(visible, some); len(wider) > 0 {
		t.Errorf("wider: %v", wider[0])
	}
	for _, c := range beyond(always, visible) {
		if c.tenant != "zz-to-come" {
			t.Fatalf("missing: %v", c)
		}
	}
	if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "a new one is read after the next apply") }) {
		t.Errorf("notes %q", p.Notes)
	}
}

// TestTooManyFilters keeps to the gateway what takes more filters than Lake Formation grants.
func TestTooManyFilters(t *testing.T) {
	tenants := manyTenants(4600)
	m := &Mapping{Account: account, Roles: map[string]Role{"data_scientist/ana": {ARN: ana}}, Tables: []string{"cards.transactions"}}
	d := fixed{decide: func(c grants.Caller) *grants.Decision {
		s := grants.Scope{Columns: make([]grants.Access, len(cardlake.Transactions.Columns))}
		s.Columns[0] = grants.Clear
		for _, r := range tenants {
			s.Tenants = append(s.Tenants, r.Name)
		}
		return &grants.Decision{Table: cardlake.Transactions, Scopes: []grants.Scope{s}}
	}}
	k := Keys{keys.Lake: {keyOf("lake")}}
	for _, r := range tenants {
		k[keys.Owner(r.StorageID)] = []string{keyOf(string(r.StorageID))}
	}
	c, err := compile(d, m, k, tenants, now)
	if err != nil || len(c.readers[0].filters) != 0 || len(c.owners) != 0 || len(c.notes) != 1 || !strings.Contains(c.notes[0].Text, "grants a principal 100") {
		t.Errorf("%d filters, notes %v, %v", len(c.readers[0].filters), c.notes, err)
	}
}

// TestNotes names everything that the gateway gives and AWS does not, and gives the rest.
func TestNotes(t *testing.T) {
	const base = `@id("base") permit (principal in Lake::Persona::"data_scientist", action, resource in Lake::Table::"cards.transactions") when { resource.tag == "public" };`
	for name, c := range map[string]struct {
		policy string
		note   string
		filter bool
	}{
		"nothing":       {"", "", true},
		"masked":        {`@id("x") permit (principal, action, resource in Lake::Table::"cards.transactions") when { resource.tag == "money" && resource.access == "masked" };`, "without what the gateway masks: amount, billing_amount", true},
		"ends":          {`@id("x") permit (principal, action, resource in Lake::Table::"cards.transactions") when { resource.tag == "money" && context.now < datetime("2026-12-01T00:00:00Z") };`, "for a time only, next to change 2026-12-01T00:00:00Z", true},
		"begins":        {`@id("x") permit (principal, action, resource in Lake::Table::"cards.transactions") when { resource.tag == "money" && context.now >= datetime("2026-12-01T00:00:00Z") };`, "", true},
		"will end":      {`@id("x") forbid (principal, action, resource is Lake::Slice) when { context.now >= datetime("2026-12-01T00:00:00Z") };`, "for a time only", false},
		"second factor": {`@id("x") permit (principal, action, resource in Lake::Table::"cards.transactions") when { resource.tag == "money" && context.mfa };`, "shows a second factor", true},
		"one factor":    {`@id("x") forbid (principal, action, resource is Lake::Slice) when { resource.tag == "public" && context.mfa };`, "shows a single factor", false},
		"emergency":     {`@id("x") permit (principal, action, resource in Lake::Table::"cards.transactions") when { resource.tag == "money" && context.break_glass && context.reason != "" && context.now < datetime("2026-12-24T00:00:00Z") };`, "in an emergency only", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, standardTenants()...)
			for n := range w.mapping.Roles {
				if n != "data_scientist/ana" {
					delete(w.mapping.Roles, n)
				}
			}
			p := w.apply(w.set(base + "\n" + c.policy))
			notes := strings.Join(p.Notes, "\n")
			if !strings.Contains(notes, c.note) || c.note == "" && notes != "" {
				t.Errorf("notes %q, want %q", notes, c.note)
			}
			if has := slices.ContainsFunc(p.Changes, func(ch Change) bool { return strings.HasPrefix(ch.ID, "filter ") }); has != c.filter {
				t.Errorf("a filter: %v, want %v", has, c.filter)
			}
			w.expect(w.set(base + "\n" + c.policy))
		})
	}
}

// fixed decides always the same.
type fixed struct {
	decide func(grants.Caller) *grants.Decision
}

func (f fixed) Decide(c grants.Caller, _ grants.Action, _ *cardlake.Table, _ time.Time) *grants.Decision {
	return f.decide(c)
}

func (f fixed) Version() string { return "fixed" }

// TestLimits keeps decisions with limits to the gateway unless the mapping says otherwise.
func TestLimits(t *testing.T) {
	d := fixed{decide: func(c grants.Caller) *grants.Decision {
		s := grants.Scope{Others: true, Columns: make([]grants.Access, len(cardlake.Transactions.Columns))}
		s.Columns[0] = grants.Clear
		return &grants.Decision{Table: cardlake.Transactions, Scopes: []grants.Scope{s}, Limits: grants.Limits{MaxRows: 1}}
	}}
	m := &Mapping{Account: account, Roles: map[string]Role{"data_scientist/ana": {ARN: ana}}, Tables: []string{"cards.transactions"}}
	for _, ignore := range []bool{false, true} {
		m.IgnoreLimits = ignore
		c, err := compile(d, m, Keys{keys.Lake: {keyOf("lake")}}, nil, now)
		if err != nil || len(c.readers[0].filters) != map[bool]int{false: 0, true: 1}[ignore] || ignore == (len(c.notes) > 0) {
			t.Errorf("ignore_limits %v: %+v, %v", ignore, c, err)
		}
	}
	if _, err := compile(d, m, Keys{}, nil, now); err == nil || !strings.Contains(err.Error(), `no KMS key of owner "lake"`) {
		t.Errorf("without keys: %v", err)
	}
}

// justified are the only wildcards that a policy may have, with the reason.
var justified = map[string]string{
	"lakeformation:GetDataAccess on *":                                   "the action knows no resources",
	"s3:* on arn:aws:s3:::cards-lake (Deny)":                             "denies",
	"s3:* on arn:aws:s3:::cards-lake/* (Deny)":                           "denies",
	"kms:* on not arn:aws:kms:us-east-1:111122223333:key/answers (Deny)": "denies",
	"answers on arn:aws:s3:::answers/data_scientist/ana/*":               "the reader's own folder, whose objects Athena names",
	"prefix data_scientist/ana/*":                                        "the same folder, when it is listed",
	"boundary on arn:aws:athena:us-east-1:111122223333:workgroup/*":      "one document for all readers, each of whose policies names its workgroup",
	"boundary on arn:aws:glue:us-east-1:111122223333:table/cards/*":      "the same, of tables of the lake's database",
	"boundary on arn:aws:s3:::answers/*":                                 "the same, of folders",
}

// TestPoliciesHaveNoOtherWildcards and end with the denials.
func TestPoliciesHaveNoOtherWildcards(t *testing.T) {
	w := newWorld(t, standardTenants()...)
	r := reader{principal: grants.Principal{Kind: grants.DataScientist, Name: "ana"}, role: w.mapping.Roles["data_scientist/ana"],
		filters: []filter{{table: cardlake.Transactions}, {table: cardlake.ControlTotals}}}
	used := map[string]bool{}
	use := func(what string) {
		used[what] = true
		if justified[what] == "" {
			t.Errorf("%s is not justified", what)
		}
	}
	for kind, d := range map[string]document{"answers": w.mapping.readerPolicy(&r), "boundary": w.mapping.boundary()} {
		for _, st := range d.Statement {
			suffix := map[bool]string{true: " (Deny)"}[st.Effect == "Deny"]
			for _, action := range st.Action {
				for _, on := range st.Resource {
					if strings.Contains(action+on, "*") {
						if on == "*" || st.Effect == "Deny" {
							use(action + " on " + on + suffix)
						} else {
							use(kind + " on " + on)
						}
					}
				}
				for _, on := range st.NotResource {
					use(action + " on not " + on + suffix)
				}
			}
			for _, pairs := range st.Condition {
				for _, v := range pairs["s3:prefix"] {
					use("prefix " + v)
				}
			}
		}
		if n := len(d.Statement); d.Statement[n-2].Sid != "NoObjects" || d.Statement[n-1].Sid != "NoOtherKeys" {
			t.Errorf("%s ends with %s", kind, d.Statement[n-1].Sid)
		}
	}
	for what := range justified {
		if !used[what] {
			t.Errorf("%s is justified and not used", what)
		}
	}
}

func TestMappingFaults(t *testing.T) {
	for name, c := range map[string]struct {
		change func(m *Mapping)
		want   string
	}{
		"shared role":      {func(m *Mapping) { m.Roles["auditor/ben"] = Role{ana, "ben"} }, "nobody shares one"},
		"shared workgroup": {func(m *Mapping) { m.Roles["auditor/ben"] = Role{strange, "auditor-ana"} }, "would find its answers"},
		"reads as service": {func(m *Mapping) { m.Roles["auditor/ben"] = Role{accessRole, "ben"} }, "has the role of data_access_role"},
		"other account":    {func(m *Mapping) { m.Roles["auditor/ben"] = Role{"arn:aws:iam::999999999999:role/x", "ben"} }, "not the ARN of a role of the account"},
		"no principal":     {func(m *Mapping) { m.Roles["Ben"] = Role{strange, "ben"} }, "a principal is written KIND/NAME"},
		"answers in lake":  {func(m *Mapping) { m.Results.Bucket = bucket }, "the lake's own"},
		"known reader":     {func(m *Mapping) { m.Known = []string{ana} }, "what it has would not be seen"},
		"retiring reader":  {func(m *Mapping) { m.RetiringPrincipal = ana }, "is a role that reads"},
		"table":            {func(m *Mapping) { m.Tables = []string{"cards.none"} }, `no table "cards.none"`},
		"wildcard":         {func(m *Mapping) { m.Prefix = "*" }, "prefix is not a folder"},
		"key alias":        {func(m *Mapping) { m.Results.Key = "alias/x" }, "not the ARN of a KMS key"},
	} {
		w := newWorld(t, standardTenants()...)
		c.change(w.mapping)
		if err := w.mapping.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := (&Mapping{}).Validate(); err == nil || strings.Count(err.Error(), "\n") < 7 {
		t.Errorf("an empty mapping: %v", err)
	}
}

func TestFiles(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "x.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for text, want := range map[string]string{
		`{"account": "1", "acount": "2"}`: "unknown field", `{}`: "account is not 12 digits", `{"account": `: "unexpected EOF", `{} {}`: "something follows",
	} {
		if _, err := ReadMapping(write(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("mapping %s: %v, want %q", text, err, want)
		}
	}
	lake, other := keyOf("lake"), keyOf("other")
	got, err := ReadKeys(write(`{"lake": "` + lake + `", "abcdefghijklmnop": ["` + other + `", "` + keyOf("third") + `"]}`))
	if diff := cmp.Diff(Keys{keys.Lake: {lake}, "abcdefghijklmnop": {other, keyOf("third")}}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for text, want := range map[string]string{
		`{"lake": "` + lake + `", "abcdefghijklmnop": "` + lake + `"}`: "have a key in common", `{"abcdefghijklmnop": "` + other + `"}`: `no key of "lake"`,
		`{"lake": "alias/x"}`: "not the ARN", `{"lake": []}`: "neither an ARN nor a list", `[]`: "cannot unmarshal",
	} {
		if _, err := ReadKeys(write(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("keys %s: %v, want %q", text, err, want)
		}
	}
}
