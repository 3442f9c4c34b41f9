package figures_test

import (
	"fmt"
	"time"

	"github.com/cardlake/cardlake/queries/figures"
)

// A figure's statement is made of checked arguments; a line whose argument is not given is left
// out. It goes through the gateway like any other.
func ExampleFigure_For() {
	f, _ := figures.Named("by-wallet")
	a := figures.Args{Tenant: "aurora", From: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)}
	sql, err := f.For(a)
	fmt.Print(sql, err, "\n")
	a.Values = map[string]string{"currency": "BRL' OR 'a' = 'a"}
	_, err = f.For(a)
	fmt.Println(err)
	// Output:
	// SELECT wallet, currency, requests, approved, declined,
	//   CAST(approved AS DOUBLE) / NULLIF(requests, 0) AS approval_rate,
	//   requested_amount, approved_amount,
	//   CAST(requests AS DOUBLE) / NULLIF(sum(requests) OVER (), 0) AS share
	// FROM (
	//   SELECT wallet, currency,
	//     count(*) AS requests,
	//     CAST(sum(CASE WHEN approved THEN 1 WHEN approved IS NOT NULL THEN 0 END) AS BIGINT) AS approved,
	//     CAST(sum(CASE WHEN NOT approved THEN 1 WHEN approved IS NOT NULL THEN 0 END) AS BIGINT) AS declined,
	//     CAST(sum(amount) AS DECIMAL(38,4)) AS requested_amount,
	//     CAST(sum(CASE WHEN approved THEN amount WHEN approved IS NOT NULL AND amount IS NOT NULL THEN 0 END) AS DECIMAL(38,4)) AS approved_amount
	//   FROM views.events
	//   WHERE tenant = 'aurora' AND day >= DATE '2026-03-01' AND day < DATE '2026-03-08' AND event_type = 'authorization'
	//   GROUP BY wallet, currency
	// ) AS sums
	// ORDER BY requests DESC, wallet, currency
	// LIMIT 20
	// <nil>
	// currency must be a currency of three capital letters, like BRL
}
