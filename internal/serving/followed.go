package serving

import (
	"context"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
)

// followed is the table that live figures are of. It implements live.Table, for one goroutine.
type followed struct {
	lake  *Lake
	table *iceberg.Table // nil until it was opened
}

// Current returns the newest snapshot, without its files.
func (f *followed) Current(ctx context.Context) (catalog.Snapshot, error) {
	if f.table == nil {
		t, err := f.lake.Table(ctx, cardlake.Transactions)
		if err != nil {
			return catalog.Snapshot{}, err
		}
		f.table = t
	}
	return f.table.Current(ctx)
}
