package render

import (
	"context"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/cardlake/cardlake/queries"
)

const (
	batchRows    = 8 << 10
	rowGroupRows = 128 << 10
)

// Arrow writes an Arrow IPC stream. Columns of the same name get _2, _3 … appended.
func Arrow(ctx context.Context, w io.Writer, rows queries.Rows) error {
	schema := schemaOf(rows.Columns())
	out := ipc.NewWriter(w, ipc.WithSchema(schema))
	if err := batches(ctx, schema, rows, out.Write); err != nil {
		return err
	}
	// Close writes the schema if there was no batch.
	return out.Close()
}

// Parquet writes one Parquet file, compressed with zstd. Columns of the same name get _2,
// _3 … appended. Parquet has no type for an interval.
func Parquet(ctx context.Context, w io.Writer, rows queries.Rows) error {
	columns := rows.Columns()
	for _, c := range columns {
		if t := unstorable(c.Type); t != nil {
			return &queries.Error{Message: fmt.Sprintf("column %q: Parquet cannot hold a value of type %s", c.Name, t), Hint: "cast it, to VARCHAR for instance", Offset: -1}
		}
	}
	schema := schemaOf(columns)
	// The writer would close w.
	out, err := pqarrow.NewFileWriter(schema, struct{ io.Writer }{w},
		parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithMaxRowGroupLength(rowGroupRows)),
		pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	if err := batches(ctx, schema, rows, out.WriteBuffered); err != nil {
		return err
	}
	return out.Close()
}

// unstorable returns the part of the type that Parquet has no place for, or nil.
func unstorable(t arrow.DataType) arrow.DataType {
	if t.ID() == arrow.INTERVAL_MONTH_DAY_NANO {
		return t
	}
	if n, ok := t.(arrow.NestedType); ok {
		for _, f := range n.Fields() {
			if bad := unstorable(f.Type); bad != nil {
				return bad
			}
		}
	}
	return nil
}

func schemaOf(columns []queries.Column) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, name := range uniqueNames(columns) {
		fields[i] = arrow.Field{Name: name, Type: columns[i].Type, Nullable: true}
	}
	return arrow.NewSchema(fields, nil)
}

// batches passes the rows on, batchRows at a time.
func batches(ctx context.Context, schema *arrow.Schema, rows queries.Rows, write func(arrow.RecordBatch) error) error {
	return Records(ctx, schema, rows, Bound{Rows: batchRows}, write)
}
