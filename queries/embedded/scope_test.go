package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// session is the lake as somebody with the permits has it.
func session(t testing.TB, planner embedded.Planner, lake *queriestest.Lake, cfg embedded.Config, permits queries.Permits) (queries.Session, *queriestest.Log) {
	t.Helper()
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	cfg.Threads = 2
	log := &queriestest.Log{}
	return queries.New(parser, embedded.New(planner, lake, cfg), permits, log, queries.Config{}).As(queriestest.Caller), log
}

// rows renders an answer without its header.
func rowsText(t testing.TB, s queries.Session, sql string) string {
	t.Helper()
	text, err := answer(t.Context(), s, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	_, body, _ := strings.Cut(text, "\n")
	return strings.TrimSuffix(body, "\n")
}

// twoScopes gives aurora's rows in clear without merchants, bolivar's with masked customers and
// amounts, and nobody else's.
var twoScopes = queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
	if t != cardlake.Transactions {
		return queriestest.Nothing(c, a, t)
	}
	hidden := map[string]grants.Access{"bin": grants.Dropped, "last4": grants.Dropped}
	first, second := map[string]grants.Access{"merchant_name": grants.Dropped}, map[string]grants.Access{"card_token": grants.Masked, "amount": grants.Masked, "customer_id": grants.Masked}
	for name, access := range hidden {
		first[name], second[name] = access, access
	}
	return queriestest.Decision(c, a, t,
		grants.Scope{Tenants: []cardlake.Tenant{"aurora"}, Columns: queriestest.Columns(t, first)},
		grants.Scope{Tenants: []cardlake.Tenant{"bolivar"}, Columns: queriestest.Columns(t, second)})
})

// TestOnlyWhatIsInScopeIsOpened: files of other tenants are neither opened nor counted.
func TestOnlyWhatIsInScopeIsOpened(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(9, 10); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		permits queriestest.Permits
		tenants []string
	}{
		"one":        {queriestest.Only(nil, "bolivar"), []string{"bolivar"}},
		"two scopes": {twoScopes, []string{"aurora", "bolivar"}},
		"everything": {queriestest.Everything, []string{"aurora", "bolivar", "cobre"}},
		"but for one": {func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			d := queriestest.Everything(c, a, t)
			d.Except = []cardlake.Tenant{"cobre"}
			return d
		}, []string{"aurora", "bolivar"}},
		"nobody there": {queriestest.Only(nil, "zulu"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := session(t, lake, lake, embedded.Config{}, tc.permits)
			before := lake.Opened.Load()
			r, err := s.Query(t.Context(), "SELECT DISTINCT tenant FROM cards.transactions ORDER BY 1")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var got []string
			for row := make([]any, 1); r.Next(row) == nil; {
				got = append(got, row[0].(string))
			}
			if !slices.Equal(got, tc.tenants) {
				t.Errorf("rows of %v, want %v", got, tc.tenants)
			}
			want := int64(3 * len(tc.tenants))
			read := r.Snapshots()[0]
			if opened := lake.Opened.Load() - before; opened != want || read.Files != want || read.Rows != 10*want {
				t.Errorf("%d files opened, %d files of %d rows told of; want %d", opened, read.Files, read.Rows, want)
			}
			tables, err := s.Tables(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if told := tables[0].Snapshot; told.Files != want || told.Rows != 10*want || told.Bytes != read.Bytes {
				t.Errorf("the list tells of %d files, %d rows, %d bytes", told.Files, told.Rows, told.Bytes)
			}
		})
	}
}

// TestFileWithRowsOfAnother: the catalog says whose a file is. A file that has rows of somebody
// else all the same gives them away to nobody, whatever else is asked of them.
func TestFileWithRowsOfAnother(t *testing.T) {
	butBolivar := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		d := queriestest.Everything(c, a, t)
		d.Except = []cardlake.Tenant{"bolivar"}
		return d
	})
	othersMasked := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		return queriestest.Decision(c, a, t,
			grants.Scope{Others: true, Columns: queriestest.Columns(t, nil)},
			grants.Scope{Tenants: []cardlake.Tenant{"bolivar"}, Columns: queriestest.Columns(t, map[string]grants.Access{"merchant_name": grants.Dropped})})
	})
	for _, tc := range []struct {
		others int
		want   string
	}{{4, "6 | 6 | text of row 4 | 4 | 0"}, {10, "0 | 0 | <nil> | <nil> | 0"}} {
		lake := queriestest.NewLake()
		body, err := queriestest.Parquet(cardlake.Transactions, 10, func(c cardlake.Column, row int) any {
			switch {
			case c.Name == "tenant" && row < tc.others:
				return "bolivar"
			case c.Name == "tenant":
				return "aurora"
			case c.Type == cardlake.String:
				return fmt.Sprintf("text of row %d", row)
			case c.Type == cardlake.Bool:
				return true
			}
			return int64(row)
		})
		if err != nil {
			t.Fatal(err)
		}
		lake.Add(cardlake.Transactions, cardlake.DataFile{Name: "data/x.parquet", Tenant: "aurora", Rows: 10, Bytes: int64(len(body))}, body)
		for name, permits := range map[string]queries.Permits{"aurora": queriestest.Only(nil, "aurora"), "but bolivar": butBolivar, "bolivar in another scope": othersMasked} {
			t.Run(fmt.Sprint(name, " and ", tc.others), func(t *testing.T) {
				s, _ := session(t, lake, lake, embedded.Config{}, permits)
				if got := rowsText(t, s, "SELECT count(*), count(DISTINCT merchant_name), min(merchant_name), min(latency_us), count(*) FILTER (WHERE tenant = 'bolivar') FROM cards.transactions"); got != tc.want {
					t.Errorf("got %s", got)
				}
			})
		}
	}
}

// TestColumnsInScope: a column that no scope gives is not there, one that a scope does not give
// is NULL in its rows.
func TestColumnsInScope(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(6, 50); err != nil {
		t.Fatal(err)
	}
	s, _ := session(t, lake, lake, embedded.Config{}, twoScopes)
	for _, sql := range []string{
		"SELECT bin FROM cards.transactions", "SELECT t.bin FROM cards.transactions t", "SELECT transactions.bin FROM cards.transactions",
		"SELECT 1 FROM cards.transactions WHERE last4 = '0001'", "SELECT 1 FROM cards.transactions ORDER BY bin", "SELECT count(*) FROM cards.transactions GROUP BY bin",
		"SELECT 1 FROM cards.transactions a JOIN cards.transactions b USING (last4)", "SELECT * EXCLUDE (bin) FROM cards.transactions", "SELECT COLUMNS('^bin$') FROM cards.transactions",
		"SELECT struct_extract(t, 'bin') FROM cards.transactions t", "SELECT t['bin'] FROM cards.transactions t", "SELECT filename FROM cards.transactions", "SELECT rowid FROM cards.transactions",
		"SELECT file_row_number FROM cards.transactions", "SELECT file_index FROM cards.transactions", "SELECT unnest(t).bin FROM cards.transactions t",
		"SELECT (SELECT bin) FROM cards.transactions", "SELECT max(x.bin) FROM (SELECT * FROM cards.transactions) x", "SELECT * REPLACE (1 AS bin) FROM cards.transactions",
		"SELECT bni FROM cards.transactions", "SELECT last_4 FROM cards.transactions",
	} {
		_, err := answer(t.Context(), s, sql)
		var fault *queries.Error
		if !errors.As(err, &fault) {
			t.Errorf("%s: %v, want a fault", sql, err)
			continue
		}
		if hint := strings.ReplaceAll(fault.Hint, "binary", ""); regexp.MustCompile(`\b(bin|last4)\b`).MatchString(hint) {
			t.Errorf("%s: the hint names what is not permitted: %s", sql, fault.Hint)
		}
	}
	header, err := answer(t.Context(), s, "SELECT * FROM cards.transactions LIMIT 0")
	if err != nil {
		t.Fatal(err)
	}
	if columns := strings.Split(strings.TrimSpace(header), " | "); len(columns) != len(cardlake.Transactions.Columns)-2 || strings.Contains(header, "bin ") || strings.Contains(header, "last4") {
		t.Errorf("columns %v", columns)
	}
	if got := rowsText(t, s, "SELECT tenant, count(*), count(merchant_name), count(DISTINCT customer_id) > 1, max(length(card_token)), sum(amount) FROM cards.transactions GROUP BY 1 ORDER BY 1"); got !=
		"aurora | 100 | 0 | true | 36 | {100500000 0}\nbolivar | 100 | 100 | false | 5 | "+bolivarMasked(t, lake) {
		t.Errorf("got\n%s", got)
	}
}

// bolivarMasked is the sum of the masked amounts of bolivar's rows, by [queries.MaskValue].
func bolivarMasked(t *testing.T, lake *queriestest.Lake) string {
	t.Helper()
	s, _ := session(t, lake, lake, embedded.Config{}, queriestest.Only(nil, "bolivar"))
	r, err := s.Query(t.Context(), "SELECT amount FROM cards.transactions")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var sum decimal128.Num
	for row := make([]any, 1); r.Next(row) == nil; {
		sum = sum.Add(queries.MaskValue(*cardlake.Transactions.Column("amount"), row[0]).(decimal128.Num))
	}
	return fmt.Sprint(sum)
}

// TestMasksAreWhatIsAskedOf: whatever a statement does with a masked column it does with what
// the mask gives. The clear values do not come through filters that are pushed into the files,
// orders, groups, joins, or the bounds that the files keep of them.
func TestMasksAreWhatIsAskedOf(t *testing.T) {
	lake := queriestest.NewLake()
	body, err := queriestest.Parquet(cardlake.Transactions, 4000, func(c cardlake.Column, row int) any {
		switch {
		case c.Name == "tenant":
			return "aurora"
		case c.Name == "card_token":
			return fmt.Sprintf("tk1_%032d", 4000-row) // the tail of which is in another order than the whole
		case c.Name == "amount":
			return int64(row+1) * 1_0000
		case c.Name == "customer_id":
			return fmt.Sprintf("c%04d", row) // short: NULL
		case c.Name == "billing_amount", c.Name == "merchant_id" && row == 7:
			return nil
		case c.Type == cardlake.String:
			return "secret" + fmt.Sprint(row)
		case c.Type == cardlake.Bool:
			return row == 3
		}
		return int64(row)
	})
	if err != nil {
		t.Fatal(err)
	}
	lake.Add(cardlake.Transactions, cardlake.DataFile{Name: "data/x.parquet", Tenant: "aurora", Rows: 4000, Bytes: int64(len(body))}, body)
	masked := map[string]grants.Access{}
	for _, c := range cardlake.Transactions.Columns {
		if c.Name != "tenant" && c.Name != "stream_offset" {
			masked[c.Name] = grants.Masked
		}
	}
	s, _ := session(t, lake, lake, embedded.Config{}, queriestest.Only(masked, "aurora"))
	token := "tk1_" + strings.Repeat("0", 28)
	for sql, want := range map[string]string{
		"SELECT count(*) FROM cards.transactions WHERE card_token = '" + token + "3999'":                                                              "0",
		"SELECT count(*) FROM cards.transactions WHERE card_token >= '" + token + "' AND card_token < 'tl'":                                           "0",
		"SELECT count(*) FROM cards.transactions WHERE card_token LIKE 'tk1%'":                                                                        "0",
		"SELECT count(*) FROM cards.transactions WHERE starts_with(card_token, 'tk1_0')":                                                              "0",
		"SELECT count(*) FROM cards.transactions WHERE card_token IN ('" + token + "0001', '" + token + "0002')":                                      "0",
		"SELECT count(*) FROM cards.transactions WHERE card_token = '…0005'":                                                                          "1",
		"SELECT count(*) FROM cards.transactions WHERE length(card_token) > 5 OR card_token IS NULL":                                                  "0",
		"SELECT min(card_token), max(card_token) FROM cards.transactions":                                                                             "…0001 | …4000",
		"SELECT card_token FROM cards.transactions ORDER BY card_token LIMIT 1":                                                                       "…0001",
		"SELECT stream_offset FROM cards.transactions ORDER BY card_token, stream_offset LIMIT 1":                                                     "3999",
		"SELECT count(*) FROM cards.transactions WHERE amount = 1234":                                                                                 "0",
		"SELECT count(*) FROM cards.transactions WHERE amount > 1000 AND amount < 2000":                                                               "0",
		"SELECT count(*) FROM cards.transactions WHERE amount = 1000":                                                                                 "1000",
		"SELECT min(amount)::INT, max(amount)::INT, count(DISTINCT amount) FROM cards.transactions":                                                   "1 | 4000 | 31",
		"SELECT amount::INT, count(*) FROM cards.transactions GROUP BY 1 ORDER BY 1 DESC LIMIT 2":                                                     "4000 | 1\n3000 | 1000",
		"SELECT count(*) FROM cards.transactions a JOIN (VALUES ('" + token + "0001')) v(x) ON a.card_token = v.x":                                    "0",
		"SELECT count(*) FROM cards.transactions a JOIN (VALUES (1234), (2000)) v(x) ON a.amount = v.x":                                               "1000",
		"SELECT count(*) FROM cards.transactions WHERE customer_id IS NOT NULL":                                                                       "0",
		"SELECT count(*) FROM cards.transactions WHERE customer_id = 'c0003' OR customer_id > 'b'":                                                    "0",
		"SELECT min(customer_id), max(customer_id), count(customer_id) FROM cards.transactions":                                                       "<nil> | <nil> | 0",
		"SELECT min(merchant_name), max(merchant_name), count(merchant_name) FROM cards.transactions":                                                 "<nil> | <nil> | 0",
		"SELECT count(merchant_id), count(*) FILTER (WHERE merchant_id IS NULL) FROM cards.transactions":                                              "0 | 4000",
		"SELECT min(event_id), max(event_id), count(*) FILTER (WHERE event_id = '') FROM cards.transactions":                                          " |  | 4000",
		"SELECT min(network), max(network), count(network) FROM cards.transactions":                                                                   " |  | 4000",
		"SELECT min(event_time), max(event_time), count(event_time), min(approved), max(approved) FROM cards.transactions":                            "1970-01-01 00:00:00 +0000 UTC | 1970-01-01 00:00:00 +0000 UTC | 4000 | false | false",
		"SELECT count(*) FROM cards.transactions WHERE approved":                                                                                      "0",
		"SELECT min(latency_us), max(latency_us), sum(latency_us) FROM cards.transactions":                                                            "0 | 0 | {0 0}",
		"SELECT count(*) FROM cards.transactions WHERE local_time IS NOT NULL OR billing_amount IS NOT NULL":                                          "0",
		"SELECT arg_max(card_token, amount) IN (SELECT '…4000') FROM cards.transactions WHERE amount IN (SELECT max(amount) FROM cards.transactions)": "false",
		"SELECT approx_count_distinct(merchant_name), mode(merchant_name), any_value(merchant_name) FROM cards.transactions":                          "0 | <nil> | <nil>",
		"SELECT count(DISTINCT card_token) FROM (SELECT card_token FROM cards.transactions EXCEPT SELECT '…0001')":                                    "3999",
	} {
		got, err := answer(t.Context(), s, sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		if _, body, _ := strings.Cut(strings.TrimSuffix(got, "\n"), "\n"); body != want {
			t.Errorf("%s\ngot  %s\nwant %s", sql, body, want)
		}
	}
}

// TestMaskIsTheSameInSQLAndGo masks the same values by a view and by [queries.MaskValue].
func TestMaskIsTheSameInSQLAndGo(t *testing.T) {
	words := []string{"", "a", "12345678", "123456789", "ñandúñandú", "日本語日本語日本語", "tk1_abcdefgh", strings.Repeat("é", 9), "🙂🙂🙂🙂🙂🙂🙂🙂🙂", "áb́ćd́éf́"}
	amounts := []int64{0, 1, -1, 9, 10, -10, 11, 99_999, 100_000, 12_345_678, -12_345_678, 999_999_999_999_999_999, -999_999_999_999_999_999, 5000, 100_000_000_000_000_000}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		n := rng.Int64N(1_000_000_000_000_000_000) >> rng.IntN(60)
		if rng.IntN(2) == 0 {
			n = -n
		}
		amounts = append(amounts, n)
	}
	rows := len(amounts)
	table := *cardlake.Transactions
	value := func(c cardlake.Column, row int) any {
		switch {
		case c.Nullable && row%7 == 6:
			return nil
		case c.Name == "tenant":
			return "aurora"
		case c.Type == cardlake.String:
			return words[row%len(words)]
		case c.Type == cardlake.Bool:
			return row%2 == 0
		case c.Type == cardlake.Decimal18x4:
			return amounts[row]
		}
		return int64(row)
	}
	body, err := queriestest.Parquet(&table, rows, value)
	if err != nil {
		t.Fatal(err)
	}
	lake := queriestest.NewLake()
	lake.Add(cardlake.Transactions, cardlake.DataFile{Name: "data/x.parquet", Tenant: "aurora", Rows: int64(rows), Bytes: int64(len(body))}, body)
	masked := map[string]grants.Access{}
	for _, c := range cardlake.Transactions.Columns {
		if c.Name != "tenant" && c.Name != "stream_offset" {
			masked[c.Name] = grants.Masked
		}
	}
	read := func(access map[string]grants.Access) (out [][]any, columns []queries.Column) {
		s, _ := session(t, lake, lake, embedded.Config{}, queriestest.Only(access, "aurora"))
		r, err := s.Query(t.Context(), "SELECT * FROM cards.transactions ORDER BY stream_offset")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for {
			row := make([]any, len(r.Columns()))
			if r.Next(row) != nil {
				return out, r.Columns()
			}
			out = append(out, row)
		}
	}
	clear, columns := read(nil)
	got, maskedColumns := read(masked)
	if diff := cmp.Diff(columns, maskedColumns, cmp.Comparer(func(a, b arrow.DataType) bool { return arrow.TypeEqual(a, b) })); diff != "" {
		t.Errorf("masks change types (-clear +masked):\n%s", diff)
	}
	if len(got) != rows || len(clear) != rows {
		t.Fatalf("%d masked rows of %d", len(got), len(clear))
	}
	for i := range clear {
		for j, c := range cardlake.Transactions.Columns {
			want := clear[i][j]
			if _, ok := masked[c.Name]; ok {
				want = queries.MaskValue(c, want)
			}
			if fmt.Sprintf("%T %v", want, want) != fmt.Sprintf("%T %v", got[i][j], got[i][j]) {
				t.Errorf("%s of %v: %v in Go, %v in SQL", c.Name, clear[i][j], want, got[i][j])
			}
		}
	}
}

// TestTailIsCutToTheScope: rows of other tenants in the tail are not in a memory file, in no
// dictionary of it either, and are not counted.
func TestTailIsCutToTheScope(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(3, 10); err != nil {
		t.Fatal(err)
	}
	b := cardlake.NewBatch()
	for i := range 60 {
		tx := transaction([]cardlake.Tenant{"aurora", "bolivar", "cobre"}[i%3], int64(i))
		if err := b.Append(tx); err != nil {
			t.Fatal(err)
		}
	}
	tail := tailFunc(func(context.Context, cardlake.Positions) (queries.TailRows, error) {
		return queries.TailRows{To: cardlake.Positions{partition(0): {Next: 60}}, Records: []arrow.RecordBatch{b.View()}}, nil
	})
	for name, tc := range map[string]struct {
		permits queries.Permits
		tenants map[string]int64
		hidden  []string
	}{
		"one":        {queriestest.Only(nil, "bolivar"), map[string]int64{"bolivar": 20}, []string{"of aurora", "of cobre"}},
		"two scopes": {twoScopes, map[string]int64{"aurora": 20, "bolivar": 20}, []string{"of cobre"}},
		"everything": {queriestest.Everything, map[string]int64{"aurora": 20, "bolivar": 20, "cobre": 20}, nil},
		"nobody":     {queriestest.Only(nil, "zulu"), map[string]int64{}, []string{"of aurora", "of bolivar", "of cobre"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := session(t, at{lake, cardlake.Positions{}}, lake, embedded.Config{Tail: tail}, tc.permits)
			r, err := s.Query(t.Context(), "SELECT tenant, count(*) FROM cards.transactions WHERE stream = 'cards' GROUP BY 1")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got, rows := map[string]int64{}, int64(0)
			for row := make([]any, 2); r.Next(row) == nil; {
				got[row[0].(string)] = row[1].(int64)
				rows += row[1].(int64)
			}
			if diff := cmp.Diff(tc.tenants, got); diff != "" {
				t.Errorf("rows of the tail (-want +got):\n%s", diff)
			}
			if read := r.Snapshots()[0]; read.TailRows != rows {
				t.Errorf("%d rows of the tail are told of", read.TailRows)
			}
			held := memoryText(t)
			for _, word := range tc.hidden {
				if strings.Contains(held, word) {
					t.Errorf("a memory file has text %q", word)
				}
			}
			for tenant := range tc.tenants {
				if !strings.Contains(held, "of "+tenant) {
					t.Errorf("no memory file has text of %s: this test cannot see anything", tenant)
				}
			}
		})
	}
}

// transaction is a row of the tail, with a text that says whose it is.
func transaction(tenant cardlake.Tenant, offset int64) *cardlake.Transaction {
	tx := writerstest.Bare()
	tx.EventID = cardlake.EventID{8: byte(offset), 9: 1}
	tx.Tenant, tx.MerchantName, tx.CustomerID = tenant, "of "+string(tenant), "of "+string(tenant)
	tx.Position = cardlake.Position{StreamPartition: partition(0), Offset: offset}
	return tx
}

// memoryText is all that the memory files hold: their bytes, and their pages unpacked.
func memoryText(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	var out strings.Builder
	for _, e := range entries {
		path := "/proc/self/fd/" + e.Name()
		if target, err := os.Readlink(path); err != nil || !strings.HasPrefix(target, "/memfd:cardlake") {
			continue
		}
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(body)
		f, err := file.NewParquetReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for g := range f.NumRowGroups() {
			for c := range f.RowGroup(g).NumColumns() {
				pages, err := f.RowGroup(g).GetColumnPageReader(c)
				if err != nil {
					t.Fatal(err)
				}
				for pages.Next() {
					out.Write(pages.Page().Data())
				}
				if err := pages.Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return out.String()
}

// TestTailThatFails: which partitions, and which worker, is for those who are given everything.
func TestTailThatFails(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(3, 10); err != nil {
		t.Fatal(err)
	}
	away := errors.New("worker 10.0.0.7:9999 is away")
	tail := tailFunc(func(context.Context, cardlake.Positions) (queries.TailRows, error) { return queries.TailRows{}, away })
	for name, permits := range map[string]queries.Permits{"whole": queriestest.Everything, "tenant": queriestest.Only(nil, "aurora")} {
		s, _ := session(t, at{lake, cardlake.Positions{partition(0): {Next: 10}}}, lake, embedded.Config{Tail: tail}, permits)
		r, err := s.Query(t.Context(), "SELECT count(*) FROM cards.transactions")
		if err != nil {
			t.Fatal(err)
		}
		read := r.Snapshots()[0]
		if isWhole := name == "whole"; errors.Is(read.TailError, away) != isWhole || (len(read.Lacking) > 0) != isWhole || (read.Positions != nil) != isWhole || read.IsPartial == isWhole {
			t.Errorf("%s: %+v", name, read)
		}
		if at := read.AsOf(); !at.Equal(read.CommittedAt) {
			t.Errorf("%s: as of %v", name, at)
		}
		r.Close()
	}
}

// TestLimitsOfTheGrant: the engine keeps to the tighter of its bounds and the grant's.
func TestLimitsOfTheGrant(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(3, 1000); err != nil {
		t.Fatal(err)
	}
	limited := func(l grants.Limits) queriestest.Permits {
		return func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			d := queriestest.Everything(c, a, t)
			d.Limits = l
			return d
		}
	}
	s, _ := session(t, lake, lake, embedded.Config{}, limited(grants.Limits{MaxBytes: 1000}))
	before := lake.Opened.Load()
	if _, err := answer(t.Context(), s, "SELECT count(*) FROM cards.transactions"); err == nil || lake.Opened.Load() != before {
		t.Errorf("more bytes than the grant allows: %v, %d objects opened", err, lake.Opened.Load()-before)
	}
	const big = "SELECT count(DISTINCT a.range + b.range * 1000000) FROM range(3000) a, range(1000) b"
	s, _ = session(t, lake, lake, embedded.Config{}, limited(grants.Limits{Memory: 24 << 20}))
	if _, err := answer(t.Context(), s, big); err == nil || !strings.Contains(err.Error(), "24 MiB") {
		t.Errorf("more memory than the grant allows: %v", err)
	}
	s, _ = session(t, lake, lake, embedded.Config{Memory: 24 << 20}, limited(grants.Limits{Memory: 2 << 30}))
	if _, err := answer(t.Context(), s, big); err == nil || !strings.Contains(err.Error(), "24 MiB") {
		t.Errorf("more memory than the engine has: %v", err)
	}
}
