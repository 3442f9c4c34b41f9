package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/catalog/grants"
)

// grantsFolder is a folder with a register of two tenants, one of them suspended, and the
// grants for trying out.
func grantsFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	register := `[{"name": "acme", "storage_id": "abcdefghijklmnop", "country": "BR", "currency": "BRL", "created_at": "2026-01-01T00:00:00Z", "status": "active"},
		{"name": "shut", "storage_id": "bbcdefghijklmnop", "country": "MX", "currency": "MXN", "created_at": "2026-01-01T00:00:00Z", "status": "suspended"}]`
	if err := os.WriteFile(filepath.Join(dir, "tenants.json"), []byte(register), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := runGrants(t, dir, "init"); code != 0 {
		t.Fatal(errs)
	}
	return dir
}

// runGrants runs "cardlake grants COMMAND -dir DIR …".
func runGrants(t *testing.T, dir, command string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), append([]string{"grants", command, "-dir", dir}, args...), strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestGrantsCheck(t *testing.T) {
	dir := grantsFolder(t)
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"query cards.transactions", 0, []string{"data_scientist/local may query cards.transactions.", "data-scientist.read", "policies/people.cedar:3", "Data scientists query", "masked", "every tenant but shut"}},
		{"query Cards.Transactions acme", 0, []string{"in the rows of acme"}},
		{"query cards.transactions shut", 1, []string{"Not permitted", "builtin.closed-tenant"}},
		{"query cards.transactions nobody", 2, []string{"there is no tenant nobody"}},
		{"query cards.transaction", 2, []string{"did you mean cards.transactions?"}},
		{"-as auditor/nobody query cards.transactions", 1, []string{"there is no principal auditor/nobody in principals.json"}},
		{"-as boss/x query cards.transactions", 2, []string{"-as: a principal is written KIND/NAME"}},
		{"-as tenant_analyst/analyst@shut query cards.transactions", 1, []string{"forbidden by builtin.closed-tenant (builtin.cedar:8)"}},
		{"-as auditor/local query cards.transactions", 1, []string{"no policy permits auditor/local to query cards.transactions", "auditor.totals (policies/people.cedar:54)"}},
		{"-as operator/local -break-glass -reason fire query cards.transactions", 0, []string{"in an emergency, until", "operator.break-glass"}},
		{"-as operator/local -break-glass query cards.transactions", 1, []string{"builtin.break-glass-reason"}},
		{"-as operator/local -break-glass -reason fire -at 2100-01-01T00:00:00Z query cards.transactions acme", 0, []string{"operator.health"}},
		{"-as operator/local maintain", 0, []string{"operator/local may maintain for the lake", "operator.maintain"}},
		{"-as operator/local maintain acme", 0, []string{"for tenant acme"}},
		{"-as operator/local grant", 1, []string{"no policy permits operator/local to grant", "operator.grant"}},
		{"-as operator/local -mfa grant", 0, []string{"operator.grant"}},
		{"-as detokeniser/local -mfa detokenise shut", 1, []string{"detokeniser/local may detokenise, but not for tenant shut"}},
		{"-as auditor/local read_audit", 0, []string{"auditor.audit"}},
		{"-as operator/local maintain cards.transactions acme", 2, []string{"maintain is not asked for a table"}},
		{"query", 2, []string{"query is asked for a table"}},
		{"drop cards.transactions", 2, []string{`there is no action "drop"`}},
		{"", 2, []string{"takes an action"}},
		{"-at now query cards.transactions", 2, []string{"-at is a time in RFC 3339"}},
	} {
		code, out, errs := runGrants(t, dir, "check", strings.Fields(c.args)...)
		if code != c.code {
			t.Errorf("check %s: code %d, want %d: %s%s", c.args, code, c.code, out, errs)
		}
		for _, want := range c.want {
			if !strings.Contains(out+errs, want) {
				t.Errorf("check %s: no %q in\n%s%s", c.args, want, out, errs)
			}
		}
	}
	code, out, _ := runGrants(t, dir, "check", "-format", "csv", "query", "cards.transactions")
	if rows, err := csv.NewReader(strings.NewReader(out)).ReadAll(); code != 0 || err != nil || len(rows) != 6 || rows[0][0] != "rows" {
		t.Errorf("csv: %v %q", err, rows)
	}
}

func TestGrantsExplain(t *testing.T) {
	dir := grantsFolder(t)
	_, out, _ := runGrants(t, dir, "explain", "-format", "csv", "-column", "last4", "cards.transactions")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{}
	for _, r := range rows[1:] {
		reached[strings.Join([]string{r[0], r[1], r[3], r[4]}, " ")] = true
		if r[3] != "" && r[3] != "last4" || r[4] != "" && r[4] != "last4" {
			t.Errorf("other columns: %q", r)
		}
	}
	for _, want := range []string{"data_scientist/local query  last4", "operator/local query last4 ", "tenant_analyst/analyst@acme export last4 ", "etl_job/local read_changes last4 "} {
		if !reached[want] {
			t.Errorf("no %q in %v", want, reached)
		}
	}
	if reached["tenant_analyst/analyst@shut query last4 "] || reached["auditor/local query last4 "] {
		t.Error("reached by who may not")
	}
	if code, _, errs := runGrants(t, dir, "explain", "-column", "pan", "cards.transactions"); code != 2 || !strings.Contains(errs, `has no column "pan"`) {
		t.Errorf("%d %s", code, errs)
	}
}

func TestGrantsReport(t *testing.T) {
	dir := grantsFolder(t)
	code, out, errs := runGrants(t, dir, "report", "-format", "json")
	var r grants.Report
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil || len(r.Principals) != 9 {
		t.Fatalf("%d %v %s", code, err, errs)
	}
	earlier := filepath.Join(t.TempDir(), "earlier.json")
	if err := os.WriteFile(earlier, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "grants", "policies", "more.cedar")
	if err := os.WriteFile(path, []byte(`@id("more") permit (principal in Lake::Persona::"auditor", action == Lake::Action::"export", resource in Lake::Table::"cards.control_totals");`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, errs = runGrants(t, dir, "report", "-format", "csv", "-since", earlier)
	if !strings.Contains(errs, "changed: principal auditor/local: now export cards.control_totals") || !strings.Contains(out, "auditor/local,local@localhost,person,,(due),,export,cards.control_totals,every tenant but shut") {
		t.Errorf("%s\n%s", errs, out)
	}
	_, out, _ = runGrants(t, dir, "report", "-format", "markdown", "-since", earlier)
	if !strings.Contains(out, "- Added: policy more") || !strings.Contains(out, "# Review of access") {
		t.Error(out)
	}
	for _, args := range [][]string{{"-since", path}, {"-since", "nowhere"}, {"-format", "parquet"}, {"x"}} {
		if code, _, _ := runGrants(t, dir, "report", args...); code != 2 {
			t.Errorf("%q: code %d", args, code)
		}
	}
}

func TestGrantsValidateAndList(t *testing.T) {
	dir := grantsFolder(t)
	if code, out, _ := runGrants(t, dir, "validate"); code != 0 || !strings.HasPrefix(out, "right: 9 principals, 29 policies, version ") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := runGrants(t, dir, "validate", "-production"); code != 1 || !strings.Contains(out, "for trying out on one machine") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := runGrants(t, dir, "list"); code != 0 || !strings.Contains(out, "tenant_analyst/analyst@acme") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := runGrants(t, dir, "list", "policies"); code != 0 || !strings.Contains(out, "permit in an emergency") || !strings.Contains(out, "builtin.sealed") {
		t.Errorf("%d %s", code, out)
	}
	if code, _, errs := runGrants(t, dir, "init"); code != 2 || !strings.Contains(errs, "has grants already") {
		t.Errorf("%d %s", code, errs)
	}
	path := filepath.Join(dir, "grants", "policies", "more.cedar")
	if err := os.WriteFile(path, []byte("\npermit (principal, action, resource is Lake::Slice)\nwhen { resource.tag == \"secret\" };"), 0o600); err != nil {
		t.Fatal(err)
	}
	const fault = `policies/more.cedar:2: there is no tag "secret"`
	if code, out, _ := runGrants(t, dir, "validate"); code != 1 || !strings.HasPrefix(out, fault) {
		t.Errorf("%d %s", code, out)
	}
	if code, _, errs := runGrants(t, dir, "check", "query", "cards.transactions"); code != 2 || !strings.Contains(errs, fault) {
		t.Errorf("%d %s", code, errs)
	}
	for _, args := range [][]string{{}, {"drop"}} {
		var stdout, stderr bytes.Buffer
		if code := run(context.Background(), append([]string{"grants"}, args...), strings.NewReader(""), &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "usage: cardlake grants") {
			t.Errorf("%q: code %d: %s", args, code, &stderr)
		}
	}
	if code, _, errs := runGrants(t, t.TempDir(), "validate"); code != 2 || !strings.Contains(errs, "cardlake grants init") {
		t.Errorf("%d %s", code, errs)
	}
}
