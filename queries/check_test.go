package queries

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// tree is a parse tree as DuckDB writes it, with a place for one more field in the query, in
// the element of FROM and in the expression.
func tree(inQuery, inFrom, inExpression string) string {
	return `{"error":false,"statements":[{"node":{"type":"SELECT_NODE","modifiers":[],"cte_map":{"map":[]},` + inQuery +
		`"select_list":[{"class":"FUNCTION","type":"FUNCTION",` + inExpression + `"alias":"","query_location":7,"function_name":"count_star","schema":"","children":[],"filter":null,"order_bys":{"type":"ORDER_MODIFIER","orders":[]},"distinct":false,"is_operator":false,"export_state":false,"catalog":""}],` +
		`"from_table":{"type":"BASE_TABLE",` + inFrom + `"alias":"","sample":null,"query_location":21,"schema_name":"cards","table_name":"transactions","column_name_alias":[],"catalog_name":"","at_clause":null},` +
		`"where_clause":null,"group_expressions":[],"group_sets":[],"aggregate_handling":"STANDARD_HANDLING","having":null,"sample":null,"qualify":null},"named_param_map":[]}]}`
}

func none() []string { return nil }

func TestCheckAcceptsTheTreeItKnows(t *testing.T) {
	got, err := check([]byte(tree("", "", "")), cardlake.Tables, nil, none)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*cardlake.Table{cardlake.Transactions}, got.tables); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCheckDeniesByDefault changes the tree in ways that no DuckDB of today does.
func TestCheckDeniesByDefault(t *testing.T) {
	known := tree("", "", "")
	for name, changed := range map[string]string{
		"new field of a query":          tree(`"into":{"class":"CONSTANT"},`, "", ""),
		"new field of a table":          tree("", `"location":"/etc/passwd",`, ""),
		"new field of an expression":    tree("", "", `"over":null,`),
		"new kind of query":             strings.Replace(known, "SELECT_NODE", "UPDATE_NODE", 1),
		"new kind of table":             strings.Replace(known, "BASE_TABLE", "FILE_REF", 1),
		"new class of expression":       strings.Replace(known, `"class":"FUNCTION"`, `"class":"CALL"`, 1),
		"no class":                      strings.Replace(known, `"class":"FUNCTION",`, ``, 1),
		"function of another schema":    strings.Replace(known, `"schema":""`, `"schema":"evil"`, 1),
		"function of another catalog":   strings.Replace(known, `"catalog":""`, `"catalog":"evil"`, 1),
		"table of another catalog":      strings.Replace(known, `"catalog_name":""`, `"catalog_name":"evil"`, 1),
		"node where data is expected":   strings.Replace(known, `"distinct":false`, `"distinct":{"class":"FUNCTION"}`, 1),
		"node in a list of data":        strings.Replace(known, `"column_name_alias":[]`, `"column_name_alias":[{"class":"FUNCTION"}]`, 1),
		"data where a node is expected": strings.Replace(known, `"where_clause":null`, `"where_clause":"1 = 1"`, 1),
		"data where nodes are expected": strings.Replace(known, `"children":[]`, `"children":"a"`, 1),
		"no common table expressions":   strings.Replace(known, `"cte_map":{"map":[]},`, ``, 1),
		"strange common expressions":    strings.Replace(known, `{"map":[]}`, `{"map":[],"more":[]}`, 1),
		"time travel":                   strings.Replace(known, `"at_clause":null`, `"at_clause":{"unit":"VERSION"}`, 1),
		"parameters":                    strings.Replace(known, `"named_param_map":[]`, `"named_param_map":[{"key":"1","value":1}]`, 1),
		"two statements":                strings.Replace(known, `"statements":[`, `"statements":[{"node":null,"named_param_map":[]},`, 1),
		"no statement":                  `{"error":false,"statements":[]}`,
		"a statement that is no object": `{"error":false,"statements":["SELECT 1"]}`,
		"another error":                 `{"error":true,"error_type":"new"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if changed == known {
				t.Fatal("the tree was not changed")
			}
			var fault *Error
			if _, err := check([]byte(changed), cardlake.Tables, nil, none); !errors.As(err, &fault) {
				t.Errorf("got %v, want a refusal", err)
			}
		})
	}
	if _, err := check([]byte("garbage"), cardlake.Tables, nil, none); err == nil {
		t.Error("garbage was accepted")
	}
}

func FuzzCheckTree(f *testing.F) {
	f.Add([]byte(tree("", "", "")))
	f.Add([]byte(`{"error":true,"error_type":"parser","error_message":"no","position":"3"}`))
	f.Add([]byte(`{"statements":[{"node":{"type":"RECURSIVE_CTE_NODE","cte_map":{"map":[{"key":"a","value":null}]},"right":null}}]}`))
	f.Add([]byte(`{"statements":[{"node":{"type":"SELECT_NODE","cte_map":{"map":[]},"select_list":[{"class":"CAST","cast_type":{"id":"LIST","type_info":{"child_type":{"id":"UNBOUND"}}}},{"class":"WINDOW","function_name":"lpad","children":[{},{}]}]}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		f, err := check(text, cardlake.Tables, nil, none)
		if err == nil && len(f.tables) > len(cardlake.Tables) {
			t.Errorf("%d tables", len(f.tables))
		}
	})
}

func TestExcerpt(t *testing.T) {
	for _, tc := range []struct {
		name, sql string
		offset    int
		want      string
	}{
		{"first line", "SELECT x", 7, "line 1: SELECT x\n               ^"},
		{"second line", "SELECT\n\tñ, y\r\nFROM t", 12, "line 2: \tñ, y\n        \t   ^"},
		{"at the end", "SELECT", 6, "line 1: SELECT\n              ^"},
		{"empty", "", 0, "line 1: \n        ^"},
		{"unknown", "SELECT x", -1, ""},
		{"beyond", "SELECT x", 9, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := (&Error{Offset: tc.offset}).Excerpt(tc.sql); got != tc.want {
				t.Errorf("got\n%q, want\n%q", got, tc.want)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	columns := make([]grants.Access, len(cardlake.Transactions.Columns))
	for i, c := range cardlake.Transactions.Columns {
		columns[i] = grants.Clear
		if c.Name == "processing_code" {
			columns[i] = grants.Dropped
		}
	}
	s := Statement{Reads: []Read{{Table: cardlake.Transactions, Decision: &grants.Decision{Table: cardlake.Transactions, Scopes: []grants.Scope{{Others: true, Columns: columns}}}}}}
	for name, want := range map[string]string{
		"tenat": "tenant", "TENANT": "tenant", "amuont": "amount", "merchent_name": "merchant_name",
		"zzzz": "", "x": "", "": "", "event_tiem": "event_time", "entry_mod": "entry_mode", "processing_cod": "",
	} {
		if got := NearestColumn(name, s); got != want {
			t.Errorf("the column nearest to %q is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"transactions": "cards.transactions", "card.transactions": "cards.transactions",
		"cards.rejected": "", "Transaction_rejected": "cards.transactions_rejected",
	} {
		if got := NearestTable(name, []string{"cards.transactions", "cards.transactions_rejected", "cards.control_totals"}); got != want {
			t.Errorf("the table nearest to %q is %q, want %q", name, got, want)
		}
	}
}

func TestAsOf(t *testing.T) {
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	for _, tc := range []struct {
		name string
		list []Snapshot
		want time.Time
		ok   bool
	}{
		{"none", nil, time.Time{}, false},
		{"the oldest", []Snapshot{{ID: 1, CommittedAt: late}, {ID: 2, CommittedAt: early}}, early, true},
		{"nothing committed", []Snapshot{{ID: 1, CommittedAt: late}, {}}, late, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &Result{snapshots: tc.list}
			if got, ok := r.AsOf(); !got.Equal(tc.want) || ok != tc.ok {
				t.Errorf("as of %v, %v; want %v, %v", got, ok, tc.want, tc.ok)
			}
		})
	}
}
