package spool

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/cardlake/cardlake/queries"
)

// valueOf is the element of an array as queries.Column tells of it. It may share the array's
// memory, which is the garbage collector's.
func valueOf(column arrow.Array, i int) (any, error) {
	if column.IsNull(i) {
		return nil, nil
	}
	switch column := column.(type) {
	case *array.Null:
		return nil, nil
	case *array.Boolean:
		return column.Value(i), nil
	case *array.Int8:
		return column.Value(i), nil
	case *array.Int16:
		return column.Value(i), nil
	case *array.Int32:
		return column.Value(i), nil
	case *array.Int64:
		return column.Value(i), nil
	case *array.Uint8:
		return column.Value(i), nil
	case *array.Uint16:
		return column.Value(i), nil
	case *array.Uint32:
		return column.Value(i), nil
	case *array.Uint64:
		return column.Value(i), nil
	case *array.Float32:
		return column.Value(i), nil
	case *array.Float64:
		return column.Value(i), nil
	case *array.Decimal128:
		return column.Value(i), nil
	case *array.String:
		return column.Value(i), nil
	case *array.Binary:
		return column.Value(i), nil
	case *array.MonthDayNanoInterval:
		return column.Value(i), nil
	case *array.Date32:
		return column.Value(i).ToTime(), nil
	case *array.Time64:
		return column.Value(i).ToTime(column.DataType().(*arrow.Time64Type).Unit), nil
	case *array.Timestamp:
		return column.Value(i).ToTime(column.DataType().(*arrow.TimestampType).Unit), nil
	case *array.Map:
		from, to := column.ValueOffsets(i)
		out := []any{}
		for at := from; at < to; at++ {
			key, err := valueOf(column.Keys(), int(at))
			if err != nil {
				return nil, err
			}
			value, err := valueOf(column.Items(), int(at))
			if err != nil {
				return nil, err
			}
			out = append(out, queries.Entry{Key: key, Value: value})
		}
		return out, nil
	case *array.List:
		from, to := column.ValueOffsets(i)
		out := []any{}
		for at := from; at < to; at++ {
			v, err := valueOf(column.ListValues(), int(at))
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case *array.Struct:
		out := []any{}
		for f := range column.NumField() {
			v, err := valueOf(column.Field(f), i)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	}
	return nil, fmt.Errorf("an array of type %s is not kept", column.DataType())
}
