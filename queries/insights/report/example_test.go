package report_test

import (
	"fmt"
	"os"
	"time"

	"github.com/cardlake/cardlake/queries/insights/report"
)

func Example() {
	day := func(d int) time.Time { return time.Date(2026, 3, d, 0, 0, 0, 0, time.UTC) }
	card := report.Card{
		Job: "predict", Method: "BG/NBD", Version: "1", Tenant: "acme", Run: "r1", AsOf: day(31),
		Window: report.Window{From: day(1), To: day(31), Rows: 120_000, Counts: []report.Count{{Name: "Customers", N: 4_000}}},
		Metrics: []report.Metric{{
			Name: "error of purchases in 30 days", Value: 0.82, Better: report.Lower,
			Baselines: []report.Baseline{{Name: "same as last month", Value: 1.31}, {Name: "mean of all", Value: 1.77}},
		}},
		Notes: []report.Note{{Kind: report.Limit, Text: "Customers with one purchase have wide intervals."}},
	}
	if err := report.Text(os.Stdout, card); err != nil {
		fmt.Println(err)
	}
	// Output:
	// predict for acme
	// BG/NBD, version 1
	//
	//   Data from           1 March 2026
	//   Data to, exclusive  31 March 2026
	//   Rows                120,000
	//   Customers           4,000
	//   As of               31 March 2026
	//   Snapshot            0
	//   Run                 r1
	//
	// METRICS
	//   metric                         value          simple method
	//   error of purchases in 30 days  0.820  better          1.310  same as last month
	//                                                         1.770  mean of all
	//
	// NOTES
	//   - Limit: Customers with one purchase have wide intervals.
}
