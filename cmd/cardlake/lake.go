package main

import (
	"context"
	"errors"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries/embedded"
)

// lake is an open lake, read-only.
type lake struct {
	*lakeflags.Lake
	planner embedded.Planner
}

// open opens the lake. An error says what to do.
func open(ctx context.Context, place *lakeflags.Flags) (*lake, error) {
	l, err := place.Open(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &lake{l, planner{embedded.Tables(l.Table)}}, nil
}

// planner plans a table that was never written to as an empty one.
type planner struct{ embedded.Planner }

// Plan implements embedded.Planner.
func (p planner) Plan(ctx context.Context, table *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	snapshot, files, err := p.Planner.Plan(ctx, table)
	if errors.Is(err, iceberg.ErrNoTable) {
		return catalog.Snapshot{}, nil, nil
	}
	return snapshot, files, err
}
