// Package changes gives the rows that were added to a table since a reader was there last, to
// ETL jobs that keep a copy or a sum: each row exactly once, whatever compaction, expiry of
// snapshots and erasure do to the files meanwhile.
//
// # What a change is
//
// Every row has its place on the stream (stream, stream_partition, stream_offset), which nothing
// changes: compaction and erasure carry it over. Every snapshot has the stream positions up to
// which the table holds the stream, committed together with the rows. So the rows between two
// positions are a set that does not depend on the files they lie in: those at From or behind it,
// and before Until. A feed reads that set, always in the newest snapshot, from the files that may
// hold some of it.
//
// Two batches never share a row and leave none out, because one ends where the next begins. It
// does not matter that files were merged between them. A row that was erased in between comes
// as it is now; one that retention removed does not come.
//
// Which files may hold some is told by their Sequence: a file of no later commit than the
// reader's own snapshot has only rows that the reader had. A merged file takes the greatest
// Sequence of those it replaces, so it is left out only if all of them would be.
//
// # Cursors
//
// A cursor tells the positions up to which a reader has everything. It does not depend on
// snapshots being kept, so it never expires. Positions are of all tenants' events, so it is
// sealed: it shows the snapshot that was read, and can neither be read further nor made up.
//
// A reader that stores what it made of a batch together with Batch.Cursor, in one transaction,
// has each row exactly once, whenever it is killed.
package changes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/scan"
	"github.com/cardlake/cardlake/writers/objects"
)

// Gateway decides and records; *queries.Gateway is one.
type Gateway interface {
	Scan(ctx context.Context, c grants.Caller, s queries.Scan, open func(context.Context, queries.Read) (queries.Rows, error)) (*queries.Result, error)
}

// Table is one table of a catalog, such as catalog/iceberg's.
type Table interface {
	// Snapshots returns the newest snapshot and those before it that are kept, oldest first.
	Snapshots(ctx context.Context) ([]catalog.Snapshot, error)
	// Files returns the files of a snapshot.
	Files(ctx context.Context, snapshotID int64) ([]cardlake.DataFile, error)
}

// Open opens a table; nil says that nothing was ever written to it.
type Open func(ctx context.Context, table *cardlake.Table) (Table, error)

// Words for Request.Since.
const (
	Start = "start" // before the first row
	Now   = "now"   // behind the last row
)

// Request says which changes are asked for.
type Request struct {
	Table string // its full name
	// Since is where to begin: a cursor, the id of a snapshot that is kept, Start, or Now, which
	// gives no rows and a cursor to begin with.
	Since string
	// Until is the id of a snapshot that is kept, up to which changes are given; the newest if
	// empty.
	Until string
	// Tenants are the only ones whose rows are given; all that are permitted if nil.
	Tenants []cardlake.Tenant
	// Limit is how many rows a batch may have; 0 for no bound but the grant's.
	Limit int64
}

// Mark is a state of the table.
type Mark struct {
	Snapshot    int64     `json:"snapshot,string"` // 0 if it is none that is kept
	CommittedAt time.Time `json:"committed_at,omitzero"`
}

// Batch are changes. The rows come in no order.
type Batch struct {
	*queries.Result
	// Cursor is where the next batch begins. It counts only once all rows were read, to io.EOF.
	Cursor string
	// More says that there are rows behind the batch already.
	More bool
	// IsEmpty says that no row can come: nothing was committed since.
	IsEmpty bool
	// Until is the state up to which the batch goes, if More is false, and in which it was read.
	Until Mark
	About
}

// About tells of rows that are not in the table any more, which a reader may have still.
type About struct {
	// Removals are what was taken out of the table since the cursor was given.
	Removals []Removal
	// IsUnsure says that snapshots since then have expired, so that more may have been removed.
	IsUnsure bool
	// KeptSince is the oldest day that the table has rows of, by tenant.
	KeptSince map[cardlake.Tenant]cardlake.Day
	// ValidThrough is, by tenant, an event time: whoever has read up to the batch's end has
	// every row before it, as the control totals show. A tenant of which that is not known is
	// not in it.
	ValidThrough map[cardlake.Tenant]time.Time
}

// Watermarks know how complete a table is; a ready.Watcher does.
type Watermarks interface {
	// ValidThrough returns, by tenant, the event time before which every row has its place
	// before the positions, as far as that is known.
	ValidThrough(at cardlake.Positions) map[cardlake.Tenant]time.Time
}

// Config is what a Feed may have besides.
type Config struct {
	// Watermarks are those of cards.transactions; none if nil.
	Watermarks Watermarks
}

var (
	// ErrCursor says that a text is no cursor of the table: it was cut, changed or made up.
	ErrCursor = errors.New("the cursor is not one of this table: give one as it was answered, start, now, or a snapshot's id")
	// ErrRolledBack says that the table was set back behind what the reader has already.
	ErrRolledBack = errors.New("the table was set back behind the cursor: rows that were given are not in it any more; start anew with since=start into an empty copy")
)

// ExpiredError says that changes were asked for since a snapshot that is not kept.
type ExpiredError struct {
	Asked int64
	// Oldest is the oldest snapshot that can be asked for; zero if there is none.
	Oldest Mark
}

// Error implements error.
func (e *ExpiredError) Error() string {
	kept := "no snapshot is kept"
	if e.Oldest.Snapshot != 0 {
		kept = fmt.Sprintf("the oldest that is kept is %d, of %s", e.Oldest.Snapshot, e.Oldest.CommittedAt.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("snapshot %d is not kept any more, or never was; %s. A cursor does not expire: to begin one, read everything with since=start, or what comes from here on with since=now", e.Asked, kept)
}

// Feed gives changes. It is safe for concurrent use.
type Feed struct {
	gateway Gateway
	open    Open
	store   objects.Store
	cursors cursors
	cfg     Config
	spans   spans
}

// New returns a feed of the tables that open returns, whose files are in the store. The sealer
// seals cursors; *keys.Envelopes of purpose keys.Object is one.
func New(gateway Gateway, open Open, store objects.Store, sealer Sealer, cfg Config) *Feed {
	return &Feed{gateway: gateway, open: open, store: store, cursors: cursors{sealer}, cfg: cfg}
}

// Read returns the changes that the caller may read. A fault of the request is an
// [*ExpiredError], ErrCursor, ErrRolledBack or a [*queries.Error]; the others are those of
// queries.Gateway.Scan. The caller closes the batch.
func (f *Feed) Read(ctx context.Context, c grants.Caller, r Request) (*Batch, error) {
	b := &Batch{}
	what := "changes of " + r.Table + " since " + kindOf(r.Since)
	result, err := f.gateway.Scan(ctx, c, queries.Scan{Action: grants.ReadChanges, Table: r.Table, What: what},
		func(ctx context.Context, read queries.Read) (queries.Rows, error) { return f.rows(ctx, read, r, b) })
	if err != nil {
		return nil, err
	}
	b.Result = result
	return b, nil
}

// kindOf says for the record what a text for Request.Since is: a cursor is nothing for it, and a
// number would be masked.
func kindOf(since string) string {
	switch {
	case since == Start, since == Now:
		return since
	case strings.Contains(since, "."):
		return "a cursor"
	}
	return "a snapshot"
}

// rows plans the batch and opens its rows.
func (f *Feed) rows(ctx context.Context, read queries.Read, r Request, b *Batch) (queries.Rows, error) {
	if r.Limit < 0 {
		return nil, &queries.Error{Message: "the limit of rows is negative", Offset: -1}
	}
	table, err := f.open(ctx, read.Table)
	if err != nil {
		return nil, err
	}
	var kept []catalog.Snapshot
	if table != nil {
		if kept, err = table.Snapshots(ctx); err != nil {
			return nil, err
		}
	}
	var current catalog.Snapshot
	if len(kept) > 0 {
		current = kept[len(kept)-1]
	}
	from, err := f.since(ctx, read.Table, r.Since, kept, current)
	if err != nil {
		return nil, err
	}
	until := current
	if r.Until != "" {
		if until, err = named(r.Until, kept); err != nil {
			return nil, err
		}
	}
	for p, at := range from.positions {
		if current.Positions[p].Next < at.Next {
			return nil, ErrRolledBack
		}
		if until.Positions[p].Next < at.Next {
			return nil, &queries.Error{Message: "until is before since", Offset: -1}
		}
	}
	var files []cardlake.DataFile
	if current.ID != 0 {
		if files, err = table.Files(ctx, current.ID); err != nil {
			return nil, err
		}
	}
	if b.About, err = about(ctx, table, read.Decision, from, kept, files); err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(d cardlake.DataFile) bool { return d.Sequence <= from.sequence })
	window := scan.Window{From: from.positions, Until: until.Positions}
	b.IsEmpty = width(window) == 0
	limit := r.Limit
	if most := read.Decision.Limits.MaxRows; most > 0 && (limit == 0 || most < limit) {
		limit = most
	}
	cfg := scan.Config{Tenants: r.Tenants, Within: &window, Snapshot: current}
	if b.More, err = f.shorten(ctx, read, files, cfg, limit); err != nil {
		return nil, err
	}
	if f.cfg.Watermarks != nil && read.Table == cardlake.Transactions {
		b.ValidThrough = f.cfg.Watermarks.ValidThrough(window.Until)
		maps.DeleteFunc(b.ValidThrough, func(t cardlake.Tenant, _ time.Time) bool {
			return read.Decision.Scope(t) == nil || r.Tenants != nil && !slices.Contains(r.Tenants, t)
		})
	}
	next := cursor{snapshot: until.ID, sequence: until.Sequence, told: current.Sequence, positions: window.Until}
	if b.More {
		next.snapshot, next.sequence = current.ID, from.sequence
	}
	if b.Cursor, err = f.cursors.seal(ctx, read.Table, next); err != nil {
		return nil, err
	}
	b.Until = Mark{until.ID, until.CommittedAt}
	return scan.Open(ctx, f.store, read, f.spans.reaching(files, window), cfg)
}

// since resolves where to begin.
func (f *Feed) since(ctx context.Context, table *cardlake.Table, text string, kept []catalog.Snapshot, current catalog.Snapshot) (cursor, error) {
	switch {
	case text == Start:
		return cursor{told: current.Sequence}, nil
	case text == Now:
		return cursor{snapshot: current.ID, sequence: current.Sequence, told: current.Sequence, positions: current.Positions}, nil
	case strings.Contains(text, "."):
		return f.cursors.open(ctx, table, text)
	}
	s, err := named(text, kept)
	if err != nil {
		return cursor{}, err
	}
	return cursor{snapshot: s.ID, sequence: s.Sequence, told: s.Sequence, positions: s.Positions}, nil
}

// named finds a snapshot by its id.
func named(text string, kept []catalog.Snapshot) (catalog.Snapshot, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return catalog.Snapshot{}, ErrCursor
	}
	expired := &ExpiredError{Asked: id}
	for _, s := range kept {
		if s.Positions == nil {
			continue // made by maintenance, after a snapshot that expired
		}
		if s.ID == id {
			return s, nil
		}
		if expired.Oldest.Snapshot == 0 {
			expired.Oldest = Mark{s.ID, s.CommittedAt}
		}
	}
	return catalog.Snapshot{}, expired
}

// Await returns when something may have been committed behind the cursor, or after the wait. It
// tells nothing: ask with Read.
func (f *Feed) Await(ctx context.Context, table *cardlake.Table, text string, wait time.Duration) error {
	c, err := f.cursors.open(ctx, table, text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		t, err := f.open(ctx, table)
		var kept []catalog.Snapshot
		if err == nil && t != nil {
			kept, err = t.Snapshots(ctx)
		}
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return nil
		case err != nil:
			return err
		case len(kept) > 0 && width(scan.Window{From: c.positions, Until: kept[len(kept)-1].Positions}) > 0:
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil
			}
			return context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}
