package views

import (
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

var (
	approvalsByHour = approvalsBy("approvals_by_hour", "hour",
		instant("hour", "begin of the UTC hour"), "date_trunc('hour', event_time)")
	approvalsByCountry   = approvalsByFact("approvals_by_country", "country of the merchant", "merchant_country")
	approvalsByChannel   = approvalsByFact("approvals_by_channel", "channel", "channel")
	approvalsByMCC       = approvalsByFact("approvals_by_mcc", "merchant category", "mcc")
	approvalsByBIN       = approvalsByFact("approvals_by_bin", "first digits of the card number", "bin")
	approvalsByEntryMode = approvalsByFact("approvals_by_entry_mode", "way the card was read", "entry_mode")
	approvalsByNetwork   = approvalsByFact("approvals_by_network", "card scheme", "network")
)

func approvalsByFact(name, by, column string) *queries.View {
	return approvalsBy(name, by, fact(column), column)
}

// approvalsBy counts authorisations by tenant, day, currency and one thing more.
func approvalsBy(name, by string, column queries.ViewColumn, expression string) *queries.View {
	const day = "CAST(event_time AS DATE)"
	as := ""
	if column.Name != expression {
		as = " AS " + column.Name
	}
	return &queries.View{
		Namespace: Namespace, Name: name,
		Doc: "Authorisation requests of each UTC day by " + by + " and currency: how many were approved, and for how much. Later reversals change nothing here.",
		Columns: append([]queries.ViewColumn{
			tenant, eventDay, column, currency,
		}, requestColumns...),
		SQL: "SELECT tenant, " + day + " AS day, " + expression + as + ", currency,\n" + requestSQL("") + `
FROM cards.transactions
WHERE event_type = 'authorization'
GROUP BY tenant, ` + day + ", " + expression + ", currency",
	}
}

var requestColumns = []queries.ViewColumn{
	count("requests", "authorisation requests"),
	count("approved", "those that were approved"),
	count("declined", "those that were declined"),
	rate("approval_rate", "approved divided by requests, 0 to 1"),
	money("requested_amount", "sum of the amounts of all requests"),
	money("approved_amount", "sum of the amounts of the approved ones"),
}

// requestSQL gives requestColumns of rows that are requests, or of those of all events that are.
func requestSQL(isRequest string) string {
	all, requested := "count(*)", "CAST(sum(amount) AS DECIMAL(38,4))"
	approved, declined, given := "approved", "NOT approved", []string{"approved"}
	if isRequest != "" {
		all, requested = countIf(isRequest, "event_type"), sumIf(isRequest, "amount", "event_type")
		approved, declined, given = isRequest+" AND approved", isRequest+" AND NOT approved", []string{"event_type", "approved"}
	}
	return "  " + all + " AS requests,\n" +
		"  " + countIf(approved, given...) + " AS approved,\n" +
		"  " + countIf(declined, given...) + " AS declined,\n" +
		"  " + ratio(countIf(approved, given...), all) + " AS approval_rate,\n" +
		"  " + requested + " AS requested_amount,\n" +
		"  " + sumIf(approved, "amount", given...) + " AS approved_amount"
}

var declines = &queries.View{
	Namespace: Namespace, Name: "declines",
	Doc: "Declined authorisation requests of each UTC day by response code, reason and currency.",
	Columns: []queries.ViewColumn{
		tenant, eventDay,
		fact("response_code"),
		text("meaning", cardlake.Public, "what ISO 8583:1987 says the response code means; NULL for a code that it does not have"),
		fact("decline_reason"),
		currency,
		count("declined", "requests declined"),
		cards("cards", "different cards that were declined"),
		money("declined_amount", "sum of the amounts of the declined requests"),
	},
	SQL: `SELECT tenant, CAST(event_time AS DATE) AS day, response_code,
  CASE response_code` + meanings() + `
  END AS meaning,
  decline_reason, currency,
  count(*) AS declined,
  NULLIF(count(DISTINCT card_token), 0) AS cards,
  CAST(sum(amount) AS DECIMAL(38,4)) AS declined_amount
FROM cards.transactions
WHERE event_type = 'authorization' AND NOT approved
GROUP BY tenant, CAST(event_time AS DATE), response_code, decline_reason, currency`,
}

func meanings() string {
	var b strings.Builder
	for _, c := range responseCodes {
		b.WriteString("\n    WHEN " + quote(c.Code) + " THEN " + quote(c.Meaning))
	}
	return b.String()
}

// ResponseCode is a value of DE 39 and what it says.
type ResponseCode struct{ Code, Meaning string }

// ResponseCodes returns those of ISO 8583:1987, table "response codes", but for those that
// approve, in order.
func ResponseCodes() []ResponseCode { return slices.Clone(responseCodes) }

var responseCodes = []ResponseCode{
	{"01", "refer to card issuer"},
	{"02", "refer to card issuer, special condition"},
	{"03", "invalid merchant"},
	{"04", "pick up card"},
	{"05", "do not honour"},
	{"06", "error"},
	{"07", "pick up card, special condition"},
	{"09", "request in progress"},
	{"12", "invalid transaction"},
	{"13", "invalid amount"},
	{"14", "invalid card number"},
	{"15", "no such issuer"},
	{"17", "customer cancellation"},
	{"18", "customer dispute"},
	{"19", "re-enter transaction"},
	{"20", "invalid response"},
	{"21", "no action taken"},
	{"22", "suspected malfunction"},
	{"23", "unacceptable transaction fee"},
	{"24", "file update not supported by receiver"},
	{"25", "unable to locate record on file"},
	{"26", "duplicate file update record"},
	{"27", "file update field edit error"},
	{"28", "file update file locked out"},
	{"29", "file update not successful"},
	{"30", "format error"},
	{"31", "bank not supported by switch"},
	{"33", "expired card, pick up"},
	{"34", "suspected fraud, pick up"},
	{"35", "card acceptor contact acquirer, pick up"},
	{"36", "restricted card, pick up"},
	{"37", "card acceptor call acquirer security, pick up"},
	{"38", "allowable PIN tries exceeded, pick up"},
	{"39", "no credit account"},
	{"40", "requested function not supported"},
	{"41", "lost card, pick up"},
	{"42", "no universal account"},
	{"43", "stolen card, pick up"},
	{"44", "no investment account"},
	{"51", "not sufficient funds"},
	{"52", "no chequing account"},
	{"53", "no savings account"},
	{"54", "expired card"},
	{"55", "incorrect PIN"},
	{"56", "no card record"},
	{"57", "transaction not permitted to cardholder"},
	{"58", "transaction not permitted to terminal"},
	{"59", "suspected fraud"},
	{"60", "card acceptor contact acquirer"},
	{"61", "exceeds withdrawal amount limit"},
	{"62", "restricted card"},
	{"63", "security violation"},
	{"64", "original amount incorrect"},
	{"65", "exceeds withdrawal frequency limit"},
	{"66", "card acceptor call acquirer's security department"},
	{"67", "hard capture, pick up at the machine"},
	{"68", "response received too late"},
	{"75", "allowable number of PIN tries exceeded"},
	{"90", "cut-off is in process"},
	{"91", "issuer or switch is inoperative"},
	{"92", "financial institution or intermediate network facility cannot be found"},
	{"93", "transaction cannot be completed, violation of law"},
	{"94", "duplicate transmission"},
	{"95", "reconcile error"},
	{"96", "system malfunction"},
}
