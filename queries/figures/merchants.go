package figures

var merchants = []Figure{
	Figure{
		Name: "top-merchants", Page: "merchants", Range: Ranged, Params: []Param{byCurrency, byText, byMCC, byCountry},
		Doc: "The merchants with the most requests of a range, approved or declined, or with the highest amount, by currency. Shares are of all that were found.",
		SQL: `SELECT merchant_id, merchant_name, mcc, merchant_country, currency, requests, approved, declined,
  ` + rate("approved", "requests") + ` AS approval_rate,
  approved_amount,
  ` + share("{measure}") + ` AS share
FROM (
  SELECT merchant_id, currency,
    max(merchant_name) AS merchant_name,
    max(mcc) AS mcc,
    max(merchant_country) AS merchant_country,
    count(*) AS requests,
    ` + approvedCount + ` AS approved,
    ` + declinedCount + ` AS declined,
    ` + approvedAmount + ` AS approved_amount
  FROM views.events
  WHERE ` + requests + `
    AND currency = {currency}
    AND contains(lower(merchant_name), lower({text}))
    AND mcc = {mcc}
    AND merchant_country = {country}
  GROUP BY merchant_id, currency
) AS sums
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualRows,
		merchantOrder("approved", "by approved requests", "approved", ""),
		merchantOrder("requests", "by requests", "requests", ""),
		merchantOrder("declined", "by declined requests", "declined", ""),
		merchantOrder("amount", "by what was approved", "approved_amount", "currency"),
	),
	{
		Name: "merchant-concentration", Page: "merchants", Range: Ranged, Params: []Param{inCurrency},
		Doc: "How much of the approved amount of a range the largest merchants have: the first, the first five, the first ten and so on.",
		SQL: `WITH ranked AS (
  SELECT amount, row_number() OVER (ORDER BY amount DESC, merchant_id) AS place
  FROM (
    SELECT merchant_id, sum(amount) AS amount
    FROM views.events
    WHERE ` + requests + ` AND approved
      AND currency = {currency} AND merchant_id IS NOT NULL AND amount IS NOT NULL
    GROUP BY merchant_id
  ) AS sums
)
SELECT t.merchants,
  count(*) AS count,
  ` + sumOf("r.amount") + ` AS amount,
  CAST(sum(r.amount) AS DOUBLE) / NULLIF((SELECT sum(amount) FROM ranked), 0) AS share
FROM ranked AS r
JOIN (
  SELECT 'top_1' AS merchants, 1 AS places
  UNION ALL SELECT 'top_5', 5
  UNION ALL SELECT 'top_10', 10
  UNION ALL SELECT 'top_20', 20
  UNION ALL SELECT 'top_50', 50
  UNION ALL SELECT 'top_100', 100
  UNION ALL SELECT 'all', 1000000000
) AS t ON r.place <= t.places
GROUP BY t.merchants, t.places
ORDER BY t.places
`,
	},
	{
		Name: "merchant", Page: "merchants", Range: Ranged, Params: []Param{ofMerchant, grain("day", "week", "month")},
		Doc: "One merchant over time, by currency.",
		SQL: `SELECT period, currency, requests, approved, declined,
  ` + rate("approved", "requests") + ` AS approval_rate,
  approved_amount, refunds, refunded_amount, chargebacks, charged_back_amount
FROM (
  SELECT date_trunc({grain}, CAST(day AS TIMESTAMP WITH TIME ZONE)) AS period, currency,
    ` + total("requests") + ` AS requests,
    ` + total("approved") + ` AS approved,
    ` + total("declined") + ` AS declined,
    ` + sumOf("approved_amount") + ` AS approved_amount,
    ` + total("refunds") + ` AS refunds,
    ` + sumOf("refunded_amount") + ` AS refunded_amount,
    ` + total("chargebacks") + ` AS chargebacks,
    ` + sumOf("charged_back_amount") + ` AS charged_back_amount
  FROM views.merchant_daily
  WHERE ` + inRange + ` AND merchant_id = {merchant}
  GROUP BY date_trunc({grain}, CAST(day AS TIMESTAMP WITH TIME ZONE)), currency
) AS sums
ORDER BY period, currency
`,
	},
	{
		Name: "merchant-summary", Page: "merchants", Range: Ranged, Params: []Param{ofMerchant},
		Doc: "One merchant in a range, by currency. Of several names, categories or places the last in order is shown.",
		SQL: `SELECT currency, merchant_name, mcc, merchant_country, merchant_city, requests, approved, declined,
  ` + rate("approved", "requests") + ` AS approval_rate,
  approved_amount,
  ` + rate("approved_amount", "approved") + ` AS average_amount,
  cards, terminals, first_event_at, last_event_at
FROM (
  SELECT currency,
    max(merchant_name) AS merchant_name,
    max(mcc) AS mcc,
    max(merchant_country) AS merchant_country,
    max(merchant_city) AS merchant_city,
    count(*) AS requests,
    ` + approvedCount + ` AS approved,
    ` + declinedCount + ` AS declined,
    ` + approvedAmount + ` AS approved_amount,
    ` + distinct("card_token") + ` AS cards,
    ` + distinct("terminal_id") + ` AS terminals,
    min(event_time) AS first_event_at,
    max(event_time) AS last_event_at
  FROM views.events
  WHERE ` + requests + ` AND merchant_id = {merchant}
  GROUP BY currency
) AS sums
ORDER BY requests DESC, currency
`,
	},
	Figure{
		Name: "merchant-terminals", Page: "merchants", Range: Ranged, Params: []Param{ofMerchant},
		Doc: "The terminals of one merchant in a range. Many declines, or many cards that are read by their stripe, may say that a terminal was tampered with.",
		SQL: `SELECT terminal_id, merchant_city, requests, approved, declined,
  ` + rate("declined", "requests") + ` AS decline_rate,
  cards, magstripe, last_event_at
FROM (
  SELECT terminal_id,
    max(merchant_city) AS merchant_city,
    count(*) AS requests,
    ` + approvedCount + ` AS approved,
    ` + declinedCount + ` AS declined,
    ` + distinct("card_token") + ` AS cards,
    ` + counted("entry_mode IN ('magstripe', 'fallback')", "entry_mode") + ` AS magstripe,
    max(event_time) AS last_event_at
  FROM views.events
  WHERE ` + requests + ` AND merchant_id = {merchant}
  GROUP BY terminal_id
) AS sums
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualRows, order{keys: []key{down("requests", Int), up("terminal_id", Text)}}),
	Figure{
		Name: "merchants-by-mcc", Page: "merchants", Range: Ranged, Params: []Param{byCurrency},
		Doc: "Merchant categories of a range: how many merchants, requests and approvals, for how much.",
		SQL: `SELECT mcc, currency, merchants, requests, approved,
  ` + rate("approved", "requests") + ` AS approval_rate,
  approved_amount,
  ` + rate("approved_amount", "approved") + ` AS average_amount
FROM (
  SELECT mcc, currency,
    ` + distinct("merchant_id") + ` AS merchants,
    count(*) AS requests,
    ` + approvedCount + ` AS approved,
    ` + approvedAmount + ` AS approved_amount
  FROM views.events
  WHERE ` + requests + `
    AND currency = {currency}
  GROUP BY mcc, currency
) AS sums
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(30, order{keys: []key{down("requests", Int), up("mcc", Text), up("currency", Text)}}),
	Figure{
		Name: "new-merchants", Page: "merchants", Range: Ranged,
		Doc: "Merchants with a request in the range and none in the 30 days before it.",
		SQL: `SELECT merchant_id,
  max(merchant_name) AS merchant_name,
  max(mcc) AS mcc,
  max(merchant_country) AS merchant_country,
  min(event_time) AS first_event_at,
  count(*) AS requests,
  ` + approvedCount + ` AS approved,
  ` + declinedCount + ` AS declined,
  ` + distinct("card_token") + ` AS cards
FROM views.events
WHERE tenant = {tenant} AND day >= {before} AND day < {to} AND event_type = 'authorization'
  AND merchant_id IS NOT NULL
GROUP BY merchant_id
HAVING min(event_time) >= {begin}
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualRows, order{keys: []key{down("requests", Int), up("merchant_id", Text)}}),
}

func merchantOrder(name, doc, measure, needs string) order {
	return order{name: name, doc: doc, keys: []key{down(measure, Int).orNull(), up("merchant_id", Text), up("currency", Text)}, needs: needs}
}
