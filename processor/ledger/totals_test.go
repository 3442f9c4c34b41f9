package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/processor/outbox"
)

// everything closes all minutes.
const everything = -1

func emitJSON(c *cardlake.ControlTotal) ([]byte, error) { return json.Marshal(c) }

func closeTotals(t testing.TB, l *Ledger, now time.Time, grace time.Duration) {
	t.Helper()
	if _, err := l.CloseTotals(now, grace, emitJSON); err != nil {
		t.Fatal(err)
	}
}

// decodeTotal returns the control total of a record, and false if it holds an event.
func decodeTotal(t testing.TB, r outbox.Record) (c cardlake.ControlTotal, ok bool) {
	if len(r.Value) == len(cardlake.EventID{}) {
		return c, false
	}
	if err := json.Unmarshal(r.Value, &c); err != nil {
		t.Error(err)
	}
	if string(r.Key) != string(c.Tenant) || r.Time.UnixMicro() != c.EmittedAt {
		t.Errorf("total %+v is a record with key %s, time %v", c, r.Key, r.Time)
	}
	return c, true
}

// emitted relays the outbox until it is empty and returns the totals of it as one line each.
func emitted(t testing.TB, l *Ledger) (lines []string) {
	t.Helper()
	_, totals := contents(t, l)
	for _, c := range totals {
		if c.Processor != l.totals.processor {
			t.Errorf("processor %q", c.Processor)
		}
		lines = append(lines, fmt.Sprintf("%s %s %v/%d %v/%d %d-%d", c.Tenant, time.UnixMicro(c.Minute).UTC().Format(time.TimeOnly),
			c.Amount, c.Events, c.ApprovedAmount, c.Approved, c.FirstSequence, c.LastSequence))
	}
	return lines
}

func expect(t testing.TB, l *Ledger, what string, want ...string) {
	t.Helper()
	if diff := gocmp.Diff(want, emitted(t, l)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestTotals(t *testing.T) {
	cards := issuedRange(t, 3)
	cards[1].Tenant = "bolivar"
	cards[2].Limit = 0
	fs := vfs.NewMem()
	l := openTest(t, fs, "ledger", Config{})
	if _, err := l.Import(context.Background(), seq(cards...)); err != nil {
		t.Fatal(err)
	}
	aurora, bolivar, broke := find(t, l, cards[0].PAN), find(t, l, cards[1].PAN), find(t, l, cards[2].PAN)
	id := uint64(0)
	decide := func(c Card, minor int64, after time.Duration, currency cardlake.Currency) Authorization {
		id++
		a := ask(id, c, minor)
		a.At, a.Amount.Currency = noon.Add(after), currency
		authorize(t, l, a)
		return a
	}
	first := decide(aurora, 100, 0, "ARS")
	decide(aurora, 200, 59*time.Second, "ARS")
	decide(broke, 400, time.Second, "ARS")
	decide(aurora, 7, time.Second, "CLP")
	decide(bolivar, 1000, 2*time.Second, "ARS")
	decide(aurora, 3, time.Minute, "ARS")
	if d := authorize(t, l, first); !d.Repeat {
		t.Fatal("a repeat was decided")
	}
	id++
	if _, err := l.Authorize(context.Background(), ask(id, aurora, 5), func(Decision) ([]byte, error) { return nil, errors.New("no event") }); err == nil {
		t.Fatal("decided without an event")
	}
	reverse(t, l, Reversal{Event: event(900), Original: first.Event, Card: aurora, Amount: ars(40), At: noon.Add(time.Minute)})

	closeTotals(t, l, noon.Add(time.Minute), time.Second)
	expect(t, l, "before the minute's grace is over")
	closeTotals(t, l, noon.Add(time.Minute), 0)
	expect(t, l, "the minute is over",
		"aurora 12:00:00 7.00 ARS/3 3.00 ARS/2 1-3",
		"aurora 12:00:00 7 CLP/1 7 CLP/1 4-4",
		"bolivar 12:00:00 10.00 ARS/1 10.00 ARS/1 1-1")
	closeTotals(t, l, noon.Add(time.Minute), 0)
	expect(t, l, "closed again")

	decide(aurora, 11, 30*time.Second, "ARS")
	processor := l.totals.processor
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openTest(t, fs, "ledger", Config{})
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	if l.totals.processor != processor || len(processor) != 16 || strings.Trim(processor, "abcdefghijklmnop") != "" {
		t.Errorf("processor %q was %q", l.totals.processor, processor)
	}
	decide(aurora, 22, 31*time.Second, "ARS")
	closeTotals(t, l, noon.Add(time.Minute), 0)
	expect(t, l, "late decisions, before and after a restart", "aurora 12:00:00 0.33 ARS/2 0.33 ARS/2 5-6")

	if _, err := l.CloseTotals(noon, everything, func(*cardlake.ControlTotal) ([]byte, error) { return nil, errors.New("no") }); err == nil {
		t.Error("a total that could not be made was emitted")
	}
	decide(bolivar, 1, 24*time.Hour, "ARS")
	closeTotals(t, l, noon, everything)
	expect(t, l, "everything",
		"aurora 12:01:00 0.43 ARS/2 0.43 ARS/2 7-8",
		"bolivar 12:00:00 0.01 ARS/1 0.01 ARS/1 2-2")
}

// TestTotalsBatches closes more minutes than fit in one batch, and sums that no column holds.
func TestTotalsBatches(t *testing.T) {
	l := newLedger(t, Config{MaxPerMinute: -1}, issuedRange(t, 1)...)
	c := find(t, l, issued(t, 0).PAN)
	const minutes = maxTotals + 7
	for n := range uint64(minutes) {
		a := ask(n, c, 1)
		a.At = noon.Add(time.Duration(n) * time.Minute)
		authorize(t, l, a)
	}
	const huge = 60_000_000_000_000 // pesos: two do not fit decimal(18,4)
	for n := range uint64(3) {
		a := ask(10_000+n, c, 1)
		a.At, a.Amount = noon.Add(-time.Minute), cardlake.Money{Minor: huge, Currency: "CLP"}
		authorize(t, l, a)
	}
	before := l.Outbox().Stats().Depth
	n, err := l.CloseTotals(noon, everything, emitJSON)
	if err != nil || n != minutes+3 || l.Outbox().Stats().Depth != before+minutes+3 {
		t.Fatalf("%d totals, %d in the outbox, %v", n, l.Outbox().Stats().Depth-before, err)
	}
	lines := emitted(t, l)
	for i, line := range lines[:3] {
		if want := fmt.Sprintf("aurora 11:59:00 %d CLP/1 %d CLP/1 %d-%d", huge, huge, i+1, i+1); line != want {
			t.Errorf("total %s, want %s", line, want)
		}
	}
	if last := fmt.Sprintf(" %d-%d", minutes+3, minutes+3); !strings.HasSuffix(lines[len(lines)-1], last) {
		t.Errorf("last total %s, want it to end in%s", lines[len(lines)-1], last)
	}
}

func TestMinuteOf(t *testing.T) {
	for at, want := range map[time.Time]uint32{
		time.Unix(59, 999): 0, time.Unix(60, 0): 1, time.Unix(-1, 0): 0, time.Unix(1<<50, 0): math.MaxUint32, {}: 0,
	} {
		if got := minuteOf(at); got != want {
			t.Errorf("minute of %v is %d, want %d", at, got, want)
		}
	}
}

func TestDamagedTotalsAreErrors(t *testing.T) {
	good := append([]byte{1, 2, 3}, "ARSaurora"...)
	for what, kv := range map[string][2][]byte{
		"key too short":       {{countPrefix, 0, 0, 0, 1}, good},
		"empty value":         {countKey(1, 1), nil},
		"truth value":         {countKey(1, 1), append([]byte{2}, good[1:]...)},
		"amount":              {countKey(1, 1), {1, 0x80}},
		"currency is missing": {countKey(1, 1), {1, 2}},
		"tenant is missing":   {countKey(1, 1), good[:6]},
	} {
		l := newLedger(t, Config{}, issuedRange(t, 1)...)
		authorize(t, l, ask(1, find(t, l, issued(t, 0).PAN), 1))
		if err := errors.Join(l.db.DeleteRange(countKey(0, 0), []byte{countPrefix + 1}, nil), l.db.Set(kv[0], kv[1], nil)); err != nil {
			t.Fatal(err)
		}
		l.outbox.Release(reserve(t, l), false)
		l.outbox.Release(reserve(t, l), false)
		if n, err := l.CloseTotals(noon, everything, emitJSON); n != 0 || !errors.Is(err, errRecord) {
			t.Errorf("%s: %d totals, error %v", what, n, err)
		}
	}
	l := newLedger(t, Config{}, issuedRange(t, 1)...)
	authorize(t, l, ask(1, find(t, l, issued(t, 0).PAN), 1))
	if err := l.db.Set(sequenceKey("aurora"), []byte{1}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.CloseTotals(noon, everything, emitJSON); !errors.Is(err, errRecord) {
		t.Errorf("sequence: error %v", err)
	}
}

// reserve takes a sequence of the outbox.
func reserve(t testing.TB, l *Ledger) uint64 {
	t.Helper()
	b := l.db.NewBatch()
	defer b.Close()
	seq, err := l.outbox.Add(b, outbox.Record{})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// TestTotalsLeaveWhatIsInFlight closes a minute while a decision of it is on its way to the
// disk: it is counted later, not lost.
func TestTotalsLeaveWhatIsInFlight(t *testing.T) {
	l := newLedger(t, Config{}, issuedRange(t, 1)...)
	c := find(t, l, issued(t, 0).PAN)
	authorize(t, l, ask(1, c, 1))
	seq := reserve(t, l)
	authorize(t, l, ask(2, c, 10)) // behind the one in flight
	closeTotals(t, l, noon, everything)
	l.outbox.Release(seq, false)
	expect(t, l, "what is before it", "aurora 12:00:00 0.01 ARS/1 0.01 ARS/1 1-1")
	closeTotals(t, l, noon, everything)
	expect(t, l, "what is behind it", "aurora 12:00:00 0.10 ARS/1 0.10 ARS/1 2-2")
}

// decision is what a total counts of one decision.
type decision struct {
	tenant   cardlake.Tenant
	minute   int64
	amount   cardlake.Money
	approved bool
}

// checkTotals compares totals, which may be repeated and in any order, with the decisions: the
// sums of each tenant, minute and currency are equal, and each tenant's numbers have no gap.
func checkTotals(t testing.TB, totals []cardlake.ControlTotal, decisions []decision) {
	t.Helper()
	type cell struct {
		tenant   cardlake.Tenant
		minute   int64
		currency cardlake.Currency
	}
	type sum struct{ Events, Approved, Amount, ApprovedAmount int64 }
	want, have := map[cell]sum{}, map[cell]sum{}
	for _, d := range decisions {
		at := cell{d.tenant, d.minute, d.amount.Currency}
		s := want[at]
		s.Events++
		s.Amount += d.amount.Minor
		if d.approved {
			s.Approved++
			s.ApprovedAmount += d.amount.Minor
		}
		want[at] = s
	}
	slices.SortFunc(totals, func(a, b cardlake.ControlTotal) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.FirstSequence, b.FirstSequence))
	})
	last := cardlake.ControlTotal{}
	for _, c := range slices.Compact(totals) {
		if c.Tenant != last.Tenant {
			last = cardlake.ControlTotal{}
		}
		if c.FirstSequence != last.LastSequence+1 || c.LastSequence-c.FirstSequence+1 != c.Events {
			t.Errorf("total %+v follows %+v", c, last)
		}
		last = c
		at := cell{c.Tenant, c.Minute, c.Amount.Currency}
		s := have[at]
		have[at] = sum{s.Events + c.Events, s.Approved + c.Approved, s.Amount + c.Amount.Minor, s.ApprovedAmount + c.ApprovedAmount.Minor}
	}
	if diff := gocmp.Diff(want, have, gocmp.AllowUnexported(cell{})); diff != "" {
		t.Errorf("sums (-decisions +totals):\n%s", diff)
	}
}

// BenchmarkCloseTotals closes a minute of 600 decisions a second of 100 tenants.
func BenchmarkCloseTotals(b *testing.B) {
	const tenants, each = 100, 360
	l := newLedger(b, Config{})
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for n := range tenants * each {
			batch := l.db.NewBatch()
			tx := txn{l: l, b: batch, card: &Card{Tenant: cardlake.Tenant(fmt.Sprint("tenant-", n%tenants))}, counted: ars(123_456), at: noon}
			seq, err := l.outbox.Add(batch, outbox.Record{})
			if err := errors.Join(err, tx.count(seq, true), batch.Commit(pebble.NoSync)); err != nil {
				b.Fatal(err)
			}
			l.outbox.Release(seq, true)
		}
		b.StartTimer()
		if n, err := l.CloseTotals(noon, everything, emitJSON); err != nil || n != tenants {
			b.Fatal(n, err)
		}
	}
}
