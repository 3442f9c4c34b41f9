package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/render"
)

// CSV and JSON Lines are written here, byte for byte as package render writes them but twice as
// fast, for columns of plain types; answers with lists, maps and other such columns are left to
// render.

// textBuffer is how much text is written at once.
const textBuffer = 64 << 10

// isPlain reports whether all columns are of types that are written here.
func isPlain(columns []queries.Column) bool {
	for _, c := range columns {
		switch c.Type.ID() {
		case arrow.STRING, arrow.BOOL, arrow.INT32, arrow.INT64, arrow.DECIMAL128, arrow.TIMESTAMP, arrow.DATE32:
		default:
			return false
		}
	}
	return true
}

// eachLine writes a line for each row.
func eachLine(ctx context.Context, w io.Writer, rows queries.Rows, out []byte, line func(b []byte, row []any) ([]byte, error)) error {
	row := make([]any, len(rows.Columns()))
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			_, err = w.Write(out)
			return err
		} else if err != nil {
			return err
		}
		if out, err = line(out, row); err != nil {
			return err
		}
		if len(out) >= textBuffer {
			if _, err := w.Write(out); err != nil {
				return err
			}
			out = out[:0]
		}
	}
}

// csvLines writes RFC 4180 as render.CSV does: NULL is an empty field, the empty text a quoted one.
func csvLines(ctx context.Context, w io.Writer, rows queries.Rows) error {
	columns := rows.Columns()
	if !isPlain(columns) {
		return render.CSV(ctx, w, rows)
	}
	out := make([]byte, 0, textBuffer+8<<10)
	for i, c := range columns {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendField(out, c.Name)
	}
	out = append(out, "\r\n"...)
	return eachLine(ctx, w, rows, out, func(b []byte, row []any) (_ []byte, err error) {
		for i, v := range row {
			if i > 0 {
				b = append(b, ',')
			}
			switch v := v.(type) {
			case nil:
			case string:
				b = appendField(b, v)
			default:
				if b, err = appendPlain(b, columns[i].Type, v); err != nil {
					return nil, fmt.Errorf("column %q: %w", columns[i].Name, err)
				}
			}
		}
		return append(b, "\r\n"...), nil
	})
}

func appendField(b []byte, s string) []byte {
	if s != "" {
		quoted := false
		for i := range len(s) {
			if c := s[i]; c == ',' || c == '"' || c == '\r' || c == '\n' {
				quoted = true
				break
			}
		}
		if !quoted {
			return append(b, s...)
		}
	}
	b = append(b, '"')
	b = append(b, strings.ReplaceAll(s, `"`, `""`)...)
	return append(b, '"')
}

// jsonLines writes one object a line, its values spelled as in render.JSON.
func jsonLines(ctx context.Context, w io.Writer, rows queries.Rows) error {
	columns := rows.Columns()
	if !isPlain(columns) {
		return nestedLines(ctx, w, rows)
	}
	keys := make([][]byte, len(columns))
	for i, f := range render.Schema(columns).Fields() {
		mark := byte(',')
		if i == 0 {
			mark = '{'
		}
		keys[i] = append(appendString([]byte{mark}, f.Name), ':')
	}
	return eachLine(ctx, w, rows, make([]byte, 0, textBuffer+8<<10), func(b []byte, row []any) (_ []byte, err error) {
		for i, v := range row {
			b = append(b, keys[i]...)
			switch v := v.(type) {
			case nil:
				b = append(b, "null"...)
			case string:
				b = appendString(b, v)
			case time.Time:
				b = append(b, '"')
				if b, err = appendPlain(b, columns[i].Type, v); err != nil {
					return nil, err
				}
				b = append(b, '"')
			default:
				if b, err = appendPlain(b, columns[i].Type, v); err != nil {
					return nil, fmt.Errorf("column %q: %w", columns[i].Name, err)
				}
			}
		}
		return append(b, "}\n"...), nil
	})
}

// appendString appends a JSON string as encoding/json writes it without escaping HTML.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(append(b, s[start:i]...), `\ufffd`...)
			case r == '\u2028' || r == '\u2029': // which JavaScript takes for line breaks
				b = append(append(append(b, s[start:i]...), `\u202`...), digits[r&0xf])
			default:
				i += size
				continue
			}
			i += size
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&0xf])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

// appendPlain appends a value that is neither NULL nor text.
func appendPlain(b []byte, typ arrow.DataType, v any) ([]byte, error) {
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(b, v), nil
	case int32:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case decimal128.Num:
		return appendDecimal(b, v, typ.(*arrow.Decimal128Type).Scale), nil
	case time.Time:
		switch typ := typ.(type) {
		case *arrow.Date32Type:
			return v.AppendFormat(b, time.DateOnly), nil
		case *arrow.TimestampType:
			if typ.TimeZone == "" {
				return v.AppendFormat(b, "2006-01-02T15:04:05.999999999"), nil
			}
		}
		return v.AppendFormat(b, time.RFC3339Nano), nil
	}
	return nil, fmt.Errorf("value is a %T", v)
}

// appendDecimal appends a decimal with all of its places.
func appendDecimal(b []byte, n decimal128.Num, scale int32) []byte {
	low := int64(n.LowBits())
	if n.HighBits() != low>>63 || scale < 0 || scale > 18 {
		return append(b, n.ToString(scale)...)
	}
	magnitude := uint64(low)
	if low < 0 {
		b, magnitude = append(b, '-'), -magnitude
	}
	if scale == 0 {
		return strconv.AppendUint(b, magnitude, 10)
	}
	power := uint64(1)
	for range scale {
		_, power = bits.Mul64(power, 10)
	}
	b = append(strconv.AppendUint(b, magnitude/power, 10), '.')
	rest := magnitude % power
	for power /= 10; power > 0; power /= 10 {
		b = append(b, '0'+byte(rest/power))
		rest %= power
	}
	return b
}
