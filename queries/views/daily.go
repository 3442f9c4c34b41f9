package views

import (
	"github.com/cardlake/cardlake/queries"
)

var tenantDaily = daily("tenant_daily", "Each tenant's events of each UTC day and currency.", nil,
	[]queries.ViewColumn{count("merchants", "different merchants with an event; NULL if no event names one")},
	"  NULLIF(count(DISTINCT merchant_id), 0) AS merchants,\n")

var merchantDaily = daily("merchant_daily",
	"Each merchant's events of each UTC day and currency, by a tenant's cards. Of several names, categories or countries on a day the last in order is shown.",
	[]queries.ViewColumn{fact("merchant_id")},
	facts("merchant_name", "mcc", "merchant_country"),
	"  max(merchant_name) AS merchant_name,\n  max(mcc) AS mcc,\n  max(merchant_country) AS merchant_country,\n")

// daily counts and sums the events of a day by what they are.
func daily(name, doc string, keys, about []queries.ViewColumn, aboutSQL string) *queries.View {
	columns := append([]queries.ViewColumn{tenant, eventDay}, keys...)
	columns = append(append(columns, currency), about...)
	columns = append(columns, cards("cards", "different cards with an event"))
	columns = append(columns, requestColumns...)
	columns = append(columns,
		count("reversals", "approved reversals"),
		money("reversed_amount", "sum of their amounts as they were sent; views.transactions has what they undid"),
		count("clearings", "clearings"),
		money("cleared_amount", "sum of their amounts"),
		count("refunds", "refunds"),
		money("refunded_amount", "sum of their amounts"),
		count("chargebacks", "chargebacks"),
		money("charged_back_amount", "sum of their amounts"),
	)
	by := "tenant, CAST(event_time AS DATE)"
	selected := "tenant, CAST(event_time AS DATE) AS day"
	for _, k := range keys {
		by, selected = by+", "+k.Name, selected+", "+k.Name
	}
	sql := "SELECT " + selected + ", currency,\n" + aboutSQL + "  NULLIF(count(DISTINCT card_token), 0) AS cards,\n" +
		requestSQL("event_type = 'authorization'")
	for _, s := range []struct{ event, count, amount string }{
		{"reversal", "reversals", "reversed_amount"}, {"clearing", "clearings", "cleared_amount"},
		{"refund", "refunds", "refunded_amount"}, {"chargeback", "chargebacks", "charged_back_amount"},
	} {
		is := "event_type = " + quote(s.event) + " AND approved"
		sql += ",\n  " + countIf(is, "event_type", "approved") + " AS " + s.count + ",\n  " + sumIf(is, "amount", "event_type", "approved") + " AS " + s.amount
	}
	return &queries.View{
		Namespace: Namespace, Name: name,
		Doc:     doc + " Events count on the day that they happened; views.transactions has them by purchase.",
		Columns: columns,
		SQL:     sql + "\nFROM cards.transactions\nGROUP BY " + by + ", currency",
	}
}
