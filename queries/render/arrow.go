package render

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
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

// appendValue appends a value of queries.Column to the builder of its type.
func appendValue(b array.Builder, v any) error {
	if v == nil {
		b.AppendNull()
		return nil
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		return appendTo(b.Append, v)
	case *array.Int8Builder:
		return appendTo(b.Append, v)
	case *array.Int16Builder:
		return appendTo(b.Append, v)
	case *array.Int32Builder:
		return appendTo(b.Append, v)
	case *array.Int64Builder:
		return appendTo(b.Append, v)
	case *array.Uint8Builder:
		return appendTo(b.Append, v)
	case *array.Uint16Builder:
		return appendTo(b.Append, v)
	case *array.Uint32Builder:
		return appendTo(b.Append, v)
	case *array.Uint64Builder:
		return appendTo(b.Append, v)
	case *array.Float32Builder:
		return appendTo(b.Append, v)
	case *array.Float64Builder:
		return appendTo(b.Append, v)
	case *array.Decimal128Builder:
		return appendTo(b.Append, v)
	case *array.StringBuilder:
		return appendTo(b.Append, v)
	case *array.BinaryBuilder:
		return appendTo(b.Append, v)
	case *array.MonthDayNanoIntervalBuilder:
		return appendTo(b.Append, v)
	case *array.Date32Builder:
		return appendTo(func(t time.Time) { b.Append(arrow.Date32FromTime(t)) }, v)
	case *array.Time64Builder:
		return appendTo(func(t time.Time) {
			midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
			b.Append(arrow.Time64(t.Sub(midnight).Microseconds()))
		}, v)
	case *array.TimestampBuilder:
		t, ok := v.(time.Time)
		if !ok {
			return fmt.Errorf("value is a %T", v)
		}
		ts, err := arrow.TimestampFromTime(t, b.Type().(*arrow.TimestampType).Unit)
		if err != nil {
			return err
		}
		b.Append(ts)
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("value is a %T", v)
	}
	return appendNestedValue(b, list)
}

func appendTo[T any](add func(T), v any) error {
	t, ok := v.(T)
	if !ok {
		return fmt.Errorf("value is a %T", v)
	}
	add(t)
	return nil
}

func appendNestedValue(b array.Builder, list []any) error {
	switch b := b.(type) {
	case *array.MapBuilder:
		b.Append(true)
		for _, e := range list {
			entry, ok := e.(queries.Entry)
			if !ok {
				return fmt.Errorf("map element is a %T", e)
			}
			if err := appendValue(b.KeyBuilder(), entry.Key); err != nil {
				return err
			}
			if err := appendValue(b.ItemBuilder(), entry.Value); err != nil {
				return err
			}
		}
		return nil
	case *array.ListBuilder:
		b.Append(true)
		for _, e := range list {
			if err := appendValue(b.ValueBuilder(), e); err != nil {
				return err
			}
		}
		return nil
	case *array.StructBuilder:
		b.Append(true)
		for i, e := range list {
			if err := appendValue(b.FieldBuilder(i), e); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no builder for a value of type %s", b.Type())
}
