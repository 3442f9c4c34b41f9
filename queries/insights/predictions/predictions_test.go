package predictions_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/queries/insights/predictions"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/writers/writerstest"
)

const acme, zeta = cardlake.Tenant("acme"), cardlake.Tenant("zeta")

var begin = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// ledger makes events of a tenant.
type ledger struct {
	tenant cardlake.Tenant
	number uint64
	txs    []*cardlake.Transaction
}

func (l *ledger) id() (id cardlake.EventID) {
	l.number++
	copy(id[:], l.tenant)
	binary.BigEndian.PutUint64(id[8:], l.number)
	id[6], id[8] = 0x80, 0x80
	return id
}

// buy adds an approved authorisation of so many minor units at a time since the begin.
func (l *ledger) buy(customer, mcc string, at time.Duration, minor int64) *cardlake.Transaction {
	t := *writerstest.Bare()
	t.EventID = l.id()
	t.TransactionID, t.Tenant, t.EventType = t.EventID, l.tenant, cardlake.Authorization
	t.EventTime = begin.Add(at).UnixMicro()
	t.LocalTime = t.EventTime - 3*3_600_000_000
	t.IngestedAt = t.EventTime
	t.CustomerID, t.MCC, t.Channel = customer, mcc, cardlake.POS
	t.Approved, t.ResponseCode = true, "00"
	t.Amount = cardlake.Money{Minor: minor, Currency: "BRL"}
	t.BillingAmount = t.Amount
	l.txs = append(l.txs, &t)
	return &t
}

// reverse adds a reversal of so many minor units of a purchase.
func (l *ledger) reverse(of *cardlake.Transaction, minor int64) {
	t := *of
	t.EventID, t.EventType, t.MTI = l.id(), cardlake.Reversal, "0400"
	t.EventTime += 1_000_000
	t.Amount.Minor = minor
	l.txs = append(l.txs, &t)
}

const day = 24 * time.Hour

// trade adds customers who come and go over so many days, with two favourite categories each, a
// value of their own, and coffee after fuel.
func (l *ledger) trade(seed uint64, customers, days int) {
	d := rand.New(rand.NewPCG(seed, 1))
	mccs := []string{"5411", "5812", "5541", "4111", "5999", "5732"}
	for c := range customers {
		name := fmt.Sprintf("c%04d", c)
		a, b := mccs[d.IntN(len(mccs))], mccs[d.IntN(len(mccs))]
		rate, leaves, value := .05+.25*d.ExpFloat64(), .05*d.ExpFloat64(), 2000*math.Exp(d.NormFloat64()/2)
		mcc := ""
		for at := float64(d.IntN(days / 2)); at < float64(days); at += d.ExpFloat64() / rate {
			switch u := d.Float64(); {
			case mcc == "5541" && u < .8:
				mcc = "5814"
			case u < .3:
				mcc = b
			case u < .5:
				mcc = mccs[d.IntN(len(mccs))]
			default:
				mcc = a
			}
			l.buy(name, mcc, time.Duration(at*float64(day)), 100+int64(value*d.ExpFloat64()))
			if d.Float64() < leaves {
				break
			}
		}
	}
	l.buy("last", "5411", time.Duration(days)*day-time.Second, 5000)
}

const all = `SELECT customer_id, frequency, recency_days, age_days, alive, purchases_30, purchases_60, purchases_90,
  value_30, value_60, value_90, currency, next_mcc, next_mcc_probability, next_purchase_at, as_of
FROM insights.predictions ORDER BY customer_id`

func number(t *testing.T, v any) float64 {
	t.Helper()
	s := fmt.Sprint(v)
	if f, ok := v.(interface{ ToString(int32) string }); ok {
		s = f.ToString(4)
	}
	var x float64
	if _, err := fmt.Sscan(s, &x); err != nil {
		t.Fatalf("%T %v is no number", v, v)
	}
	return x
}

// rowsOf returns the predictions of the tenant by customer, as the job's principal sees them.
func rowsOf(l *insightstest.Lake, tenant cardlake.Tenant) map[string][]any {
	rows := map[string][]any{}
	for _, r := range l.AskAs(insightstest.Principal, strings.Replace(all, "ORDER BY", "WHERE tenant = "+insights.Text(string(tenant))+" ORDER BY", 1)) {
		rows[r[0].(string)] = r
	}
	return rows
}

func TestPredict(t *testing.T) {
	l := insightstest.New(t, acme, zeta)
	a := &ledger{tenant: acme}
	a.trade(1, 400, 120)
	// Known by hand: four purchases on days 10, 10, 20 and 50 of 120; what is undone, cash,
	// declined or given back is no purchase.
	a.buy("known", "5411", 10*day+9*time.Hour, 1000)
	a.buy("known", "5812", 10*day+19*time.Hour, 2000)
	half := a.buy("known", "5411", 20*day, 4000)
	a.reverse(half, 1000)
	a.buy("known", "5411", 20*day+time.Hour, 5000).TransactionID = half.EventID // more of the same purchase
	a.buy("known", "5411", 50*day, 3000)
	a.reverse(a.buy("known", "5411", 70*day, 9000), 9000)
	twice := a.buy("known", "5411", 71*day, 9000)
	a.reverse(twice, 5000)
	a.reverse(twice, 5000)
	a.buy("known", "6011", 72*day, 9000)
	a.buy("known", "5411", 73*day, 9000).Channel = cardlake.ATM
	a.buy("known", "5411", 74*day, 9000).Approved = false
	a.buy("known", "5411", 75*day, 9000).EventType = cardlake.Refund
	cleared := a.buy("known", "5411", 76*day, 9000)
	cleared.EventType, cleared.TransactionID = cardlake.Clearing, half.EventID
	a.buy("abroad", "5411", 5*day, 1000).BillingAmount.Currency = "USD"
	a.buy("", "5411", 6*day, 1000)
	for i := range 600 { // more categories than are told apart
		a.buy("odd", fmt.Sprint(1000+i), 7*day+time.Duration(i)*time.Minute, 100)
	}
	a.buy("odd", "", 8*day, 1000)
	l.Add(a.txs...)

	out, err := l.Run(predictions.New(), acme, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := rowsOf(l, acme)
	if int64(len(rows)) != out.Rows["insights.predictions"] || len(rows) != 404 {
		t.Fatalf("%d rows, %v written", len(rows), out.Rows)
	}
	known := rows["known"]
	if known[1] != int64(3) || number(t, known[2]) != 40 || math.Abs(number(t, known[3])-109.5) > .001 {
		t.Errorf("known: x, t_x, T = %v", known[1:4])
	}
	if abroad := rows["abroad"]; abroad[8] != nil || abroad[11] != nil || abroad[1] != int64(0) {
		t.Errorf("a customer billed in another currency: %v", abroad)
	}
	if x := rows["odd"][1].(int64); x > 20 {
		t.Errorf("a burst of 600 purchases counts as %d", x)
	}
	// Its mean purchase is worth 22.50 in reais; a value expected lies between that and the mean of all.
	worth := number(t, known[8]) / number(t, known[5])
	if !(worth > 20 && worth < 40) || known[11] != "BRL" {
		t.Errorf("known: a purchase is worth %g %v", worth, known[11])
	}
	for name, r := range rows {
		alive := number(t, r[4])
		if !(alive >= 0 && alive <= 1) || !(number(t, r[5]) <= number(t, r[6]) && number(t, r[6]) <= number(t, r[7])) {
			t.Errorf("%s: %v", name, r)
		}
		if at, ok := r[14].(time.Time); alive >= .5 != ok || ok && at.Before(r[15].(time.Time).Add(-time.Second)) {
			t.Errorf("%s: next purchase at %v, alive %g", name, r[14], alive)
		}
		if name == "odd" { // nearly all its purchases are of categories that are not told apart
			if r[12] != nil || r[13] != nil {
				t.Errorf("odd: next category %v, %v", r[12], r[13])
			}
			continue
		}
		if p := number(t, r[13]); !(p > 0 && p <= 1) || len(r[12].(string)) != 4 {
			t.Errorf("%s: next category %v, %v", name, r[12], r[13])
		}
	}

	metrics := map[string]report.Metric{}
	for _, m := range out.Card.Metrics {
		metrics[m.Name] = m
		t.Logf("%s = %.4g %s %v", m.Name, m.Value, m.Unit, m.Baselines)
	}
	for _, name := range []string{"error of a customer's purchases (RMSE)", "error of a customer's purchases (MAE)", "next category right", "next category, log loss", "error of the time of the next purchase"} {
		if metrics[name].Verdict() != report.Ahead {
			t.Errorf("%s is not ahead of its baselines: %+v", name, metrics[name])
		}
	}
	if e := metrics["expected over actual"].Value; math.Abs(e-1) > .15 {
		t.Errorf("expected over actual is %g", e)
	}
	if len(out.Card.Figures) != 5 || out.Card.Previous != "" {
		t.Errorf("%d figures", len(out.Card.Figures))
	}
	for _, n := range out.Card.Notes {
		t.Log(n.Kind, n.Text)
	}

	// Computed once more it is the same.
	if again, err := l.Runner().Run(t.Context(), predictions.New(), insights.Request{Tenant: acme, Check: true}); err != nil || again.State != insights.Checked {
		t.Errorf("checked: %v, %v", again.State, err)
	}
}

// What other tenants do changes nothing of a tenant's results.
func TestTenantsDoNotMix(t *testing.T) {
	a := &ledger{tenant: acme}
	a.trade(1, 120, 60)
	run := func(others func(*insightstest.Lake)) (insights.Outcome, string) {
		l := insightstest.New(t, acme, zeta)
		l.Add(a.txs...)
		others(l)
		out, err := l.Run(predictions.New(), acme, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out, fmt.Sprint(rowsOf(l, acme))
	}
	before, rows := run(func(*insightstest.Lake) {})
	after, planted := run(func(l *insightstest.Lake) {
		z := &ledger{tenant: zeta}
		z.trade(7, 100, 70)
		for _, tx := range z.txs { // the same customers, of other habits, and reversals of acme's purchases
			tx.MCC, tx.BillingAmount.Currency = "7995", "USD"
		}
		for i, tx := range a.txs {
			if i%3 == 0 {
				z.reverse(tx, tx.Amount.Minor)
				z.txs[len(z.txs)-1].Tenant = zeta
			}
		}
		l.Add(z.txs...)
		if _, err := l.Run(predictions.New(), zeta, nil); err != nil {
			t.Fatal(err)
		}
	})
	if rows != planted {
		t.Error("another tenant's rows change the result")
	}
	if diff := cmp.Diff(before.Card.Metrics, after.Card.Metrics); diff != "" {
		t.Error(diff)
	}
}

func TestDrift(t *testing.T) {
	l := insightstest.New(t, acme)
	a := &ledger{tenant: acme}
	a.trade(1, 120, 60)
	l.Add(a.txs...)
	first, err := l.Run(predictions.New(), acme, nil)
	if err != nil {
		t.Fatal(err)
	}
	more := &ledger{tenant: acme, number: 1 << 32}
	for c := range 200 {
		for d := range 10 {
			more.buy(fmt.Sprintf("new%03d", c), "5411", time.Duration(70+d)*day, 1000)
		}
	}
	l.Add(more.txs...)
	second, err := l.Run(predictions.New(), acme, nil)
	if err != nil {
		t.Fatal(err)
	}
	if second.Card.Previous != first.RunID || len(second.Card.Drift) != 2 || second.Card.Drift[1].Level == report.None {
		t.Errorf("drift: %+v", second.Card.Drift)
	}
}

func TestRefusals(t *testing.T) {
	cases := []struct {
		tenant cardlake.Tenant
		events func(*ledger)
		values map[string]string
		want   string
	}{
		{"no-purchases", func(l *ledger) { l.buy("a", "6011", 0, 100) }, nil, "purchases (approved authorisations of customers, not reversed, other than cash) needed, there are none"},
		{"one-day", func(l *ledger) {
			for i := range 500 {
				l.buy(fmt.Sprint("c", i%100), "5411", time.Duration(i)*time.Minute, 100)
			}
		}, nil, "purchases over at least 14 days needed, there are purchases over 1"},
		{"few-customers", func(l *ledger) { l.trade(1, 20, 60) }, nil, "at least 50 customers, of whom 10 purchased twice or more needed"},
		{"nobody-comes-back", func(l *ledger) {
			for i := range 200 {
				l.buy(fmt.Sprint("c", i), "5411", time.Duration(i)*6*time.Hour, 100)
			}
		}, nil, "there are 200 customers, of whom 0 did"},
		{"too-late", func(l *ledger) {
			for i := range 200 {
				l.buy(fmt.Sprint("c", i), "5411", time.Duration(i)*time.Hour, 100)
				l.buy(fmt.Sprint("c", i), "5411", 39*day, 100)
			}
		}, nil, "more customers who come back before the 10 held-out days"},
		{"held-out-too-long", func(l *ledger) { l.trade(1, 100, 60) }, map[string]string{"holdout_days": "50"}, "at least 100 days of purchases for 50 held-out days needed, there are 60 days"},
		{"bad-parameter", func(l *ledger) { l.trade(1, 100, 60) }, map[string]string{"folds": "0"}, "parameter folds: is not a whole number from 1 to 10"},
	}
	var tenants []cardlake.Tenant
	for _, c := range cases {
		tenants = append(tenants, c.tenant)
	}
	l := insightstest.New(t, tenants...)
	var txs []*cardlake.Transaction
	for _, c := range cases {
		a := &ledger{tenant: c.tenant}
		c.events(a)
		txs = append(txs, a.txs...)
	}
	l.Add(txs...)
	for _, c := range cases {
		if _, err := l.Run(predictions.New(), c.tenant, c.values); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.tenant, err, c.want)
		}
	}
}
