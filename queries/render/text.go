package render

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake/queries"
)

// appendText appends a value that is not NULL.
func appendText(b []byte, typ arrow.DataType, v any) []byte {
	switch v := v.(type) {
	case string:
		return append(b, v...)
	case []byte:
		return hex.AppendEncode(append(b, `\x`...), v)
	case time.Time:
		return appendTime(b, typ, v)
	case arrow.MonthDayNanoInterval:
		return appendInterval(b, v)
	case float32:
		return appendFloat(b, float64(v), 32)
	case float64:
		return appendFloat(b, v, 64)
	}
	return appendJSON(b, typ, v)
}

func appendTime(b []byte, typ arrow.DataType, t time.Time) []byte {
	switch typ := typ.(type) {
	case *arrow.Date32Type:
		return t.AppendFormat(b, time.DateOnly)
	case *arrow.Time64Type:
		return t.AppendFormat(b, "15:04:05.999999")
	case *arrow.TimestampType:
		if typ.TimeZone == "" {
			return t.AppendFormat(b, "2006-01-02T15:04:05.999999999")
		}
	}
	return t.AppendFormat(b, time.RFC3339Nano)
}

// appendInterval writes ISO 8601's duration, each part with its own sign: P1M-2DT3.5S.
func appendInterval(b []byte, v arrow.MonthDayNanoInterval) []byte {
	b = append(b, 'P')
	if v.Months != 0 {
		b = append(strconv.AppendInt(b, int64(v.Months), 10), 'M')
	}
	if v.Days != 0 {
		b = append(strconv.AppendInt(b, int64(v.Days), 10), 'D')
	}
	if v.Nanoseconds == 0 {
		if v.Months == 0 && v.Days == 0 {
			b = append(b, "T0S"...)
		}
		return b
	}
	b = append(b, 'T')
	seconds, nanos := v.Nanoseconds/1e9, v.Nanoseconds%1e9
	if v.Nanoseconds < 0 {
		b, seconds, nanos = append(b, '-'), -seconds, -nanos
	}
	b = strconv.AppendInt(b, seconds, 10)
	if nanos != 0 {
		b = append(b, strings.TrimRight(fmt.Sprintf(".%09d", nanos), "0")...)
	}
	return append(b, 'S')
}

// appendJSON appends a value as JSON: numbers as numbers, also decimals and integers past
// 2^53; what is no number in JSON (NaN, infinity) and all else as strings; bytes in base64; a
// map as an object if its keys are strings, else as a list of {"key", "value"}.
func appendJSON(b []byte, typ arrow.DataType, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int8:
		return strconv.AppendInt(b, int64(v), 10)
	case int16:
		return strconv.AppendInt(b, int64(v), 10)
	case int32:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint8:
		return strconv.AppendUint(b, uint64(v), 10)
	case uint16:
		return strconv.AppendUint(b, uint64(v), 10)
	case uint32:
		return strconv.AppendUint(b, uint64(v), 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float32:
		return appendJSONFloat(b, float64(v), 32)
	case float64:
		return appendJSONFloat(b, v, 64)
	case decimal128.Num:
		return append(b, v.ToString(typ.(*arrow.Decimal128Type).Scale)...)
	case string:
		return appendString(b, v)
	case []byte:
		b = base64.StdEncoding.AppendEncode(append(b, '"'), v)
		return append(b, '"')
	case []any:
		return appendNested(b, typ, v)
	}
	b = appendText(append(b, '"'), typ, v)
	return append(b, '"')
}

func appendJSONFloat(b []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(appendFloat(append(b, '"'), f, bits), '"')
	}
	return appendFloat(b, f, bits)
}

// appendFloat writes the fewest digits that read back as f, with an exponent when it is very
// large or small, as ECMAScript does.
func appendFloat(b []byte, f float64, bits int) []byte {
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(b, f, 'e', -1, bits)
	}
	return strconv.AppendFloat(b, f, 'f', -1, bits)
}

func appendString(b []byte, s string) []byte {
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return append(b, strings.TrimSuffix(text.String(), "\n")...)
}

func appendNested(b []byte, typ arrow.DataType, v []any) []byte {
	switch typ := typ.(type) {
	case *arrow.StructType:
		b = append(b, '{')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, typ.Field(i).Name), ':')
			b = appendJSON(b, typ.Field(i).Type, e)
		}
		return append(b, '}')
	case *arrow.MapType:
		return appendMap(b, typ, v)
	}
	elem := typ.(*arrow.ListType).Elem()
	b = append(b, '[')
	for i, e := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, elem, e)
	}
	return append(b, ']')
}

func appendMap(b []byte, typ *arrow.MapType, v []any) []byte {
	asObject := typ.KeyType().ID() == arrow.STRING
	if asObject {
		b = append(b, '{')
	} else {
		b = append(b, '[')
	}
	for i, e := range v {
		if i > 0 {
			b = append(b, ',')
		}
		e := e.(queries.Entry)
		if asObject {
			b = append(appendJSON(b, typ.KeyType(), e.Key), ':')
			b = appendJSON(b, typ.ItemType(), e.Value)
			continue
		}
		b = appendJSON(append(b, `{"key":`...), typ.KeyType(), e.Key)
		b = appendJSON(append(b, `,"value":`...), typ.ItemType(), e.Value)
		b = append(b, '}')
	}
	if asObject {
		return append(b, '}')
	}
	return append(b, ']')
}
