package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/writers/objects"
)

// tenantColumn says whose a row is, in the tables that have it.
const tenantColumn = "tenant"

// position returns the places of the columns that say where on a stream a row was, nil if the
// table does not have them.
func position(t *cardlake.Table) []int {
	var places []int
	for _, name := range []string{"stream", "stream_partition", "stream_offset"} {
		for i, c := range t.Columns {
			if c.Name == name {
				places = append(places, i)
			}
		}
	}
	if len(places) != 3 {
		return nil
	}
	return places
}

// file is an open file. Only the columns that are asked of a row group are read.
type file struct {
	name   string
	object objects.Object // nil if all of it is in memory
	groups []parquet.RowGroup
	group  int   // the next one
	row    int64 // of the open row group, the next one
	rows   int64
	at     cardlake.Position // of the row that was returned last, with Config.Within

	values  []*column // of each column of the answer; nil: always NULL
	filters []filter
	all     []*column // each once
}

// filter reports whether a row of the open row group is wanted.
type filter func(row int64) (bool, error)

func (r *Rows) openFile(f cardlake.DataFile) (_ *file, err error) {
	object, err := r.store.Open(r.ctx, f.Name)
	if err != nil {
		return nil, err
	}
	out := &file{name: f.Name, object: object}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.close())
		}
	}()
	defer recovered(&err)
	size := object.Size()
	if size != f.Bytes {
		return out, fmt.Errorf("it has %d bytes, the catalog says %d", size, f.Bytes)
	}
	var from io.ReaderAt = object
	if size <= wholeBytes {
		if int64(cap(r.whole)) < size {
			r.whole = make([]byte, size)
		}
		body := r.whole[:size]
		if n, err := object.ReadAt(body, 0); n < len(body) {
			return out, err
		}
		from = bytes.NewReader(body)
	}
	p, err := parquet.OpenFile(from, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(bufferBytes))
	if err != nil {
		return out, err
	}
	if p.NumRows() != f.Rows {
		return out, fmt.Errorf("it has %d rows, the catalog says %d", p.NumRows(), f.Rows)
	}
	out.groups = p.RowGroups()
	return out, out.match(r, f, p)
}

// recovered turns a panic of the Parquet library, at a file that is not sound, into an error.
func recovered(err *error) {
	switch r := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("malformed file: %w", r)
	default: // its text may hold some of the file's
		*err = fmt.Errorf("malformed file: panic with %T", r)
	}
}

// match finds the columns of the answer and of the filters in the file: by field id (Iceberg
// specification, "Column Projection"), by name where the file has no ids.
func (o *file) match(r *Rows, f cardlake.DataFile, p *parquet.File) error {
	t, scope := r.read.Table, r.read.Decision.Scope(f.Tenant)
	leaves, err := leavesOf(t, p)
	if err != nil {
		return err
	}
	byPlace := map[int]*column{}
	find := func(place int, access grants.Access) (*column, error) {
		leaf := leaves[place]
		if leaf == nil {
			return nil, nil
		}
		c, err := newColumn(t.Columns[place], leaf, access)
		if err == nil {
			o.all = append(o.all, c)
		}
		return c, err
	}
	for _, place := range r.places {
		c := byPlace[place]
		if c == nil && scope.Columns[place] != grants.Dropped {
			if c, err = find(place, scope.Columns[place]); err != nil {
				return err
			}
			byPlace[place] = c
		}
		o.values = append(o.values, c)
	}
	// A filter looks at clear values, whatever is given of them.
	clear := func(place int) (*column, error) {
		if c := byPlace[place]; c != nil && scope.Columns[place] == grants.Clear {
			return c, nil
		}
		c, err := find(place, grants.Clear)
		if c == nil && err == nil {
			err = fmt.Errorf("column %s is missing", t.Columns[place].Name)
		}
		return c, err
	}
	if err := o.byTenant(r, f, clear); err != nil {
		return err
	}
	if err := o.byTime(r, f, clear); err != nil {
		return err
	}
	return o.byPosition(r, clear)
}

// byTenant keeps the rows of the file's scope. What the file is named for says so already; this
// is for a file that has rows of another tenant all the same.
func (o *file) byTenant(r *Rows, f cardlake.DataFile, find func(int) (*column, error)) error {
	t, d := r.read.Table, r.read.Decision
	if !t.ByTenant {
		return nil
	}
	scope := d.Scope(f.Tenant)
	return o.byText(t, tenantColumn, find, func(name string) bool {
		tenant := cardlake.Tenant(name)
		return d.Scope(tenant) == scope && (r.cfg.Tenants == nil || slices.Contains(r.cfg.Tenants, tenant))
	})
}

// byText keeps the rows whose text in the column is wanted; what was asked last is remembered.
func (o *file) byText(t *cardlake.Table, name string, find func(int) (*column, error), wanted func(string) bool) error {
	c, err := find(placeOf(t, name))
	if err != nil {
		return err
	}
	var last string
	var answer, isKnown bool
	o.filters = append(o.filters, func(row int64) (bool, error) {
		v, err := c.at(row)
		if err != nil {
			return false, err
		}
		s, ok := v.(string)
		if !ok {
			return false, nil
		}
		if !isKnown || s != last {
			last, answer, isKnown = s, wanted(s), true
		}
		return answer, nil
	})
	return nil
}

func placeOf(t *cardlake.Table, name string) int {
	for i, c := range t.Columns {
		if c.Name == name {
			return i
		}
	}
	return -1
}

// byTime keeps the rows within Config's times.
func (o *file) byTime(r *Rows, f cardlake.DataFile, find func(int) (*column, error)) error {
	since, until := r.cfg.Since, r.cfg.Until
	if since.IsZero() && until.IsZero() {
		return nil
	}
	c, err := find(placeOf(r.read.Table, r.read.Table.Time))
	if err != nil {
		return err
	}
	o.filters = append(o.filters, func(row int64) (bool, error) {
		at, ok, err := c.integer(row)
		return ok && (since.IsZero() || at >= since.UnixMicro()) && (until.IsZero() || at < until.UnixMicro()), err
	})
	return nil
}

// byPosition keeps the rows within Config's window.
func (o *file) byPosition(r *Rows, find func(int) (*column, error)) error {
	w := r.cfg.Within
	if w == nil {
		return nil
	}
	var columns [3]*column
	for i, place := range position(r.read.Table) {
		var err error
		if columns[i], err = find(place); err != nil {
			return err
		}
	}
	var last cardlake.StreamPartition
	var from, until int64
	isKnown := false
	o.filters = append(o.filters, func(row int64) (bool, error) {
		stream, err := columns[0].at(row)
		if err != nil {
			return false, err
		}
		partition, ok, err := columns[1].integer(row)
		if err != nil {
			return false, err
		}
		offset, ok2, err := columns[2].integer(row)
		if err != nil {
			return false, err
		}
		name, ok3 := stream.(string)
		if !ok || !ok2 || !ok3 {
			return false, errors.New("a row has no place on a stream")
		}
		if p := (cardlake.StreamPartition{Stream: name, Partition: int32(partition)}); !isKnown || p != last {
			last, isKnown, from, until = p, true, w.From[p].Next, w.Until[p].Next
		}
		o.at = cardlake.Position{StreamPartition: last, Offset: offset}
		return from <= offset && offset < until, nil
	})
	return nil
}

// leavesOf returns the file's column of each of the table's, nil for those that it lacks.
func leavesOf(t *cardlake.Table, p *parquet.File) ([]*parquet.Column, error) {
	byID, byName := map[int]*parquet.Column{}, map[string]*parquet.Column{}
	for _, c := range p.Root().Columns() {
		if !c.Leaf() || c.Repeated() {
			continue // none of the table's
		}
		if c.ID() > 0 {
			if byID[c.ID()] != nil {
				return nil, fmt.Errorf("column %s is there twice", c.Name())
			}
			byID[c.ID()] = c
		} else {
			byName[c.Name()] = c
		}
	}
	out := make([]*parquet.Column, len(t.Columns))
	for i, c := range t.Columns {
		if out[i] = byID[c.ID]; out[i] == nil {
			out[i] = byName[c.Name]
		}
	}
	return out, nil
}

// next fills the row with the next one that is wanted.
func (o *file) next(row []any) (err error) {
	defer recovered(&err)
	for {
		if o.row == o.rows {
			if o.group == len(o.groups) {
				return io.EOF
			}
			if err := o.enter(o.groups[o.group]); err != nil {
				return err
			}
			o.group++
			continue
		}
		at := o.row
		o.row++
		wanted, err := o.wanted(at)
		if err != nil {
			return err
		}
		if !wanted {
			continue
		}
		for i, c := range o.values {
			if c == nil {
				row[i] = nil
				continue
			}
			if row[i], err = c.at(at); err != nil {
				return err
			}
		}
		return nil
	}
}

func (o *file) wanted(row int64) (bool, error) {
	for _, f := range o.filters {
		if ok, err := f(row); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// enter begins a row group.
func (o *file) enter(g parquet.RowGroup) error {
	chunks := g.ColumnChunks()
	for _, c := range o.all {
		if err := c.enter(chunks); err != nil {
			return err
		}
	}
	o.row, o.rows = 0, g.NumRows()
	return nil
}

func (o *file) close() error {
	var errs []error
	for _, c := range o.all {
		errs = append(errs, c.close())
	}
	if o.object != nil {
		errs = append(errs, o.object.Close())
	}
	return errors.Join(errs...)
}

var _ queries.Rows = (*Rows)(nil)
