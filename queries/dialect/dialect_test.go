package dialect_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dialect"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// statements reads a corpus: a statement a line, comments aside.
func statements(t testing.TB, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if line := sc.Text(); line != "" && !strings.HasPrefix(line, "-- ") {
			out = append(out, line)
		}
	}
	return out
}

// engine keeps the statement that reaches it.
type engine struct{ statement queries.Statement }

var errKept = errors.New("kept")

func (e *engine) Query(_ context.Context, s queries.Statement) (queries.Rows, error) {
	e.statement = s
	return nil, errKept
}

func (e *engine) Columns(context.Context, queries.Statement) ([]queries.Column, error) {
	return nil, errKept
}

func (e *engine) State(context.Context, queries.Read) (queries.Snapshot, error) {
	return queries.Snapshot{}, errKept
}

// checked returns the statement as an engine gets it.
func checked(t testing.TB, parser queries.Parser, permits queries.Permits, sql string, views ...*queries.View) (queries.Statement, error) {
	t.Helper()
	e := &engine{}
	g := queries.New(parser, e, permits, &queriestest.Log{}, queries.Config{Views: views})
	if _, err := g.Query(t.Context(), queriestest.Caller, sql); !errors.Is(err, errKept) {
		return queries.Statement{}, err
	}
	return e.statement, nil
}

func iceberg(t *cardlake.Table) (dialect.Relation, error) {
	return dialect.Relation{Catalog: "lake", Schema: t.Namespace, Name: t.Name, Snapshot: 42}, nil
}

func newParser(t testing.TB) *embedded.Parser {
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	return parser
}

// wholeTable is the common table expression of a table that is given whole, which has no surprise.
var wholeTable = regexp.MustCompile(`\b(t\d+) AS \(SELECT "(?:event_id|rejected_at)".*? FOR VERSION AS OF 42\)`)

// TestPortable prints the corpus, and compares the columns with DuckDB's own.
func TestPortable(t *testing.T) {
	parser := newParser(t)
	lake := queriestest.NewLake()
	if err := lake.Fill(1, 1); err != nil {
		t.Fatal(err)
	}
	duckdb := embedded.New(lake, lake, embedded.Config{Threads: 1})
	var out strings.Builder
	for _, sql := range statements(t, "testdata/portable.sql") {
		s, err := checked(t, parser, queriestest.Everything, sql)
		if err != nil {
			t.Errorf("%s\n%v", sql, err)
			continue
		}
		got, err := dialect.Trino(s, iceberg)
		if err != nil {
			t.Errorf("%s\n%v", sql, err)
			continue
		}
		columns, err := duckdb.Columns(t.Context(), s)
		if err != nil {
			t.Errorf("%s\n%v", sql, err)
			continue
		}
		same := cmp.Comparer(func(a, b arrow.DataType) bool { return arrow.TypeEqual(a, b) })
		if diff := cmp.Diff(columns, got.Columns, same); diff != "" {
			t.Errorf("%s\ncolumns are not DuckDB's (-DuckDB +printed):\n%s", sql, diff)
		}
		fmt.Fprintf(&out, "%s\n  %s\n", sql, wholeTable.ReplaceAllString(got.SQL, "$1 AS (…)"))
	}
	golden(t, "testdata/portable.golden", out.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); -update rewrites it:\n%s", path, diff)
	}
}
