package ingest_test

import (
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// total is the n-th control total of the tenant.
func (l *lake) total(n int, tenant cardlake.Tenant) []byte {
	l.t.Helper()
	money := cardlake.Money{Minor: 100, Currency: "MXN"}
	value, err := wire.AppendTotal(nil, wire.DefaultTotalSchemaID, &cardlake.ControlTotal{
		Region: "local", Processor: "abcdefghijklmnop", Tenant: tenant, Minute: now.Truncate(time.Minute).UnixMicro() + int64(n)*60_000_000,
		Events: 2, Approved: 1, Amount: money, ApprovedAmount: money, FirstSequence: int64(2*n + 1), LastSequence: int64(2*n + 2), EmittedAt: now.UnixMicro(),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return value
}

func (l *lake) withTotals(table *memTable) ingest.Deps {
	deps := l.deps(l.keys)
	deps.Totals, deps.TotalsWriter = table, writers.NewTotals(l.store, l.tenants, writers.Config{})
	return deps
}

// TestTotalsAreThereOnce: control totals among the events, a commit between the tables that
// fails, a worker that dies there; each total is a row of its table once.
func TestTotalsAreThereOnce(t *testing.T) {
	l := newLake(t, 2)
	want := map[cardlake.Position]int{}
	for i := range 40 {
		part := i % 2
		if i%4 > 1 {
			want[cardlake.Position{StreamPartition: place(part), Offset: int64(len(l.stream.parts[part]))}] = 1
			l.stream.append(part, l.total(i, testTenant))
		} else {
			l.stream.append(part, l.event(i))
		}
	}
	l.stream.append(0, l.total(99, "nobody"))
	table := &memTable{}
	l.transactions.fault = func(int) fault { return refuse }
	w := ingest.New(l.withTotals(table), ingest.Config{WindowRows: 15, WindowAge: 20 * time.Millisecond, Grace: time.Nanosecond})
	l.runUntil(w, func() bool { return len(table.files()) > 0 && w.Stats().AppendErrors > 0 }) // dies between the commits
	l.transactions.fault = nil
	table.fault = func(n int) fault { return []fault{unknownAfter, none, unknownBefore}[n%3] }
	w = ingest.New(l.withTotals(table), ingest.Config{WindowRows: 7, WindowAge: 20 * time.Millisecond, Grace: time.Second})
	l.runUntil(w, l.caughtUp)
	got := map[cardlake.Position]int{}
	for _, f := range table.files() {
		if f.Tenant != testTenant {
			t.Errorf("totals lie under tenant %q", f.Tenant)
		}
		body, err := objects.ReadAll(t.Context(), l.store, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := parquet.Positions(t.Context(), body, func(p cardlake.Position) bool { got[p]++; return true }); err != nil {
			t.Fatal(err)
		}
	}
	for p := range want {
		if got[p] != 1 {
			t.Errorf("the total at %s is there %d times", p, got[p])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d totals, want %d", len(got), len(want))
	}
	rejected := int64(0)
	for _, f := range l.rejected.files() {
		rejected += f.Rows
	}
	if rejected != 1 {
		t.Errorf("%d rejected, want the total of nobody", rejected)
	}
}

// Without a writer of totals they are rejected, and with that kept.
func TestTotalsWithoutTheirTable(t *testing.T) {
	l := newLake(t, 1)
	l.stream.append(0, l.total(0, testTenant))
	w := l.worker(ingest.Config{})
	l.runUntil(w, l.caughtUp)
	if n := w.Stats().Rejected["unknown_schema"]; n != 1 {
		t.Errorf("%d rejected, want 1", n)
	}
}
