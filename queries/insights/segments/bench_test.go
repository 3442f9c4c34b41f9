package segments_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/queries/insights/segments"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// BenchmarkSegments is a run from sealed files to published segments: 1.35 million purchases of
// 100,000 customers of six kinds over 60 days, or what CARDLAKE_BENCH_ROWS says, with a customer
// for each 13.5. A row is a purchase.
func BenchmarkSegments(b *testing.B) {
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
	l := insightstest.New(b, acme)
	r := rand.New(rand.NewPCG(1, 2))
	const batch = 250_000
	var txs []*cardlake.Transaction
	for at := range n {
		customer := r.IntN(n * 2 / 27)
		kind := customer % 6
		t := writerstest.Bare()
		binary.BigEndian.PutUint64(t.EventID[:], r.Uint64())
		binary.BigEndian.PutUint64(t.EventID[8:], uint64(at))
		t.TransactionID = t.EventID
		t.CustomerID = "c" + strconv.Itoa(customer)
		t.MerchantID, t.MCC, t.MerchantCountry = fmt.Sprintf("m%d", r.IntN(10+200*(kind%2))), fmt.Sprintf("5%03d", r.IntN(3+10*(kind%3))), "EC"
		t.Channel = cardlake.POS
		switch u := r.Float64(); {
		case kind == 1 && u < .7:
			t.Channel = cardlake.Ecommerce
		case kind == 2 && u < .6:
			t.Channel = cardlake.ATM
		case kind == 3 && u < .5:
			t.MerchantCountry = "US"
		}
		t.EventTime = writerstest.Start + int64(at)*(60*int64(24*time.Hour/time.Microsecond)/int64(n))
		t.LocalTime = t.EventTime
		if kind == 4 {
			t.LocalTime = t.EventTime - t.EventTime%(24*3_600_000_000) + r.Int64N(5*3_600_000_000)
		}
		t.Amount.Minor = int64(500 * (1 + kind) * (1 + r.IntN(20)))
		t.BillingAmount = t.Amount
		t.IngestedAt, t.Approved = t.EventTime, true
		if txs = append(txs, t); len(txs) == batch || at == n-1 {
			l.Add(txs...)
			txs = txs[:0]
		}
	}
	txs = nil
	var m meter.Meter
	runs := 0
	for b.Loop() {
		runs++ // another seed, lest it be the same run
		m.Start()
		out, err := l.Runner().Run(b.Context(), segments.New(), insights.Request{Tenant: acme, Values: map[string]string{"seed": strconv.Itoa(runs)}})
		if err != nil {
			b.Fatal(err)
		}
		m.Stop(out.Card.Window.Rows)
		b.ReportMetric(float64(out.Card.Window.Counts[0].N), "customers")
	}
	m.Report(b)
}
