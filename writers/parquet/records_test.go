package parquet_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	pq "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/cardlake/cardlake"
)

// everything is a table with each type required and nullable, and columns whose names and
// tags the encoder treats in their own way.
var everything = &cardlake.Table{
	Namespace: "cards", Name: "everything", Time: "event_time",
	Columns: []cardlake.Column{
		{ID: 1, Name: "event_id", Type: cardlake.String, Tag: cardlake.Public},
		{ID: 2, Name: "card_token", Type: cardlake.String, Tag: cardlake.Identifier},
		{ID: 3, Name: "customer_id", Type: cardlake.String, Nullable: true, Tag: cardlake.Identifier},
		{ID: 4, Name: "event_time", Type: cardlake.TimestampTZ, Tag: cardlake.Public},
		{ID: 5, Name: "mcc", Type: cardlake.String, Nullable: true, Tag: cardlake.Public},
		{ID: 6, Name: "tenant", Type: cardlake.String, Tag: cardlake.Public},
		{ID: 7, Name: "note", Type: cardlake.String, Nullable: true, Tag: cardlake.Public},
		{ID: 8, Name: "payload", Type: cardlake.Binary, Tag: cardlake.Sealed},
		{ID: 9, Name: "payload_n", Type: cardlake.Binary, Nullable: true, Tag: cardlake.Sealed},
		{ID: 10, Name: "flag", Type: cardlake.Bool, Tag: cardlake.Public},
		{ID: 11, Name: "flag_n", Type: cardlake.Bool, Nullable: true, Tag: cardlake.Public},
		{ID: 12, Name: "small", Type: cardlake.Int32, Tag: cardlake.Public},
		{ID: 13, Name: "small_n", Type: cardlake.Int32, Nullable: true, Tag: cardlake.Public},
		{ID: 14, Name: "large", Type: cardlake.Int64, Tag: cardlake.Public},
		{ID: 15, Name: "large_n", Type: cardlake.Int64, Nullable: true, Tag: cardlake.Public},
		{ID: 16, Name: "local_time", Type: cardlake.Timestamp, Nullable: true, Tag: cardlake.Public},
		{ID: 17, Name: "amount", Type: cardlake.Decimal18x4, Tag: cardlake.MoneyTag},
		{ID: 18, Name: "amount_n", Type: cardlake.Decimal18x4, Nullable: true, Tag: cardlake.MoneyTag},
	},
}

// shape says what a random record is like.
type shape struct {
	rows     int
	nulls    float64 // part of the nullable values
	words    int     // distinct texts, 0 for any number
	text     int     // about the bytes of a text at most; of a word always
	isCoded  bool    // text comes as dictionaries
	isSliced bool    // the arrays are parts of larger ones
	isSmooth bool    // numbers rise by little, booleans and texts come in runs
}

// random returns a record of the table everything and its values: nil, string, int64 or bool.
// Decimals are their unscaled values, times are microseconds.
func random(r *rand.Rand, s shape) (arrow.RecordBatch, [][]any) {
	rows, skip := s.rows, 0
	if s.isSliced {
		skip = 1 + r.IntN(20)
		rows += skip + 1 + r.IntN(20)
	}
	schema := cardlake.ArrowSchema(everything)
	fields := schema.Fields()
	var arrays []arrow.Array
	var columns [][]any
	for i, c := range everything.Columns {
		values := make([]any, rows)
		word := func() string {
			if s.words > 0 {
				return fmt.Sprintf("wörd %d", r.IntN(s.words)) + strings.Repeat("z", s.text)
			}
			return strings.Repeat("aé", r.IntN(3)) + string(rune('a'+r.IntN(26))) + strings.Repeat("z", r.IntN(s.text+1))
		}
		last := int64(1_772_452_800_000_000)
		for row := range values {
			if c.Nullable && r.Float64() < s.nulls {
				continue
			}
			if s.isSmooth && row%997 > 0 && values[row-1] != nil && c.Type != cardlake.Int64 && c.Type != cardlake.TimestampTZ {
				values[row] = values[row-1]
				continue
			}
			last += int64(r.IntN(5000))
			switch c.Type {
			case cardlake.String, cardlake.Binary:
				if values[row] = word(); r.IntN(10) == 0 {
					values[row] = ""
				}
			case cardlake.Bool:
				values[row] = r.IntN(3) == 0
			case cardlake.Int32:
				values[row] = int64(int32(r.Uint32() >> (r.IntN(4) * 8)))
			case cardlake.Int64:
				if values[row] = int64(r.Uint64() >> (r.IntN(8) * 8)); s.isSmooth {
					values[row] = last
				}
			case cardlake.Timestamp, cardlake.TimestampTZ:
				values[row] = last
			case cardlake.Decimal18x4:
				values[row] = r.Int64N(2e18-1) - (1e18 - 1)
			}
		}
		a := arrayOf(fields[i].Type, values, s.isCoded && c.Type == cardlake.String, r)
		if s.isSliced {
			a = array.NewSlice(a, int64(skip), int64(skip+s.rows))
			values = values[skip : skip+s.rows]
		}
		fields[i].Type = a.DataType()
		arrays, columns = append(arrays, a), append(columns, values)
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), arrays, int64(s.rows)), columns
}

// arrayOf makes an array of the values. A dictionary has words in no order and one that no
// row uses, and codes that mean nothing in place of nulls.
func arrayOf(dt arrow.DataType, values []any, isCoded bool, r *rand.Rand) arrow.Array {
	if !isCoded {
		b := array.NewBuilder(memory.DefaultAllocator, dt)
		for _, v := range values {
			appendTo(b, v)
		}
		return b.NewArray()
	}
	codes, words := map[string]int32{"unused": 0}, []any{"unused"}
	b := array.NewInt32Builder(memory.DefaultAllocator)
	for _, v := range values {
		s, ok := v.(string)
		if !ok {
			b.AppendNull()
			continue
		}
		code, ok := codes[s]
		if !ok {
			code = int32(len(words))
			codes[s], words = code, append(words, s)
		}
		b.Append(code)
	}
	indices := b.NewInt32Array()
	for i := range indices.Len() {
		if indices.IsNull(i) {
			indices.Int32Values()[i] = int32(r.Uint32())
		}
	}
	return array.NewDictionaryArray(&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: dt}, indices, arrayOf(dt, words, false, r))
}

func appendTo(b array.Builder, v any) {
	if v == nil {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.StringBuilder:
		b.Append(v.(string))
	case *array.BinaryBuilder:
		b.Append([]byte(v.(string)))
	case *array.BooleanBuilder:
		b.Append(v.(bool))
	case *array.Int32Builder:
		b.Append(int32(v.(int64)))
	case *array.Int64Builder:
		b.Append(v.(int64))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(v.(int64)))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(v.(int64)))
	default:
		panic(fmt.Sprintf("%T", b))
	}
}

// readArrow reads a file's columns with arrow-go.
func readArrow(t testing.TB, body []byte, props *pq.ReaderProperties) ([][]any, error) {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(body), file.WithReadProps(props))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	table, err := fr.ReadTable(context.Background())
	if err != nil {
		return nil, err
	}
	defer table.Release()
	columns := make([][]any, table.NumCols())
	for i := range columns {
		columns[i] = []any{}
		for _, chunk := range table.Column(i).Data().Chunks() {
			for row := range chunk.Len() {
				columns[i] = append(columns[i], arrowValue(chunk, row))
			}
		}
	}
	return columns, nil
}

func arrowValue(a arrow.Array, row int) any {
	if a.IsNull(row) {
		return nil
	}
	switch a := a.(type) {
	case *array.String:
		return a.Value(row)
	case *array.Binary:
		return string(a.Value(row))
	case *array.Boolean:
		return a.Value(row)
	case *array.Int32:
		return int64(a.Value(row))
	case *array.Int64:
		return a.Value(row)
	case *array.Timestamp:
		return int64(a.Value(row))
	case *array.Decimal128:
		return int64(a.Value(row).LowBits())
	case *array.Dictionary:
		return arrowValue(a.Dictionary(), a.GetValueIndex(row))
	}
	return math.NaN() // equal to nothing
}
