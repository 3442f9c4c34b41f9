// Package insightstest makes small lakes for tests of jobs: real ones, with a catalog, sealed
// objects, grants and the gateway, in a folder of the test.
package insightstest

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// Principal is who runs the jobs: that of the starter grants.
var Principal = grants.Principal{Kind: grants.ETLJob, Name: "insights"}

// Lake is a lake of a test. Its methods fail the test.
type Lake struct {
	Tenants *catalog.Tenants
	Store   objects.Store
	Catalog *iceberg.Catalog
	Grants  *grants.Grants
	Gateway *queries.Gateway
	Log     *queriestest.Log

	tb     testing.TB
	offset int64
}

// New makes a lake without rows, with the starter grants for the tenants.
func New(tb testing.TB, tenants ...cardlake.Tenant) *Lake {
	tb.Helper()
	dir := tb.TempDir()
	l := &Lake{tb: tb, Log: &queriestest.Log{}}
	var err error
	l.Tenants, err = catalog.OpenTenants(filepath.Join(dir, "tenants.json"))
	l.check(err)
	ring, err := local.CreateFile(filepath.Join(dir, "lake.keyring"), filepath.Join(dir, "lake.secret"), keys.LakePurposes)
	l.check(err)
	owners := []keys.Owner{keys.Lake}
	for _, name := range tenants {
		r, err := l.Tenants.Create(name, "BR", "BRL", time.Now())
		l.check(err)
		owners = append(owners, keys.OwnerOf(r.StorageID))
	}
	l.check(ring.EnsureOwners(tb.Context(), owners...))
	l.Store = objects.NewSealed(filepath.Join(dir, "objects"), ring, objects.SealedConfig{})
	l.Catalog, err = iceberg.Open(tb.Context(), iceberg.Config{DB: filepath.Join(dir, "catalog.db"), Objects: l.Store})
	l.check(err)
	tb.Cleanup(func() { l.Catalog.Close() })
	l.check(grants.Init(filepath.Join(dir, "grants"), l.Tenants))
	l.Grants, err = grants.Open(filepath.Join(dir, "grants"), l.Tenants, grants.Config{})
	l.check(err)
	parser := embedded.NewParser()
	tb.Cleanup(func() { parser.Close() })
	engine := embedded.New(embedded.Tables(l.Catalog.Table), l.Store, embedded.Config{Memory: 1 << 30})
	tb.Cleanup(func() { engine.Close() })
	l.Gateway = queries.New(parser, engine, l.Grants, l.Log, queries.Config{MaxRows: -1, Timeout: time.Hour, Views: views.All})
	return l
}

func (l *Lake) check(err error) {
	l.tb.Helper()
	if err != nil {
		l.tb.Fatal(err)
	}
}

// Table opens a table as a [insights.Deps] does.
func (l *Lake) Table(ctx context.Context, def *cardlake.Table) (insights.Table, error) {
	t, err := l.Catalog.Table(ctx, def)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Deps are what a runner works with.
func (l *Lake) Deps() insights.Deps {
	return insights.Deps{
		Gateway: l.Gateway, Permits: l.Grants, Recorder: l.Log, Tenants: l.Tenants, Store: l.Store,
		Table: l.Table, Now: time.Now,
	}
}

// Runner runs jobs as Principal.
func (l *Lake) Runner() *insights.Runner {
	return insights.New(l.Deps(), grants.Caller{Principal: Principal, Origin: "test"})
}

// Run makes a run of the job for the tenant, with parameters as by default but for those given.
func (l *Lake) Run(job insights.Job, tenant cardlake.Tenant, values map[string]string) (insights.Outcome, error) {
	return l.Runner().Run(l.tb.Context(), job, insights.Request{Tenant: tenant, Values: values})
}

// Add commits the transactions in one snapshot.
func (l *Lake) Add(txs ...*cardlake.Transaction) {
	l.tb.Helper()
	w := writers.New(l.Store, l.Tenants, writers.Config{Parquet: parquet.Config{}})
	at := func(n int64) cardlake.Positions {
		return cardlake.Positions{{Stream: "test"}: cardlake.Offset{Next: n}}
	}
	window := w.Open()
	from := l.offset
	for _, tx := range txs {
		tx.Position = cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "test"}, Offset: l.offset}
		l.offset++
		l.check(window.Add(tx))
	}
	files, err := window.Flush(l.tb.Context(), at(from), at(l.offset))
	l.check(err)
	table, err := l.Catalog.Table(l.tb.Context(), cardlake.Transactions)
	l.check(err)
	_, err = table.Append(l.tb.Context(), catalog.Append{Files: files, From: at(from), To: at(l.offset)})
	l.check(err)
	window.Release()
}

// Ask returns the rows of the statement's answer as the tenant's analyst sees them.
func (l *Lake) Ask(tenant cardlake.Tenant, sql string) [][]any {
	l.tb.Helper()
	return l.AskAs(grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@" + string(tenant)}, sql)
}

// AskAs returns the rows of the statement's answer as the principal sees them.
func (l *Lake) AskAs(p grants.Principal, sql string) (rows [][]any) {
	l.tb.Helper()
	result, err := l.Gateway.Query(l.tb.Context(), grants.Caller{Principal: p, Origin: "test"}, sql)
	l.check(err)
	defer result.Close()
	for {
		row := make([]any, len(result.Columns()))
		err := result.Next(row)
		if errors.Is(err, io.EOF) {
			return rows
		}
		l.check(err)
		rows = append(rows, row)
	}
}
