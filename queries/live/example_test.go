package live_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/queries/live"
)

// table is a table of a catalog, elsewhere one of catalog/iceberg.
type table struct{}

func (table) Current(context.Context) (catalog.Snapshot, error) { return catalog.Snapshot{ID: 7}, nil }

func Example() {
	f, err := live.New(table{}, nil, live.Config{}) // elsewhere with the workers' tail
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = f.Run(ctx) })

	state := f.Since("acme", 0)
	for state.Snapshot.ID == 0 {
		<-state.Changed
		state = f.Since("acme", 0)
	}
	fmt.Println("snapshot", state.Snapshot.ID, "live", state.IsLive)
	state = f.Since("acme", state.Seq) // what changed since
	fmt.Println(len(state.Seconds), "seconds changed, snapshot is new:", state.IsNew)

	cancel()
	running.Wait()
	// Output:
	// snapshot 7 live false
	// 0 seconds changed, snapshot is new: false
}
