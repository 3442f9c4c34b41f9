package figures

import "strings"

var overview = []Figure{
	{
		Name: "totals", Page: "overview", Range: Ranged,
		Doc: "Requests, approvals and amounts of a range, and what became of them, by the merchants' currency. Events count on the day that they happened.",
		SQL: `SELECT currency, requests, approved, declined,
  ` + rate("approved", "requests") + ` AS approval_rate,
  requested_amount, approved_amount,
  ` + rate("approved_amount", "approved") + ` AS average_amount,
  reversals, reversed_amount, clearings, cleared_amount, refunds, refunded_amount, chargebacks, charged_back_amount
FROM (
  SELECT currency,
    ` + total("requests") + ` AS requests,
    ` + total("approved") + ` AS approved,
    ` + total("declined") + ` AS declined,
    ` + sumOf("requested_amount") + ` AS requested_amount,
    ` + sumOf("approved_amount") + ` AS approved_amount,
    ` + total("reversals") + ` AS reversals,
    ` + sumOf("reversed_amount") + ` AS reversed_amount,
    ` + total("clearings") + ` AS clearings,
    ` + sumOf("cleared_amount") + ` AS cleared_amount,
    ` + total("refunds") + ` AS refunds,
    ` + sumOf("refunded_amount") + ` AS refunded_amount,
    ` + total("chargebacks") + ` AS chargebacks,
    ` + sumOf("charged_back_amount") + ` AS charged_back_amount
  FROM views.tenant_daily
  WHERE ` + inRange + `
  GROUP BY currency
) AS sums
ORDER BY requests DESC, currency
`,
	},
	{
		Name: "billed-totals", Page: "overview", Range: Ranged,
		Doc: "What approved requests of a range cost the cardholders, in the cards' own currency, and how much of it was bought in another.",
		SQL: `SELECT billing_currency, approved, billed_amount,
  ` + rate("billed_amount", "approved") + ` AS average_amount,
  foreign_approved,
  ` + rate("foreign_approved", "approved") + ` AS foreign_share,
  foreign_amount
FROM (
  SELECT billing_currency,
    count(*) AS approved,
    ` + sumOf("billing_amount") + ` AS billed_amount,
    ` + counted("currency <> billing_currency", "currency") + ` AS foreign_approved,
    CAST(sum(CASE WHEN currency <> billing_currency THEN billing_amount WHEN billing_amount IS NOT NULL THEN 0 END) AS DECIMAL(38,4)) AS foreign_amount
  FROM views.events
  WHERE ` + requests + `
    AND approved AND billing_currency IS NOT NULL
  GROUP BY billing_currency
) AS sums
ORDER BY approved DESC, billing_currency
`,
	},
	{
		Name: "volume", Page: "overview", Range: Ranged, Params: []Param{byGrain, byCurrency},
		Doc: "Requests, approvals and amounts over time, by the merchants' currency.",
		SQL: `SELECT period, currency, requests, approved, declined,
  ` + rate("approved", "requests") + ` AS approval_rate,
  requested_amount, approved_amount
FROM (
  SELECT date_trunc({grain}, hour) AS period, currency,
    ` + total("requests") + ` AS requests,
    ` + total("approved") + ` AS approved,
    ` + total("declined") + ` AS declined,
    ` + sumOf("requested_amount") + ` AS requested_amount,
    ` + sumOf("approved_amount") + ` AS approved_amount
  FROM views.approvals_by_hour
  WHERE ` + inRange + `
    AND currency = {currency}
  GROUP BY date_trunc({grain}, hour), currency
) AS sums
ORDER BY period, currency
`,
	},
	{
		Name: "approval-parts", Page: "overview", Range: Ranged,
		Doc: "What became of the requests of a range: approved, or declined for something that the cardholder can put right, by the issuer's own decision, for suspected fraud, or for a technical reason.",
		SQL: `SELECT outcome, requests,
  ` + share("requests") + ` AS share
FROM (
  SELECT outcome, ` + total("requests") + ` AS requests
  FROM (
    SELECT requests,
      ` + outcome("      ") + ` AS outcome
    FROM (
      SELECT approved, response_code, count(*) AS requests
      FROM views.events
      WHERE ` + requests + `
      GROUP BY approved, response_code
    ) AS codes
  ) AS named
  GROUP BY outcome
) AS outcomes
ORDER BY CASE outcome WHEN 'approved' THEN 0 ELSE 1 END, requests DESC, outcome
`,
	},
	{
		Name: "by-hour-and-weekday", Page: "overview", Range: Ranged, Params: []Param{byClock},
		Doc: "Requests and approvals of a range by weekday, from 1 for Monday, and hour of the day.",
		SQL: `SELECT weekday, hour, requests, approved,
  ` + rate("approved", "requests") + ` AS approval_rate
FROM (
  SELECT date_part('isodow', hour_at) AS weekday, date_part('hour', hour_at) AS hour,
    ` + total("requests") + ` AS requests,
    ` + total("approved") + ` AS approved
  FROM (
    SELECT date_trunc('hour', {clock}) AS hour_at,
      count(*) AS requests,
      ` + approvedCount + ` AS approved
    FROM views.events
    WHERE ` + requests + `
      AND {clock} IS NOT NULL
    GROUP BY date_trunc('hour', {clock})
  ) AS hours
  GROUP BY date_part('isodow', hour_at), date_part('hour', hour_at)
) AS sums
ORDER BY weekday, hour
`,
	},
	byView("country", "merchant_country", "the merchants' country"),
	byView("channel", "channel", "channel"),
	byView("entry-mode", "entry_mode", "how the card was read"),
	byView("bin", "bin", "the first digits of the card number"),
	byView("network", "network", "card scheme"),
	byView("mcc", "mcc", "merchant category"),
	byEvents("product", "product", "product", "how the card is funded", ""),
	byEvents("program", "program", "program", "card programme", ""),
	byEvents("wallet", "wallet", "wallet", "device wallet; NULL is none", ""),
	byEvents("city", "merchant_city", "merchant_city", "the merchants' city", ""),
	byEvents("authentication", `CASE
      WHEN eci IN ('05', '02') THEN 'authenticated'
      WHEN eci IN ('06', '01') THEN 'attempted'
      WHEN eci IN ('07', '00') THEN 'none'
      ELSE 'unknown'
    END`, "authentication", "how the cardholder was authenticated (ECI), for e-commerce only", "\n    AND channel = 'ecommerce'"),
	{
		Name: "ticket-size", Page: "overview", Range: Ranged, Params: []Param{inCurrency},
		Doc: "Requests of a range by their amount, in steps of 1, 2, 5, 10 and so on.",
		SQL: `SELECT CAST(step AS DECIMAL(38,4)) AS from_amount,
  CAST(` + upper("step") + ` AS DECIMAL(38,4)) AS to_amount,
  requests, approved,
  ` + rate("approved", "requests") + ` AS approval_rate,
  approved_amount
FROM (
  SELECT ` + bucket("amount", "  ") + ` AS step,
    count(*) AS requests,
    ` + approvedCount + ` AS approved,
    ` + approvedAmount + ` AS approved_amount
  FROM views.events
  WHERE ` + requests + `
    AND currency = {currency} AND amount IS NOT NULL
  GROUP BY 1
) AS sizes
ORDER BY from_amount
`,
	},
	{
		Name: "ticket-quantiles", Page: "overview", Range: Ranged, Params: []Param{inCurrency},
		Doc: "How large approved requests of a range are: amounts that a tenth, a quarter, half … of them do not exceed.",
		SQL: `SELECT approved, p10, p25, median, p75, p90, p99
FROM (
  SELECT count(*) AS approved,
    quantile_disc(amount, 0.1) AS p10,
    quantile_disc(amount, 0.25) AS p25,
    quantile_disc(amount, 0.5) AS median,
    quantile_disc(amount, 0.75) AS p75,
    quantile_disc(amount, 0.9) AS p90,
    quantile_disc(amount, 0.99) AS p99
  FROM views.events
  WHERE ` + requests + `
    AND approved AND currency = {currency}
) AS amounts
WHERE approved > 0
`,
	},
	{
		Name: "latency", Page: "overview", Range: Ranged, Params: []Param{byGrain},
		Doc: "How long the processor took to decide, in milliseconds: half, 95 and 99 of 100 requests were not slower.",
		SQL: `SELECT period, requests,
  CAST(p50 AS DOUBLE) / 1000 AS p50_ms,
  CAST(p95 AS DOUBLE) / 1000 AS p95_ms,
  CAST(p99 AS DOUBLE) / 1000 AS p99_ms
FROM (
  SELECT date_trunc({grain}, event_time) AS period,
    count(*) AS requests,
    quantile_disc(latency_us, 0.5) AS p50,
    quantile_disc(latency_us, 0.95) AS p95,
    quantile_disc(latency_us, 0.99) AS p99
  FROM views.events
  WHERE ` + requests + `
  GROUP BY date_trunc({grain}, event_time)
) AS times
ORDER BY period
`,
	},
}

// byView cuts the requests as one of the views approvals_by_* does.
func byView(name, column, doc string) Figure {
	return cut(name, column, doc, `SELECT `+column+`, currency,
    `+total("requests")+` AS requests,
    `+total("approved")+` AS approved,
    `+total("declined")+` AS declined,
    `+sumOf("requested_amount")+` AS requested_amount,
    `+sumOf("approved_amount")+` AS approved_amount
  FROM views.approvals_by_`+strings.ReplaceAll(name, "-", "_")+`
  WHERE `+inRange+`
    AND currency = {currency}
  GROUP BY `+column+`, currency`)
}

// byEvents cuts the requests by what no view has.
func byEvents(name, expression, column, doc, condition string) Figure {
	as, by := "", column
	if expression != column {
		as, by = " AS "+column, "1"
	}
	return cut(name, column, doc, `SELECT `+expression+as+`, currency,
    count(*) AS requests,
    `+approvedCount+` AS approved,
    `+declinedCount+` AS declined,
    `+sumOf("amount")+` AS requested_amount,
    `+approvedAmount+` AS approved_amount
  FROM views.events
  WHERE `+requests+condition+`
    AND currency = {currency}
  GROUP BY `+by+`, currency`)
}

func cut(name, column, doc, from string) Figure {
	return Figure{
		Name: "by-" + name, Page: "overview", Range: Ranged, Params: []Param{byCurrency},
		Doc: "Requests, approvals and amounts of a range by " + doc + ", and by currency.",
		SQL: `SELECT ` + column + `, currency, requests, approved, declined,
  ` + rate("approved", "requests") + ` AS approval_rate,
  requested_amount, approved_amount,
  ` + share("requests") + ` AS share
FROM (
  ` + from + `
) AS sums
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualRows, order{keys: []key{down("requests", Int), up(column, Text), up("currency", Text)}})
}
