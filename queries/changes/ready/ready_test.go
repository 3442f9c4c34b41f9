package ready_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes/ready"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/webhook"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

var midnight = time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC) // that ends the day

// world is what processors decided and counted.
type world struct {
	t      *testing.T
	rows   []*cardlake.Transaction
	totals []*cardlake.ControlTotal
	store  *queriestest.Lake // of the events
	log    queriestest.Log
	now    time.Time
}

// decide adds decisions of a minute, and their total if it is counted.
func (w *world) decide(tenant cardlake.Tenant, minute time.Time, n int, isCounted bool) {
	c := &cardlake.ControlTotal{Region: "south", Processor: "aaaaaaaaaaaaaaaa", Tenant: tenant, Minute: minute.UnixMicro(), FirstSequence: 1}
	for _, before := range w.totals {
		if before.Tenant == tenant {
			c.FirstSequence = before.LastSequence + 1
		}
	}
	c.Amount.Currency, c.ApprovedAmount.Currency = "MXN", "MXN"
	for i := range n {
		tx := writerstest.Bare()
		at := minute.Add(time.Duration(i+1) * time.Second)
		tx.EventID = cardlake.EventID{1, byte(len(w.rows) >> 8), byte(len(w.rows))}
		tx.Tenant, tx.EventTime, tx.IngestedAt = tenant, at.UnixMicro(), at.Add(time.Second).UnixMicro()
		tx.Amount, tx.Approved = cardlake.Money{Minor: 150, Currency: "MXN"}, true
		tx.Position.Partition, tx.Position.Offset = int32(i%2), int64(len(w.rows))
		w.rows = append(w.rows, tx)
		c.Events, c.Approved = c.Events+1, c.Approved+1
		c.Amount.Minor, c.ApprovedAmount.Minor = c.Amount.Minor+150, c.ApprovedAmount.Minor+150
	}
	c.LastSequence = c.FirstSequence + c.Events - 1
	c.EmittedAt = c.Minute + 75_000_000
	c.IngestedAt = c.EmittedAt + 1_000_000
	c.Position = cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards"}, Offset: int64(10_000 + len(w.totals))}
	if isCounted {
		w.totals = append(w.totals, c)
	}
}

func (w *world) asker() queries.Session { return w.askerOf(queriestest.Everything) }

// positioned is a lake whose newest snapshot has the positions of all rows.
type positioned struct {
	*queriestest.Lake
	at cardlake.Positions
}

func (p positioned) Plan(ctx context.Context, t *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	s, files, err := p.Lake.Plan(ctx, t)
	s.Positions = p.at
	return s, files, err
}

func (w *world) askerOf(permits queriestest.Permits) queries.Session {
	w.t.Helper()
	lake := queriestest.NewLake()
	rows, totals := cardlake.NewBatch(), cardlake.NewTotalsBatch()
	for _, tx := range w.rows {
		if err := rows.Append(tx); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, c := range w.totals {
		if err := totals.Append(c); err != nil {
			w.t.Fatal(err)
		}
	}
	for def, record := range map[*cardlake.Table]interface{ Len() int }{cardlake.Transactions: rows, cardlake.ControlTotals: totals} {
		var err error
		var body []byte
		encoder := parquet.NewEncoder(def, parquet.Config{})
		if def == cardlake.Transactions {
			rec, err2 := rows.Record()
			if err2 != nil {
				w.t.Fatal(err2)
			}
			body, _, err = encoder.Encode(rec)
		} else {
			rec, err2 := totals.Record()
			if err2 != nil {
				w.t.Fatal(err2)
			}
			body, _, err = encoder.Encode(rec)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		body = slices.Clone(body)
		lake.Add(def, cardlake.DataFile{Name: def.Name + ".parquet", Rows: int64(record.Len()), Bytes: int64(len(body)), MaxTime: midnight.AddDate(1, 0, 0).UnixMicro()}, body)
	}
	parser := embedded.NewParser()
	w.t.Cleanup(func() { parser.Close() })
	return queries.New(parser, embedded.New(positioned{lake, end}, lake, embedded.Config{Threads: 1}), permits, &queriestest.Log{}, queries.Config{MaxRows: -1}).As(queriestest.Caller)
}

// end is behind all rows.
var end = cardlake.Positions{{Stream: "cards", Partition: 0}: {Next: 1000}, {Stream: "cards", Partition: 1}: {Next: 1000}}

// newWorld is a day of two tenants that is over and complete.
func newWorld(t *testing.T) *world {
	w := &world{t: t, store: queriestest.NewLake(), now: midnight.Add(20 * time.Minute)}
	for _, tenant := range []cardlake.Tenant{"aurora", "bolivar"} {
		w.decide(tenant, midnight.Add(-3*time.Hour), 4, true)
		w.decide(tenant, midnight.Add(-time.Minute), 3, true)
		w.decide(tenant, midnight.Add(9*time.Minute), 2, true)
	}
	return w
}

// sent takes events, or fails.
type sent struct {
	got []webhook.Event
	to  []string
	err error
}

func (s *sent) Send(_ context.Context, to webhook.Endpoint, e webhook.Event) error {
	if s.err != nil {
		return s.err
	}
	s.got, s.to = append(s.got, e), append(s.to, to.URL)
	return nil
}

type records []catalog.TenantRecord

func (r records) All() []catalog.TenantRecord { return r }

var tenants = records{{Name: "aurora", StorageID: "aaaaaaaaaaaaaaaa"}, {Name: "bolivar", StorageID: "bbbbbbbbbbbbbbbb"}}

func (w *world) watcher(permits queriestest.Permits, sender ready.Sender, subscribers ...ready.Subscriber) *ready.Watcher {
	w.t.Helper()
	v, err := ready.New(ready.Deps{Asker: w.asker(), Permits: permits, Store: w.store, Tenants: tenants, Sender: sender, Recorder: &w.log}, subscribers,
		ready.Config{Now: func() time.Time { return w.now }})
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) pass(v *ready.Watcher) ready.Result {
	w.t.Helper()
	r, err := v.Pass(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

var lakeWide = ready.Subscriber{Name: "lake", Principal: grants.Principal{Kind: grants.ETLJob, Name: "warehouse"}, Endpoint: webhook.Endpoint{URL: "https://w.example/"}}

func TestPartitionsThatAreComplete(t *testing.T) {
	w, s := newWorld(t), &sent{}
	v := w.watcher(queriestest.Everything, s, lakeWide)
	r := w.pass(v)
	if r.New != 2 || r.Sent != 2 || len(s.got) != 2 {
		t.Fatalf("%+v, %d events", r, len(s.got))
	}
	if got := r.ValidThrough["aurora"]; got.Before(midnight) || got.After(w.now) {
		t.Errorf("valid through %v", got)
	}
	var e ready.Event
	if err := json.Unmarshal(s.got[0].Data, &e); err != nil {
		t.Fatal(err)
	}
	want := ready.Event{
		Version: "0", ID: s.got[0].ID, DetailType: "Partition Ready", Source: "cardlake", Time: w.now, Resources: []string{},
		Detail: ready.Detail{
			Table: "cards.transactions", Tenant: "aurora", Partition: "2026-03-02", Rows: 7, Sums: map[string]string{"MXN": "10.5000"},
			ValidThrough: r.ValidThrough["aurora"], Snapshot: 1,
		},
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if records := w.log.Records(); len(records) != 2 || records[0].Action != "changes.tell" || records[0].Detail["tenant"] != "aurora" {
		t.Errorf("records %+v", records)
	}
	// Once for all passes, and for another watcher of the same lake.
	if again, other := w.pass(v), w.pass(w.watcher(queriestest.Everything, s, lakeWide)); again.New+again.Sent+other.New+other.Sent != 0 || len(s.got) != 2 {
		t.Errorf("again %+v, another %+v", again, other)
	}
	// A new subscriber is told, by the same id.
	late := lakeWide
	late.Name = "late"
	w.now = w.now.Add(time.Hour)
	if r := w.pass(w.watcher(queriestest.Everything, s, lakeWide, late)); r.Sent != 2 || s.got[2].ID != s.got[0].ID || !s.got[2].Time.Equal(s.got[0].Time) {
		t.Errorf("a new subscriber: %+v", r)
	}
	states, err := v.Events(t.Context(), "aurora")
	if err != nil || len(states) != 1 || !slices.Equal(states[0].Sent, []string{"lake", "late"}) || states[0].ID != e.ID {
		t.Errorf("states %+v, %v", states, err)
	}
	if err := v.SendAgain(t.Context(), "aurora", "2026-03-02", "lake"); err != nil || len(s.got) != 5 || s.got[4].ID != e.ID {
		t.Errorf("again: %v, %d events", err, len(s.got))
	}
	for _, bad := range [][2]string{{"2026-03-01", "lake"}, {"2026-03-02", "nobody"}, {"../x", "lake"}} {
		if err := v.SendAgain(t.Context(), "aurora", bad[0], bad[1]); err == nil {
			t.Errorf("%v was sent again", bad)
		}
	}
}

// TestPartitionsThatAreNot: whatever may still be on its way keeps a day from being complete.
func TestPartitionsThatAreNot(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(w *world)
		want   int // complete days
	}{
		"complete":            {func(*world) {}, 2},
		"the day is not over": {func(w *world) { w.now = midnight.Add(-time.Second) }, 0},
		"a row is missing":    {func(w *world) { w.rows = w.rows[1:] }, 1},
		"a total is missing":  {func(w *world) { w.decide("aurora", midnight.Add(-5*time.Minute), 2, false) }, 1},
		"totals end before": {func(w *world) {
			w.totals = slices.DeleteFunc(w.totals, func(c *cardlake.ControlTotal) bool { return c.Minute >= midnight.UnixMicro() })
			w.rows = slices.DeleteFunc(w.rows, func(tx *cardlake.Transaction) bool { return tx.EventTime >= midnight.UnixMicro() })
		}, 0},
		"a processor is behind": {func(w *world) {
			c := *w.totals[0]
			c.Processor = "bbbbbbbbbbbbbbbb"
			c.Tenant = "cobre"
			c.FirstSequence, c.LastSequence = 1, c.Events
			w.totals = append(w.totals, &c)
		}, 0},
		"a partition lags": {func(w *world) {
			w.rows = slices.DeleteFunc(w.rows, func(tx *cardlake.Transaction) bool {
				return tx.EventTime >= midnight.UnixMicro() && tx.Position.Partition == 1
			})
			w.totals = slices.DeleteFunc(w.totals, func(c *cardlake.ControlTotal) bool { return c.Minute >= midnight.UnixMicro() })
			w.decide("cobre", midnight.Add(9*time.Minute), 1, true)
		}, 0},
		"an old minute is wrong": {func(w *world) { w.decide("aurora", midnight.AddDate(0, 0, -2), 1, false) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := newWorld(t), &sent{}
			tc.change(w)
			r := w.pass(w.watcher(queriestest.Everything, s, lakeWide))
			if r.New != tc.want || len(s.got) != tc.want {
				t.Errorf("%+v, want %d complete", r, tc.want)
			}
		})
	}
}

// TestWhoIsTold: nobody is told of a tenant whose changes it may not read, nor of amounts that
// it is not given.
func TestWhoIsTold(t *testing.T) {
	one := lakeWide
	one.Tenants = []cardlake.Tenant{"bolivar"}
	noAmounts := map[string]grants.Access{"amount": grants.Masked}
	for name, tc := range map[string]struct {
		permits queriestest.Permits
		to      ready.Subscriber
		want    string
	}{
		"everything":      {queriestest.Everything, lakeWide, "aurora MXN, bolivar MXN"},
		"a tenant of all": {queriestest.Everything, one, "bolivar MXN"},
		"a tenant":        {queriestest.Only(nil, "aurora"), lakeWide, "aurora MXN"},
		"another tenant":  {queriestest.Only(nil, "aurora"), one, ""},
		"nothing":         {queriestest.Nothing, lakeWide, ""},
		"without amounts": {queriestest.Only(noAmounts, "aurora"), lakeWide, "aurora"},
		"somebody else's grants": {func(_ grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			return queriestest.Everything(queriestest.Caller, a, t)
		}, lakeWide, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := newWorld(t), &sent{}
			w.pass(w.watcher(tc.permits, s, tc.to))
			var got []string
			for _, e := range s.got {
				var event ready.Event
				if err := json.Unmarshal(e.Data, &event); err != nil {
					t.Fatal(err)
				}
				text := string(event.Detail.Tenant)
				for currency := range event.Detail.Sums {
					text += " " + currency
				}
				got = append(got, text)
			}
			if text := strings.Join(got, ", "); text != tc.want {
				t.Errorf("told of %q, want %q", text, tc.want)
			}
		})
	}
}

// TestEventsAreNotLost: an event that is not taken, or not recorded, is sent by a later pass.
func TestEventsAreNotLost(t *testing.T) {
	w, s := newWorld(t), &sent{err: errors.New("away")}
	v := w.watcher(queriestest.Everything, s, lakeWide)
	if r, err := v.Pass(t.Context()); err == nil || r.New != 2 || r.Failed != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	s.err = nil
	w.log.Fail(errors.New("full"))
	if _, err := v.Pass(t.Context()); !errors.Is(err, queries.ErrUnrecorded) || len(s.got) != 0 {
		t.Errorf("%d events, %v", len(s.got), err)
	}
	w.log.Fail(nil)
	if r := w.pass(v); r.New != 0 || r.Sent != 2 {
		t.Errorf("%+v", r)
	}
}

// TestValidThrough: what is complete is told only of what lies behind the look.
func TestValidThrough(t *testing.T) {
	w := newWorld(t)
	w.rows = w.rows[1:] // of aurora's first minute
	v := w.watcher(queriestest.Everything, &sent{}, lakeWide)
	if got := v.ValidThrough(end); got != nil {
		t.Errorf("before any look: %v", got)
	}
	partitions, err := v.Look(t.Context())
	if err != nil || len(partitions) != 4 || partitions[0].IsComplete || !partitions[1].IsComplete || partitions[2].IsComplete {
		t.Errorf("%+v, %v", partitions, err)
	}
	got := v.ValidThrough(end)
	if !got["aurora"].Equal(midnight.Add(-3*time.Hour)) || got["bolivar"].Before(midnight) {
		t.Errorf("behind it: %v", got)
	}
	before := end.Clone()
	before[cardlake.StreamPartition{Stream: "cards", Partition: 1}] = cardlake.Offset{Next: 999}
	if got := v.ValidThrough(before); got != nil {
		t.Errorf("before it: %v", got)
	}
}

// TestWithoutStreams: who is not told of partitions waits for as long as one may lag.
func TestWithoutStreams(t *testing.T) {
	w := newWorld(t)
	hidden := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		return queriestest.Decision(c, a, t, grants.Scope{Others: true, Columns: queriestest.Columns(t, map[string]grants.Access{"stream": grants.Dropped, "stream_partition": grants.Dropped})})
	})
	pass := func() ready.Result {
		v, err := ready.New(ready.Deps{Asker: w.askerOf(hidden), Permits: queriestest.Everything, Store: w.store, Tenants: tenants, Sender: &sent{}, Recorder: &w.log}, nil,
			ready.Config{Now: func() time.Time { return w.now }})
		if err != nil {
			t.Fatal(err)
		}
		return w.pass(v)
	}
	if r := pass(); r.New != 0 {
		t.Errorf("at once: %+v", r)
	}
	w.now = midnight.Add(2*time.Hour + time.Second)
	if r := pass(); r.New != 2 {
		t.Errorf("two hours later: %+v", r)
	}
}

func TestSubscribers(t *testing.T) {
	for _, name := range []string{"", "a/b", "..", "é"} {
		if _, err := ready.New(ready.Deps{}, []ready.Subscriber{{Name: name}}, ready.Config{}); err == nil {
			t.Errorf("name %q", name)
		}
	}
	if _, err := ready.New(ready.Deps{}, []ready.Subscriber{{Name: "a"}, {Name: "a"}}, ready.Config{}); err == nil {
		t.Error("two of the same name")
	}
}
