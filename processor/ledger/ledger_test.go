package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/processor/outbox"
)

// secrets is a keyring of one secret.
type secrets byte

func (s secrets) Secret(context.Context, keys.Scope) (int, keys.Key, error) {
	k, err := keys.KeyFrom([]byte(strings.Repeat(string(rune(s)), 32)))
	return 1, k, err
}

var noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// number returns the nth synthetic card number under the prefix.
func number(t testing.TB, prefix string, n int) card.PAN {
	t.Helper()
	digits := fmt.Appendf(nil, "%s%0*d", prefix, 15-len(prefix), n)
	pan, err := card.ParsePAN(append(digits, card.LuhnDigit(digits)))
	if err != nil {
		t.Fatal(err)
	}
	return pan
}

// issued returns the nth card of a test programme: account "acc-n", limit 1000.00 ARS.
func issued(t testing.TB, n int) card.Issued {
	return card.Issued{
		PAN: number(t, "40000012", n), Tenant: "aurora", Program: "aurora-visa-credit", Network: cardlake.Visa, Product: cardlake.Credit,
		CustomerID: fmt.Sprint("cus-", n), AccountID: fmt.Sprint("acc-", n), Expiry: "2812", Status: card.Active, Currency: "ARS", Limit: 100_000,
	}
}

func seq(cards ...card.Issued) iter.Seq2[card.Issued, error] {
	return func(yield func(card.Issued, error) bool) {
		for _, c := range cards {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func openTest(t testing.TB, fs vfs.FS, dir string, cfg Config) *Ledger {
	t.Helper()
	cfg.Fatal = func(err error) { panic(err) }
	l, err := open(context.Background(), fs, dir, secrets('k'), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newLedger returns a ledger in memory with the cards.
func newLedger(t testing.TB, cfg Config, cards ...card.Issued) *Ledger {
	t.Helper()
	l := openTest(t, vfs.NewMem(), "ledger", cfg)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := l.Import(context.Background(), seq(cards...)); err != nil {
		t.Fatal(err)
	}
	return l
}

func find(t testing.TB, l *Ledger, pan card.PAN) Card {
	t.Helper()
	c, err := l.Find(pan)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func event(n uint64) (id cardlake.EventID) {
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

func ars(minor int64) cardlake.Money { return cardlake.Money{Minor: minor, Currency: "ARS"} }

func ask(n uint64, c Card, minor int64) Authorization {
	return Authorization{Event: event(n), Card: c, Expiry: c.Expiry, Amount: ars(minor), Billing: ars(minor), At: noon}
}

func authorize(t testing.TB, l *Ledger, a Authorization) Decision {
	t.Helper()
	d, err := l.Authorize(context.Background(), a, func(Decision) ([]byte, error) { return a.Event[:], nil })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func reverse(t testing.TB, l *Ledger, r Reversal) Decision {
	t.Helper()
	d, err := l.Reverse(context.Background(), r, func(Decision) ([]byte, error) { return r.Event[:], nil })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func held(t testing.TB, l *Ledger, c Card) int64 {
	t.Helper()
	a, err := l.Account(c)
	if err != nil {
		t.Fatal(err)
	}
	if a.Held < 0 || a.Held > a.Limit {
		t.Fatalf("account holds %d of %d", a.Held, a.Limit)
	}
	return a.Held
}

// events relays the outbox until it is empty and returns how often each event came, by the
// event id that the tests use as value.
func events(t testing.TB, l *Ledger) map[cardlake.EventID]int {
	t.Helper()
	have, _ := contents(t, l)
	return have
}

// contents relays the outbox until it is empty and returns how often each event came, and the
// control totals.
func contents(t testing.TB, l *Ledger) (have map[cardlake.EventID]int, totals []cardlake.ControlTotal) {
	t.Helper()
	have = map[cardlake.EventID]int{}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if l.Outbox().Stats().Depth == 0 {
		return have, nil
	}
	err := l.Outbox().Run(ctx, producerFunc(func(rs []outbox.Record) {
		for _, r := range rs {
			if c, ok := decodeTotal(t, r); ok {
				totals = append(totals, c)
			} else {
				have[cardlake.EventID(r.Value)]++
			}
		}
		if l.Outbox().Stats().Depth == int64(len(rs)) {
			cancel()
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	return have, totals
}

type producerFunc func([]outbox.Record)

func (f producerFunc) Produce(_ context.Context, rs []outbox.Record) error { f(rs); return nil }

func TestAuthorize(t *testing.T) {
	good := issued(t, 1)
	change := func(n int, f func(*card.Issued)) card.Issued {
		c := issued(t, n)
		f(&c)
		return c
	}
	blocked := change(2, func(c *card.Issued) { c.Status = card.Blocked })
	stolen := change(3, func(c *card.Issued) { c.Status = card.Stolen })
	past := change(4, func(c *card.Issued) { c.Expiry = "2602" })
	lastDay := change(5, func(c *card.Issued) { c.Expiry = "2603" })
	l := newLedger(t, Config{}, good, blocked, stolen, past, lastDay)
	never := number(t, "40000012", 99)

	for i, c := range []struct {
		name   string
		pan    card.PAN
		change func(*Authorization)
		code   string
		reason string
		bills  bool
	}{
		{"approved", good.PAN, func(a *Authorization) {}, "00", "", true},
		{"up to the limit", good.PAN, func(a *Authorization) { a.Billing = ars(99_000) }, "00", "", true},
		{"over the limit", good.PAN, func(a *Authorization) { a.Billing = ars(1) }, "51", ReasonInsufficientFunds, true},
		{"account check", good.PAN, func(a *Authorization) { a.Billing = ars(0) }, "00", "", true},
		{"other currency", good.PAN, func(a *Authorization) { a.Billing.Currency = "USD" }, "12", ReasonCurrency, false},
		{"no expiry", good.PAN, func(a *Authorization) { a.Expiry, a.Billing = "", ars(0) }, "00", "", true},
		{"wrong expiry", good.PAN, func(a *Authorization) { a.Expiry = "2811" }, "54", ReasonExpired, true},
		{"month is over", past.PAN, func(a *Authorization) {}, "54", ReasonExpired, true},
		{"month is not over", lastDay.PAN, func(a *Authorization) { a.At = time.Date(2026, 3, 31, 23, 59, 59, 0, time.UTC) }, "00", "", true},
		{"blocked", blocked.PAN, func(a *Authorization) {}, "62", ReasonBlocked, true},
		{"stolen", stolen.PAN, func(a *Authorization) {}, "43", ReasonStolen, true},
		{"never issued", never, func(a *Authorization) {}, "14", ReasonUnknownCard, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask(uint64(i+1), find(t, l, c.pan), 1000)
			c.change(&a)
			d := authorize(t, l, a)
			if d.Code != c.code || d.Reason != c.reason || d.Repeat || (len(d.Approval) == 6) != (c.code == "00") {
				t.Errorf("%+v, want code %s, reason %q", d, c.code, c.reason)
			}
			want := cardlake.Money{}
			if c.bills {
				want = a.Billing
			}
			if d.Billing != want {
				t.Errorf("bills %v, want %v", d.Billing, want)
			}
			again := authorize(t, l, a)
			if diff := cmp.Diff(Decision{Code: d.Code, Approval: d.Approval, Repeat: true}, again); diff != "" {
				t.Errorf("repeat:\n%s", diff)
			}
		})
	}
	if h := held(t, l, find(t, l, good.PAN)); h != 100_000 {
		t.Errorf("holds %d", h)
	}
	if have := events(t, l); len(have) != 12 {
		t.Errorf("%d events, want one for each of 12 decisions", len(have))
	}
}

func TestVelocity(t *testing.T) {
	l := newLedger(t, Config{MaxPerMinute: 3}, issued(t, 1))
	c := find(t, l, issued(t, 1).PAN)
	var codes []string
	for i, second := range []int{0, 10, 20, 30, 59, 60, 61, 70, 80} {
		a := ask(uint64(i+1), c, 1)
		a.At = noon.Add(time.Duration(second) * time.Second)
		codes = append(codes, authorize(t, l, a).Code)
	}
	// At 60 the first one is a minute old; what was refused at 30 and 59 does not count.
	if diff := cmp.Diff([]string{"00", "00", "00", "65", "65", "00", "65", "00", "00"}, codes); diff != "" {
		t.Error(diff)
	}
}

func TestReverse(t *testing.T) {
	l := newLedger(t, Config{}, issued(t, 1), issued(t, 2))
	c, other := find(t, l, issued(t, 1).PAN), find(t, l, issued(t, 2).PAN)
	unknown := find(t, l, number(t, "40000012", 99))
	authorize(t, l, ask(1, c, 60_000))
	authorize(t, l, ask(2, c, 90_000)) // declined
	back := func(n, original uint64, c Card) Reversal {
		return Reversal{Event: event(n), Original: event(original), Card: c, At: noon}
	}
	advice := func(r Reversal) Reversal { r.Advice = true; return r }
	steps := []struct {
		name string
		r    Reversal
		code string
		held int64
	}{
		{"not this card's", back(10, 1, other), "25", 60_000},
		{"never issued", back(11, 1, unknown), "14", 60_000},
		{"gives back", back(12, 1, c), "00", 0},
		{"repeat", back(12, 1, c), "00", 0},
		{"once only", back(13, 1, c), "94", 0},
		{"once only, advice", advice(back(14, 1, c)), "94", 0},
		{"of a decline", back(15, 2, c), "25", 0},
		{"of a decline, advice", advice(back(16, 2, c)), "00", 0},
		{"of a reversal", back(17, 12, c), "25", 0},
		{"not found", back(18, 50, c), "25", 0},
		{"not found, advice", advice(back(19, 51, c)), "00", 0},
	}
	for _, s := range steps {
		if d := reverse(t, l, s.r); d.Code != s.code || held(t, l, c) != s.held {
			t.Errorf("%s: %+v, holds %d; want %s, %d", s.name, d, held(t, l, c), s.code, s.held)
		}
	}
	if d := authorize(t, l, ask(50, c, 10)); d.Code != "00" {
		t.Errorf("late original of a refused reversal: %+v", d)
	}
	if d := authorize(t, l, ask(51, c, 10)); d.Code != "12" || d.Reason != ReasonReversedBefore {
		t.Errorf("late original of an accepted advice: %+v", d)
	}
	if d := authorize(t, l, ask(1, c, 60_000)); d.Code != "00" || !d.Repeat {
		t.Errorf("repeat of a reversed original: %+v", d)
	}
}

func TestPartialReversalRoundsForTheIssuer(t *testing.T) {
	l := newLedger(t, Config{}, issued(t, 1))
	c := find(t, l, issued(t, 1).PAN)
	a := ask(1, c, 0)
	a.Amount, a.Billing = cardlake.Money{Minor: 300, Currency: "USD"}, ars(1000)
	authorize(t, l, a)
	d := reverse(t, l, Reversal{Event: event(2), Original: event(1), Card: c, Keep: 100, At: noon})
	if d.Code != "00" || d.Billing != ars(666) || held(t, l, c) != 334 {
		t.Errorf("%+v, holds %d; want 666 back of 1000", d, held(t, l, c))
	}
}

func TestNothingHappensWithoutItsEvent(t *testing.T) {
	l := newLedger(t, Config{}, issued(t, 1))
	c := find(t, l, issued(t, 1).PAN)
	down := errors.New("keys out of reach")
	_, err := l.Authorize(context.Background(), ask(1, c, 10), func(Decision) ([]byte, error) { return nil, down })
	if !errors.Is(err, down) || held(t, l, c) != 0 || l.Outbox().Stats().Depth != 0 {
		t.Errorf("%v, holds %d, outbox %+v", err, held(t, l, c), l.Outbox().Stats())
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = l.Authorize(context.Background(), ask(1, c, 10), func(Decision) ([]byte, error) { panic("fault") })
	}()
	// Neither failure left a lock or an answer behind.
	if d := authorize(t, l, ask(1, c, 10)); d.Code != "00" || d.Repeat {
		t.Errorf("after the failures: %+v", d)
	}
}

func TestImport(t *testing.T) {
	ctx := context.Background()
	l := newLedger(t, Config{})
	a, b := issued(t, 1), issued(t, 2)
	b.AccountID = a.AccountID
	n, err := l.Import(ctx, seq(a, b))
	if err != nil || n != (Imported{Cards: 2, New: 2, Accounts: 1}) {
		t.Fatalf("%+v, %v", n, err)
	}
	authorize(t, l, ask(1, find(t, l, a.PAN), 70))
	a.Status, a.Limit = card.Blocked, 5
	if n, err = l.Import(ctx, seq(a, b)); err != nil || n != (Imported{Cards: 2}) {
		t.Fatalf("again: %+v, %v", n, err)
	}
	c := find(t, l, b.PAN)
	if acc, err := l.Account(c); err != nil || acc != (Account{Limit: 100_000, Held: 70}) {
		t.Errorf("account after the second import: %+v, %v", acc, err)
	}
	if s := find(t, l, a.PAN).Status; s != card.Blocked {
		t.Errorf("status %s", s)
	}
	b.Tenant = "boreal"
	if _, err := l.Import(ctx, seq(b)); err == nil {
		t.Error("another tenant took over a card")
	}
	bad := errors.New("line 7")
	_, err = l.Import(ctx, func(yield func(card.Issued, error) bool) { yield(card.Issued{}, bad) })
	if !errors.Is(err, bad) {
		t.Errorf("%v", err)
	}
}

func TestFindByFirstDigits(t *testing.T) {
	with := func(prefix string, n int, tenant cardlake.Tenant, program string) card.Issued {
		c := issued(t, n)
		c.PAN, c.Tenant, c.Program = number(t, prefix, n), tenant, program
		return c
	}
	fs := vfs.NewMem()
	l := openTest(t, fs, "ledger", Config{})
	if _, err := l.Import(context.Background(), seq(
		with("40000100", 1, "aurora", "one"),
		with("40000200", 1, "aurora", "one"), with("40000201", 1, "aurora", "two"),
		with("40000300", 1, "aurora", "one"), with("40000301", 1, "boreal", "b"),
		with("40000400", 1, "aurora", "one"), with("40000400", 2, "boreal", "b"),
	)); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		for _, c := range []struct{ prefix, tenant, program string }{
			{"40000100", "aurora", "one"},
			{"40000199", "aurora", "one"}, // by six digits
			{"40000200", "aurora", "one"},
			{"40000201", "aurora", "two"},
			{"40000299", "aurora", ""}, // the tenant is sure, its programme is not
			{"40000300", "aurora", "one"},
			{"40000399", "", ""},
			{"40000400", "", ""},
			{"49999900", "", ""},
		} {
			have, err := l.Find(number(t, c.prefix, 7))
			if c.tenant == "" {
				if !errors.Is(err, ErrNoIssuer) {
					t.Errorf("%s: %+v, %v; want ErrNoIssuer", c.prefix, have, err)
				}
				continue
			}
			if err != nil || have.Issued || string(have.Tenant) != c.tenant || have.Program != c.program {
				t.Errorf("%s: %+v, %v", c.prefix, have, err)
			}
		}
	}
	check()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openTest(t, fs, "ledger", Config{})
	defer l.Close()
	check()
}

func TestForget(t *testing.T) {
	l := newLedger(t, Config{}, issued(t, 1))
	c := find(t, l, issued(t, 1).PAN)
	authorize(t, l, ask(1, c, 10))
	late := ask(2, c, 10)
	late.At = noon.Add(time.Hour)
	authorize(t, l, late)
	if err := l.Forget(noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if d := authorize(t, l, late); !d.Repeat {
		t.Error("a decision within the retention was forgotten")
	}
	if d := authorize(t, l, ask(1, c, 10)); d.Repeat {
		t.Error("a decision beyond the retention was not forgotten")
	}
	if h := held(t, l, c); h != 30 {
		t.Errorf("holds %d; forgetting must not move money", h)
	}
}

func TestOpenRefusesAnotherSecret(t *testing.T) {
	dir := t.TempDir()
	l := openTest(t, vfs.Default, dir, Config{})
	if _, err := Open(context.Background(), dir, secrets('k'), Config{}); err == nil {
		t.Error("two processes may open one ledger")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), dir, secrets('x'), Config{}); !errors.Is(err, ErrSecret) {
		t.Errorf("another secret: %v", err)
	}
	l = openTest(t, vfs.Default, dir, Config{})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestDamagedRecordsAreErrors(t *testing.T) {
	c := Card{Tenant: "aurora", AccountID: "acc-1", Expiry: "2812"}
	good := encodeCard(&c)
	for n := range good {
		if _, err := decodeCard(good[:n]); !errors.Is(err, errRecord) {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
	if _, err := decodeCard(append(good, 0)); !errors.Is(err, errRecord) {
		t.Errorf("one byte more: %v", err)
	}
}

func BenchmarkAuthorize(b *testing.B) {
	const cards = 10_000
	l := openTest(b, vfs.Default, b.TempDir(), Config{MaxPerMinute: -1})
	defer l.Close()
	all := make([]card.Issued, cards)
	for i := range all {
		all[i] = issued(b, i)
		all[i].Limit = 1 << 50
	}
	if _, err := l.Import(context.Background(), seq(all...)); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	relayed := make(chan error, 1)
	go func() { relayed <- l.Outbox().Run(ctx, producerFunc(func([]outbox.Record) {})) }()
	value := make([]byte, 400)
	emit := func(Decision) ([]byte, error) { return value, nil }
	var n atomic.Uint64
	b.SetParallelism(128)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			c, err := l.Find(all[i*2654435761%cards].PAN)
			if err != nil {
				b.Error(err)
				return
			}
			a := ask(i, c, 1)
			if _, err := l.Authorize(ctx, a, emit); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
	cancel()
	if err := <-relayed; err != nil {
		b.Error(err)
	}
}

// issuedRange returns the cards 0 to n-1.
func issuedRange(t testing.TB, n int) []card.Issued {
	out := make([]card.Issued, n)
	for i := range out {
		out[i] = issued(t, i)
	}
	return out
}
