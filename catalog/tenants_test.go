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
		"bad status":     `[{"name":"acme","storage_id":"abcdefghijklmnop","status":"gone"}]`,
		"bad quota":      `[{"name":"acme","storage_id":"abcdefghijklmnop","quotas":{"rows":-1}}]`,
		"twice":          `[{"name":"acme","storage_id":"abcdefghijklmnop"},{"name":"acme","storage_id":"abcdefghijklmnop"}]`,
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

func TestTenantLife(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenants.json")
	tenants := mustOpenTenants(t, path)
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	r, err := tenants.Create("acme", "MX", "MXN", day(1))
	if err != nil || r.Status != TenantActive || !r.StatusSince.Equal(day(1)) {
		t.Fatalf("created: %+v, %v", r, err)
	}
	for i, step := range []struct {
		status TenantStatus
		since  int
		err    error
	}{
		{TenantSuspended, 2, nil},
		{TenantSuspended, 2, nil}, // repeated: since the first
		{TenantActive, 4, nil},
		{"asleep", 0, errors.ErrUnsupported},
		{TenantOffboarded, 6, nil},
		{TenantOffboarded, 6, nil},
		{TenantActive, 0, ErrOffboarded},
		{TenantSuspended, 0, ErrOffboarded},
	} {
		r, err := tenants.SetStatus("acme", step.status, day(i+2))
		switch {
		case step.err == nil:
			if err != nil || r.Status != step.status || !r.StatusSince.Equal(day(step.since)) {
				t.Errorf("step %d: %+v, %v", i, r, err)
			}
		case err == nil, step.err == ErrOffboarded && !errors.Is(err, step.err):
			t.Errorf("step %d: %v, want %v", i, err, step.err)
		}
		if diff := cmp.Diff(tenants.All(), mustOpenTenants(t, path).All()); diff != "" {
			t.Errorf("step %d: the file has other records: %s", i, diff)
		}
	}
	if _, err := tenants.SetQuotas("acme", Quotas{Rows: 1}); !errors.Is(err, ErrOffboarded) {
		t.Errorf("quotas of one that left: %v", err)
	}
	if _, err := tenants.SetLeaving("acme", Leaving{By: "os:ana"}); !errors.Is(err, ErrOffboarded) {
		t.Errorf("leaving of one that left: %v", err)
	}
	for _, err := range []error{
		second(tenants.SetStatus("other", TenantSuspended, day(1))), second(tenants.SetQuotas("other", Quotas{})), second(tenants.SetLeaving("other", Leaving{})),
	} {
		if !errors.Is(err, ErrNoTenant) {
			t.Errorf("a stranger: %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestTenantQuotas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenants.json")
	tenants := mustOpenTenants(t, path)
	if _, err := tenants.Create("acme", "MX", "MXN", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := tenants.SetQuotas("acme", Quotas{Rows: 7}); err != nil {
		t.Fatal(err)
	}
	if _, err := tenants.SetQuotas("acme", Quotas{Bytes: -1}); err == nil {
		t.Error("a negative quota is taken")
	}
	r, err := mustOpenTenants(t, path).Lookup("acme")
	if want := (Quotas{Rows: 7, Bytes: 10 << 30, Exports: 100}); err != nil || r.Quotas.OrDefault() != want {
		t.Errorf("quotas %+v, %v", r.Quotas.OrDefault(), err)
	}
}

// TestOldRegister reads a register of before there were statuses.
func TestOldRegister(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenants.json")
	const old = `[{"name":"acme","storage_id":"abcdefghijklmnop","country":"MX","currency":"MXN","created_at":"2026-01-02T03:04:05Z"}]`
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := TenantRecord{Name: "acme", StorageID: "abcdefghijklmnop", Country: "MX", Currency: "MXN", CreatedAt: at, Status: TenantActive, StatusSince: at}
	if r, err := mustOpenTenants(t, path).Lookup("acme"); err != nil || r != want {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestRegisterOfSeveralProcesses has two registers on one file: neither undoes what the
// other wrote, and a reader sees it.
func TestRegisterOfSeveralProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tenants.json")
	one, two := mustOpenTenants(t, path), mustOpenTenants(t, path)
	if _, err := one.Create("acme", "MX", "MXN", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Create("zeta", "MX", "MXN", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := one.SetStatus("zeta", TenantSuspended, time.Unix(2, 0)); err != nil {
		t.Fatal(err)
	}
	if all := mustOpenTenants(t, path).All(); len(all) != 2 || all[1].Status != TenantSuspended {
		t.Errorf("the register has %v", all)
	}
	two.looked = time.Time{} // a second passed
	if r, err := two.Lookup("zeta"); err != nil || r.Status != TenantSuspended {
		t.Errorf("a reader sees %v, %v", r, err)
	}
	// A file that is no register leaves readers what they know, and stops writers.
	if err := os.WriteFile(path, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	two.looked = time.Time{}
	if r, err := two.Lookup("zeta"); err != nil || r.Status != TenantSuspended {
		t.Errorf("a reader of a damaged file sees %v, %v", r, err)
	}
	if _, err := two.Create("nova", "MX", "MXN", time.Unix(1, 0)); err == nil {
		t.Error("a damaged register is written over")
	}
}

func TestCreateChecksCodes(t *testing.T) {
	tenants := mustOpenTenants(t, filepath.Join(t.TempDir(), "tenants.json"))
	for _, bad := range []struct {
		country  string
		currency cardlake.Currency
	}{{"", "MXN"}, {"XX", "MXN"}, {"mx", "MXN"}, {"MX", ""}, {"MX", "XXX"}} {
		if _, err := tenants.Create("acme", bad.country, bad.currency, time.Unix(1, 0)); err == nil {
			t.Errorf("country %q, currency %q are taken", bad.country, bad.currency)
		}
	}
	if len(countries) != 249 {
		t.Errorf("there are %d countries, ISO 3166-1 has 249", len(countries))
	}
}
