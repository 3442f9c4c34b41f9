package grants_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
)

// Whatever is in the files, loading tells faults or gives a set, and what is compiled in holds.
func FuzzLoad(f *testing.F) {
	principals := `{"development": true, "teams": ["fraud"], "personas": {"operator": {"limits": {"max_rows": 1, "timeout": "1m"}}},
		"principals": [{"principal": "operator/all", "owner": "a@b", "teams": ["fraud"], "limits": {"memory": 1}},
		{"principal": "tenant_analyst/a", "owner": "a@b", "tenant": "acme", "subjects": ["oidc:i#s"], "valid_until": "2027-01-01T00:00:00Z"},
		{"principal": "data_scientist/ana", "owner": "a@b", "reviewed": "2026-01-01", "attributes": {}}]}`
	starters, err := filepath.Glob("starter/policies/*.cedar")
	if err != nil || len(starters) == 0 {
		f.Fatal("no seeds")
	}
	for _, path := range starters {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("", principals, string(text))
	}
	f.Add(grants.EmbeddedSchema, principals, grantstest.AllPolicy)
	f.Add("", principals, `forbid (principal in Lake::Team::"fraud", action, resource is Lake::Slice) unless { context.now < datetime("2026-01-01") || (if context.mfa then true else false) };`)
	f.Add("namespace Lake {}", `{"principals": [{}]}`, "permit (")
	f.Fuzz(func(t *testing.T, schema, principals, policies string) {
		s, err := grants.FromText(schema, principals, policies, register)
		var faults grants.Faults
		if err != nil {
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Fatalf("error %v is not of faults", err)
			}
			for _, fault := range faults {
				if fault.File == "" || fault.Line < 0 {
					t.Errorf("fault without a place: %+v", fault)
				}
			}
			return
		}
		if err := s.Production(noon); err == nil && s.Version() == "" {
			t.Error("no version")
		}
		table := &cardlake.Table{Namespace: "cards", Name: "transactions", ByTenant: true, Columns: everyTag}
		for _, a := range s.Principals() {
			for _, c := range []grants.Caller{{Principal: a.Principal, MFA: true}, {Principal: a.Principal, BreakGlass: true}} {
				d := s.Decide(c, grants.Query, table, noon)
				if c.BreakGlass && d.Allowed() {
					t.Fatal("an emergency without a reason")
				}
				for _, scope := range d.Scopes {
					if scope.Columns[5] != grants.Dropped {
						t.Fatal("a sealed column is given")
					}
				}
				for _, r := range register {
					if d.Scope(r.Name) != nil && (r.Status != "active" || a.Tenant != "" && a.Tenant != r.Name) {
						t.Fatalf("%s reaches %s", a.Principal, r.Name)
					}
				}
				if s.Permitted(c, grants.Detokenise, noon).For("acme") && (a.Principal.Kind != grants.Detokeniser || !c.MFA) {
					t.Fatalf("%s may detokenise", a.Principal)
				}
			}
		}
	})
}
