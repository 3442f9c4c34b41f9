package daybench_test

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/internal/daybench"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views"
)

// question is one of a dashboard, of one tenant, or one of all tenants.
type question struct {
	name, sql string
	ofAll     bool
}

func questions(tb testing.TB, d *daybench.Day) []question {
	tb.Helper()
	p := newPlain(tb, d.Plain[:1])
	defer p.close()
	found := p.ask(tb, "SELECT min(card_token), min(transaction_id) FROM cards.transactions")
	card, purchase, _ := strings.Cut(strings.TrimSpace(found), "|")
	id, err := cardlake.ParseEventID(purchase)
	if err != nil {
		tb.Fatal(err)
	}
	var out []question
	for _, q := range views.Standard {
		sql, err := q.For(views.Args{Tenant: daybench.Tenant(0), Day: daybench.Date, Purchase: id, Card: card})
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, question{q.Name, sql, false})
	}
	return append(out,
		question{"all-count", "SELECT count(*) FROM cards.transactions", true},
		question{"all-tenants", "SELECT tenant, currency, approved, count(*), CAST(sum(amount) AS DECIMAL(38,4)) FROM cards.transactions GROUP BY 1, 2, 3 ORDER BY 1, 2, 3", true},
		question{"all-hours", "SELECT date_trunc('hour', event_time) AS h, channel, count(*), count(DISTINCT mcc) FROM cards.transactions GROUP BY 1, 2 ORDER BY 1, 2", true},
		question{"all-card", "SELECT event_time, event_id, amount, merchant_name FROM cards.transactions WHERE card_token = '" + card + "' ORDER BY event_time, event_id", true},
	)
}

// plain is DuckDB alone over files in clear, with the same tables and views.
type plain struct {
	connector *duckdb.Connector
	conn      *duckdb.Conn
}

func newPlain(tb testing.TB, files []string) *plain {
	tb.Helper()
	connector, err := duckdb.NewConnector("?threads=2", nil)
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := connector.Connect(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	p := &plain{connector, conn.(*duckdb.Conn)}
	for _, sql := range []string{"SET TimeZone='UTC'", "CREATE SCHEMA cards", "CREATE SCHEMA views", "CREATE VIEW cards.transactions AS FROM read_parquet(['" + strings.Join(files, "', '") + "'])"} {
		p.exec(tb, sql)
	}
	for _, v := range views.All {
		if strings.Contains(v.SQL, "insights.") {
			continue // of tables that jobs write
		}
		p.exec(tb, "CREATE VIEW "+v.FullName()+" AS "+v.SQL)
	}
	return p
}

func (p *plain) exec(tb testing.TB, sql string) {
	tb.Helper()
	if _, err := p.conn.ExecContext(tb.Context(), sql, nil); err != nil {
		tb.Fatal(err)
	}
}

func (p *plain) ask(tb testing.TB, sql string) string {
	tb.Helper()
	rows, err := p.conn.QueryContext(tb.Context(), sql, nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer rows.Close()
	row := make([]driver.Value, len(rows.Columns()))
	var out strings.Builder
	for {
		if err := rows.Next(row); errors.Is(err, io.EOF) {
			return out.String()
		} else if err != nil {
			tb.Fatal(err)
		}
		for i, v := range row {
			if i > 0 {
				out.WriteByte('|')
			}
			fmt.Fprint(&out, v)
		}
		out.WriteByte('\n')
	}
}

func (p *plain) close() {
	p.conn.Close()
	p.connector.Close()
}

// ours is the gateway over the sealed lake.
type ours struct {
	engine  *embedded.Engine
	parser  *embedded.Parser
	session queries.Session
}

func newOurs(d *daybench.Day, permits queries.Permits, cfg embedded.Config) *ours {
	cfg.Threads = 2
	o := &ours{engine: embedded.New(embedded.Tables(d.Catalog.Table), d.Store, cfg), parser: embedded.NewParser()}
	o.session = queries.New(o.parser, o.engine, permits, &queriestest.Log{}, queries.Config{Views: views.All}).As(queriestest.Caller)
	return o
}

func (o *ours) ask(tb testing.TB, sql string) (rows int, read []queries.Snapshot) {
	tb.Helper()
	r, err := o.session.Query(tb.Context(), sql)
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	defer r.Close()
	row := make([]any, len(r.Columns()))
	for {
		if err := r.Next(row); errors.Is(err, io.EOF) {
			return rows, r.Snapshots()
		} else if err != nil {
			tb.Fatal(err)
		}
		rows++
	}
}

func (o *ours) close() {
	o.engine.Close()
	o.parser.Close()
}

// TestDay asks everything of a small day of the sealed lake and of DuckDB alone.
func TestDay(t *testing.T) {
	d, err := daybench.Open(t.Context(), t.TempDir(), 3, 300)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := newPlain(t, d.Plain)
	defer p.close()
	o := newOurs(d, queriestest.Everything, embedded.Config{CacheBytes: 1 << 30})
	defer o.close()
	for _, q := range questions(t, d) {
		want := strings.Count(p.ask(t, q.sql), "\n")
		got, read := o.ask(t, q.sql)
		if got != want {
			t.Errorf("%s: %d rows, DuckDB alone has %d", q.name, got, want)
		}
		if most := int64(1); !q.ofAll && read[0].Files > most {
			t.Errorf("%s of one tenant read %d files", q.name, read[0].Files)
		}
	}
}

// BenchmarkDay asks the dashboard's questions, and some of all tenants, of a day of the sealed
// lake: cold, when nothing is decrypted and no instance of DuckDB is started, and warm; for one
// who is given one tenant, and one who is given all. The references are DuckDB alone on the same
// files in clear, of that tenant or of all: in a new instance for each statement, and in one
// that stays. Medians and 95th percentiles are in milliseconds.
//
// The day is a tenth of the model's record day, 1.35 million rows of 10 tenants, unless
// CARDLAKE_BENCH_DIR names a folder: then it is the whole, 13.5 million rows of 100 tenants, some
// 2 GB that are made once and stay there.
func BenchmarkDay(b *testing.B) {
	d := openDay(b)
	defer d.Close()
	warm := embedded.Config{CacheBytes: 2 << 30, CacheAge: time.Hour, Ready: 1}
	for _, q := range questions(b, d) {
		for _, caller := range []string{"one", "all"} {
			permits, files := queries.Permits(queriestest.Everything), d.Plain
			if caller == "one" {
				if q.ofAll && q.name != "all-card" {
					continue
				}
				permits, files = queriestest.Only(nil, daybench.Tenant(0)), d.Plain[:1]
			}
			name := q.name + "/" + caller
			b.Run(name+"/cold", func(b *testing.B) {
				percentiles(b, func() {
					o := newOurs(d, permits, embedded.Config{})
					defer o.close()
					o.ask(b, q.sql)
				})
			})
			b.Run(name+"/warm", func(b *testing.B) {
				o := newOurs(d, permits, warm)
				defer o.close()
				_, read := o.ask(b, q.sql)
				percentiles(b, func() { o.ask(b, q.sql) })
				b.ReportMetric(float64(read[0].Bytes)/(1<<20), "read-MiB")
				b.ReportMetric(float64(read[0].Files), "files")
			})
			b.Run(name+"/reference=duckdb-new", func(b *testing.B) {
				percentiles(b, func() {
					p := newPlain(b, files)
					defer p.close()
					p.ask(b, q.sql)
				})
			})
			b.Run(name+"/reference=duckdb-warm", func(b *testing.B) {
				p := newPlain(b, files)
				defer p.close()
				p.ask(b, q.sql)
				percentiles(b, func() { p.ask(b, q.sql) })
			})
		}
	}
}

// percentiles runs the operation as often as the benchmark asks for.
func percentiles(b *testing.B, op func()) {
	b.ReportAllocs()
	cpu := meter.CPU()
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		op()
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(took[len(took)/2]), "p50-ms")
	b.ReportMetric(ms(took[len(took)*95/100]), "p95-ms")
	b.ReportMetric(ms(meter.CPU()-cpu)/float64(len(took)), "cpu-ms/op")
}
