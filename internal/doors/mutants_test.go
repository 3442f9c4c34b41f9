package doors_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutants are checks that are taken out, each by itself: the first text of the file becomes the
// second.
var mutants = []struct{ name, file, from, to string }{
	{"files of all tenants are opened, and none is asked for", "queries/embedded/embedded.go", "if i < 0 {\n\t\t\tcontinue", "if i < 0 && len(byScope) > 0 {\n\t\t\ti = 0\n\t\t}\n\t\tif i < 0 {\n\t\t\tcontinue"},
	{"the tail is not cut", "queries/embedded/rows.go", "if scope >= 0 {", "if scope = max(scope, 0); true {"},
	{"dropped columns are in the view", "queries/embedded/instance.go", "if s.exposed[i] && shown[i] != grants.Dropped {", "if s.exposed[i] {"},
	{"masked values are clear", "queries/mask.go", "case grants.Masked:\n\t\treturn MaskSQL(c)", "case grants.Masked:\n\t\treturn quoteName(c.Name)"},
	{"columns of one scope are given in all", "queries/embedded/instance.go", "queries.ColumnSQL(c, scope[i])", "queries.ColumnSQL(c, shown[i])"},
	{"a refusal is no refusal", "queries/permits.go", "d := g.decide(c, a, s.Reads[i].Table)\n\t\tif !d.Allowed() {", "d := g.decide(c, a, s.Reads[i].Table)\n\t\tif false {"},
	{"the audit log is a table like others", "queries/permits.go", "a = grants.ReadAudit", "a = grants.Query"},
	{"tables are listed whoever asks", "queries/permits.go", "d := g.decide(c, grants.Query, t)\n\t\tif !d.Allowed() {\n\t\t\tcontinue", "d := g.decide(c, grants.Query, t)\n\t\tif false {\n\t\t\tcontinue"},
	{"tables are described whoever asks", "queries/permits.go", "d := g.decide(c, grants.Query, g.cfg.Tables[i])\n\tif !d.Allowed() {", "d := g.decide(c, grants.Query, g.cfg.Tables[i])\n\tif false {"},
	{"columns are described whoever asks", "queries/permits.go", "if a != grants.Dropped {\n\t\t\tinfo", "if true {\n\t\t\tinfo"},
	{"positions are told to all", "queries/queries.go", "s.Positions, s.Lacking, s.TailError, s.Unanswered = nil, nil, nil, nil", ""},
	{"nothing is recorded before", "queries/scan.go", "if err := g.record(ctx, line.asked()); err != nil {", "if err := error(nil); err != nil {"},
	{"a refusal is not recorded", "queries/gateway.go", "if unrecorded := g.recordLate(ctx, line.refused(err)); unrecorded != nil {", "if unrecorded := error(nil); unrecorded != nil {"},
	{"forbids of clear values do not forbid", "catalog/grants/evaluate.go", "forbids := q.which(q.forbids, clear)\n\tif len(forbids) == 0 {", "forbids := q.which(q.forbids, clear)\n\tif true {"},
	{"forbids of masked values do not forbid", "catalog/grants/evaluate.go", "if forbids := q.which(q.forbids, masked); len(forbids) > 0 {", "if forbids := q.which(q.forbids, masked); len(forbids) > 1000 {"},
	{"except is forgotten", "catalog/grants/decision.go", "if _, excepted := slices.BinarySearch(d.Except, tenant); excepted && tenant != \"\" {", "if false {"},
	{"table functions are allowed", "queries/check.go", "if !tableFunctions[name] ||", "if false && !tableFunctions[name] ||"},
	{"functions are allowed", "queries/check.go", "if functions[name] {", "if true {"},
	{"an export is of all tenants", "queries/narrow.go", "n.memo[d] = &made\n\treturn &made", "n.memo[d] = &made\n\treturn d"},
	{"a question of one tenant reads others", "queries/at.go", "narrowed.permits = Narrow(g.permits, at.Tenant)", "narrowed.permits = g.permits"},
	{"an export tells which tenants there are", "queries/export/service.go", "permits := queries.Narrow(s.deps.Permits, r.Tenant)\n\tfor", "if _, err := s.tenant(r.Tenant); err != nil {\n\t\treturn nil, err\n\t}\n\tpermits := queries.Narrow(s.deps.Permits, r.Tenant)\n\tfor"},
	{"changes are given whoever asks", "queries/scan.go", "if !d.Allowed() {", "if false {"},
	{"files of all tenants have changes", "queries/scan/scan.go", "return r.read.Decision.Scope(f.Tenant) != nil &&", "return true &&"},
	{"masked values of changes are clear", "queries/scan/file.go", "find(place, scope.Columns[place]); err", "find(place, grants.Clear); err"},
}

// TestMutants takes each check out and wants the other tests to notice. It builds the tests once
// a mutant, so it takes minutes and runs when CARDLAKE_MUTANTS is set.
func TestMutants(t *testing.T) {
	if os.Getenv("CARDLAKE_MUTANTS") == "" {
		t.Skip("set CARDLAKE_MUTANTS to run it")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			path := filepath.Join(root, filepath.FromSlash(m.file))
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), m.from); n != 1 {
				t.Fatalf("%s has the check %d times: the mutant is out of date", m.file, n)
			}
			dir := t.TempDir()
			broken, overlay := filepath.Join(dir, "broken.go"), filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(broken, []byte(strings.Replace(string(text), m.from, m.to, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{path: broken}})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(overlay, replaced, 0o600); err != nil {
				t.Fatal(err)
			}
			binary := filepath.Join(dir, "doors.test")
			if out, err := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
				t.Fatalf("does not compile: %v\n%s", err, out)
			}
			tests := exec.Command(binary, "-test.short", "-test.failfast")
			tests.Env = append(os.Environ(), "CARDLAKE_MUTANTS=")
			out, err := tests.CombinedOutput()
			if err == nil {
				t.Fatal("nothing failed")
			}
			fmt.Println(firstFault(string(out)))
		})
	}
}

// firstFault is the line that says what was noticed.
func firstFault(out string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, "_test.go:") {
			return strings.TrimSpace(line[:min(len(line), 200)])
		}
	}
	return out[:min(len(out), 200)]
}
