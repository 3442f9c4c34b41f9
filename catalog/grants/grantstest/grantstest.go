// Package grantstest makes sets of grants for tests of packages that take decisions.
package grantstest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
)

// All is the principal that policy [AllPolicy] gives everything.
var All = grants.Principal{Kind: grants.Operator, Name: "all"}

// AllPolicy gives [All] every action on everything that is not forbidden to all.
const AllPolicy = `@id("test.all") permit (principal == Lake::Principal::"operator/all", action, resource);` + "\n"

// Tenants is a register in memory.
type Tenants []catalog.TenantRecord

// All implements grants.Tenants.
func (t Tenants) All() []catalog.TenantRecord { return t }

// Tenant is an active tenant of Brazil.
func Tenant(name cardlake.Tenant) catalog.TenantRecord {
	return catalog.TenantRecord{Name: name, Country: "BR", Currency: "BRL", Status: catalog.TenantActive}
}

// Folder writes a folder with the policies, [AllPolicy] and these principals, each called
// "ana" but for All: one of every kind that is of no tenant, and for every tenant
// tenant_analyst/analyst@TENANT and tenant_service/service@TENANT. It returns the folder.
func Folder(tb testing.TB, policies string, tenants ...catalog.TenantRecord) string {
	tb.Helper()
	dir := tb.TempDir()
	type principal struct {
		Principal string          `json:"principal"`
		Owner     string          `json:"owner"`
		Service   bool            `json:"service,omitempty"`
		Tenant    cardlake.Tenant `json:"tenant,omitempty"`
		Subjects  []string        `json:"subjects"`
	}
	var principals []principal
	add := func(p grants.Principal, tenant cardlake.Tenant) {
		principals = append(principals, principal{p.String(), "ana@example.com", p.Kind == grants.ETLJob || p.Kind == grants.TenantService, tenant,
			[]string{"x509:CN=" + p.String()}})
	}
	add(All, "")
	for _, kind := range grants.Kinds {
		if kind != grants.TenantAnalyst && kind != grants.TenantService {
			add(grants.Principal{Kind: kind, Name: "ana"}, "")
		}
	}
	for _, t := range tenants {
		add(grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@" + string(t.Name)}, t.Name)
		add(grants.Principal{Kind: grants.TenantService, Name: "service@" + string(t.Name)}, t.Name)
	}
	text, err := json.MarshalIndent(map[string]any{"principals": principals}, "", "  ")
	if err != nil {
		tb.Fatal(err)
	}
	Write(tb, dir, "principals.json", string(text))
	Write(tb, dir, "policies/all.cedar", AllPolicy)
	Write(tb, dir, "policies/test.cedar", policies)
	return dir
}

// Write writes one file of a folder.
func Write(tb testing.TB, dir, name, text string) {
	tb.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// New loads a set of the policies and the principals of [Folder].
func New(tb testing.TB, policies string, tenants ...catalog.TenantRecord) *grants.Set {
	tb.Helper()
	set, err := grants.Load(Folder(tb, policies, tenants...), Tenants(tenants))
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

// Open is [New] as a door has it.
func Open(tb testing.TB, policies string, tenants ...catalog.TenantRecord) *grants.Grants {
	tb.Helper()
	g, err := grants.Open(Folder(tb, policies, tenants...), Tenants(tenants), grants.Config{Interval: time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	return g
}
