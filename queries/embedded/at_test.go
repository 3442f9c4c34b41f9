package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// past is a table of a catalog whose snapshot n has the first n files, and keeps those from one on.
type past struct {
	files []cardlake.DataFile
	kept  int64
	// expired, if not nil, is called between the look for a snapshot and that for its files.
	expired func(*past)
}

func (p *past) Current(context.Context) (catalog.Snapshot, error) {
	return catalog.Snapshot{ID: int64(len(p.files))}, nil
}

func (p *past) Snapshots(context.Context) (out []catalog.Snapshot, err error) {
	for id := p.kept; id <= int64(len(p.files)); id++ {
		out = append(out, catalog.Snapshot{ID: id})
	}
	return out, nil
}

func (p *past) Files(_ context.Context, id int64) ([]cardlake.DataFile, error) {
	if p.expired != nil {
		p.expired(p)
	}
	if id < p.kept {
		return nil, errors.New("gone")
	}
	return p.files[:id], nil
}

func pastOf(t testing.TB, lake *queriestest.Lake) *past {
	t.Helper()
	_, files, err := lake.Plan(t.Context(), cardlake.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	return &past{files: files, kept: 1}
}

func gatewayAt(t testing.TB, lake *queriestest.Lake, p *past, cfg embedded.Config, permits queries.Permits) *queries.Gateway {
	t.Helper()
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	planner := embedded.Tables(func(context.Context, *cardlake.Table) (*past, error) { return p, nil })
	cfg.Threads = 1
	engine := embedded.New(planner, lake, cfg)
	t.Cleanup(func() { engine.Close() })
	return queries.New(parser, engine, permits, &queriestest.Log{}, queries.Config{})
}

// TestQueryAt: an answer is of the snapshot, without what came after it, committed or not, and of
// the tenant, whatever the statement asks for.
func TestQueryAt(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(6, 10); err != nil { // aurora, bolivar, cobre, aurora, bolivar, cobre
		t.Fatal(err)
	}
	p := pastOf(t, lake)
	p.kept = 2
	tail := tailFunc(func(context.Context, cardlake.Positions) (queries.TailRows, error) {
		t.Error("the tail is asked")
		return queries.TailRows{}, nil
	})
	g := gatewayAt(t, lake, p, embedded.Config{Tail: tail, CacheBytes: 1 << 30}, queriestest.Everything)
	ask := func(at queries.At, sql string) (string, error) {
		r, err := g.QueryAt(t.Context(), queriestest.Caller, at, sql)
		if err != nil {
			return "", err
		}
		defer r.Close()
		var out []string
		for row := make([]any, len(r.Columns())); r.Next(row) == nil; {
			out = append(out, fmt.Sprint(row...))
		}
		return fmt.Sprint(r.Snapshots()[0].ID, ": ", strings.Join(out, ",")), nil
	}
	at := func(id int64, tenant cardlake.Tenant) queries.At {
		return queries.At{Snapshots: map[string]int64{"cards.transactions": id}, Tenant: tenant}
	}
	const count = "SELECT count(*) FROM cards.transactions"
	for _, tc := range []struct {
		at        queries.At
		sql, want string
	}{
		{at(6, ""), count, "6: 60"},
		{at(4, ""), count, "4: 40"},
		{at(2, ""), count, "2: 20"},
		{at(4, ""), count, "4: 40"}, // after an older one, from the cache
		{at(0, ""), count, "0: 0"},
		{queries.At{}, count, "6: 60"},
		{at(4, "aurora"), count, "4: 20"},
		{at(2, "aurora"), count, "2: 10"},
		{at(2, "cobre"), count, "2: 0"},
		{at(6, "cobre"), count, "6: 20"},
		{at(6, "cobre"), "SELECT DISTINCT tenant FROM cards.transactions", "6: cobre"},
		{at(6, "cobre"), "SELECT count(*) FROM cards.transactions WHERE tenant <> 'cobre' OR true", "6: 20"},
		{at(6, "cobre"), "SELECT max(n) FROM (SELECT count(*) AS n FROM cards.transactions a JOIN cards.transactions b ON a.network = b.network)", "6: 400"},
	} {
		if got, err := ask(tc.at, tc.sql); got != tc.want || err != nil {
			t.Errorf("%+v %s: %s, %v, want %s", tc.at, tc.sql, got, err, tc.want)
		}
	}
	for name, expired := range map[string]func(*past){"before": nil, "meanwhile": func(p *past) { p.kept = 3 }} {
		p.kept, p.expired = 2, expired
		id := map[string]int64{"before": 1, "meanwhile": 2}[name]
		_, err := ask(at(id, "aurora"), count)
		var fault *queries.Error
		if !errors.As(err, &fault) || !strings.Contains(fault.Hint, "newest") {
			t.Errorf("a snapshot that expired %s: %v", name, err)
		}
	}
}

// TestQueryAtOpensOneTenant: no file of another tenant is opened, as of any snapshot.
func TestQueryAtOpensOneTenant(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(9, 10); err != nil {
		t.Fatal(err)
	}
	g := gatewayAt(t, lake, pastOf(t, lake), embedded.Config{}, queriestest.Everything)
	before := lake.Opened.Load()
	r, err := g.QueryAt(t.Context(), queriestest.Caller, queries.At{Tenant: "bolivar", Snapshots: map[string]int64{"cards.transactions": 6}}, "SELECT * FROM cards.transactions")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if opened := lake.Opened.Load() - before; opened != 2 {
		t.Errorf("%d objects opened, want 2", opened)
	}
}

// everyType has a value and a NULL of every type that is given in batches, and of some that are
// not.
const everyType = `SELECT * FROM (SELECT i, i %% 3 = 0 AS "bool", CAST(i %% 100 AS TINYINT) AS i8, CAST(i AS SMALLINT) AS i16, CAST(i AS INTEGER) AS i32,
	CAST(i AS UTINYINT) AS u8, CAST(i AS USMALLINT) AS u16, CAST(i AS UINTEGER) AS u32, CAST(i AS UBIGINT) AS u64,
	CAST(i AS FLOAT) / 3 AS f32, CAST(i AS DOUBLE) / 7 AS f64,
	CAST(i AS DECIMAL(4,1)) AS d4, CAST(-i AS DECIMAL(9,2)) AS d9, CAST(i * -1.0001 AS DECIMAL(18,4)) AS d18, CAST(i AS DECIMAL(38,3)) * 100000000000000 AS d38,
	substr('abcdefghijklmnñopqrstuvwxyz', 1, i %% 30) AS "text", CASE WHEN i %% 2 = 0 THEN 'São ' || i END AS "nullable",
	DATE '2026-03-01' + CAST(i AS INTEGER) AS "date", TIMESTAMP '2026-03-01 00:00:00' + to_seconds(CAST(i AS BIGINT)) AS "ts",
	TIMESTAMPTZ '2026-03-01 00:00:00 UTC' + to_seconds(CAST(i AS BIGINT)) AS "tstz", CASE WHEN i %% 5 = 0 THEN i END AS "some",
	42 AS "answer", 'a constant that is long' AS "word", CAST(NULL AS VARCHAR) AS "nothing"
	FROM (SELECT CAST(range AS INTEGER) %% 256 AS i FROM range(%d))) WHERE i IS NOT NULL`

// TestBatchesAreTheRows: batches hold what rows do, values, types and NULLs, for every type and
// around the size of DuckDB's vectors, and where a column has no batches either.
func TestBatchesAreTheRows(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(4, 2500); err != nil {
		t.Fatal(err)
	}
	g := gatewayAt(t, lake, pastOf(t, lake), embedded.Config{}, twoScopes)
	statements := []string{
		"SELECT * FROM cards.transactions ORDER BY event_id",
		"SELECT sum(amount), count(*), NULL AS nothing, [1, NULL, 3] AS list, {'a': 1} AS pair FROM cards.transactions",
		"SELECT event_id FROM cards.transactions WHERE false",
	}
	for _, n := range []int{0, 1, 63, 64, 65, 2047, 2048, 2049, 5000} {
		statements = append(statements, fmt.Sprintf(everyType, n))
	}
	for _, sql := range statements {
		open := func() *queries.Result {
			r, err := g.Query(t.Context(), queriestest.Caller, sql)
			if err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
			return r
		}
		r := open()
		want := array.NewRecordBuilder(memory.DefaultAllocator, queries.SchemaOf(r.Columns()))
		for row := make([]any, len(r.Columns())); r.Next(row) == nil; {
			for i, v := range row {
				if err := queries.AppendValue(want.Field(i), v); err != nil {
					t.Fatal(err)
				}
			}
		}
		rows := r.Count()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r = open()
		expected := want.NewRecordBatch()
		var at int64
		var kept []arrow.RecordBatch
		for {
			b, err := r.NextBatch()
			if err != nil {
				break
			}
			kept = append(kept, b)
		}
		if r.Count() != rows {
			t.Errorf("%.60s: %d rows in batches, %d one by one", sql, r.Count(), rows)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		const vector = 2048 // what DuckDB has at once; batches of rows would be larger
		if rows > vector && kept[0].NumRows() != vector {
			t.Errorf("%.60s: the first batch has %d rows: it is not DuckDB's own", sql, kept[0].NumRows())
		}
		for _, b := range kept { // they are valid after Close
			if part := expected.NewSlice(at, at+b.NumRows()); !array.RecordEqual(part, b) {
				t.Errorf("%.60s: rows %d to %d differ", sql, at, at+b.NumRows())
			}
			at += b.NumRows()
		}
	}
}

// TestNothingLiesUnderNULL: a batch may be sent on, with what lies where a value is NULL.
func TestNothingLiesUnderNULL(t *testing.T) {
	g := gatewayAt(t, queriestest.NewLake(), &past{}, embedded.Config{}, queriestest.Everything)
	r, err := g.Query(t.Context(), queriestest.Caller, `SELECT CASE WHEN i % 2 = 0 THEN i END, CASE WHEN i % 2 = 0 THEN CAST(i AS DECIMAL(18,4)) END, nullif(i, i), CASE WHEN i % 2 = 0 THEN i > 0 END,
		CASE WHEN i % 2 = 0 THEN 'a text that is long ' || i END FROM (SELECT range + 1 AS i FROM range(1000))`)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := r.NextBatch()
	if err != nil {
		t.Fatal(err)
	}
	for c, column := range b.Columns() {
		for row := range column.Len() {
			if !column.IsNull(row) {
				continue
			}
			var under any
			switch column := column.(type) {
			case *array.Int64:
				under = column.Value(row)
			case *array.Decimal128:
				under = int64(column.Value(row).LowBits()) | column.Value(row).HighBits()
			case *array.Boolean:
				under = map[bool]int64{true: 1}[column.Value(row)]
			case *array.String:
				under = int64(column.ValueLen(row))
			}
			if under != int64(0) {
				t.Fatalf("column %d, row %d: %v lies under NULL", c, row, under)
			}
		}
	}
}
