package figures

import (
	"fmt"
	"strings"

	"github.com/cardlake/cardlake/queries/views"
)

// Parameters that several figures have.
var (
	byCurrency  = Param{Name: "currency", Type: Currency, Doc: "only amounts of this currency"}
	inCurrency  = Param{Name: "currency", Type: Currency, Required: true, Doc: "currency of the amounts"}
	byCountry   = Param{Name: "country", Type: Country, Doc: "only merchants of this country"}
	byChannel   = Param{Name: "channel", Type: Choice, Values: []string{"pos", "ecommerce", "atm", "phone"}, Doc: "only this channel"}
	byMCC       = Param{Name: "mcc", Type: MCC, Doc: "only merchants of this category"}
	byMerchant  = Param{Name: "merchant", Type: Name, Doc: "only the merchant of this merchant_id"}
	ofMerchant  = Param{Name: "merchant", Type: Name, Required: true, Doc: "merchant_id of the merchant"}
	byBIN       = Param{Name: "bin", Type: BIN, Doc: "only cards of these first digits, as the column bin has them"}
	byCard      = Param{Name: "card", Type: Token, Doc: "only the card of this token"}
	ofCard      = Param{Name: "card", Type: Token, Required: true, Doc: "token of the card"}
	ofPurchase  = Param{Name: "purchase", Type: ID, Required: true, Doc: "transaction_id of the purchase"}
	byText      = Param{Name: "text", Type: Text, Doc: "only merchants with this in their name, in capitals or not"}
	inMode      = Param{Name: "mode", Type: Choice, Values: []string{"all", "new", "offer"}, Default: "all", Doc: "all: where the customer will buy; new: where the customer has not bought; offer: offers of the tenant"}
	byTop       = Param{Name: "top", Type: Int, Min: 1, Max: 10, Default: "3", Doc: "places of each customer's list that count"}
	ofSegment   = Param{Name: "segment", Type: Name, Required: true, Doc: "segment_id of the segment"}
	ofCustomer  = Param{Name: "customer", Type: Name, Required: true, Doc: "customer_id of the customer"}
	byCustomers = Param{Name: "customer", Type: Name, Doc: "only customers whose id begins so"}
	byGrain     = grain("day", "hour", "week", "month")
	byClock     = Param{Name: "clock", Type: Choice, Values: []string{"utc", "terminal"}, Default: "utc", Doc: "utc, or that of the terminal: what has no such time is left out", sql: map[string]string{"utc": "event_time", "terminal": "local_time"}}
	byJob       = Param{Name: "job", Type: Choice, Values: jobs, Doc: "only this job"}
	ofJob       = Param{Name: "job", Type: Choice, Values: jobs, Required: true, Doc: "job whose runs they are"}
	jobs        = []string{"anomaly", "segment", "predict", "recommend"}
)

func grain(values ...string) Param {
	return Param{Name: "grain", Type: Choice, Values: values, Default: values[0], Doc: "length of what a row is for; weeks begin on Monday"}
}

// inRange are the conditions of a tenant's rows within the range.
const inRange = "tenant = {tenant} AND day >= {from} AND day < {to}"

// requests are the conditions of authorisation requests within the range.
const requests = inRange + " AND event_type = 'authorization'"

// rate divides two counts.
func rate(part, whole string) string {
	return "CAST(" + part + " AS DOUBLE) / NULLIF(" + whole + ", 0)"
}

// share is the part that a row has of the column's sum over all rows.
func share(column string) string {
	return "CAST(" + column + " AS DOUBLE) / NULLIF(sum(" + column + ") OVER (), 0)"
}

// total sums a column of counts.
func total(column string) string { return "CAST(sum(" + column + ") AS BIGINT)" }

// sumOf sums a column of money.
func sumOf(column string) string { return "CAST(sum(" + column + ") AS DECIMAL(38,4))" }

// counted counts the rows of which the condition on the column holds, NULL where the column is
// not given.
func counted(condition, column string) string {
	return "CAST(sum(CASE WHEN " + condition + " THEN 1 WHEN " + column + " IS NOT NULL THEN 0 END) AS BIGINT)"
}

// approvedAmount sums the amounts of approved requests, NULL where they are not given.
const approvedAmount = "CAST(sum(CASE WHEN approved THEN amount WHEN approved IS NOT NULL AND amount IS NOT NULL THEN 0 END) AS DECIMAL(38,4))"

var approvedCount, declinedCount = counted("approved", "approved"), counted("NOT approved", "approved")

// distinct counts the different values of a column, NULL where it is not given.
func distinct(column string) string { return "NULLIF(count(DISTINCT " + column + "), 0)" }

// classes are the response codes of ISO 8583:1987, table "response codes", and of today's schemes
// by who can put the decline right. A code that is in none is of class other.
var classes = []struct{ name, codes string }{
	{"cardholder", "14 17 18 38 39 42 44 51 52 53 54 55 61 65 70 75 1A"},
	{"issuer", "01 02 05 15 33 36 46 57 58 62 78 85 93"},
	{"fraud", "04 07 34 35 37 41 43 59 63 66 67 82 N7"},
	{"technical", "03 06 09 12 13 19 20 21 22 23 24 25 26 27 28 29 30 31 40 56 60 64 68 76 77 86 90 91 92 94 95 96"},
}

// class is the expression of a declined request's class. Its lines begin with the indentation.
func class(indent string) string {
	return "CASE" + whenClass(indent) + "\n" + indent + "  WHEN response_code IS NOT NULL THEN 'other'\n" + indent + "END"
}

// outcome is the expression of a request's class, which is approved for those that were.
func outcome(indent string) string {
	return "CASE\n" + indent + "  WHEN approved THEN 'approved'" + whenClass(indent) + "\n" + indent + "  WHEN NOT approved THEN 'other'\n" + indent + "END"
}

func whenClass(indent string) string {
	var b strings.Builder
	for _, c := range classes {
		fmt.Fprintf(&b, "\n%s  WHEN response_code IN ('%s') THEN '%s'", indent, strings.Join(strings.Fields(c.codes), "', '"), c.name)
	}
	return b.String()
}

// steps are the bounds 1, 2, 5, 10, … 50,000,000 of amounts.
var steps = func() (out []string) {
	for zeros := range 8 {
		for _, digit := range []string{"1", "2", "5"} {
			out = append(out, digit+strings.Repeat("0", zeros))
		}
	}
	return out
}()

// bucket is the expression of the greatest step that the column reaches, 0 if it reaches none.
func bucket(column, indent string) string {
	var b strings.Builder
	b.WriteString("CASE")
	for i := len(steps) - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "\n%s  WHEN %s >= %s THEN %s", indent, column, steps[i], steps[i])
	}
	return b.String() + "\n" + indent + "  WHEN " + column + " IS NOT NULL THEN 0\n" + indent + "END"
}

// upper is the expression of the end of the bucket that begins with the column: of 1, 2, 5, 10, …
// each third is two and a half times the one before, the others twice.
func upper(column string) string {
	var fives []string
	for i := 1; i < len(steps); i += 3 {
		fives = append(fives, steps[i])
	}
	return "CASE " + column + " WHEN 0 THEN 1 WHEN " + steps[len(steps)-1] + " THEN NULL ELSE " +
		column + " * CASE WHEN " + column + " IN (" + strings.Join(fives, ", ") + ") THEN 2.5 ELSE 2 END END"
}

// meaning is the expression of what a response code says.
func meaning(indent string) string {
	var b strings.Builder
	b.WriteString("CASE response_code\n" + indent + "  WHEN '00' THEN 'approved'")
	for _, c := range views.ResponseCodes() {
		fmt.Fprintf(&b, "\n%s  WHEN %s THEN %s", indent, quote(c.Code), quote(c.Meaning))
	}
	return b.String() + "\n" + indent + "END"
}
