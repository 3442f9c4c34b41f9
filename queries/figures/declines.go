package figures

var declines = []Figure{
	{
		Name: "declines-over-time", Page: "declines", Range: Ranged, Params: []Param{byGrain},
		Doc: "Declined requests over time by class: what the cardholder can put right, the issuer's own decision, suspected fraud, or a technical reason. The rate is of all requests of the time.",
		SQL: `SELECT period, class, declined, requests,
  ` + rate("declined", "requests") + ` AS decline_rate
FROM (
  SELECT period, class, declined,
    CAST(sum(declined) OVER (PARTITION BY period) AS BIGINT) AS requests
  FROM (
    SELECT period, class, ` + total("requests") + ` AS declined
    FROM (
      SELECT period, requests,
        ` + outcome("        ") + ` AS class
      FROM (
        SELECT date_trunc({grain}, event_time) AS period, approved, response_code, count(*) AS requests
        FROM views.events
        WHERE ` + requests + `
        GROUP BY date_trunc({grain}, event_time), approved, response_code
      ) AS codes
    ) AS classed
    GROUP BY period, class
  ) AS classes
) AS together
WHERE class <> 'approved'
ORDER BY period, class
`,
	},
	Figure{
		Name: "decline-reasons", Page: "declines", Range: Ranged, Params: []Param{byCurrency, byCountry, byChannel, byMerchant, byMCC, byBIN},
		Doc: "Why requests of a range were declined: the response code, what ISO 8583:1987 says that it means, the processor's own reason, and how many cards met it.",
		SQL: `SELECT response_code,
  ` + meaning("  ") + ` AS meaning,
  ` + class("  ") + ` AS class,
  decline_reason, declined,
  ` + share("declined") + ` AS share,
  cards
FROM (
  SELECT response_code, decline_reason,
    count(*) AS declined,
    ` + distinct("card_token") + ` AS cards
  FROM views.events
  WHERE ` + requests + ` AND NOT approved
    AND currency = {currency}
    AND merchant_country = {country}
    AND channel = {channel}
    AND merchant_id = {merchant}
    AND mcc = {mcc}
    AND bin = {bin}
  GROUP BY response_code, decline_reason
) AS reasons
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualRows, order{keys: []key{down("declined", Int), up("response_code", Text), up("decline_reason", Text)}}),
	{
		Name: "declined-value", Page: "declines", Range: Ranged,
		Doc: "What requests that were declined would have been worth, by class and currency.",
		SQL: `SELECT class, currency,
  ` + total("declined") + ` AS declined,
  ` + sumOf("declined_amount") + ` AS declined_amount
FROM (
  SELECT ` + class("  ") + ` AS class, currency, declined, declined_amount
  FROM (
    SELECT response_code, currency, count(*) AS declined, ` + sumOf("amount") + ` AS declined_amount
    FROM views.events
    WHERE ` + requests + ` AND NOT approved
    GROUP BY response_code, currency
  ) AS codes
) AS classed
GROUP BY class, currency
ORDER BY declined DESC, class, currency
`,
	},
	declinesBy("bin", "the first digits of the card number", "bin"),
	declinesBy("merchant", "merchant", "merchant_id", "merchant_name"),
	declinesBy("mcc", "merchant category", "mcc"),
	declinesBy("country", "the merchants' country", "merchant_country"),
	declinesBy("channel", "channel", "channel"),
	declinesBy("entry-mode", "how the card was read", "entry_mode"),
	declinesBy("network", "card scheme", "network"),
	declinesBy("product", "how the card is funded", "product"),
	{
		Name: "declines-by-hour-and-reason", Page: "declines", Range: Ranged, Params: []Param{byClock},
		Doc: "Declined requests of a range by hour of the day and reason.",
		SQL: `SELECT hour, response_code, decline_reason,
  ` + class("  ") + ` AS class,
  declined
FROM (
  SELECT date_part('hour', {clock}) AS hour, response_code, decline_reason, count(*) AS declined
  FROM views.events
  WHERE ` + requests + ` AND NOT approved
    AND {clock} IS NOT NULL
  GROUP BY date_part('hour', {clock}), response_code, decline_reason
) AS hours
ORDER BY hour, declined DESC, response_code, decline_reason
`,
	},
	Figure{
		Name: "declined-cards", Page: "declines", Range: Ranged,
		Doc: "The cards that were declined most often in a range: some are tested by thieves, some have limits that are too low.",
		SQL: `WITH ranked AS (
  SELECT card_token,
    count(*) AS declined,
    min(event_time) AS first_declined_at,
    max(event_time) AS last_declined_at
  FROM views.events
  WHERE ` + requests + ` AND NOT approved AND card_token IS NOT NULL
  GROUP BY card_token
  ORDER BY {order}
  LIMIT {limit}
)
SELECT r.card_token,
  max(e.last4) AS last4,
  max(e.bin) AS bin,
  count(*) AS requests,
  r.declined,
  count(*) - r.declined AS approved,
  ` + distinct("e.merchant_id") + ` AS merchants,
  r.first_declined_at, r.last_declined_at
FROM ranked AS r
JOIN (
  SELECT card_token AS token, last4, bin, merchant_id
  FROM views.events
  WHERE ` + requests + `
) AS e ON e.token = r.card_token
GROUP BY r.card_token, r.declined, r.first_declined_at, r.last_declined_at
ORDER BY {order}
`,
	}.sorted(usualRows, order{keys: []key{down("declined", Int), up("card_token", Text)}}),
	{
		Name: "decline-recovery", Page: "declines", Range: Ranged,
		Doc: "How often a declined card is approved later on the same UTC day at the same merchant, by the class of the decline. An attempt is a card, merchant, day and response code with a decline.",
		SQL: `WITH attempts AS (
  SELECT d.response_code, CASE WHEN max(a.event_time) > d.declined_at THEN 1 ELSE 0 END AS recovered
  FROM (
    SELECT card_token, merchant_id, day, response_code, min(event_time) AS declined_at
    FROM views.events
    WHERE ` + requests + ` AND NOT approved
      AND card_token IS NOT NULL AND merchant_id IS NOT NULL
    GROUP BY card_token, merchant_id, day, response_code
  ) AS d
  LEFT JOIN (
    SELECT card_token, merchant_id, day, event_time
    FROM views.events
    WHERE ` + requests + ` AND approved
  ) AS a ON a.card_token = d.card_token AND a.merchant_id = d.merchant_id AND a.day = d.day
  GROUP BY d.card_token, d.merchant_id, d.day, d.response_code, d.declined_at
)
SELECT class, attempts_made AS attempts, recovered,
  ` + rate("recovered", "attempts_made") + ` AS recovery_rate
FROM (
  SELECT class, count(*) AS attempts_made, ` + total("recovered") + ` AS recovered
  FROM (
    SELECT ` + class("    ") + ` AS class, recovered
    FROM attempts
  ) AS classed
  GROUP BY class
) AS sums
ORDER BY attempts_made DESC, class
`,
	},
}

// declinesBy cuts requests by a column, and the declined ones by class besides. Further columns
// tell something of the first one: of several values the last in order is shown.
func declinesBy(name, doc, column string, about ...string) Figure {
	inner, outer, list := column, column, column
	for _, c := range about {
		inner += ", max(" + c + ") AS " + c
		outer += ", max(" + c + ") AS " + c
		list += ", " + c
	}
	sums := ""
	for _, c := range append(classNames(), "other") {
		sums += ",\n    CAST(sum(CASE WHEN class = '" + c + "' THEN requests WHEN approved IS NOT NULL THEN 0 END) AS BIGINT) AS " + c
	}
	return Figure{
		Name: "declines-by-" + name, Page: "declines", Range: Ranged,
		Doc: "Requests and declines of a range by " + doc + ", and the declines by class. Those with the most declines come first.",
		SQL: `SELECT ` + list + `, requests, declined,
  ` + rate("declined", "requests") + ` AS decline_rate,
  cardholder, issuer, fraud, technical, other
FROM (
  SELECT ` + outer + `,
    ` + total("requests") + ` AS requests,
    CAST(sum(CASE WHEN NOT approved THEN requests WHEN approved THEN 0 END) AS BIGINT) AS declined` + sums + `
  FROM (
    SELECT ` + list + `, approved, requests,
      ` + outcome("      ") + ` AS class
    FROM (
      SELECT ` + inner + `, approved, response_code, count(*) AS requests
      FROM views.events
      WHERE ` + requests + `
      GROUP BY ` + column + `, approved, response_code
    ) AS codes
  ) AS classed
  GROUP BY ` + column + `
) AS sums
ORDER BY {order}
LIMIT {limit}
`,
	}.sorted(usualRows, order{keys: []key{down("declined", Int), up(column, Text)}})
}

func classNames() (names []string) {
	for _, c := range classes {
		names = append(names, c.name)
	}
	return names
}
