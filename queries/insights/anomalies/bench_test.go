package anomalies_test

import (
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

// BenchmarkJob runs the job over days of a tenant of the model's record day, 135,000 rows of
// 10,000 cards each: everything from the sealed lake to published alerts. Half of the days are
// scored. There are four of them, or as many as CARDLAKE_BENCH_DAYS says: 100 are 13.5 million rows.
func BenchmarkJob(b *testing.B) {
	const perDay = 135_000
	days := 4
	if n, err := strconv.Atoi(os.Getenv("CARDLAKE_BENCH_DAYS")); err == nil {
		days = n
	}
	l := insightstest.New(b, acme)
	g := writerstest.New(1)
	for day := range days {
		txs := g.Take(perDay)
		for i, tx := range txs {
			at := time.Date(2026, 3, 2+day, 0, 0, 0, 0, time.UTC).UnixMicro() + int64(i)*(86400e6/perDay)
			tx.Tenant, tx.EventTime, tx.LocalTime, tx.IngestedAt = acme, at, at-3*3600e6, at+400_000
			tx.EventType = cardlake.Authorization
		}
		l.Add(txs...)
	}
	var m meter.Meter
	for i := 0; b.Loop(); i++ {
		m.Start()
		_, err := l.Run(anomalies.New(), acme, map[string]string{
			"warm_days": strconv.Itoa(max(1, min(days/2, 90))), "budget": strconv.Itoa(100 + i), "history_days": strconv.Itoa(max(7, days)),
		})
		m.Stop(perDay * int64(days))
		if err != nil {
			b.Fatal(err)
		}
	}
	m.Report(b)
}
