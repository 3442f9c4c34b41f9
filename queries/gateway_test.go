package queries_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// selects is a parser of "COLUMN,COLUMN TABLE", which is all that these tests need.
type selects struct{}

// Parse implements queries.Parser.
func (selects) Parse(_ context.Context, sql string) ([]byte, error) {
	columns, table, _ := strings.Cut(sql, " ")
	var list []string
	for name := range strings.SplitSeq(columns, ",") {
		if name == "*" {
			list = append(list, `{"class":"STAR","type":"STAR"}`)
			continue
		}
		list = append(list, `{"class":"COLUMN_REF","type":"COLUMN_REF","column_names":["`+name+`"]}`)
	}
	from := `{"type":"EMPTY"}`
	if schema, name, ok := strings.Cut(strings.Fields(table + " -")[0], "."); ok {
		from = `{"type":"BASE_TABLE","alias":"t","schema_name":"` + schema + `","table_name":"` + name + `","catalog_name":"","column_name_alias":[],"query_location":3}`
	}
	return []byte(`{"error":false,"statements":[{"node":{"type":"SELECT_NODE","modifiers":[],"cte_map":{"map":[]},` +
		`"select_list":[` + strings.Join(list, ",") + `],"from_table":` + from + `},"named_param_map":[]}]}`), nil
}

// engine answers with as many rows as it is told, each after a time, and keeps what it was asked.
type engine struct {
	rows      int
	every     time.Duration
	snapshots []queries.Snapshot
	before    func(ctx context.Context) error

	asked []queries.Statement
	given int
}

// Query implements queries.Engine.
func (e *engine) Query(ctx context.Context, s queries.Statement) (queries.Rows, error) {
	e.asked = append(e.asked, s)
	if e.before != nil {
		if err := e.before(ctx); err != nil {
			return nil, err
		}
	}
	return &answer{e, e.rows}, nil
}

// Columns implements queries.Engine.
func (e *engine) Columns(context.Context, queries.Statement) ([]queries.Column, error) {
	return []queries.Column{{Name: "n"}}, nil
}

// State implements queries.Engine.
func (e *engine) State(_ context.Context, r queries.Read) (queries.Snapshot, error) {
	return queries.Snapshot{Table: r.Table, ID: 7, Positions: cardlake.Positions{{Stream: "s"}: {Next: 9}}}, nil
}

type answer struct {
	engine *engine
	left   int
}

func (a *answer) Columns() []queries.Column     { return []queries.Column{{Name: "n"}} }
func (a *answer) Snapshots() []queries.Snapshot { return a.engine.snapshots }
func (a *answer) Close() error                  { return nil }
func (a *answer) Next(row []any) error {
	if a.left == 0 {
		return io.EOF
	}
	time.Sleep(a.engine.every)
	a.left--
	a.engine.given++
	row[0] = "a value"
	return nil
}

// drain reads rows until they end, and returns how many there were and when the last came.
func drain(r *queries.Result) (n int, last time.Time, err error) {
	row := make([]any, 1)
	for {
		if err := r.Next(row); errors.Is(err, io.EOF) {
			return n, last, nil
		} else if err != nil {
			return n, last, err
		}
		n, last = n+1, time.Now()
	}
}

const transactions = "tenant cards.transactions"

func TestWhatIsNotPermittedIsNotRun(t *testing.T) {
	wrong := func(change func(d *grants.Decision)) queriestest.Permits {
		return func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			d := queriestest.Everything(c, a, t)
			change(d)
			return d
		}
	}
	for _, tc := range []struct {
		name, sql string
		permits   queries.Permits
		refused   string
	}{
		{"nothing", transactions, queriestest.Nothing, "no policy permits it"},
		{"another table only", "reason cards.transactions_rejected", queriestest.Only(nil, "aurora"), "no policy permits it"},
		{"no table, for one who may read none", "1", queriestest.Nothing, "no policy permits it"},
		{"no decision", transactions, queriestest.Permits(func(grants.Caller, grants.Action, *cardlake.Table) *grants.Decision { return nil }), "no decision"},
		{"of another principal", transactions, wrong(func(d *grants.Decision) { d.Principal.Name = "eve" }), "the decision is not of what was asked"},
		{"of another action", transactions, wrong(func(d *grants.Decision) { d.Action = grants.Export }), "the decision is not of what was asked"},
		{"of another table", transactions, wrong(func(d *grants.Decision) { other := *d.Table; d.Table = &other }), "the decision is not of what was asked"},
		{"columns are missing", transactions, wrong(func(d *grants.Decision) { d.Scopes[0].Columns = d.Scopes[0].Columns[:3] }), "the decision is not of what was asked"},
		{"out of date", transactions, wrong(func(d *grants.Decision) { d.Until = time.Now() }), "the decision is out of date"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log queriestest.Log
			e := &engine{}
			_, err := queries.New(selects{}, e, tc.permits, &log, queries.Config{}).Query(t.Context(), queriestest.Caller, tc.sql)
			if !errors.Is(err, queries.ErrNotPermitted) || err.Error() != "not permitted" {
				t.Errorf("got %v, want a plain refusal", err)
			}
			if len(e.asked) > 0 {
				t.Error("the engine was asked")
			}
			records := log.Records()
			if len(records) != 1 || records[0].Action != "query" || records[0].Outcome != audit.Refused || records[0].Detail["refused"] != tc.refused {
				t.Errorf("records %+v, want one of the refusal with its reason", records)
			}
		})
	}
}

// TestAuditTable: the audit log is not for those who may query.
func TestAuditTable(t *testing.T) {
	var asked []grants.Action
	permits := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		asked = append(asked, a)
		return queriestest.Everything(c, a, t)
	})
	g := queries.New(selects{}, &engine{}, permits, &queriestest.Log{}, queries.Config{})
	for _, sql := range []string{"actor audit.events", transactions} {
		if _, err := g.Query(t.Context(), queriestest.Caller, sql); err != nil {
			t.Fatal(err)
		}
	}
	if want := []grants.Action{grants.ReadAudit, grants.Query}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
}

func TestRecords(t *testing.T) {
	var log queriestest.Log
	e := &engine{rows: 3, snapshots: []queries.Snapshot{{Table: cardlake.Transactions, ID: 1, Files: 2, Bytes: 30}}}
	e.before = func(context.Context) error {
		if r := log.Records(); len(r) != 1 || r[0].Action != "query" || r[0].Outcome != audit.Allowed {
			t.Errorf("when the engine is asked the records are %+v", r)
		}
		return nil
	}
	permits := queriestest.Only(map[string]grants.Access{"customer_id": grants.Masked, "bin": grants.Dropped}, "bolivar", "aurora")
	g := queries.New(selects{}, e, permits, &log, queries.Config{})
	c := queriestest.Caller
	c.Reason, c.BreakGlass, c.MFA = "a look", true, true
	sql := "customer_id,amount,bin,nothing cards.transactions " + strings.Repeat("ñ", 1000)
	r, err := g.Query(t.Context(), c, sql)
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := drain(r); n != 3 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	records := log.Records()
	if len(records) != 2 {
		t.Fatalf("records %+v", records)
	}
	asked, done := records[0], records[1]
	if text := asked.Detail["statement"]; len(text) > 1024 || !strings.HasPrefix(sql, strings.TrimSuffix(text, "…")) || len(text) < 1000 {
		t.Errorf("the statement is recorded as %d bytes", len(text))
	}
	if sum := asked.Detail["statement_sha256"]; len(sum) != 64 || strings.Trim(sum, "abcdefghijklmnop") != "" {
		t.Errorf("sum %q", sum)
	}
	if asked.Request == "" || asked.Request != done.Request {
		t.Errorf("requests %q and %q", asked.Request, done.Request)
	}
	delete(asked.Detail, "statement")
	delete(asked.Detail, "statement_sha256")
	want := []audit.Record{
		{
			Actor: "data_scientist/ana", Action: "query", Resource: "cards.transactions", Outcome: audit.Allowed, Origin: "test", Reason: "a look", Request: asked.Request,
			Detail: map[string]string{
				"columns": "customer_id (masked),amount", "tenants": "aurora,bolivar", "policies": "by-hand", "policy_version": "1", "mfa": "true", "break_glass": "true",
			},
			Numbers: map[string]int64{"statement_bytes": int64(len(sql))},
		},
		{
			Actor: "data_scientist/ana", Action: "query.done", Resource: "cards.transactions", Outcome: audit.Allowed, Origin: "test", Request: asked.Request,
			Detail:  map[string]string{"snapshot": "cards.transactions@aaaaaaaaaaaaaaab"},
			Numbers: map[string]int64{"rows": 3, "files": 2, "bytes": 30, "tail_rows": 0},
		},
	}
	if diff := cmp.Diff(want, []audit.Record{asked, done}); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// TestColumnsOnRecord: what a statement may read is recorded, however it names it.
func TestColumnsOnRecord(t *testing.T) {
	for sql, want := range map[string]int{
		"tenant,AMOUNT cards.transactions": 2,
		"* cards.transactions":             len(cardlake.Transactions.Columns),
		"t cards.transactions":             len(cardlake.Transactions.Columns), // the alias: a whole row
		"transactions cards.transactions":  len(cardlake.Transactions.Columns),
	} {
		var log queriestest.Log
		if _, err := queries.New(selects{}, &engine{}, queriestest.Everything, &log, queries.Config{}).Query(t.Context(), queriestest.Caller, sql); err != nil {
			t.Fatal(err)
		}
		if got := strings.Split(log.Records()[0].Detail["columns"], ","); len(got) != want {
			t.Errorf("%s: columns %v, want %d", sql, got, want)
		}
	}
}

// TestNumbersInAStatement: with the sum of a text whose digits the log masks, the digits could
// be found by trying.
func TestNumbersInAStatement(t *testing.T) {
	for _, sql := range []string{transactions + " 4532015112830366", transactions + " 4532-0151-1283-0366"} {
		var log queriestest.Log
		if _, err := queries.New(selects{}, &engine{}, queriestest.Everything, &log, queries.Config{}).Query(t.Context(), queriestest.Caller, sql); err != nil {
			t.Fatal(err)
		}
		if _, ok := log.Records()[0].Detail["statement_sha256"]; ok {
			t.Errorf("the sum of %q is recorded", sql)
		}
	}
}

func TestRefusedStatementsAreRecorded(t *testing.T) {
	var log queriestest.Log
	g := queries.New(selects{}, &engine{}, queriestest.Only(nil, "aurora"), &log, queries.Config{})
	for i, sql := range []string{"", "x cards.nothing", "x evil.table", "\xff", strings.Repeat("x", 70_000)} {
		_, err := g.Query(t.Context(), queriestest.Caller, sql)
		var fault *queries.Error
		if !errors.As(err, &fault) {
			t.Errorf("%.20q: %v", sql, err)
		}
		if r := log.Records(); len(r) != i+1 || r[i].Outcome != audit.Refused || r[i].Action != "query" || r[i].Detail["refused"] == "" {
			t.Errorf("%.20q: records %+v", sql, r)
		}
	}
}

func TestUnrecordedIsUnanswered(t *testing.T) {
	full := errors.New("disk full")
	for name, tc := range map[string]struct {
		sql     string
		permits queries.Permits
	}{
		"permitted":     {transactions, queriestest.Everything},
		"not permitted": {transactions, queriestest.Nothing},
		"a fault":       {"x cards.nothing", queriestest.Everything},
	} {
		t.Run(name, func(t *testing.T) {
			var log queriestest.Log
			log.Fail(full)
			e := &engine{}
			_, err := queries.New(selects{}, e, tc.permits, &log, queries.Config{}).Query(t.Context(), queriestest.Caller, tc.sql)
			if !errors.Is(err, queries.ErrUnrecorded) || !errors.Is(err, full) {
				t.Errorf("got %v", err)
			}
			if len(e.asked) > 0 {
				t.Error("the engine was asked")
			}
		})
	}
	t.Run("the end", func(t *testing.T) {
		var log queriestest.Log
		r, err := queries.New(selects{}, &engine{}, queriestest.Everything, &log, queries.Config{}).Query(t.Context(), queriestest.Caller, transactions)
		if err != nil {
			t.Fatal(err)
		}
		log.Fail(full)
		if err := r.Close(); !errors.Is(err, queries.ErrUnrecorded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the engine's error", func(t *testing.T) {
		var log queriestest.Log
		e := &engine{before: func(context.Context) error { log.Fail(full); return errors.New("broken") }}
		if _, err := queries.New(selects{}, e, queriestest.Everything, &log, queries.Config{}).Query(t.Context(), queriestest.Caller, transactions); !errors.Is(err, queries.ErrUnrecorded) {
			t.Errorf("got %v", err)
		}
	})
}

// TestRowsEndWithTheRecord kills the log, or withdraws the grant, while rows are delivered.
func TestRowsEndWithTheRecord(t *testing.T) {
	for _, every := range []time.Duration{time.Millisecond, 300 * time.Millisecond, 990 * time.Millisecond, 3 * time.Second} {
		for _, what := range []string{"log", "grant"} {
			t.Run(what+" "+every.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log queriestest.Log
					var withdrawn atomic.Bool
					permits := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
						if withdrawn.Load() {
							return queriestest.Nothing(c, a, t)
						}
						return queriestest.Everything(c, a, t)
					})
					g := queries.New(selects{}, &engine{rows: 40_000, every: every}, permits, &log, queries.Config{MaxRows: -1})
					r, err := g.Query(t.Context(), queriestest.Caller, transactions)
					if err != nil {
						t.Fatal(err)
					}
					died := time.Now().Add(10*time.Second + 17*time.Millisecond)
					time.AfterFunc(time.Until(died), func() {
						if what == "log" {
							log.Fail(errors.New("gone"))
						} else {
							withdrawn.Store(true)
						}
					})
					n, last, err := drain(r)
					want := map[string]error{"log": queries.ErrUnrecorded, "grant": queries.ErrNotPermitted}[what]
					if !errors.Is(err, want) {
						t.Errorf("rows end with %v, want %v", err, want)
					}
					if last.Sub(died) >= time.Second || n < 3 {
						t.Errorf("the last of %d rows came %v after", n, last.Sub(died))
					}
					if again := r.Next(make([]any, 1)); !errors.Is(again, want) {
						t.Errorf("after the end: %v", again)
					}
					err = r.Close()
					records := log.Records()
					end := records[len(records)-1]
					if what == "grant" && (err != nil || end.Action != "query.done" || end.Outcome != audit.Failed || end.Detail["refused"] != "no policy permits it" || end.Numbers["rows"] != int64(n)) {
						t.Errorf("closed with %v, and the last record %+v", err, end)
					}
				})
			})
		}
	}
}

// TestRecordGoesOn: whoever reads for long is on record all the time.
func TestRecordGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log queriestest.Log
		g := queries.New(selects{}, &engine{rows: 1000, every: 10 * time.Millisecond}, queriestest.Everything, &log, queries.Config{})
		r, err := g.Query(t.Context(), queriestest.Caller, transactions)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := drain(r); err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		for _, record := range log.Records() {
			counts[record.Action]++
		}
		if want := map[string]int{"query": 1, "query.going": 20}; !maps.Equal(counts, want) {
			t.Errorf("records %v, want %v", counts, want)
		}
	})
}

func TestLimitsTighten(t *testing.T) {
	limited := func(l grants.Limits) queriestest.Permits {
		return func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			d := queriestest.Everything(c, a, t)
			d.Limits = l
			return d
		}
	}
	for _, tc := range []struct {
		name  string
		cfg   int64
		grant int64
		want  int
	}{
		{"none", -1, 0, 50}, {"the gateway's", 10, 0, 10}, {"the grant's", -1, 20, 20}, {"the tighter grant's", 10, 5, 5}, {"not widened", 10, 20, 10},
	} {
		t.Run("rows: "+tc.name, func(t *testing.T) {
			g := queries.New(selects{}, &engine{rows: 50}, limited(grants.Limits{MaxRows: tc.grant}), &queriestest.Log{}, queries.Config{MaxRows: tc.cfg})
			r, err := g.Query(t.Context(), queriestest.Caller, transactions)
			if err != nil {
				t.Fatal(err)
			}
			row := []any{nil}
			n := 0
			for err = r.Next(row); err == nil; err = r.Next(row) {
				n++
			}
			if n != tc.want || errors.Is(err, queries.ErrTooManyRows) != (n < 50) {
				t.Errorf("%d rows, %v; want %d", n, err, tc.want)
			}
			if row[0] != nil && n < 50 {
				t.Error("the row beyond the bound was given")
			}
		})
	}
	for _, tc := range []struct {
		name             string
		cfg, grant, want time.Duration
	}{
		{"the gateway's", 3 * time.Second, 0, 3 * time.Second}, {"the grant's", 3 * time.Second, time.Second, time.Second}, {"not widened", time.Second, 3 * time.Second, time.Second},
	} {
		t.Run("time: "+tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &engine{before: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
				begun := time.Now()
				_, err := queries.New(selects{}, e, limited(grants.Limits{Timeout: tc.grant}), &queriestest.Log{}, queries.Config{Timeout: tc.cfg}).
					Query(t.Context(), queriestest.Caller, transactions)
				if !errors.Is(err, queries.ErrTimeout) || time.Since(begun) != tc.want || !strings.Contains(err.Error(), tc.want.String()) {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
			})
		})
	}
	t.Run("the engine's", func(t *testing.T) {
		e := &engine{}
		want := grants.Limits{MaxBytes: 5, Memory: 6}
		if _, err := queries.New(selects{}, e, limited(want), &queriestest.Log{}, queries.Config{}).Query(t.Context(), queriestest.Caller, transactions); err != nil {
			t.Fatal(err)
		}
		if got := e.asked[0].Limits; got != want {
			t.Errorf("the engine was given %+v", got)
		}
	})
	t.Run("without a table", func(t *testing.T) {
		e := &engine{}
		if _, err := queries.New(selects{}, e, limited(grants.Limits{Memory: 6}), &queriestest.Log{}, queries.Config{}).Query(t.Context(), queriestest.Caller, "x"); err != nil {
			t.Fatal(err)
		}
		if got := e.asked[0].Limits.Memory; got != 6 {
			t.Errorf("the engine was given %d bytes", got)
		}
	})
}

// TestSnapshotsAreCutToTheDecision: positions, partitions and other tenants' destroyed rows are
// for those who are given everything.
func TestSnapshotsAreCutToTheDecision(t *testing.T) {
	gone := errors.New("worker 10.0.0.7 is away")
	whole := queries.Snapshot{
		Table: cardlake.Transactions, ID: 5, CommittedAt: time.Unix(50, 0), ReadAt: time.Unix(60, 0), Files: 2, TailRows: 3,
		Destroyed: map[cardlake.Tenant]int64{"aurora": 1, "bolivar": 2}, Positions: cardlake.Positions{{Stream: "s"}: {Next: 9}},
		Lacking: []cardlake.StreamPartition{{Stream: "s"}}, TailError: gone, Unanswered: gone,
	}
	complete := whole
	complete.Lacking, complete.TailError, complete.Unanswered = nil, nil, nil
	for _, tc := range []struct {
		name    string
		permits queries.Permits
		read    queries.Snapshot
		want    queries.Snapshot
		asOf    time.Time
	}{
		{"everything", queriestest.Everything, whole, whole, whole.CommittedAt},
		{"a tenant", queriestest.Only(nil, "aurora"), whole, queries.Snapshot{
			Table: whole.Table, ID: 5, CommittedAt: whole.CommittedAt, ReadAt: whole.ReadAt, Files: 2, TailRows: 3,
			Destroyed: map[cardlake.Tenant]int64{"aurora": 1}, IsPartial: true,
		}, whole.CommittedAt},
		{"a tenant, all is there", queriestest.Only(nil, "cobre"), complete, queries.Snapshot{
			Table: whole.Table, ID: 5, CommittedAt: whole.CommittedAt, ReadAt: whole.ReadAt, Files: 2, TailRows: 3, Destroyed: map[cardlake.Tenant]int64{},
		}, whole.ReadAt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := queries.New(selects{}, &engine{snapshots: []queries.Snapshot{tc.read}}, tc.permits, &queriestest.Log{}, queries.Config{})
			r, err := g.Query(t.Context(), queriestest.Caller, transactions)
			if err != nil {
				t.Fatal(err)
			}
			equal := cmp.Comparer(func(a, b error) bool { return a == b })
			if diff := cmp.Diff([]queries.Snapshot{tc.want}, r.Snapshots(), equal, cmp.Comparer(func(a, b *cardlake.Table) bool { return a == b })); diff != "" {
				t.Errorf("snapshots (-want +got):\n%s", diff)
			}
			if at, _ := r.AsOf(); !at.Equal(tc.asOf) {
				t.Errorf("as of %v, want %v", at, tc.asOf)
			}
		})
	}
}

func TestTablesAndDescribe(t *testing.T) {
	permits := queriestest.Only(map[string]grants.Access{"customer_id": grants.Masked, "bin": grants.Dropped}, "aurora")
	g := queries.New(selects{}, &engine{}, permits, nil, queries.Config{}).As(queriestest.Caller)
	tables, err := g.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, info := range tables {
		names = append(names, info.Table.FullName())
		if info.Snapshot.ID != 7 || info.Snapshot.Positions != nil {
			t.Errorf("%s: snapshot %+v", info.Table.FullName(), info.Snapshot)
		}
	}
	var want []string
	for _, table := range cardlake.Tables {
		if table.ByTenant {
			want = append(want, table.FullName())
		}
	}
	if !slices.Equal(names, want) || len(want) == len(cardlake.Tables) {
		t.Errorf("tables %v, want %v", names, want)
	}
	info, err := g.Describe(t.Context(), "CARDS.Transactions")
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Columns) != len(cardlake.Transactions.Columns)-1 || info.Column("bin") != grants.Dropped || info.Column("customer_id") != grants.Masked || info.Column("tenant") != grants.Clear {
		t.Errorf("columns %+v", info.Columns)
	}
	if _, err := g.Describe(t.Context(), "cards.transactions_rejected"); !errors.Is(err, queries.ErrNotPermitted) {
		t.Errorf("a table that is not permitted: %v", err)
	}
	none := queries.New(selects{}, &engine{}, queriestest.Nothing, nil, queries.Config{})
	if tables, err := none.Tables(t.Context(), queriestest.Caller); !errors.Is(err, queries.ErrNotPermitted) || tables != nil {
		t.Errorf("tables of one who may read none: %v, %v", tables, err)
	}
}

// TestHintsNameWhatIsPermitted: what may be meant is looked for among what is permitted.
func TestHintsNameWhatIsPermitted(t *testing.T) {
	ctx := t.Context()
	some := queries.New(selects{}, &engine{}, queriestest.Only(nil, "aurora"), &queriestest.Log{}, queries.Config{}).As(queriestest.Caller)
	none := queries.New(selects{}, &engine{}, queriestest.Nothing, &queriestest.Log{}, queries.Config{}).As(queriestest.Caller)
	for _, name := range []string{"cards.transactions_rejecte", "cards.zzzzzzzzzzzzzzzzz", "audit.event"} {
		for who, session := range map[string]queries.Session{"some": some, "none": none} {
			_, queried := session.Query(ctx, "x "+name)
			_, described := session.Describe(ctx, name)
			for _, err := range []error{queried, described} {
				var fault *queries.Error
				if !errors.As(err, &fault) {
					t.Fatalf("%s: %v", name, err)
				}
				if hint := fault.Hint; strings.Contains(hint, "rejected") || strings.Contains(hint, "events") || who == "none" && hint != "" {
					t.Errorf("%s, to one who may read %s: hint %q", name, who, hint)
				}
			}
		}
	}
	if _, err := some.Describe(ctx, "cards.transaction"); err == nil || !strings.Contains(err.Error(), "did you mean cards.transactions?") {
		t.Errorf("a slip: %v", err)
	}
}

// TestScansAreDecidedAndRecorded as statements are, under their own action.
func TestScansAreDecidedAndRecorded(t *testing.T) {
	e, log := &engine{rows: 3}, &queriestest.Log{}
	var action grants.Action
	permits := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		action = a
		d := queriestest.Only(nil, "acme")(c, a, t)
		d.Limits.MaxRows = 2
		return d
	})
	g := queries.New(selects{}, e, permits, log, queries.Config{MaxRows: 1})
	scan := queries.Scan{Action: grants.ReadChanges, Table: "cards.transactions", What: "changes after 7"}
	var read queries.Read
	r, err := g.Scan(t.Context(), queriestest.Caller, scan, func(ctx context.Context, r queries.Read) (queries.Rows, error) {
		read = r
		return e.Query(ctx, queries.Statement{})
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := drain(r); n != 2 || !errors.Is(err, queries.ErrTooManyRows) {
		t.Errorf("got %d rows and %v, want the grant's 2", n, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	export, err := g.Scan(t.Context(), queriestest.Caller, queries.Scan{Action: grants.Export, Table: "cards.transactions"}, func(ctx context.Context, _ queries.Read) (queries.Rows, error) {
		return e.Query(ctx, queries.Statement{})
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := drain(export); n != 3 || err != nil {
		t.Errorf("an export has %d rows and %v, want all 3", n, err)
	}
	if action != grants.Export {
		t.Errorf("decided as %s", action)
	}
	if read.Table != cardlake.Transactions || read.Decision.Scope("acme") == nil || read.Decision.Scope("other") != nil {
		t.Errorf("read %v as %s", read, action)
	}
	var actions []string
	for _, r := range log.Records() {
		actions = append(actions, r.Action+" "+r.Resource)
	}
	if diff := cmp.Diff([]string{"changes cards.transactions", "changes.done cards.transactions", "export cards.transactions"}, actions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	for name, tc := range map[string]struct {
		scan    queries.Scan
		permits queriestest.Permits
		want    error
	}{
		"not permitted": {scan, queriestest.Nothing, queries.ErrNotPermitted},
		"the audit log": {queries.Scan{Action: grants.Export, Table: "audit.events"}, queriestest.Everything, queries.ErrNotPermitted},
		"no table":      {queries.Scan{Action: grants.Export, Table: "cards.transaction"}, queriestest.Everything, nil},
		"unrecorded":    {scan, queriestest.Everything, queries.ErrUnrecorded},
	} {
		log := &queriestest.Log{}
		if tc.want == queries.ErrUnrecorded {
			log.Fail(errors.New("full"))
		}
		opened := false
		_, err := queries.New(selects{}, e, tc.permits, log, queries.Config{}).Scan(t.Context(), queriestest.Caller, tc.scan, func(ctx context.Context, _ queries.Read) (queries.Rows, error) {
			opened = true
			return e.Query(ctx, queries.Statement{})
		})
		var fault *queries.Error
		if opened || tc.want != nil && !errors.Is(err, tc.want) || tc.want == nil && !errors.As(err, &fault) {
			t.Errorf("%s: got %v, opened: %v", name, err, opened)
		}
		if tc.want != queries.ErrUnrecorded && len(log.Records()) != 1 {
			t.Errorf("%s: %d records, want the refusal", name, len(log.Records()))
		}
	}
}

// TestScanEndsWithItsGrant: rows that are read in files end like others when the grant goes.
func TestScanEndsWithItsGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var withdrawn atomic.Bool
		permits := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			if withdrawn.Load() && a == grants.Export {
				return queriestest.Nothing(c, a, t)
			}
			return queriestest.Everything(c, a, t)
		})
		e := &engine{rows: 1000, every: 100 * time.Millisecond}
		r, err := queries.New(selects{}, e, permits, &queriestest.Log{}, queries.Config{}).Scan(t.Context(), queriestest.Caller,
			queries.Scan{Action: grants.Export, Table: "cards.transactions"},
			func(ctx context.Context, _ queries.Read) (queries.Rows, error) {
				return e.Query(ctx, queries.Statement{})
			})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		time.AfterFunc(10*time.Second, func() { withdrawn.Store(true) })
		_, last, err := drain(r)
		if !errors.Is(err, queries.ErrNotPermitted) || last.Sub(start) > 11*time.Second {
			t.Errorf("got %v after %v", err, last.Sub(start))
		}
	})
}
