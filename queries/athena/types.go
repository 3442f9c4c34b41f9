package athena

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

// column is one of an answer, and how its values come.
type column struct {
	queries.Column
	fromText func(string) (any, error)
	// fromParquet is nil for a type that Athena does not unload as what it is: such a column is
	// unloaded as text ("UNLOAD", considerations, and "CTAS" on time stamps).
	fromParquet func(parquet.Value) (any, error)
	kind        parquet.Kind // that fromParquet takes; of decimals any
}

// errValue says that a value is not of its column's type. It does not say which.
var errValue = errors.New("a value is not of its type")

const (
	maxDecimalDigits = 38
	dateLayout       = time.DateOnly
	stampLayout      = time.DateTime // a fraction of a second is taken without being named
)

// columnsOf returns how the values of a statement's columns come, in the types that the dialect
// gives them whatever Athena calls them.
func columnsOf(described []queries.Column) ([]column, error) {
	out := make([]column, len(described))
	for i, d := range described {
		var ok bool
		if out[i], ok = columnOf(d.Type); !ok {
			return nil, &queries.Error{
				Message: fmt.Sprintf("column %q: values of type %s are not read from Athena", d.Name, d.Type),
				Hint:    "UNNEST it, or cast it to VARCHAR", Offset: -1,
			}
		}
		out[i].Column = d
	}
	return out, nil
}

func columnOf(t arrow.DataType) (column, bool) {
	switch t.ID() {
	case arrow.BOOL:
		return column{fromText: parseBool, kind: parquet.Boolean, fromParquet: func(v parquet.Value) (any, error) { return v.Boolean(), nil }}, true
	case arrow.INT8:
		return integer(8, parquet.Int32, func(n int64) any { return int8(n) }), true
	case arrow.INT16:
		return integer(16, parquet.Int32, func(n int64) any { return int16(n) }), true
	case arrow.INT32:
		return integer(32, parquet.Int32, func(n int64) any { return int32(n) }), true
	case arrow.INT64:
		return integer(64, parquet.Int64, func(n int64) any { return n }), true
	case arrow.FLOAT64:
		return column{fromText: parseDouble, kind: parquet.Double, fromParquet: func(v parquet.Value) (any, error) { return v.Double(), nil }}, true
	case arrow.DECIMAL128:
		d := t.(*arrow.Decimal128Type)
		return column{
			fromText:    func(s string) (any, error) { return parseDecimal(s, d.Precision, d.Scale) },
			kind:        anyKind,
			fromParquet: func(v parquet.Value) (any, error) { return unscaled(v, d.Precision) },
		}, true
	case arrow.STRING:
		return column{
			fromText: func(s string) (any, error) { return s, nil },
			kind:     parquet.ByteArray, fromParquet: func(v parquet.Value) (any, error) { return string(v.ByteArray()), nil },
		}, true
	case arrow.BINARY:
		return column{fromText: parseBinary, kind: parquet.ByteArray, fromParquet: func(v parquet.Value) (any, error) { return append([]byte{}, v.ByteArray()...), nil }}, true
	case arrow.DATE32:
		return column{
			fromText: func(s string) (any, error) { return parseTime(dateLayout, s) },
			kind:     parquet.Int32, fromParquet: func(v parquet.Value) (any, error) { return cardlake.Day(v.Int32()).Time(), nil },
		}, true
	case arrow.TIMESTAMP:
		if t.(*arrow.TimestampType).TimeZone != "" {
			return column{fromText: parseInstant}, true
		}
		return column{fromText: func(s string) (any, error) { return parseTime(stampLayout, s) }}, true
	}
	return column{}, false
}

func integer(bits int, kind parquet.Kind, convert func(int64) any) column {
	return column{
		fromText: func(s string) (any, error) {
			n, err := strconv.ParseInt(s, 10, bits)
			if err != nil {
				return nil, errValue
			}
			return convert(n), nil
		},
		kind: kind,
		fromParquet: func(v parquet.Value) (any, error) {
			n := v.Int64()
			if kind == parquet.Int32 {
				n = int64(v.Int32())
			}
			if n>>(bits-1) != 0 && n>>(bits-1) != -1 {
				return nil, errValue
			}
			return convert(n), nil
		},
	}
}

// anyKind stands for a physical type that depends on the column.
const anyKind parquet.Kind = -1

func parseBool(s string) (any, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return nil, errValue
}

func parseDouble(s string) (any, error) {
	f, err := strconv.ParseFloat(s, 64) // Infinity and NaN too
	if err != nil {
		return nil, errValue
	}
	return f, nil
}

// parseDecimal takes digits with a point and as many digits behind it as the scale has, at most.
func parseDecimal(s string, precision, scale int32) (any, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > int(scale) {
		return nil, errValue
	}
	digits := whole + fraction + strings.Repeat("0", int(scale)-len(fraction))
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok || whole == "" || len(digits) > maxDecimalDigits+2 || strings.ContainsAny(fraction, "+-_") || strings.Contains(whole, "_") {
		return nil, errValue
	}
	return decimalOf(n, precision)
}

func decimalOf(n *big.Int, precision int32) (any, error) {
	if n.BitLen() > 127 {
		return nil, errValue
	}
	d := decimal128.FromBigInt(n)
	if !d.FitsInPrecision(precision) {
		return nil, errValue
	}
	return d, nil
}

// unscaled reads a decimal's number, which is big-endian where it is bytes (Parquet format,
// "DECIMAL").
func unscaled(v parquet.Value, precision int32) (any, error) {
	switch v.Kind() {
	case parquet.Int32:
		return decimalOf(big.NewInt(int64(v.Int32())), precision)
	case parquet.Int64:
		return decimalOf(big.NewInt(v.Int64()), precision)
	case parquet.ByteArray, parquet.FixedLenByteArray:
		b := v.ByteArray()
		n := new(big.Int).SetBytes(b)
		if len(b) > 0 && b[0] >= 0x80 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(b)*8)))
		}
		return decimalOf(n, precision)
	}
	return nil, errValue
}

// parseBinary reads bytes in hexadecimal with a space between them, as GetQueryResults gives them.
func parseBinary(s string) (any, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		return nil, errValue
	}
	return b, nil
}

func parseTime(layout, s string) (any, error) {
	t, err := time.Parse(layout, s)
	if err != nil {
		return nil, errValue
	}
	return t, nil
}

// parseInstant reads a time with a zone: UTC or an offset. A region's name is refused, because a
// reading of its clocks can be two instants.
func parseInstant(s string) (any, error) {
	at := strings.LastIndexByte(s, ' ')
	if at < 0 {
		return nil, errValue
	}
	if zone := s[at+1:]; zone == "UTC" || zone == "Z" {
		return parseTime(stampLayout, s[:at])
	}
	t, err := time.Parse(stampLayout+" -07:00", s)
	if err != nil {
		return nil, errValue
	}
	return t.UTC(), nil
}
