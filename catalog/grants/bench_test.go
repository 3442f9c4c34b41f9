package grants_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/internal/bench/meter"
)

// manyTenants are 120 of six countries, as in a lake of the size that the design names.
func manyTenants() grantstest.Tenants {
	var out grantstest.Tenants
	for i := range 120 {
		country := []string{"BR", "MX", "AR", "CO", "CL", "PE"}[i%6]
		out = append(out, tenantOf(cardlake.Tenant(fmt.Sprintf("tenant-%03d", i)), country, catalog.TenantActive))
	}
	return out
}

func starterOf(b *testing.B, tenants grantstest.Tenants) *grants.Set {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "grants")
	if err := grants.Init(dir, tenants); err != nil {
		b.Fatal(err)
	}
	s, err := grants.Load(dir, tenants)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

var local = grants.Caller{Principal: grants.Principal{Kind: grants.DataScientist, Name: "local"}}

// loop runs op and reports, besides the time, CPU time, for the machine may be busy.
func loop(b *testing.B, op func()) {
	b.Helper()
	b.ReportAllocs()
	before := meter.CPU()
	for b.Loop() {
		op()
	}
	b.ReportMetric(float64((meter.CPU()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// BenchmarkDecide is a decision that was taken before: what a query pays.
func BenchmarkDecide(b *testing.B) {
	s := starterOf(b, manyTenants())
	loop(b, func() { s.Decide(local, grants.Query, cardlake.Transactions, noon) })
}

// BenchmarkDecideOfGrants is the same through Grants, with their clock and their looks at the
// folder.
func BenchmarkDecideOfGrants(b *testing.B) {
	tenants := manyTenants()
	dir := filepath.Join(b.TempDir(), "grants")
	if err := grants.Init(dir, tenants); err != nil {
		b.Fatal(err)
	}
	g, err := grants.Open(dir, tenants, grants.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			g.Decide(local, grants.Query, cardlake.Transactions)
		}
	})
}

// BenchmarkDecideCold is a decision for 120 tenants that was never taken before: after a
// reload, once for each principal, action and table. "by name" is the worst case, in which a
// policy names every tenant, so that none is like another.
func BenchmarkDecideCold(b *testing.B) {
	tenants := manyTenants()
	names := "["
	for i, r := range tenants {
		if i > 0 {
			names += ", "
		}
		names += fmt.Sprintf("Lake::Tenant::%q", r.Name)
	}
	named := grantstest.New(b, `permit (principal in Lake::Persona::"data_scientist", action == Lake::Action::"query", resource is Lake::Slice)
when { `+names+`].contains(resource.tenant) && ["public", "money"].contains(resource.tag) };`, tenants...)
	for _, c := range []struct {
		name   string
		set    *grants.Set
		caller grants.Caller
	}{
		{"by class", starterOf(b, tenants), local},
		{"by name", named, grants.Caller{Principal: ana}},
	} {
		b.Run(c.name, func(b *testing.B) {
			loop(b, func() {
				table := *cardlake.Transactions
				if !c.set.Decide(c.caller, grants.Query, &table, noon).Allowed() {
					b.Fatal("not permitted")
				}
			})
		})
	}
}

// BenchmarkAllTables is every table for one principal, cold, with its memory.
func BenchmarkAllTables(b *testing.B) {
	s := starterOf(b, manyTenants())
	loop(b, func() {
		for _, t := range cardlake.Tables {
			table := *t
			s.Decide(local, grants.Query, &table, noon)
		}
	})
}

// BenchmarkPermitted is a ruling, which is evaluated each time.
func BenchmarkPermitted(b *testing.B) {
	s := starterOf(b, manyTenants())
	operator := grants.Caller{Principal: grants.Principal{Kind: grants.Operator, Name: "local"}}
	loop(b, func() { s.Permitted(operator, grants.Maintain, noon) })
}

// BenchmarkLoad is a set from its folder: what a reload pays.
func BenchmarkLoad(b *testing.B) {
	tenants := manyTenants()
	dir := filepath.Join(b.TempDir(), "grants")
	if err := grants.Init(dir, tenants); err != nil {
		b.Fatal(err)
	}
	loop(b, func() {
		if _, err := grants.Load(dir, tenants); err != nil {
			b.Fatal(err)
		}
	})
}
