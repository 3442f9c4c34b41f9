package figures

// eventColumns are those of a list of events.
const eventColumns = `event_time, event_id, transaction_id, event_type, approved, response_code, decline_reason,
  amount, currency, billing_amount, billing_currency,
  merchant_id, merchant_name, mcc, merchant_city, merchant_country,
  channel, entry_mode, network, product, card_token, bin, last4, customer_id`

// eventFilters are the conditions that whoever looks for events can have.
const eventFilters = `
  AND contains(lower(merchant_name), lower({text}))
  AND amount >= {min_amount}
  AND amount <= {max_amount}
  AND currency = {currency}
  AND merchant_country = {country}
  AND channel = {channel}
  AND entry_mode = {entry_mode}
  AND event_type = {type}
  AND approved = {approved}
  AND response_code = {code}
  AND decline_reason = {reason}
  AND mcc = {mcc}
  AND network = {network}
  AND product = {product}
  AND merchant_id = {merchant}
  AND bin = {bin}
  AND last4 = {last4}
  AND card_token = {card}
  AND customer_id = {customer}`

var eventParams = []Param{
	byText,
	{Name: "min_amount", Type: Decimal, Doc: "only events of at least this amount"},
	{Name: "max_amount", Type: Decimal, Doc: "only events of at most this amount"},
	byCurrency, byCountry, byChannel,
	{Name: "entry_mode", Type: Choice, Values: []string{"chip", "contactless", "magstripe", "manual", "ecommerce", "fallback", "unknown"}, Doc: "only cards that were read so"},
	{Name: "type", Type: Choice, Values: []string{"authorization", "reversal", "clearing", "refund", "chargeback"}, Doc: "only events of this kind"},
	{Name: "approved", Type: Flag, Doc: "only approved events, or only those that were not"},
	{Name: "code", Type: Code, Doc: "only this response code"},
	{Name: "reason", Type: Name, Doc: "only this decline reason"},
	byMCC,
	{Name: "network", Type: Choice, Values: []string{"visa", "mastercard"}, Doc: "only this card scheme"},
	{Name: "product", Type: Choice, Values: []string{"prepaid", "debit", "credit"}, Doc: "only cards that are funded so"},
	byMerchant, byBIN,
	{Name: "last4", Type: Last4, Doc: "only cards of these last digits"},
	byCard,
	{Name: "customer", Type: Name, Doc: "only cards of this customer_id"},
}

var newestEvents = order{name: "newest", doc: "the newest first", keys: []key{down("event_time", Instant), down("event_id", Text)}}

var transactions = []Figure{
	Figure{
		Name: "transactions", Page: "transactions", Range: Ranged, Params: eventParams,
		Doc: "Events of a range, by whatever is known of them.",
		SQL: `SELECT ` + eventColumns + `
FROM views.events
WHERE ` + inRange + eventFilters + `
  AND {after}
ORDER BY {order}
LIMIT {limit}
`,
	}.paged(newestEvents,
		order{name: "oldest", doc: "the oldest first", keys: []key{up("event_time", Instant), up("event_id", Text)}},
		order{name: "largest", doc: "the largest amount first", keys: []key{down("amount", Decimal).orNull(), down("event_id", Text)}, needs: "currency"},
		order{name: "smallest", doc: "the smallest amount first", keys: []key{up("amount", Decimal).orNull(), up("event_id", Text)}, needs: "currency"},
	),
	{
		Name: "transactions-total", Page: "transactions", Range: Ranged, Params: eventParams,
		Doc: "How many events transactions finds, and the sums of their amounts by currency. Amounts of reversals and refunds are added, not taken away: look for one type.",
		SQL: `SELECT currency,
  count(*) AS events,
  ` + approvedCount + ` AS approved,
  ` + sumOf("amount") + ` AS amount,
  ` + approvedAmount + ` AS approved_amount
FROM views.events
WHERE ` + inRange + eventFilters + `
GROUP BY currency
ORDER BY count(*) DESC, currency
`,
	},
	{
		Name: "purchase", Page: "transactions", Range: MayRange, Params: []Param{ofPurchase},
		Doc: "The life of one purchase: its events from authorisation to chargeback, in the order in which they happened. A range around it spares reading other days.",
		SQL: `SELECT event_time, event_id, event_type, approved, response_code,
  ` + meaning("  ") + ` AS meaning,
  decline_reason, approval_code, amount, currency, billing_amount, billing_currency,
  merchant_id, merchant_name, mcc, merchant_city, merchant_country, terminal_id, acquirer_id,
  channel, entry_mode, card_present, wallet, eci, network, product, card_token, bin, last4, customer_id,
  cvv_result, avs_result, pin_verified, latency_us
FROM views.events
WHERE tenant = {tenant} AND transaction_id = {purchase}
  AND day >= {from} AND day < {to}
ORDER BY event_time, event_id
`,
	},
	{
		Name: "purchase-summary", Page: "transactions", Params: []Param{ofPurchase},
		Doc: "How far one purchase came, and what is left of its amount.",
		SQL: `SELECT status, opened_at, last_event_at, event_count,
  authorized_at, declined_at, reversed_at, cleared_at, refunded_at, charged_back_at,
  currency, authorized_amount, reversed_amount, cleared_amount, refunded_amount, charged_back_amount, net_amount,
  billing_currency, billing_net_amount,
  card_token, last4, merchant_id, merchant_name
FROM views.transactions
WHERE tenant = {tenant} AND transaction_id = {purchase}
ORDER BY opened_at
`,
	},
	{
		Name: "purchase-alerts", Page: "transactions", Params: []Param{ofPurchase},
		Doc: "Alerts of one purchase's events.",
		SQL: `SELECT alert_id, event_id, event_time, severity, pattern, status, score, reasons
FROM views.alerts
WHERE tenant = {tenant} AND transaction_id = {purchase}
ORDER BY event_time, alert_id
`,
	},
}
