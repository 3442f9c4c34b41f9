package views

import (
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

// eventFacts are the columns of cards.transactions that are for people: all but those of the
// message and the stream.
var eventFacts = []string{
	"event_id", "transaction_id", "event_type", "tenant", "program", "region", "event_time", "local_time",
	"card_token", "bin", "last4", "customer_id", "account_id", "network", "product",
	"amount", "currency", "billing_amount", "billing_currency",
	"merchant_id", "merchant_name", "mcc", "merchant_city", "merchant_country", "terminal_id", "acquirer_id",
	"channel", "entry_mode", "card_present", "wallet", "eci",
	"response_code", "approved", "decline_reason", "approval_code", "cvv_result", "avs_result", "pin_verified", "latency_us",
}

// events is cards.transactions for statements that must not fail where a column is not given.
var events = &queries.View{
	Namespace: Namespace, Name: "events",
	Doc:     "Each event of a purchase, as cards.transactions has it, without the columns of message and stream. A column that you are not given is NULL here, where naming it in the table is an error.",
	Columns: append(facts(eventFacts...), date("day", "UTC day of event_time")),
	SQL:     "SELECT " + strings.Join(eventFacts, ", ") + ",\n  CAST(event_time AS DATE) AS day\nFROM cards.transactions",
}

// purchaseFacts are those that a purchase has of its opening event.
var purchaseFacts = []string{
	"program", "card_token", "bin", "last4", "customer_id", "account_id", "network", "product",
	"merchant_id", "merchant_name", "mcc", "merchant_city", "merchant_country",
	"channel", "entry_mode", "card_present", "wallet", "response_code", "decline_reason", "approval_code",
}

var transactions = &queries.View{
	Namespace: Namespace, Name: "transactions",
	Doc: "One row for each purchase (tenant, transaction_id) in its latest state. Facts such as the merchant are those of its opening event: the earliest authorisation, or the earliest event if there is none. " +
		"Events count by what they say and not by when they arrived; only approved ones move money, and only those in the currency of the opening event. " +
		"A filter on tenant and transaction_id reaches the table; one on day does not, as later events are on later days: " +
		"without a server, a statement takes up to 600 bytes of memory for each of the tenant's events, less for few columns.",
	Columns: append([]queries.ViewColumn{
		tenant, fact("transaction_id"),
		text("status", cardlake.MoneyTag, "how far it came: charged_back, else refunded or partially_refunded, else cleared, else reversed or partially_reversed, else authorized, else declined (nothing of it was approved). "+
			"A reversal without an authorisation is reversed. Where amounts are not given, partial ones count as whole"),
		date("day", "UTC day of opened_at"),
		instant("opened_at", "instant of the opening event"),
		instant("last_event_at", "instant of the newest event"),
		count("event_count", "events, those that were not approved included"),
		count("other_currency_events", "events in another currency than the opening one: they are in no amount of this row"),
		instant("authorized_at", "instant of the first approved authorisation"),
		instant("declined_at", "instant of the first declined authorisation"),
		instant("reversed_at", "instant of the first approved reversal"),
		instant("cleared_at", "instant of the first clearing"),
		instant("refunded_at", "instant of the first refund"),
		instant("charged_back_at", "instant of the first chargeback"),
		text("currency", cardlake.Public, "ISO 4217 code of the amounts: that of the opening event"),
		money("authorized_amount", "sum of the approved authorisations"),
		money("reversed_amount", "sum of the approved reversals, at most authorized_amount: two reversals, or one without its authorisation, give back no more than was held"),
		money("cleared_amount", "sum of the clearings"),
		money("refunded_amount", "sum of the refunds, which may be more than the purchase"),
		money("charged_back_amount", "sum of the chargebacks"),
		money("net_amount", "what is left of it: cleared_amount once anything was cleared, else authorized_amount less reversed_amount; less refunds and chargebacks. Below zero if more was given back than taken"),
		text("billing_currency", cardlake.Public, "ISO 4217 code of the billing amounts: that of the opening event"),
		money("billing_authorized_amount", "authorized_amount in the cardholder's currency; NULL if the opening event has none"),
		money("billing_net_amount", "net_amount in the cardholder's currency; NULL if the opening event has none"),
	}, facts(purchaseFacts...)...),
	SQL: purchaseSQL(),
}

// purchaseStages are the events of a purchase, by what they do to its money.
var purchaseStages = []struct {
	event cardlake.EventType
	name  string
}{
	{cardlake.Authorization, "authorized"}, {cardlake.Reversal, "reversed"}, {cardlake.Clearing, "cleared"},
	{cardlake.Refund, "refunded"}, {cardlake.Chargeback, "charged_back"},
}

// purchaseSQL numbers the events of each purchase, the opening one first, takes those amounts
// that count, sums them by stage, and says how far the purchase came.
func purchaseSQL() string {
	const opening = `
      PARTITION BY tenant, transaction_id
      ORDER BY CASE WHEN event_type = 'authorization' THEN 0 ELSE 1 END, event_time, event_id`
	const first = opening + "\n      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
	list := strings.Join(purchaseFacts, ", ")
	var sums, times, openings strings.Builder
	for _, s := range purchaseStages {
		is := "event_type = " + quote(string(s.event))
		sums.WriteString(",\n    min(CASE WHEN " + is + " AND approved THEN event_time END) AS " + s.name + "_at")
		sums.WriteString(",\n    " + sumIf(is, "counted", "event_type") + " AS " + s.name)
		sums.WriteString(",\n    " + sumIf(is, "billing_counted", "event_type") + " AS billing_" + s.name)
		times.WriteString(", " + s.name + "_at")
	}
	for _, name := range purchaseFacts {
		openings.WriteString(",\n    max(CASE WHEN place = 1 THEN " + name + " END) AS " + name)
	}
	return `WITH placed AS (
  SELECT tenant, transaction_id, event_type, event_time, approved, amount, currency, billing_amount, billing_currency,
    row_number() OVER (` + opening + `
    ) AS place,
    first_value(currency) OVER (` + first + `
    ) AS opening_currency,
    first_value(billing_currency) OVER (` + first + `
    ) AS opening_billing_currency,
    ` + list + `
  FROM cards.transactions
),
weighed AS (
  SELECT tenant, transaction_id, event_type, event_time, approved, currency, place, opening_currency, opening_billing_currency,
    CASE WHEN approved AND currency = opening_currency THEN amount
      WHEN approved IS NOT NULL AND currency IS NOT NULL AND amount IS NOT NULL THEN 0 END AS counted,
    CASE WHEN approved AND billing_currency = opening_billing_currency THEN billing_amount
      WHEN approved IS NOT NULL AND opening_billing_currency IS NOT NULL AND billing_amount IS NOT NULL THEN 0 END AS billing_counted,
    ` + list + `
  FROM placed
),
summed AS (
  SELECT tenant, transaction_id,
    max(CASE WHEN place = 1 THEN event_time END) AS opened_at,
    max(event_time) AS last_event_at,
    count(*) AS event_count,
    count(CASE WHEN currency <> opening_currency THEN 1 END) AS other_currency_events,
    count(CASE WHEN event_type IS NOT NULL AND approved IS NOT NULL THEN 1 END) AS known_events,
    min(CASE WHEN event_type = 'authorization' AND NOT approved THEN event_time END) AS declined_at,
    max(CASE WHEN place = 1 THEN opening_currency END) AS currency,
    max(CASE WHEN place = 1 THEN opening_billing_currency END) AS billing_currency` + sums.String() + openings.String() + `
  FROM weighed
  GROUP BY tenant, transaction_id
),
bounded AS (
  SELECT tenant, transaction_id, opened_at, last_event_at, event_count, other_currency_events, known_events, declined_at` + times.String() + `,
    currency, authorized, CASE WHEN reversed > authorized THEN authorized ELSE reversed END AS undone, cleared, refunded, charged_back,
    billing_currency, billing_authorized,
    CASE WHEN billing_reversed > billing_authorized THEN billing_authorized ELSE billing_reversed END AS billing_undone,
    billing_cleared, billing_refunded, billing_charged_back,
    ` + list + `
  FROM summed
),
kept AS (
  SELECT tenant, transaction_id, opened_at, last_event_at, event_count, other_currency_events, known_events, declined_at` + times.String() + `,
    currency, authorized, undone, cleared, refunded, charged_back,
    CASE WHEN cleared_at IS NOT NULL THEN cleared ELSE authorized - undone END AS taken,
    billing_currency, billing_authorized, billing_refunded, billing_charged_back,
    CASE WHEN cleared_at IS NOT NULL THEN billing_cleared ELSE billing_authorized - billing_undone END AS billing_taken,
    ` + list + `
  FROM bounded
)
SELECT tenant, transaction_id,
  CASE
    WHEN known_events = 0 THEN NULL
    WHEN charged_back_at IS NOT NULL THEN 'charged_back'
    WHEN refunded_at IS NOT NULL AND refunded < taken THEN 'partially_refunded'
    WHEN refunded_at IS NOT NULL THEN 'refunded'
    WHEN cleared_at IS NOT NULL THEN 'cleared'
    WHEN authorized_at IS NOT NULL AND reversed_at IS NOT NULL AND undone < authorized THEN 'partially_reversed'
    WHEN authorized_at IS NOT NULL AND reversed_at IS NOT NULL THEN 'reversed'
    WHEN authorized_at IS NOT NULL THEN 'authorized'
    WHEN declined_at IS NULL AND reversed_at IS NOT NULL THEN 'reversed'
    ELSE 'declined'
  END AS status,
  CAST(opened_at AS DATE) AS day,
  opened_at, last_event_at, event_count, other_currency_events,
  authorized_at, declined_at, reversed_at, cleared_at, refunded_at, charged_back_at,
  currency,
  authorized AS authorized_amount,
  undone AS reversed_amount,
  cleared AS cleared_amount,
  refunded AS refunded_amount,
  charged_back AS charged_back_amount,
  CAST(taken - refunded - charged_back AS DECIMAL(38,4)) AS net_amount,
  billing_currency,
  billing_authorized AS billing_authorized_amount,
  CAST(billing_taken - billing_refunded - billing_charged_back AS DECIMAL(38,4)) AS billing_net_amount,
  ` + list + `
FROM kept`
}
