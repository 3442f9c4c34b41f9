package ingesttest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// Fault is what befalls one append.
type Fault int

const (
	None          Fault = iota
	Refuse              // an error, nothing happened
	UnknownBefore       // catalog.ErrUnknown, nothing happened
	UnknownAfter        // catalog.ErrUnknown, it happened
	Conflict            // catalog.ErrConflict, nothing happened
)

// String names the fault as a test's name does.
func (f Fault) String() string {
	return [...]string{"done", "refused", "unknown and not done", "unknown and done", "in conflict"}[f]
}

// Table is a table in memory with the commit protocol of package catalog. The zero Table is
// empty. It is safe for concurrent use.
type Table struct {
	unfenced bool

	mu        sync.Mutex
	positions cardlake.Positions
	commits   []catalog.Append
	appends   int
	fault     func(n int) Fault
}

// Inject makes the table ask fault before each append from now on, counted from 1 since the
// table was made; nil injects nothing.
func (m *Table) Inject(fault func(n int) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

// At returns the positions, a copy.
func (m *Table) At() cardlake.Positions {
	m.mu.Lock()
	defer m.mu.Unlock()
	return cardlake.Positions{}.Merge(m.positions)
}

// Set moves the positions, as nothing but a mistake would.
func (m *Table) Set(p cardlake.Positions) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.positions = p.Clone()
}

// Commits returns what was appended, in order.
func (m *Table) Commits() []catalog.Append {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]catalog.Append(nil), m.commits...)
}

// Rollback takes the table back to its first n commits.
func (m *Table) Rollback(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits = m.commits[:n:n]
	m.positions = cardlake.Positions{}
	for _, c := range m.commits {
		m.positions = m.positions.Merge(c.To)
	}
}

// Rows counts the rows of all files.
func (m *Table) Rows() (n int64) {
	files, _ := m.Files(context.Background(), 0)
	for _, f := range files {
		n += f.Rows
	}
	return n
}

// Files implements ingest.Files.
func (m *Table) Files(context.Context, int64) ([]cardlake.DataFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var files []cardlake.DataFile
	for i, c := range m.commits {
		for _, f := range c.Files {
			f.Sequence = int64(i + 1)
			files = append(files, f)
		}
	}
	return files, nil
}

// Positions implements ingest.Table.
func (m *Table) Positions(context.Context) (cardlake.Positions, error) { return m.At(), nil }

// Append implements ingest.Table.
func (m *Table) Append(_ context.Context, a catalog.Append) (catalog.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appends++
	f := None
	if m.fault != nil {
		f = m.fault(m.appends)
	}
	switch f {
	case Refuse:
		return catalog.Snapshot{}, errors.New("catalog is away")
	case UnknownBefore:
		return catalog.Snapshot{}, catalog.ErrUnknown
	case Conflict:
		return catalog.Snapshot{}, catalog.ErrConflict
	}
	for p, to := range a.To {
		if to.Next < a.From[p].Next {
			return catalog.Snapshot{}, fmt.Errorf("positions of %s go from %d to %d", p, a.From[p].Next, to.Next)
		}
	}
	if !m.unfenced && !m.positions.Holds(a.From) {
		return catalog.Snapshot{}, catalog.ErrConflict
	}
	m.positions = m.positions.Merge(a.To)
	m.commits = append(m.commits, catalog.Append{Files: a.Files, From: a.From.Clone(), To: a.To.Clone()})
	if f == UnknownAfter {
		return catalog.Snapshot{}, catalog.ErrUnknown
	}
	return catalog.Snapshot{ID: int64(len(m.commits)), Sequence: int64(len(m.commits)), Positions: m.positions.Clone()}, nil
}

// Door is a worker's way to a table that others go to as well.
type Door struct {
	*Table
	mu      sync.Mutex
	open    chan struct{} // appends wait until it is closed; nil: they don't
	dead    bool
	waiting int
}

// Hold makes appends wait.
func (d *Door) Hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open = make(chan struct{})
	}
}

// Release lets the waiting appends through.
func (d *Door) Release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open != nil {
		close(d.open)
		d.open = nil
	}
}

// Kill makes every append from now on fail with nothing done: to the table the worker is dead.
func (d *Door) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

// Waiting is how many appends are held.
func (d *Door) Waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting
}

// Append implements ingest.Table.
func (d *Door) Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error) {
	d.mu.Lock()
	open := d.open
	d.waiting++
	d.mu.Unlock()
	if open != nil {
		select {
		case <-open:
		case <-ctx.Done():
		}
	}
	d.mu.Lock()
	d.waiting--
	dead := d.dead
	d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return catalog.Snapshot{}, err
	}
	if dead {
		return catalog.Snapshot{}, errors.New("catalog is out of reach")
	}
	return d.Table.Append(ctx, a)
}
