package predictions_test

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/queries/insights/predictions"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// BenchmarkPredictions is a run from sealed files to published predictions: 1.35 million purchases
// of 100,000 customers of different habits over 60 days, or what CARDLAKE_BENCH_ROWS says, with a
// customer for each 13.5. A row is a purchase.
func BenchmarkPredictions(b *testing.B) {
	n := 1_350_000
	if testing.Short() {
		n = 100_000
	}
	if s := os.Getenv("CARDLAKE_BENCH_ROWS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < 100_000 {
			b.Fatal("CARDLAKE_BENCH_ROWS is not a number of at least 100000")
		}
	}
	l := insightstest.New(b, "acme")
	r := rand.New(rand.NewPCG(1, 2))
	const batch = 250_000
	var txs []*cardlake.Transaction
	customers := n * 2 / 27
	for at := range n {
		// Half of the purchases are anybody's, the others rather of the first customers, who
		// stay away one after another.
		customer := r.IntN(customers)
		if k := int(float64(customers) * r.Float64() * r.Float64()); r.IntN(2) == 0 && (k%3 > 0 || k%60 > at*60/n) {
			customer = k
		}
		kind := customer % 40
		if r.IntN(3) == 0 {
			kind = r.IntN(40)
		}
		t := writerstest.Bare()
		binary.BigEndian.PutUint64(t.EventID[:], r.Uint64())
		binary.BigEndian.PutUint64(t.EventID[8:], uint64(at))
		t.TransactionID = t.EventID
		t.CustomerID = "c" + strconv.Itoa(customer)
		t.MerchantID, t.MCC, t.MerchantCountry, t.Channel = "m1", strconv.Itoa(5000+kind), "EC", cardlake.POS
		t.EventTime = writerstest.Start + int64(at)*(60*int64(24*time.Hour/time.Microsecond)/int64(n))
		t.LocalTime = t.EventTime
		t.Amount.Minor = int64(500 * (1 + r.IntN(20)*(1+customer%5)))
		t.BillingAmount = t.Amount
		t.IngestedAt, t.Approved = t.EventTime, true
		if txs = append(txs, t); len(txs) == batch || at == n-1 {
			l.Add(txs...)
			txs = txs[:0]
		}
	}
	txs = nil
	var m meter.Meter
	holdout := 10
	for b.Loop() {
		holdout++ // another one, lest it be the same run
		m.Start()
		out, err := l.Runner().Run(b.Context(), predictions.New(), insights.Request{Tenant: "acme", Values: map[string]string{"holdout_days": strconv.Itoa(holdout)}})
		if err != nil {
			b.Fatal(err)
		}
		m.Stop(int64(n))
		b.ReportMetric(float64(out.Rows["insights.predictions"]), "rows-out")
	}
	m.Report(b)
}
