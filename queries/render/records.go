package render

import (
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake/queries"
)

// Bound is when a record batch is full. A row is never split: one that is larger than Bytes
// has a batch of its own.
type Bound struct {
	Rows  int
	Bytes int // about so many, as the values lie in memory; 0 for no bound
}

// Schema is the schema of the record batches of an answer. Columns of the same name get _2,
// _3 … appended.
func Schema(columns []queries.Column) *arrow.Schema { return schemaOf(columns) }

// Records passes the rows on as record batches, which write does not keep unless it retains
// them. It stops with ctx's error.
func Records(ctx context.Context, schema *arrow.Schema, rows queries.Rows, bound Bound, write func(arrow.RecordBatch) error) error {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	n, bytes := 0, 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		n, bytes = 0, 0
		batch := b.NewRecordBatch()
		defer batch.Release()
		return write(batch)
	}
	err := each(ctx, rows, func(row []any) error {
		size := 0
		if bound.Bytes > 0 {
			for _, v := range row {
				size += sizeOf(v)
			}
			if bytes+size > bound.Bytes {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		for i, v := range row {
			if err := queries.AppendValue(b.Field(i), v); err != nil {
				return fmt.Errorf("column %q: %w", schema.Field(i).Name, err)
			}
		}
		bytes += size
		if n++; n < bound.Rows {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// sizeOf is about how many bytes a value has.
func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return 4 + len(v)
	case []byte:
		return 4 + len(v)
	case queries.Entry:
		return sizeOf(v.Key) + sizeOf(v.Value)
	case []any:
		n := 4
		for _, e := range v {
			n += sizeOf(e)
		}
		return n
	}
	return 16 // the widest of the others, a decimal or an interval
}
