package queries

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Scan is reading of one table's rows without a statement.
type Scan struct {
	Action grants.Action // grants.ReadChanges or grants.Export
	Table  string        // its full name
	// What says on record what is read, such as "changes of cards.transactions after 12": never
	// the content of a field.
	What string
}

// Scan decides, records, and calls open with what the caller may read of the table. The rows
// that open returns come as a Result, within the grant's bounds, not Config's. The grant's bound
// of rows is of an answer, so it holds for changes; what is exported is bounded by the tenant's
// quotas. The caller closes it. An unknown table is an [*Error];
// ErrNotPermitted and ErrUnrecorded say why else there are no rows.
func (g *Gateway) Scan(ctx context.Context, c grants.Caller, s Scan, open func(context.Context, Read) (Rows, error)) (*Result, error) {
	line := newLine(c, s.Action, s.What)
	i := slices.IndexFunc(g.cfg.Tables, func(t *cardlake.Table) bool { return strings.EqualFold(t.FullName(), s.Table) })
	if i < 0 {
		return nil, g.refuse(ctx, line, noTable(s.Table, g.names(ctx, c), -1))
	}
	table := g.cfg.Tables[i]
	d := g.decide(c, s.Action, table)
	statement := Statement{Reads: []Read{{Table: table, Decision: d}}, Limits: d.Limits}
	line.about(statement)
	if !d.Allowed() {
		line.decided(d)
		return nil, g.refuse(ctx, line, ErrNotPermitted)
	}
	maxRows := d.Limits.MaxRows
	if s.Action == grants.Export {
		maxRows = 0
	}
	return g.run(ctx, c, statement, line, maxRows, func(ctx context.Context) (Rows, error) { return open(ctx, statement.Reads[0]) })
}

// run records the question, and asks it.
func (g *Gateway) run(ctx context.Context, c grants.Caller, s Statement, line *line, maxRows int64, ask func(context.Context) (Rows, error)) (*Result, error) {
	limit := tighter(g.cfg.Timeout, s.Limits.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, ErrTimeout)
	defer cancel()
	if err := g.record(ctx, line.asked()); err != nil {
		return nil, err
	}
	recorded := time.Now()
	rows, err := ask(ctx)
	if err != nil {
		err = cause(ctx, limit, err)
		if unrecorded := g.recordLate(ctx, line.failed(err, 0)); unrecorded != nil {
			return nil, unrecorded
		}
		return nil, err
	}
	r := &Result{gateway: g, caller: c, reads: s.Reads, line: line, rows: rows, maxRows: maxRows, looked: recorded}
	for i, snapshot := range rows.Snapshots() {
		r.snapshots = append(r.snapshots, snapshot.within(s.Reads[i].Decision))
	}
	return r, nil
}
