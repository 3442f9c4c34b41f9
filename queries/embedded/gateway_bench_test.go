package embedded

import (
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// standard are the statements that the gateway's cost is measured on.
var standard = []struct{ name, sql string }{
	{"count", "SELECT count(*) FROM cards.transactions"},
	{"sums", "SELECT tenant, mcc, count(*), sum(amount), avg(latency_us) FROM cards.transactions GROUP BY 1, 2"},
	{"channels", "SELECT channel, entry_mode, approved, count(*), sum(amount) FROM cards.transactions GROUP BY ALL"},
	{"customers", "SELECT customer_id, count(*), sum(amount) FROM cards.transactions GROUP BY 1 ORDER BY 3 DESC LIMIT 20"},
	{"declined", "SELECT event_time, merchant_name, amount FROM cards.transactions WHERE NOT approved AND mcc = '5812' ORDER BY amount DESC LIMIT 100"},
}

const benchPolicies = `
@id("aurora") permit (principal == Lake::Principal::"data_scientist/ana", action, resource is Lake::Slice)
when { resource.tenant == Lake::Tenant::"aurora" && ["public", "money", "identifier"].contains(resource.tag) };
@id("bolivar") permit (principal == Lake::Principal::"data_scientist/ana", action, resource is Lake::Slice)
when { resource.tenant == Lake::Tenant::"bolivar" && ["public", "money", "identifier"].contains(resource.tag) };
@id("cobre") permit (principal == Lake::Principal::"data_scientist/ana", action, resource is Lake::Slice)
when { resource.tenant == Lake::Tenant::"cobre" && ["public", "money", "identifier"].contains(resource.tag) };
`

// BenchmarkGateway answers the standard statements over a million rows that are in memory files
// already: raw, with DuckDB in an instance made for each statement as the engine makes it, and a
// plain view over the files; and through the gateway, that is checked, decided by policies,
// recorded in a log on disk and read through the view of what is permitted. everything is one
// who is given the whole table, tenants one who is given the same rows tenant by tenant, without
// two columns.
func BenchmarkGateway(b *testing.B) {
	const files, rows = 8, 125_000
	lake := queriestest.NewLake()
	if err := lake.Fill(files, rows); err != nil {
		b.Fatal(err)
	}
	engine := New(lake, lake, Config{Threads: 2, CacheBytes: 1 << 30, CacheAge: 1 << 40, Ready: 1})
	defer engine.Close()
	parser := NewParser()
	defer parser.Close()
	dir := b.TempDir()
	ring, err := local.CreateFile(dir+"/ring", dir+"/secret", keys.LakePurposes)
	if err != nil {
		b.Fatal(err)
	}
	if err := ring.EnsureOwners(b.Context(), keys.Lake); err != nil {
		b.Fatal(err)
	}
	log, err := audit.OpenShared(b.Context(), dir+"/audit", ring, audit.Config{Actor: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	var tenants grantstest.Tenants
	for _, t := range queriestest.Tenants {
		tenants = append(tenants, grantstest.Tenant(t.Name))
	}
	permits, err := grants.Open(grantstest.Folder(b, benchPolicies, tenants...), tenants, grants.Config{})
	if err != nil {
		b.Fatal(err)
	}
	gateway := queries.New(parser, engine, permits, log, queries.Config{})
	callers := map[string]grants.Caller{"everything": {Principal: grantstest.All}, "tenants": queriestest.Caller}

	for _, q := range standard {
		b.Run(q.name+"/raw", func(b *testing.B) {
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				if err := raw(b, engine, q.sql); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, name := range []string{"everything", "tenants"} {
			b.Run(q.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				defer reportCPU(b)()
				for b.Loop() {
					r, err := gateway.Query(b.Context(), callers[name], q.sql)
					if err != nil {
						b.Fatal(err)
					}
					row := make([]any, len(r.Columns()))
					for err = nil; err == nil; {
						err = r.Next(row)
					}
					if err := r.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// reportCPU begins to count the processor time of the whole process, DuckDB's threads included;
// the function that it returns reports it.
func reportCPU(b *testing.B) func() {
	begun := cpuTime(b)
	return func() { b.ReportMetric(float64(cpuTime(b)-begun)/1e6/float64(b.N), "cpu-ms/op") }
}

func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// raw answers the statement over a plain view of all files.
func raw(b *testing.B, e *Engine, sql string) (err error) {
	t := cardlake.Transactions
	read := queries.Read{Table: t, Decision: queriestest.Everything(queriestest.Caller, grants.Query, t)}
	a := &answer{}
	defer func() { err = errors.Join(err, a.Close()) }()
	p, err := e.plan(b.Context(), []queries.Read{read})
	if err != nil {
		return err
	}
	if err := e.fetch(b.Context(), e.cfg, p, a); err != nil {
		return err
	}
	if a.instance, err = openInstance(b.Context(), e.cfg); err != nil {
		return err
	}
	columns := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		columns[i] = c.Name
	}
	view := "CREATE VIEW cards.transactions AS SELECT " + strings.Join(columns, ", ") + " FROM read_parquet(" + quoteList(p.sources[0].scopes[0].paths) + ")"
	if err := a.instance.exec(b.Context(), "CREATE SCHEMA cards", view); err != nil {
		return err
	}
	rows, err := a.instance.conn.QueryContext(b.Context(), sql, nil)
	if err != nil {
		return err
	}
	a.rows = rows
	row := make([]driver.Value, len(rows.Columns()))
	for err = nil; err == nil; {
		err = rows.Next(row)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
