package trino

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// typeNames are Trino's names of the types of columns.
var typeNames = map[arrow.Type]string{
	arrow.BOOL: "BOOLEAN", arrow.INT8: "TINYINT", arrow.INT16: "SMALLINT", arrow.INT32: "INTEGER", arrow.INT64: "BIGINT",
	arrow.FLOAT64: "DOUBLE", arrow.STRING: "VARCHAR", arrow.BINARY: "VARBINARY", arrow.DATE32: "DATE",
}

// matches reports whether Trino's type of a column is the one that the answer has.
func matches(t arrow.DataType, name string, precision, scale int64) bool {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return name == "DECIMAL" && precision == int64(t.Precision) && scale == int64(t.Scale)
	case *arrow.TimestampType:
		if t.TimeZone != "" {
			return name == "TIMESTAMP WITH TIME ZONE"
		}
		return name == "TIMESTAMP"
	case *arrow.ListType:
		return strings.HasPrefix(name, "ARRAY(")
	}
	return typeNames[t.ID()] == name
}

func mismatch(t arrow.DataType, v any) error {
	return fmt.Errorf("the client returned a %T for %s", v, t)
}

// convert turns a value of the client into queries.Column's. Elements of lists come as JSON has
// them.
func convert(t arrow.DataType, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch t := t.(type) {
	case *arrow.BooleanType, *arrow.StringType, *arrow.BinaryType:
		return v, nil
	case *arrow.Int8Type:
		i, err := whole(t, v)
		return int8(i), err
	case *arrow.Int16Type:
		i, err := whole(t, v)
		return int16(i), err
	case *arrow.Int32Type:
		i, err := whole(t, v)
		return int32(i), err
	case *arrow.Int64Type:
		return whole(t, v)
	case *arrow.Float64Type:
		switch v := v.(type) {
		case float64:
			return v, nil
		case json.Number:
			return v.Float64()
		case string: // NaN, Infinity, -Infinity
			return strconv.ParseFloat(v, 64)
		}
	case *arrow.Decimal128Type:
		if s, ok := v.(string); ok {
			return unscaled(t, s)
		}
	case *arrow.Date32Type, *arrow.TimestampType:
		switch v := v.(type) {
		case time.Time:
			return v.UTC(), nil
		case string:
			return parseTime(v)
		}
	case *arrow.ListType:
		list, ok := v.([]any)
		if !ok {
			break
		}
		out := make([]any, len(list))
		for i, e := range list {
			var err error
			if out[i], err = convert(t.Elem(), e); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, mismatch(t, v)
}

func whole(t arrow.DataType, v any) (int64, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case json.Number:
		return v.Int64()
	}
	return 0, mismatch(t, v)
}

// unscaled reads a decimal, which Trino writes with all the digits of its scale.
func unscaled(t *arrow.Decimal128Type, s string) (decimal128.Num, error) {
	digits, fraction, _ := strings.Cut(s, ".")
	if len(fraction) != int(t.Scale) {
		return decimal128.Num{}, fmt.Errorf("a decimal has %d digits after the point, not %d", len(fraction), t.Scale)
	}
	i, ok := new(big.Int).SetString(digits+fraction, 10)
	if !ok {
		return decimal128.Num{}, fmt.Errorf("a decimal is not a number")
	}
	n := decimal128.FromBigInt(i)
	if !n.FitsInPrecision(t.Precision) {
		return decimal128.Num{}, fmt.Errorf("a decimal has more than %d digits", t.Precision)
	}
	return n, nil
}

// parseTime reads a date, a timestamp or an instant as Trino writes it in JSON.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02", "2006-01-02 15:04:05.999999", "2006-01-02 15:04:05.999999 MST"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("a time is not written as Trino writes it")
}
