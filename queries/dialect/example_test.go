package dialect_test

import (
	"context"
	"fmt"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dialect"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
)

func Example() {
	parser := embedded.NewParser()
	defer parser.Close()
	tree, err := parser.Parse(context.Background(), "SELECT tenant, avg(latency_us) AS mean FROM cards.transactions GROUP BY ALL ORDER BY mean DESC")
	if err != nil {
		fmt.Println(err)
		return
	}
	columns := make([]grants.Access, len(cardlake.Transactions.Columns))
	columns[3], columns[39] = grants.Clear, grants.Clear // tenant and latency_us
	printed, err := dialect.Trino(queries.Statement{
		Tree: tree,
		Reads: []queries.Read{{Table: cardlake.Transactions, Decision: queriestest.Decision(queriestest.Caller, grants.Query, cardlake.Transactions,
			grants.Scope{Tenants: []cardlake.Tenant{"aurora"}, Columns: columns})}},
	}, func(t *cardlake.Table) (dialect.Relation, error) {
		return dialect.Relation{Catalog: "lake", Schema: t.Namespace, Name: t.Name, Snapshot: 42}, nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(printed.SQL)
	fmt.Println(printed.Columns)
	// Output:
	// WITH t1 AS (SELECT "tenant" AS "tenant", "latency_us" AS "latency_us" FROM "lake"."cards"."transactions" FOR VERSION AS OF 42 WHERE "tenant" IN ('aurora')) SELECT r2."tenant" AS c1, avg(CAST(r2."latency_us" AS DOUBLE)) AS c2 FROM t1 AS r2 GROUP BY 1 ORDER BY 2 DESC NULLS LAST
	// [{tenant utf8} {mean float64}]
}
