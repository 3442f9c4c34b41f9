package figures

// purchaseUse are the requests that job predict counts as purchases.
const purchaseUse = "event_type = 'authorization' AND approved AND event_id = transaction_id AND amount > 0\n" +
	"      AND channel <> 'atm' AND (mcc IS NULL OR mcc NOT IN ('6010', '6011')) AND customer_id IS NOT NULL"

const predictionColumns = `customer_id, alive, frequency, recency_days, age_days,
  purchases_30, purchases_60, purchases_90, value_30, value_60, value_90, currency,
  next_mcc, next_mcc_probability, next_purchase_at`

// forecast is the forecast that a range is held against: what the newest run that ends with the
// begin of the range or before it said, or else the first one after that.
const forecast = `forecast AS (
  SELECT run_id, as_of
  FROM insights.runs
  WHERE tenant = {tenant} AND job = 'predict'
  ORDER BY CASE WHEN as_of < {end} THEN 0 ELSE 1 END, CASE WHEN as_of <= {begin} THEN 0 ELSE 1 END,
    CASE WHEN as_of <= {begin} THEN 0 - sequence ELSE sequence END
  LIMIT 1
),
foreseen AS (
  SELECT p.customer_id, p.purchases_30, p.purchases_60, p.purchases_90, f.run_id, f.as_of
  FROM insights.predictions AS p
  JOIN forecast AS f ON f.run_id = p.run_id
  WHERE p.tenant = {tenant}
)`

var byHorizon = Param{
	Name: "horizon", Type: Choice, Values: []string{"30", "60", "90"}, Default: "90", Doc: "days ahead",
	sql: map[string]string{"30": "value_30", "60": "value_60", "90": "value_90"},
}

var predictions = []Figure{
	{
		Name: "prediction-totals", Page: "predictions",
		Doc: "What all customers together are expected to do in 30, 60 and 90 days from as_of, and how many of them still buy.",
		SQL: `SELECT currency, as_of,
  count(*) AS customers,
  CAST(sum(alive) AS DOUBLE) AS alive,
  ` + sumOf("purchases_30") + ` AS purchases_30,
  ` + sumOf("purchases_60") + ` AS purchases_60,
  ` + sumOf("purchases_90") + ` AS purchases_90,
  ` + sumOf("value_30") + ` AS value_30,
  ` + sumOf("value_60") + ` AS value_60,
  ` + sumOf("value_90") + ` AS value_90
FROM views.predictions
WHERE tenant = {tenant}
GROUP BY currency, as_of
ORDER BY customers DESC, currency
`,
	},
	{
		Name: "prediction-distribution", Page: "predictions",
		Doc: "Customers by tenths of the probability that they still buy, and what they are expected to do in 90 days.",
		SQL: `SELECT CAST(CAST(tenth AS DOUBLE) / 10 AS DECIMAL(18,4)) AS from_alive,
  CAST(CAST(tenth + 1 AS DOUBLE) / 10 AS DECIMAL(18,4)) AS to_alive,
  currency, customers, purchases_90, value_90
FROM (
  SELECT tenth, currency,
    count(*) AS customers,
    ` + sumOf("purchases_90") + ` AS purchases_90,
    ` + sumOf("value_90") + ` AS value_90
  FROM (
    SELECT CASE WHEN alive >= 1 THEN 9 ELSE CAST(floor(alive * 10) AS BIGINT) END AS tenth, currency, purchases_90, value_90
    FROM views.predictions
    WHERE tenant = {tenant} AND alive IS NOT NULL
  ) AS placed
  GROUP BY tenth, currency
) AS sums
ORDER BY tenth, currency
`,
	},
	{
		Name: "prediction-value-distribution", Page: "predictions", Params: []Param{inCurrency, byHorizon},
		Doc: "Customers by the value that is expected of them, in steps of 1, 2, 5, 10 and so on.",
		SQL: `SELECT CAST(step AS DECIMAL(38,4)) AS from_value,
  CAST(` + upper("step") + ` AS DECIMAL(38,4)) AS to_value,
  customers, value
FROM (
  SELECT ` + bucket("{horizon}", "  ") + ` AS step,
    count(*) AS customers,
    ` + sumOf("{horizon}") + ` AS value
  FROM views.predictions
  WHERE tenant = {tenant} AND currency = {currency} AND {horizon} IS NOT NULL
  GROUP BY 1
) AS sizes
ORDER BY from_value
`,
	},
	{
		Name: "forecast-and-actual", Page: "predictions", Range: Ranged,
		Doc: "Purchases that were expected on each day of a range and those that were made, by the customers that the forecast knew: that of the newest run up to the begin of the range, else of the first run after. Days before the forecast and more than 90 days after it are left out; actual is NULL on days that have not begun.",
		SQL: `WITH ` + forecast + `,
sums AS (
  SELECT run_id, as_of,
    CAST(sum(purchases_30) AS DOUBLE) / 30 AS first_rate,
    CAST(sum(purchases_60) - sum(purchases_30) AS DOUBLE) / 30 AS second_rate,
    CAST(sum(purchases_90) - sum(purchases_60) AS DOUBLE) / 30 AS third_rate
  FROM foreseen
  GROUP BY run_id, as_of
),
made AS (
  SELECT e.day, count(*) AS actual
  FROM (
    SELECT customer_id, event_time, day
    FROM views.events
    WHERE tenant = {tenant} AND day >= {from} AND day < {to}
      AND ` + purchaseUse + `
  ) AS e
  JOIN foreseen AS x ON x.customer_id = e.customer_id
  WHERE e.event_time >= x.as_of
  GROUP BY e.day
),
newest AS (
  SELECT max(day) AS day
  FROM views.events
  WHERE tenant = {tenant} AND day >= {from} AND day < {to}
),
days AS (
  SELECT CAST(range AS DATE) AS day
  FROM range({from}, {to}, INTERVAL 1 DAY)
),
placed AS (
  SELECT d.day, s.run_id, s.as_of,
    date_diff('day', CAST(s.as_of AS DATE), d.day) AS ahead,
    s.first_rate, s.second_rate, s.third_rate,
    CASE WHEN d.day <= n.day THEN COALESCE(m.actual, 0) END AS actual
  FROM days AS d
  CROSS JOIN sums AS s
  CROSS JOIN newest AS n
  LEFT JOIN made AS m ON m.day = d.day
  WHERE d.day >= CAST(s.as_of AS DATE)
),
compared AS (
  SELECT day, run_id, as_of, actual,
    CASE
      WHEN ahead = 0 THEN first_rate * (86400 - date_part('epoch', as_of) + date_part('epoch', CAST(day AS TIMESTAMP WITH TIME ZONE))) / 86400
      WHEN ahead < 30 THEN first_rate
      WHEN ahead < 60 THEN second_rate
      ELSE third_rate
    END AS expected
  FROM placed
  WHERE ahead < 90
)
SELECT day, run_id, as_of, expected, actual,
  sum(expected) OVER (ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS expected_total,
  CASE WHEN actual IS NOT NULL THEN
    CAST(sum(actual) OVER (ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT)
  END AS actual_total
FROM compared
ORDER BY day
`,
	},
	{
		Name: "forecast-calibration", Page: "predictions", Range: Ranged,
		Doc: "Customers in ten groups by what was expected of them, and what they did: mean purchases of each group in the days of the range since the forecast, of at most 30. It is the forecast of forecast-and-actual. A good one has both numbers alike in each group.",
		SQL: `WITH ` + forecast + `,
made AS (
  SELECT customer_id, event_time, day
  FROM views.events
  WHERE tenant = {tenant} AND day >= {from} AND day < {to}
      AND ` + purchaseUse + `
),
seen AS (
  SELECT min(day) AS first_day, max(event_time) AS newest_at
  FROM made
),
counted AS (
  SELECT x.customer_id, count(m.day) AS actual
  FROM foreseen AS x
  LEFT JOIN made AS m ON m.customer_id = x.customer_id AND m.event_time >= x.as_of
    AND m.event_time < x.as_of + INTERVAL 30 DAY
  GROUP BY x.customer_id
),
ranked AS (
  SELECT x.purchases_30, c.actual, ntile(10) OVER (ORDER BY x.purchases_30, x.customer_id) AS bucket,
    (date_part('epoch', CASE WHEN s.newest_at < x.as_of + INTERVAL 30 DAY THEN s.newest_at ELSE x.as_of + INTERVAL 30 DAY END)
      - date_part('epoch', CASE WHEN x.as_of > {begin} THEN x.as_of ELSE {begin} END)) / 86400 AS days
  FROM foreseen AS x
  JOIN counted AS c ON c.customer_id = x.customer_id
  CROSS JOIN seen AS s
)
SELECT CAST(bucket AS BIGINT) AS bucket,
  count(*) AS customers,
  avg(CAST(purchases_30 AS DOUBLE) / 30 * days) AS expected,
  avg(CAST(actual AS DOUBLE)) AS actual
FROM ranked
WHERE days > 0
GROUP BY bucket
ORDER BY bucket
`,
	},
	Figure{
		Name: "next-mcc", Page: "predictions",
		Doc: "Merchant categories by how many customers are likeliest to buy there next.",
		SQL: `SELECT next_mcc, customers, probability,
  ` + share("customers") + ` AS share
FROM (
  SELECT next_mcc,
    count(*) AS customers,
    avg(CAST(next_mcc_probability AS DOUBLE)) AS probability
  FROM views.predictions
  WHERE tenant = {tenant} AND next_mcc IS NOT NULL
  GROUP BY next_mcc
) AS sums
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(15, order{keys: []key{down("customers", Int), up("next_mcc", Text)}}),
	{
		Name: "next-purchases", Page: "predictions",
		Doc: "Customers by the day before which their next purchase comes with a chance of one half, up to 90 days from as_of. Who is more likely gone is not among them.",
		SQL: `SELECT CAST(next_purchase_at AS DATE) AS day, count(*) AS customers
FROM views.predictions
WHERE tenant = {tenant} AND next_purchase_at < as_of + INTERVAL 90 DAY
GROUP BY CAST(next_purchase_at AS DATE)
ORDER BY day
`,
	},
	Figure{
		Name: "prediction-customers", Page: "predictions",
		Params: []Param{
			{Name: "min_alive", Type: Decimal, Doc: "only who still buys with at least this probability, from 0 to 1"},
			{Name: "max_alive", Type: Decimal, Doc: "only who still buys with at most this probability"},
			{Name: "min_value", Type: Decimal, Doc: "only who is expected to spend at least so much in 90 days"},
			{Name: "mcc", Type: MCC, Doc: "only who is likeliest to buy next in this category"},
			byCustomers,
		},
		Doc: "What each customer is expected to do in 30, 60 and 90 days.",
		SQL: `SELECT ` + predictionColumns + `
FROM views.predictions
WHERE tenant = {tenant} AND customer_id IS NOT NULL
  AND alive >= {min_alive}
  AND alive <= {max_alive}
  AND value_90 >= {min_value}
  AND next_mcc = {mcc}
  AND starts_with(customer_id, {customer})
  AND {after}
ORDER BY {order}
LIMIT {limit}
`,
	}.paged(
		order{name: "value", doc: "by value in 90 days", keys: []key{down("value_90", Decimal).orNull(), up("customer_id", Text)}},
		order{name: "purchases", doc: "by purchases in 90 days", keys: []key{down("purchases_90", Decimal).orNull(), up("customer_id", Text)}},
		order{name: "alive", doc: "who surely still buys first", keys: []key{down("alive", Decimal).orNull(), up("customer_id", Text)}},
		order{name: "risk", doc: "who has likely gone first", keys: []key{up("alive", Decimal).orNull(), up("customer_id", Text)}},
	),
	{
		Name: "prediction", Page: "predictions", Params: []Param{ofCustomer},
		Doc: "What one customer is expected to do.",
		SQL: `SELECT ` + predictionColumns + `,
  as_of, run_id
FROM views.predictions
WHERE tenant = {tenant} AND customer_id = {customer}
ORDER BY as_of
`,
	},
}
