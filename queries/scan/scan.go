// Package scan reads rows of data files without an engine: for exports and for feeds of
// changes, which take whole rows in the files' order. The files are read with parquet-go, column
// by column and page by page, so that what is in memory is a page of each column, or one small
// file.
//
// Rows come as a decision gives them, and equal to what queries/embedded answers to SELECT over
// the same files: files of tenants that the decision does not give are not opened, rows of
// another tenant than the file's are left out, columns are clear, masked by queries.MaskValue,
// NULL where another tenant's are given, or not there.
//
// Columns are found by their field id, as Iceberg has it: a file from before a column was added
// or renamed reads right.
package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/writers/objects"
)

// Window are the rows that a partition of a stream brought at From or behind it, and before
// Until. A partition that From does not know begins at 0; one that Until does not know has no
// rows in the window.
type Window struct{ From, Until cardlake.Positions }

// Config says what of the permitted rows is read. The zero value reads all of them.
type Config struct {
	// Columns names the columns that are read, in their order; all that are given if nil. One
	// that is not given, or not there, is a [*queries.Error].
	Columns []string
	// Tenants are the only ones whose rows are read; all that are given if nil.
	Tenants []cardlake.Tenant
	// Since and Until bound the table's time column: rows at Since or later and before Until.
	// The zero time is no bound. Who is not given the column in clear cannot bound it, or
	// trying would tell it: that is a [*queries.Error].
	Since, Until time.Time
	// Within, if not nil, leaves rows out by their place on the stream. The table must have the
	// columns stream, stream_partition and stream_offset; the decision need not give them.
	Within *Window
	// Snapshot is the state that the files are of, for Rows.Snapshots.
	Snapshot catalog.Snapshot
}

const (
	// wholeBytes is the size up to which a file is read at once: smaller reads would decrypt
	// a chunk of the store several times.
	wholeBytes = 8 << 20
	// bufferBytes is read at once of a column of a larger file.
	bufferBytes = 256 << 10
)

// Rows are the rows of files. It implements queries.Rows and is used by one goroutine. Strings
// of one page share its memory: who keeps a few of many rows should copy them.
type Rows struct {
	ctx    context.Context
	cancel context.CancelFunc
	store  objects.Store
	read   queries.Read
	cfg    Config

	places   []int // of each column of the answer: which of the table's
	columns  []queries.Column
	files    []cardlake.DataFile // those that are left
	snapshot queries.Snapshot

	open  *file
	whole []byte // memory of files that are read at once
	err   error
}

// Open returns the rows of the files that the decision gives. It opens one object of each
// tenant, to tell whose key was destroyed: their rows are counted in Snapshots' Destroyed. The
// rows do not depend on ctx beyond its values; Close ends them.
func Open(ctx context.Context, store objects.Store, r queries.Read, files []cardlake.DataFile, cfg Config) (*Rows, error) {
	rows := &Rows{store: store, read: r, cfg: cfg}
	rows.ctx, rows.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := rows.choose(); err != nil {
		rows.cancel()
		return nil, err
	}
	s := cfg.Snapshot
	rows.snapshot = queries.Snapshot{Table: r.Table, ID: s.ID, CommittedAt: s.CommittedAt, Positions: s.Positions}
	isGone := map[cardlake.Tenant]bool{}
	for _, f := range files {
		if !rows.wants(f) {
			continue
		}
		gone, isKnown := isGone[f.Tenant]
		if !isKnown {
			var err error
			if gone, err = isDestroyed(ctx, store, f.Name); err != nil {
				rows.cancel()
				return nil, fmt.Errorf("read %s: %w", r.Table.FullName(), err)
			}
			isGone[f.Tenant] = gone
		}
		rows.snapshot.Files++
		rows.snapshot.Bytes += f.Bytes
		rows.snapshot.Rows += f.Rows
		if gone {
			rows.destroyed(f)
			continue
		}
		rows.files = append(rows.files, f)
	}
	return rows, nil
}

// choose resolves the columns of the answer.
func (r *Rows) choose() error {
	t, access := r.read.Table, r.read.Decision.Access()
	if access == nil {
		return queries.ErrNotPermitted
	}
	if r.cfg.Within != nil && position(t) == nil {
		return &queries.Error{Message: fmt.Sprintf("table %s does not say where on a stream its rows were", t.FullName()), Offset: -1}
	}
	if !r.cfg.Since.IsZero() || !r.cfg.Until.IsZero() {
		place := placeOf(t, t.Time)
		for _, s := range r.read.Decision.Scopes {
			if s.Columns[place] != grants.Clear {
				return &queries.Error{Message: fmt.Sprintf("rows cannot be bounded by %s, which is not given in clear", t.Time), Offset: -1}
			}
		}
	}
	var given []string
	for i, c := range t.Columns {
		if access[i] != grants.Dropped {
			given = append(given, c.Name)
		}
	}
	names := r.cfg.Columns
	if names == nil {
		names = given
	}
	for _, name := range names {
		i := slices.IndexFunc(t.Columns, func(c cardlake.Column) bool { return c.Name == name })
		if i < 0 || access[i] == grants.Dropped {
			e := &queries.Error{Message: fmt.Sprintf("there is no column %q in %s", name, t.FullName()), Offset: -1}
			if near := queries.Nearest(name, given); near != "" {
				e.Hint = "did you mean " + near + "?"
			}
			return e
		}
		r.places = append(r.places, i)
	}
	schema := cardlake.ArrowSchema(t)
	for _, i := range r.places {
		r.columns = append(r.columns, queries.Column{Name: t.Columns[i].Name, Type: schema.Field(i).Type})
	}
	return nil
}

// wants reports whether the file may have rows that are to be read.
func (r *Rows) wants(f cardlake.DataFile) bool {
	return r.read.Decision.Scope(f.Tenant) != nil && (r.cfg.Tenants == nil || f.Tenant == "" || slices.Contains(r.cfg.Tenants, f.Tenant)) &&
		(r.cfg.Since.IsZero() || f.MaxTime == 0 || f.MaxTime >= r.cfg.Since.UnixMicro()) &&
		(r.cfg.Until.IsZero() || f.MinTime < r.cfg.Until.UnixMicro())
}

func isDestroyed(ctx context.Context, store objects.Store, name string) (bool, error) {
	o, err := store.Open(ctx, name)
	switch {
	case errors.Is(err, keys.ErrDestroyed):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("object %s: %w", name, err)
	}
	return false, o.Close()
}

func (r *Rows) destroyed(f cardlake.DataFile) {
	if r.snapshot.Destroyed == nil {
		r.snapshot.Destroyed = map[cardlake.Tenant]int64{}
	}
	r.snapshot.Destroyed[f.Tenant] += f.Rows
}

// Columns implements queries.Rows.
func (r *Rows) Columns() []queries.Column { return r.columns }

// Snapshots implements queries.Rows. Files, Bytes and Rows are of the files that are read,
// before rows are left out.
func (r *Rows) Snapshots() []queries.Snapshot {
	s := r.snapshot
	s.Destroyed = maps.Clone(s.Destroyed)
	return []queries.Snapshot{s}
}

// Next implements queries.Rows. Rows end with the first error.
func (r *Rows) Next(row []any) error {
	if r.err != nil {
		return r.err
	}
	if len(row) != len(r.columns) {
		return fmt.Errorf("a row of %d elements for %d columns", len(row), len(r.columns))
	}
	r.err = r.next(row)
	if r.err != nil {
		clear(row)
	}
	return r.err
}

func (r *Rows) next(row []any) error {
	for {
		if r.open == nil {
			if err := r.advance(); err != nil {
				return err
			}
			if r.open == nil {
				continue
			}
		}
		switch err := r.open.next(row); {
		case errors.Is(err, io.EOF):
			if err := r.closeFile(); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("read %s: object %s: %w", r.read.Table.FullName(), r.open.name, err)
		default:
			return nil
		}
	}
}

// advance opens the next file, or none if its key was destroyed since the rows were opened.
func (r *Rows) advance() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if len(r.files) == 0 {
		return io.EOF
	}
	f := r.files[0]
	r.files = r.files[1:]
	opened, err := r.openFile(f)
	if errors.Is(err, keys.ErrDestroyed) {
		r.destroyed(f)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: object %s: %w", r.read.Table.FullName(), f.Name, err)
	}
	r.open = opened
	return nil
}

func (r *Rows) closeFile() error {
	if r.open == nil {
		return nil
	}
	err := r.open.close()
	r.open = nil
	return err
}

// Position is where on the stream the row was that Next returned last. It is known only with
// Config.Within, and not for the caller: it tells of all tenants' events.
func (r *Rows) Position() cardlake.Position {
	if r.open == nil {
		return cardlake.Position{}
	}
	return r.open.at
}

// File is the name of the file that the row was in that Next returned last.
func (r *Rows) File() string {
	if r.open == nil {
		return ""
	}
	return r.open.name
}

// Close implements queries.Rows.
func (r *Rows) Close() error {
	r.cancel()
	if r.err == nil {
		r.err = io.EOF
	}
	err := r.closeFile()
	r.whole = nil
	return err
}
