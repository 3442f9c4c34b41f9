package cardlake

import (
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// ArrowSchema returns the table's schema in Arrow: its columns in order, required or
// nullable, each with its Iceberg field id in the metadata under the key that Parquet
// libraries read it from.
func ArrowSchema(def *Table) *arrow.Schema {
	fields := make([]arrow.Field, len(def.Columns))
	for i, c := range def.Columns {
		fields[i] = arrow.Field{
			Name: c.Name, Type: c.Type.arrow(), Nullable: c.Nullable,
			Metadata: arrow.NewMetadata([]string{"PARQUET:field_id"}, []string{strconv.Itoa(c.ID)}),
		}
	}
	return arrow.NewSchema(fields, nil)
}

func (t Type) arrow() arrow.DataType {
	switch t {
	case Binary:
		return arrow.BinaryTypes.Binary
	case Bool:
		return arrow.FixedWidthTypes.Boolean
	case Int32:
		return arrow.PrimitiveTypes.Int32
	case Int64:
		return arrow.PrimitiveTypes.Int64
	case Timestamp:
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	case TimestampTZ:
		return arrow.FixedWidthTypes.Timestamp_us
	case Decimal18x4:
		return &arrow.Decimal128Type{Precision: 18, Scale: 4}
	}
	return arrow.BinaryTypes.String
}

func dictionaryOf(values arrow.DataType) *arrow.DictionaryType {
	return &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: values}
}

// rows is what the batches of all tables share: an accumulator for each column of the table,
// and the order of the table's time.
type rows struct {
	schema  *arrow.Schema // as the records have it
	types   []arrow.DataType
	columns []accumulator // as the table's columns
	times   *fixed[int64] // the accumulator of the table's time column
	width   int           // bytes a row takes, beside its text
	text    int64         // bytes of text
	min     int64
	max     int64
	isMixed bool // a row is earlier than the one before
	order   []int32
}

// newRows takes an accumulator for each column, in the table's order.
func newRows(def *Table, times *fixed[int64], columns []accumulator) rows {
	plain := ArrowSchema(def)
	fields := plain.Fields()
	r := rows{columns: columns, times: times}
	for i := range fields {
		r.types = append(r.types, fields[i].Type)
		if _, ok := columns[i].(*words); ok {
			fields[i].Type = dictionaryOf(fields[i].Type)
		}
		r.width += columns[i].width()
	}
	r.schema = arrow.NewSchema(fields, nil)
	return r
}

// note records the time of a row that is about to be appended.
func (r *rows) note(t int64) {
	if n := len(r.times.values); n == 0 {
		r.min, r.max = t, t
	} else if t < r.times.values[n-1] {
		r.isMixed = true
	}
	r.min, r.max = min(r.min, t), max(r.max, t)
}

// Len returns the number of rows.
func (r *rows) Len() int { return len(r.times.values) }

// Bytes returns about how much memory the rows take.
func (r *rows) Bytes() int64 { return int64(r.Len()*r.width) + r.text }

// TimeRange returns the least and the greatest value of the table's time column, in
// microseconds since the epoch; zeros if there is no row.
func (r *rows) TimeRange() (min, max int64) { return r.min, r.max }

// Record returns the rows in the order of the table's time; rows of the same time stay in
// the order in which they came. The schema is ArrowSchema's, but for columns whose values
// repeat, which are dictionaries of strings with int32 codes.
//
// The record shares the batch's memory: it is valid until the next Append, Record or Reset,
// whichever comes first. Releasing it is not necessary.
func (r *rows) Record() (arrow.RecordBatch, error) {
	if r.isMixed {
		r.order = r.order[:0]
		for i := range r.Len() {
			r.order = append(r.order, int32(i))
		}
		times := r.times.values
		slices.SortStableFunc(r.order, func(a, b int32) int {
			switch {
			case times[a] < times[b]:
				return -1
			case times[a] > times[b]:
				return 1
			}
			return 0
		})
		for _, c := range r.columns {
			c.permute(r.order)
		}
		r.isMixed = false
	}
	arrays := make([]arrow.Array, len(r.columns))
	for i, c := range r.columns {
		arrays[i] = c.array(r.types[i])
	}
	record := array.NewRecordBatch(r.schema, arrays, int64(r.Len()))
	for _, a := range arrays {
		a.Release()
	}
	return record, nil
}

// Reset removes all rows and keeps the memory for the next ones.
func (r *rows) Reset() {
	for _, c := range r.columns {
		c.reset()
	}
	r.text, r.min, r.max, r.isMixed = 0, 0, 0, false
}
