package maintenance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	pq "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/objects"
)

// ErrInput says that a file cannot be rewritten, whoever tries: it is damaged, or does not
// have the table's columns, or is not sorted by the table's time. It is left as it is.
var ErrInput = errors.New("the file cannot be rewritten")

// wholeBytes is the size up to which a file is read at once, instead of column by column.
const wholeBytes = 4 << 20

// input is an open file whose rows are taken in order.
type input struct {
	table   *cardlake.Table
	name    string
	object  objects.Object // nil if all of it is in memory
	source  *source
	reader  *file.Reader
	leaves  []int // of each of the table's columns: which of the file's, -1 for none
	columns []*columnReader
	times   *columnReader // the table's time once more, to decide the order

	ahead []int64 // times that were read
	next  int     // of them, the first that was not taken
	last  int64   // the time taken before it
}

// openInput opens the file. It reads no rows yet.
func openInput(ctx context.Context, table *cardlake.Table, store objects.Store, f cardlake.DataFile) (in *input, err error) {
	object, err := store.Open(ctx, f.Name)
	if err != nil {
		return nil, err
	}
	var from io.ReaderAt = object
	if object.Size() <= wholeBytes {
		body := make([]byte, object.Size())
		n, err := object.ReadAt(body, 0)
		_ = object.Close() // of something that was read
		if n < len(body) {
			return nil, fmt.Errorf("read %s: %w", f.Name, err)
		}
		object, from = nil, bytes.NewReader(body)
	}
	in, err = newInput(table, f.Name, from, f.Bytes)
	if err != nil {
		if object != nil {
			_ = object.Close()
		}
		return nil, err
	}
	in.object = object
	if rows := in.reader.NumRows(); rows != f.Rows {
		_ = in.close()
		return nil, fmt.Errorf("%w: %s has %d rows, the catalog says %d", ErrInput, f.Name, rows, f.Rows)
	}
	return in, nil
}

// newInput reads the footer of a file of size bytes.
func newInput(table *cardlake.Table, name string, from io.ReaderAt, size int64) (in *input, err error) {
	defer recovered(name, &err)
	in = &input{table: table, name: name, source: &source{ReaderAt: from}}
	if in.reader, err = file.NewParquetReader(io.NewSectionReader(in.source, 0, size)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, in.fault(err))
	}
	if err := in.match(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInput, name, err)
	}
	for i := range table.Columns {
		in.columns = append(in.columns, &columnReader{in: in, column: i})
		if table.Columns[i].Name == table.Time {
			in.times = &columnReader{in: in, column: i}
		}
	}
	return in, nil
}

// source is what a file is read from. It remembers whether that failed, to tell a fault of
// the store, which may pass, from one of the file.
type source struct {
	io.ReaderAt
	failed error
}

// ReadAt implements io.ReaderAt.
func (s *source) ReadAt(p []byte, off int64) (n int, err error) {
	if n, err = s.ReaderAt.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
}

// fault says whose fault an error of the Parquet library is.
func (in *input) fault(err error) error {
	if in.source.failed != nil {
		return in.source.failed
	}
	return fmt.Errorf("%w: %w", ErrInput, err)
}

func (in *input) close() error {
	if in.object == nil {
		return nil
	}
	return in.object.Close()
}

// match finds the table's columns in the file: by field id, as Iceberg has it (specification,
// "Column Projection"), by name in a file without ids.
func (in *input) match() error {
	schema := in.reader.MetaData().Schema
	byID := map[int]int{}
	for leaf := range schema.NumColumns() {
		c := schema.Column(leaf)
		if c.MaxRepetitionLevel() > 0 || c.MaxDefinitionLevel() > 1 {
			return fmt.Errorf("column %s is nested", c.Path())
		}
		id := int(c.SchemaNode().FieldID())
		if id < 0 {
			if def := in.table.Column(c.Name()); def != nil {
				id = def.ID
			}
		}
		if _, isTwice := byID[id]; isTwice {
			return fmt.Errorf("column %s is there twice", c.Name())
		}
		byID[id] = leaf
	}
	for _, def := range in.table.Columns {
		leaf, ok := byID[def.ID]
		if !ok {
			if !def.Nullable {
				return fmt.Errorf("column %s is missing", def.Name)
			}
			in.leaves = append(in.leaves, -1)
			continue
		}
		delete(byID, def.ID)
		if got := schema.Column(leaf).PhysicalType(); got != physicalOf(def.Type) && !(def.Type == cardlake.Int64 && got == pq.Types.Int32) {
			return fmt.Errorf("column %s is stored as %s", def.Name, got)
		}
		in.leaves = append(in.leaves, leaf)
	}
	if len(byID) > 0 { // a file of a later version of the table
		return fmt.Errorf("%d columns are not the table's, and would be lost", len(byID))
	}
	return nil
}

func physicalOf(t cardlake.Type) pq.Type {
	switch kindOf(t) {
	case boolKind:
		return pq.Types.Boolean
	case int32Kind:
		return pq.Types.Int32
	case int64Kind:
		return pq.Types.Int64
	}
	return pq.Types.ByteArray
}

// peek returns the time of the next row, and false after the last one.
func (in *input) peek() (int64, bool, error) {
	if in.next == len(in.ahead) {
		if err := in.readTimes(); err != nil {
			return 0, false, fmt.Errorf("%s: %w", in.name, err)
		}
		if len(in.ahead) == 0 {
			return 0, false, nil
		}
	}
	return in.ahead[in.next], true, nil
}

func (in *input) readTimes() (err error) {
	defer recovered("times", &err)
	in.ahead, in.next = in.ahead[:0], 0
	var v values
	v.int64s = in.ahead
	v.reset(int64Kind)
	if _, err := in.times.takePage(&v); err != nil {
		return err
	}
	if len(v.valid) > 0 {
		return fmt.Errorf("%w: a row has no %s", ErrInput, in.table.Time)
	}
	for _, at := range v.int64s {
		if at < in.last {
			return fmt.Errorf("%w: it is not sorted by %s", ErrInput, in.table.Time)
		}
		in.last = at
	}
	in.ahead = v.int64s
	return nil
}

// take appends the next n rows of a column to v.
func (in *input) take(column, n int, v *values) (err error) {
	defer recovered(in.name, &err)
	if err := in.columns[column].take(n, v); err != nil {
		return fmt.Errorf("%s: column %s: %w", in.name, in.table.Columns[column].Name, err)
	}
	return nil
}

// recovered turns a panic of the Parquet library into an error.
func recovered(what string, err *error) {
	switch r := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("%w: %s: %w", ErrInput, what, r)
	default: // its text may hold some of the file's
		*err = fmt.Errorf("%w: %s: panic with %T", ErrInput, what, r)
	}
}

// recordBytes bounds the memory of a record, by what the files say of their rows.
const recordBytes = 256 << 20

// recordRows is how many rows like the file's a record may have.
func (in *input) recordRows() int {
	most := int64(1)
	for i := range in.reader.NumRowGroups() {
		group := in.reader.MetaData().RowGroup(i)
		if rows := group.NumRows(); rows > 0 {
			most = max(most, group.TotalByteSize()/rows)
		}
	}
	return int(max(1, recordBytes/most))
}
