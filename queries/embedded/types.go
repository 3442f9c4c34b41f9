package embedded

import (
	"fmt"
	"math/big"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/duckdb/duckdb-go/v2"

	"github.com/cardlake/cardlake/queries"
)

// converter turns the driver's value, never nil, into queries.Column's. A nil converter
// leaves values as they are.
type converter func(v any) (any, error)

// maxDecimalDigits is the precision of decimal128.
const maxDecimalDigits = 38

// typeOf returns the Arrow type of a DuckDB type, and how its values are converted.
func typeOf(info duckdb.TypeInfo) (arrow.DataType, converter, error) {
	switch t := info.InternalType(); t {
	case duckdb.TYPE_SQLNULL:
		return arrow.Null, nil, nil
	case duckdb.TYPE_BOOLEAN:
		return arrow.FixedWidthTypes.Boolean, nil, nil
	case duckdb.TYPE_TINYINT:
		return arrow.PrimitiveTypes.Int8, nil, nil
	case duckdb.TYPE_SMALLINT:
		return arrow.PrimitiveTypes.Int16, nil, nil
	case duckdb.TYPE_INTEGER:
		return arrow.PrimitiveTypes.Int32, nil, nil
	case duckdb.TYPE_BIGINT:
		return arrow.PrimitiveTypes.Int64, nil, nil
	case duckdb.TYPE_UTINYINT:
		return arrow.PrimitiveTypes.Uint8, nil, nil
	case duckdb.TYPE_USMALLINT:
		return arrow.PrimitiveTypes.Uint16, nil, nil
	case duckdb.TYPE_UINTEGER:
		return arrow.PrimitiveTypes.Uint32, nil, nil
	case duckdb.TYPE_UBIGINT:
		return arrow.PrimitiveTypes.Uint64, nil, nil
	case duckdb.TYPE_FLOAT:
		return arrow.PrimitiveTypes.Float32, nil, nil
	case duckdb.TYPE_DOUBLE:
		return arrow.PrimitiveTypes.Float64, nil, nil
	case duckdb.TYPE_VARCHAR, duckdb.TYPE_ENUM:
		return arrow.BinaryTypes.String, nil, nil
	case duckdb.TYPE_BLOB:
		return arrow.BinaryTypes.Binary, nil, nil
	case duckdb.TYPE_DATE:
		return arrow.FixedWidthTypes.Date32, nil, nil
	case duckdb.TYPE_TIME:
		return arrow.FixedWidthTypes.Time64us, nil, nil
	case duckdb.TYPE_TIMESTAMP_S:
		return &arrow.TimestampType{Unit: arrow.Second}, nil, nil
	case duckdb.TYPE_TIMESTAMP_MS:
		return &arrow.TimestampType{Unit: arrow.Millisecond}, nil, nil
	case duckdb.TYPE_TIMESTAMP:
		return &arrow.TimestampType{Unit: arrow.Microsecond}, nil, nil
	case duckdb.TYPE_TIMESTAMP_NS:
		return &arrow.TimestampType{Unit: arrow.Nanosecond}, nil, nil
	case duckdb.TYPE_TIMESTAMP_TZ:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, nil, nil
	case duckdb.TYPE_INTERVAL:
		return arrow.FixedWidthTypes.MonthDayNanoInterval, interval, nil
	case duckdb.TYPE_HUGEINT:
		return &arrow.Decimal128Type{Precision: maxDecimalDigits}, hugeint, nil
	case duckdb.TYPE_UUID:
		return arrow.BinaryTypes.String, uuidText, nil
	case duckdb.TYPE_DECIMAL:
		d := info.Details().(*duckdb.DecimalDetails)
		return &arrow.Decimal128Type{Precision: int32(d.Width), Scale: int32(d.Scale)}, decimal, nil
	case duckdb.TYPE_LIST:
		return listOf(info.Details().(*duckdb.ListDetails).Child)
	case duckdb.TYPE_ARRAY:
		return listOf(info.Details().(*duckdb.ArrayDetails).Child)
	case duckdb.TYPE_STRUCT:
		return structOf(info.Details().(*duckdb.StructDetails))
	case duckdb.TYPE_MAP:
		return mapOf(info.Details().(*duckdb.MapDetails))
	default:
		return nil, nil, fmt.Errorf("a value of DuckDB's type %d cannot be returned", t)
	}
}

func mismatch(v any) error { return fmt.Errorf("DuckDB's driver returned a %T", v) }

func interval(v any) (any, error) {
	i, ok := v.(duckdb.Interval)
	if !ok {
		return nil, mismatch(v)
	}
	const maxMicros = (1<<63 - 1) / 1000
	if i.Micros > maxMicros || i.Micros < -maxMicros {
		return nil, fmt.Errorf("an interval is too long")
	}
	return arrow.MonthDayNanoInterval{Months: i.Months, Days: i.Days, Nanoseconds: i.Micros * 1000}, nil
}

func hugeint(v any) (any, error) {
	b, ok := v.(*big.Int)
	if !ok {
		return nil, mismatch(v)
	}
	if n := decimal128.FromBigInt(b); n.FitsInPrecision(maxDecimalDigits) {
		return n, nil
	}
	return nil, fmt.Errorf("an integer has more than %d digits", maxDecimalDigits)
}

func decimal(v any) (any, error) {
	d, ok := v.(duckdb.Decimal)
	if !ok {
		return nil, mismatch(v)
	}
	return decimal128.FromBigInt(d.Value), nil
}

func uuidText(v any) (any, error) {
	var id duckdb.UUID
	if err := id.Scan(v); err != nil {
		return nil, mismatch(v)
	}
	return id.String(), nil
}

func listOf(child duckdb.TypeInfo) (arrow.DataType, converter, error) {
	typ, convert, err := typeOf(child)
	if err != nil {
		return nil, nil, err
	}
	if convert == nil {
		return arrow.ListOf(typ), nil, nil
	}
	return arrow.ListOf(typ), func(v any) (any, error) {
		list, ok := v.([]any)
		if !ok {
			return nil, mismatch(v)
		}
		out := make([]any, len(list))
		for i, e := range list {
			if out[i], err = element(convert, e); err != nil {
				return nil, err
			}
		}
		return out, nil
	}, nil
}

func element(convert converter, v any) (any, error) {
	if v == nil || convert == nil {
		return v, nil
	}
	return convert(v)
}

func structOf(d *duckdb.StructDetails) (arrow.DataType, converter, error) {
	fields := make([]arrow.Field, len(d.Entries))
	converters := make([]converter, len(d.Entries))
	for i, e := range d.Entries {
		typ, convert, err := typeOf(e.Info())
		if err != nil {
			return nil, nil, fmt.Errorf("field %q: %w", e.Name(), err)
		}
		fields[i] = arrow.Field{Name: e.Name(), Type: typ, Nullable: true}
		converters[i] = convert
	}
	return arrow.StructOf(fields...), func(v any) (any, error) {
		m, ok := v.(map[string]any)
		if !ok || len(m) != len(fields) {
			return nil, mismatch(v)
		}
		out := make([]any, len(fields))
		for i, f := range fields {
			var err error
			if out[i], err = element(converters[i], m[f.Name]); err != nil {
				return nil, err
			}
		}
		return out, nil
	}, nil
}

func mapOf(d *duckdb.MapDetails) (arrow.DataType, converter, error) {
	key, convertKey, err := typeOf(d.Key)
	if err != nil {
		return nil, nil, err
	}
	value, convertValue, err := typeOf(d.Value)
	if err != nil {
		return nil, nil, err
	}
	return arrow.MapOf(key, value), func(v any) (any, error) {
		m, ok := v.(duckdb.OrderedMap)
		if !ok {
			return nil, mismatch(v)
		}
		keys, values := m.Keys(), m.Values()
		out := make([]any, len(keys))
		for i := range keys {
			var e queries.Entry
			var err error
			if e.Key, err = element(convertKey, keys[i]); err != nil {
				return nil, err
			}
			if e.Value, err = element(convertValue, values[i]); err != nil {
				return nil, err
			}
			out[i] = e
		}
		return out, nil
	}, nil
}
