package anomalies_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/queries/insights/anomalies"
	"github.com/cardlake/cardlake/queries/insights/insightstest"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// BenchmarkAnomalies is a first run, from sealed files to published alerts: 1.35 million
// authorizations of 100,000 cards over 60 days, or what CARDLAKE_BENCH_ROWS says, with a card for
// each 13.5 and a merchant for every eight cards. A row is an authorization.
func BenchmarkAnomalies(b *testing.B) {
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
	const days = 60
	l := insightstest.New(b, acme)
	g, r := writerstest.New(1), rand.New(rand.NewPCG(1, 2))
	cards := n * 2 / 27
	towns := cards/25_000 + 1 // of the generator's 3,000 merchants each
	for day := range days {
		txs := g.Take(n / days)
		for i, tx := range txs {
			at := time.Date(2026, 3, 2+day, 0, 0, 0, 0, time.UTC).UnixMicro() + int64(i)*86400e6/int64(len(txs))
			card := r.IntN(cards)
			town := card % towns
			if r.IntN(20) == 0 {
				town = r.IntN(towns)
			}
			tx.CardToken, tx.MerchantID = fmt.Sprintf("tk1_%032d", card), fmt.Sprintf("%s-%d", tx.MerchantID, town)
			tx.Tenant, tx.EventTime, tx.LocalTime, tx.IngestedAt = acme, at, at-3*3600e6, at+400_000
			tx.EventType = cardlake.Authorization
		}
		l.Add(txs...)
	}
	var m meter.Meter
	for i := 0; b.Loop(); i++ {
		m.Start()
		out, err := l.Run(anomalies.New(), acme, map[string]string{"budget": strconv.Itoa(100 + i)}) // another one, lest it be the same run
		m.Stop(int64(n / days * days))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(out.Rows["insights.alerts"]), "rows-out")
	}
	m.Report(b)
}
