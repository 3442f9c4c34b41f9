package trino_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/trinotest"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/figures"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/trino"
	"github.com/cardlake/cardlake/queries/views"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// statements reads a corpus: a statement a line, comments aside.
func statements(t testing.TB, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if line := sc.Text(); line != "" && !strings.HasPrefix(line, "-- ") {
			out = append(out, line)
		}
	}
	return out
}

// principals are callers who see the table whole, in part and masked.
var principals = map[string]queries.Permits{
	"whole":  queriestest.Everything,
	"tenant": queriestest.Only(nil, "aurora"),
	"masked": queriestest.Only(map[string]grants.Access{
		"amount": grants.Masked, "billing_amount": grants.Masked, "card_token": grants.Masked, "customer_id": grants.Masked,
		"last4": grants.Masked, "bin": grants.Masked, "merchant_name": grants.Masked,
	}, "aurora", "cobre"),
	"scopes": queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		d := queriestest.Decision(c, a, t,
			grants.Scope{Tenants: []cardlake.Tenant{"aurora"}, Columns: queriestest.Columns(t, nil)},
			grants.Scope{Others: true, Columns: queriestest.Columns(t, map[string]grants.Access{
				"amount": grants.Masked, "card_token": grants.Dropped, "mcc": grants.Dropped, "latency_us": grants.Masked,
				"local_time": grants.Masked,
			})})
		d.Except = []cardlake.Tenant{"bolivar"}
		return d
	}),
}

// answer is a whole answer.
type answer struct {
	columns []queries.Column
	rows    [][]any
}

func ask(ctx context.Context, g *queries.Gateway, sql string) (_ *answer, err error) {
	r, err := g.Query(ctx, queriestest.Caller, sql)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	a := &answer{columns: r.Columns()}
	for {
		row := make([]any, len(a.columns))
		err := r.Next(row)
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, err
		}
		a.rows = append(a.rows, row)
	}
}

// differ says how two answers differ, "" if they do not: types and names of columns and exact
// values are the same, DOUBLEs within a billionth.
func differ(sql string, want, got *answer) string {
	for i, c := range want.columns {
		if i >= len(got.columns) || got.columns[i].Name != c.Name || !arrow.TypeEqual(got.columns[i].Type, c.Type) {
			return fmt.Sprintf("columns: %v, DuckDB has %v", got.columns, want.columns)
		}
	}
	if len(want.rows) != len(got.rows) {
		return fmt.Sprintf("%d rows, DuckDB has %d", len(got.rows), len(want.rows))
	}
	if !strings.Contains(sql, "ORDER BY") {
		for _, a := range []*answer{want, got} {
			slices.SortFunc(a.rows, func(x, y []any) int { return strings.Compare(fmt.Sprint(x...), fmt.Sprint(y...)) })
		}
	}
	for i := range want.rows {
		for j := range want.columns {
			if !equal(want.columns[j].Type, want.rows[i][j], got.rows[i][j]) {
				return fmt.Sprintf("row %d, column %s %s: %s, DuckDB has %s", i+1, want.columns[j].Name, want.columns[j].Type,
					show(want.columns[j].Type, got.rows[i][j]), show(want.columns[j].Type, want.rows[i][j]))
			}
		}
	}
	return ""
}

func show(t arrow.DataType, v any) string {
	if d, ok := v.(decimal128.Num); ok {
		return d.ToString(t.(*arrow.Decimal128Type).Scale)
	}
	return fmt.Sprintf("%#v", v)
}

func equal(t arrow.DataType, a, b any) bool {
	if x, ok := a.(float64); ok {
		y, ok := b.(float64)
		return ok && (x == y || math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) <= 1e-9*math.Max(math.Abs(x), math.Abs(y)))
	}
	if _, ok := t.(*arrow.ListType); ok || t.ID() == arrow.BINARY {
		return fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b)
	}
	return a == b
}

// questions are the portable corpus, all views, all standard questions and all figures of tenants.
func questions(t *testing.T, corpus []string, g *queries.Gateway) []string {
	t.Helper()
	a, err := ask(t.Context(), g, "SELECT transaction_id, card_token, merchant_id, currency FROM cards.transactions WHERE tenant = 'aurora' AND merchant_id IS NOT NULL ORDER BY event_id LIMIT 1")
	if err != nil {
		t.Fatal(err)
	}
	purchase, err := cardlake.ParseEventID(a.rows[0][0].(string))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range views.All {
		corpus = append(corpus, "SELECT * FROM "+v.FullName()+" ORDER BY ALL")
	}
	day := time.UnixMicro(writerstest.Start).UTC().Truncate(24 * time.Hour)
	for _, q := range views.Standard {
		sql, err := q.For(views.Args{Tenant: "aurora", Day: day, Purchase: purchase, Card: a.rows[0][1].(string)})
		if err != nil {
			t.Fatal(err)
		}
		corpus = append(corpus, sql)
	}
	known := map[string]string{
		"purchase": a.rows[0][0].(string), "card": a.rows[0][1].(string), "merchant": a.rows[0][2].(string), "currency": a.rows[0][3].(string),
		"at": day.Format(time.RFC3339), "job": "predict", "alert": "none", "segment": "none", "customer": "none",
	}
	for _, f := range figures.All {
		if f.Scope == figures.OfLake {
			continue
		}
		args := figures.Args{Tenant: "aurora", From: day.AddDate(0, 0, -1), To: day.AddDate(0, 0, 2), Values: map[string]string{}}
		for _, p := range f.Params {
			if p.Required {
				args.Values[p.Name] = known[p.Name]
			}
		}
		sql, err := f.For(args)
		if err != nil {
			t.Fatal(err)
		}
		corpus = append(corpus, sql)
	}
	return corpus
}

// send asks the server without the engine, as the user, and returns the name of the error that
// it answers with, "" for none.
func send(t *testing.T, url, user, sql string) (name string) {
	t.Helper()
	type response struct {
		NextURI string `json:"nextUri"`
		Error   struct {
			Name string `json:"errorName"`
		} `json:"error"`
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/statement", strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	for {
		req.Header.Set("X-Trino-User", user)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var r response
		if res.StatusCode != http.StatusOK {
			r.Error.Name = res.Status
		} else if err := json.NewDecoder(res.Body).Decode(&r); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if r.Error.Name != "" || r.NextURI == "" {
			return r.Error.Name
		}
		if req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, r.NextURI, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// secondWall asks for what testdata/rules.json must not give, also to the engine's own user: what
// would reach the server if the check and the printer both failed.
func secondWall(t *testing.T, url string) {
	if name := send(t, url, "cardlake", `SELECT count(*) FROM lake.cards.transactions`); name != "" {
		t.Errorf("the engine's user is refused what it needs: %s", name)
	}
	for user, statements := range map[string][]string{
		"cardlake": {
			`SELECT * FROM system.runtime.queries`, `SELECT * FROM lake.cards."transactions$files"`,
			`DELETE FROM lake.cards.transactions WHERE true`, `CREATE TABLE lake.cards.copy AS SELECT 1 AS x`,
			`SET SESSION query_priority = 100`, `DROP TABLE lake.cards.transactions`,
		},
		"mallory": {`SELECT count(*) FROM lake.cards.transactions`, `SELECT 1`},
	} {
		for _, sql := range statements {
			if name := send(t, url, user, sql); name == "" {
				t.Errorf("%s may %s", user, sql)
			}
		}
	}
}

func gateway(t *testing.T, planner trino.Planner, url string) *queries.Gateway {
	t.Helper()
	engine, err := trino.New(planner, trino.Config{Server: url, Catalog: "lake", User: "cardlake"})
	if err != nil {
		t.Fatal(err)
	}
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	return queries.New(parser, engine, queriestest.Everything, &queriestest.Log{}, queries.Config{})
}

// cancelled checks that a statement ends on the server when its context does.
func cancelled(t *testing.T, lake *trinotest.Lake, at string) {
	server, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan string, 10)
	between := httptest.NewServer(&httputil.ReverseProxy{ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(server)
		r.Out.Host = r.In.Host // of which the server makes the URLs of its answer
		if r.In.Method == http.MethodDelete {
			ended <- path.Base(r.In.URL.Path)
		}
	}})
	defer between.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	_, err = ask(ctx, gateway(t, lake, between.URL), "SELECT count(*) FROM cards.transactions a, cards.transactions b, cards.transactions c WHERE a.amount + b.amount + c.amount > 0")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	select {
	case id := <-ended:
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+"/v1/query/"+id, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Trino-User", "cardlake")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var info struct {
			State string `json:"state"`
			Error struct {
				Name string `json:"name"`
			} `json:"errorCode"`
		}
		if err := json.NewDecoder(res.Body).Decode(&info); err != nil {
			t.Fatal(err)
		}
		if info.State != "FAILED" || info.Error.Name != "USER_CANCELED" {
			t.Errorf("the statement is %s %s on the server", info.State, info.Error.Name)
		}
	default:
		t.Error("the statement was not ended on the server")
	}
}

// planned is a plan that does not change.
type planned struct {
	snapshot catalog.Snapshot
	files    []cardlake.DataFile
}

func (p planned) Plan(context.Context, *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	return p.snapshot, p.files, nil
}

// past has one older snapshot besides the newest.
type past struct {
	planned
	then planned
}

func (p past) PlanAt(ctx context.Context, t *cardlake.Table, id int64) (catalog.Snapshot, []cardlake.DataFile, error) {
	if id != p.then.snapshot.ID {
		return catalog.Snapshot{}, nil, queries.ErrNoSnapshot
	}
	return p.then.Plan(ctx, t)
}

// pinned checks that an answer is of the snapshot that it says it is of, whatever is committed
// after the plan.
func pinned(t *testing.T, lake *trinotest.Lake, url string) {
	snapshot, files, err := lake.Plan(t.Context(), cardlake.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	const sql = "SELECT count(*) FROM cards.transactions"
	before, err := ask(t.Context(), gateway(t, lake, url), sql)
	if err != nil {
		t.Fatal(err)
	}
	lake.Append(t, 500)
	r, err := gateway(t, planned{snapshot, files}, url).Query(t.Context(), queriestest.Caller, sql)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	row := make([]any, 1)
	if err := r.Next(row); err != nil {
		t.Fatal(err)
	}
	if row[0] != before.rows[0][0] || r.Snapshots()[0].ID != snapshot.ID {
		t.Errorf("%v rows of snapshot %d, want %v of %d", row[0], r.Snapshots()[0].ID, before.rows[0][0], snapshot.ID)
	}
	after, err := ask(t.Context(), gateway(t, lake, url), sql)
	if err != nil {
		t.Fatal(err)
	}
	if after.rows[0][0] != before.rows[0][0].(int64)+500 {
		t.Errorf("%v rows after 500 more than %v", after.rows[0][0], before.rows[0][0])
	}
	g := gateway(t, past{planned{snapshot: catalog.Snapshot{ID: -1}}, planned{snapshot, files}}, url)
	var sum int64
	for _, tenant := range []cardlake.Tenant{"aurora", "bolivar", "cobre"} {
		at := queries.At{Snapshots: map[string]int64{"cards.transactions": snapshot.ID}, Tenant: tenant}
		r, err := g.QueryAt(t.Context(), queriestest.Caller, at, "SELECT count(*), min(tenant), max(tenant) FROM cards.transactions")
		if err != nil {
			t.Fatal(err)
		}
		row := make([]any, 3)
		if err := errors.Join(r.Next(row), r.Close()); err != nil {
			t.Fatal(err)
		}
		if row[1] != string(tenant) || row[2] != string(tenant) {
			t.Errorf("rows of %v to %v, want %s", row[1], row[2], tenant)
		}
		sum += row[0].(int64)
	}
	if sum != before.rows[0][0] {
		t.Errorf("the tenants have %d rows at the snapshot, want %v", sum, before.rows[0][0])
	}
}

// TestAnswersAreDuckDBs compares the answers of both engines over one table: to the portable
// corpus, all views and all standard questions, for callers who see the table whole, in part and
// masked. CARDLAKE_EVERY=n takes every nth statement.
func TestAnswersAreDuckDBs(t *testing.T) {
	corpus := statements(t, filepath.Join("..", "dialect", "testdata", "portable.sql"))
	rules, err := os.ReadFile("testdata/rules.json")
	if err != nil {
		t.Fatal(err)
	}
	in := trinotest.Find(t)
	lake := trinotest.NewLake(t)
	lake.Append(t, 20_000)
	lake.Append(t, 4_000)
	server := in.Start(t, trinotest.Config{Catalogs: map[string]string{"lake": lake.Properties}, Rules: string(rules)})
	t.Run("second wall", func(t *testing.T) { secondWall(t, server.URL) })
	t.Run("cancelled", func(t *testing.T) { cancelled(t, lake, server.URL) })
	t.Run("pinned", func(t *testing.T) { pinned(t, lake, server.URL) })
	engine, err := trino.New(lake, trino.Config{Server: server.URL, Catalog: "lake", User: "cardlake"})
	if err != nil {
		t.Fatal(err)
	}
	duckdb := embedded.New(lake, lake.Store, embedded.Config{Threads: 2, CacheBytes: 64 << 20})
	parser := embedded.NewParser()
	defer parser.Close()
	over := func(e queries.Engine, permits queries.Permits) *queries.Gateway {
		return queries.New(parser, e, permits, &queriestest.Log{}, queries.Config{Views: views.All})
	}
	corpus = questions(t, corpus, over(duckdb, queriestest.Everything))
	every, _ := strconv.Atoi(os.Getenv("CARDLAKE_EVERY"))
	for name, permits := range principals {
		t.Run(name, func(t *testing.T) {
			own, other := over(duckdb, permits), over(engine, permits)
			compared := 0
			for i, sql := range corpus {
				if every > 1 && i%every != 0 {
					continue
				}
				want, err := ask(t.Context(), own, sql)
				if err != nil {
					if name == "whole" {
						t.Errorf("DuckDB: %s\n%v", sql, err)
					} else if got, err := ask(t.Context(), other, sql); err == nil {
						t.Errorf("Trino answers %d rows to what DuckDB refuses: %s", len(got.rows), sql)
					}
					continue
				}
				got, err := ask(t.Context(), other, sql)
				if err != nil {
					t.Errorf("Trino: %s\n%v", sql, err)
					continue
				}
				if d := differ(sql, want, got); d != "" {
					t.Errorf("%s\n%s", sql, d)
				}
				compared++
			}
			t.Logf("%d of %d statements compared", compared, len(corpus))
		})
	}
}
