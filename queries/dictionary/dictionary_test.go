package dictionary_test

import (
	"bytes"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dictionary"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views"
)

var update = flag.Bool("update", false, "write docs/data-dictionary.md")

// entries are all tables and views.
func entries(t *testing.T) []dictionary.Entry {
	t.Helper()
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	gateway := queries.New(parser, nil, queriestest.Everything, nil, queries.Config{Views: views.All})
	var out []dictionary.Entry
	for _, table := range cardlake.Tables {
		out = append(out, dictionary.OfTable(table))
	}
	for _, v := range views.All {
		s, err := gateway.Check(t.Context(), "SELECT * FROM "+v.FullName())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, dictionary.OfView(v, dictionary.Reads(s, v)))
	}
	return out
}

func TestDictionaryIsWhatTheTablesSay(t *testing.T) {
	text := []byte(dictionary.Document(entries(t)))
	const path = "../../docs/data-dictionary.md"
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, text) {
		t.Error("docs/data-dictionary.md is not what the tables and views say: run go test ./queries/dictionary -update")
	}
}

func TestReads(t *testing.T) {
	all := entries(t)
	for name, want := range map[string]string{
		"views.transactions": "cards.transactions", "views.chargebacks": "cards.transactions views.transactions", "cards.transactions": "",
	} {
		i := slices.IndexFunc(all, func(e dictionary.Entry) bool { return e.Name == name })
		if got := strings.Join(all[i].Reads, " "); got != want {
			t.Errorf("%s reads %q, want %q", name, got, want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	e := dictionary.Entry{Name: "a.b", Kind: "view", About: "One. Two.", Reads: []string{"a.c"}, SQL: "SELECT 1", Columns: []dictionary.Column{
		{Name: "n", Type: "long", Tag: "public", About: "this | that"},
	}}
	const want = "### a.b\n\nOne. Two.\n\nReads a.c.\n\n| column | type | tag | meaning |\n|---|---|---|---|\n| `n` | long | public | this \\| that |\n" +
		"\n<details><summary>SQL</summary>\n\n```sql\nSELECT 1\n```\n</details>\n"
	if got := e.Markdown(3); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := dictionary.Summary([]dictionary.Entry{e}); got != "- [a.b](#ab): One.\n" {
		t.Errorf("got %s", got)
	}
}

// TestTypeNames: a view's types are spelled as the tables' are.
func TestTypeNames(t *testing.T) {
	for _, table := range cardlake.Tables {
		for _, c := range table.Columns {
			if got := dictionary.TypeName(queriestest.ArrowType(c.Type)); got != c.Type.String() {
				t.Errorf("%s is spelled %s, want %s", c.Name, got, c.Type)
			}
		}
	}
	for _, v := range views.All {
		for _, c := range v.Columns {
			if got := dictionary.TypeName(c.Type); strings.ContainsAny(got, " [") {
				t.Errorf("%s.%s is spelled %s", v.FullName(), c.Name, got)
			}
		}
	}
	if got := dictionary.TypeName(&arrow.Decimal128Type{Precision: 38, Scale: 4}); got != "decimal(38,4)" {
		t.Errorf("decimal(38,4) is spelled %s", got)
	}
}
