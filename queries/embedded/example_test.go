package embedded_test

import (
	"context"
	"fmt"
	"os"

	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/render"
)

func Example() {
	ctx := context.Background()
	lake := queriestest.NewLake() // elsewhere: embedded.Tables(catalog.Table) and a sealed store
	if err := lake.Fill(3, 100); err != nil {
		fmt.Println(err)
		return
	}
	parser := embedded.NewParser()
	defer parser.Close()
	gateway := queries.New(parser, embedded.New(lake, lake, embedded.Config{}), queriestest.Everything, &queriestest.Log{}, queries.Config{})

	result, err := gateway.Query(ctx, queriestest.Caller, "SELECT tenant, count(*) AS purchases FROM cards.transactions GROUP BY 1 ORDER BY 1")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer result.Close()
	if err := render.Table(ctx, os.Stdout, result); err != nil {
		fmt.Println(err)
		return
	}

	_, err = gateway.Query(ctx, queriestest.Caller, "SELECT * FROM read_csv('/etc/passwd')")
	fmt.Println(err)
	// Output:
	// tenant   purchases
	// ───────  ─────────
	// aurora         100
	// bolivar        100
	// cobre          100
	// table function read_csv is not allowed; allowed: generate_series, range, unnest
}
