package doors_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
)

// probes are statements that an analyst of a tenant may ask to learn about other tenants, most
// of them answered.
func probes() []string {
	out := []string{
		"SELECT count(*), count(DISTINCT tenant), min(tenant), max(tenant) FROM cards.transactions",
		"SELECT * FROM cards.transactions ORDER BY event_time",
		"SELECT DISTINCT tenant FROM cards.transactions ORDER BY 1",
		"SELECT max(event_time) - min(event_time) FROM cards.transactions",
		"SELECT sum(amount), avg(amount), stddev(amount), median(amount) FROM cards.transactions",
		"SELECT approx_count_distinct(card_token) FROM cards.transactions",
		"SELECT tenant, rank() OVER (ORDER BY amount DESC) FROM cards.transactions ORDER BY ALL",
		"SELECT ntile(10) OVER (ORDER BY amount), percent_rank() OVER (ORDER BY amount) FROM cards.transactions ORDER BY ALL",
		"SELECT a.tenant, b.tenant FROM cards.transactions a, cards.transactions b ORDER BY ALL",
		"SELECT a.tenant FROM cards.transactions a FULL JOIN cards.control_totals b ON a.tenant <> b.tenant ORDER BY ALL",
		"SELECT (SELECT count(*) FROM cards.transactions t WHERE t.tenant <> x.tenant) FROM cards.transactions x",
		"SELECT EXISTS (SELECT 1 FROM cards.transactions WHERE tenant = 'cobre')",
		"SELECT count(*) FROM cards.transactions x, LATERAL (SELECT * FROM cards.transactions y WHERE y.tenant <> x.tenant) z",
		"WITH t AS (SELECT * FROM cards.transactions), u AS (SELECT count(*) n FROM t) SELECT n FROM u",
		"WITH transactions AS (SELECT 1 AS x) SELECT count(*) FROM cards.transactions",
		`WITH "cards.transactions" AS (SELECT 7 AS x) SELECT * FROM "cards.transactions"`,
		"WITH cards AS (SELECT 7 AS transactions) SELECT * FROM cards",
		"SELECT count(*) FROM cards.transactions TABLESAMPLE 50% (bernoulli, 1)",
		"SELECT tenant FROM cards.transactions GROUP BY ROLLUP (tenant) ORDER BY ALL",
		"SELECT COLUMNS('.*') FROM cards.transactions ORDER BY event_time",
		"SELECT COLUMNS(c -> c LIKE '%stream%') FROM cards.transactions",
		"SELECT cards.transactions.* FROM cards.transactions ORDER BY event_time",
		"SELECT transactions FROM cards.transactions ORDER BY event_time",
		"SELECT #1 FROM cards.transactions ORDER BY event_time",
		"SELECT * EXCLUDE (tenant) FROM cards.transactions ORDER BY event_time",
		"SELECT stream_offset FROM cards.transactions",
		"SELECT max(stream_offset) FROM cards.transactions",
		"SELECT count(*) FROM cards.transactions_rejected",
		"SELECT count(*) FROM audit.events",
		"SELECT * FROM audit.event",
		"SELECT rowid FROM cards.transactions",
		"SELECT file_row_number FROM cards.transactions",
		"SELECT filename FROM cards.transactions",
		"SELECT file_index FROM cards.transactions",
		"SELECT typeof(transactions) FROM cards.transactions LIMIT 1",
		"FROM cards.transactions SELECT tenant ORDER BY event_time OFFSET 3",
		"SELECT tenant FROM cards.transactions UNION ALL SELECT tenant FROM cards.control_totals ORDER BY ALL",
		"SELECT tenant FROM cards.control_totals EXCEPT SELECT tenant FROM cards.transactions",
		"PIVOT cards.transactions ON tenant USING count(*)",
		"SELECT sum(events), max(last_sequence) FROM cards.control_totals",
		"SELECT 1 / (SELECT count(*) FROM cards.transactions WHERE tenant = 'cobre')",
		"SELECT (SELECT merchant_name FROM cards.transactions)",
		"SELECT array_agg(tenant ORDER BY event_time) FROM cards.transactions",
		"SELECT histogram(tenant) FROM cards.transactions",
		"SELECT tenant FROM cards.transactions WHERE tenant > 'bolivar' OR 1 = 1 ORDER BY ALL",
		"SELECT tenant FROM cards.transactions WHERE tenant = 'aurora' OR tenant = 'bolivar' OR tenant = 'cobre' OR tenant = 'duero' ORDER BY ALL",
		"SELECT min(ingested_at), max(ingested_at) FROM cards.transactions",
	}
	// A cast that fails says that there was a row to be cast: of other tenants there is none.
	for _, t := range tenants {
		for _, to := range []string{"INTEGER", "DATE"} {
			out = append(out, fmt.Sprintf("SELECT CAST(merchant_name AS %s) FROM cards.transactions WHERE tenant = '%s'", to, t))
		}
		out = append(out,
			fmt.Sprintf("SELECT CASE WHEN tenant = '%s' THEN CAST(card_token AS INTEGER) ELSE 0 END FROM cards.transactions", t),
			fmt.Sprintf("SELECT count(*) FROM cards.transactions WHERE tenant = '%s' AND CAST(merchant_name AS INTEGER) > 0", t),
			fmt.Sprintf("SELECT count(*) FROM cards.transactions WHERE merchant_name LIKE '%%%s%%'", t),
			fmt.Sprintf("SELECT count(*) FROM cards.transactions WHERE card_token = '%s'", marker(t, "card_token", 0)),
			fmt.Sprintf("SELECT 10 // (SELECT count(*) FROM cards.transactions WHERE merchant_id = '%s') AS n", marker(t, "merchant_id", 0)),
			fmt.Sprintf("SELECT sum(amount) FROM cards.transactions WHERE amount > %d", int64(slices.Index(tenants, t)+1)*1000),
			fmt.Sprintf("SELECT count(*) FROM generate_series(1, (SELECT count(*) * 1000 FROM cards.transactions WHERE tenant = '%s'))", t),
			fmt.Sprintf("SELECT lpad('x', 10, tenant) FROM cards.transactions WHERE tenant = '%s' ORDER BY event_time", t),
		)
	}
	for _, table := range []*cardlake.Table{cardlake.Transactions, cardlake.ControlTotals} {
		var facts []string
		for _, c := range table.Columns {
			if c.Tag != cardlake.Lineage {
				facts = append(facts, fmt.Sprintf(`count(DISTINCT "%[1]s"), min("%[1]s"), max("%[1]s"), list("%[1]s" ORDER BY "%[1]s")`, c.Name))
			}
		}
		out = append(out, "SELECT "+strings.Join(facts, ", ")+" FROM "+table.FullName())
	}
	return out
}
