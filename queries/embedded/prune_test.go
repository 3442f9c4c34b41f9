package embedded_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// TestFilters: which conditions on cards.transactions a statement is found to have.
func TestFilters(t *testing.T) {
	const (
		day  = "event_time 1772323200000000..1772409599999999"
		from = "event_time 1772323200000000.."
		mcc  = "mcc 5411|5812"
		none = ""
	)
	g := queries.New(embedded.NewParser(), nil, queriestest.Everything, &queriestest.Log{}, queries.Config{Views: []*queries.View{
		{Namespace: "views", Name: "plain", SQL: "SELECT tenant, mcc AS kind, CAST(event_time AS DATE) AS day, event_time, amount FROM cards.transactions WHERE event_time >= DATE '2026-03-01'"},
		{Namespace: "views", Name: "grouped", SQL: "SELECT p.tenant, p.day, count(*) AS n FROM views.plain p GROUP BY p.tenant, p.day"},
		{Namespace: "views", Name: "ranked", SQL: "SELECT tenant, mcc, row_number() OVER (PARTITION BY tenant ORDER BY event_time) AS n FROM cards.transactions"},
		{Namespace: "views", Name: "first", SQL: "SELECT tenant, mcc FROM cards.transactions ORDER BY event_time LIMIT 5"},
	}})
	for _, tc := range []struct{ sql, want string }{
		{"SELECT 1 FROM cards.transactions", none},
		{"SELECT 1 FROM cards.transactions WHERE mcc = '5411'", "mcc 5411"},
		{"SELECT 1 FROM cards.transactions t WHERE '5411' = T.MCC", "mcc 5411"},
		{"SELECT 1 FROM cards.transactions WHERE transactions.mcc IN ('5411', '5812') AND event_time >= '2026-03-01'", mcc + " & " + from},
		{"SELECT 1 FROM cards.transactions WHERE mcc IN ('5411', amount)", none},
		{"SELECT 1 FROM cards.transactions WHERE mcc = 5411", none},
		{"SELECT 1 FROM cards.transactions WHERE mcc = NULL", none},
		{"SELECT 1 FROM cards.transactions WHERE mcc = lower('A')", none},
		{"SELECT 1 FROM cards.transactions WHERE NOT mcc = '5411'", none},
		{"SELECT 1 FROM cards.transactions WHERE mcc = '5411' OR approved", none},
		{"SELECT 1 FROM cards.transactions WHERE mcc <> '5411'", none},
		{"SELECT 1 FROM cards.transactions WHERE mcc IS DISTINCT FROM '5411'", none},
		{"SELECT 1 FROM cards.transactions WHERE mcc COLLATE NOCASE = '5411'", none},
		{"SELECT 1 FROM cards.transactions WHERE mcc > '5' AND mcc <= '6'", "mcc 5.. & mcc ..6"},
		{"SELECT 1 FROM cards.transactions WHERE event_time BETWEEN TIMESTAMP '2026-03-01' AND '2026-03-01 23:59:59.999999'", from + " & event_time ..1772409599999999"},
		{"SELECT 1 FROM cards.transactions WHERE event_time > '2026-03-01 02:00:00+02:00'::TIMESTAMPTZ", "event_time 1772323200000001.."},
		{"SELECT 1 FROM cards.transactions WHERE event_time >= '2026-03-01T00:00:00Z'", from},
		{"SELECT 1 FROM cards.transactions WHERE event_time < '2026-03-01T00:00:00Z'", "event_time ..1772323199999999"},
		{"SELECT 1 FROM cards.transactions WHERE '2026-03-01T00:00:00Z' < event_time", "event_time 1772323200000001.."},
		{"SELECT 1 FROM cards.transactions WHERE event_time::DATE < '2026-03-01'", "event_time ..1772323199999999"},
		{"SELECT 1 FROM cards.transactions WHERE event_time::DATE <= '2026-03-01'", "event_time ..1772409599999999"},
		{"SELECT 1 FROM cards.transactions WHERE event_time::DATE > '2026-03-01'", "event_time 1772409600000000.."},
		{"SELECT 1 FROM cards.transactions WHERE event_time > TRY_CAST('2026-03-01' AS DATE)", none},
		{"SELECT 1 FROM cards.transactions WHERE event_time > '1 March 2026'", none},
		{"SELECT 1 FROM cards.transactions WHERE event_time > now()", none},
		{"SELECT 1 FROM cards.transactions WHERE local_time > '2026-03-01 00:00:00'", "local_time 1772323200000001.."},
		{"SELECT 1 FROM cards.transactions WHERE local_time > '2026-03-01 00:00:00+00:00'", none},
		{"SELECT 1 FROM cards.transactions WHERE event_time::DATE = DATE '2026-03-01'", day},
		{"SELECT 1 FROM cards.transactions WHERE event_time::DATE = '2026-03-01 10:00:00'", none},
		{"SELECT 1 FROM cards.transactions WHERE event_time::DATE IN ('2026-03-01', '2026-02-28')", "event_time 1772236800000000..1772409599999999"},
		{"SELECT 1 FROM cards.transactions WHERE stream_offset >= 5 AND latency_us < -3", "stream_offset 5.. & latency_us ..-4"},
		{"SELECT 1 FROM cards.transactions WHERE stream_offset >= 5.5 AND latency_us < '3'", none},
		{"SELECT 1 FROM cards.transactions WHERE amount = 5", none},
		{"SELECT count(*) FROM cards.transactions WHERE mcc = '5411' GROUP BY tenant HAVING tenant = 'aurora'", "mcc 5411"},
		{"SELECT 1 FROM cards.transactions USING SAMPLE 10 ROWS", none},
		{"SELECT 1 FROM (FROM cards.transactions USING SAMPLE 10 ROWS) WHERE mcc = '5411'", none},

		// joins
		{"SELECT 1 FROM cards.transactions a JOIN cards.control_totals b ON a.tenant = b.tenant AND a.mcc = '5411' WHERE a.event_time >= '2026-03-01'", from + " & mcc 5411"},
		{"SELECT 1 FROM cards.transactions a, cards.control_totals b WHERE mcc = '5411'", none},
		{"SELECT 1 FROM cards.transactions a LEFT JOIN cards.control_totals b ON a.tenant = b.tenant AND a.mcc = '5411'", none},
		{"SELECT 1 FROM cards.transactions a LEFT JOIN cards.control_totals b ON a.tenant = b.tenant WHERE a.mcc = '5411'", "mcc 5411"},
		{"SELECT 1 FROM cards.control_totals b LEFT JOIN cards.transactions a ON a.tenant = b.tenant WHERE a.mcc = '5411'", none},
		{"SELECT 1 FROM cards.control_totals b RIGHT JOIN cards.transactions a ON a.tenant = b.tenant WHERE a.mcc = '5411'", "mcc 5411"},
		{"SELECT 1 FROM cards.control_totals b FULL JOIN cards.transactions a ON a.tenant = b.tenant WHERE a.mcc = '5411'", none},
		{"SELECT 1 FROM cards.control_totals b ASOF JOIN cards.transactions a ON a.tenant = b.tenant AND a.event_time <= b.window_start WHERE a.mcc = '5411'", none},
		{"SELECT 1 FROM cards.control_totals b POSITIONAL JOIN cards.transactions a WHERE a.mcc = '5411'", none},
		{"SELECT 1 FROM cards.control_totals b ANTI JOIN cards.transactions a ON a.tenant = b.tenant AND a.mcc = '5411'", none},
		{"SELECT 1 FROM cards.transactions a NATURAL JOIN cards.control_totals b WHERE a.mcc = '5411'", none},
		{"SELECT 1 FROM (cards.transactions a JOIN cards.transactions b ON a.mcc = '1') WHERE b.mcc = '2'", "mcc 1 / mcc 2"},
		{"SELECT 1 FROM cards.transactions a, cards.transactions b WHERE a.mcc = '1'", none},

		// subqueries
		{"SELECT 1 FROM (SELECT * FROM cards.transactions) WHERE mcc = '5411'", "mcc 5411"},
		{"SELECT 1 FROM (SELECT mcc AS kind FROM cards.transactions) s WHERE s.kind = '5411'", "mcc 5411"},
		{"SELECT 1 FROM (SELECT upper(mcc) AS mcc FROM cards.transactions) WHERE mcc = '5411'", none},
		{"SELECT 1 FROM (SELECT tenant AS mcc, mcc AS tenant FROM cards.transactions) WHERE mcc = '5411'", "tenant 5411"},
		{"SELECT 1 FROM (SELECT tenant AS mcc, mcc FROM cards.transactions) s WHERE mcc = '5411'", none},
		{"SELECT 1 FROM (SELECT * EXCLUDE (mcc), 'x' AS mcc FROM cards.transactions) WHERE mcc = '5411'", none},
		{"SELECT 1 FROM (SELECT * REPLACE ('x' AS mcc) FROM cards.transactions) WHERE mcc = '5411'", none},
		{"SELECT 1 FROM (SELECT mcc FROM cards.transactions LIMIT 10) WHERE mcc = '5411'", none},
		{"SELECT 1 FROM (SELECT DISTINCT mcc FROM cards.transactions) WHERE mcc = '5411'", "mcc 5411"},
		{"SELECT 1 FROM (SELECT DISTINCT ON (tenant) mcc FROM cards.transactions) WHERE mcc = '5411'", none},
		{"SELECT 1 FROM (SELECT mcc, count(*) FROM cards.transactions GROUP BY mcc) WHERE mcc = '5411'", "mcc 5411"},
		{"SELECT 1 FROM (SELECT mcc, count(*) FROM cards.transactions GROUP BY 1) WHERE mcc = '5411'", "mcc 5411"},
		{"SELECT 1 FROM (SELECT mcc, count(*) FROM cards.transactions GROUP BY ALL) WHERE mcc = '5411'", "mcc 5411"},
		{"SELECT 1 FROM (SELECT mcc, count(*) FROM cards.transactions GROUP BY CUBE (mcc)) WHERE mcc = '5411'", none},
		{"SELECT 1 FROM (SELECT any_value(mcc) AS mcc FROM cards.transactions GROUP BY tenant) WHERE mcc = '5411'", none},
		{"SELECT 1 FROM (SELECT mcc, sum(amount) OVER () AS s FROM cards.transactions) WHERE mcc = '5411'", none},
		{"SELECT 1 FROM (SELECT mcc, sum(amount) OVER (PARTITION BY tenant, mcc) AS s FROM cards.transactions) WHERE mcc = '5411'", "mcc 5411"},
		{"SELECT 1 FROM (SELECT mcc FROM cards.transactions QUALIFY row_number() OVER (ORDER BY amount) < 9) WHERE mcc = '5411'", none},
		{"SELECT 1 FROM (SELECT a FROM cards.transactions AS t(a)) WHERE a = '5411'", none},
		{"SELECT mcc FROM cards.transactions WHERE mcc = '1' UNION ALL SELECT mcc FROM cards.transactions WHERE mcc = '2'", "mcc 1 / mcc 2"},
		{"SELECT 1 WHERE EXISTS (SELECT 1 FROM cards.transactions WHERE mcc = '1')", "mcc 1"},
		{"SELECT 1 FROM cards.transactions t WHERE mcc = '1' AND EXISTS (SELECT 1 FROM cards.control_totals c WHERE t.tenant = 'aurora')", "mcc 1"},
		{"SELECT (SELECT max(mcc) FROM cards.transactions) FROM cards.transactions WHERE mcc = '1'", none},
		{"SELECT 1 FROM (SELECT unnest([mcc, '1']) AS mcc FROM cards.transactions) WHERE mcc = '5411'", none},

		// common table expressions
		{"WITH c AS (SELECT * FROM cards.transactions WHERE mcc = '5411') SELECT 1 FROM c WHERE event_time >= DATE '2026-03-01'", "mcc 5411 & " + from},
		{"WITH c AS (SELECT * FROM cards.transactions) SELECT 1 FROM c a WHERE mcc = '1' UNION ALL SELECT 2 FROM c WHERE mcc = '2'", "mcc 1 / mcc 2"},
		{"WITH c AS (SELECT * FROM cards.transactions) SELECT 1 FROM c a, c b WHERE a.mcc = '1'", none},
		{"WITH c(x) AS (SELECT mcc FROM cards.transactions) SELECT 1 FROM c WHERE x = '1'", none},
		{"WITH c AS (SELECT * FROM cards.transactions), d AS (SELECT * FROM c WHERE mcc = '1'), c2 AS (SELECT * FROM d) SELECT 1 FROM c2 WHERE tenant = 'aurora'", "mcc 1 & tenant aurora"},
		{"WITH c AS (SELECT mcc FROM cards.transactions WHERE mcc = '1'), d AS (WITH c AS (SELECT mcc FROM c WHERE mcc > '0') SELECT * FROM c) SELECT 1 FROM d", "mcc 1 & mcc 0.."},
		{"WITH RECURSIVE r AS (SELECT mcc, 1 AS n FROM cards.transactions WHERE mcc = '1' UNION ALL SELECT mcc, n + 1 FROM r WHERE n < 3) SELECT 1 FROM r WHERE mcc = '2'", "mcc 1"},
		{"WITH r AS (SELECT mcc FROM cards.transactions), s AS (WITH RECURSIVE r AS (SELECT mcc FROM r WHERE mcc = '1' UNION ALL SELECT mcc FROM r WHERE mcc = '2') SELECT * FROM r) SELECT 1 FROM s", "mcc 1"},

		// views
		{"SELECT 1 FROM views.plain WHERE kind = '5411'", from + " & mcc 5411"},
		{"SELECT 1 FROM views.plain WHERE day = DATE '2026-03-01'", from + " & " + day},
		{"SELECT 1 FROM views.plain v WHERE v.event_time::DATE <= '2026-03-01'", from + " & event_time ..1772409599999999"},
		{"SELECT 1 FROM views.grouped WHERE tenant = 'aurora' AND day = '2026-03-01' AND n = 5", from + " & tenant aurora & " + day},
		{"SELECT 1 FROM views.ranked WHERE tenant = 'aurora' AND mcc = '1'", "tenant aurora"},
		{"SELECT 1 FROM views.first WHERE tenant = 'aurora'", none},
	} {
		s, err := g.Check(t.Context(), tc.sql)
		if err != nil {
			t.Errorf("%s: %v", tc.sql, err)
			continue
		}
		var got []string
		for _, r := range s.Reads {
			if r.Table != cardlake.Transactions {
				continue
			}
			for _, all := range r.Filters {
				var list []string
				for _, f := range all {
					list = append(list, filterText(f))
				}
				got = append(got, strings.Join(list, " & "))
			}
		}
		if text := strings.Join(got, " / "); text != tc.want {
			t.Errorf("%s\ngot  %s\nwant %s", tc.sql, text, tc.want)
		}
	}
}

func filterText(f queries.Filter) string {
	name := cardlake.Transactions.Columns[f.Column].Name + " "
	if f.In != nil {
		return name + strings.Trim(strings.ReplaceAll(fmt.Sprint(f.In), " ", "|"), "[]")
	}
	end := func(v any) string {
		if v == nil {
			return ""
		}
		return fmt.Sprint(v)
	}
	return name + end(f.Min) + ".." + end(f.Max)
}

// heedless is the engine without what the check found of the statement: it reads everything.
type heedless struct{ queries.Engine }

func (h heedless) Query(ctx context.Context, s queries.Statement) (queries.Rows, error) {
	s.Reads = slices.Clone(s.Reads)
	for i := range s.Reads {
		s.Reads[i].Uses, s.Reads[i].Filters = nil, nil
	}
	return h.Engine.Query(ctx, s)
}

var prunedTenants = []cardlake.Tenant{"aurora", "bolivar", "cobre"}

// prunedLake has files of three tenants and four days with filters of several row groups,
// values that are NULL, one of a former schema, and a tail.
func prunedLake(t *testing.T, rng *rand.Rand) (*queriestest.Lake, queries.Tail) {
	t.Helper()
	lake := queriestest.NewLake()
	offset := int64(0)
	rows := func(tenant cardlake.Tenant, day, n int) *cardlake.Batch {
		b := cardlake.NewBatch()
		for i := range n {
			tx := writerstest.Bare()
			tx.EventID, tx.Tenant = cardlake.EventID{6: byte(offset >> 8), 7: byte(offset), 8: 0x80}, tenant
			tx.EventTime = queriestest.Epoch.Add(time.Duration(day)*24*time.Hour + time.Duration(i)*24*time.Hour/time.Duration(n)).UnixMicro()
			tx.CardToken = fmt.Sprintf("tk1_%032d", rng.IntN(4)+4*day)
			tx.MCC = []string{"", "5411", "5812", "5999"}[rng.IntN(2+day/2)]
			tx.CustomerID = []string{"", "c1", "c2"}[rng.IntN(3)]
			tx.Approved = rng.IntN(2) == 0
			tx.LatencyMicros = int32(rng.IntN(100) * (day + 1))
			tx.LocalTime = tx.EventTime/1_000_000*1_000_000 - 5*3_600_000_000
			tx.Position = cardlake.Position{StreamPartition: partition(0), Offset: offset}
			offset++
			if err := b.Append(tx); err != nil {
				t.Fatal(err)
			}
		}
		return b
	}
	encoder := parquet.NewEncoder(cardlake.Transactions, parquet.Config{BloomRows: 1, RowGroupRows: 7})
	add := func(name string, tenant cardlake.Tenant, day int, record arrow.RecordBatch) {
		body, splits, err := encoder.Encode(record)
		if err != nil {
			t.Fatal(err)
		}
		first := queriestest.Epoch.Add(time.Duration(day) * 24 * time.Hour).UnixMicro()
		lake.Add(cardlake.Transactions, cardlake.DataFile{
			Name: name, Tenant: tenant, Day: cardlake.DayOf(first), Rows: record.NumRows(), Bytes: int64(len(body)),
			MinTime: first, MaxTime: first + 24*time.Hour.Microseconds() - 1, SplitOffsets: splits,
		}, slices.Clone(body))
	}
	for _, tenant := range prunedTenants {
		for day := range 4 {
			add(fmt.Sprintf("data/%s/%d.parquet", tenant, day), tenant, day, rows(tenant, day, 20).View())
		}
	}

	old := *cardlake.Transactions
	old.Columns = slices.Clone(old.Columns)
	old.Columns[22].Name = "merchant_category"
	old.Columns = slices.DeleteFunc(old.Columns, func(c cardlake.Column) bool { return c.Name == "customer_id" })
	first := queriestest.Epoch.Add(48 * time.Hour).UnixMicro()
	body, err := queriestest.Parquet(&old, 9, func(c cardlake.Column, row int) any {
		switch {
		case c.Name == "tenant":
			return "cobre"
		case c.Name == "event_time":
			return first + int64(row)
		case c.Name == "merchant_category":
			return []any{"5411", nil, "5812"}[row%3]
		case c.Type == cardlake.String:
			return c.Name
		case c.Type == cardlake.Bool:
			return row%2 == 0
		}
		return int64(row)
	})
	if err != nil {
		t.Fatal(err)
	}
	lake.Add(cardlake.Transactions, cardlake.DataFile{
		Name: "data/old.parquet", Tenant: "cobre", Day: cardlake.DayOf(first), Rows: 9, Bytes: int64(len(body)), MinTime: first, MaxTime: first + 8,
	}, body)
	open := rows("bolivar", 3, 6)
	return lake, tailFunc(func(context.Context, cardlake.Positions) (queries.TailRows, error) {
		return queries.TailRows{To: cardlake.Positions{partition(0): {Next: offset}}, Records: []arrow.RecordBatch{open.View()}}, nil
	})
}

// statement makes up a statement with conditions of many kinds.
func prunedStatement(rng *rand.Rand) string {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	time := func() string {
		text := fmt.Sprintf("2026-03-0%d", 1+rng.IntN(5))
		return pick("DATE '"+text+"'", "'"+text+" 12:00:00'", "TIMESTAMP '"+text+" 06:30:00'", "TIMESTAMPTZ '"+text+" 01:00:00+02:00'", "'"+text+"T00:00:00Z'")
	}
	condition := func(prefix string) string {
		op := pick("=", "<", "<=", ">", ">=")
		switch rng.IntN(9) {
		case 0:
			return prefix + "event_time " + pick("<", ">=", "<=", ">") + " " + time()
		case 1:
			return fmt.Sprintf("CAST(%sevent_time AS DATE) %s '2026-03-0%d'", prefix, op, 1+rng.IntN(5))
		case 2:
			return prefix + "tenant " + pick("= 'aurora'", "IN ('bolivar', 'cobre')", "> 'b'", "= 'nobody'")
		case 3:
			return fmt.Sprintf("%scard_token %s 'tk1_%032d'", prefix, pick("=", "=", op), rng.IntN(20))
		case 4:
			return prefix + "mcc " + pick("= '5411'", "IN ('5411', '5999')", "IS NULL", "<> '5411'", "> '5500'", "= '5999'")
		case 5:
			return prefix + "customer_id " + pick("= 'c1'", "IS NULL", "= 'c7'", "IN ('c2')")
		case 6:
			return fmt.Sprintf("%slatency_us %s %d", prefix, op, rng.IntN(400))
		case 7:
			return prefix + "local_time " + op + " '2026-03-02 07:00:00'"
		}
		return fmt.Sprintf("(%sapproved OR %smcc = '5812')", prefix, prefix)
	}
	where := func(prefix string) string {
		var list []string
		for range 1 + rng.IntN(3) {
			list = append(list, condition(prefix))
		}
		return " WHERE " + strings.Join(list, pick(" AND ", " AND ", " AND ", " OR "))
	}
	const totals = "count(*), count(mcc), min(event_id), max(event_time), sum(latency_us)"
	const table = "cards.transactions"
	switch rng.IntN(9) {
	case 0, 1, 2:
		return "SELECT " + totals + " FROM " + table + where("")
	case 3:
		return "SELECT tenant, mcc, " + totals + " FROM " + table + where("") + " GROUP BY ALL ORDER BY ALL"
	case 4:
		return "SELECT count(*), count(b.mcc), min(b.event_id) FROM " + table + " a " + pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN") + " " + table + " b ON a.card_token = b.card_token AND " + condition(pick("a.", "b.")) + where(pick("a.", "b."))
	case 5:
		return "WITH c AS (SELECT *, row_number() OVER (PARTITION BY " + pick("tenant", "mcc", "tenant, mcc") + " ORDER BY event_time, event_id) AS n FROM " + table + where("") + ") SELECT count(*), sum(n), min(event_id) FROM c" + where("")
	case 6:
		return "SELECT count(*), sum(n) FROM (SELECT tenant, mcc, event_time, card_token, customer_id, local_time, approved, latency_us, count(*) AS n FROM " + table + " GROUP BY ALL)" + where("")
	case 7:
		return "SELECT count(*) FROM " + table + " a" + where("a.") + " AND " + pick("", "NOT ") + "EXISTS (SELECT 1 FROM " + table + " b" + where("b.") + " AND a.card_token = b.card_token)"
	}
	return "SELECT count(*) AS n FROM " + table + where("") + " UNION ALL SELECT count(*) FROM (SELECT DISTINCT tenant, mcc, event_time, card_token, customer_id, local_time, approved, latency_us FROM " + table + where("") + ")" + where("") + " ORDER BY n"
}

// TestPruningChangesNoAnswer: statements have the same answers as from an engine that reads
// everything, for whoever asks.
func TestPruningChangesNoAnswer(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	lake, tail := prunedLake(t, rng)
	masked := map[string]grants.Access{"card_token": grants.Masked, "mcc": grants.Masked, "latency_us": grants.Masked, "event_time": grants.Masked}
	dropped := map[string]grants.Access{"local_time": grants.Dropped}
	parser := embedded.NewParser()
	defer parser.Close()
	read, all := int64(0), int64(0)
	statements := 15
	if os.Getenv("CARDLAKE_REAL") != "" {
		statements = 1000
	}
	for name, permits := range map[string]queriestest.Permits{
		"everything": queriestest.Everything,
		"masked":     queriestest.Only(masked, "aurora", "bolivar"),
		"scopes": func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			return queriestest.Decision(c, a, t,
				grants.Scope{Tenants: []cardlake.Tenant{"aurora"}, Columns: queriestest.Columns(t, dropped)},
				grants.Scope{Tenants: []cardlake.Tenant{"bolivar"}, Columns: queriestest.Columns(t, masked)})
		},
	} {
		cached := embedded.New(lake, lake, embedded.Config{Threads: 2, Tail: tail, CacheBytes: 1 << 20, Ready: 1})
		defer cached.Close()
		engine := embedded.New(lake, lake, embedded.Config{Threads: 2, Tail: tail})
		ask := func(e queries.Engine, sql string) (string, int64, error) {
			text, err := answer(t.Context(), queries.New(parser, e, permits, &queriestest.Log{}, queries.Config{}).As(queriestest.Caller), sql)
			return text, lake.Opened.Swap(0), err
		}
		for range statements {
			sql := prunedStatement(rng)
			want, opened, err := ask(heedless{engine}, sql)
			if err != nil {
				if !strings.Contains(err.Error(), "local_time") { // which nobody may have been given
					t.Fatalf("%s: %v", sql, err)
				}
				continue
			}
			all += opened
			for _, e := range []queries.Engine{engine, cached} {
				got, opened, err := ask(e, sql)
				if diff := cmp.Diff(want, got); diff != "" || err != nil {
					t.Errorf("%s: %s: %v\nwithout and with pruning:\n%s", name, sql, err, diff)
				}
				if e == engine {
					read += opened
				}
			}
		}
	}
	if t.Logf("%d of %d objects were opened", read, all); read*20 > all*19 {
		t.Errorf("%d of %d objects were opened: nothing is pruned", read, all)
	}
}
