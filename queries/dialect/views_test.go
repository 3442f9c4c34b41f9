package dialect_test

import (
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dialect"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views"
)

// Every view and every standard question can be printed, with the columns that it documents.
func TestViews(t *testing.T) {
	parser := newParser(t)
	var statements []string
	for _, v := range views.All {
		statements = append(statements, "SELECT * FROM "+v.FullName())
	}
	for _, q := range views.Standard {
		sql, err := q.For(views.Args{Tenant: "aurora", Day: queriestest.Epoch, Purchase: cardlake.EventID{1}, Card: "tk1_abcd"})
		if err != nil {
			t.Fatal(err)
		}
		statements = append(statements, sql)
	}
	for _, sql := range statements {
		s, err := checked(t, parser, queriestest.Everything, sql, views.All...)
		if err != nil {
			t.Errorf("%s\n%v", sql, err)
			continue
		}
		if _, err := dialect.Trino(s, iceberg); err != nil {
			t.Errorf("%s\n%v", sql, err)
		}
	}
}

// Views can be made in the engine too, each over the tables and the views under it.
func TestCreateView(t *testing.T) {
	parser := newParser(t)
	for _, v := range views.All {
		s, err := checked(t, parser, queriestest.Everything, "SELECT * FROM "+v.FullName(), views.All...)
		if err != nil {
			t.Fatal(err)
		}
		ddl, err := dialect.CreateView(s.Views, func(v *queries.View) dialect.Relation {
			return dialect.Relation{Catalog: "lake", Schema: v.Namespace, Name: v.Name}
		}, func(t *cardlake.Table) (dialect.Relation, error) {
			return dialect.Relation{Catalog: "lake", Schema: t.Namespace, Name: t.Name}, nil
		})
		if err != nil {
			t.Errorf("%s: %v", v.FullName(), err)
			continue
		}
		if want := `CREATE OR REPLACE VIEW "lake"."views"."` + v.Name + `" AS `; !strings.HasPrefix(ddl, want) {
			t.Errorf("%s: %.80s", v.FullName(), ddl)
		}
		if n := strings.Count(ddl, `"lake"."views".`); n > 1 != (len(s.Views) > 1) {
			t.Errorf("%s is over %d views and names %d: %s", v.FullName(), len(s.Views)-1, n-1, ddl)
		}
	}
}
