package reconcile_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/reconcile"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

var noon = time.UnixMicro(writerstest.Start).UTC()

// world is what processors decided and counted, and what of it came into the lake.
type world struct {
	rows   []*cardlake.Transaction
	totals []*cardlake.ControlTotal
}

// decide adds n decisions of the tenant in the minute, every third declined, which arrive two
// seconds after it over two partitions.
func (w *world) decide(tenant cardlake.Tenant, minute int, currency cardlake.Currency, n int) (added []*cardlake.Transaction) {
	for i := range n {
		tx := writerstest.Bare()
		at := noon.Add(time.Duration(minute)*time.Minute + time.Duration(i+1)*time.Second)
		tx.EventID = cardlake.EventID{byte(len(w.rows) >> 8), byte(len(w.rows)), 1}
		tx.Tenant, tx.EventTime, tx.IngestedAt = tenant, at.UnixMicro(), at.Add(2*time.Second).UnixMicro()
		tx.Amount, tx.Approved = cardlake.Money{Minor: int64(100*minute + i + 1), Currency: currency}, i%3 != 2
		tx.Position.Partition = int32(len(w.rows) % 2)
		w.rows, added = append(w.rows, tx), append(added, tx)
	}
	return added
}

// count adds the total of the decisions, which must be of one tenant, minute and currency.
func (w *world) count(processor string, decisions []*cardlake.Transaction) *cardlake.ControlTotal {
	c := &cardlake.ControlTotal{Region: "south", Processor: processor, Tenant: decisions[0].Tenant, FirstSequence: 1}
	c.Minute = decisions[0].EventTime - decisions[0].EventTime%60_000_000
	c.Amount.Currency, c.ApprovedAmount.Currency = decisions[0].Amount.Currency, decisions[0].Amount.Currency
	for _, tx := range decisions {
		c.Events++
		c.Amount.Minor += tx.Amount.Minor
		if tx.Approved {
			c.Approved++
			c.ApprovedAmount.Minor += tx.Amount.Minor
		}
	}
	for _, before := range w.totals {
		if before.Tenant == c.Tenant && before.Processor == c.Processor {
			c.FirstSequence = before.LastSequence + 1
		}
	}
	c.LastSequence = c.FirstSequence + c.Events - 1
	c.EmittedAt = c.Minute + 75_000_000
	c.IngestedAt = c.EmittedAt + 2_000_000
	c.Position = cardlake.Position{StreamPartition: decisions[0].Position.StreamPartition, Offset: int64(1000 + len(w.totals))}
	w.totals = append(w.totals, c)
	return c
}

// newWorld is ten complete minutes of two tenants and two processors.
func newWorld() *world {
	w := &world{}
	for minute := range 10 {
		w.count("aaaaaaaaaaaaaaaa", w.decide("aurora", minute, "ARS", 4))
		w.count("aaaaaaaaaaaaaaaa", w.decide("aurora", minute, "USD", 1))
		w.count("aaaaaaaaaaaaaaaa", w.decide("bolivar", minute, "CLP", 3))
		w.count("bbbbbbbbbbbbbbbb", w.decide("bolivar", minute, "CLP", 2))
	}
	return w
}

// without removes the row or total at the index.
func without[T any](s []T, i int) []T { return append(append([]T{}, s[:i]...), s[i+1:]...) }

// gateway returns the way to ask for the world.
func (w *world) gateway(t testing.TB) queries.Session {
	t.Helper()
	return ask(t, w.lake(t))
}

// lake writes the world into files.
func (w *world) lake(t testing.TB) *queriestest.Lake {
	t.Helper()
	lake := queriestest.NewLake()
	add := func(def *cardlake.Table, b interface {
		Record() (arrow.RecordBatch, error)
		Len() int
	}) {
		if b.Len() == 0 {
			return
		}
		rec, err := b.Record()
		if err != nil {
			t.Fatal(err)
		}
		body, splits, err := parquet.NewEncoder(def, parquet.Config{}).Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		lake.Add(def, cardlake.DataFile{Name: def.Name + ".parquet", Rows: int64(b.Len()), Bytes: int64(len(body)), SplitOffsets: splits}, body)
	}
	rows, totals := cardlake.NewBatch(), cardlake.NewTotalsBatch()
	for _, tx := range w.rows {
		if err := rows.Append(tx); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range w.totals {
		if err := totals.Append(c); err != nil {
			t.Fatal(err)
		}
	}
	add(cardlake.Transactions, rows)
	add(cardlake.ControlTotals, totals)
	return lake
}

func ask(t testing.TB, lake *queriestest.Lake) queries.Session {
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	return queries.New(parser, embedded.New(lake, lake, embedded.Config{Threads: 1}), queriestest.Everything, &queriestest.Log{}, queries.Config{MaxRows: -1}).As(queriestest.Caller)
}

func reconciled(t testing.TB, q reconcile.Querier, cfg reconcile.Config) reconcile.Report {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return noon.Add(time.Hour) }
	}
	r, err := reconcile.Run(t.Context(), q, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lines is a report in short.
func lines(r reconcile.Report) (out []string) {
	out = append(out, r.Status.String())
	for _, t := range r.Tenants {
		out = append(out, fmt.Sprintf("%s: %d complete, %d unconfirmed, %d late, %d wrong, %d gaps; %d rows, %d counted",
			t.Tenant, t.Complete, t.Unconfirmed, t.Late, t.Wrong, t.Gaps, t.Rows, t.Counted))
	}
	for _, m := range r.Minutes {
		out = append(out, fmt.Sprintf("%s %s %v: %s", m.Tenant, m.Minute.Format("15:04"), m.Status, m.Detail()))
	}
	for _, g := range r.Gaps {
		out = append(out, fmt.Sprintf("%s %s %v: %d to %d between %s and %s", g.Tenant, g.Processor[:1], g.Status, g.First, g.Last,
			g.After.Format("15:04"), g.Before.Format("15:04")))
	}
	return out
}

const (
	wholeAurora  = "aurora: 10 complete, 0 unconfirmed, 0 late, 0 wrong, 0 gaps; 50 rows, 50 counted"
	wholeBolivar = "bolivar: 10 complete, 0 unconfirmed, 0 late, 0 wrong, 0 gaps; 50 rows, 50 counted"
)

// Rows are in order of decide: row 10*minute is aurora's first of the minute, row 10*minute+5
// bolivar's. So are totals, four a minute.
func TestRun(t *testing.T) {
	minutes := func(n int) reconcile.Config { // now is n minutes after the last one's begin
		return reconcile.Config{Now: func() time.Time { return noon.Add(time.Duration(9+n) * time.Minute) }}
	}
	for _, c := range []struct {
		name   string
		change func(w *world)
		cfg    reconcile.Config
		want   []string
	}{
		{"complete", func(*world) {}, reconcile.Config{}, []string{"complete", wholeAurora, wholeBolivar}},
		{"complete at once", func(*world) {}, minutes(2), []string{"complete", wholeAurora, wholeBolivar}},
		{"one tenant", func(*world) {}, reconcile.Config{Tenant: "bolivar"}, []string{"complete", wholeBolivar}},
		{"no such tenant", func(*world) {}, reconcile.Config{Tenant: "cobre"}, []string{"complete"}},
		{"some minutes", func(*world) {}, reconcile.Config{Since: noon.Add(61 * time.Second), Until: noon.Add(3*time.Minute + time.Second)}, []string{
			"complete",
			"aurora: 2 complete, 0 unconfirmed, 0 late, 0 wrong, 0 gaps; 10 rows, 10 counted",
			"bolivar: 2 complete, 0 unconfirmed, 0 late, 0 wrong, 0 gaps; 10 rows, 10 counted",
		}},
		{"a repeated total", func(w *world) {
			again := *w.totals[7]
			again.IngestedAt, again.Position.Offset = again.IngestedAt+1, 5000
			w.totals = append(w.totals, &again)
		}, reconcile.Config{}, []string{"complete", wholeAurora, wholeBolivar}},
		{"a total in two parts", func(w *world) {
			d := w.decide("aurora", 9, "ARS", 3)
			w.count("aaaaaaaaaaaaaaaa", d[:1])
			w.count("aaaaaaaaaaaaaaaa", d[1:])
		}, reconcile.Config{}, []string{
			"complete", "aurora: 10 complete, 0 unconfirmed, 0 late, 0 wrong, 0 gaps; 53 rows, 53 counted", wholeBolivar,
		}},
		{"a row is lost", func(w *world) { w.rows = without(w.rows, 31) }, reconcile.Config{}, []string{
			"wrong", "aurora: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 49 rows, 50 counted", wholeBolivar,
			"aurora 12:03 wrong: 1 row missing",
		}},
		{"a row is doubled", func(w *world) { w.rows = append(w.rows, w.rows[35]) }, reconcile.Config{}, []string{
			"wrong", wholeAurora, "bolivar: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 51 rows, 50 counted",
			"bolivar 12:03 wrong: 1 row more than counted",
		}},
		{"an amount is changed", func(w *world) { w.rows[30].Amount.Minor++ }, reconcile.Config{}, []string{
			"wrong", "aurora: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 50 rows, 50 counted", wholeBolivar,
			"aurora 12:03 wrong: sums differ in ARS",
		}},
		{"a decision is turned round", func(w *world) { w.rows[30].Approved = false }, reconcile.Config{}, []string{
			"wrong", "aurora: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 50 rows, 50 counted", wholeBolivar,
			"aurora 12:03 wrong: sums differ in ARS",
		}},
		{"answers are exchanged", func(w *world) { w.rows[31].Approved, w.rows[32].Approved = false, true }, reconcile.Config{}, []string{
			"wrong", "aurora: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 50 rows, 50 counted", wholeBolivar,
			"aurora 12:03 wrong: sums differ in ARS",
		}},
		{"a row is in another currency", func(w *world) { w.rows[30].Amount.Currency = "USD" }, reconcile.Config{}, []string{
			"wrong", "aurora: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 50 rows, 50 counted", wholeBolivar,
			"aurora 12:03 wrong: 1 row missing, 1 row more than counted",
		}},
		{"a row is another tenant's", func(w *world) { w.rows[30].Tenant = "bolivar"; w.rows[30].Amount.Currency = "CLP" }, reconcile.Config{}, []string{
			"wrong",
			"aurora: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 49 rows, 50 counted",
			"bolivar: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 51 rows, 50 counted",
			"aurora 12:03 wrong: 1 row missing", "bolivar 12:03 wrong: 1 row more than counted",
		}},
		{"a minute's rows are all lost", func(w *world) { w.rows = append(append([]*cardlake.Transaction{}, w.rows[:30]...), w.rows[40:]...) },
			reconcile.Config{}, []string{
				"wrong",
				"aurora: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 45 rows, 50 counted",
				"bolivar: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 45 rows, 50 counted",
				"aurora 12:03 wrong: 5 rows missing", "bolivar 12:03 wrong: 5 rows missing",
			}},
		{"a total is lost", func(w *world) { w.totals = without(w.totals, 14) }, reconcile.Config{}, []string{
			"wrong", wholeAurora, "bolivar: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 1 gaps; 50 rows, 47 counted",
			"bolivar 12:03 wrong: 3 rows more than counted",
			"bolivar a wrong: 10 to 12 between 12:02 and 12:04",
		}},
		{"a total is lost with its rows", func(w *world) {
			w.totals = without(w.totals, 14)
			w.rows = append(append([]*cardlake.Transaction{}, w.rows[:35]...), w.rows[38:]...)
		}, reconcile.Config{}, []string{
			"wrong", wholeAurora, "bolivar: 10 complete, 0 unconfirmed, 0 late, 0 wrong, 1 gaps; 47 rows, 47 counted",
			"bolivar a wrong: 10 to 12 between 12:02 and 12:04",
		}},
		{"the first total is lost", func(w *world) { w.totals = w.totals[1:] }, reconcile.Config{}, []string{
			"wrong", "aurora: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 1 gaps; 50 rows, 46 counted", wholeBolivar,
			"aurora 12:00 wrong: 4 rows more than counted",
			"aurora a wrong: 1 to 4 between 00:00 and 12:00",
		}},
		{"no totals, and the stream goes on", func(w *world) {
			w.totals = w.totals[:36]
			w.count("aaaaaaaaaaaaaaaa", w.decide("cobre", 11, "CLP", 2))
		}, minutes(30), []string{
			"wrong",
			"aurora: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 50 rows, 45 counted",
			"bolivar: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 50 rows, 45 counted",
			"cobre: 1 complete, 0 unconfirmed, 0 late, 0 wrong, 0 gaps; 2 rows, 2 counted",
			"aurora 12:09 wrong: no total counts 5 rows", "bolivar 12:09 wrong: no total counts 5 rows",
		}},
		{"no totals yet", func(w *world) { w.totals = w.totals[:36] }, minutes(5), []string{
			"unconfirmed",
			"aurora: 9 complete, 1 unconfirmed, 0 late, 0 wrong, 0 gaps; 50 rows, 45 counted",
			"bolivar: 9 complete, 1 unconfirmed, 0 late, 0 wrong, 0 gaps; 50 rows, 45 counted",
			"aurora 12:09 unconfirmed: no total counts 5 rows", "bolivar 12:09 unconfirmed: no total counts 5 rows",
		}},
		{"a row is not there yet", func(w *world) { w.rows = without(w.rows, 90) }, minutes(5), []string{
			"late", "aurora: 9 complete, 0 unconfirmed, 1 late, 0 wrong, 0 gaps; 49 rows, 50 counted", wholeBolivar,
			"aurora 12:09 late: 1 row missing",
		}},
		{"rows of long ago arrive now", func(w *world) {
			w.totals[12].IngestedAt = noon.Add(58 * time.Minute).UnixMicro()
			w.rows = without(w.rows, 30)
		}, reconcile.Config{}, []string{
			"late", "aurora: 9 complete, 0 unconfirmed, 1 late, 0 wrong, 0 gaps; 49 rows, 50 counted", wholeBolivar,
			"aurora 12:03 late: 1 row missing",
		}},
		{"a partition lags", func(w *world) {
			var behind []*cardlake.Transaction
			for i, tx := range w.rows {
				if tx.Position.Partition == 0 || i < 80 {
					behind = append(behind, tx)
				}
			}
			w.rows = behind
		}, minutes(30), []string{
			"late",
			"aurora: 8 complete, 0 unconfirmed, 2 late, 0 wrong, 0 gaps; 46 rows, 50 counted",
			"bolivar: 8 complete, 0 unconfirmed, 2 late, 0 wrong, 0 gaps; 44 rows, 50 counted",
			"aurora 12:08 late: 2 rows missing", "aurora 12:09 late: 2 rows missing",
			"bolivar 12:08 late: 3 rows missing", "bolivar 12:09 late: 3 rows missing",
		}},
		{"a partition is idle for good", func(w *world) { w.rows = without(w.rows, 90) }, minutes(25 * 60), []string{
			"wrong", "aurora: 9 complete, 0 unconfirmed, 0 late, 1 wrong, 0 gaps; 49 rows, 50 counted", wholeBolivar,
			"aurora 12:09 wrong: 1 row missing",
		}},
		{"a late gap", func(w *world) { w.totals = without(w.totals, 34) }, minutes(4), []string{
			"late", wholeAurora, "bolivar: 9 complete, 1 unconfirmed, 0 late, 0 wrong, 1 gaps; 50 rows, 47 counted",
			"bolivar 12:08 unconfirmed: 3 rows more than counted",
			"bolivar a late: 25 to 27 between 12:07 and 12:09",
		}},
		{"gaps outside", func(w *world) { w.totals = without(without(w.totals, 34), 2) },
			reconcile.Config{Since: noon.Add(2 * time.Minute), Until: noon.Add(6 * time.Minute)}, []string{
				"complete",
				"aurora: 4 complete, 0 unconfirmed, 0 late, 0 wrong, 0 gaps; 20 rows, 20 counted",
				"bolivar: 4 complete, 0 unconfirmed, 0 late, 0 wrong, 0 gaps; 20 rows, 20 counted",
			}},
		{"an empty lake", func(w *world) { w.rows, w.totals = nil, nil }, reconcile.Config{}, []string{"complete"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			c.change(w)
			if diff := cmp.Diff(c.want, lines(reconciled(t, w.gateway(t), c.cfg))); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLateTotalOfAnOldMinute looks at a range in which a total was emitted that belongs to a
// minute before the range: that is no gap.
func TestLateTotalOfAnOldMinute(t *testing.T) {
	w := newWorld()
	late := w.count("aaaaaaaaaaaaaaaa", w.decide("aurora", 1, "ARS", 2))
	late.EmittedAt += 9 * 60_000_000
	w.count("aaaaaaaaaaaaaaaa", w.decide("aurora", 10, "ARS", 2))
	r := reconciled(t, w.gateway(t), reconcile.Config{Since: noon.Add(8 * time.Minute), Tenant: "aurora"})
	want := []string{"complete", "aurora: 3 complete, 0 unconfirmed, 0 late, 0 wrong, 0 gaps; 12 rows, 12 counted"}
	if diff := cmp.Diff(want, lines(r)); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestListIsBounded(t *testing.T) {
	w := newWorld()
	w.totals = without(w.totals, 14)
	for i := range w.rows {
		if i%10 == 0 {
			w.rows[i].Amount.Minor++
		}
	}
	q := w.gateway(t)
	for most, want := range map[int]int{4: 7, 0: 0, -1: 0} {
		r := reconciled(t, q, reconcile.Config{MaxListed: most})
		if r.Unlisted != want || r.Tenants[0].Wrong+r.Tenants[0].Unconfirmed+r.Tenants[0].Late != 10 || len(r.Minutes)+len(r.Gaps)+r.Unlisted != 12 {
			t.Errorf("at most %d: %d minutes, %d gaps, %d unlisted", most, len(r.Minutes), len(r.Gaps), r.Unlisted)
		}
	}
}

func TestReportIsJSON(t *testing.T) {
	w := newWorld()
	w.rows = without(w.rows, 31)
	r := reconciled(t, w.gateway(t), reconcile.Config{Tenant: "aurora"})
	got, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
 "at": "2026-03-02T13:00:00Z",
 "status": "wrong",
 "tenants": [
  {
   "tenant": "aurora",
   "complete": 9,
   "unconfirmed": 0,
   "late": 0,
   "wrong": 1,
   "gaps": 0,
   "rows": 49,
   "counted": 50
  }
 ],
 "minutes": [
  {
   "tenant": "aurora",
   "minute": "2026-03-02T12:03:00Z",
   "status": "wrong",
   "sums": [
    {
     "currency": "ARS",
     "lake": {
      "events": 3,
      "approved": 2,
      "amount": "9.0800",
      "approved_amount": "6.0500"
     },
     "totals": {
      "events": 4,
      "approved": 3,
      "amount": "12.1000",
      "approved_amount": "9.0700"
     }
    },
    {
     "currency": "USD",
     "lake": {
      "events": 1,
      "approved": 1,
      "amount": "3.0100",
      "approved_amount": "3.0100"
     },
     "totals": {
      "events": 1,
      "approved": 1,
      "amount": "3.0100",
      "approved_amount": "3.0100"
     }
    }
   ]
  }
 ],
 "gaps": [],
 "unlisted": 0
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	q := newWorld().gateway(t)
	if _, err := reconcile.Run(t.Context(), q, reconcile.Config{Tenant: "x' OR 1=1 --"}); !errors.Is(err, cardlake.ErrTenant) {
		t.Errorf("bad tenant: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := reconcile.Run(ctx, q, reconcile.Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	broken := errors.New("broken")
	parser := embedded.NewParser()
	defer parser.Close()
	g := queries.New(parser, embedded.New(failing{broken}, nil, embedded.Config{}), queriestest.Everything, &queriestest.Log{}, queries.Config{}).As(queriestest.Caller)
	if _, err := reconcile.Run(t.Context(), g, reconcile.Config{}); !errors.Is(err, broken) {
		t.Errorf("broken engine: %v", err)
	}
}

// failing plans nothing.
type failing struct{ err error }

func (f failing) Plan(context.Context, *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	return catalog.Snapshot{}, nil, f.err
}

// TestGrants: only what is given is compared, and what is masked cannot be.
func TestGrants(t *testing.T) {
	w := newWorld()
	lake := w.lake(t)
	as := func(permits queries.Permits) queries.Session {
		parser := embedded.NewParser()
		t.Cleanup(func() { parser.Close() })
		return queries.New(parser, embedded.New(lake, lake, embedded.Config{Threads: 1}), permits, &queriestest.Log{}, queries.Config{MaxRows: -1}).As(queriestest.Caller)
	}
	// The lake's files are of no tenant, and others' rows in them are left out one by one.
	butBolivar := func(access map[string]grants.Access) queriestest.Permits {
		return func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			d := queriestest.Decision(c, a, t, grants.Scope{Others: true, Columns: queriestest.Columns(t, access)})
			d.Except = []cardlake.Tenant{"bolivar"}
			return d
		}
	}
	r := reconciled(t, as(butBolivar(nil)), reconcile.Config{})
	if len(r.Tenants) != 1 || r.Tenants[0].Tenant != "aurora" || r.Status != reconcile.Complete {
		t.Errorf("compared %+v", r)
	}
	for _, column := range []string{"amount", "approved", "events", "tenant"} {
		for _, access := range []grants.Access{grants.Masked, grants.Dropped} {
			if r, err := reconcile.Run(t.Context(), as(butBolivar(map[string]grants.Access{column: access})), reconcile.Config{}); !errors.Is(err, queries.ErrNotPermitted) {
				t.Errorf("%s is %v: %+v, %v", column, access, r, err)
			}
		}
	}
	if _, err := reconcile.Run(t.Context(), as(queriestest.Nothing), reconcile.Config{}); !errors.Is(err, queries.ErrNotPermitted) {
		t.Errorf("nothing is permitted: %v", err)
	}
	// Without the columns of the stream a difference may be a partition that lags.
	w.totals = w.totals[1:]
	lake = w.lake(t)
	hidden := map[string]grants.Access{"stream": grants.Dropped, "stream_partition": grants.Dropped, "stream_offset": grants.Dropped}
	for _, tc := range []struct {
		name   string
		maxLag time.Duration
		want   reconcile.Status
	}{{"may lag", 24 * time.Hour, reconcile.Unconfirmed}, {"for no longer", time.Minute, reconcile.Wrong}} {
		r := reconciled(t, as(butBolivar(hidden)), reconcile.Config{MaxLag: tc.maxLag})
		if len(r.Minutes) == 0 || r.Minutes[0].Status != tc.want {
			t.Errorf("%s: %+v", tc.name, r)
		}
	}
}
