package insights_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/anomalies"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/queries/insights/predictions"
	"github.com/cardlake/cardlake/queries/insights/recommendations"
	"github.com/cardlake/cardlake/queries/insights/segments"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// oddity makes event number n of a lake that is odd in some way out of an ordinary one.
type oddity struct {
	events, days, customers, merchants int
	change                             func(n int, t *cardlake.Transaction)

	refuse []string // the jobs that must refuse; the others publish
	quick  []string // the jobs that run in every test, the others where CARDLAKE_REAL=1
}

func (o oddity) lake(tenant cardlake.Tenant) (txs []*cardlake.Transaction) {
	d := rand.New(rand.NewPCG(7, 7))
	begin := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for n := range o.events {
		t := *writerstest.Bare()
		copy(t.EventID[:], tenant)
		binary.BigEndian.PutUint64(t.EventID[8:], uint64(n))
		t.EventID[6], t.EventID[8] = 0x80, 0x80
		t.TransactionID, t.Tenant, t.EventType = t.EventID, tenant, cardlake.Authorization
		t.EventTime = begin.Add(time.Duration(d.Float64() * float64(o.days) * 24 * float64(time.Hour))).UnixMicro()
		t.LocalTime, t.IngestedAt = t.EventTime-3*3_600_000_000, t.EventTime
		c, m := d.IntN(o.customers), d.IntN(o.merchants)
		t.CustomerID, t.CardToken = fmt.Sprintf("c%04d", c), fmt.Sprintf("tok_%06d", c)
		t.MerchantID, t.MerchantName = fmt.Sprintf("m%04d", m), fmt.Sprintf("Shop %d", m)
		t.MCC, t.MerchantCountry = []string{"5411", "5812", "5541"}[m%3], "BR"
		t.Channel, t.Approved, t.ResponseCode = cardlake.POS, true, "00"
		t.Amount = cardlake.Money{Minor: 100 + int64(2000*d.ExpFloat64()), Currency: "BRL"}
		t.BillingAmount = t.Amount
		if o.change != nil {
			o.change(n, &t)
		}
		txs = append(txs, &t)
	}
	return txs
}

// Whatever a tenant's rows are like, each job either publishes a run, whose rows and card are whole,
// or refuses and says how much it needs.
func TestOddLakes(t *testing.T) {
	at := func(v time.Time) int64 { return v.UnixMicro() }
	noon := time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC)
	odd := map[string]oddity{
		"one event":         {events: 1, days: 1, customers: 1, merchants: 1, refuse: []string{"anomaly", "segment", "predict", "recommend"}},
		"one customer":      {events: 1500, days: 40, customers: 1, merchants: 30, refuse: []string{"segment", "predict", "recommend"}, quick: []string{"segment"}},
		"one merchant":      {events: 1500, days: 40, customers: 80, merchants: 1, refuse: []string{"recommend"}},
		"one day":           {events: 1200, days: 1, customers: 80, merchants: 20, refuse: []string{"anomaly", "predict", "recommend"}},
		"all equal amounts": {events: 1500, days: 40, customers: 80, merchants: 20, change: func(n int, t *cardlake.Transaction) { t.Amount.Minor, t.BillingAmount.Minor = 1000, 1000 }},
		"zero amounts":      {events: 1500, days: 40, customers: 80, merchants: 20, refuse: []string{"segment", "predict"}, change: func(n int, t *cardlake.Transaction) { t.Amount.Minor, t.BillingAmount.Minor = 0, 0 }},
		"huge amounts": {events: 1500, days: 40, customers: 80, merchants: 20, quick: []string{"segment"}, change: func(n int, t *cardlake.Transaction) {
			t.Amount.Minor, t.BillingAmount.Minor = 99_999_999_999_999, 99_999_999_999_999
		}},
		"one huge amount": {events: 1500, days: 40, customers: 80, merchants: 20, change: func(n int, t *cardlake.Transaction) {
			if n == 700 {
				t.Amount.Minor, t.BillingAmount.Minor = 99_999_999_999_999, 99_999_999_999_999
			}
		}},
		"refunds among them": {events: 1500, days: 40, customers: 80, merchants: 20, change: func(n int, t *cardlake.Transaction) {
			if n%3 == 0 {
				t.EventType = cardlake.Refund
			}
		}},
		"currencies mixed": {events: 1500, days: 40, customers: 80, merchants: 20, change: func(n int, t *cardlake.Transaction) {
			t.Amount.Currency = []cardlake.Currency{"BRL", "USD", "CLP"}[n%3]
			t.BillingAmount.Currency = []cardlake.Currency{"BRL", "USD"}[n%2]
		}},
		"nothing known": {events: 1500, days: 40, customers: 80, merchants: 20, refuse: []string{"segment", "predict", "recommend"}, change: func(n int, t *cardlake.Transaction) {
			t.CustomerID, t.MerchantID, t.MerchantName, t.MCC, t.MerchantCountry, t.BillingAmount, t.LocalTime = "", "", "", "", "", cardlake.Money{}, 0
		}},
		"customers alone known": {events: 1500, days: 40, customers: 80, merchants: 20, refuse: []string{"recommend"}, change: func(n int, t *cardlake.Transaction) {
			t.MerchantID, t.MerchantName, t.MCC, t.MerchantCountry, t.BillingAmount, t.LocalTime = "", "", "", "", cardlake.Money{}, 0
		}},
		"all declined": {events: 1500, days: 40, customers: 80, merchants: 20, refuse: []string{"segment", "predict", "recommend"}, change: func(n int, t *cardlake.Transaction) {
			t.Approved, t.ResponseCode, t.DeclineReason = false, "51", "insufficient_funds"
		}},
		"all at one time": {events: 1500, days: 40, customers: 80, merchants: 20, refuse: []string{"anomaly", "predict", "recommend"}, change: func(n int, t *cardlake.Transaction) { t.EventTime = at(noon) }},
		"two instants": {events: 1500, days: 40, customers: 80, merchants: 20, refuse: []string{"anomaly", "recommend"}, change: func(n int, t *cardlake.Transaction) {
			t.EventTime = at(noon.AddDate(0, 0, n%2*30))
		}},
		"empty days": {events: 1500, days: 40, customers: 80, merchants: 20, refuse: []string{"anomaly"}, change: func(n int, t *cardlake.Transaction) {
			t.EventTime = at(noon.AddDate(0, 0, n%5*20).Add(time.Duration(n) * time.Second))
		}},
		"a clock in the future": {events: 1500, days: 40, customers: 80, merchants: 20, quick: []string{"segment", "predict"}, change: func(n int, t *cardlake.Transaction) {
			if n == 3 {
				t.EventTime = at(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC))
			}
		}},
		"a clock at the epoch": {events: 1500, days: 40, customers: 80, merchants: 20, quick: []string{"predict"}, change: func(n int, t *cardlake.Transaction) {
			if n == 3 {
				t.EventTime = 1
			}
		}},
		"400 days": {events: 2500, days: 400, customers: 80, merchants: 20, refuse: []string{"anomaly"}, quick: []string{"anomaly"}},
		"everybody the same": {events: 1600, days: 40, customers: 80, merchants: 20, refuse: []string{"recommend"}, change: func(n int, t *cardlake.Transaction) {
			c := n % 80
			t.CustomerID, t.CardToken, t.EventTime = fmt.Sprint("c", c), fmt.Sprint("tok_", c), at(noon.AddDate(0, 0, n/80).Add(time.Duration(c)*time.Second))
			t.MerchantID, t.MCC, t.Amount.Minor, t.BillingAmount.Minor = fmt.Sprint("m", n/80%7), "5411", 500, 500
		}},
		"a few who never come back": {events: 90, days: 40, customers: 1, merchants: 3, refuse: []string{"anomaly", "predict", "recommend"}, change: func(n int, t *cardlake.Transaction) {
			t.CustomerID, t.CardToken = fmt.Sprint("c", n), fmt.Sprint("tok_", n)
		}},
		"one card tried a thousand times": {events: 1500, days: 20, customers: 80, merchants: 20, change: func(n int, t *cardlake.Transaction) {
			if n%3 > 0 {
				t.CustomerID, t.CardToken, t.MerchantID = "c0", "tok_0", "m0"
			}
		}},
	}
	all := os.Getenv("CARDLAKE_REAL") == "1"
	for name, o := range odd {
		if !all && o.quick == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			l := insightstest.New(t, "acme")
			l.Add(o.lake("acme")...)
			for _, j := range []insights.Job{anomalies.New(), segments.New(), predictions.New(), recommendations.New()} {
				if !all && !slices.Contains(o.quick, j.Name()) {
					continue
				}
				out, err := l.Run(j, "acme", nil)
				var refusal *insights.Refusal
				if refused := errors.As(err, &refusal); err != nil && !refused || refused != slices.Contains(o.refuse, j.Name()) {
					t.Errorf("%s: %v, want refusals of %v", j.Name(), err, o.refuse)
				}
				if want := says[name+", "+j.Name()]; err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
				t.Logf("%s: %v %v", j.Name(), err, out.Rows)
				if name == "a clock in the future" && err == nil {
					checkFuture(t, l, out)
				}
			}
		})
	}
}

// says is what refusals tell of how much is needed.
var says = map[string]string{
	"one customer, segment":       "at least 10 customers with purchases in the window of 90 days needed, there are 1",
	"everybody the same, segment": "features that vary",
	"400 days, anomaly":           "of the 28 days before it a sample of 500 authorizations, at most 300 a day needed, there are 100 days with events over a span of 100",
}

// An event of 2099 neither moves the end of the data nor makes all customers ones who left long ago.
func checkFuture(t *testing.T, l *insightstest.Lake, out insights.Outcome) {
	t.Helper()
	if out.AsOf.Year() != 2026 {
		t.Errorf("as_of is %v", out.AsOf)
	}
	if n := len(out.Card.Notes); n == 0 || !strings.Contains(out.Card.Notes[n-1].Text, "more than a day after the lake took them: 1.") {
		t.Errorf("notes are %v", out.Card.Notes)
	}
	if out.Card.Job == "predict" {
		rows := l.AskAs(insightstest.Principal, "SELECT CAST(sum(purchases_30) AS DOUBLE), CAST(min(alive) AS DOUBLE) FROM insights.predictions")
		if sum, _ := insights.Float(rows[0][0]); sum < 500 || sum > 2000 {
			t.Errorf("%v purchases are expected in 30 days after 1500 in 40", sum)
		}
	}
}
