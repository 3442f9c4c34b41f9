// Package parquet turns the columns of a batch into one Parquet file in memory, and reads
// back what a restarted worker needs of one.
//
// The writer is our own, since it is the hottest path there is: it takes Arrow's memory as it
// lies, and Arrow's layout is often Parquet's already. A dictionary array's codes become the
// codes of a dictionary page, validity bits become packed definition levels, and the text of
// a column becomes the text of a DELTA_LENGTH_BYTE_ARRAY page in one copy.
//
// The files have logical types, data pages of version 1, zstd where it pays, and no feature
// that a reader could miss silently. Minima and maxima are written only for columns that are
// public and either numbers, times or one of a few words: a file's statistics never show a
// token, a truncated card number or an amount.
package parquet

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/DataDog/zstd"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/cardlake/cardlake"
)

// Config tunes an [Encoder]. The zero value is right for most uses.
type Config struct {
	// Level is the zstd level, default 1.
	Level int
	// RowGroupRows is the most rows of one row group, default 1 Mi.
	RowGroupRows int64
	// PageRows is the most rows of one data page, default 20,480. A page of text that has no
	// dictionary ends earlier, at PageBytes.
	PageRows int
	// PageBytes is about the most bytes of one data page before compression, default 1 MiB; a
	// single text may be larger.
	PageBytes int

	// BloomRows is the fewest rows of a row group that gets bloom filters on card_token,
	// event_id and customer_id, default 16 Ki; negative for none ever. Reading a filter costs
	// a request; below some hundred kilobytes reading the column costs no more. Encrypted files
	// have none.
	BloomRows int64
	// BloomRate is the filters' rate of false positives, default 0.01.
	BloomRate float64

	// PlainEncodings writes integers and text without a dictionary as PLAIN instead of
	// DELTA_BINARY_PACKED and DELTA_LENGTH_BYTE_ARRAY: for Spark through Iceberg's vectorised
	// reader before 1.11, which knows no other. It costs two fifths of the speed.
	PlainEncodings bool

	// Encryption, if not nil, encrypts every file that Encode writes. Files of several keys
	// are written with EncodeSealed.
	Encryption *Encryption
}

const (
	defaultRowGroupRows = 1 << 20
	defaultPageRows     = 20 << 10
	defaultPageBytes    = 1 << 20
	defaultBloomRows    = 16 << 10
	defaultBloomRate    = 0.01
)

func (c Config) withDefaults() Config {
	if c.Level == 0 {
		c.Level = 1
	}
	if c.RowGroupRows <= 0 {
		c.RowGroupRows = defaultRowGroupRows
	}
	if c.PageRows <= 0 {
		c.PageRows = defaultPageRows
	}
	if c.PageBytes <= 0 {
		c.PageBytes = defaultPageBytes
	}
	if c.BloomRows == 0 {
		c.BloomRows = defaultBloomRows
	}
	if c.BloomRate <= 0 || c.BloomRate >= 1 {
		c.BloomRate = defaultBloomRate
	}
	return c
}

// Encoder writes records of one table as Parquet files. It reuses its memory, so it is not
// safe for concurrent use.
type Encoder struct {
	def     *cardlake.Table
	cfg     Config
	fields  []arrow.Field
	columns []column
	zstd    zstd.Ctx

	// Parts of the footer that are the same in every file: the schema, as its field, and who
	// wrote it.
	schema    []byte
	createdBy string

	// Of the file being written.
	out    []byte
	groups []byte // the footer's row groups, one after another
	splits []int64
	rows   int64 // of a file of several records
	sealer sealer

	// Of the row group.
	chunks []chunk
	bloom  []byte // the filters' bits

	// Of the column chunk.
	raw    []byte // its pages before compression
	packed []byte // and after
	pages  []page
	thrift thriftWriter

	// Scratch memory of one page or chunk.
	valid      []byte
	codes      []int32
	int32s     []int32
	int64s     []int64
	lengths    []int32
	decimals   []int64
	text       texts
	dictionary dictionary
}

// NewEncoder returns an encoder for the table.
func NewEncoder(def *cardlake.Table, cfg Config) *Encoder {
	e := &Encoder{
		def: def, cfg: cfg.withDefaults(), fields: cardlake.ArrowSchema(def).Fields(),
		zstd: zstd.NewCtx(), createdBy: createdBy(), chunks: make([]chunk, len(def.Columns)),
	}
	for _, c := range def.Columns {
		e.columns = append(e.columns, newColumn(def, c))
	}
	e.schema = e.schemaField()
	return e
}

// createdBy names the writer in the form that readers parse: application, version, build.
func createdBy() string {
	build := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				build = s.Value
			}
		}
	}
	return "cardlake version " + cardlake.Version + " (build " + build + ")"
}

// Encode writes the record as one file and returns it with the offsets of its row groups.
// The record has the table's columns in order, each plain or as a dictionary, and is sorted
// by the table's time; its dictionaries have the words of its rows and no others, for they are
// written as they are. The body is the encoder's memory, valid until its next use.
func (e *Encoder) Encode(rec arrow.RecordBatch) (body []byte, splitOffsets []int64, err error) {
	return e.EncodeSealed(rec, e.cfg.Encryption)
}

// EncodeSealed is Encode with this file's own encryption, nil for none.
func (e *Encoder) EncodeSealed(rec arrow.RecordBatch, encryption *Encryption) (body []byte, splitOffsets []int64, err error) {
	defer recovered("write parquet", &err)
	if err := e.encode(rec, encryption); err != nil {
		return nil, nil, fmt.Errorf("write parquet: %w", err)
	}
	return e.out, e.splits, nil
}

func (e *Encoder) encode(rec arrow.RecordBatch, encryption *Encryption) error {
	if err := e.begin(encryption); err != nil {
		return err
	}
	if err := e.add(rec); err != nil {
		return err
	}
	return e.writeFooter(rec.NumRows())
}

// begin begins a file.
func (e *Encoder) begin(encryption *Encryption) error {
	if err := e.sealer.begin(encryption); err != nil {
		return err
	}
	e.out = append(e.out[:0], e.magic()...)
	e.groups, e.splits = e.groups[:0], nil
	return nil
}

// add writes the record's row groups.
func (e *Encoder) add(rec arrow.RecordBatch) error {
	defer clear(e.chunks) // their bounds may point into the record
	if err := e.check(rec); err != nil {
		return err
	}
	for from := int64(0); from < rec.NumRows(); from += e.cfg.RowGroupRows {
		to := min(from+e.cfg.RowGroupRows, rec.NumRows())
		if err := e.writeRowGroup(rec, int(from), int(to)); err != nil {
			return err
		}
	}
	return nil
}

// check compares the record's columns with the table's.
func (e *Encoder) check(rec arrow.RecordBatch) error {
	if int(rec.NumCols()) != len(e.fields) {
		return fmt.Errorf("record of %d columns, table %s has %d", rec.NumCols(), e.def.FullName(), len(e.fields))
	}
	for i, f := range e.fields {
		column := rec.Column(i)
		dt := column.DataType()
		if d, ok := column.(*array.Dictionary); ok {
			if dt = d.Dictionary().DataType(); d.Indices().DataType().ID() != arrow.INT32 {
				return fmt.Errorf("column %s has codes of type %s, want int32", f.Name, d.Indices().DataType())
			}
			if dt.ID() != arrow.STRING && dt.ID() != arrow.BINARY {
				return fmt.Errorf("column %s is a dictionary of %s, want one of text", f.Name, dt)
			}
			if d.Dictionary().NullN() > 0 {
				return fmt.Errorf("column %s has a null in its dictionary", f.Name)
			}
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

func (e *Encoder) writeRowGroup(rec arrow.RecordBatch, from, to int) error {
	start := int64(len(e.out))
	group := len(e.splits)
	e.bloom = e.bloom[:0]
	for i, column := range rec.Columns() {
		if err := e.writeChunk(group, i, column, from, to); err != nil {
			return fmt.Errorf("column %s: %w", e.def.Columns[i].Name, err)
		}
	}
	e.writeBlooms()
	e.splits = append(e.splits, start)
	e.describeRowGroup(group, start, int64(to-from))
	return nil
}

// writeBlooms writes the row group's filters after its columns, where they are in nobody's
// way who reads the columns one after another.
func (e *Encoder) writeBlooms() {
	bits := e.bloom
	for i := range e.chunks {
		c := &e.chunks[i]
		if c.bloomBytes == 0 {
			continue
		}
		c.bloomOffset = int64(len(e.out))
		e.thrift.reset()
		e.thrift.bloomHeader(c.bloomBytes)
		e.out = append(e.out, e.thrift.buf...)
		e.out = append(e.out, bits[:c.bloomBytes]...)
		bits = bits[c.bloomBytes:]
		c.bloomLength = len(e.out) - int(c.bloomOffset)
	}
}

// boundedText are the public text columns of few distinct values, which get statistics.
var boundedText = []string{
	"event_type", "tenant", "region", "network", "product", "currency", "billing_currency", "mcc", "merchant_country",
	"channel", "entry_mode", "response_code", "decline_reason", "reason",
}

// column is what the encoder knows of a column beforehand.
type column struct {
	physical  int
	hasBounds bool // minima and maxima may be shown
	hasBloom  bool
	repeats   bool // text that may pay a dictionary although the record brings none
	isTime    bool // the table's: the files' order

	// isPacked says that the chunks of the file being written are compressed.
	isPacked bool
}

func newColumn(def *cardlake.Table, c cardlake.Column) column {
	isText := c.Type == cardlake.String || c.Type == cardlake.Binary
	return column{
		physical:  physicalType(c.Type),
		hasBounds: c.Tag == cardlake.Public && (!isText || slices.Contains(boundedText, c.Name)),
		hasBloom:  isText && slices.Contains(bloomColumns, c.Name),
		// Cards, cardholders and accounts come back; other text without a dictionary is ids.
		repeats: c.Type == cardlake.String && c.Tag == cardlake.Identifier,
		isTime:  c.Name == def.Time,
	}
}

// recovered turns a panic into an error: arrow-go panics on some malformed input, and so may
// we on a record whose buffers are too short.
func recovered(operation string, err *error) {
	switch r := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("%s: malformed input: %w", operation, r)
	default: // its text may hold some of the file's
		*err = fmt.Errorf("%s: malformed input: panic with %T", operation, r)
	}
}

var errCode = errors.New("a code is outside its dictionary")
