package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/serving"
)

// recorded returns the lines of the lake's audit log.
func recorded(t *testing.T, dir home.Dir) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir.Audit(serving.LakeLog), "*"))
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.IsDir() {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(text)
	}
	return lines.String()
}

// TestCommandsAreOnRecord: every question and its end, and every refusal, by name.
func TestCommandsAreOnRecord(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 3, 10); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, as, arg string
		code          int
		want          []string
	}{
		{"query", "tenant_analyst/analyst@bolivar", "SELECT count(*) AS one FROM cards.transactions", 0, []string{
			`"actor":"tenant_analyst/analyst@bolivar","action":"query","resource":"cards.transactions","outcome":"allowed","origin":"os:`,
			`"statement":"SELECT count(*) AS one FROM cards.transactions"`, `"tenants":"bolivar"`,
			`"actor":"tenant_analyst/analyst@bolivar","action":"query.done"`, `"reason":"because"`,
		}},
		{"query", "auditor/local", "SELECT count(*) AS two FROM cards.transactions", 2, []string{
			`"actor":"auditor/local","action":"query","resource":"cards.transactions","outcome":"refused"`, `SELECT count(*) AS two`,
		}},
		{"query", "data_scientist/local", "SELECT * FROM read_text('x')", 2, []string{`"actor":"data_scientist/local","action":"query","resource":"statement","outcome":"refused"`}},
		{"reconcile", "tenant_analyst/analyst@cobre", "", 1, []string{`"actor":"tenant_analyst/analyst@cobre","action":"query","resource":"cards.control_totals,cards.transactions"`}},
	} {
		before := len(recorded(t, dir))
		args := []string{"-dir", string(dir), "-as", c.as, "-reason", "because"}
		if c.arg != "" {
			args = append(args, c.arg)
		}
		if out, errs, code := command(t, c.name, args...); code != c.code {
			t.Errorf("%s as %s: exit code %d, want %d; %s%s", c.name, c.as, code, c.code, out, errs)
		}
		lines := recorded(t, dir)[before:]
		for _, want := range c.want {
			if !strings.Contains(lines, want) {
				t.Errorf("%s as %s: the record has no %s:\n%s", c.name, c.as, want, lines)
			}
		}
	}
}

// TestReconcileOfATenant compares the rows that are given, and no others.
func TestReconcileOfATenant(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 3, 10); err != nil {
		t.Fatal(err)
	}
	out, errs, code := command(t, "reconcile", "-dir", string(dir), "-as", "tenant_analyst/analyst@cobre")
	if code != 1 || !strings.Contains(out, "cobre") || strings.Contains(out, "aurora") || strings.Contains(out, "bolivar") {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
	for _, as := range []string{"auditor/local", "operator/local", "etl_job/local"} { // no rows, no amounts, no totals
		out, errs, code = command(t, "reconcile", "-dir", string(dir), "-as", as)
		if code != 2 || out != "" || !strings.Contains(errs, "not permitted") {
			t.Errorf("%s: exit code %d, %s%s", as, code, out, errs)
		}
	}
}
