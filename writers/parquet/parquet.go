// Package parquet turns the columns of a batch into one Parquet file in memory, and reads
// back what a restarted worker needs of one.
//
// The files are what every reader of the format understands: version 2.6 logical types, data
// pages of version 1, PLAIN and dictionary encoding, zstd. Minima and maxima are written
// only for columns that are public and either numbers, times or one of a few words: a file's
// statistics never show a token, a truncated card number or an amount.
package parquet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	pq "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/cardlake/cardlake"
)

// Config tunes an [Encoder]. The zero value is right for most uses.
type Config struct {
	// Level is the zstd level, default 1.
	Level int
	// RowGroupRows is the most rows of one row group, default 1 Mi.
	RowGroupRows int64
}

// boundedText are the public text columns of few distinct values, which get statistics.
var boundedText = []string{
	"event_type", "tenant", "region", "network", "product", "currency", "billing_currency", "mcc", "merchant_country",
	"channel", "entry_mode", "response_code", "decline_reason", "reason",
}

// writeBatch is how many values go to a column writer at once: large, since arrow-go
// allocates for each such step, small enough that pages keep to their size.
const writeBatch = 16 << 10

// Encoder writes records of one table as Parquet files. It reuses its memory, so it is not
// safe for concurrent use.
type Encoder struct {
	def    *cardlake.Table
	cfg    Config
	root   *schema.GroupNode
	props  *pq.WriterProperties
	out    bytes.Buffer
	levels []int16 // definition levels of a nullable column
	ones   []int16 // those of one without nulls
	ints   []int64 // decimals as Parquet stores them
}

// NewEncoder returns an encoder for the table.
func NewEncoder(def *cardlake.Table, cfg Config) *Encoder {
	if cfg.Level == 0 {
		cfg.Level = 1
	}
	if cfg.RowGroupRows <= 0 {
		cfg.RowGroupRows = 1 << 20
	}
	e := &Encoder{def: def, cfg: cfg}
	options := []pq.WriterProperty{
		pq.WithCreatedBy("cardlake " + cardlake.Version),
		pq.WithVersion(pq.V2_6),
		pq.WithDataPageVersion(pq.DataPageV1),
		pq.WithCompression(compress.Codecs.Zstd),
		pq.WithCompressionLevel(cfg.Level),
		pq.WithBatchSize(writeBatch),
		pq.WithDictionaryDefault(false),
		pq.WithStats(false),
	}
	fields := make(schema.FieldList, len(def.Columns))
	for i, c := range def.Columns {
		fields[i] = node(c)
		if c.Tag == cardlake.Public && (c.Type != cardlake.String && c.Type != cardlake.Binary || slices.Contains(boundedText, c.Name)) {
			options = append(options, pq.WithStatsFor(c.Name, true))
		}
		if c.Type == cardlake.String {
			// Used where the record brings a dictionary.
			options = append(options, pq.WithDictionaryFor(c.Name, true), pq.WithDictionaryCostFallbackFor(c.Name, false))
		}
		if c.Name == def.Time {
			options = append(options, pq.WithSortingColumns([]pq.SortingColumn{{ColumnIdx: int32(i)}}))
		}
	}
	e.root = schema.MustGroup(schema.NewGroupNode("schema", pq.Repetitions.Required, fields, -1))
	e.props = pq.NewWriterProperties(options...)
	return e
}

// node returns the column's place in the Parquet schema. Decimals are INT64, which Iceberg
// requires up to a precision of 18.
func node(c cardlake.Column) schema.Node {
	physical, logical := pq.Types.ByteArray, schema.LogicalType(schema.NoLogicalType{})
	switch c.Type {
	case cardlake.String:
		logical = schema.StringLogicalType{}
	case cardlake.Bool:
		physical = pq.Types.Boolean
	case cardlake.Int32:
		physical = pq.Types.Int32
	case cardlake.Int64:
		physical = pq.Types.Int64
	case cardlake.Timestamp, cardlake.TimestampTZ:
		physical, logical = pq.Types.Int64, schema.NewTimestampLogicalTypeForce(c.Type == cardlake.TimestampTZ, schema.TimeUnitMicros)
	case cardlake.Decimal18x4:
		physical, logical = pq.Types.Int64, schema.NewDecimalLogicalType(18, 4)
	}
	repetition := pq.Repetitions.Required
	if c.Nullable {
		repetition = pq.Repetitions.Optional
	}
	return schema.MustPrimitive(schema.NewPrimitiveNodeLogical(c.Name, repetition, logical, physical, -1, int32(c.ID)))
}

// Encode writes the record as one file and returns it with the offsets of its row groups.
// The record has the table's columns in order, each plain or as a dictionary, and is sorted
// by the table's time. The body is the encoder's memory, valid until the next Encode.
func (e *Encoder) Encode(rec arrow.RecordBatch) (body []byte, splitOffsets []int64, err error) {
	defer recovered("write parquet", &err)
	if err := e.check(rec); err != nil {
		return nil, nil, fmt.Errorf("write parquet: %w", err)
	}
	e.out.Reset()
	w, err := file.NewParquetWriterWithError(&e.out, e.root, file.WithWriterProps(e.props))
	if err != nil {
		return nil, nil, fmt.Errorf("write parquet: %w", err)
	}
	for from := int64(0); from < rec.NumRows(); from += e.cfg.RowGroupRows {
		part := rec
		if from > 0 || rec.NumRows() > e.cfg.RowGroupRows {
			part = rec.NewSlice(from, min(from+e.cfg.RowGroupRows, rec.NumRows()))
			defer part.Release()
		}
		if err := e.writeRowGroup(w, part); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("write parquet: %w", err), w.Close())
		}
	}
	if err := w.Close(); err != nil {
		return nil, nil, fmt.Errorf("write parquet: %w", err)
	}
	meta, err := w.FileMetadata()
	if err != nil {
		return nil, nil, fmt.Errorf("write parquet: %w", err)
	}
	for i := range meta.NumRowGroups() {
		splitOffsets = append(splitOffsets, meta.RowGroup(i).FileOffset())
	}
	return e.out.Bytes(), splitOffsets, nil
}

// check compares the record's columns with the table's.
func (e *Encoder) check(rec arrow.RecordBatch) error {
	want := cardlake.ArrowSchema(e.def)
	if int(rec.NumCols()) != want.NumFields() {
		return fmt.Errorf("record of %d columns, table %s has %d", rec.NumCols(), e.def.FullName(), want.NumFields())
	}
	for i, f := range want.Fields() {
		column := rec.Column(i)
		dt := column.DataType()
		if d, ok := dt.(*arrow.DictionaryType); ok {
			dt = d.ValueType
		}
		switch {
		case rec.ColumnName(i) != f.Name:
			return fmt.Errorf("column %d of the record is not the table's %s", i, f.Name)
		case !arrow.TypeEqual(dt, f.Type):
			return fmt.Errorf("column %s is %s, want %s", f.Name, dt, f.Type)
		case !f.Nullable && column.NullN() > 0:
			return fmt.Errorf("column %s is required and has nulls", f.Name)
		}
	}
	return nil
}

func (e *Encoder) writeRowGroup(w *file.Writer, rec arrow.RecordBatch) error {
	group, err := w.AppendRowGroupChecked()
	if err != nil {
		return err
	}
	props := pqarrow.DefaultWriterProps()
	ctx := pqarrow.NewArrowWriteContext(context.Background(), &props)
	for i, column := range rec.Columns() {
		cw, err := group.NextColumn()
		if err != nil {
			return err
		}
		nullable := e.def.Columns[i].Nullable
		var levels []int16
		if nullable {
			levels = e.definitionLevels(column)
		}
		switch column := column.(type) {
		case *array.Decimal128:
			err = e.writeDecimals(cw, column, levels)
		case *array.Dictionary:
			err = writeDictionary(cw, column, levels)
		default:
			if s, ok := cw.(*file.ByteArrayColumnChunkWriter); ok {
				s.FallbackToPlain()
			}
			err = pqarrow.WriteArrowToColumn(ctx, cw, column, levels, nil, nullable)
		}
		if err != nil {
			return fmt.Errorf("column %s: %w", e.def.Columns[i].Name, err)
		}
		if err := cw.Close(); err != nil {
			return fmt.Errorf("column %s: %w", e.def.Columns[i].Name, err)
		}
	}
	return group.Close()
}

// definitionLevels returns 1 for each value and 0 for each null.
func (e *Encoder) definitionLevels(column arrow.Array) []int16 {
	n := column.Len()
	if column.NullN() == 0 {
		for len(e.ones) < n {
			e.ones = append(e.ones, 1)
		}
		return e.ones[:n]
	}
	bits, offset := column.NullBitmapBytes(), column.Data().Offset()
	e.levels = slices.Grow(e.levels[:0], n)[:n]
	for i := range e.levels {
		at := offset + i
		e.levels[i] = int16(bits[at>>3] >> (at & 7) & 1)
	}
	return e.levels
}

// writeDictionary hands the column's dictionary and codes to the writer as they are. pqarrow
// would search the codes for the values in use, to bound the statistics: every value of a
// batch's dictionary is in use, and a part of a batch may have bounds that are too wide.
func writeDictionary(cw file.ColumnChunkWriter, column *array.Dictionary, levels []int16) error {
	encoder, ok := cw.CurrentEncoder().(interface{ PutDictionary(arrow.Array) error })
	if !ok {
		return fmt.Errorf("column writer is %T, not of a dictionary", cw)
	}
	if err := encoder.PutDictionary(column.Dictionary()); err != nil {
		return err
	}
	if stats := cw.PageStatistics(); stats != nil {
		stats.IncNulls(int64(column.NullN()))
		stats.IncNumValues(int64(column.Len() - column.NullN()))
		if err := stats.UpdateFromArrow(column.Dictionary(), false); err != nil {
			return err
		}
	}
	return cw.WriteDictIndices(column.Indices(), levels, nil)
}

// writeDecimals writes the unscaled values. Batches hold none that does not fit: a value
// outside an int64 is an error all the same.
func (e *Encoder) writeDecimals(cw file.ColumnChunkWriter, column *array.Decimal128, levels []int16) error {
	e.ints = e.ints[:0]
	for i, v := range column.Values() {
		if column.IsNull(i) {
			continue
		}
		unscaled := int64(v.LowBits())
		if v.HighBits() != unscaled>>63 {
			return errors.New("a value does not fit decimal(18,4)")
		}
		e.ints = append(e.ints, unscaled)
	}
	w, ok := cw.(*file.Int64ColumnChunkWriter)
	if !ok {
		return fmt.Errorf("column writer is %T", cw)
	}
	_, err := w.WriteBatch(e.ints, levels, nil)
	return err
}

// recovered turns a panic into an error: arrow-go panics on some malformed input.
func recovered(operation string, err *error) {
	switch r := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("%s: arrow panicked: %w", operation, r)
	default: // its text may hold some of the file's
		*err = fmt.Errorf("%s: arrow panicked with %T", operation, r)
	}
}
