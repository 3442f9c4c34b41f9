package recommendations

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/writers/writerstest"
)

const acme, zeta = cardlake.Tenant("acme"), cardlake.Tenant("zeta")

const spanDays = 60

// town is traffic of one tenant: 120 customers of two tastes in two towns, who go through their
// taste's 30 merchants and buy at one of 4 supermarkets over 60 days.
type town struct {
	r   *rand.Rand
	txs []*cardlake.Transaction
	n   uint64
}

func newTown(tenant cardlake.Tenant, seed uint64) *town {
	w := &town{r: rand.New(rand.NewPCG(seed, 1))}
	for c := range 120 {
		taste := c % 2
		for day := range spanDays {
			if w.r.IntN(3) == 0 {
				w.buy(tenant, c, fmt.Sprintf("super%d", c%4), "5411", float64(day)+w.r.Float64())
			}
			if w.r.IntN(3) == 0 {
				shop := (c*7 + day/6*2 + w.r.IntN(3)) % 30
				w.buy(tenant, c, fmt.Sprintf("shop%d-%02d", taste, shop), fmt.Sprintf("57%02d", shop%6), float64(day)+w.r.Float64())
			}
		}
	}
	return w
}

func (w *town) buy(tenant cardlake.Tenant, customer int, merchant, mcc string, day float64) *cardlake.Transaction {
	t := writerstest.Bare()
	w.n++
	binary.BigEndian.PutUint64(t.EventID[:], w.r.Uint64())
	binary.BigEndian.PutUint64(t.EventID[8:], w.n)
	t.TransactionID = t.EventID
	t.Tenant, t.CustomerID = tenant, fmt.Sprintf("c%03d", customer)
	t.EventTime = writerstest.Start + int64(day*24*float64(time.Hour/time.Microsecond))
	t.IngestedAt = t.EventTime
	t.MerchantID, t.MerchantName, t.MCC = merchant, strings.ToUpper(merchant), mcc
	t.MerchantCity, t.MerchantCountry = []string{"Quito", "Guayaquil"}[customer/2%2], "EC"
	t.Approved, t.ResponseCode = true, "00"
	w.txs = append(w.txs, t)
	return t
}

type row struct {
	Customer, Mode  string
	Position        int32
	Merchant, Offer string
	MCC, Reason     string
	Score           float64
}

func rows(l *insightstest.Lake, tenant cardlake.Tenant, where string) (out []row) {
	for _, r := range l.Ask(tenant, `SELECT customer_id, mode, position, merchant_id, offer_id, mcc, reason, CAST(score AS DOUBLE)
		FROM insights.recommendations WHERE `+where+` ORDER BY mode, customer_id, position`) {
		out = append(out, row{text(r[0]), text(r[1]), r[2].(int32), text(r[3]), text(r[4]), text(r[5]), text(r[6]), r[7].(float64)})
	}
	return out
}

// run makes a run and returns its rows.
func run(t *testing.T, l *insightstest.Lake, settings string, values map[string]string) (insights.Outcome, []row) {
	t.Helper()
	out, err := l.Runner().Run(t.Context(), New(), insights.Request{Tenant: acme, Values: values, Settings: []byte(settings)})
	if err != nil {
		t.Fatal(err)
	}
	return out, rows(l, acme, `run_id = `+insights.Text(out.RunID))
}

func metric(t *testing.T, c report.Card, name string) report.Metric {
	t.Helper()
	for _, m := range c.Metrics {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("the card has no metric %q", name)
	return report.Metric{}
}

func TestRun(t *testing.T) {
	l := insightstest.New(t, acme, zeta)
	w := newTown(acme, 1)
	// A merchant of four customers, a bill, a doctor, a decline, a cash machine and a purchase
	// long ago: none of them is in a list.
	for c := range 60 {
		if c < 4 {
			w.buy(acme, c, "secret", "5999", 30)
		}
		w.buy(acme, c, "water", "4900", 31)
		w.buy(acme, c, "doctor", "8011", 32)
		declined := w.buy(acme, c, "declined", "5999", 33)
		declined.Approved, declined.ResponseCode = false, "51"
		w.buy(acme, c, "machine", "5999", 34).Channel = cardlake.ATM
		w.buy(acme, c, "closed", "5999", -150)
	}
	l.Add(append(w.txs, newTown(zeta, 9).txs...)...)
	out, got := run(t, l, "", nil)
	if out.State != insights.Published {
		t.Fatalf("%+v", out)
	}
	lists := map[string]map[string][]row{"all": {}, "new": {}}
	for _, r := range got {
		lists[r.Mode][r.Customer] = append(lists[r.Mode][r.Customer], r)
	}
	if len(lists["all"]) != 120 || len(lists["new"]) != 120 {
		t.Fatalf("%d and %d customers have lists, want all 120", len(lists["all"]), len(lists["new"]))
	}
	had := map[string]bool{}
	for _, tx := range w.txs {
		had[tx.CustomerID+" "+tx.MerchantID] = true
	}
	sameTaste, reasons := 0, map[string]int{}
	for mode, customers := range lists {
		for c, list := range customers {
			if len(list) > 10 {
				t.Fatalf("%s: %d rows", c, len(list))
			}
			for n, r := range list {
				if int(r.Position) != n+1 || !(r.Score >= 0 && r.Score <= 1) || n > 0 && r.Score > list[n-1].Score {
					t.Fatalf("%+v after %+v", r, list[max(n-1, 0)])
				}
				if mode == "new" && had[c+" "+r.Merchant] {
					t.Errorf("%+v is not new", r)
				}
				if slices.Contains([]string{"secret", "water", "doctor", "declined", "machine", "closed"}, r.Merchant) {
					t.Errorf("%+v is recommended", r)
				}
				for _, s := range []string{"SECRET", "WATER", "DOCTOR"} {
					if strings.Contains(r.Reason, s) {
						t.Errorf("%+v gives a reason that is nobody's business", r)
					}
				}
				reasons[strings.Join(strings.Fields(r.Reason)[:2], " ")]++
			}
			if mode == "new" && (strings.HasPrefix(list[0].Merchant, "shop0") == (int(c[3]-'0')%2 == 0)) {
				sameTaste++
			}
		}
	}
	if sameTaste < 100 {
		t.Errorf("the first new merchant is of the customer's taste for %d of 120", sameTaste)
	}
	if reasons["you buy"] == 0 || reasons["because you"] == 0 {
		t.Errorf("reasons %v", reasons)
	}
	all, fresh := metric(t, out.Card, "recall@10, all merchants"), metric(t, out.Card, "recall@10, new merchants")
	if all.Verdict() != report.Ahead || fresh.Verdict() != report.Ahead {
		t.Errorf("recall %+v, %+v: want more than the simple methods'", all, fresh)
	}
	if err := out.Card.Validate(); err != nil {
		t.Error(err)
	}
	text := fmt.Sprintf("%+v", out.Card)
	for _, s := range []string{"super", "shop", "SHOP", "c001", "Quito"} {
		if strings.Contains(text, s) {
			t.Errorf("the card names %q", s)
		}
	}
}

// TestSameAgain computes a run again, and compares runs of the same rows in another order.
func TestSameAgain(t *testing.T) {
	digest := func(order func([]*cardlake.Transaction)) [][]any {
		l := insightstest.New(t, acme)
		txs := newTown(acme, 2).txs
		order(txs)
		l.Add(txs...)
		if _, err := l.Run(New(), acme, nil); err != nil {
			t.Fatal(err)
		}
		checked, err := l.Runner().Run(t.Context(), New(), insights.Request{Tenant: acme, Check: true})
		if err != nil || checked.State != insights.Checked {
			t.Errorf("checked: %+v, %v", checked.State, err)
		}
		return l.Ask(acme, `SELECT customer_id, mode, position, merchant_id, score, reason FROM insights.recommendations ORDER BY ALL`)
	}
	as := digest(func([]*cardlake.Transaction) {})
	reversed := digest(slices.Reverse[[]*cardlake.Transaction])
	if diff := gocmp.Diff(fmt.Sprint(as), fmt.Sprint(reversed)); diff != "" {
		t.Errorf("another order of rows gives other results: %s", diff)
	}
}

// TestTenantsApart plants another tenant's rows, of the same customers and merchants, before and
// after, and finds the results the same.
func TestTenantsApart(t *testing.T) {
	l := insightstest.New(t, acme, zeta)
	l.Add(newTown(acme, 3).txs...)
	_, alone := run(t, l, "", nil)

	both := insightstest.New(t, acme, zeta)
	other := newTown(zeta, 77)
	for c := range 120 {
		for day := range 20 {
			other.buy(zeta, c, "planted", "5999", float64(day*3))
			other.buy(zeta, c, "shop0-01", "5999", float64(day*3))
		}
	}
	both.Add(append(other.txs, newTown(acme, 3).txs...)...)
	_, beside := run(t, both, "", nil)
	if len(alone) == 0 || !gocmp.Equal(alone, beside) {
		t.Errorf("another tenant's rows change the results: %s", gocmp.Diff(alone, beside))
	}
	if got := rows(both, zeta, "true"); len(got) != 0 {
		t.Errorf("another tenant sees %d rows", len(got))
	}
}

func TestFilters(t *testing.T) {
	l := insightstest.New(t, acme)
	w := newTown(acme, 4)
	for c := range 120 {
		// Everybody's shop abroad, and one that sells from there.
		for day := range 15 {
			abroad := w.buy(acme, c, "miami", "5999", float64(day*4))
			abroad.MerchantCountry, abroad.MerchantCity = "US", "Miami"
			online := w.buy(acme, c, "web", "5999", float64(day*4))
			online.MerchantCountry, online.Channel = "US", cardlake.Ecommerce
		}
	}
	l.Add(w.txs...)
	merchants := func(settings string, values map[string]string) (all []string) {
		_, got := run(t, l, settings, values)
		for _, r := range got {
			all = append(all, r.Merchant)
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	plain := merchants("", nil)
	if slices.Contains(plain, "miami") || !slices.Contains(plain, "web") || !slices.Contains(plain, "super0") {
		t.Errorf("got %v, want nothing that is sold on the spot abroad", plain)
	}
	if got := merchants("", map[string]string{"abroad": "true"}); !slices.Contains(got, "miami") {
		t.Errorf("abroad: got %v", got)
	}
	if got := merchants("", map[string]string{"countries": "US"}); !slices.Equal(got, []string{"web"}) {
		t.Errorf("only the United States: got %v", got)
	}
	if got := merchants("", map[string]string{"channels": "pos"}); slices.Contains(got, "web") {
		t.Errorf("only on the spot: got %v", got)
	}
	if got := merchants(`{"deny_merchants": ["super0"], "deny_mccs": ["5999"]}`, nil); slices.Contains(got, "super0") || slices.Contains(got, "web") {
		t.Errorf("denied: got %v", got)
	}
	if got := merchants(`{"allow_merchants": ["super1", "web", "nobody"], "deny_merchants": ["web"]}`, nil); !slices.Equal(got, []string{"super1"}) {
		t.Errorf("allowed: got %v", got)
	}
	_, got := run(t, l, "", map[string]string{"per_category": "1", "diversity": "30", "length": "3"})
	seen := map[string]bool{}
	for _, r := range got {
		key := r.Customer + r.Mode + r.MCC
		if seen[key] || r.Position > 3 {
			t.Fatalf("%+v is a second of its category, or beyond the third place", r)
		}
		seen[key] = true
	}
	if _, got := run(t, l, "", map[string]string{"without_mccs": "5411"}); slices.ContainsFunc(got, func(r row) bool { return r.MCC == "5411" }) {
		t.Error("a category that is left out is recommended")
	}
}

func TestOffers(t *testing.T) {
	l := insightstest.New(t, acme)
	txs := newTown(acme, 5).txs
	l.Add(txs...)
	newest := slices.MaxFunc(txs, func(a, b *cardlake.Transaction) int { return cmp.Compare(a.EventTime, b.EventTime) })
	today := time.UnixMicro(newest.EventTime).UTC().Format(time.DateOnly)
	out, got := run(t, l, `{"deny_merchants": ["super3"], "offers": [
		{"id": "shoes", "mcc": "5701", "from": "`+today+`", "until": "`+today+`"},
		{"id": "super", "mcc": "5411", "countries": ["EC"]},
		{"id": "peru", "mcc": "5411", "countries": ["PE"]},
		{"id": "super2", "merchant_id": "super2"},
		{"id": "denied", "merchant_id": "super3"},
		{"id": "past", "mcc": "5411", "until": "2020-01-01"},
		{"id": "future", "mcc": "5411", "from": "2999-01-01"},
		{"id": "unknown", "merchant_id": "nobody"}]}`, nil)
	counts := map[string]int{}
	for _, r := range got {
		if r.Mode != "offer" {
			continue
		}
		counts[r.Offer]++
		if r.Offer == "super2" && r.Merchant != "super2" || r.Offer == "shoes" && (r.Merchant != "" || r.MCC != "5701") {
			t.Errorf("%+v", r)
		}
		// Customers 2, 6, … buy at super2 every third day.
		if r.Offer == "super2" && r.Customer == "c006" && (r.Position != 1 || r.Reason != "you buy here") {
			t.Errorf("%+v, want it first", r)
		}
	}
	if counts["super2"] == 0 || counts["super"] != 120 || counts["shoes"] < 100 || counts["past"]+counts["future"]+counts["unknown"]+counts["denied"]+counts["peru"] != 0 {
		t.Errorf("offers %v", counts)
	}
	if !slices.ContainsFunc(out.Card.Notes, func(n report.Note) bool { return strings.HasPrefix(n.Text, "1 of 6 offers") }) {
		t.Errorf("notes %v, want one on the offer of an unknown merchant", out.Card.Notes)
	}
}

func TestSettings(t *testing.T) {
	for text, want := range map[string]string{
		`{"deny": []}`: "unknown field", `[]`: "settings", `{} {}`: "more than one",
		`{"offers": [{"id": "a"}]}`:                                                             "offer 1: one of",
		`{"offers": [{"id": "a", "mcc": "5411", "merchant_id": "x"}]}`:                          "offer 1: one of",
		`{"offers": [{"mcc": "5411"}]}`:                                                         "offer 1: id",
		`{"offers": [{"id": "a", "mcc": "5411"}, {"id": "a", "mcc": "5411"}]}`:                  "offer 2: id",
		`{"offers": [{"id": "a", "mcc": "541"}]}`:                                               "four digits",
		`{"offers": [{"id": "a", "mcc": "5411", "from": "tomorrow"}]}`:                          "are days",
		`{"offers": [{"id": "a", "mcc": "5411", "from": "2026-02-01", "until": "2026-01-01"}]}`: "after until",
		`{"offers": [{"id": "a", "mcc": "5411", "countries": ["Peru"]}]}`:                       "two capital letters",
		`{"deny_mccs": ["cash"]}`:                                                               "four digits",
	} {
		if _, err := parseSettings([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	if s, err := parseSettings(nil); err != nil || s == nil {
		t.Errorf("no settings: %v", err)
	}
}

func TestParameters(t *testing.T) {
	for _, p := range New().Parameters() {
		if err := p.Check(p.Default); err != nil {
			t.Errorf("%s: its default %v", p.Name, err)
		}
		for _, bad := range []string{"x", "-1", "1;2", "pos,"} {
			if err := p.Check(bad); err == nil {
				t.Errorf("%s: %q is accepted", p.Name, bad)
			}
		}
	}
}

func TestTooLittle(t *testing.T) {
	all := newTown(acme, 6).txs
	const day = 24 * 3600 * 1e6
	first := all[0].EventTime
	cases := []struct {
		name   string
		tenant cardlake.Tenant
		keep   func(*cardlake.Transaction) bool
		want   string
	}{
		{"nothing", "t0", func(*cardlake.Transaction) bool { return false }, "events of the tenant"},
		{"one event", "t1", func(tx *cardlake.Transaction) bool { return tx == all[0] }, "at least 5 days"},
		{"four days", "t2", func(tx *cardlake.Transaction) bool { return tx.EventTime < first+4*day }, "at least 5 days"},
		{"one customer", "t3", func(tx *cardlake.Transaction) bool { return tx.CustomerID == "c001" }, "at least 2 merchants with 5 customers each"},
		{"few customers", "t4", func(tx *cardlake.Transaction) bool { return tx.CustomerID <= "c015" }, "at least 20 customers"},
		{"one merchant", "t5", func(tx *cardlake.Transaction) bool { return tx.MerchantID == "super1" }, "at least 2 merchants"},
		{"nobody to measure", "t6", func(tx *cardlake.Transaction) bool { return tx.EventTime < first+40*day || tx.CustomerID == "c001" }, "at least 20 customers"},
		{"no names", "t7", func(tx *cardlake.Transaction) bool { return true }, "at least 2 merchants"},
	}
	var tenants []cardlake.Tenant
	var txs []*cardlake.Transaction
	for n, c := range cases {
		tenants = append(tenants, c.tenant)
		for _, tx := range all {
			if c.keep(tx) {
				copied := *tx
				copied.Tenant = c.tenant
				copied.EventID[0] ^= byte(n + 1)
				if c.name == "no names" {
					copied.CustomerID = ""
				}
				txs = append(txs, &copied)
			}
		}
	}
	l := insightstest.New(t, tenants...)
	l.Add(txs...)
	for _, c := range cases {
		_, err := l.Run(New(), c.tenant, nil)
		var refusal *insights.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want a refusal that needs %s", c.name, err, c.want)
		}
		if got := rows(l, c.tenant, "true"); len(got) != 0 {
			t.Errorf("%s: %d rows", c.name, len(got))
		}
	}
}

// TestNewCustomer has customers who appear on the last day, one with purchases only in what is
// left out: they get what is popular.
func TestNewCustomer(t *testing.T) {
	l := insightstest.New(t, acme)
	w := newTown(acme, 7)
	w.buy(acme, 500, "water", "4900", spanDays-0.5)
	w.buy(acme, 501, "super1", "5411", spanDays-0.5).MerchantCountry = ""
	l.Add(w.txs...)
	_, got := run(t, l, "", nil)
	for _, c := range []string{"c500", "c501"} {
		n := 0
		for _, r := range got {
			if r.Customer == c {
				n++
				if c == "c500" && r.Reason != "popular in Quito" {
					t.Errorf("%+v", r)
				}
			}
		}
		if n == 0 {
			t.Errorf("%s has no list", c)
		}
	}
}

// TestDrift has the second run compared with the first.
func TestDrift(t *testing.T) {
	l := insightstest.New(t, acme)
	l.Add(newTown(acme, 8).txs...)
	first, _ := run(t, l, "", nil)
	if len(first.Card.Profiles) != 2 || len(first.Card.Drift) != 0 {
		t.Fatalf("%d profiles and %d drifts of a first run", len(first.Card.Profiles), len(first.Card.Drift))
	}
	second, _ := run(t, l, "", map[string]string{"days": "30"})
	if len(second.Card.Drift) != 2 || second.Card.Previous != first.RunID {
		t.Errorf("drift %+v", second.Card.Drift)
	}
}

// TestParts reads customers in parts, as with many rows, and finds the same.
func TestParts(t *testing.T) {
	l := insightstest.New(t, acme)
	l.Add(newTown(acme, 2).txs...)
	_, whole := run(t, l, "", nil)
	// Another window makes it another run.
	out, err := l.Run(&Job{atOnce: 1000}, acme, map[string]string{"days": "181"})
	if err != nil {
		t.Fatal(err)
	}
	parts := rows(l, acme, `run_id = `+insights.Text(out.RunID))
	if len(whole) == 0 || !gocmp.Equal(whole, parts) {
		t.Error("parts give other results")
	}
}
