package processor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/processor/ledger"
	"github.com/cardlake/cardlake/processor/outbox"
)

// closer notes when it was called.
type closer struct {
	calls []string
	err   error
}

func (c *closer) CloseTotals(now time.Time, grace time.Duration, _ ledger.EmitTotal) (int, error) {
	what := " closes all"
	if grace >= 0 {
		what = " closes until " + now.Add(-grace).UTC().Format(time.TimeOnly)
	}
	c.calls = append(c.calls, now.UTC().Format(time.TimeOnly)+what)
	return 0, c.err
}

// TestTotalsOncePerMinute looks at when minutes are closed: at once for those that an earlier
// process left, then whenever a minute has been over for the grace period, and all at the end.
func TestTotalsOncePerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight UTC
		c := &closer{}
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		if err := NewTotals(c, TotalsConfig{}).Run(ctx); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"00:00:00 closes until 23:59:45", "00:00:15 closes until 00:00:00", "00:01:15 closes until 00:01:00",
			"00:02:15 closes until 00:02:00", "00:02:30 closes all",
		}
		if diff := cmp.Diff(want, c.calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
	broken := errors.New("disk")
	if err := NewTotals(&closer{err: broken}, TotalsConfig{}).Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("error %v, want the ledger's", err)
	}
}

// TestTotalsAgreeWithTheStream sums the events of a host and compares them with the totals
// that it leaves at its end.
func TestTotalsAgreeWithTheStream(t *testing.T) {
	clock := decided.Add(50 * time.Second)
	r := start(t, func(cfg *Config, _ *EventEncoder) { cfg.Now = func() time.Time { return clock } })
	p := r.dial()
	for i, m := range []message{
		purchase(1), purchase(2).with(message{2: blockedPAN}), purchase(3).with(message{49: "840"}), undo("0400", 4, 1), purchase(1),
		purchase(5).with(message{2: neverPAN}), purchase(6), echo, purchase(7).with(message{2: foreignPAN}),
		undo("0420", 8, 6).with(message{95: "000000002550" + strings.Repeat("0", 30)}),
	} {
		if i == 5 {
			clock = clock.Add(20 * time.Second)
		}
		p.ask(m)
	}
	r.shutdown()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	totals := NewTotals(r.ledger, TotalsConfig{Region: "south", Now: func() time.Time { return clock }})
	if err := totals.Run(ctx); err != nil {
		t.Fatal(err)
	}

	type cell struct {
		minute   int64
		currency cardlake.Currency
	}
	type sum struct{ events, approved, amount, approvedAmount int64 }
	events, counted := map[cell]sum{}, map[cell]sum{}
	next := int64(1)
	d := wire.NewTotalDecoder(wire.TotalDecoderConfig{})
	r.relay(func(rec outbox.Record) error {
		if !d.Is(rec.Value) {
			m, err := r.open(rec)
			if err != nil {
				return err
			}
			at := cell{m.EventTime - m.EventTime%60_000_000, m.Amount.Currency}
			s := events[at]
			s.events++
			s.amount += m.Amount.Minor
			if m.Approved {
				s.approved++
				s.approvedAmount += m.Amount.Minor
			}
			events[at] = s
			return nil
		}
		var c cardlake.ControlTotal
		if err := d.Decode(rec.Value, &c); err != nil {
			return err
		}
		if c.Tenant != "aurora" || string(rec.Key) != "aurora" || c.Region != "south" || c.EmittedAt != clock.UnixMicro() ||
			!rec.Time.Equal(clock) || c.FirstSequence != next {
			t.Errorf("total %+v under key %s, want one that begins with %d", c, rec.Key, next)
		}
		next = c.LastSequence + 1
		at := cell{c.Minute, c.Amount.Currency}
		if _, ok := counted[at]; ok {
			t.Errorf("two totals of %+v", at)
		}
		counted[at] = sum{c.Events, c.Approved, c.Amount.Minor, c.ApprovedAmount.Minor}
		return nil
	})
	if diff := cmp.Diff(events, counted, cmp.AllowUnexported(cell{}, sum{})); diff != "" {
		t.Errorf("sums (-events +totals):\n%s", diff)
	}
	if len(events) < 3 || !slices.ContainsFunc(slices.Collect(maps.Values(events)), func(s sum) bool { return s.approved < s.events }) {
		t.Errorf("the events are too much alike to show anything: %+v", events)
	}
}
