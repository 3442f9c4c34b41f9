package embedded

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/bits"
	"reflect"
	"slices"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/cardlake/cardlake/queries"
)

// NextBatch implements queries.Batches: what the answer's vectors hold is copied, column by
// column. Answers with lists, structs and other types that few have are read by Next.
func (a *answer) NextBatch() (arrow.RecordBatch, error) {
	if a.vectors == nil {
		if err := a.openVectors(); err != nil {
			return nil, err
		}
	}
	chunk := mapping.FetchChunk(*a.result)
	if chunk.Ptr == nil {
		return nil, io.EOF
	}
	defer mapping.DestroyDataChunk(&chunk)
	rows := int(mapping.DataChunkGetSize(chunk))
	columns := make([]arrow.Array, len(a.columns))
	for i, c := range a.columns {
		v := mapping.DataChunkGetVector(chunk, mapping.IdxT(i))
		valid, mask, nulls := validityOf(v, rows)
		buffers, err := a.vectors[i](mapping.VectorGetData(v), rows, valid)
		if err != nil {
			return nil, &queries.Error{Message: fmt.Sprintf("column %q: %v", c.Name, err), Offset: -1}
		}
		data := array.NewData(c.Type, rows, append([]*memory.Buffer{mask}, buffers...), nil, nulls, 0)
		columns[i] = array.MakeFromData(data)
		data.Release()
	}
	return array.NewRecordBatch(a.schema, columns, int64(rows)), nil
}

// openVectors finds how each column is copied.
func (a *answer) openVectors() error {
	if a.result = resultOf(a.rows); a.result == nil {
		return errors.ErrUnsupported
	}
	vectors := make([]vector, len(a.columns))
	for i := range vectors {
		info, err := a.stmt.ColumnTypeInfo(i)
		if err != nil {
			return err
		}
		if vectors[i] = vectorOf(info); vectors[i] == nil {
			return errors.ErrUnsupported
		}
	}
	a.vectors, a.schema = vectors, queries.SchemaOf(a.columns)
	return nil
}

// resultOf returns the driver's handle of an answer, which it does not show: it gives the rows as
// columns only if the whole program is built with a tag of its own. Nil says that the driver does
// not have it where the one that this was written for has.
func resultOf(rows driver.Rows) *mapping.Result {
	v := reflect.ValueOf(rows)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil
	}
	f := v.Elem().FieldByName("res")
	if !f.IsValid() || f.Type() != reflect.TypeFor[mapping.Result]() {
		return nil
	}
	return (*mapping.Result)(f.Addr().UnsafePointer())
}

// validity says which values of a vector are not NULL: a bit each, in words of 64. Nil means all.
type validity []uint64

func (v validity) isNull(row int) bool { return v != nil && v[row/64]>>(row%64)&1 == 0 }

// nulls yields the rows whose value is NULL, of so many.
func (v validity) nulls(rows int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, word := range v {
			for missing := ^word; missing != 0; missing &= missing - 1 {
				row := i*64 + bits.TrailingZeros64(missing)
				if row >= rows || !yield(row) {
					return
				}
			}
		}
	}
}

// validityOf returns the vector's validity, and the same as Arrow has it, with how many are NULL.
func validityOf(v mapping.Vector, rows int) (valid validity, mask *memory.Buffer, nulls int) {
	words := mapping.VectorGetValidity(v)
	if words == nil {
		return nil, nil, 0
	}
	valid = unsafe.Slice((*uint64)(words), (rows+63)/64)
	bytes := arrow.Uint64Traits.CastToBytes(slices.Clone(valid))
	return valid, memory.NewBufferBytes(bytes), rows - bitutil.CountSetBits(bytes, 0, rows)
}

// vector copies a vector of DuckDB's into the buffers of an Arrow array, validity aside. The
// layouts are those of duckdb.h. What lies where a value is NULL is not copied: it can be
// anything, a masked value too.
type vector func(data unsafe.Pointer, rows int, valid validity) ([]*memory.Buffer, error)

// vectorOf returns how a vector of the type is copied, nil for types that are not.
func vectorOf(info duckdb.TypeInfo) vector {
	switch info.InternalType() {
	case duckdb.TYPE_BOOLEAN:
		return booleans
	case duckdb.TYPE_TINYINT, duckdb.TYPE_UTINYINT:
		return fixed(1)
	case duckdb.TYPE_SMALLINT, duckdb.TYPE_USMALLINT:
		return fixed(2)
	case duckdb.TYPE_INTEGER, duckdb.TYPE_UINTEGER, duckdb.TYPE_FLOAT, duckdb.TYPE_DATE:
		return fixed(4)
	case duckdb.TYPE_BIGINT, duckdb.TYPE_UBIGINT, duckdb.TYPE_DOUBLE, duckdb.TYPE_TIME,
		duckdb.TYPE_TIMESTAMP, duckdb.TYPE_TIMESTAMP_S, duckdb.TYPE_TIMESTAMP_MS, duckdb.TYPE_TIMESTAMP_NS, duckdb.TYPE_TIMESTAMP_TZ:
		return fixed(8)
	case duckdb.TYPE_VARCHAR, duckdb.TYPE_BLOB:
		return copyTexts
	case duckdb.TYPE_DECIMAL:
		switch width := info.Details().(*duckdb.DecimalDetails).Width; {
		case width <= 4:
			return decimals[int16]
		case width <= 9:
			return decimals[int32]
		case width <= 18:
			return decimals[int64]
		}
		return fixed(16) // a hugeint has the halves of a decimal128 in the same order
	}
	return nil
}

func fixed(size int) vector {
	return func(data unsafe.Pointer, rows int, valid validity) ([]*memory.Buffer, error) {
		out := slices.Clone(unsafe.Slice((*byte)(data), rows*size))
		for row := range valid.nulls(rows) {
			clear(out[row*size : (row+1)*size])
		}
		return []*memory.Buffer{memory.NewBufferBytes(out)}, nil
	}
}

func booleans(data unsafe.Pointer, rows int, valid validity) ([]*memory.Buffer, error) {
	out := make([]byte, bitutil.BytesForBits(int64(rows)))
	for row, b := range unsafe.Slice((*byte)(data), rows) {
		if b != 0 && !valid.isNull(row) {
			bitutil.SetBit(out, row)
		}
	}
	return []*memory.Buffer{memory.NewBufferBytes(out)}, nil
}

func decimals[T int16 | int32 | int64](data unsafe.Pointer, rows int, valid validity) ([]*memory.Buffer, error) {
	out := make([]decimal128.Num, rows)
	for row, n := range unsafe.Slice((*T)(data), rows) {
		out[row] = decimal128.FromI64(int64(n))
	}
	for row := range valid.nulls(rows) {
		out[row] = decimal128.Num{}
	}
	return []*memory.Buffer{memory.NewBufferBytes(arrow.Decimal128Traits.CastToBytes(out))}, nil
}

// text is duckdb_string_t: its length, and the text itself if that is short, or else its first
// four bytes and where it is.
type text struct {
	length uint32
	short  [shortText]byte
}

const shortText = 12

func (t *text) bytes() []byte {
	if t.length <= shortText {
		return t.short[:t.length]
	}
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&t.short[4])), t.length)
}

func copyTexts(data unsafe.Pointer, rows int, valid validity) ([]*memory.Buffer, error) {
	values := unsafe.Slice((*text)(data), rows)
	offsets, total := make([]int32, rows+1), 0
	for row := range values {
		if !valid.isNull(row) {
			total += int(values[row].length)
		}
		if total > math.MaxInt32 {
			return nil, errors.New("its texts are too long for a batch of rows")
		}
		offsets[row+1] = int32(total)
	}
	out := make([]byte, 0, total)
	for row := range values {
		if !valid.isNull(row) {
			out = append(out, values[row].bytes()...)
		}
	}
	return []*memory.Buffer{memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(offsets)), memory.NewBufferBytes(out)}, nil
}
