package embedded

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// tenantAt is where a record of cards.transactions has the tenant.
var tenantAt = slices.IndexFunc(cardlake.Transactions.Columns, func(c cardlake.Column) bool { return c.Name == tenantColumn })

// permitted returns, for each scope of the decision, the rows of the record that are in it; nil
// for none. What is given the whole table is given the record.
func permitted(record arrow.RecordBatch, d *grants.Decision) ([]arrow.RecordBatch, error) {
	out := make([]arrow.RecordBatch, len(d.Scopes))
	if len(d.Scopes) == 1 && d.IsWhole() {
		out[0] = record
		return out, nil
	}
	tenant, err := texts(record.Column(tenantAt))
	if err != nil {
		return nil, fmt.Errorf("column %s: %w", tenantColumn, err)
	}
	rows := make([][]int, len(d.Scopes))
	scopes := map[string]int{}
	for row := range int(record.NumRows()) {
		name := tenant(row)
		scope, ok := scopes[name]
		if !ok {
			scope = scopeOf(d, cardlake.Tenant(name))
			scopes[name] = scope
		}
		if scope >= 0 {
			rows[scope] = append(rows[scope], row)
		}
	}
	for scope, list := range rows {
		if len(list) == 0 {
			continue
		}
		if out[scope], err = take(record, list); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// take copies rows of a record. Nothing is shared with it, and dictionaries least of all: they
// have the words of every tenant, and a file is written with its dictionaries as they are.
func take(record arrow.RecordBatch, rows []int) (arrow.RecordBatch, error) {
	fields := slices.Clone(record.Schema().Fields())
	columns := make([]arrow.Array, record.NumCols())
	for i, column := range record.Columns() {
		var err error
		if columns[i], err = takeColumn(column, rows); err != nil {
			return nil, fmt.Errorf("column %s: %w", record.ColumnName(i), err)
		}
		fields[i].Type = columns[i].DataType()
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, int64(len(rows))), nil
}

func takeColumn(column arrow.Array, rows []int) (arrow.Array, error) {
	switch column := column.(type) {
	case *array.Boolean:
		return takeValues(array.NewBooleanBuilder(memory.DefaultAllocator), column, column.Value, rows), nil
	case *array.Int32:
		return takeValues(array.NewInt32Builder(memory.DefaultAllocator), column, column.Value, rows), nil
	case *array.Int64:
		return takeValues(array.NewInt64Builder(memory.DefaultAllocator), column, column.Value, rows), nil
	case *array.Timestamp:
		b := array.NewTimestampBuilder(memory.DefaultAllocator, column.DataType().(*arrow.TimestampType))
		return takeValues(b, column, column.Value, rows), nil
	case *array.Decimal128:
		b := array.NewDecimal128Builder(memory.DefaultAllocator, column.DataType().(*arrow.Decimal128Type))
		return takeValues(b, column, column.Value, rows), nil
	case *array.Binary:
		return takeValues(array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary), column, column.Value, rows), nil
	}
	value, err := texts(column)
	if err != nil {
		return nil, err
	}
	return takeValues(array.NewStringBuilder(memory.DefaultAllocator), column, value, rows), nil
}

// builder makes an array of values.
type builder[V any] interface {
	array.Builder
	Append(V)
}

func takeValues[V any](b builder[V], column arrow.Array, value func(int) V, rows []int) arrow.Array {
	defer b.Release()
	b.Reserve(len(rows))
	for _, row := range rows {
		if column.IsNull(row) {
			b.AppendNull()
		} else {
			b.Append(value(row))
		}
	}
	return b.NewArray()
}

// texts returns how the values of a column of text are read. Null is the empty text.
func texts(column arrow.Array) (func(row int) string, error) {
	switch column := column.(type) {
	case *array.String:
		return func(row int) string {
			if column.IsNull(row) {
				return ""
			}
			return column.Value(row)
		}, nil
	case *array.Dictionary:
		words, ok := column.Dictionary().(*array.String)
		if !ok {
			break
		}
		return func(row int) string {
			if column.IsNull(row) {
				return ""
			}
			return words.Value(column.GetValueIndex(row))
		}, nil
	}
	return nil, fmt.Errorf("rows of type %s cannot be told apart by tenant", column.DataType())
}
