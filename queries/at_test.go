package queries_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// TestQueryAtIsNarrow: whatever the caller may read, the engine is given one tenant and a snapshot.
func TestQueryAtIsNarrow(t *testing.T) {
	masked := map[string]grants.Access{"amount": grants.Masked}
	for name, permits := range map[string]queriestest.Permits{
		"everything": queriestest.Everything,
		"some":       queriestest.Only(masked, "aurora", "bolivar"),
	} {
		var log queriestest.Log
		e := &engine{snapshots: []queries.Snapshot{{Table: cardlake.Transactions, ID: 5}}}
		g := queries.New(selects{}, e, permits, &log, queries.Config{})
		for at, want := range map[int64]queries.At{
			5: {Tenant: "bolivar", Snapshots: map[string]int64{"cards.transactions": 5}},
			0: {Tenant: "bolivar", Snapshots: map[string]int64{"cards.transactions": 0}},
			7: {Tenant: "bolivar", Snapshots: map[string]int64{"cards.control_totals": 3}}, // the newest
		} {
			r, err := g.QueryAt(t.Context(), queriestest.Caller, want, transactions)
			if err != nil {
				t.Fatal(err)
			}
			read := e.asked[len(e.asked)-1].Reads[0]
			if !read.IsPinned || read.Snapshot != at {
				t.Errorf("%s: read at %d, want %d", name, read.Snapshot, at)
			}
			whole := permits(queriestest.Caller, grants.Query, cardlake.Transactions)
			scopes := []grants.Scope{{Tenants: []cardlake.Tenant{"bolivar"}, Columns: whole.Scope("bolivar").Columns}}
			if diff := cmp.Diff(scopes, read.Decision.Scopes); diff != "" {
				t.Errorf("%s: scopes (-want +got):\n%s", name, diff)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range log.Records() {
			if r.Action != "query" {
				continue
			}
			if r.Detail["tenants"] != "bolivar" || !strings.HasPrefix(r.Detail["at"], "cards.transactions@") {
				t.Errorf("%s: recorded %+v", name, r.Detail)
			}
		}
	}
}

// TestQueryAtRefuses: what cannot be read in a state, and what has none of the tenant's rows.
func TestQueryAtRefuses(t *testing.T) {
	var log queriestest.Log
	e := &engine{}
	g := queries.New(selects{}, e, queriestest.Only(nil, "aurora"), &log, queries.Config{})
	for _, tc := range []struct {
		at    queries.At
		sql   string
		fault string // of the statement; "" for ErrNotPermitted
	}{
		{queries.At{Tenant: "bolivar"}, transactions, ""},
		{queries.At{Tenant: "aurora"}, "reason cards.transactions_rejected", ""},
		{queries.At{Snapshots: map[string]int64{"cards.transactions": -1}}, transactions, "has no snapshot -1"},
		{queries.At{Snapshots: map[string]int64{"cards.Transactions": 1}}, transactions, "which is no table"},
	} {
		_, err := g.QueryAt(t.Context(), queriestest.Caller, tc.at, tc.sql)
		var fault *queries.Error
		if tc.fault == "" && !errors.Is(err, queries.ErrNotPermitted) || tc.fault != "" && (!errors.As(err, &fault) || !strings.Contains(fault.Message, tc.fault)) {
			t.Errorf("%+v: %v", tc.at, err)
		}
		if records := log.Records(); records[len(records)-1].Outcome != audit.Refused {
			t.Errorf("%+v: recorded %+v", tc.at, records[len(records)-1])
		}
	}
	if len(e.asked) > 0 {
		t.Errorf("the engine was asked %d times", len(e.asked))
	}
}

// TestQueryAtClear: whoever computes with values is not given masks for them, in silence.
func TestQueryAtClear(t *testing.T) {
	for masked, isRefused := range map[string]bool{"amount": true, "customer_id": false} {
		for _, at := range []queries.At{{Tenant: "aurora", Clear: true}, {Clear: true}, {Tenant: "aurora"}} {
			var log queriestest.Log
			e := &engine{snapshots: []queries.Snapshot{{Table: cardlake.Transactions, ID: 5}}}
			permits := queriestest.Only(map[string]grants.Access{masked: grants.Masked}, "aurora")
			g := queries.New(selects{}, e, permits, &log, queries.Config{})
			r, err := g.QueryAt(t.Context(), queriestest.Caller, at, "amount cards.transactions")
			if want := isRefused && at.Clear; errors.Is(err, queries.ErrNotPermitted) != want || want != (len(e.asked) == 0) {
				t.Errorf("%s masked, %+v: %v", masked, at, err)
			} else if want && !strings.Contains(err.Error(), "column amount of cards.transactions") {
				t.Errorf("%s masked: %v", masked, err)
			}
			if err == nil {
				r.Close()
			}
		}
	}
}

// TestQueryAtEndsWithTheGrant: of the one tenant, and not with that of another.
func TestQueryAtEndsWithTheGrant(t *testing.T) {
	for gone, wantEnd := range map[cardlake.Tenant]bool{"aurora": true, "bolivar": false} {
		synctest.Test(t, func(t *testing.T) {
			var withdrawn atomic.Bool
			permits := queriestest.Permits(func(c grants.Caller, a grants.Action, table *cardlake.Table) *grants.Decision {
				d := queriestest.Everything(c, a, table)
				if withdrawn.Load() {
					d.Except = []cardlake.Tenant{gone}
				}
				return d
			})
			g := queries.New(selects{}, &engine{rows: 100, every: 100 * time.Millisecond}, permits, &queriestest.Log{}, queries.Config{})
			r, err := g.QueryAt(t.Context(), queriestest.Caller, queries.At{Tenant: "aurora"}, transactions)
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(3*time.Second, func() { withdrawn.Store(true) })
			n, _, err := drain(r)
			if ended := errors.Is(err, queries.ErrNotPermitted); ended != wantEnd || ended == (n == 100) {
				t.Errorf("without %s: %d rows, %v", gone, n, err)
			}
			_ = r.Close()
		})
	}
}

func TestSnapshotOf(t *testing.T) {
	g := queries.New(selects{}, &engine{}, queriestest.Only(nil, "aurora"), &queriestest.Log{}, queries.Config{})
	s, err := g.SnapshotOf(t.Context(), queriestest.Caller, "cards.transactions")
	if err != nil || s.ID != 7 || s.Positions != nil {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := g.SnapshotOf(t.Context(), queriestest.Caller, "cards.transactions_rejected"); !errors.Is(err, queries.ErrNotPermitted) {
		t.Errorf("a table that is not permitted: %v", err)
	}
	var fault *queries.Error
	if _, err := g.SnapshotOf(t.Context(), queriestest.Caller, "cards.nothing"); !errors.As(err, &fault) {
		t.Errorf("no table: %v", err)
	}
}

// newest is a planner without history.
type newest struct{}

func (newest) Plan(context.Context, *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	return catalog.Snapshot{ID: 9}, []cardlake.DataFile{{Tenant: "aurora", Rows: 3}, {Tenant: "bolivar", Rows: 4}}, nil
}

// history has the snapshot 4, and gives another one for 5.
type history struct{ newest }

func (history) PlanAt(_ context.Context, _ *cardlake.Table, id int64) (catalog.Snapshot, []cardlake.DataFile, error) {
	if id == 4 || id == 5 {
		return catalog.Snapshot{ID: 4}, []cardlake.DataFile{{Tenant: "aurora", Rows: 1}}, nil
	}
	return catalog.Snapshot{}, nil, queries.ErrNoSnapshot
}

func TestReadPlan(t *testing.T) {
	d := queriestest.Only(nil, "aurora")(queriestest.Caller, grants.Query, cardlake.Transactions)
	for _, tc := range []struct {
		planner  queries.Planner
		pinned   bool
		snapshot int64
		rows     int64
		err      string
	}{
		{newest{}, false, 0, 3, ""},
		{newest{}, true, 0, 0, ""},
		{newest{}, true, 9, 0, "newest state only"},
		{history{}, false, 0, 3, ""},
		{history{}, true, 0, 0, ""},
		{history{}, true, 4, 1, ""},
		{history{}, true, 5, 0, "another snapshot"},
		{history{}, true, 6, 0, "cards.transactions has no snapshot 6, or not any more: snapshots expire; ask again of the newest one"},
	} {
		s, err := queries.Read{Table: cardlake.Transactions, Decision: d, IsPinned: tc.pinned, Snapshot: tc.snapshot}.State(t.Context(), tc.planner)
		if s.Rows != tc.rows || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%+v: %+v, %v", tc, s, err)
		}
	}
}

// texts is an engine of one column of text.
type texts struct{ engine }

func (e *texts) Query(ctx context.Context, s queries.Statement) (queries.Rows, error) {
	return &textRows{answer{&e.engine, e.rows}}, nil
}

type textRows struct{ answer }

func (*textRows) Columns() []queries.Column {
	return []queries.Column{{Name: "n", Type: arrow.BinaryTypes.String}}
}

func batchesOf(r *queries.Result) (sizes []int64, err error) {
	for {
		b, err := r.NextBatch()
		if err != nil {
			return sizes, err
		}
		sizes = append(sizes, b.NumRows())
		if b.Column(0).(*array.String).Value(0) != "a value" {
			return sizes, errors.New("another value")
		}
		b.Release()
	}
}

// TestBatchesOfRows: an engine that gives rows one by one gives them in batches too, as many as
// are allowed and no more.
func TestBatchesOfRows(t *testing.T) {
	for _, tc := range []struct {
		rows    int
		maxRows int64
		sizes   []int64
		err     error
	}{
		{0, 0, nil, io.EOF},
		{1, 0, []int64{1}, io.EOF},
		{4096, 4096, []int64{4096}, io.EOF},
		{5000, 5000, []int64{4096, 904}, io.EOF},
		{5000, 4999, []int64{4096, 903}, queries.ErrTooManyRows},
		{5000, 4096, []int64{4096}, queries.ErrTooManyRows},
		{3, 1, []int64{1}, queries.ErrTooManyRows},
	} {
		g := queries.New(selects{}, &texts{engine{rows: tc.rows}}, queriestest.Everything, &queriestest.Log{}, queries.Config{MaxRows: tc.maxRows})
		r, err := g.Query(t.Context(), queriestest.Caller, transactions)
		if err != nil {
			t.Fatal(err)
		}
		sizes, err := batchesOf(r)
		if diff := cmp.Diff(tc.sizes, sizes); diff != "" || !errors.Is(err, tc.err) {
			t.Errorf("%d rows, at most %d: %v, batches (-want +got):\n%s", tc.rows, tc.maxRows, err, diff)
		}
		if _, again := r.NextBatch(); !errors.Is(again, tc.err) {
			t.Errorf("after the end: %v", again)
		}
		var sum int64
		for _, n := range sizes {
			sum += n
		}
		if r.Count() != sum {
			t.Errorf("counted %d rows of %d", r.Count(), sum)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBatchesAreLookedAt: a batch is not given to whom the grant was withdrawn meanwhile, or
// when the record cannot go on.
func TestBatchesAreLookedAt(t *testing.T) {
	for name, want := range map[string]error{"grant": queries.ErrNotPermitted, "record": queries.ErrUnrecorded} {
		synctest.Test(t, func(t *testing.T) {
			var withdrawn atomic.Bool
			permits := queriestest.Permits(func(c grants.Caller, a grants.Action, table *cardlake.Table) *grants.Decision {
				if withdrawn.Load() {
					return queriestest.Nothing(c, a, table)
				}
				return queriestest.Everything(c, a, table)
			})
			var log queriestest.Log
			g := queries.New(selects{}, &texts{engine{rows: 20_000, every: time.Millisecond}}, permits, &log, queries.Config{})
			r, err := g.Query(t.Context(), queriestest.Caller, transactions)
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(5*time.Second, func() {
				if name == "grant" {
					withdrawn.Store(true)
				} else {
					log.Fail(errors.New("disk full"))
				}
			})
			sizes, err := batchesOf(r)
			if len(sizes) != 1 || !errors.Is(err, want) {
				t.Errorf("%s: batches %v, %v", name, sizes, err)
			}
			_ = r.Close()
		})
	}
}

// TestRowsOrBatches: who mixes them is told, and loses no row unseen.
func TestRowsOrBatches(t *testing.T) {
	open := func() *queries.Result {
		g := queries.New(selects{}, &texts{engine{rows: 10}}, queriestest.Everything, &queriestest.Log{}, queries.Config{})
		r, err := g.Query(t.Context(), queriestest.Caller, transactions)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close() })
		return r
	}
	r := open()
	if err := r.Next(make([]any, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.NextBatch(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a batch after a row: %v", err)
	}
	r = open()
	if _, err := r.NextBatch(); err != nil {
		t.Fatal(err)
	}
	if err := r.Next(make([]any, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a row after a batch: %v", err)
	}
}
