package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/render"
	"github.com/cardlake/cardlake/writers/parquet"
)

// groupRows is the rows of a row group: what is in memory beside the file.
const groupRows = 64 << 10

// columnar writes Parquet with the lake's own encoder, which is several times as fast as
// render.Parquet, for answers whose columns are of the lake's types; others it leaves to render.
// size tells how large the file is so far.
func columnar(ctx context.Context, w io.Writer, rows queries.Rows, size *int64) error {
	def, ok := tableOf(rows.Columns())
	if !ok {
		return render.Parquet(ctx, w, rows)
	}
	encoder := parquet.NewEncoder(def, parquet.Config{BloomRows: -1, RowGroupRows: groupRows})
	if err := encoder.Begin(); err != nil {
		return err
	}
	schema := cardlake.ArrowSchema(def)
	builders := make([]builder, len(def.Columns))
	for i, c := range def.Columns {
		builders[i] = newBuilder(c.Type, schema.Field(i).Type)
	}
	row := make([]any, len(builders))
	for last := false; !last; {
		n := int64(0)
		for n < groupRows {
			err := rows.Next(row)
			if last = errors.Is(err, io.EOF); last {
				break
			} else if err != nil {
				return err
			}
			n++
			for i, v := range row {
				if !builders[i].add(v) {
					return fmt.Errorf("column %q: value is a %T", def.Columns[i].Name, v)
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if n == 0 {
			break
		}
		columns := make([]arrow.Array, len(builders))
		fields := schema.Fields()
		for i := range builders {
			columns[i] = builders[i].array()
			fields[i].Type = columns[i].DataType()
		}
		if err := encoder.Add(array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, n)); err != nil {
			return err
		}
		*size = int64(encoder.Size())
	}
	body, _, err := encoder.End()
	if err != nil {
		return err
	}
	_, err = w.Write(body)
	return err
}

// tableOf makes a table of an answer's columns; false if one is of no type of the lake's. Minima
// and maxima are kept of times only: a file's statistics show no token and no amount.
func tableOf(columns []queries.Column) (*cardlake.Table, bool) {
	def := &cardlake.Table{Namespace: "export", Name: "rows"}
	for i, f := range render.Schema(columns).Fields() {
		c := cardlake.Column{ID: i + 1, Name: f.Name, Nullable: true, Tag: cardlake.Sealed}
		switch t := f.Type.(type) {
		case *arrow.StringType:
			c.Type = cardlake.String
		case *arrow.BinaryType:
			c.Type = cardlake.Binary
		case *arrow.BooleanType:
			c.Type = cardlake.Bool
		case *arrow.Int32Type:
			c.Type = cardlake.Int32
		case *arrow.Int64Type:
			c.Type = cardlake.Int64
		case *arrow.Decimal128Type:
			if t.Precision != 18 || t.Scale != 4 {
				return nil, false
			}
			c.Type = cardlake.Decimal18x4
		case *arrow.TimestampType:
			if t.Unit != arrow.Microsecond {
				return nil, false
			}
			if c.Type, c.Tag = cardlake.TimestampTZ, cardlake.Public; t.TimeZone == "" {
				c.Type = cardlake.Timestamp
			}
		default:
			return nil, false
		}
		def.Columns = append(def.Columns, c)
	}
	return def, len(def.Columns) > 0
}

// builder makes arrays of one column's values, one for each row group.
type builder interface {
	// add reports whether the value is of the column's type.
	add(v any) bool
	array() arrow.Array
}

func newBuilder(t cardlake.Type, as arrow.DataType) builder {
	switch t {
	case cardlake.String:
		return &words{codes: array.NewInt32Builder(memory.DefaultAllocator), texts: array.NewStringBuilder(memory.DefaultAllocator), index: map[string]int32{}}
	case cardlake.Binary:
		b := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
		return values[[]byte]{b, b.Append}
	case cardlake.Bool:
		b := array.NewBooleanBuilder(memory.DefaultAllocator)
		return values[bool]{b, b.Append}
	case cardlake.Int32:
		b := array.NewInt32Builder(memory.DefaultAllocator)
		return values[int32]{b, b.Append}
	case cardlake.Int64:
		b := array.NewInt64Builder(memory.DefaultAllocator)
		return values[int64]{b, b.Append}
	case cardlake.Decimal18x4:
		b := array.NewDecimal128Builder(memory.DefaultAllocator, as.(*arrow.Decimal128Type))
		return values[decimal128.Num]{b, b.Append}
	}
	b := array.NewTimestampBuilder(memory.DefaultAllocator, as.(*arrow.TimestampType))
	return values[time.Time]{b, func(t time.Time) { b.Append(arrow.Timestamp(t.UnixMicro())) }}
}

// values is a column of values that are stored as they are.
type values[T any] struct {
	to  array.Builder
	set func(T)
}

func (c values[T]) add(v any) bool {
	if v == nil {
		c.to.AppendNull()
		return true
	}
	t, ok := v.(T)
	if ok {
		c.set(t)
	}
	return ok
}

func (c values[T]) array() arrow.Array { return c.to.NewArray() }

// words is a column of text: codes into a dictionary of the row group's words, or, if the words
// of the row group before did not repeat, the texts themselves.
type words struct {
	codes   *array.Int32Builder
	texts   *array.StringBuilder
	index   map[string]int32
	last    string
	code    int32 // of last, if there is a word
	isPlain bool
}

func (c *words) add(v any) bool {
	if v == nil {
		if c.isPlain {
			c.texts.AppendNull()
		} else {
			c.codes.AppendNull()
		}
		return true
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return false
	case c.isPlain:
		c.texts.Append(s)
		return true
	case len(c.index) > 0 && s == c.last:
		c.codes.Append(c.code)
		return true
	}
	code, known := c.index[s]
	if !known {
		code = int32(len(c.index))
		c.index[s] = code
		c.texts.Append(s)
	}
	c.last, c.code = s, code
	c.codes.Append(code)
	return true
}

func (c *words) array() arrow.Array {
	if c.isPlain {
		return c.texts.NewArray()
	}
	codes, dictionary := c.codes.NewInt32Array(), c.texts.NewStringArray()
	// Once plain, always plain: such columns are ids, whose words do not begin to repeat.
	c.isPlain = codes.Len() >= 1024 && len(c.index) > codes.Len()/4
	clear(c.index)
	c.last = ""
	if dictionary.Len() == 0 { // all NULL: a dictionary has a word
		for range codes.Len() {
			c.texts.AppendNull()
		}
		return c.texts.NewArray()
	}
	return array.NewDictionaryArray(&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}, codes, dictionary)
}
