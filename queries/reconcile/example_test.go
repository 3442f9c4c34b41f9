package reconcile_test

import (
	"context"
	"fmt"

	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/reconcile"
)

func Example() {
	lake := queriestest.NewLake() // elsewhere: embedded.Tables(catalog.Table) and a sealed store
	if err := lake.Fill(1, 2); err != nil {
		fmt.Println(err)
		return
	}
	parser := embedded.NewParser()
	defer parser.Close()
	gateway := queries.New(parser, embedded.New(lake, lake, embedded.Config{}), queriestest.Everything, &queriestest.Log{}, queries.Config{})

	report, err := reconcile.Run(context.Background(), gateway.As(queriestest.Caller), reconcile.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Status)
	for _, m := range report.Minutes {
		fmt.Println(m.Tenant, m.Minute.Format("15:04"), m.Detail())
	}
	// Output:
	// wrong
	// aurora 00:00 no total counts 1 row
	// aurora 12:00 no total counts 1 row
}
