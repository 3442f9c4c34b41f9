package serving

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes"
	"github.com/cardlake/cardlake/queries/embedded"
)

// Lake is an open lake, read-only.
type Lake struct {
	*lakeflags.Lake
	Planner queries.History
}

// OpenLake opens the lake. An error says what to do.
func OpenLake(ctx context.Context, place *lakeflags.Flags) (*Lake, error) {
	l, err := place.Open(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &Lake{l, planner{embedded.Tables(l.Table)}}, nil
}

// Feed gives what was added to the lake since.
func (l *Lake) Feed(ctx context.Context, place *lakeflags.Flags, gateway changes.Gateway, cfg changes.Config) (*changes.Feed, error) {
	ring, err := place.Keys.Lake.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("cursors: %w", err)
	}
	return changes.New(gateway, l.changing, l.Store, keys.NewEnvelopes(ring, keys.Object, keys.EnvelopeConfig{}), cfg), nil
}

// changing implements changes.Open.
func (l *Lake) changing(ctx context.Context, def *cardlake.Table) (changes.Table, error) {
	t, err := l.Table(ctx, def)
	switch {
	case errors.Is(err, iceberg.ErrNoTable):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return t, nil
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
