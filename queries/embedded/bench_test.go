package embedded_test

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
)

const groupBy = "SELECT tenant, mcc, count(*), sum(amount), avg(latency_us) FROM cards.transactions GROUP BY 1, 2"

// BenchmarkQuery answers one group-by over a million rows in eight files: through the
// gateway, which checks, plans, copies the objects into memory files and starts an instance
// for every statement; and, for reference, with plain DuckDB on the same files on disk, in
// a new instance for every statement and in one that stays.
func BenchmarkQuery(b *testing.B) {
	const files, rows = 8, 125_000
	lake, g := fixture(b, files, rows, queries.Config{})
	perSecond := func(b *testing.B) {
		b.ReportMetric(float64(files*rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	}
	b.Run("gateway", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := answer(b.Context(), g.As(queriestest.Caller), groupBy); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b)
	})

	dir := b.TempDir()
	_, plan, err := lake.Plan(b.Context(), cardlake.Transactions)
	if err != nil {
		b.Fatal(err)
	}
	for i, f := range plan {
		o, err := lake.Open(b.Context(), f.Name)
		if err != nil {
			b.Fatal(err)
		}
		body := make([]byte, f.Bytes)
		if _, err := o.ReadAt(body, 0); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.parquet", i)), body, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	plain := func(b *testing.B) (run func(), end func()) {
		connector, err := duckdb.NewConnector("?threads=2", nil)
		if err != nil {
			b.Fatal(err)
		}
		conn, err := connector.Connect(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		c := conn.(*duckdb.Conn)
		for _, sql := range []string{"CREATE SCHEMA cards", "CREATE VIEW cards.transactions AS FROM read_parquet('" + dir + "/*.parquet')"} {
			if _, err := c.ExecContext(b.Context(), sql, nil); err != nil {
				b.Fatal(err)
			}
		}
		run = func() {
			rows, err := c.QueryContext(b.Context(), groupBy, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer rows.Close()
			row := make([]driver.Value, len(rows.Columns()))
			for err = nil; err == nil; {
				err = rows.Next(row)
			}
			if !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
		}
		return run, func() { c.Close(); connector.Close() }
	}
	b.Run("reference=duckdb-new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			run, end := plain(b)
			run()
			end()
		}
		perSecond(b)
	})
	b.Run("reference=duckdb-warm", func(b *testing.B) {
		b.ReportAllocs()
		run, end := plain(b)
		defer end()
		for b.Loop() {
			run()
		}
		perSecond(b)
	})
}

// BenchmarkCheck parses and checks one statement.
func BenchmarkCheck(b *testing.B) {
	parser := embedded.NewParser()
	defer parser.Close()
	lake := queriestest.NewLake()
	g := queries.New(parser, embedded.New(lake, lake, embedded.Config{}), queriestest.Everything, &queriestest.Log{}, queries.Config{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Check(b.Context(), groupBy); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSmallQuery counts the rows of lakes of many small files: what a statement costs
// besides its rows.
func BenchmarkSmallQuery(b *testing.B) {
	for _, files := range []int{0, 12, 300} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			_, g := fixture(b, files, 100, queries.Config{})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := answer(b.Context(), g.As(queriestest.Caller), "SELECT count(*), sum(amount) FROM cards.transactions"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
