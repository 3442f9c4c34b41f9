package main

import (
	"context"
	"errors"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
)

// lake is an open lake, read-only.
type lake struct {
	*lakeflags.Lake
	planner queries.History
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
type planner struct{ queries.History }

// Plan implements queries.Planner.
func (p planner) Plan(ctx context.Context, table *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	snapshot, files, err := p.History.Plan(ctx, table)
	if errors.Is(err, iceberg.ErrNoTable) {
		return catalog.Snapshot{}, nil, nil
	}
	return snapshot, files, err
}

// PlanAt implements queries.History.
func (p planner) PlanAt(ctx context.Context, table *cardlake.Table, id int64) (catalog.Snapshot, []cardlake.DataFile, error) {
	snapshot, files, err := p.History.PlanAt(ctx, table, id)
	if errors.Is(err, iceberg.ErrNoTable) {
		err = queries.ErrNoSnapshot
	}
	return snapshot, files, err
}
