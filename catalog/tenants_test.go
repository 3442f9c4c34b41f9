package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
)

func mustOpenTenants(t *testing.T, path string) *Tenants {
	t.Helper()
	tenants, err := OpenTenants(path)
	if err != nil {
		t.Fatal(err)
	}
	return tenants
}

func TestTenantsSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenants.json")
	tenants := mustOpenTenants(t, path)
	if all := tenants.All(); len(all) != 0 {
		t.Fatalf("a new register has %v", all)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", -3*3600))
	for _, name := range []cardlake.Tenant{"zeta", "acme"} {
		r, err := tenants.Create(name, "MX", "MXN", at)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.StorageID.Validate(); err != nil {
			t.Error(err)
		}
		if r.CreatedAt.Location() != time.UTC || !r.CreatedAt.Equal(at) {
			t.Errorf("created at %v", r.CreatedAt)
		}
	}
	all := tenants.All()
	if len(all) != 2 || all[0].Name != "acme" || all[1].Name != "zeta" || all[0].StorageID == all[1].StorageID {
		t.Errorf("the register has %v", all)
	}
	again := mustOpenTenants(t, path)
	if diff := cmp.Diff(all, again.All()); diff != "" {
		t.Error(diff)
	}
	r, err := again.Lookup("acme")
	if err != nil || r != all[0] {
		t.Errorf("lookup: %v, %v", r, err)
	}
	if _, err := again.Lookup("other"); !errors.Is(err, ErrNoTenant) {
		t.Errorf("lookup of a stranger: %v", err)
	}
}

func TestCreateIsIdempotent(t *testing.T) {
	tenants := mustOpenTenants(t, filepath.Join(t.TempDir(), "tenants.json"))
	first, err := tenants.Create("acme", "MX", "MXN", time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	second, err := tenants.Create("acme", "BR", "BRL", time.Unix(2, 0))
	if err != nil || second != first {
		t.Errorf("the second time: %v, %v, want %v", second, err, first)
	}
}

func TestCreateConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenants.json")
	tenants := mustOpenTenants(t, path)
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			if _, err := tenants.Create(cardlake.Tenant(fmt.Sprintf("t%d", n%10)), "CL", "CLP", time.Unix(1, 0)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff(tenants.All(), mustOpenTenants(t, path).All()); diff != "" || len(tenants.All()) != 10 {
		t.Errorf("%d tenants: %s", len(tenants.All()), diff)
	}
}

func TestCreateFailures(t *testing.T) {
	tenants := mustOpenTenants(t, filepath.Join(t.TempDir(), "none", "tenants.json"))
	if _, err := tenants.Create("Not A Name", "MX", "MXN", time.Unix(1, 0)); !errors.Is(err, cardlake.ErrTenant) {
		t.Errorf("create a tenant with a bad name: %v", err)
	}
	// A tenant that could not be saved does not exist.
	if _, err := tenants.Create("acme", "MX", "MXN", time.Unix(1, 0)); err == nil {
		t.Error("create a tenant in a folder that is not there: no error")
	}
	if _, err := tenants.Lookup("acme"); !errors.Is(err, ErrNoTenant) {
		t.Errorf("the tenant that was not saved: %v", err)
	}
}

func TestOpenTenantsRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":       `[{`,
		"bad name":       `[{"name":"A B","storage_id":"abcdefghijklmnop"}]`,
		"bad storage id": `[{"name":"acme","storage_id":"short"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tenants.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := OpenTenants(path)
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("open: %v, want an error that names the file", err)
			}
		})
	}
}
