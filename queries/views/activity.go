package views

import (
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

var activeCards = &queries.View{
	Namespace: Namespace, Name: "active_cards",
	Doc: "Active, new and dormant cards as of the end of each UTC day, within the last 1, 7 and 30 days. A card is active in a window if it has an approved authorisation in it. " +
		"There is a row for each day on which the tenant has one. A filter on tenant reaches the table; one on day does not, as a card is new or dormant by all that came before.",
	Columns: []queries.ViewColumn{
		tenant,
		date("day", "UTC day with which the window ends, included"),
		count("window_days", "length of the window in days: 1, 7 or 30"),
		cards("active_cards", "cards active in the window"),
		cards("new_cards", "cards whose first approved authorisation is in the window"),
		cards("dormant_cards", "cards that were active before the window and are not in it"),
	},
	// A card that is active on day d, and then on day n, is active in a window of w days on all
	// days from d up to the smaller of d+w and n. So the cards active on a day are a running sum of
	// one up and one down for each card and day, and nothing is as large as cards by days by window.
	SQL: `WITH steps AS (
  SELECT ` + windowSteps() + `
),
used AS (
  SELECT tenant, card_token, CAST(event_time AS DATE) AS day
  FROM cards.transactions
  WHERE event_type = 'authorization' AND approved AND card_token IS NOT NULL
  GROUP BY tenant, card_token, CAST(event_time AS DATE)
),
numbered AS (
  SELECT tenant, card_token, day, date_diff('day', DATE '1970-01-01', day) AS number
  FROM used
),
spans AS (
  SELECT tenant, day, number,
    lead(number) OVER (PARTITION BY tenant, card_token ORDER BY number) AS following,
    row_number() OVER (PARTITION BY tenant, card_token ORDER BY number) AS place
  FROM numbered
),
changes AS (
  SELECT spans.tenant, steps.window_days,
    CASE WHEN steps.step = 'begins' THEN spans.day END AS day,
    CASE
      WHEN steps.step = 'begins' THEN spans.number
      WHEN steps.step = 'ends' AND spans.following < spans.number + steps.window_days THEN spans.following
      ELSE spans.number + steps.window_days
    END AS number,
    CASE steps.step WHEN 'begins' THEN 1 WHEN 'ends' THEN -1 ELSE 0 END AS active,
    CASE WHEN spans.place > 1 THEN 0 WHEN steps.step = 'begins' THEN 1 WHEN steps.step = 'ages' THEN -1 ELSE 0 END AS fresh,
    CASE WHEN spans.place = 1 AND steps.step = 'begins' THEN 1 ELSE 0 END AS known
  FROM spans
  CROSS JOIN steps
  WHERE steps.step <> 'ages' OR spans.place = 1
),
totals AS (
  SELECT tenant, window_days, number, max(day) AS day, sum(active) AS active, sum(fresh) AS fresh, sum(known) AS known
  FROM changes
  GROUP BY tenant, window_days, number
),
running AS (
  SELECT tenant, window_days, day,
    sum(active) OVER (PARTITION BY tenant, window_days ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS active,
    sum(fresh) OVER (PARTITION BY tenant, window_days ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS fresh,
    sum(known) OVER (PARTITION BY tenant, window_days ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS known
  FROM totals
)
SELECT tenant, day, CAST(window_days AS BIGINT) AS window_days,
  CAST(active AS BIGINT) AS active_cards,
  CAST(fresh AS BIGINT) AS new_cards,
  CAST(known - active AS BIGINT) AS dormant_cards
FROM running
WHERE day IS NOT NULL`,
}

// windowSteps lists what a card's day changes in each window: the card begins to be active, ends,
// and ages out of the new ones.
func windowSteps() string {
	var steps []string
	for _, days := range []string{"1", "7", "30"} {
		for _, step := range []string{"begins", "ends", "ages"} {
			steps = append(steps, days+" AS window_days, "+quote(step)+" AS step")
		}
	}
	return strings.Join(steps, " UNION ALL\n  SELECT ")
}

var activeCardsByMonth = &queries.View{
	Namespace: Namespace, Name: "active_cards_by_month",
	Doc: "Cards with an approved authorisation in each UTC calendar month, and those of them that had none before. A filter on tenant reaches the table; one on month does not.",
	Columns: []queries.ViewColumn{
		tenant,
		date("month", "first day of the UTC month"),
		cards("active_cards", "cards with an approved authorisation in the month"),
		cards("new_cards", "those of them with none in any month before"),
	},
	SQL: `WITH used AS (
  SELECT tenant, card_token, CAST(date_trunc('month', event_time) AS DATE) AS month
  FROM cards.transactions
  WHERE event_type = 'authorization' AND approved AND card_token IS NOT NULL
  GROUP BY tenant, card_token, CAST(date_trunc('month', event_time) AS DATE)
),
spans AS (
  SELECT tenant, card_token, month,
    row_number() OVER (PARTITION BY tenant, card_token ORDER BY month) AS place
  FROM used
)
SELECT tenant, month,
  count(card_token) AS active_cards,
  count(CASE WHEN place = 1 THEN card_token END) AS new_cards
FROM spans
GROUP BY tenant, month`,
}

var chargebacks = &queries.View{
	Namespace: Namespace, Name: "chargebacks",
	Doc: "Purchases of each UTC month and how many of them were charged back since, by network and currency. A chargeback counts in the month of its purchase, so the newest months are not complete. " +
		"The schemes' own programmes divide by other months; this is not their figure.",
	Columns: []queries.ViewColumn{
		tenant,
		date("month", "first day of the UTC month of the purchases"),
		fact("network"),
		text("currency", cardlake.Public, "ISO 4217 code of the amounts, the purchases' own"),
		count("purchases", "purchases that were authorised or cleared, or charged back all the same"),
		count("charged_back", "purchases charged back"),
		rate("chargeback_rate", "charged_back divided by purchases, 0 to 1"),
		money("purchased_amount", "what was cleared of the purchases, or authorised and not reversed where nothing is cleared yet"),
		money("charged_back_amount", "sum of their chargebacks"),
		rate("average_days", "average of the UTC days from purchase to first chargeback; NULL if there is none"),
		count("longest_days", "longest of them"),
	},
	SQL: `SELECT tenant, CAST(date_trunc('month', opened_at) AS DATE) AS month, network, currency,
  count(*) AS purchases,
  count(charged_back_at) AS charged_back,
  ` + ratio("count(charged_back_at)", "count(*)") + ` AS chargeback_rate,
  CAST(sum(CASE WHEN cleared_at IS NOT NULL THEN cleared_amount ELSE authorized_amount - reversed_amount END) AS DECIMAL(38,4)) AS purchased_amount,
  CAST(sum(charged_back_amount) AS DECIMAL(38,4)) AS charged_back_amount,
  ` + ratio("sum(date_diff('day', day, CAST(charged_back_at AS DATE)))", "count(charged_back_at)") + ` AS average_days,
  max(date_diff('day', day, CAST(charged_back_at AS DATE))) AS longest_days
FROM views.transactions
WHERE authorized_at IS NOT NULL OR cleared_at IS NOT NULL OR charged_back_at IS NOT NULL
GROUP BY tenant, CAST(date_trunc('month', opened_at) AS DATE), network, currency`,
}
