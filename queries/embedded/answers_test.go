package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/objects"
)

// desk is a lake whose table goes from state to state, and an engine that keeps answers and nothing
// else: what opens an object computed.
type desk struct {
	*queriestest.Lake
	engine *Engine
	parser *Parser
	log    *queriestest.Log
	views  []*queries.View

	mu     sync.Mutex
	states [][]cardlake.DataFile
	gone   map[string]bool             // objects whose key was destroyed
	wait   func(context.Context) error // before an object is opened
}

func newDesk(t *testing.T, cfg Config) *desk {
	d := &desk{Lake: queriestest.NewLake(), parser: NewParser(), log: &queriestest.Log{}, gone: map[string]bool{}}
	cfg.AnswerBytes = 64 << 20
	d.engine = New(d, d, cfg)
	t.Cleanup(func() { d.parser.Close(); d.engine.Close() })
	return d
}

// commit makes another state of these files of queriestest.File, of 10 rows each.
func (d *desk) commit(t *testing.T, files ...int) []cardlake.DataFile {
	t.Helper()
	var state []cardlake.DataFile
	for _, i := range files {
		f, body, err := queriestest.File(i, 10)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Put(t.Context(), f.Name, keys.Lake, body); err != nil && !errors.Is(err, objects.ErrExists) {
			t.Fatal(err)
		}
		state = append(state, f)
	}
	d.set(state)
	return state
}

func (d *desk) set(state []cardlake.DataFile) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.states = append(d.states, state)
}

func (d *desk) Plan(ctx context.Context, table *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	d.mu.Lock()
	id := int64(len(d.states))
	d.mu.Unlock()
	return d.PlanAt(ctx, table, id)
}

func (d *desk) PlanAt(_ context.Context, table *cardlake.Table, id int64) (catalog.Snapshot, []cardlake.DataFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if id == 0 || table != cardlake.Transactions {
		return catalog.Snapshot{}, nil, nil
	}
	return catalog.Snapshot{ID: id, CommittedAt: queriestest.Epoch.Add(time.Duration(id) * time.Second)}, d.states[id-1], nil
}

func (d *desk) Open(ctx context.Context, name string) (objects.Object, error) {
	d.mu.Lock()
	wait, isGone := d.wait, d.gone[name]
	d.mu.Unlock()
	if wait != nil {
		if err := wait(ctx); err != nil {
			return nil, err
		}
	}
	if isGone {
		return nil, keys.ErrDestroyed
	}
	return d.Lake.Open(ctx, name)
}

// ask asks of the newest state, or of at. It returns the rows, and whether an object was opened.
func (d *desk) ask(t *testing.T, permits queries.Permits, at queries.At, sql string) (rows string, read []queries.Snapshot, isComputed bool, err error) {
	before := d.Opened.Load()
	g := queries.New(d.parser, d.engine, permits, d.log, queries.Config{Views: d.views})
	r, err := g.QueryAt(t.Context(), queriestest.Caller, at, sql)
	if err != nil {
		return "", nil, d.Opened.Load() > before, err
	}
	defer r.Close()
	var out []string
	row := make([]any, len(r.Columns()))
	for err = r.Next(row); err == nil; err = r.Next(row) {
		out = append(out, fmt.Sprint(row...))
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.Join(out, ","), r.Snapshots(), d.Opened.Load() > before, err
}

const byTenant = "SELECT tenant, count(*), max(amount) FROM cards.transactions GROUP BY 1 ORDER BY 1"

// TestAnswerIsKept: the same question of the same files is not computed again, whoever asks and
// whatever else was committed; what is told of the snapshot is the question's own.
func TestAnswerIsKept(t *testing.T) {
	d := newDesk(t, Config{})
	d.commit(t, 0, 1, 2, 3)
	only := func(tenants ...cardlake.Tenant) queries.Permits { return queriestest.Only(nil, tenants...) }
	first, told, isComputed, err := d.ask(t, only("aurora"), queries.At{}, byTenant)
	if err != nil || !isComputed || !strings.HasPrefix(first, "aurora20 ") {
		t.Fatalf("%s, %v", first, err)
	}
	d.commit(t, 0, 1, 2, 3, 4, 5) // more of the others
	for what, permits := range map[string]queries.Permits{
		"the same": only("aurora"),
		"another principal": queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			made := *only("aurora").Decide(c, a, t)
			made.Version, made.Policies = "2", []string{"another"}
			return &made
		}),
		"narrowed": queries.Narrow(only("aurora", "bolivar"), "aurora"),
	} {
		rows, now, isComputed, err := d.ask(t, permits, queries.At{}, byTenant)
		if rows != first || isComputed || err != nil {
			t.Errorf("%s: %s, computed %v, error %v", what, rows, isComputed, err)
		}
		want := told[0]
		want.ID, want.CommittedAt = 2, queriestest.Epoch.Add(2*time.Second)
		if diff := cmp.Diff([]queries.Snapshot{want}, now); diff != "" {
			t.Errorf("%s: snapshot (-want +got):\n%s", what, diff)
		}
	}
	asked := 0
	for _, r := range d.log.Records() {
		if r.Action == "query" {
			asked++
		}
	}
	if asked != 4 {
		t.Errorf("%d of 4 questions are on record", asked)
	}
}

// TestAnswerIsNotKept: what changes the answer, or may, is another question.
func TestAnswerIsNotKept(t *testing.T) {
	const sql = "SELECT count(*), max(amount), min(customer_id) FROM cards.transactions"
	masked := map[string]grants.Access{"customer_id": grants.Masked}
	base := queriestest.Only(nil, "aurora")
	for what, tc := range map[string]struct {
		permits queries.Permits
		at      queries.At
		change  func(d *desk)
		sql     string
		same    bool // the rows
	}{
		"another tenant":        {permits: queriestest.Only(nil, "bolivar")},
		"narrowed to another":   {permits: queriestest.Only(nil, "aurora", "bolivar"), at: queries.At{Tenant: "bolivar"}},
		"one tenant more":       {permits: queriestest.Only(nil, "aurora", "bolivar")},
		"everything":            {permits: queriestest.Everything},
		"masked":                {permits: queriestest.Only(masked, "aurora")},
		"another statement":     {sql: "SELECT count(*), min(amount), min(customer_id) FROM cards.transactions"},
		"a file more":           {change: func(d *desk) { d.commit(t, 0, 1, 2, 3) }},
		"an older state":        {at: queries.At{Snapshots: map[string]int64{"cards.transactions": 1}}},
		"files merged into one": {same: true, change: func(d *desk) { d.merge(t, "merged", 0) }},
		"rows erased":           {change: func(d *desk) { d.merge(t, "erased", 3) }},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDesk(t, Config{})
			d.commit(t, 1)
			d.commit(t, 0, 1, 2)
			first, _, _, err := d.ask(t, base, queries.At{}, sql)
			if err != nil {
				t.Fatal(err)
			}
			if tc.change != nil {
				tc.change(d)
			}
			if tc.permits == nil {
				tc.permits = base
			}
			if tc.sql == "" {
				tc.sql = sql
			}
			rows, _, isComputed, err := d.ask(t, tc.permits, tc.at, tc.sql)
			if err != nil || (rows == first) != tc.same || !isComputed && what != "an older state" { // of which it has no file
				t.Errorf("%s after %s, computed %v, error %v", rows, first, isComputed, err)
			}
			if rows, _, isComputed, _ := d.ask(t, base, queries.At{Snapshots: map[string]int64{"cards.transactions": 2}}, sql); rows != first || isComputed {
				t.Errorf("of the state before: %s after %s, computed %v", rows, first, isComputed)
			}
		})
	}
	t.Run("dropped", func(t *testing.T) {
		d := newDesk(t, Config{})
		d.commit(t, 0)
		if _, _, _, err := d.ask(t, base, queries.At{}, sql); err != nil {
			t.Fatal(err)
		}
		if rows, _, _, err := d.ask(t, queriestest.Only(map[string]grants.Access{"amount": grants.Dropped}, "aurora"), queries.At{}, sql); err == nil {
			t.Errorf("a column that is not given is answered: %s", rows)
		}
	})
	t.Run("a tighter bound", func(t *testing.T) {
		d := newDesk(t, Config{})
		d.commit(t, 0)
		if _, _, _, err := d.ask(t, base, queries.At{}, sql); err != nil {
			t.Fatal(err)
		}
		bounded := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			made := *base(c, a, t)
			made.Limits.MaxBytes = 100
			return &made
		})
		if rows, _, _, err := d.ask(t, bounded, queries.At{}, sql); err == nil {
			t.Errorf("more is read than the grant allows: %s", rows)
		}
	})
	t.Run("another view of the name", func(t *testing.T) {
		d := newDesk(t, Config{})
		d.commit(t, 0)
		var got []string
		for _, of := range []string{"min", "max"} {
			d.views = []*queries.View{{Namespace: "views", Name: "v", SQL: "SELECT " + of + "(amount) AS amount FROM cards.transactions"}}
			rows, _, _, err := d.ask(t, base, queries.At{}, "SELECT amount FROM views.v")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, rows)
		}
		if got[0] == got[1] {
			t.Errorf("the answer of one view is given for another's: %s", got)
		}
	})
}

// merge commits one file in the place of file 0, without its last rows.
func (d *desk) merge(t *testing.T, name string, without int) {
	t.Helper()
	f, body, err := queriestest.File(0, 10-without)
	if err != nil {
		t.Fatal(err)
	}
	f.Name = name
	if err := d.Put(t.Context(), name, keys.Lake, body); err != nil {
		t.Fatal(err)
	}
	d.set(append([]cardlake.DataFile{f}, d.states[len(d.states)-1][1:]...))
}

// TestWithdrawnGrantEndsKeptAnswer: the gateway asks the grants for a kept answer as for any.
func TestWithdrawnGrantEndsKeptAnswer(t *testing.T) {
	d := newDesk(t, Config{})
	d.commit(t, 0)
	if _, _, _, err := d.ask(t, queriestest.Only(nil, "aurora"), queries.At{}, byTenant); err != nil {
		t.Fatal(err)
	}
	if rows, _, _, err := d.ask(t, queriestest.Nothing, queries.At{}, byTenant); !errors.Is(err, queries.ErrNotPermitted) {
		t.Errorf("%s, error %v", rows, err)
	}
	d.log.Fail(errors.New("disk full"))
	if rows, _, _, err := d.ask(t, queriestest.Only(nil, "aurora"), queries.At{}, byTenant); !errors.Is(err, queries.ErrUnrecorded) {
		t.Errorf("%s, error %v", rows, err)
	}
}

// TestDestroyedKeyEndsKeptAnswer: an answer is no older than what it was made of may be, the
// columns in the cache included.
func TestDestroyedKeyEndsKeptAnswer(t *testing.T) {
	d := newDesk(t, Config{CacheBytes: 1 << 30, CacheAge: time.Minute})
	now := time.Now()
	clock := func() time.Time { return now }
	d.engine.cache.now, d.engine.answers.kept.now = clock, clock
	aurora, state := queriestest.Only(nil, "aurora"), d.commit(t, 0)
	ask := func(sql string) (string, int64) {
		t.Helper()
		rows, read, _, err := d.ask(t, aurora, queries.At{}, sql)
		if err != nil {
			t.Fatal(err)
		}
		return rows, read[0].Destroyed["aurora"]
	}
	const count = "SELECT count(*) FROM cards.transactions"
	ask("SELECT max(amount) FROM cards.transactions") // decrypts what the next one finds in the cache
	d.gone[state[0].Name] = true
	now = now.Add(59 * time.Second)
	d.engine.cache.mu.Lock()
	for e := d.engine.cache.order.Front(); e != nil; e = e.Next() {
		f := e.Value.(*cached[string, *dataFile]).value
		f.opened = f.opened.Add(-time.Second)
	}
	d.engine.cache.mu.Unlock()
	if rows, _ := ask(count); rows != "10" {
		t.Fatalf("%s rows within the age", rows)
	}
	if rows, _ := ask(count); rows != "10" {
		t.Fatalf("%s rows kept", rows)
	}
	now = now.Add(time.Second)
	if rows, destroyed := ask(count); rows != "0" || destroyed != 10 {
		t.Errorf("%s rows after the age, %d destroyed", rows, destroyed)
	}
}

// TestEqualQuestionsAreComputedOnce: those that wait have the answer of the one that computes, but
// go when they are called off, and go on without it when it fails.
func TestEqualQuestionsAreComputedOnce(t *testing.T) {
	d := newDesk(t, Config{})
	d.commit(t, 0)
	aurora := queriestest.Only(nil, "aurora")
	g := queries.New(d.parser, d.engine, aurora, d.log, queries.Config{})
	ask := func(ctx context.Context) error {
		r, err := g.QueryAt(ctx, queriestest.Caller, queries.At{}, byTenant)
		if err != nil {
			return err
		}
		row := make([]any, 3)
		if err := r.Next(row); err != nil || row[1] != int64(10) {
			return fmt.Errorf("%v, %v", row, err)
		}
		return r.Close()
	}
	opening, open := make(chan struct{}), make(chan error)
	d.wait = func(ctx context.Context) error {
		opening <- struct{}{}
		select {
		case err := <-open:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	waiting := func() int { // for whoever computes, in the state that find leaves
		d.engine.answers.mu.Lock()
		defer d.engine.answers.mu.Unlock()
		return len(d.engine.answers.running)
	}
	errs := make(chan error)
	leader, callOff := context.WithCancel(t.Context())
	go func() { errs <- ask(leader) }()
	<-opening
	if waiting() != 1 {
		t.Fatal("nobody computes")
	}
	gone, cancel := context.WithCancel(t.Context())
	before := len(d.log.Records())
	go func() { errs <- ask(gone) }()
	for len(d.log.Records()) == before { // until it is on record, and goes to the engine
		runtime.Gosched()
	}
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("one who was called off waits: %v", err)
	}
	const others = 4
	for range others {
		go func() { errs <- ask(t.Context()) }()
	}
	open <- nil // the leader's
	for range others + 1 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := d.Opened.Load(); n != 1 {
		t.Errorf("%d times computed", n)
	}

	d.engine.answers.kept.clear()
	go func() { errs <- ask(leader) }()
	<-opening
	go func() { errs <- ask(t.Context()) }()
	callOff()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("the one who was called off: %v", err)
	}
	<-opening // the other's own
	open <- nil
	if err := <-errs; err != nil {
		t.Errorf("the one who waited: %v", err)
	}
}

// TestLargeAnswersAreNotKept: nor such as hold what can be changed; all of their rows come.
func TestLargeAnswersAreNotKept(t *testing.T) {
	d := newDesk(t, Config{})
	d.commit(t, 0)
	aurora := queriestest.Only(nil, "aurora")
	for sql, want := range map[string]int{
		"SELECT amount, n.range FROM cards.transactions, range(1000) n":                              10_000,
		"SELECT long FROM (SELECT lpad('x', 1000, 'y') AS long FROM cards.transactions, range(300))": 3000,
		"SELECT [amount] FROM cards.transactions":                                                    0, // as many as it says
		"SELECT {'a': amount} FROM cards.transactions":                                               0,
		"SELECT encode(merchant_name) FROM cards.transactions":                                       0,
	} {
		for range 2 {
			rows, _, isComputed, err := d.ask(t, aurora, queries.At{}, sql)
			if got := strings.Count(rows, ",") + 1; want > 0 && got != want || !isComputed || err != nil {
				t.Errorf("%s: %d rows, computed %v, error %v", sql, got, isComputed, err)
			}
		}
	}
	if n := d.engine.answers.kept.len(); n != 0 {
		t.Errorf("%d answers are kept", n)
	}
}

// TestVolatileAnswersAreNotKept: of whatever DuckDB says may have another value the next time.
func TestVolatileAnswersAreNotKept(t *testing.T) {
	d := newDesk(t, Config{})
	d.commit(t, 0)
	g := queries.New(d.parser, d.engine, queriestest.Everything, d.log, queries.Config{Views: []*queries.View{
		{Namespace: "views", Name: "of_now", SQL: "SELECT now() AS n FROM cards.transactions"},
		{Namespace: "views", Name: "above", SQL: "SELECT n FROM views.of_now"},
	}})
	isVolatile := func(sql string) bool {
		s, err := g.Check(t.Context(), sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return s.IsVolatile
	}
	for _, sql := range []string{
		"SELECT now()", "SELECT current_date", "SELECT CURRENT_TIMESTAMP", "SELECT localtime", "SELECT localtimestamp", "SELECT current_time", "SELECT today()",
		"SELECT ago(INTERVAL 1 HOUR)", // a macro over current_timestamp, of which DuckDB names no stability
		"SELECT random()", "SELECT uuid()", "SELECT age(event_time) FROM cards.transactions",
		"SELECT count(*) FROM cards.transactions WHERE event_time < now()", "SELECT 1 FROM cards.transactions ORDER BY random()",
		"SELECT tenant FROM cards.transactions USING SAMPLE 3 ROWS", "SELECT tenant FROM cards.transactions TABLESAMPLE 10%",
		"SELECT (SELECT max(random()) FROM range(3))", "WITH a AS (SELECT now() AS n) SELECT n FROM a", "SELECT * FROM views.above",
	} {
		if !isVolatile(sql) {
			t.Errorf("not volatile: %s", sql)
		}
	}
	for _, sql := range []string{byTenant, "SELECT date_trunc('hour', event_time), md5(tenant) FROM cards.transactions"} {
		if isVolatile(sql) {
			t.Errorf("volatile: %s", sql)
		}
	}
	in, err := openInstance(t.Context(), Config{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	names, err := in.scan(t.Context(), "SELECT string_agg(DISTINCT function_name, ' ') FROM duckdb_functions() WHERE stability <> ? AND function_type IN ('scalar', 'aggregate')", "CONSISTENT")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range strings.Fields(names) {
		sql := "SELECT " + name + "()"
		if s, err := g.Check(t.Context(), sql); err == nil {
			seen++
			if !s.IsVolatile {
				t.Errorf("DuckDB says that %s() is volatile", name)
			}
		}
	}
	if seen < 5 {
		t.Errorf("DuckDB names %d volatile functions that are allowed: %s", seen, names)
	}
	const sql = "SELECT count(*), max(random()) FROM cards.transactions"
	first, _, _, err := d.ask(t, queriestest.Everything, queries.At{}, sql)
	if err != nil {
		t.Fatal(err)
	}
	if again, _, isComputed, err := d.ask(t, queriestest.Everything, queries.At{}, sql); again == first || !isComputed || err != nil {
		t.Errorf("%s after %s, error %v", again, first, err)
	}
}

// TestAnswerWithTheTailIsNotKept: only what is read in one snapshot.
func TestAnswerWithTheTailIsNotKept(t *testing.T) {
	d := newDesk(t, Config{})
	d.commit(t, 0)
	g := queries.New(d.parser, d.engine, queriestest.Everything, d.log, queries.Config{})
	for range 2 {
		before := d.Opened.Load()
		r, err := g.Query(t.Context(), queriestest.Caller, byTenant)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if d.Opened.Load() == before {
			t.Error("the newest rows are not read")
		}
		if _, _, _, err := d.ask(t, queriestest.Everything, queries.At{}, byTenant); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnswerKey: everything that an answer depends on is in its key.
func TestAnswerKey(t *testing.T) {
	make := func() (queries.Statement, *plan) {
		columns := []grants.Access{grants.Clear, grants.Masked}
		d := &grants.Decision{Action: grants.Query, Except: []cardlake.Tenant{"e"}, Scopes: []grants.Scope{
			{Tenants: []cardlake.Tenant{"a", "b"}, Columns: columns}, {Others: true, Columns: slices.Clone(columns)},
		}}
		s := queries.Statement{SQL: "SELECT 1", Reads: []queries.Read{{Table: cardlake.Transactions, Decision: d, IsPinned: true, Snapshot: 1}},
			Views: []queries.ViewUse{{View: &queries.View{Namespace: "n", Name: "v", SQL: "s"}}}}
		file := func(name string) *part { return &part{DataFile: cardlake.DataFile{Name: name, Bytes: 1}} }
		return s, &plan{parts: []*part{file("f"), file("g")}}
	}
	seen := map[answerKey]string{}
	for what, change := range map[string]func(*queries.Statement, *plan){
		"nothing":         func(*queries.Statement, *plan) {},
		"text":            func(s *queries.Statement, _ *plan) { s.SQL += " " },
		"rows":            func(s *queries.Statement, _ *plan) { s.Limits.MaxRows = 1 },
		"bytes":           func(s *queries.Statement, _ *plan) { s.Limits.MaxBytes = 1 },
		"time":            func(s *queries.Statement, _ *plan) { s.Limits.Timeout = 1 },
		"memory":          func(s *queries.Statement, _ *plan) { s.Limits.Memory = 1 },
		"no view":         func(s *queries.Statement, _ *plan) { s.Views = nil },
		"view's name":     func(s *queries.Statement, _ *plan) { s.Views[0].Name = "w" },
		"view's text":     func(s *queries.Statement, _ *plan) { s.Views[0].SQL = "t" },
		"table":           func(s *queries.Statement, _ *plan) { s.Reads[0].Table = cardlake.Rejected },
		"under a view":    func(s *queries.Statement, _ *plan) { s.Reads[0].IsUnder = true },
		"another read":    func(s *queries.Statement, _ *plan) { s.Reads = append(s.Reads, s.Reads[0]) },
		"action":          func(s *queries.Statement, _ *plan) { s.Reads[0].Decision.Action = grants.Export },
		"a scope less":    func(s *queries.Statement, _ *plan) { s.Reads[0].Decision.Scopes = s.Reads[0].Decision.Scopes[:1] },
		"order of scopes": func(s *queries.Statement, _ *plan) { slices.Reverse(s.Reads[0].Decision.Scopes) },
		"a tenant less":   func(s *queries.Statement, _ *plan) { s.Reads[0].Decision.Scopes[0].Tenants = []cardlake.Tenant{"a"} },
		"tenants":         func(s *queries.Statement, _ *plan) { s.Reads[0].Decision.Scopes[0].Tenants[1] = "c" },
		"tenants' bounds": func(s *queries.Statement, _ *plan) {
			s.Reads[0].Decision.Scopes[0].Tenants = []cardlake.Tenant{"ab", ""}
		},
		"others": func(s *queries.Statement, _ *plan) { s.Reads[0].Decision.Scopes[1].Others = false },
		"access": func(s *queries.Statement, _ *plan) { s.Reads[0].Decision.Scopes[1].Columns[1] = grants.Clear },
		"a column": func(s *queries.Statement, _ *plan) {
			s.Reads[0].Decision.Scopes[0].Columns = []grants.Access{grants.Clear}
		},
		"except":           func(s *queries.Statement, _ *plan) { s.Reads[0].Decision.Except[0] = "x" },
		"nobody excepted":  func(s *queries.Statement, _ *plan) { s.Reads[0].Decision.Except = nil },
		"file":             func(_ *queries.Statement, p *plan) { p.parts[1].Name = "h" },
		"file's size":      func(_ *queries.Statement, p *plan) { p.parts[1].Bytes = 2 },
		"file's scope":     func(_ *queries.Statement, p *plan) { p.parts[1].scope = 1 },
		"file's table":     func(_ *queries.Statement, p *plan) { p.parts[1].source = 1 },
		"a file less":      func(_ *queries.Statement, p *plan) { p.parts = p.parts[:1] },
		"names of files":   func(_ *queries.Statement, p *plan) { p.parts[0].Name, p.parts[1].Name = "fg", "" },
		"policies (equal)": func(s *queries.Statement, _ *plan) { s.Reads[0].Decision.Version = "2" },
		"snapshot (equal)": func(s *queries.Statement, _ *plan) { s.Reads[0].Snapshot = 2 },
	} {
		s, p := make()
		change(&s, p)
		key, ok := keyOf(s, p)
		if !ok {
			t.Errorf("%s: no key", what)
		}
		if strings.Contains(what, "(equal)") {
			what = "nothing"
		}
		if other, is := seen[key]; is && other != what {
			t.Errorf("%s makes no other question of it than %s", what, other)
		}
		seen[key] = what
	}
	if n := len(slices.Collect(maps.Keys(seen))); n != 29 {
		t.Errorf("%d keys", n)
	}
	for what, change := range map[string]func(*queries.Statement){
		"volatile": func(s *queries.Statement) { s.IsVolatile = true },
		"the tail": func(s *queries.Statement) { s.Reads[0].IsPinned = false },
		"no table": func(s *queries.Statement) { s.Reads = nil },
	} {
		s, p := make()
		change(&s)
		if _, ok := keyOf(s, p); ok {
			t.Errorf("%s has a key", what)
		}
	}
}

// TestKeptAnswersAreTheSame: over the corpus, one by one and in batches, with their types.
func TestKeptAnswersAreTheSame(t *testing.T) {
	text, err := os.ReadFile("testdata/allowed.sql")
	if err != nil {
		t.Fatal(err)
	}
	with := newDesk(t, Config{})
	without := New(with, with, Config{})
	with.commit(t, 0, 1, 2, 3, 4, 5)
	kept := 0
	for sql := range strings.Lines(string(text)) {
		if sql = strings.TrimSpace(sql); sql == "" || strings.HasPrefix(sql, "-- ") {
			continue
		}
		ask := func(e *Engine, inBatches bool) string {
			g := queries.New(with.parser, e, queriestest.Everything, with.log, queries.Config{})
			r, err := g.QueryAt(t.Context(), queriestest.Caller, queries.At{}, sql)
			if err != nil {
				return err.Error()
			}
			defer r.Close()
			out := []string{fmt.Sprint(queries.SchemaOf(r.Columns()), r.Snapshots())}
			if inBatches {
				for b, err := r.NextBatch(); err == nil; b, err = r.NextBatch() {
					out = append(out, fmt.Sprint(b.NumRows(), b.Columns()))
				}
				return strings.Join(out, "\n")
			}
			row := make([]any, len(r.Columns()))
			for r.Next(row) == nil {
				out = append(out, fmt.Sprintf("%#v", row))
			}
			return strings.Join(out, "\n")
		}
		for _, inBatches := range []bool{false, true} {
			want := ask(without, inBatches)
			for range 2 {
				before := with.engine.answers.kept.len()
				got := ask(with.engine, inBatches)
				isVolatile := before == with.engine.answers.kept.len() && strings.Contains(sql, "now()")
				if got != want && !isVolatile {
					t.Errorf("%s (-computed +kept):\n%s", sql, cmp.Diff(want, got))
				}
			}
		}
		kept = with.engine.answers.kept.len()
	}
	if kept < 20 {
		t.Errorf("%d answers were kept", kept)
	}
}
