// Package dialect prints a statement that passed the check of package queries as SQL of Trino,
// which is also what Athena engine version 3 runs. Statements are written in DuckDB's syntax and
// mean what DuckDB makes of them: where Trino means something else by the same words (division,
// averages of decimals, NULLs in greatest, date arithmetic, types of sums), what is printed is
// what gives DuckDB's answer, in DuckDB's types.
//
// The printer constructs all that it prints. It resolves every name and knows the type of every
// expression; names are its own (t1, c2) but for those of tables and their columns, which are of
// package cardlake, and of catalogs, which the operator configures; literals are quoted anew. A
// node, function or type that it does not know is refused as a [*queries.Error] with its place:
// nothing is passed through. So no text of a caller can reach a table, a function or a clause
// that is not meant for it.
//
// Each table is a common table expression that holds the caller's decision: for each of its
// scopes the columns clear, masked or NULL and the tenants asked for by name, united. All else
// reads those.
package dialect

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

// Relation is a table where Trino has it.
type Relation struct {
	// Catalog and Schema may be empty: then they are the session's.
	Catalog, Schema, Name string
	// Snapshot is the Iceberg snapshot to read; 0 means the newest.
	Snapshot int64
	// Absent says that the table has no rows and need not exist: nothing was committed to it.
	Absent bool
}

// Relations says where a table is.
type Relations func(t *cardlake.Table) (Relation, error)

// Printed is a statement in Trino's SQL.
type Printed struct {
	SQL string
	// Columns are those of the answer, with the names and types that DuckDB gives them. The
	// names in SQL may be others; their order and types are these.
	Columns []queries.Column
}

// Trino prints the statement for Trino 476 or later, and Athena engine version 3. The time zone
// of the session must be UTC. An error about the statement is a [*queries.Error].
func Trino(s queries.Statement, relations Relations) (_ *Printed, err error) {
	defer recovered(&err)
	p := &printer{views: s.Views, sources: map[string]*source{}}
	for _, r := range s.Reads {
		p.known = append(p.known, r.Table)
	}
	p.table = func(t *cardlake.Table) *source {
		return p.decided(s.Reads[slices.Index(p.known, t)], p.relation(t, relations))
	}
	q := p.statement(s.Tree, false)
	sql := with(append(p.tables, q.ctes...)) + q.body
	if len(sql) > maxSQL {
		refuseGrowth()
	}
	return &Printed{SQL: sql, Columns: columnsOf(q)}, nil
}

// CreateView prints the statement that makes the last of the views in Trino or Athena, over the
// tables themselves: whoever may read the view there reads them all, in clear. It is for
// operators who manage access in the engine. The other views are those under it, as
// queries.Statement.Views has them; they are read where place says that they are, and place says
// where the new one goes.
func CreateView(views []queries.ViewUse, place func(*queries.View) Relation, tables Relations) (_ string, err error) {
	defer recovered(&err)
	v := views[len(views)-1]
	p := &printer{views: views[:len(views)-1], known: cardlake.Tables, place: place, sources: map[string]*source{}}
	p.table = func(t *cardlake.Table) *source { return plain(t, p.relation(t, tables)) }
	q := p.statement(v.Tree, true)
	if err := sameColumns(v, q); err != nil {
		return "", err
	}
	return "CREATE OR REPLACE VIEW " + place(v.View).sql() + " AS " + q.sql(), nil
}

// sameColumns checks that the view's statement gives the columns that it documents.
func sameColumns(v queries.ViewUse, q *query) error {
	if len(q.columns) != len(v.Columns) {
		return fmt.Errorf("view %s has %d columns, its statement %d", v.FullName(), len(v.Columns), len(q.columns))
	}
	for i, c := range v.Columns {
		if !strings.EqualFold(c.Name, q.columns[i].name) || !arrow.TypeEqual(c.Type, q.columns[i].t.arrow()) {
			return fmt.Errorf("view %s: column %s %s is %s %s in its statement", v.FullName(), c.Name, c.Type, q.columns[i].name, q.columns[i].t.arrow())
		}
	}
	return nil
}

func (p *printer) relation(t *cardlake.Table, relations Relations) Relation {
	r, err := relations(t)
	if err != nil {
		panic(failure{fmt.Errorf("find %s: %w", t.FullName(), err)})
	}
	return r
}

func (r Relation) sql() string {
	var parts []string
	for _, part := range []string{r.Catalog, r.Schema, r.Name} {
		if part != "" {
			parts = append(parts, quoteName(part))
		}
	}
	return strings.Join(parts, ".")
}

// failure carries an error up to where it is returned. It never leaves the package.
type failure struct{ error }

func recovered(err *error) {
	switch r := recover().(type) {
	case nil:
	case failure:
		*err = r.error
	default:
		// A tree of a shape that nobody thought of must not end the process.
		*err = fmt.Errorf("%w: %v", errInternal, r)
	}
}

var errInternal = errors.New("internal error while the statement was printed")

// refuse ends the printing: the statement says what Trino cannot be told.
func refuse(n node, hint, format string, args ...any) {
	panic(failure{&queries.Error{Message: fmt.Sprintf(format, args...), Hint: hint, Offset: at(n)}})
}

// printer prints one statement.
type printer struct {
	known []*cardlake.Table // that may be named
	views []queries.ViewUse

	table   func(*cardlake.Table) *source
	place   func(*queries.View) Relation // of views that are there; nil prints them
	sources map[string]*source           // of tables and views that were named
	tables  []string                     // their common table expressions

	inView bool
	names  int // of what is printed
	depth  int // of nested expressions
	work   int // bytes that were printed
}

// name returns a name that nothing else printed has.
func (p *printer) name(letter string) string {
	p.names++
	return fmt.Sprintf("%s%d", letter, p.names)
}

// statement prints a parse tree.
func (p *printer) statement(tree []byte, named bool) *query {
	var parsed struct {
		Statements []struct {
			Node node `json:"node"`
		} `json:"statements"`
	}
	dec := json.NewDecoder(strings.NewReader(string(tree)))
	dec.UseNumber()
	if err := dec.Decode(&parsed); err != nil {
		panic(failure{fmt.Errorf("read parse tree: %w", err)})
	}
	if len(parsed.Statements) != 1 || parsed.Statements[0].Node == nil {
		panic(failure{errors.New("read parse tree: it is not one statement")})
	}
	return p.query(parsed.Statements[0].Node, nil, nil, named)
}

// with is the WITH clause of the common table expressions, as printed.
func with(tables []string) string {
	if len(tables) == 0 {
		return ""
	}
	return "WITH " + strings.Join(tables, ", ") + " "
}

// columnsOf are the columns that an answer to the query has.
func columnsOf(q *query) []queries.Column {
	out := make([]queries.Column, len(q.columns))
	for i, c := range q.columns {
		out[i] = queries.Column{Name: c.name, Type: c.t.arrow()}
	}
	return out
}
