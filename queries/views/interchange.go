package views

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

var interchangeEstimate = &queries.View{
	Namespace: Namespace, Name: "interchange_estimate",
	Doc: "An estimate of the interchange that the issuer earns on what is left of the purchases of each UTC day (net_amount of views.transactions, where above zero), by network, product, presence of the card and country of the merchant. " +
		"It is an estimate: where a regulator caps the fee the cap is taken as the fee, elsewhere a round assumption; fees by merchant category, programme or amount are not in it, nor are cash withdrawals (channel atm). " +
		"A purchase counts as domestic if the merchant's currency is the cardholder's. The rates and their sources are in the view's statement and in the data dictionary.",
	Columns: []queries.ViewColumn{
		tenant,
		date("day", "UTC day of the purchases"),
		fact("network"), fact("product"), fact("card_present"), fact("merchant_country"),
		flag("is_domestic", "whether the merchant's currency is the cardholder's; NULL if that is not known"),
		text("currency", cardlake.Public, "ISO 4217 code of the amounts, the purchases' own"),
		count("purchases", "purchases of which something is left"),
		money("base_amount", "what is left of them"),
		{Name: "rate", Type: &arrow.Decimal128Type{Precision: 6, Scale: 5}, Tag: cardlake.Public, Doc: "estimated fee as a share of the amount; NULL where network, product or is_domestic has none"},
		text("basis", cardlake.Public, "where the rate is from, or that it is an assumption"),
		money("estimated_interchange", "base_amount times rate, rounded half away from zero to four decimals"),
	},
	SQL: `SELECT bases.tenant, bases.day, bases.network, bases.product, bases.card_present, bases.merchant_country, bases.is_domestic, bases.currency,
  bases.purchases, bases.base_amount,
  COALESCE(CAST(here.rate AS DECIMAL(6,5)), CAST(anywhere.rate AS DECIMAL(6,5))) AS rate,
  COALESCE(here.basis, anywhere.basis) AS basis,
  CAST(bases.base_amount * COALESCE(CAST(here.rate AS DECIMAL(6,5)), CAST(anywhere.rate AS DECIMAL(6,5))) AS DECIMAL(38,4)) AS estimated_interchange
FROM (
  SELECT tenant, day, network, product, card_present, merchant_country,
    currency = billing_currency AS is_domestic,
    currency,
    count(*) AS purchases,
    CAST(sum(net_amount) AS DECIMAL(38,4)) AS base_amount
  FROM views.transactions
  WHERE net_amount > 0 AND channel <> 'atm'
  GROUP BY tenant, day, network, product, card_present, merchant_country,
    currency = billing_currency, currency
) AS bases
LEFT JOIN ` + rateTable("here", false) + `
  ON here.market = CASE WHEN bases.merchant_country IN (` + eea() + `) THEN 'EEA' ELSE bases.merchant_country END
  AND here.is_domestic = bases.is_domestic AND here.network = bases.network AND here.product = bases.product AND here.card_present = bases.card_present
LEFT JOIN ` + rateTable("anywhere", true) + `
  ON anywhere.is_domestic = bases.is_domestic AND anywhere.network = bases.network
  AND anywhere.product = bases.product AND anywhere.card_present = bases.card_present`,
}

// anywhere is the market of rates that hold where no other does.
const anywhere = "*"

// Rate is what the interchange estimate takes for one kind of purchase.
type Rate struct {
	// Market is the merchant's country (ISO 3166-1 alpha-2), "EEA" for those of the European
	// Economic Area, or "*" for any other.
	Market     string
	IsDomestic bool
	Network    cardlake.Network
	Product    cardlake.Product
	// CardPresent says that the card was at the terminal.
	CardPresent bool
	// Rate is a decimal with up to five places, such as "0.00500" for half a per cent.
	Rate  string
	Basis string
}

// Sources of the rates.
const (
	brazil    = "cap: Banco Central do Brasil, Resolução BCB 246 of 2022, art. 3, since 1 April 2023"
	argentina = "cap: Banco Central de la República Argentina, schedule of March 2017, step of 2021"
	chile     = "assumption: as recalled of the caps of the Comité para la Fijación de Límites a las Tasas de Intercambio (2023), not compared with their text"
	europe    = "cap: commitments of Visa and Mastercard for cards issued outside the EEA, European Commission cases AT.39398 and AT.40049, 2019"
	assumed   = "assumption, no source"
)

// Rates returns the rates of the interchange estimate, the more special ones first.
func Rates() []Rate {
	var out []Rate
	add := func(market string, isDomestic bool, p cardlake.Product, present, absent, basis string) {
		for _, n := range []cardlake.Network{cardlake.Visa, cardlake.Mastercard} {
			out = append(out, Rate{market, isDomestic, n, p, true, present, basis}, Rate{market, isDomestic, n, p, false, absent, basis})
		}
	}
	add("BR", true, cardlake.Debit, "0.00500", "0.00500", brazil)
	add("BR", true, cardlake.Prepaid, "0.00700", "0.00700", brazil)
	add("AR", true, cardlake.Debit, "0.00600", "0.00600", argentina)
	add("AR", true, cardlake.Credit, "0.01300", "0.01300", argentina)
	add("CL", true, cardlake.Debit, "0.00350", "0.00350", chile)
	add("CL", true, cardlake.Credit, "0.00800", "0.00800", chile)
	add("CL", true, cardlake.Prepaid, "0.00800", "0.00800", chile)
	add("EEA", false, cardlake.Debit, "0.00200", "0.01150", europe)
	add("EEA", false, cardlake.Credit, "0.00300", "0.01500", europe)
	add(anywhere, true, cardlake.Debit, "0.00800", "0.01000", assumed)
	add(anywhere, true, cardlake.Prepaid, "0.01000", "0.01200", assumed)
	add(anywhere, true, cardlake.Credit, "0.01500", "0.01800", assumed)
	add(anywhere, false, cardlake.Debit, "0.01100", "0.01600", assumed)
	add(anywhere, false, cardlake.Prepaid, "0.01100", "0.01600", assumed)
	add(anywhere, false, cardlake.Credit, "0.01100", "0.01600", assumed)
	return out
}

// rateTable lists the rates that hold anywhere, or those that hold in one market.
func rateTable(name string, everywhere bool) string {
	columns := []string{"is_domestic", "network", "product", "card_present", "rate", "basis"}
	if !everywhere {
		columns = append([]string{"market"}, columns...)
	}
	var rows [][]string
	for _, r := range Rates() {
		row := []string{boolean(r.IsDomestic), quote(string(r.Network)), quote(string(r.Product)), boolean(r.CardPresent), r.Rate, quote(r.Basis)}
		switch {
		case !everywhere && r.Market != anywhere:
			rows = append(rows, append([]string{quote(r.Market)}, row...))
		case everywhere && r.Market == anywhere:
			rows = append(rows, row)
		}
	}
	return values(name, columns, rows)
}

// values writes a table of constants, whose rows are in SQL already.
func values(name string, columns []string, rows [][]string) string {
	lines := make([]string, len(rows))
	for i, row := range rows {
		lines[i] = "  (" + strings.Join(row, ", ") + ")"
	}
	return fmt.Sprintf("(VALUES\n%s\n) AS %s(%s)", strings.Join(lines, ",\n"), name, strings.Join(columns, ", "))
}

func boolean(b bool) string { return strings.ToUpper(strconv.FormatBool(b)) }

// eea lists the countries of the European Economic Area.
func eea() string {
	countries := strings.Fields("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK")
	for i, c := range countries {
		countries[i] = quote(c)
	}
	return strings.Join(countries, ", ")
}
