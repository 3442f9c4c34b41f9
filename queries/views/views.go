// Package views is the semantic layer: documented views over the lake's tables that answer what
// people ask of cards and purchases and that show what jobs found ([All]), and the questions of a tenant's dashboard
// ([Standard]).
//
// All of it is in one portable dialect, which DuckDB parses and for which DuckDB and Trino (and
// so Athena) give equal rows: plain aggregates, CASE, COALESCE, NULLIF, CAST, date_trunc, joins,
// VALUES, WITH, and window functions with an explicit frame and an order without ties.
//
// What holds for every view:
//
//   - It has the column tenant, and a filter on it reaches the table below. So does one on day,
//     hour or event_time, but for views of whole purchases and of cards over time (transactions,
//     active_cards, active_cards_by_month, interchange_estimate, chargebacks), which need what came before.
//   - Days, hours and months are those of UTC.
//   - Money is decimal and exact, and is summed within one currency only: currency is among the
//     columns that a row is for. Counts may be added up over currencies.
//   - Rates are double, and NULL where there is nothing to divide by. Add up what a rate is made
//     of and divide again; don't average rates.
//   - A column of the table that the caller is not given is NULL, and so is what is made of it. A
//     masked column counts as masked: amounts rounded to their leading digit are summed as they
//     are, and cards that look alike when masked are counted as one.
//   - The order in which events arrived changes nothing.
package views

import (
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

// Namespace is that of the views.
const Namespace = "views"

// All are the views, each after those that it is made of.
var All = []*queries.View{
	events, transactions,
	approvalsByHour, approvalsByCountry, approvalsByChannel, approvalsByMCC, approvalsByBIN, approvalsByEntryMode, approvalsByNetwork,
	declines, tenantDaily, merchantDaily, activeCards, activeCardsByMonth, interchangeEstimate, chargebacks,
	insightRuns, alerts, segments, segmentsByDay, customerSegments, predictions, recommendations,
}

// Columns by type; each is named, tagged by the most sensitive of what it is made of, and
// explained.

func text(name string, tag cardlake.Tag, doc string) queries.ViewColumn {
	return queries.ViewColumn{Name: name, Type: arrow.BinaryTypes.String, Tag: tag, Doc: doc}
}

func flag(name, doc string) queries.ViewColumn {
	return queries.ViewColumn{Name: name, Type: arrow.FixedWidthTypes.Boolean, Tag: cardlake.Public, Doc: doc}
}

func count(name, doc string) queries.ViewColumn {
	return queries.ViewColumn{Name: name, Type: arrow.PrimitiveTypes.Int64, Tag: cardlake.Public, Doc: doc}
}

// cards counts cards, which takes their tokens.
func cards(name, doc string) queries.ViewColumn {
	return queries.ViewColumn{Name: name, Type: arrow.PrimitiveTypes.Int64, Tag: cardlake.Identifier, Doc: doc}
}

func money(name, doc string) queries.ViewColumn {
	return queries.ViewColumn{Name: name, Type: &arrow.Decimal128Type{Precision: 38, Scale: 4}, Tag: cardlake.MoneyTag, Doc: doc}
}

func rate(name, doc string) queries.ViewColumn {
	return queries.ViewColumn{Name: name, Type: arrow.PrimitiveTypes.Float64, Tag: cardlake.Public, Doc: doc}
}

func date(name, doc string) queries.ViewColumn {
	return queries.ViewColumn{Name: name, Type: arrow.FixedWidthTypes.Date32, Tag: cardlake.Public, Doc: doc}
}

func instant(name, doc string) queries.ViewColumn {
	return queries.ViewColumn{Name: name, Type: arrow.FixedWidthTypes.Timestamp_us, Tag: cardlake.Public, Doc: doc}
}

// Columns that several views have.
var (
	tenant   = text("tenant", cardlake.Public, "company whose cards they are")
	eventDay = date("day", "UTC day of the events")
	currency = text("currency", cardlake.Public, "ISO 4217 code of the amounts, the merchant's currency")
)

// Facts of the same name and meaning as a column of cards.transactions.
func fact(name string) queries.ViewColumn {
	c := cardlake.Transactions.Column(name)
	v := queries.ViewColumn{Name: c.Name, Tag: c.Tag, Doc: c.Doc}
	switch c.Type {
	case cardlake.Bool:
		v.Type = arrow.FixedWidthTypes.Boolean
	case cardlake.Int32:
		v.Type = arrow.PrimitiveTypes.Int32
	case cardlake.Timestamp:
		v.Type = &arrow.TimestampType{Unit: arrow.Microsecond}
	case cardlake.TimestampTZ:
		v.Type = arrow.FixedWidthTypes.Timestamp_us
	case cardlake.Decimal18x4:
		v.Type = &arrow.Decimal128Type{Precision: 18, Scale: 4}
	default:
		v.Type = arrow.BinaryTypes.String
	}
	return v
}

func facts(names ...string) []queries.ViewColumn {
	out := make([]queries.ViewColumn, len(names))
	for i, name := range names {
		out[i] = fact(name)
	}
	return out
}

// Aggregates that several views have. Each is NULL, not 0, where a column that it needs is not
// given: a number that looks like an answer must be one.

// countIf counts the rows of which the condition on the given columns holds.
func countIf(condition string, given ...string) string {
	return "CAST(sum(CASE WHEN " + condition + " THEN 1 WHEN " + areGiven(given) + " THEN 0 END) AS BIGINT)"
}

// sumIf sums the amounts of the rows of which the condition on the given columns holds.
func sumIf(condition, amount string, given ...string) string {
	return "CAST(sum(CASE WHEN " + condition + " THEN " + amount + " WHEN " + areGiven(append(given, amount)) + " THEN 0 END) AS DECIMAL(38,4))"
}

func areGiven(columns []string) string {
	return strings.Join(columns, " IS NOT NULL AND ") + " IS NOT NULL"
}

// ratio divides two counts.
func ratio(part, whole string) string {
	return "CAST(" + part + " AS DOUBLE) / NULLIF(" + whole + ", 0)"
}

// quote writes a text as SQL has it.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
