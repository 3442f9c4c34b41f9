// Package dictionary writes the data dictionary: every table and view of the lake, with type, tag
// and meaning of each column. Its one source is what the tables and views say of themselves, which
// is also what engines are told (comments in Iceberg and Glue) and what queries run.
package dictionary

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/views"
)

// Entry is a table or a view.
type Entry struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"` // "table" or "view"
	About string `json:"about"`
	// Reads are the tables and views that a view names, by name.
	Reads   []string `json:"reads,omitempty"`
	Columns []Column `json:"columns"`
	// SQL is a view's statement.
	SQL string `json:"sql,omitempty"`
}

// Column is a column of an Entry.
type Column struct {
	Name     string `json:"column"`
	Type     string `json:"type"`
	Nullable string `json:"nullable,omitempty"` // "yes" or "no"; empty for a view's
	Tag      string `json:"tag"`
	// Given is how somebody has the column: clear or masked. It is empty where nobody is meant,
	// and for a view's.
	Given string `json:"given,omitempty"`
	About string `json:"about"`
}

// OfTable describes a table with all of its columns.
func OfTable(t *cardlake.Table) Entry {
	e := Entry{Name: t.FullName(), Kind: "table", About: t.Doc}
	for _, c := range t.Columns {
		e.Columns = append(e.Columns, columnOf(c))
	}
	return e
}

// OfGiven describes a table as somebody has it.
func OfGiven(t queries.TableInfo) Entry {
	e := Entry{Name: t.Table.FullName(), Kind: "table", About: t.Table.Doc}
	for _, given := range t.Columns {
		c := columnOf(given.Column)
		c.Given = given.Access.String()
		e.Columns = append(e.Columns, c)
	}
	return e
}

func columnOf(c cardlake.Column) Column {
	nullable := "no"
	if c.Nullable {
		nullable = "yes"
	}
	return Column{Name: c.Name, Type: c.Type.String(), Nullable: nullable, Tag: string(c.Tag), About: c.Doc}
}

// OfView describes a view, which reads the named tables and views.
func OfView(v *queries.View, reads []string) Entry {
	e := Entry{Name: v.FullName(), Kind: "view", About: v.Doc, Reads: reads, SQL: v.SQL}
	for _, c := range v.Columns {
		e.Columns = append(e.Columns, Column{Name: c.Name, Type: TypeName(c.Type), Tag: string(c.Tag), About: c.Doc})
	}
	return e
}

// Reads returns the names of the tables and views that a statement names, tables first. It is
// what a gateway says of SELECT * FROM a view, without the view.
func Reads(s queries.Statement, of *queries.View) []string {
	var names []string
	for _, r := range s.Reads {
		names = append(names, r.Table.FullName())
	}
	for _, v := range s.Views {
		if v.View != of {
			names = append(names, v.FullName())
		}
	}
	return names
}

// TypeName spells an Arrow type as the tables' types are spelled.
func TypeName(t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.StringType:
		return cardlake.String.String()
	case *arrow.BinaryType:
		return cardlake.Binary.String()
	case *arrow.BooleanType:
		return cardlake.Bool.String()
	case *arrow.Int32Type:
		return cardlake.Int32.String()
	case *arrow.Int64Type:
		return cardlake.Int64.String()
	case *arrow.Float64Type:
		return "double"
	case *arrow.Date32Type:
		return "date"
	case *arrow.TimestampType:
		if t.TimeZone == "" {
			return cardlake.Timestamp.String()
		}
		return cardlake.TimestampTZ.String()
	case *arrow.Decimal128Type:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	}
	return t.String()
}

// Markdown writes the entry under a heading of the level.
func (e Entry) Markdown(level int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n\n%s\n", strings.Repeat("#", level), e.Name, e.About)
	if len(e.Reads) > 0 {
		fmt.Fprintf(&b, "\nReads %s.\n", strings.Join(e.Reads, ", "))
	}
	has := func(field func(Column) string) bool {
		return slices.ContainsFunc(e.Columns, func(c Column) bool { return field(c) != "" })
	}
	header := []string{"column", "type"}
	cells := []func(Column) string{func(c Column) string { return "`" + c.Name + "`" }, func(c Column) string { return c.Type }}
	optional := func(name string, field func(Column) string) {
		if has(field) {
			header, cells = append(header, name), append(cells, field)
		}
	}
	optional("nullable", func(c Column) string { return c.Nullable })
	optional("tag", func(c Column) string { return c.Tag })
	optional("given", func(c Column) string { return c.Given })
	optional("meaning", func(c Column) string { return c.About })
	b.WriteString("\n| " + strings.Join(header, " | ") + " |\n|" + strings.Repeat("---|", len(header)) + "\n")
	for _, c := range e.Columns {
		for _, cell := range cells {
			b.WriteString("| " + strings.ReplaceAll(cell(c), "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	if e.SQL != "" {
		b.WriteString("\n<details><summary>SQL</summary>\n\n```sql\n" + e.SQL + "\n```\n</details>\n")
	}
	return b.String()
}

// Summary writes a line for each entry, in the form of a list.
func Summary(entries []Entry) string {
	var b strings.Builder
	for _, e := range entries {
		anchor := strings.ReplaceAll(e.Name, ".", "")
		fmt.Fprintf(&b, "- [%s](#%s): %s\n", e.Name, anchor, FirstSentence(e.About))
	}
	return b.String()
}

// FirstSentence is the text up to the first full stop that a space or the end follows.
func FirstSentence(s string) string {
	if i := strings.Index(s, ". "); i >= 0 {
		return s[:i+1]
	}
	return s
}

// Document writes the whole dictionary.
func Document(entries []Entry) string {
	var b strings.Builder
	b.WriteString(head)
	of := func(kind string) []Entry {
		return slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Kind != kind })
	}
	b.WriteString("\n## Tables\n\n" + Summary(of("table")) + "\n## Views\n\n" + Summary(of("view")) + rules)
	for _, e := range entries {
		b.WriteString("\n" + e.Markdown(2))
	}
	b.WriteString("\n## Rates of the interchange estimate\n\nA rate holds for cards of the network, on purchases within the country (domestic) or from elsewhere (foreign). `*` is any market that has no rate of its own.\n\n" +
		"| market | purchases | network | product | card present | card absent | basis |\n|---|---|---|---|---|---|---|\n")
	rates := views.Rates()
	for i := 0; i+1 < len(rates); i += 2 { // card present and absent follow each other
		r := rates[i]
		reach := "foreign"
		if r.IsDomestic {
			reach = "domestic"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.Market, reach, r.Network, r.Product, r.Rate, rates[i+1].Rate, r.Basis)
	}
	b.WriteString("\n## The dashboard's questions\n\nWords in braces are arguments; package views makes literals of checked values of them.\n")
	for _, q := range views.Standard {
		fmt.Fprintf(&b, "\n### %s\n\n%s Takes %s.\n\n```sql\n%s\n```\n", q.Name, q.Doc, strings.Join(q.Takes(), ", "), q.SQL)
	}
	return b.String()
}

const head = `# Data dictionary

Written by ` + "`go test ./queries/dictionary -update`" + ` from the tables' and views' own definitions; a test keeps it true. ` + "`cardlake describe`" + ` prints the same of what you may read, over HTTP it is ` + "`GET /v1/tables`" + `, and Iceberg and Glue have the tables' texts as comments.

Grants are given by a column's tag:

| tag | what has it |
|---|---|
| public | facts of purchases that name no card, person or amount |
| identifier | pseudonyms of a card, person or account, and what is counted by them |
| truncated_pan | first and last digits of card numbers |
| money | amounts, and what is made of them |
| lineage | where a row was in the stream, which tells how much all tenants send |
| sealed | what only zone A can open |

A column of a view has the most sensitive tag of what it is made of.
`

const rules = `
What holds for every view:

- It has the column tenant, and a filter on it reaches the table below. So does one on day, hour or event_time, but for views of whole purchases and of cards over time (views.transactions, views.active_cards, views.active_cards_by_month, views.interchange_estimate, views.chargebacks), which need what came before.
- Days, hours and months are those of UTC.
- Money is decimal and exact, and is summed within one currency only: currency is among the columns that a row is for. Counts may be added up over currencies.
- Rates are NULL where there is nothing to divide by. Add up what a rate is made of and divide again; don't average rates.
- A column of a table that you are not given is NULL, and so is what is made of it. A masked column counts as masked: amounts rounded to their leading digit are summed as they are, and cards that look alike when masked are counted as one.
- The order in which events arrived changes nothing.
- A statement reads the same rows on DuckDB, Trino and Athena.
`
