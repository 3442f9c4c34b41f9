package grants_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
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
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
)

func starterSet(t *testing.T) (*grants.Set, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "grants")
	if err := grants.Init(dir, append(slices.Clone(register), tenantOf("left", "BR", catalog.TenantOffboarded))); err != nil {
		t.Fatal(err)
	}
	s, err := grants.Load(dir, register)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func TestStarterSet(t *testing.T) {
	s, dir := starterSet(t)
	now := time.Now()
	most := "public=clear identifier=clear truncated_pan=clear money=clear"
	for _, c := range []struct {
		as     string
		action grants.Action
		table  *cardlake.Table
		want   []string
	}{
		{"data_scientist/local", grants.Query, cardlake.Transactions, []string{"every tenant but shut: public=clear identifier=clear money=clear truncated_pan=masked"}},
		{"data_scientist/local", grants.Export, cardlake.Transactions, nil},
		{"data_scientist/local", grants.Query, cardlake.Rejected, nil},
		{"data_scientist/local", grants.Query, cardlake.Alerts, []string{"every tenant but shut: public=clear identifier=clear money=clear"}},
		{"etl_job/insights", grants.Query, cardlake.Labels, []string{"every tenant but shut: public=clear identifier=clear"}},
		{"auditor/local", grants.Query, cardlake.Alerts, nil},
		{"etl_job/local", grants.Export, cardlake.Transactions, []string{"every tenant but shut: " + most}},
		{"operator/local", grants.Query, cardlake.Transactions, []string{"every tenant but shut: public=clear lineage=clear"}},
		{"operator/local", grants.Query, cardlake.Rejected, []string{"all: public=clear lineage=clear"}},
		{"auditor/local", grants.Query, cardlake.Transactions, nil},
		{"auditor/local", grants.Query, cardlake.ControlTotals, []string{"every tenant but shut: public=clear money=clear lineage=clear"}},
		{"detokeniser/local", grants.Query, cardlake.Transactions, nil},
		{"tenant_analyst/analyst@acme", grants.Query, cardlake.Transactions, []string{"acme: " + most}},
		{"tenant_analyst/analyst@acme", grants.Export, cardlake.ControlTotals, []string{"acme: public=clear money=clear"}},
		{"tenant_analyst/analyst@acme", grants.Query, cardlake.Rejected, nil},
		{"tenant_analyst/analyst@shut", grants.Query, cardlake.Transactions, nil},
	} {
		p, err := grants.ParsePrincipal(c.as)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, given(s.Decide(grants.Caller{Principal: p}, c.action, c.table, now))); diff != "" {
			t.Errorf("%s %s %s: %s", c.as, c.action, c.table.FullName(), diff)
		}
	}
	if slices.ContainsFunc(s.Principals(), func(a grants.Account) bool { return strings.HasSuffix(a.Principal.Name, "@left") }) {
		t.Error("a tenant that left has an analyst")
	}
	local := func(kind grants.Kind) grants.Caller {
		return grants.Caller{Principal: grants.Principal{Kind: kind, Name: "local"}}
	}
	if !s.Permitted(local(grants.Operator), grants.Maintain, now).Allowed() || s.Permitted(local(grants.Operator), grants.Grant, now).Allowed() ||
		!s.Permitted(local(grants.Auditor), grants.ReadAudit, now).Allowed() || s.Permitted(local(grants.DataScientist), grants.Maintain, now).Allowed() {
		t.Error("the lake's actions are not as documented")
	}
	if err := grants.Init(dir, register); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second set is written over the first: %v", err)
	}
}

// The folder's schema is the one that the program has compiled in.
func TestStarterSchemaLoads(t *testing.T) {
	_, dir := starterSet(t)
	if err := os.Remove(filepath.Join(dir, "cardlake.cedarschema")); err != nil {
		t.Fatal(err)
	}
	if _, err := grants.Load(dir, register); err != nil {
		t.Errorf("without a schema of its own: %v", err)
	}
}

func TestExplain(t *testing.T) {
	s, _ := starterSet(t)
	c := grants.Caller{Principal: grants.Principal{Kind: grants.DataScientist, Name: "local"}}
	findings, err := s.Explain(c, grants.Query, cardlake.Transactions, "acme", noon)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range findings {
		text := f.Access.String()
		for _, p := range f.Policies {
			text += " " + p.ID + " " + p.Place()
		}
		got[string(f.Tag)] = text
		if len(f.Columns) == 0 {
			t.Errorf("%s has no columns", f.Tag)
		}
	}
	want := map[string]string{
		"public": "clear data-scientist.read policies/people.cedar:3", "identifier": "clear data-scientist.read policies/people.cedar:3",
		"money": "clear data-scientist.read policies/people.cedar:3", "truncated_pan": "masked data-scientist.truncated policies/people.cedar:12", "lineage": "dropped",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if findings, err = s.Explain(c, grants.Query, cardlake.Transactions, "shut", noon); err != nil || !findings[0].IsForbidden || findings[0].Policies[0].ID != "builtin.closed-tenant" {
		t.Errorf("%+v %v", findings, err)
	}
	if got := s.Candidates(c.Principal, grants.Subscribe); len(got) != 1 || got[0].ID != "tenant.subscribe" {
		t.Errorf("candidates %v", got)
	}
	emergency := 0
	for _, d := range s.Who(grants.Query, cardlake.Transactions, time.Now()) {
		if !d.Allowed() || d.Principal.Kind == grants.Auditor {
			t.Errorf("%s reaches it", d.Principal)
		}
		if d.BreakGlass {
			emergency++
		}
	}
	if emergency != 1 {
		t.Errorf("%d principals reach more in an emergency, want 1", emergency)
	}
}

func TestReport(t *testing.T) {
	s, dir := starterSet(t)
	now := time.Now()
	before := s.Report(cardlake.Tables, now)
	if len(before.Principals) != len(s.Principals()) || len(before.Policies) != len(s.Policies()) || !before.Development {
		t.Fatalf("%d principals, %d policies", len(before.Principals), len(before.Policies))
	}
	lines := func(r *grants.Report, principal string) []string {
		var out []string
		for _, p := range r.Principals {
			if p.Principal == principal {
				for _, a := range p.Access {
					out = append(out, a.String()+" by "+strings.Join(a.Policies, " "))
				}
			}
		}
		return out
	}
	var want []string
	for _, action := range []string{"query", "read_changes", "export"} {
		for _, table := range []string{
			"cards.transactions of acme, clear public, identifier, truncated_pan, money",
			"cards.control_totals of acme, clear public, money",
			"insights.runs of acme, clear public, money",
			"insights.alerts of acme, clear public, identifier, money",
			"insights.labels of acme, clear public, identifier",
			"insights.segments of acme, clear public, money",
			"insights.customer_segments of acme, clear public, identifier, money",
			"insights.predictions of acme, clear public, identifier, money",
			"insights.recommendations of acme, clear public, identifier",
		} {
			want = append(want, action+" "+table+" by tenant.read")
		}
	}
	want = append(want, "subscribe of acme by tenant.subscribe", "review of acme by tenant.review")
	if diff := cmp.Diff(want, lines(before, "tenant_analyst/analyst@acme")); diff != "" {
		t.Error(diff)
	}
	operator := strings.Join(lines(before, "operator/local"), "\n")
	for _, want := range []string{
		"query cards.transactions of every tenant but shut, clear public, identifier, truncated_pan, money, lineage, in an emergency by operator.break-glass operator.health",
		"grant of the lake and every tenant, with more than one factor by operator.grant",
	} {
		if !strings.Contains(operator, want) {
			t.Errorf("no %q in\n%s", want, operator)
		}
	}

	// A report survives its file, and tells what differs.
	text, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	var earlier grants.Report
	if err := json.Unmarshal(text, &earlier); err != nil {
		t.Fatal(err)
	}
	same := s.Report(cardlake.Tables, now)
	same.Compare(&earlier)
	if d := same.Since; len(d.Added)+len(d.Removed)+len(d.Changed) != 0 {
		t.Errorf("nothing changed, but %+v", d)
	}
	grantstest.Write(t, dir, "principals.json", `{"principals": [{"principal": "data_scientist/local", "owner": "new@example.com"}, {"principal": "data_scientist/ana", "owner": "a@b", "reviewed": "2026-01-01"}]}`)
	grantstest.Write(t, dir, "policies/people.cedar", `@id("wide") permit (principal in Lake::Persona::"data_scientist", action == Lake::Action::"query", resource in Lake::Table::"cards.transactions");`)
	if s, err = grants.Load(dir, register); err != nil {
		t.Fatal(err)
	}
	after := s.Report(cardlake.Tables, now)
	after.Compare(&earlier)
	for _, c := range []struct {
		list []string
		want string
	}{
		{after.Since.Added, "principal data_scientist/ana"},
		{after.Since.Added, "policy wide"},
		{after.Since.Removed, "principal operator/local"},
		{after.Since.Removed, "policy data-scientist.read"},
		{after.Since.Changed, "principal data_scientist/local: now owner new@example.com"},
		{after.Since.Changed, "principal data_scientist/local: now query cards.transactions of every tenant but shut, clear public, identifier, truncated_pan, money, lineage"},
		{after.Since.Changed, "principal data_scientist/local: no more query cards.transactions of every tenant but shut, clear public, identifier, money, masked truncated_pan"},
	} {
		if !slices.Contains(c.list, c.want) {
			t.Errorf("no %q in %q", c.want, c.list)
		}
	}
	var md bytes.Buffer
	if err := after.Markdown(&md); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| data_scientist/ana | a@b | person |", "- Added: policy wide", "| wide | policies/people.cedar:1 | permit |", "Reviewed by:", "2026-01-01 **due**"} {
		if !strings.Contains(md.String(), want) {
			t.Errorf("no %q in\n%s", want, &md)
		}
	}
}
