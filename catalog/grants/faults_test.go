package grants_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
)

func TestFaults(t *testing.T) {
	slice := func(condition string) string {
		return "\npermit (principal, action, resource is Lake::Slice)\nwhen { " + condition + " };"
	}
	principals := func(lines ...string) string {
		return "{\"principals\": [\n" + strings.Join(append(lines, `{"principal": "operator/all", "owner": "a@b"}`), ",\n") + "\n]}"
	}
	for _, c := range []struct{ name, file, text, want string }{
		{"no Cedar", "", "\npermit (principal, action resource);", "policies/test.cedar:2: is not Cedar: column 35"},
		{"unknown attribute", "", slice("resource.colour == 1"), "policies/test.cedar:2: attribute `colour`"},
		{"wrong type", "", slice("resource.tag == 1"), "policies/test.cedar:2: the types Long and String are not compatible"},
		{"unknown action", "", "permit (principal, action == Lake::Action::\"drop\", resource);", "policies/test.cedar:1: unrecognized action"},
		{"action of no such resource", "", "permit (principal, action == Lake::Action::\"grant\", resource is Lake::Slice);", "unable to find an applicable action"},
		{"unknown tag", "", slice(`resource.tag == "secret"`), `policies/test.cedar:2: there is no tag "secret"`},
		{"unknown tag in a list", "", slice(`["public", "secret"].contains(resource.tag)`), `there is no tag "secret"`},
		{"tag by pattern", "", slice(`resource.tag like "p*"`), "tag is only compared with literals"},
		{"tag hidden in a choice", "", slice(`(if context.mfa then resource else resource).tag == "public"`), "tag is only compared with literals"},
		{"unknown access", "", slice(`resource.access == "full"`), `there is no access "full"`},
		{"unknown persona word", "", slice(`principal.persona == "boss"`), `there is no persona "boss"`},
		{"unknown status", "", slice(`resource.tenant.status == "open"`), `there is no status "open"`},
		{"unknown tenant", "", slice(`resource.tenant == Lake::Tenant::"nobody"`), `policies/test.cedar:2: there is no tenant "nobody"`},
		{"unknown principal", "", "permit (principal == Lake::Principal::\"auditor/nobody\", action, resource);", `there is no principal "auditor/nobody"`},
		{"unknown persona", "", "permit (principal in Lake::Persona::\"boss\", action, resource);", `there is no persona "boss"`},
		{"unknown team", "", "permit (principal in Lake::Team::\"fraud\", action, resource);", `there is no team "fraud"`},
		{"unknown table", "", "permit (principal, action, resource in Lake::Table::\"cards.secrets\");", `there is no table "cards.secrets"`},
		{"a slice by name", "", "permit (principal, action, resource == Lake::Slice::\"x\");", `there is no Lake::Slice::"x"`},
		{"id of two", "", "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);", "policies/test.cedar:2: @id a is that of policies/test.cedar:1 too"},
		{"id of the program", "", "@id(\"builtin.x\") permit (principal, action, resource);", "as only those of the program do"},
		{"odd id", "", "@id(\"a b\") permit (principal, action, resource);", "@id is 1 to 64"},
		{"time without an end", "", slice(`context.now < context.now`), "context.now is only compared with datetime"},
		{"time of day", "", slice(`context.now.toTime() < duration("18h")`), "context.now is only compared"},
		{"time shifted", "", slice(`context.now < datetime("2026-01-01").offset(duration("1d"))`), "context.now is only compared"},
		{"time equal", "", slice(`context.now == datetime("2026-01-01")`), "context.now is only compared"},
		{"no such time", "", slice(`context.now < datetime("2026-13-01")`), "policies/test.cedar:2: "},
		{"reason by text", "", slice(`context.reason == "fire"`), `context.reason is only compared with ""`},
		{"reason by pattern", "", slice(`context.reason like "*fire*"`), `context.reason is only compared with ""`},
		{"context as a whole", "", slice(`context == context`), "context is used by its attributes only"},
		{"endless emergency", "", slice(`context.break_glass && context.reason != ""`), "break-glass access ends"},
		{"emergency with a begin only", "", slice(`context.break_glass && context.reason != "" && context.now > datetime("2026-01-01")`), "break-glass access ends"},
		{"emergency without a reason", "", slice(`context.break_glass && context.now < datetime("2026-01-01")`), "break-glass access needs a reason"},
		{"emergency among others", "", slice(`(context.break_glass || context.mfa) && context.reason != "" && context.now < datetime("2026-01-01")`), "context.break_glass is a condition of its own"},
		{"emergency denied", "", slice(`!context.break_glass`), "context.break_glass is a condition of its own"},
		{"forbid that an emergency lifts", "", "forbid (principal, action, resource) unless { context.break_glass };", "a forbid that an emergency lifts"},
		{"nested", "", "permit (principal, action, resource) when { " + strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200) + " };", "nested more than"},
		{"too long", "", strings.Repeat("// x\n", 100_000), "policies/test.cedar: is longer than"},
		{"a file that would be passed over", "policies/x.cedar.txt", "forbid (principal, action, resource);", "policies/x.cedar.txt: is not a *.cedar file"},

		{"no JSON", "principals.json", "{\n\"principals\": [}", "principals.json:2: invalid character"},
		{"cut off", "principals.json", "{\n\"principals\": [", "principals.json:2: unexpected E"},
		{"more behind", "principals.json", principals() + "\n{}", "principals.json:4: there is more behind the end"},
		{"a list", "principals.json", "[]", `principals.json:1: want "{"`},
		{"unknown field", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "admin": true}`), `principals.json:2: json: unknown field "admin"`},
		{"unknown section", "principals.json", `{"roles": []}`, `there is no "roles"`},
		{"name twice", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "Owner": "c@d"}`), `principals.json:2: name "Owner" is given twice`},
		{"principal twice", "principals.json", principals(`{"principal": "operator/all", "owner": "a@b"}`), "principals.json:3: operator/all: is in line 2 already"},
		{"subject shared", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "subjects": ["x509:CN=a"]}`, `{"principal": "auditor/b", "owner": "a@b", "subjects": ["x509:CN=a"]}`), "principals.json:3: auditor/b: has a subject of line 2: nobody shares one"},
		{"odd subject", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "subjects": ["oidc:issuer"]}`), "a subject is oidc:ISSUER#SUB"},
		{"odd name", "principals.json", principals(`{"principal": "auditor/A", "owner": "a@b"}`), "a principal is written KIND/NAME"},
		{"a name like a card number", "principals.json", principals(`{"principal": "auditor/4111111", "owner": "a@b"}`), "at most 6 digits in a row"},
		{"no owner", "principals.json", principals(`{"principal": "auditor/a"}`), "owner is the e-mail address"},
		{"no tenant", "principals.json", principals(`{"principal": "tenant_analyst/a", "owner": "a@b"}`), "tenant_analyst/a: needs a tenant"},
		{"not of a tenant", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "tenant": "acme"}`), "auditor/a: is not of a tenant"},
		{"tenant that is not there", "principals.json", principals(`{"principal": "tenant_analyst/a", "owner": "a@b", "tenant": "nobody"}`), `there is no tenant "nobody"`},
		{"a job that is no service", "principals.json", principals(`{"principal": "etl_job/a", "owner": "a@b"}`), "is a program"},
		{"a service that is a person", "principals.json", principals(`{"principal": "detokeniser/a", "owner": "a@b", "service": true}`), "is a person, never a service"},
		{"undeclared team", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "teams": ["x"]}`), `team "x" is given twice, or is not declared`},
		{"never valid", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "valid_from": "2026-01-02T00:00:00Z", "valid_until": "2026-01-02T00:00:00Z"}`), "it would never be valid"},
		{"too exact", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "valid_until": "2026-01-02T00:00:00.0001Z"}`), "whole milliseconds"},
		{"odd review", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "reviewed": "yesterday"}`), "reviewed is a day"},
		{"negative limit", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "limits": {"max_rows": -1}}`), "limits: are not negative"},
		{"attribute of the program", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "attributes": {"persona": "operator"}}`), `attribute persona is not set by "attributes"`},
		{"attribute that is not in the schema", "principals.json", principals(`{"principal": "auditor/a", "owner": "a@b", "attributes": {"floor": 3}}`), "principals.json:2: auditor/a: does not fit Lake::Principal"},
		{"limits of no persona", "principals.json", `{"personas": {"boss": {}}}`, `there is no persona "boss"`},

		{"no schema", "cardlake.cedarschema", "namespace Lake {\n entity };", "cardlake.cedarschema:2: is not a Cedar schema"},
		{"another schema", "cardlake.cedarschema", "entity User;", "cardlake.cedarschema: Lake::Principal is not as this version of cardlake has it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := grantstest.Folder(t, "", register...)
			if c.file == "" {
				c.file = "policies/test.cedar"
			}
			grantstest.Write(t, dir, c.file, c.text)
			_, err := grants.Load(dir, register)
			var faults grants.Faults
			if !errors.As(err, &faults) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestEveryFaultIsToldAtOnce(t *testing.T) {
	dir := grantstest.Folder(t, "permit (principal, action, resource is Lake::Slice)\nwhen { resource.tag == \"secret\" };\n\npermit (principal, action, resource) when { 1 };", register...)
	grantstest.Write(t, dir, "policies/second.cedar", "permit (")
	grantstest.Write(t, dir, "principals.json", `{"principals": [{"principal": "operator/all", "owner": "a@b"}, {"principal": "auditor/a"}]}`)
	_, err := grants.Load(dir, register)
	for _, want := range []string{"policies/second.cedar:1:", "policies/test.cedar:1: there is no tag", "policies/test.cedar:4: ", "principals.json:1: auditor/a"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func TestNoFolder(t *testing.T) {
	_, err := grants.Load(filepath.Join(t.TempDir(), "none"), register)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "cardlake grants init") {
		t.Errorf("error %v", err)
	}
	dir := grantstest.Folder(t, "", register...)
	os.Remove(filepath.Join(dir, "principals.json"))
	if _, err := grants.Load(dir, register); err == nil || !strings.Contains(err.Error(), "principals.json: is missing") {
		t.Errorf("error %v", err)
	}
}

func TestOwnAttributesOfPrincipals(t *testing.T) {
	dir := t.TempDir()
	if err := grants.Init(dir, register); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "cardlake.cedarschema")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	extended := strings.Replace(string(text), "persona: String,", "persona: String,\n    purpose?: String,\n    reports_to?: Principal,", 1)
	grantstest.Write(t, dir, "cardlake.cedarschema", extended)
	grantstest.Write(t, dir, "principals.json", `{"teams": ["fraud"], "principals": [{"principal": "operator/all", "owner": "a@b"},
		{"principal": "auditor/fraud", "owner": "a@b", "teams": ["fraud"], "attributes": {"purpose": "fraud", "reports_to": {"__entity": {"type": "Lake::Principal", "id": "tenant_analyst/x"}}}},
		{"principal": "auditor/other", "owner": "a@b"},
		{"principal": "tenant_analyst/x", "owner": "a@b", "tenant": "beta"}]}`)
	grantstest.Write(t, dir, "policies/purpose.cedar", `permit (principal in Lake::Team::"fraud", action == Lake::Action::"query", resource is Lake::Slice)
		when { principal has purpose && principal.purpose == "fraud" && principal has reports_to && principal.reports_to has tenant && resource.tenant == principal.reports_to.tenant };`)
	s, err := grants.Load(dir, register)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"fraud": true, "other": false} {
		d := s.Decide(grants.Caller{Principal: grants.Principal{Kind: grants.Auditor, Name: name}}, grants.Query, cardlake.Transactions, noon)
		if (d.Scope("beta") != nil) != want || d.Scope("acme") != nil || d.Scope("gama") != nil {
			t.Errorf("%s: %v", name, given(d))
		}
	}
	const differs = " is not as this version of cardlake has it"
	for _, change := range [][3]string{
		{"country: String,", "country: Long,", "Lake::Tenant" + differs}, {"persona: String,", "persona: String,\n tag: String,", "Lake::Principal" + differs},
		{"mfa: Bool,", "", `Lake::Action::"query"` + differs},
		{"action read;", "action read;\n action drop appliesTo { principal: Principal, resource: Tenant, context: Context };", `there is no action Lake::Action::"drop"`},
		{"entity Slice in [Table]", "entity Slice", "Lake::Slice" + differs}, {"tenant?: Tenant,", "tenant?: String,", "Lake::Principal" + differs},
	} {
		grantstest.Write(t, dir, "cardlake.cedarschema", strings.Replace(string(text), change[0], change[1], 1))
		if _, err := grants.Load(dir, register); err == nil || !strings.Contains(err.Error(), "cardlake.cedarschema: "+change[2]) {
			t.Errorf("schema with %q for %q: %v", change[1], change[0], err)
		}
	}
}

func TestVersion(t *testing.T) {
	dir := grantstest.Folder(t, "", register...)
	version := func(tenants ...catalog.TenantRecord) string {
		t.Helper()
		s, err := grants.Load(dir, grantstest.Tenants(tenants))
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Version()) != 64 || strings.Trim(s.Version(), "abcdefghijklmnop") != "" {
			t.Errorf("version %q", s.Version())
		}
		return s.Version()
	}
	seen := map[string]string{version(register...): "first"}
	if _, ok := seen[version(register[1], register[0], register[3], register[2])]; !ok {
		t.Error("the version depends on the order of the register")
	}
	grantstest.Write(t, dir, "policies/test.cedar", "\r\n")
	crlf := version(register...)
	grantstest.Write(t, dir, "policies/test.cedar", "\n")
	if version(register...) != crlf {
		t.Error("the version depends on line ends")
	}
	for what, change := range map[string]func() string{
		"policy": func() string { grantstest.Write(t, dir, "policies/test.cedar", "// x\n"); return version(register...) },
		"file name": func() string {
			os.Rename(filepath.Join(dir, "policies/test.cedar"), filepath.Join(dir, "policies/b.cedar"))
			return version(register...)
		},
		"suspended": func() string {
			return version(tenantOf("acme", "BR", catalog.TenantSuspended), register[1], register[2], register[3])
		},
		"country": func() string {
			return version(tenantOf("acme", "AR", catalog.TenantActive), register[1], register[2], register[3])
		},
	} {
		v := change()
		if other, ok := seen[v]; ok {
			t.Errorf("a change of %s leaves the version of %s", what, other)
		}
		seen[v] = what
	}
}

func TestCommit(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "deep", "grants")
	if err := grants.Init(dir, register); err != nil {
		t.Fatal(err)
	}
	commit := func() string {
		t.Helper()
		s, err := grants.Load(dir, register)
		if err != nil {
			t.Fatal(err)
		}
		return s.Commit()
	}
	id := strings.Repeat("0123abcdef", 4)
	for _, files := range []map[string]string{
		{".git/HEAD": id + "\n"},
		{".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": id + "\n"},
		{".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": "", ".git/packed-refs": "# x\n" + id + " refs/heads/main\n"},
	} {
		for name, text := range files {
			if text == "" {
				os.Remove(filepath.Join(root, name))
				continue
			}
			grantstest.Write(t, root, name, text)
		}
		if got := commit(); got != id[:12] {
			t.Errorf("%v: commit %q", files, got)
		}
	}
	grantstest.Write(t, root, ".git/HEAD", "ref: refs/heads/none\n")
	if got := commit(); got != "" {
		t.Errorf("commit %q of a branch without one", got)
	}
	os.RemoveAll(filepath.Join(root, ".git"))
	grantstest.Write(t, root, ".git", "gitdir: elsewhere\n")
	grantstest.Write(t, root, "elsewhere/HEAD", "ref: refs/heads/main\n")
	grantstest.Write(t, root, "elsewhere/commondir", "../common\n")
	grantstest.Write(t, root, "common/refs/heads/main", id)
	if got := commit(); got != id[:12] {
		t.Errorf("work tree: commit %q", got)
	}
	if git, err := exec.LookPath("git"); err == nil {
		os.Remove(filepath.Join(root, ".git"))
		for _, args := range [][]string{{"init", "-q"}, {"-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"}} {
			if out, err := exec.Command(git, append([]string{"-C", root}, args...)...).CombinedOutput(); err != nil {
				t.Skipf("git: %v %s", err, out)
			}
		}
		out, err := exec.Command(git, "-C", root, "rev-parse", "HEAD").Output()
		if got := commit(); err != nil || !strings.HasPrefix(string(out), got) || got == "" {
			t.Errorf("commit %q, git says %s %v", got, out, err)
		}
	}
}

func TestProduction(t *testing.T) {
	dir := t.TempDir()
	if err := grants.Init(dir, register); err != nil {
		t.Fatal(err)
	}
	s, err := grants.Load(dir, register)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"development" is true`, "data_scientist/local: is for trying out", "has no subject", "was not reviewed"} {
		if err := s.Production(time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if _, err := grants.Open(dir, register, grants.Config{Production: true}); err == nil {
		t.Error("a set for trying out opens in production")
	}
	good := `{"principals": [{"principal": "data_scientist/ana", "owner": "ana@example.com", "subjects": ["oidc:https://id.example#ana"], "reviewed": "2026-09-01"}]}`
	grantstest.Write(t, dir, "principals.json", good)
	if s, err = grants.Load(dir, register); err != nil {
		t.Fatal(err)
	}
	if err := s.Production(time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Errorf("six months after the review: %v", err)
	}
	for _, day := range []time.Time{time.Date(2027, 3, 3, 0, 0, 0, 0, time.UTC), time.Date(2026, 8, 31, 0, 0, 0, 0, time.UTC)} {
		if err := s.Production(day); err == nil || !strings.Contains(err.Error(), "was not reviewed") {
			t.Errorf("on %s: %v", day, err)
		}
	}
	grantstest.Write(t, dir, "policies/x.cedar", "permit (principal, action, resource);")
	if s, err = grants.Load(dir, register); err != nil {
		t.Fatal(err)
	}
	if err := s.Production(time.Date(2026, 9, 2, 0, 0, 0, 0, time.UTC)); err == nil || !strings.Contains(err.Error(), "policies/x.cedar:1: has no @id or no @description") {
		t.Errorf("a policy that nobody can review: %v", err)
	}
}
