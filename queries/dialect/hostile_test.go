package dialect_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dialect"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// TestRefused: what cannot be printed is refused with a reason, and a place if there is one.
func TestRefused(t *testing.T) {
	parser := newParser(t)
	var out strings.Builder
	for _, sql := range statements(t, "testdata/refused.sql") {
		s, err := checked(t, parser, queriestest.Everything, sql)
		if err != nil {
			t.Errorf("the check refuses: %s\n%v", sql, err)
			continue
		}
		got, err := dialect.Trino(s, iceberg)
		var fault *queries.Error
		if !errors.As(err, &fault) {
			t.Errorf("%s\nwant an *Error, got %v and %v", sql, err, got)
			continue
		}
		fmt.Fprintf(&out, "%s\n  %d: %v\n", sql, fault.Offset, fault)
	}
	golden(t, "testdata/refused.golden", out.String())
}

// vocabulary is all that a printed statement may be made of beside literals and the quoted names
// of tables and columns.
var vocabulary = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// TestNothingPassesThrough puts hostile text wherever a statement can hold text: what is printed
// has it in literals alone, and names no relation but the printer's own and the one table.
func TestNothingPassesThrough(t *testing.T) {
	parser := newParser(t)
	const evil = `x" FROM "system"."runtime"."queries" --`
	quoted := `"` + strings.ReplaceAll(evil, `"`, `""`) + `"`
	for _, sql := range []string{
		`SELECT tenant AS ` + quoted + ` FROM cards.transactions`,
		`SELECT ` + quoted + `.tenant FROM cards.transactions AS ` + quoted,
		`WITH ` + quoted + `(` + quoted + `) AS (SELECT 1) SELECT * FROM ` + quoted,
		`WITH t1 AS (SELECT 1 AS x), t2 AS (SELECT 2 AS x), w3 AS (SELECT 3 AS x) SELECT t1.x, t2.x, w3.x, tenant FROM t1, t2, w3, cards.transactions`,
		`WITH transactions AS (SELECT 'x' AS tenant) SELECT tenant FROM cards.transactions`,
		`WITH "cards.transactions" AS (SELECT 'x' AS tenant) SELECT tenant FROM cards.transactions`,
		`WITH "lake.cards.transactions" AS (SELECT 1 AS tenant) SELECT * FROM "lake.cards.transactions"`,
		`SELECT '''; DROP TABLE x --' || tenant FROM cards.transactions`,
		`SELECT $$' || (SELECT 1) || '$$ FROM cards.transactions`,
		`SELECT 'U&''\0027''' /* */ FROM cards.transactions -- x`,
		`SELECT tenant FROM cards.transactions WHERE merchant_name LIKE ''' OR 1=1 --' AND merchant_name LIKE 'a!' ESCAPE '!'`,
		`SELECT regexp_matches(merchant_name, '''\) OR \(1=1') FROM cards.transactions`,
		`SELECT strftime(event_time, ''' || 1 || '''), split_part(mcc, '''', 1), trim(mcc, ''''), concat_ws('''', mcc, '''') FROM cards.transactions`,
		`SELECT string_agg(mcc, ''') FROM x --' ORDER BY mcc) FROM cards.transactions`,
		`SELECT v.` + quoted + ` FROM (VALUES (1)) v(` + quoted + `)`,
		`SELECT * RENAME (tenant AS ` + quoted + `) FROM cards.transactions`,
		`SELECT count(*) AS ` + quoted + ` FROM cards.transactions GROUP BY tenant ORDER BY ` + quoted,
	} {
		s, err := checked(t, parser, queriestest.Everything, sql)
		if err != nil {
			t.Errorf("the check refuses: %s\n%v", sql, err)
			continue
		}
		got, err := dialect.Trino(s, iceberg)
		if err != nil {
			t.Errorf("%s\n%v", sql, err)
			continue
		}
		if strange := strangers(got.SQL); len(strange) > 0 {
			t.Errorf("%s\nprinted %v:\n%s", sql, strange, got.SQL)
		}
		if n := strings.Count(got.SQL, `"lake"."cards"."transactions"`); n > 1 {
			t.Errorf("%s\nnames the table %d times:\n%s", sql, n, got.SQL)
		}
	}
}

// strangers reads a statement as Trino's lexer does, and returns the quoted names that are not
// of the table, and what is no word, literal or operator.
func strangers(sql string) (out []string) {
	known := map[string]bool{"lake": true, "cards": true, cardlake.Transactions.Name: true}
	for _, c := range cardlake.Transactions.Columns {
		known[c.Name] = true
	}
	for len(sql) > 0 {
		switch c := sql[0]; {
		case c == '\'' || c == '"':
			end := 1
			for end < len(sql) && (sql[end] != c || end+1 < len(sql) && sql[end+1] == c) {
				if sql[end] == c {
					end++
				}
				end++
			}
			if end == len(sql) {
				return append(out, "an open quote")
			}
			if c == '"' && !known[sql[1:end]] {
				out = append(out, sql[:end+1])
			}
			sql = sql[end+1:]
		case c == '-' && strings.HasPrefix(sql, "--"), c == '/' && strings.HasPrefix(sql, "/*"), c == ';', c == '`', c == 0, c >= 0x80:
			return append(out, sql[:min(len(sql), 20)])
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_':
			end := 1
			for end < len(sql) && vocabulary.MatchString(sql[:end+1]) {
				end++
			}
			if strings.EqualFold(sql[:end], "system") {
				out = append(out, sql[:end])
			}
			sql = sql[end:]
		default:
			sql = sql[1:]
		}
	}
	return out
}

// A short statement whose aliases or arguments multiply is refused before it takes memory.
func TestGrowth(t *testing.T) {
	parser := newParser(t)
	aliases := "SELECT latency_us AS a0"
	for i := range 60 {
		aliases += fmt.Sprintf(", a%d + a%d AS a%d", i, i, i+1)
	}
	for name, sql := range map[string]string{
		"aliases":   aliases + " FROM cards.transactions",
		"arguments": "SELECT " + strings.Repeat("right(", 100) + "tenant" + strings.Repeat(", 5)", 100) + " FROM cards.transactions",
		"repeats":   "SELECT " + strings.Repeat("right(", 10) + "tenant" + strings.Repeat(", 5)", 10) + " AS x" + strings.Repeat(", x", 2000) + " FROM cards.transactions",
	} {
		s, err := checked(t, parser, queriestest.Everything, sql)
		if err != nil {
			t.Errorf("%s: the check refuses it: %v", name, err)
			continue
		}
		var fault *queries.Error
		if _, err := dialect.Trino(s, iceberg); !errors.As(err, &fault) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestDecisions: a table is what the decision gives of it, and inside a view what it does not
// give is NULL.
func TestDecisions(t *testing.T) {
	parser := newParser(t)
	view := &queries.View{
		Namespace: "views", Name: "v", SQL: "SELECT reason, detail FROM cards.transactions_rejected",
		Columns: []queries.ViewColumn{{Name: "reason", Type: queriestest.ArrowType(cardlake.String)}, {Name: "detail", Type: queriestest.ArrowType(cardlake.String)}},
	}
	given := func(t *cardlake.Table, access map[string]grants.Access) []grants.Access {
		columns := make([]grants.Access, len(t.Columns))
		for i, c := range t.Columns {
			columns[i] = access[c.Name]
		}
		return columns
	}
	permits := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		if t == cardlake.Rejected {
			return queriestest.Decision(c, a, t, grants.Scope{Others: true, Columns: given(t, map[string]grants.Access{"reason": grants.Clear, "rejected_at": grants.Masked})})
		}
		d := queriestest.Decision(c, a, t,
			grants.Scope{Tenants: []cardlake.Tenant{"aurora", "cobre"}, Columns: given(t, map[string]grants.Access{"tenant": grants.Clear, "amount": grants.Clear, "mcc": grants.Clear})},
			grants.Scope{Others: true, Columns: given(t, map[string]grants.Access{"tenant": grants.Clear, "amount": grants.Masked, "card_token": grants.Masked})},
		)
		d.Except = []cardlake.Tenant{"bolivar"}
		return d
	})
	var out strings.Builder
	for _, sql := range []string{
		"SELECT * FROM cards.transactions",
		"SELECT * FROM views.v",
		"SELECT r.*, v.detail FROM views.v JOIN cards.transactions_rejected r USING (reason)",
	} {
		s, err := checked(t, parser, permits, sql, view)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []dialect.Relations{iceberg, func(*cardlake.Table) (dialect.Relation, error) { return dialect.Relation{Absent: true}, nil }} {
			got, err := dialect.Trino(s, at)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s\n  %s\n", sql, got.SQL)
		}
	}
	golden(t, "testdata/decisions.golden", out.String())

	s, err := checked(t, parser, permits, "SELECT detail FROM cards.transactions_rejected", view)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dialect.Trino(s, iceberg); err == nil {
		t.Error("a column that is not given was printed")
	}
	s.Reads[0].Decision.Table = cardlake.Transactions // so that the tenants are asked for
	s.Reads[0] = queries.Read{Table: cardlake.Transactions, Decision: queriestest.Decision(queriestest.Caller, grants.Query, cardlake.Transactions,
		grants.Scope{Tenants: []cardlake.Tenant{"x') OR ('1' = '1"}, Columns: queriestest.Columns(cardlake.Transactions, nil)})}
	again, err := checked(t, parser, queriestest.Everything, "SELECT tenant FROM cards.transactions")
	if err != nil {
		t.Fatal(err)
	}
	again.Reads = s.Reads
	if got, err := dialect.Trino(again, iceberg); err == nil {
		t.Errorf("a tenant's name that is none was printed: %s", got.SQL)
	}
}

// FuzzTrino: no tree makes the printer panic, and nothing printed has a name that is not its own.
func FuzzTrino(f *testing.F) {
	for _, path := range []string{"testdata/portable.sql", "testdata/refused.sql"} {
		for _, sql := range statements(f, path) {
			f.Add(sql)
		}
	}
	parser := newParser(f)
	f.Fuzz(func(t *testing.T, sql string) {
		s, err := checked(t, parser, queriestest.Everything, sql)
		if err != nil {
			return
		}
		got, err := dialect.Trino(s, iceberg)
		if err != nil {
			if strings.Contains(err.Error(), "internal error") {
				t.Errorf("%s\n%v", sql, err)
			}
			return
		}
		for _, r := range s.Reads {
			if r.Table != cardlake.Transactions {
				return
			}
		}
		if strange := strangers(got.SQL); len(strange) > 0 {
			t.Errorf("%s\nprinted %v:\n%s", sql, strange, got.SQL)
		}
	})
}
