package figures_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dialect"
	"github.com/cardlake/cardlake/queries/figures"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views"
)

// printer is an engine that prints statements for Trino.
type printer struct{ queries.Engine }

func (printer) Columns(_ context.Context, s queries.Statement) ([]queries.Column, error) {
	p, err := dialect.Trino(s, func(t *cardlake.Table) (dialect.Relation, error) {
		return dialect.Relation{Catalog: "lake", Schema: t.Namespace, Name: t.Name}, nil
	})
	if err != nil {
		return nil, err
	}
	if p.SQL == "" {
		return nil, errors.New("nothing was printed")
	}
	return p.Columns, nil
}

// TestPortable: every figure, with all of its optional parameters, can be printed for Trino,
// where its columns have the names and types that DuckDB gives them. Of an empty lake it has no
// rows.
func TestPortable(t *testing.T) {
	d, s := newData(10, 30, 5), newSite(t, nil)
	trino := queries.New(s.parser, printer{}, queriestest.Everything, &queriestest.Log{}, queries.Config{Views: views.All})
	for _, f := range figures.All {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			sql := statement(t, f, withAll(f, argsOf(f, d)))
			got, err := trino.Columns(t.Context(), queriestest.Caller, sql)
			if err != nil {
				t.Fatalf("%s\n%v", sql, err)
			}
			want := ask(t, s.as(t, queriestest.Everything), sql)
			if len(want.rows) > 0 {
				t.Errorf("rows of an empty lake: %v", want.lines)
			}
			var columns [2][]string
			for i, of := range [][]queries.Column{want.columns, got} {
				for _, c := range of {
					columns[i] = append(columns[i], c.Name+" "+c.Type.String())
				}
			}
			if diff := cmp.Diff(columns[0], columns[1]); diff != "" {
				t.Errorf("(-DuckDB +Trino):\n%s", diff)
			}
		})
	}
}

// withAll gives the figure all of its optional parameters but a cursor.
func withAll(f figures.Figure, a figures.Args) figures.Args {
	for _, p := range f.Params {
		switch {
		case a.Values[p.Name] != "" || p.Type == figures.Cursor:
		case p.Type == figures.Choice:
			a.Values[p.Name] = p.Values[len(p.Values)-1]
		case p.Type == figures.Int:
			a.Values[p.Name] = "2"
		default:
			a.Values[p.Name] = harmless[p.Type]
		}
	}
	return a
}

// harmless are values of the types.
var harmless = map[figures.Type]string{
	figures.Text: "a", figures.Name: "a", figures.Token: "tk1_a", figures.Decimal: "2.5", figures.Flag: "true", figures.Country: "BR", figures.Currency: "BRL", figures.MCC: "5411", figures.Int: "2",
	figures.Code: "51", figures.BIN: "453201", figures.Last4: "0001", figures.Instant: "2026-03-01T00:00:00Z", figures.ID: "00000000-0000-8000-8000-000000000001",
}
