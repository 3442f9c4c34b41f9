package queries

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
)

// At says in which state tables are read, and whose rows, for questions that must have the same
// answer when they are asked again.
type At struct {
	// Snapshots are Iceberg snapshot ids by the full names of tables; 0 is the state before
	// anything was committed. A table that is not named is read in its newest snapshot. Nothing
	// is read beyond a snapshot.
	Snapshots map[string]int64
	// Tenant narrows what the caller may read to this tenant's rows, and to tables that are of
	// tenants; empty for all that the caller may read.
	Tenant cardlake.Tenant
	// Clear refuses, with an error that wraps ErrNotPermitted, a statement that may use a column
	// whose values are masked for the caller: whoever computes with values must not take masks
	// for them.
	Clear bool
}

// QueryAt is [Gateway.Query] of the state that at says. That a snapshot has expired, or never
// was, is an [*Error].
func (g *Gateway) QueryAt(ctx context.Context, c grants.Caller, at At, sql string) (*Result, error) {
	if at.Tenant != "" {
		narrowed := *g
		narrowed.permits = Narrow(g.permits, at.Tenant)
		g = &narrowed
	}
	return g.query(ctx, c, grants.Query, &at, sql)
}

// SnapshotOf returns the newest snapshot of the named table, with the rows and files that the
// caller may read. A name that is no table's is an [*Error], and a table of which the caller may
// read nothing is ErrNotPermitted.
func (g *Gateway) SnapshotOf(ctx context.Context, c grants.Caller, name string) (Snapshot, error) {
	d, err := g.decideNamed(ctx, c, name)
	if err != nil {
		return Snapshot{}, err
	}
	s, err := g.engine.State(ctx, Read{Table: d.Table, Decision: d})
	if err != nil {
		return Snapshot{}, err
	}
	return s.within(d), nil
}

// pin says of each table of the statement in which snapshot it is read.
func (g *Gateway) pin(ctx context.Context, at *At, s *Statement) error {
	for _, name := range slices.Sorted(maps.Keys(at.Snapshots)) {
		if !slices.ContainsFunc(g.cfg.Tables, func(t *cardlake.Table) bool { return t.FullName() == name }) {
			return &Error{Message: fmt.Sprintf("a snapshot is given of %q, which is no table", name), Offset: -1}
		}
		if at.Snapshots[name] < 0 {
			return noSnapshot(name, at.Snapshots[name])
		}
	}
	if at.Clear {
		if err := unmasked(s); err != nil {
			return err
		}
	}
	for i := range s.Reads {
		r := &s.Reads[i]
		id, ok := at.Snapshots[r.Table.FullName()]
		if !ok {
			newest, err := g.engine.State(ctx, *r)
			if err != nil {
				return err
			}
			id = newest.ID
		}
		r.Snapshot, r.IsPinned = id, true
	}
	return nil
}

// unmasked refuses a statement that may use a masked value.
func unmasked(s *Statement) error {
	for _, r := range s.Reads {
		for _, scope := range r.Decision.Scopes {
			for i, a := range scope.Columns {
				if a == grants.Masked && (r.Uses == nil || r.Uses[i]) {
					return fmt.Errorf("%w: column %s of %s is masked for the principal, and is needed in clear", ErrNotPermitted, r.Table.Columns[i].Name, r.Table.FullName())
				}
			}
		}
	}
	return nil
}

// pinned adds the snapshots that are asked for.
func (l *line) pinned(s Statement) {
	var at []string
	for _, r := range s.Reads {
		at = append(at, r.Table.FullName()+"@"+snapshotLetters(r.Snapshot))
	}
	l.detail("at", strings.Join(at, ","))
}

// snapshotLetters spells the id of a snapshot for the record.
func snapshotLetters(id int64) string {
	return letters(binary.BigEndian.AppendUint64(nil, uint64(id)))
}

// ErrNoSnapshot says of a [History] that a table does not have a snapshot, or not any more.
var ErrNoSnapshot = errors.New("no such snapshot")

func noSnapshot(table string, id int64) *Error {
	return &Error{
		Message: fmt.Sprintf("%s has no snapshot %d, or not any more: snapshots expire", table, id),
		Hint:    "ask again of the newest one", Offset: -1,
	}
}

// Planner says which files make up a table now. A table without a snapshot has none.
type Planner interface {
	Plan(ctx context.Context, table *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error)
}

// History is a [Planner] of older states too.
type History interface {
	Planner
	// PlanAt says which files made up a table in a snapshot, which is not 0. One that is not
	// there is ErrNoSnapshot.
	PlanAt(ctx context.Context, table *cardlake.Table, snapshot int64) (catalog.Snapshot, []cardlake.DataFile, error)
}

// Plan returns the state in which the table is read, and the files that make it up, those of
// others than the decision permits included.
func (r Read) Plan(ctx context.Context, p Planner) (catalog.Snapshot, []cardlake.DataFile, error) {
	var s catalog.Snapshot
	var files []cardlake.DataFile
	var err error
	switch {
	case !r.IsPinned:
		s, files, err = p.Plan(ctx, r.Table)
	case r.Snapshot != 0:
		history, ok := p.(History)
		if !ok {
			return s, nil, errors.New("this lake is read in its newest state only")
		}
		s, files, err = history.PlanAt(ctx, r.Table, r.Snapshot)
		if err == nil && s.ID != r.Snapshot {
			err = errors.New("the catalog planned another snapshot than was asked for")
		}
	}
	if errors.Is(err, ErrNoSnapshot) {
		return s, nil, noSnapshot(r.Table.FullName(), r.Snapshot)
	}
	if err != nil {
		return s, nil, fmt.Errorf("plan %s: %w", r.Table.FullName(), err)
	}
	return s, files, nil
}

// State returns the state of [Read.Plan], counted within the decision.
func (r Read) State(ctx context.Context, p Planner) (Snapshot, error) {
	s, files, err := r.Plan(ctx, p)
	if err != nil {
		return Snapshot{}, err
	}
	return r.count(s, files), nil
}

func (r Read) count(s catalog.Snapshot, files []cardlake.DataFile) Snapshot {
	out := Snapshot{Table: r.Table, ID: s.ID, CommittedAt: s.CommittedAt, Positions: s.Positions}
	for _, f := range files {
		if r.Decision.Scope(f.Tenant) == nil {
			continue
		}
		out.Files++
		out.Bytes += f.Bytes
		out.Rows += f.Rows
	}
	return out
}
