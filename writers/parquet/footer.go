package parquet

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/cardlake/cardlake"
)

// Physical types of parquet-format's parquet.thrift.
const (
	physicalBoolean   = 0
	physicalInt32     = 1
	physicalInt64     = 2
	physicalByteArray = 6
)

// Converted types, which older readers know in place of logical ones.
const (
	convertedUTF8            = 0
	convertedDecimal         = 5
	convertedTimestampMicros = 10
)

const (
	formatVersion = 2 // of files with logical types

	decimalScale, decimalPrecision = 4, 18
)

// physicalType returns how Parquet stores the type. Decimals are INT64, which Iceberg requires
// up to a precision of 18.
func physicalType(t cardlake.Type) int {
	switch t {
	case cardlake.Bool:
		return physicalBoolean
	case cardlake.Int32:
		return physicalInt32
	case cardlake.Int64, cardlake.Timestamp, cardlake.TimestampTZ, cardlake.Decimal18x4:
		return physicalInt64
	}
	return physicalByteArray
}

// magic begins and ends a file.
func (e *Encoder) magic() string {
	if e.sealer.isOn() {
		return "PARE"
	}
	return "PAR1"
}

// schemaField writes the footer's field 2: the root and the columns below it.
func (e *Encoder) schemaField() []byte {
	t := &thriftWriter{last: 1}
	t.list(2, thriftStruct, len(e.columns)+1)
	t.open()
	t.string(4, "schema")
	t.i32(5, len(e.columns))
	t.close()
	for i, c := range e.def.Columns {
		t.open()
		t.i32(1, e.columns[i].physical)
		repetition := 0
		if c.Nullable {
			repetition = 1
		}
		t.i32(3, repetition)
		t.string(4, c.Name)
		t.columnType(c)
		t.close()
	}
	return t.buf
}

// columnType writes what follows a schema element's name: converted type, field id, logical
// type.
func (t *thriftWriter) columnType(c cardlake.Column) {
	switch c.Type {
	case cardlake.String:
		t.i32(6, convertedUTF8)
	case cardlake.Timestamp, cardlake.TimestampTZ:
		t.i32(6, convertedTimestampMicros)
	case cardlake.Decimal18x4:
		t.i32(6, convertedDecimal)
		t.i32(7, decimalScale)
		t.i32(8, decimalPrecision)
	}
	t.i32(9, c.ID)
	switch c.Type {
	case cardlake.String:
		t.openField(10)
		t.emptyField(1)
		t.close()
	case cardlake.Timestamp, cardlake.TimestampTZ:
		t.openField(10)
		t.openField(8)
		t.bool(1, c.Type == cardlake.TimestampTZ)
		t.openField(2)
		t.emptyField(2) // microseconds
		t.close()
		t.close()
		t.close()
	case cardlake.Decimal18x4:
		t.openField(10)
		t.openField(5)
		t.i32(1, decimalScale)
		t.i32(2, decimalPrecision)
		t.close()
		t.close()
	}
}

// describeRowGroup appends the footer's description of the row group whose chunks are in
// e.chunks.
func (e *Encoder) describeRowGroup(group int, start, rows int64) {
	t := &e.thrift
	t.reset()
	t.open()
	t.list(1, thriftStruct, len(e.chunks))
	var uncompressed, compressed int64
	for i := range e.chunks {
		e.describeChunk(i)
		uncompressed += e.chunks[i].uncompressed
		compressed += e.chunks[i].compressed
	}
	t.i64(2, uncompressed)
	t.i64(3, rows)
	for i := range e.columns {
		if e.columns[i].isTime {
			t.list(4, thriftStruct, 1)
			t.open()
			t.i32(1, i)
			t.bool(2, false)
			t.bool(3, false)
			t.close()
		}
	}
	t.i64(5, start)
	t.i64(6, compressed)
	if group <= math.MaxInt16 { // what the field holds; encryption alone needs it, and refuses more
		t.i16(7, group)
	}
	t.close()
	e.groups = append(e.groups, t.buf...)
}

func (e *Encoder) describeChunk(i int) {
	t, c := &e.thrift, &e.chunks[i]
	hasDictionary := c.encoding == encodingDictionary
	t.open()
	t.i64(2, c.offset)
	t.openField(3)
	t.i32(1, e.columns[i].physical)
	encodings := [3]int{c.encoding, encodingRLE, encodingPlain}
	n := 2
	if hasDictionary {
		n = 3
	}
	t.list(2, thriftI32, n)
	for _, v := range encodings[:n] {
		t.elementI32(v)
	}
	t.list(3, thriftBinary, 1)
	t.element(e.def.Columns[i].Name)
	t.i32(4, c.codec)
	t.i64(5, int64(c.rows))
	t.i64(6, c.uncompressed)
	t.i64(7, c.compressed)
	t.i64(9, c.dataAt)
	if hasDictionary {
		t.i64(11, c.dictionaryAt)
	}
	t.openField(12)
	t.i64(3, int64(c.nulls))
	if c.hasBounds {
		t.bytes(5, c.max)
		t.bytes(6, c.min)
	}
	t.close()
	pages := [2]page{{kind: pageData, encoding: c.encoding, values: c.dataPages}, {kind: pageDictionary, encoding: encodingPlain, values: 1}}
	t.list(13, thriftStruct, n-1)
	for _, p := range pages[:n-1] {
		t.open()
		t.i32(1, p.kind)
		t.i32(2, p.encoding)
		t.i32(3, p.values)
		t.close()
	}
	if c.bloomBytes > 0 {
		t.i64(14, c.bloomOffset)
		t.i32(15, c.bloomLength)
	}
	t.close()
	if e.sealer.isOn() {
		t.openField(8) // encrypted with the footer's key
		t.emptyField(1)
		t.close()
	}
	t.close()
}

// writeFooter writes the file's metadata: in clear, or as a module after what a reader needs
// to open it (Encryption.md, section 5.2).
func (e *Encoder) writeFooter(rows int64) error {
	start := len(e.out)
	t := &e.thrift
	t.reset()
	if e.sealer.isOn() {
		t.open()
		t.openField(1)
		t.openField(1) // AES_GCM_V1
		t.bytes(2, e.sealer.unique[:])
		t.bool(3, false) // no prefix to supply; arrow-go wants it said
		t.close()
		t.close()
		if len(e.sealer.metadata) > 0 {
			t.bytes(2, e.sealer.metadata)
		}
		t.close()
		e.out = append(e.out, t.buf...)
		t.reset()
	}
	t.open()
	t.i32(1, formatVersion)
	t.buf = append(t.buf, e.schema...)
	t.last = 2
	t.i64(3, rows)
	t.list(4, thriftStruct, len(e.splits))
	t.buf = append(t.buf, e.groups...)
	t.string(6, e.createdBy)
	t.list(7, thriftStruct, len(e.columns)) // bounds are in the order of the columns' types
	for range e.columns {
		t.open()
		t.emptyField(1)
		t.close()
	}
	t.close()
	var err error
	if e.out, err = e.sealer.append(e.out, t.buf, moduleFooter); err != nil {
		return err
	}
	if len(e.out)-start > math.MaxInt32 {
		return errors.New("footer is too large")
	}
	e.out = binary.LittleEndian.AppendUint32(e.out, uint32(len(e.out)-start))
	e.out = append(e.out, e.magic()...)
	return nil
}
