package serving

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/internal/home"
)

// makeGrants makes a set for trying out.
func makeGrants(t *testing.T, dir home.Dir) *catalog.Tenants {
	t.Helper()
	tenants, err := catalog.OpenTenants(dir.Tenants())
	if err != nil {
		t.Fatal(err)
	}
	if err := grants.Init(dir.Grants(), tenants); err != nil {
		t.Fatal(err)
	}
	return tenants
}

// TestDevelopmentEndsWithItsGrants: when others take their place, no token of the development
// issuer is anybody's.
func TestDevelopmentEndsWithItsGrants(t *testing.T) {
	dir := home.Dir(t.TempDir())
	tenants := makeGrants(t, dir)
	g, err := grants.Open(dir.Grants(), tenants, grants.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := &developmentPrincipals{set: g.Set}
	subject := signin.DevelopmentSubject("data_scientist/local")
	if got, ok := p.PrincipalOf(subject); !ok || got.String() != "data_scientist/local" {
		t.Fatalf("%v, %v", got, ok)
	}
	if got, ok := p.PrincipalOf("data_scientist/local"); ok {
		t.Errorf("%v without the issuer", got)
	}
	if got, ok := p.PrincipalOf(signin.DevelopmentSubject("operator/nobody")); ok {
		t.Errorf("%v is no principal", got)
	}
	others := `{"principals": [` + `{"principal": "data_scientist/local", "owner": "ana@example.com", "subjects": ["oidc:https://idp.example#ana"]}` + `]}`
	if err := os.WriteFile(filepath.Join(dir.Grants(), "principals.json"), []byte(others), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.Reload(); err != nil {
		t.Fatal(err)
	}
	if got, ok := p.PrincipalOf(subject); ok {
		t.Errorf("%v may sign in by development", got)
	}
}
