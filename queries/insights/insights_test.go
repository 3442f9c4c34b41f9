package insights_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/writers/writerstest"
)

const acme, zeta = cardlake.Tenant("acme"), cardlake.Tenant("zeta")

// counter is a job that counts what customers spent: a row of insights.predictions each.
type counter struct {
	// before is called before the rows are written.
	before func(*insights.Task) error
	wrong  []any // appended instead of a row, if not nil
}

func (counter) Name() string              { return "count" }
func (counter) Version() string           { return "1" }
func (counter) Tables() []*cardlake.Table { return []*cardlake.Table{cardlake.Predictions} }
func (counter) ReadsLabels() bool         { return false }
func (counter) Parameters() []insights.Parameter {
	return []insights.Parameter{{Name: "least", Default: "1", Doc: "purchases", Check: func(v string) error {
		if v == "" || strings.Trim(v, "0123456789") != "" {
			return errors.New("is not a number")
		}
		return nil
	}}}
}

func (c counter) Run(ctx context.Context, t *insights.Task) error {
	if c.before != nil {
		if err := c.before(t); err != nil {
			return err
		}
	}
	t.Card.Method = "counting"
	if c.wrong != nil {
		return t.Append(ctx, cardlake.Predictions, c.wrong...)
	}
	return t.Each(ctx, `SELECT customer_id, count(*) FROM cards.transactions WHERE customer_id IS NOT NULL GROUP BY 1 HAVING count(*) >= `+t.Values["least"]+` ORDER BY 1`, func(row []any) error {
		return t.Append(ctx, cardlake.Predictions, row[0], row[1], 0.0, 1.5, .5, 1.0, 2.0, 3.0, nil, nil, nil, nil, nil, nil, nil)
	})
}

// transactions makes n of a tenant, the same for the same arguments.
func transactions(tenant cardlake.Tenant, seed uint64, n int) []*cardlake.Transaction {
	g := writerstest.New(seed)
	txs := g.Take(n)
	for i, tx := range txs {
		tx.Tenant = tenant
		tx.CustomerID = fmt.Sprintf("c%d", i%7)
	}
	return txs
}

const rowsOf = `SELECT p.run_id, p.customer_id, p.frequency FROM insights.predictions AS p JOIN insights.runs AS r ON p.run_id = r.run_id ORDER BY 1, 2`

func TestRun(t *testing.T) {
	l := insightstest.New(t, acme, zeta)
	l.Add(append(transactions(acme, 1, 50), transactions(zeta, 2, 20)...)...)
	out, err := l.Run(counter{}, acme, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out.State != insights.Published || out.Rows["insights.predictions"] != 7 {
		t.Fatalf("%+v", out)
	}
	before := l.Ask(acme, rowsOf)
	if len(before) != 7 || before[0][0] != out.RunID || before[0][2] != int64(8) {
		t.Fatalf("rows %v", before)
	}
	if got := l.Ask(zeta, `SELECT count(*) FROM insights.predictions`); got[0][0] != int64(0) {
		t.Errorf("another tenant sees %v rows", got)
	}

	again, err := l.Run(counter{}, acme, nil)
	if err != nil || again.State != insights.Unchanged || again.RunID != out.RunID {
		t.Errorf("the same run again: %+v, %v", again, err)
	}
	check := insights.Request{Tenant: acme, Check: true}
	if checked, err := l.Runner().Run(t.Context(), counter{}, check); err != nil || checked.State != insights.Checked {
		t.Errorf("checked: %+v, %v", checked, err)
	}
	differs := counter{before: func(task *insights.Task) error { task.Values["least"] = "8"; return nil }}
	if _, err := l.Runner().Run(t.Context(), differs, check); err == nil || !strings.Contains(err.Error(), "other rows") {
		t.Errorf("checked with another result: %v", err)
	}

	// Rows of another tenant change nothing, rows of this one make a new run that takes the
	// place of the old one's files of the day.
	l.Add(transactions(zeta, 3, 30)...)
	other, err := l.Run(counter{}, acme, map[string]string{"least": "8"})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Ask(acme, `SELECT count(*) FROM insights.predictions`); got[0][0] != other.Rows["insights.predictions"] || other.RunID == out.RunID {
		t.Errorf("%v rows after a second run of the day, which has %v", got, other.Rows)
	}
	if got := l.Ask(acme, `SELECT sequence, rows_read FROM insights.runs ORDER BY sequence`); len(got) != 2 || got[1][1] != int64(50) {
		t.Errorf("runs %v", got)
	}
}

func TestRunAtSnapshot(t *testing.T) {
	l := insightstest.New(t, acme)
	l.Add(transactions(acme, 1, 20)...)
	table, err := l.Catalog.Table(t.Context(), cardlake.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	then, err := table.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, err := l.Run(counter{}, acme, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Add(transactions(acme, 2, 20)...)
	out, err := l.Runner().Run(t.Context(), counter{}, insights.Request{Tenant: acme, Snapshot: then.ID})
	if err != nil || out.RunID != first.RunID || out.State != insights.Unchanged {
		t.Errorf("at the snapshot of before: %+v, %v", out, err)
	}
	out, err = l.Run(counter{}, acme, nil)
	if err != nil || out.Card.Window.Rows != 40 || out.Card.Previous != first.RunID {
		t.Errorf("at the newest: %+v, %v", out.Card.Window, err)
	}
	// What is older does not take the place of what is newer.
	table, err = l.Catalog.Table(t.Context(), cardlake.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	now, err := table.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := transactions(acme, 9, 5)
	for _, tx := range late {
		tx.EventTime += 48 * time.Hour.Microseconds()
		tx.IngestedAt = tx.EventTime
	}
	l.Add(late...)
	if _, err := l.Run(counter{}, acme, nil); err != nil {
		t.Fatal(err)
	}
	older := insights.Request{Tenant: acme, Snapshot: now.ID, Values: map[string]string{"least": "2"}}
	if out, err := l.Runner().Run(t.Context(), counter{}, older); err == nil || !strings.Contains(err.Error(), "newer data") {
		t.Errorf("older data after newer: %+v, %v", out, err)
	}
}

func TestRefusals(t *testing.T) {
	l := insightstest.New(t, acme, zeta)
	l.Add(transactions(acme, 1, 20)...)
	failed := errors.New("no")
	for name, c := range map[string]struct {
		run  func() (insights.Outcome, error)
		want string
	}{
		"unknown parameter": {func() (insights.Outcome, error) { return l.Run(counter{}, acme, map[string]string{"most": "1"}) }, `parameter "most"`},
		"bad parameter":     {func() (insights.Outcome, error) { return l.Run(counter{}, acme, map[string]string{"least": "x"}) }, "parameter least: is not a number"},
		"no rows":           {func() (insights.Outcome, error) { return l.Run(counter{}, zeta, nil) }, "too little data"},
		"not a number": {func() (insights.Outcome, error) {
			return l.Run(counter{wrong: []any{"c", int64(1), math.NaN(), 0.0, 0.0, 0.0, 0.0, 0.0, nil, nil, nil, nil, nil, nil, nil}}, acme, nil)
		}, "column recency_days is not a number"},
		"missing": {func() (insights.Outcome, error) {
			return l.Run(counter{wrong: []any{"", int64(1), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, nil, nil, nil, nil, nil, nil, nil}}, acme, nil)
		}, "column customer_id is missing"},
		"too few values": {func() (insights.Outcome, error) { return l.Run(counter{wrong: []any{"c"}}, acme, nil) }, "1 values for 15 columns"},
		"the job fails": {func() (insights.Outcome, error) {
			return l.Run(counter{before: func(*insights.Task) error { return failed }}, acme, nil)
		}, "job count for tenant acme: no"},
		"unknown tenant": {func() (insights.Outcome, error) { return l.Run(counter{}, "nobody", nil) }, "not permitted"},
		"not one who runs jobs": {func() (insights.Outcome, error) {
			r := insights.New(l.Deps(), grants.Caller{Principal: grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@acme"}})
			return r.Run(t.Context(), counter{}, insights.Request{Tenant: acme})
		}, "not permitted"},
		"nothing to compare with": {func() (insights.Outcome, error) {
			return l.Runner().Run(t.Context(), counter{}, insights.Request{Tenant: acme, Check: true})
		}, "no published run"},
	} {
		if _, err := c.run(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if got := l.Ask(acme, `SELECT count(*) FROM insights.predictions`); got[0][0] != int64(0) {
		t.Errorf("runs that failed left %v rows", got)
	}
	for info, err := range l.Store.List(t.Context(), "data/predictions/") {
		t.Errorf("runs that failed left %s (%v)", info.Name, err)
	}
	l.Log.Fail(errors.New("disk full"))
	if _, err := l.Run(counter{}, acme, nil); err == nil {
		t.Error("a run that is not on record was published")
	}
}

// broken fails at one of its calls.
type broken struct {
	insights.Table
	calls *int
	at    int
}

var errBroken = errors.New("broken")

func (b broken) Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error) {
	if *b.calls++; *b.calls == b.at {
		return catalog.Snapshot{}, errBroken
	}
	return b.Table.Append(ctx, a)
}

func (b broken) Replace(ctx context.Context, r catalog.Replace) (catalog.Snapshot, error) {
	if *b.calls++; *b.calls == b.at {
		return catalog.Snapshot{}, errBroken
	}
	return b.Table.Replace(ctx, r)
}

// TestStoppedAnywhere stops a run before each of its commits. Readers see the old run or the
// new one, whole, and the next attempt makes good.
func TestStoppedAnywhere(t *testing.T) {
	for at := 1; ; at++ {
		l := insightstest.New(t, acme)
		l.Add(transactions(acme, 1, 30)...)
		if _, err := l.Run(counter{}, acme, nil); err != nil {
			t.Fatal(err)
		}
		old := l.Ask(acme, rowsOf)
		l.Add(transactions(acme, 2, 30)...)
		deps, calls := l.Deps(), 0
		deps.Table = func(ctx context.Context, def *cardlake.Table) (insights.Table, error) {
			table, err := l.Table(ctx, def)
			return broken{table, &calls, at}, err
		}
		r := insights.New(deps, grants.Caller{Principal: insightstest.Principal})
		out, err := r.Run(t.Context(), counter{}, insights.Request{Tenant: acme})
		isWhole := err == nil
		if isWhole != (out.State == insights.Published) || err != nil && !errors.Is(err, errBroken) {
			t.Fatalf("stopped at commit %d: %+v, %v", at, out, err)
		}
		got := l.Ask(acme, rowsOf)
		if !isWhole && fmt.Sprint(got) != fmt.Sprint(old) {
			t.Errorf("stopped at commit %d: rows %v, want those of before, %v", at, got, old)
		}
		again, err := l.Run(counter{}, acme, nil)
		if err != nil {
			t.Fatalf("after a stop at commit %d: %v", at, err)
		}
		got = l.Ask(acme, `SELECT customer_id FROM insights.predictions WHERE run_id = '`+again.RunID+`' ORDER BY 1`)
		if len(got) != 7 {
			t.Errorf("after a stop at commit %d: %d rows of the run, want 7", at, len(got))
		}
		if calls < at {
			if out.Left != nil || at < 6 {
				t.Errorf("%d commits, %v left", calls, out.Left)
			}
			return
		}
	}
}

// TestTwoRunsAtOnce lets a run be overtaken by another between its claim and its commit: one of
// them is published, whole.
func TestTwoRunsAtOnce(t *testing.T) {
	for at := 1; at <= 4; at++ {
		l := insightstest.New(t, acme)
		l.Add(transactions(acme, 1, 30)...)
		deps, calls := l.Deps(), 0
		var other insights.Outcome
		deps.Table = func(ctx context.Context, def *cardlake.Table) (insights.Table, error) {
			table, err := l.Table(ctx, def)
			return overtaken{table, func() {
				if calls++; calls == at {
					var err error
					if other, err = l.Run(counter{}, acme, map[string]string{"least": "5"}); err != nil {
						t.Errorf("the second run: %v", err)
					}
				}
			}}, err
		}
		r := insights.New(deps, grants.Caller{Principal: insightstest.Principal})
		_, err := r.Run(t.Context(), counter{}, insights.Request{Tenant: acme})
		if !errors.Is(err, catalog.ErrConflict) {
			t.Errorf("overtaken at commit %d: %v", at, err)
		}
		rows := l.Ask(acme, rowsOf)
		if len(rows) == 0 || slices.ContainsFunc(rows, func(row []any) bool { return row[0] != other.RunID }) {
			t.Errorf("overtaken at commit %d: rows %v", at, rows)
		}
	}
}

// TestSameRunOvertakes lets a run find, when it is about to be published, that the same run has
// been published since it began, or one of newer rows: what readers have stays.
func TestSameRunOvertakes(t *testing.T) {
	for name, meanwhile := range map[string]func(*insightstest.Lake){
		"same":       func(*insightstest.Lake) {},
		"newer rows": func(l *insightstest.Lake) { l.Add(transactions(acme, 2, 30)...) },
	} {
		t.Run(name, func(t *testing.T) {
			l := insightstest.New(t, acme)
			l.Add(transactions(acme, 1, 30)...)
			var other insights.Outcome
			deps, calls := l.Deps(), 0
			deps.Table = func(ctx context.Context, def *cardlake.Table) (insights.Table, error) {
				table, err := l.Table(ctx, def)
				return broken{table, &calls, 4}, err // after the claims, and the removal of what a killed run left
			}
			slow := counter{before: func(*insights.Task) (err error) {
				meanwhile(l)
				other, err = l.Run(counter{}, acme, nil)
				return err
			}}
			out, err := insights.New(deps, grants.Caller{Principal: insightstest.Principal}).Run(t.Context(), slow, insights.Request{Tenant: acme})
			if name == "same" && (err != nil || out.State != insights.Unchanged || out.RunID != other.RunID) {
				t.Errorf("the same run: %+v, %v", out, err)
			}
			if name != "same" && !errors.Is(err, catalog.ErrConflict) {
				t.Errorf("a run of older rows: %+v, %v", out, err)
			}
			if got := l.Ask(acme, rowsOf); len(got) != 7 || got[0][0] != other.RunID {
				t.Errorf("rows %v, want those of the run that was published", got)
			}
			if got := l.Ask(acme, `SELECT run_id FROM insights.runs`); len(got) != 1 {
				t.Errorf("%d runs are published, want 1", len(got))
			}
		})
	}
}

// TestTakenPlaceAgain asks for a run again whose place another has taken: it is made again, once.
func TestTakenPlaceAgain(t *testing.T) {
	l := insightstest.New(t, acme)
	l.Add(transactions(acme, 1, 30)...)
	ids := map[string]bool{}
	for i, c := range []struct {
		least string
		state insights.State
	}{
		{"1", insights.Published}, {"5", insights.Published}, {"1", insights.Published}, {"1", insights.Unchanged},
		{"5", insights.Published}, {"5", insights.Unchanged}, {"1", insights.Published},
	} {
		out, err := l.Run(counter{}, acme, map[string]string{"least": c.least})
		if err != nil || out.State != c.state {
			t.Fatalf("%d: %+v, %v", i, out, err)
		}
		if isNew := !ids[out.RunID]; isNew != (c.state == insights.Published) {
			t.Errorf("%d: new id %t", i, isNew)
		}
		ids[out.RunID] = true
		if got := l.Ask(acme, `SELECT run_id FROM views.insight_runs`); len(got) != 1 || got[0][0] != out.RunID {
			t.Errorf("%d: readers have %v", i, got)
		}
		if got := l.Ask(acme, `SELECT DISTINCT run_id FROM insights.predictions`); len(got) != 1 || got[0][0] != out.RunID {
			t.Errorf("%d: rows of %v", i, got)
		}
	}
	again := insights.Request{Tenant: acme, Values: map[string]string{"least": "1"}, Check: true}
	if out, err := l.Runner().Run(t.Context(), counter{}, again); err != nil || out.State != insights.Checked {
		t.Errorf("checked: %+v, %v", out, err)
	}
}

// TestKilledRunOfAnotherDay leaves a run's files without its row, as a kill does, and lets a run
// be published that covers another day: the files go.
func TestKilledRunOfAnotherDay(t *testing.T) {
	l := insightstest.New(t, acme)
	l.Add(transactions(acme, 1, 30)...)
	first, err := l.Run(counter{}, acme, nil)
	if err != nil {
		t.Fatal(err)
	}
	deps, calls := l.Deps(), 0
	deps.Table = func(ctx context.Context, def *cardlake.Table) (insights.Table, error) {
		table, err := l.Table(ctx, def)
		return killed{broken{table, &calls, 4}}, err // before the row of insights.runs
	}
	killed := insights.Request{Tenant: acme, Values: map[string]string{"least": "5"}}
	if _, err := insights.New(deps, grants.Caller{Principal: insightstest.Principal}).Run(t.Context(), counter{}, killed); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if got := l.Ask(acme, `SELECT DISTINCT run_id FROM insights.predictions`); len(got) != 2 {
		t.Fatalf("rows of %v", got)
	}
	later := transactions(acme, 2, 30)
	for _, tx := range later {
		tx.EventTime += 48 * time.Hour.Microseconds()
	}
	l.Add(later...)
	second, err := l.Run(counter{}, acme, nil)
	if err != nil || second.Left != nil {
		t.Fatal(err, second.Left)
	}
	got := l.Ask(acme, `SELECT DISTINCT run_id FROM insights.predictions ORDER BY as_of`)
	want := l.Ask(acme, `SELECT run_id FROM insights.runs ORDER BY sequence`)
	if len(want) != 2 || want[0][0] != first.RunID || want[1][0] != second.RunID || len(got) != 2 || fmt.Sprint(sorted(got)) != fmt.Sprint(sorted(want)) {
		t.Errorf("rows of %v, want of %v", got, want)
	}
}

func sorted(rows [][]any) (out []string) {
	for _, row := range rows {
		out = append(out, row[0].(string))
	}
	slices.Sort(out)
	return out
}

// killed is a broken table that tells after its last call what a process tells that is killed
// there: nothing, so that no file is taken back.
type killed struct{ broken }

func (k killed) Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error) {
	s, err := k.broken.Append(ctx, a)
	if errors.Is(err, errBroken) {
		err = fmt.Errorf("%w: %w", catalog.ErrUnknown, err)
	}
	return s, err
}

// TestUnknownOutcome has a run not learn what became of one of its appends, which happened or did
// not. Readers see a run whole whatever it was, and the next attempt makes good.
func TestUnknownOutcome(t *testing.T) {
	l := insightstest.New(t, acme)
	l.Add(transactions(acme, 1, 30)...)
	if _, err := l.Run(counter{}, acme, nil); err != nil {
		t.Fatal(err)
	}
	whole := func(what, runID string) {
		t.Helper()
		got := l.Ask(acme, `SELECT count(*), count(DISTINCT p.run_id), count(DISTINCT customer_id), max(p.run_id)
			FROM insights.predictions AS p JOIN views.insight_runs AS r ON p.run_id = r.run_id`)
		if fmt.Sprint(got[0][:3]) != "[7 1 7]" || runID != "" && got[0][3] != runID {
			t.Errorf("%s: readers have %v", what, got[0])
		}
		if got := l.Ask(acme, `SELECT run_id FROM insights.runs GROUP BY run_id HAVING count(*) > 1`); len(got) > 0 {
			t.Errorf("%s: published twice: %v", what, got)
		}
	}
	for at := 1; at <= 4; at++ {
		for _, isDone := range []bool{false, true} {
			what := fmt.Sprintf("append %d, done %t", at, isDone)
			l.Add(transactions(acme, uint64(2*at+1), 10)...)
			deps, calls := l.Deps(), 0
			deps.Table = func(ctx context.Context, def *cardlake.Table) (insights.Table, error) {
				table, err := l.Table(ctx, def)
				return vague{table, &calls, at, isDone}, err
			}
			_, err := insights.New(deps, grants.Caller{Principal: insightstest.Principal}).Run(t.Context(), counter{}, insights.Request{Tenant: acme})
			if !errors.Is(err, catalog.ErrUnknown) {
				t.Fatalf("%s: %v", what, err)
			}
			whole(what, "")
			out, err := l.Run(counter{}, acme, nil)
			if err != nil || (out.State == insights.Unchanged) != (at == 4 && isDone) {
				t.Fatalf("%s: again: %+v, %v", what, out.State, err)
			}
			whole(what+", again", out.RunID)
		}
	}
}

// vague does not tell what became of one of its appends.
type vague struct {
	insights.Table
	calls  *int
	at     int
	isDone bool
}

func (v vague) Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error) {
	if *v.calls++; *v.calls != v.at {
		return v.Table.Append(ctx, a)
	}
	if v.isDone {
		if s, err := v.Table.Append(ctx, a); err != nil {
			return s, err
		}
	}
	return catalog.Snapshot{}, catalog.ErrUnknown
}

type overtaken struct {
	insights.Table
	before func()
}

func (o overtaken) Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error) {
	o.before()
	return o.Table.Append(ctx, a)
}

func TestCheckpoints(t *testing.T) {
	l := insightstest.New(t, acme, zeta)
	l.Add(append(transactions(acme, 1, 10), transactions(zeta, 2, 10)...)...)
	job := counter{before: func(task *insights.Task) error {
		ctx := t.Context()
		have, err := task.Load(ctx, "day-1")
		if err != nil || have != nil {
			return fmt.Errorf("before it was saved: %q, %w", have, err)
		}
		for _, body := range []string{"one", "two"} {
			if err := task.Save(ctx, "day-1", []byte(body)); err != nil {
				return err
			}
		}
		if have, err = task.Load(ctx, "day-1"); string(have) != "two" || err != nil {
			return fmt.Errorf("saved: %q, %w", have, err)
		}
		if saved, err := task.Saved(ctx); !slices.Equal(saved, []string{"day-1"}) || err != nil {
			return fmt.Errorf("saved: %v, %w", saved, err)
		}
		return nil
	}}
	for _, tenant := range []cardlake.Tenant{acme, zeta} {
		if _, err := l.Run(job, tenant, nil); err != nil {
			t.Error(err)
		}
	}
	n := 0
	for info := range l.Store.List(t.Context(), "insights/") {
		if n++; !strings.Contains(info.Name, "/count/day-1/") {
			t.Error(info.Name)
		}
	}
	if n != 2 {
		t.Errorf("%d checkpoints", n)
	}
}

func TestStatementTexts(t *testing.T) {
	if got := insights.Text(`a'b`); got != `'a''b'` {
		t.Error(got)
	}
	at := time.Date(2026, 3, 1, 2, 3, 4, 5000, time.FixedZone("", 3600))
	if got := insights.Time(at); got != "TIMESTAMPTZ '2026-03-01 01:03:04.000005+00:00'" {
		t.Error(got)
	}
}
