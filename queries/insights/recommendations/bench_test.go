package recommendations

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
	"github.com/cardlake/cardlake/writers/writerstest"
)

// BenchmarkRecommendations is a run from sealed files to published lists: 1.35 million purchases of 100,000
// customers at 2,000 merchants over 60 days, or what CARDLAKE_BENCH_ROWS says, with a customer for
// each 13.5. A row is a purchase.
func BenchmarkRecommendations(b *testing.B) {
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
	shops := rand.NewZipf(r, 1.1, 20, 99)
	const batch = 250_000
	var txs []*cardlake.Transaction
	for at := range n {
		customer := r.IntN(n * 2 / 27)
		// A customer buys in one of 20 towns, and one purchase in five anywhere.
		town := customer % 20
		if r.IntN(5) == 0 {
			town = r.IntN(20)
		}
		t := writerstest.Bare()
		binary.BigEndian.PutUint64(t.EventID[:], r.Uint64())
		binary.BigEndian.PutUint64(t.EventID[8:], uint64(at))
		t.TransactionID = t.EventID
		t.CustomerID = "c" + strconv.Itoa(customer)
		t.MerchantID = fmt.Sprintf("m%d-%d", town, shops.Uint64())
		t.MerchantName, t.MCC, t.MerchantCountry, t.MerchantCity = t.MerchantID, "5411", "EC", "town "+strconv.Itoa(town)
		t.EventTime = writerstest.Start + int64(at)*(60*int64(24*time.Hour/time.Microsecond)/int64(n))
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
		runs++
		m.Start()
		out, err := l.Runner().Run(b.Context(), New(), insights.Request{Tenant: acme, Values: map[string]string{"days": strconv.Itoa(200 + runs)}})
		m.Stop(int64(n))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(out.Rows["insights.recommendations"]), "rows-out")
	}
	m.Report(b)
}
