package grants_test

import (
	"fmt"
	"os"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

func Example() {
	dir, err := os.MkdirTemp("", "grants")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	// A set for trying out; production has its own, under version control.
	if err := grants.Init(dir, register); err != nil {
		panic(err)
	}
	g, err := grants.Open(dir, register, grants.Config{Interval: time.Minute})
	if err != nil {
		panic(err)
	}
	analyst, err := grants.ParsePrincipal("tenant_analyst/analyst@acme")
	if err != nil {
		panic(err)
	}
	d := g.Decide(grants.Caller{Principal: analyst, Origin: "192.0.2.1"}, grants.Query, cardlake.Transactions)
	fmt.Println(d.Allowed(), d.Scope("acme") != nil, d.Scope("beta") != nil, d.Policies)
	for i, c := range d.Table.Columns[44:] {
		fmt.Println(c.Name, d.Access()[44+i])
	}
	d = g.Decide(grants.Caller{Principal: analyst}, grants.Query, cardlake.Rejected)
	fmt.Println(d.Allowed(), d.Reason)
	// Output:
	// true true false [tenant.read]
	// stream dropped
	// stream_partition dropped
	// stream_offset dropped
	// false no policy permits tenant_analyst/analyst@acme to query cards.transactions_rejected
}
