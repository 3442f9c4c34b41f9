package queries

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Batches are rows that an engine has as columns, which is many times faster than one by one.
type Batches interface {
	// NextBatch returns the next rows, at least one, in columns of the names and types of
	// Columns, or io.EOF. Rows are read by it or by Next, not by both; errors.ErrUnsupported of
	// the first call says that Next must be used. The caller releases the batch.
	NextBatch() (arrow.RecordBatch, error)
}

// batchRows is how many rows are put together of an engine that gives one by one.
const batchRows = 4096

// NextBatch is [Result.Next] for many rows at once: at least one, as columns of the names and
// types of Columns, or an error, io.EOF after the last. It keeps all that Next keeps: a withdrawn
// grant, a record that cannot go on and Config.MaxRows end the rows. Rows are read by it or by
// Next, not by both. The caller releases the batch; it is valid until then, after Close too.
func (r *Result) NextBatch() (arrow.RecordBatch, error) {
	if r.ended != nil {
		return nil, r.ended
	}
	batch, err := r.nextBatch()
	if err != nil {
		r.ended = err
	}
	return batch, err
}

func (r *Result) nextBatch() (arrow.RecordBatch, error) {
	if r.n > 0 && !r.isBatched {
		return nil, errMixed
	}
	batch, err := r.engineBatch()
	if err != nil {
		return nil, err
	}
	r.isBatched = true
	if err := r.lookIfDue(); err != nil {
		batch.Release()
		return nil, err
	}
	if left := r.maxRows - r.n; r.maxRows > 0 && batch.NumRows() > left {
		defer batch.Release()
		if left == 0 {
			return nil, r.tooMany()
		}
		batch, r.ended = batch.NewSlice(0, left), r.tooMany()
	}
	r.n += batch.NumRows()
	return batch, nil
}

var errMixed = errors.New("rows are read one by one or in batches, not both")

// engineBatch returns what the engine has next, or what was put together of its rows.
func (r *Result) engineBatch() (arrow.RecordBatch, error) {
	if r.builder == nil {
		if b, ok := r.rows.(Batches); ok {
			batch, err := b.NextBatch()
			if r.n > 0 || !errors.Is(err, errors.ErrUnsupported) {
				return batch, err
			}
		}
		r.builder = array.NewRecordBuilder(memory.DefaultAllocator, SchemaOf(r.Columns()))
		r.row = make([]any, len(r.Columns()))
	}
	for n := 0; n < batchRows && r.late == nil; n++ {
		if r.late = r.rows.Next(r.row); r.late != nil {
			break
		}
		for i, v := range r.row {
			if err := AppendValue(r.builder.Field(i), v); err != nil {
				return nil, fmt.Errorf("column %q: %w", r.Columns()[i].Name, err)
			}
		}
		clear(r.row)
	}
	batch := r.builder.NewRecordBatch()
	if batch.NumRows() > 0 {
		return batch, nil // what ended the rows is told after them
	}
	batch.Release()
	return nil, r.late
}

// SchemaOf is the schema of batches of the columns. Any of them may be NULL.
func SchemaOf(columns []Column) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.Name, Type: c.Type, Nullable: true}
	}
	return arrow.NewSchema(fields, nil)
}
