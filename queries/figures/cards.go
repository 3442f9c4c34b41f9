package figures

// approvedUse are the conditions of an approved request of a card that is known.
const approvedUse = "event_type = 'authorization' AND approved AND card_token IS NOT NULL"

// byIdle is how far a figure looks back for earlier uses of cards.
var byIdle = Param{
	Name: "idle", Type: Choice, Values: []string{"30", "60", "90"}, Default: "30",
	Doc: "days before the range in which a card must have been used not to be new",
	derive: func(value string, a Args) map[string]string {
		days := map[string]int{"30": 30, "60": 60, "90": 90}[value]
		return map[string]string{"before": date(a.From.AddDate(0, 0, -days))}
	},
}

var cards = []Figure{
	{
		Name: "card-base", Page: "cards", Range: Ranged, Params: []Param{byIdle},
		Doc: "Cards with an approved request in the range, those of them that had one in the days before and those that had none (new, or back), and those that had one before and none in the range (dormant).",
		SQL: `SELECT active_cards, returning_cards, new_cards, dormant_cards, purchases,
  ` + rate("purchases", "active_cards") + ` AS purchases_per_card
FROM (
  SELECT count(CASE WHEN last_day >= {from} THEN 1 END) AS active_cards,
    count(CASE WHEN last_day >= {from} AND first_day < {from} THEN 1 END) AS returning_cards,
    count(CASE WHEN first_day >= {from} THEN 1 END) AS new_cards,
    count(CASE WHEN last_day < {from} THEN 1 END) AS dormant_cards,
    ` + total("purchases") + ` AS purchases
  FROM (
    SELECT card_token, min(day) AS first_day, max(day) AS last_day,
      count(CASE WHEN day >= {from} THEN 1 END) AS purchases
    FROM views.events
    WHERE tenant = {tenant} AND day >= {before} AND day < {to}
      AND ` + approvedUse + `
    GROUP BY card_token
  ) AS each_card
) AS base
WHERE purchases IS NOT NULL
`,
	},
	{
		Name: "cards-over-time", Page: "cards", Range: Ranged,
		Doc: "Cards with an approved request on each day and in the 7 and 30 days that end with it, those with none before since 30 days before the range (new, or back), and those whose last one was 30 days before (turned dormant).",
		// A card that is active on a day and next on another is active, in a window of w days, from
		// the one to the smaller of w days later and the other: a running sum of ups and downs.
		SQL: `WITH used AS (
  SELECT card_token, day
  FROM views.events
  WHERE tenant = {tenant} AND day >= {before} AND day < {to}
    AND ` + approvedUse + `
  GROUP BY card_token, day
),
spans AS (
  SELECT day,
    lag(day) OVER (PARTITION BY card_token ORDER BY day) AS day_before,
    lead(day) OVER (PARTITION BY card_token ORDER BY day) AS day_after
  FROM used
),
changes AS (
  SELECT day, count(*) AS active, count(CASE WHEN day_before IS NULL THEN 1 END) AS fresh, 0 AS lapsed,
    count(*) AS in_7, count(*) AS in_30
  FROM spans
  GROUP BY day
  UNION ALL
  SELECT CASE WHEN day_after < day + 7 THEN day_after ELSE day + 7 END, 0, 0, 0, 0 - count(*), 0
  FROM spans
  GROUP BY CASE WHEN day_after < day + 7 THEN day_after ELSE day + 7 END
  UNION ALL
  SELECT CASE WHEN day_after < day + 30 THEN day_after ELSE day + 30 END, 0, 0,
    count(CASE WHEN day_after IS NULL OR day_after > day + 30 THEN 1 END), 0, 0 - count(*)
  FROM spans
  GROUP BY CASE WHEN day_after < day + 30 THEN day_after ELSE day + 30 END
),
days AS (
  SELECT day, sum(active) AS active, sum(fresh) AS fresh, sum(lapsed) AS lapsed, sum(in_7) AS in_7, sum(in_30) AS in_30
  FROM changes
  GROUP BY day
),
running AS (
  SELECT day, active, fresh, lapsed,
    sum(in_7) OVER (ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS in_7,
    sum(in_30) OVER (ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS in_30
  FROM days
)
SELECT day,
  CAST(active AS BIGINT) AS active_cards,
  CAST(in_7 AS BIGINT) AS active_7_days,
  CAST(in_30 AS BIGINT) AS active_30_days,
  CAST(fresh AS BIGINT) AS new_cards,
  CAST(lapsed AS BIGINT) AS lapsed_cards
FROM running
WHERE day >= {from} AND day < {to}
ORDER BY day
`,
	},
	{
		Name: "card-activity", Page: "cards", Range: Ranged,
		Doc: "Cards of a range by how many approved requests each has.",
		SQL: `SELECT CAST(from_purchases AS BIGINT) AS from_purchases,
  CAST(CASE from_purchases
    WHEN 1 THEN 1 WHEN 2 THEN 2 WHEN 3 THEN 4 WHEN 5 THEN 9 WHEN 10 THEN 19 WHEN 20 THEN 49 WHEN 50 THEN 99
  END AS BIGINT) AS to_purchases,
  cards, purchases,
  ` + share("cards") + ` AS share
FROM (
  SELECT from_purchases, count(*) AS cards, ` + total("purchases") + ` AS purchases
  FROM (
    SELECT purchases,
      CASE
        WHEN purchases >= 100 THEN 100
        WHEN purchases >= 50 THEN 50
        WHEN purchases >= 20 THEN 20
        WHEN purchases >= 10 THEN 10
        WHEN purchases >= 5 THEN 5
        WHEN purchases >= 3 THEN 3
        ELSE purchases
      END AS from_purchases
    FROM (
      SELECT card_token, count(*) AS purchases
      FROM views.events
      WHERE ` + inRange + `
        AND ` + approvedUse + `
      GROUP BY card_token
    ) AS each_card
  ) AS sized
  GROUP BY from_purchases
) AS sizes
ORDER BY from_purchases
`,
	},
	{
		Name: "card-concentration", Page: "cards", Range: Ranged, Params: []Param{inCurrency},
		Doc: "How much of the approved amount of a range each tenth of the cards spent, the tenth that spent most first.",
		SQL: `SELECT decile, cards, amount,
  ` + rate("amount", "sum(amount) OVER ()") + ` AS share
FROM (
  SELECT CAST(decile AS BIGINT) AS decile, count(*) AS cards, ` + sumOf("spent") + ` AS amount
  FROM (
    SELECT spent, ntile(10) OVER (ORDER BY spent DESC, card_token) AS decile
    FROM (
      SELECT card_token, sum(amount) AS spent
      FROM views.events
      WHERE ` + inRange + ` AND currency = {currency}
        AND ` + approvedUse + `
      GROUP BY card_token
    ) AS each_card
  ) AS ranked
  GROUP BY decile
) AS deciles
ORDER BY decile
`,
	},
	{
		Name: "card-retention", Page: "cards", Range: Ranged,
		Doc: "Of the cards whose first approved request of the range was in a week (cohort, its Monday), how many had one so many weeks later.",
		SQL: `WITH used AS (
  SELECT card_token, CAST(date_trunc('week', day) AS DATE) AS week
  FROM (
    SELECT card_token, day
    FROM views.events
    WHERE ` + inRange + `
      AND ` + approvedUse + `
    GROUP BY card_token, day
  ) AS days
  GROUP BY card_token, CAST(date_trunc('week', day) AS DATE)
),
spans AS (
  SELECT min(week) OVER (PARTITION BY card_token) AS cohort, week
  FROM used
),
sizes AS (
  SELECT cohort, CAST(date_diff('day', cohort, week) // 7 AS BIGINT) AS weeks_after, count(*) AS cards
  FROM spans
  GROUP BY cohort, week
)
SELECT cohort, weeks_after, cards,
  ` + rate("cards", "max(cards) OVER (PARTITION BY cohort)") + ` AS share
FROM sizes
ORDER BY cohort, weeks_after
`,
	},
	{
		Name: "cards-by-product", Page: "cards", Range: Ranged,
		Doc: "Cards with an approved request in the range by how they are funded and card scheme.",
		SQL: `SELECT product, network, cards, approved,
  ` + rate("approved", "cards") + ` AS purchases_per_card
FROM (
  SELECT product, network, count(*) AS cards, ` + total("purchases") + ` AS approved
  FROM (
    SELECT product, network, card_token, count(*) AS purchases
    FROM views.events
    WHERE ` + inRange + `
      AND ` + approvedUse + `
    GROUP BY product, network, card_token
  ) AS each_card
  GROUP BY product, network
) AS sums
ORDER BY cards DESC, product, network
`,
	},
	Figure{
		Name: "top-cards", Page: "cards", Range: Ranged, Params: []Param{inCurrency},
		Doc: "The cards that spent most in a range, in one currency, or were approved or declined most often.",
		// What is told of the cards beside their rank is read for those alone.
		SQL: `WITH ranked AS (
  SELECT card_token,
    count(*) AS requests,
    ` + approvedCount + ` AS approved,
    ` + declinedCount + ` AS declined,
    ` + approvedAmount + ` AS approved_amount
  FROM views.events
  WHERE ` + requests + ` AND card_token IS NOT NULL
    AND currency = {currency}
  GROUP BY card_token
  ORDER BY {order}
  LIMIT {limit}
)
SELECT r.card_token,
  max(e.bin) AS bin,
  max(e.last4) AS last4,
  max(e.customer_id) AS customer_id,
  r.requests, r.approved, r.declined, r.approved_amount,
  ` + distinct("e.merchant_id") + ` AS merchants,
  ` + distinct("e.merchant_country") + ` AS countries,
  max(e.event_time) AS last_event_at
FROM ranked AS r
JOIN (
  SELECT card_token AS token, bin, last4, customer_id, merchant_id, merchant_country, event_time
  FROM views.events
  WHERE ` + requests + `
    AND currency = {currency}
) AS e ON e.token = r.card_token
GROUP BY r.card_token, r.requests, r.approved, r.declined, r.approved_amount
ORDER BY {order}
`,
	}.sorted(usualRows,
		order{name: "amount", doc: "by what was approved", keys: []key{down("approved_amount", Decimal).orNull(), up("card_token", Text)}},
		order{name: "approved", doc: "by approved requests", keys: []key{down("approved", Int).orNull(), up("card_token", Text)}},
		order{name: "declined", doc: "by declined requests", keys: []key{down("declined", Int).orNull(), up("card_token", Text)}},
	),
	Figure{
		Name: "card", Page: "cards", Range: MayRange, Params: []Param{ofCard},
		Doc: "The events of one card, the newest first.",
		SQL: `SELECT ` + eventColumns + `
FROM views.events
WHERE tenant = {tenant} AND card_token = {card}
  AND day >= {from} AND day < {to}
  AND {after}
ORDER BY {order}
LIMIT {limit}
`,
	}.paged(newestEvents),
	{
		Name: "card-summary", Page: "cards", Range: Ranged, Params: []Param{ofCard},
		Doc: "One card in a range, by currency.",
		SQL: `SELECT currency,
  max(bin) AS bin,
  max(last4) AS last4,
  max(network) AS network,
  max(product) AS product,
  max(customer_id) AS customer_id,
  count(*) AS requests,
  ` + approvedCount + ` AS approved,
  ` + declinedCount + ` AS declined,
  ` + approvedAmount + ` AS approved_amount,
  ` + distinct("merchant_id") + ` AS merchants,
  ` + distinct("merchant_country") + ` AS countries,
  min(event_time) AS first_event_at,
  max(event_time) AS last_event_at
FROM views.events
WHERE ` + requests + ` AND card_token = {card}
GROUP BY currency
ORDER BY requests DESC, currency
`,
	},
}
