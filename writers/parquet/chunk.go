package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/DataDog/zstd"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Encodings, codecs and page types of parquet-format's parquet.thrift.
const (
	encodingPlain       = 0
	encodingRLE         = 3
	encodingDelta       = 5 // DELTA_BINARY_PACKED
	encodingDeltaLength = 6 // DELTA_LENGTH_BYTE_ARRAY
	encodingDictionary  = 8 // RLE_DICTIONARY

	codecNone = 0
	codecZstd = 6

	pageData       = 0
	pageDictionary = 2
)

// zstd is tried on chunks with a page of text of minPackedText bytes, or in all minPackedBits:
// it takes microseconds however little there is, and codes and deltas are packed already.
const (
	minPackedText = 512
	minPackedBits = 4 << 10
)

// chunk is what the footer says of a column chunk.
type chunk struct {
	rows, nulls  int
	encoding     int
	codec        int
	dataPages    int
	offset       int64 // of the first page
	dictionaryAt int64 // 0 if there is none
	dataAt       int64
	uncompressed int64
	compressed   int64
	hasBounds    bool
	min, max     []byte
	bloomBytes   int
	bloomOffset  int64
	bloomLength  int
}

// page is a page of the chunk being written: its part of Encoder.raw and Encoder.packed.
type page struct {
	kind, encoding   int
	values           int // with nulls
	rawFrom, rawTo   int
	packFrom, packTo int
}

// writeChunk writes the rows from to to of a column.
func (e *Encoder) writeChunk(group, i int, column arrow.Array, from, to int) error {
	c := &e.chunks[i]
	*c = chunk{rows: to - from}
	e.raw, e.pages = e.raw[:0], e.pages[:0]
	var valid bitmap
	if column.NullN() > 0 {
		valid = bitmap{column.NullBitmapBytes(), column.Data().Offset() + from}
		e.valid = valid.appendTo(e.valid[:0], 0, c.rows)
		if c.nulls = c.rows - onesIn(e.valid); c.nulls == 0 {
			valid = bitmap{}
		}
	}
	var err error
	if c.nulls == c.rows {
		err = e.writePages(c, i, valid, encodingPlain, nil, func(from, to, n int) error { return nil })
	} else {
		err = e.writeValues(c, i, column, valid, from, to)
	}
	if err != nil {
		return err
	}
	// They may lie in memory that the next column takes; the footer is written after the last.
	c.min, c.max = bytes.Clone(c.min), bytes.Clone(c.max)
	return e.finish(c, group, i)
}

func (e *Encoder) writeValues(c *chunk, i int, column arrow.Array, valid bitmap, from, to int) error {
	switch column := column.(type) {
	case *array.Dictionary:
		return e.writeDictionary(c, i, column, valid, from, to)
	case *array.String, *array.Binary:
		t := textsOf(column)
		return e.writeText(c, i, texts{t.data, t.ends[from : to+1]}, valid)
	case *array.Boolean:
		return e.writeBools(c, i, bitmap{column.Data().Buffers()[1].Bytes(), column.Data().Offset() + from}, valid)
	case *array.Int32:
		return writeInts(e, c, i, column.Int32Values()[from:to], valid, &e.int32s)
	case *array.Int64:
		return writeInts(e, c, i, column.Int64Values()[from:to], valid, &e.int64s)
	case *array.Timestamp:
		values := arrow.Int64Traits.CastFromBytes(column.Data().Buffers()[1].Bytes())[column.Data().Offset():]
		return writeInts(e, c, i, values[from:to], valid, &e.int64s)
	case *array.Decimal128:
		// Batches hold none that does not fit: a value outside an int64 is an error all the same.
		e.decimals = e.decimals[:0]
		for row, v := range column.Values()[from:to] {
			unscaled := int64(v.LowBits())
			if v.HighBits() != unscaled>>63 && valid.has(row) {
				return errors.New("a value does not fit decimal(18,4)")
			}
			e.decimals = append(e.decimals, unscaled)
		}
		return writeInts(e, c, i, e.decimals, valid, &e.int64s)
	}
	return fmt.Errorf("a column of %s cannot be written", column.DataType())
}

// textsOf returns the texts of a String or Binary array.
func textsOf(column arrow.Array) texts {
	data := column.Data()
	if column.Len() == 0 {
		return texts{ends: []int32{0}}
	}
	t := texts{ends: arrow.Int32Traits.CastFromBytes(data.Buffers()[1].Bytes())[data.Offset() : data.Offset()+data.Len()+1]}
	if b := data.Buffers()[2]; b != nil {
		t.data = b.Bytes()
	}
	return t
}

// writePages calls values for the rows of one page after another, n of which are not null, so
// that it appends them to e.raw. Text limits a page's bytes, if it is not nil. The valid bits
// of a page with nulls are in e.valid.
func (e *Encoder) writePages(c *chunk, i int, valid bitmap, encoding int, text *texts, values func(from, to, n int) error) error {
	c.encoding = encoding
	for from, to := 0, 0; from < c.rows; from = to {
		to = min(from+e.cfg.PageRows, c.rows)
		if text != nil && int(text.ends[to]-text.ends[from]) > e.cfg.PageBytes {
			limit := text.ends[from] + int32(e.cfg.PageBytes)
			to = max(from+1, from+sort.Search(to-from, func(n int) bool { return text.ends[from+n+1] > limit }))
		}
		start, rows := len(e.raw), to-from
		n := rows
		if c.nulls > 0 {
			e.valid = valid.appendTo(e.valid[:0], from, rows)
			n = onesIn(e.valid)
		}
		if e.def.Columns[i].Nullable {
			e.raw = appendLevels(e.raw, e.valid, rows, n)
		}
		if err := values(from, to, n); err != nil {
			return err
		}
		e.pages = append(e.pages, page{kind: pageData, encoding: encoding, values: rows, rawFrom: start, rawTo: len(e.raw)})
		c.dataPages++
	}
	return nil
}

// withoutNulls returns the n values of a page that are not null. Spare is memory to put them in.
func withoutNulls[T any](e *Encoder, values []T, n int, spare *[]T) []T {
	if n == len(values) {
		return values
	}
	*spare = appendWhere((*spare)[:0], values, e.valid)
	return *spare
}

func writeInts[T int32 | int64](e *Encoder, c *chunk, i int, values []T, valid bitmap, spare *[]T) error {
	encoding := encodingDelta
	if e.cfg.PlainEncodings {
		encoding = encodingPlain
	}
	var least, greatest T
	isFirst := true
	err := e.writePages(c, i, valid, encoding, nil, func(from, to, n int) error {
		values := withoutNulls(e, values[from:to], n, spare)
		if e.columns[i].hasBounds && n > 0 {
			if isFirst {
				least, greatest, isFirst = values[0], values[0], false
			}
			for _, v := range values {
				least, greatest = min(least, v), max(greatest, v)
			}
		}
		if encoding == encodingDelta {
			e.raw = appendDelta(e.raw, values)
		} else {
			e.raw = appendPlain(e.raw, values)
		}
		return nil
	})
	if c.hasBounds = !isFirst; c.hasBounds {
		c.min, c.max = appendPlain(nil, []T{least}), appendPlain(nil, []T{greatest})
	}
	return err
}

func appendPlain[T int32 | int64](dst []byte, values []T) []byte {
	if v, ok := any(values).([]int32); ok {
		return append(dst, arrow.Int32Traits.CastToBytes(v)...)
	}
	return append(dst, arrow.Int64Traits.CastToBytes(any(values).([]int64))...)
}

// writeBools writes bits, which are PLAIN as Arrow has them.
func (e *Encoder) writeBools(c *chunk, i int, values, valid bitmap) error {
	hasFalse, hasTrue := false, false
	err := e.writePages(c, i, valid, encodingPlain, nil, func(from, to, n int) error {
		start := len(e.raw)
		if n == to-from {
			e.raw = values.appendTo(e.raw, from, n)
		} else {
			e.raw = append(e.raw, make([]byte, (n+7)/8)...)
			at := 0
			for row := from; row < to; row++ {
				if valid.has(row) {
					if values.has(row) {
						e.raw[start+at>>3] |= 1 << (at & 7)
					}
					at++
				}
			}
		}
		ones := onesIn(e.raw[start:])
		hasTrue, hasFalse = hasTrue || ones > 0, hasFalse || ones < n
		return nil
	})
	if c.hasBounds = e.columns[i].hasBounds; c.hasBounds {
		c.min, c.max = []byte{0}, []byte{1}
		if !hasFalse {
			c.min = c.max
		} else if !hasTrue {
			c.max = c.min
		}
	}
	return err
}

// writeDictionary writes a column that the record has as a dictionary: the dictionary and
// the codes as they are, or the texts they stand for if that takes less.
func (e *Encoder) writeDictionary(c *chunk, i int, column *array.Dictionary, valid bitmap, from, to int) error {
	indices, ok := column.Indices().(*array.Int32)
	if !ok {
		return fmt.Errorf("codes of type %T", column.Indices())
	}
	words, codes := textsOf(column.Dictionary()), indices.Int32Values()[from:to]
	present := c.rows - c.nulls
	if words.len() == 0 {
		return errCode
	}
	if size := present * (words.bytes()/words.len() + 4); pays(present, size, words.len(), words.bytes()) {
		if e.wantsBloom(c, i) {
			e.dictionary.hash(words, bitmap{})
			e.writeBloom(c, words.len())
		}
		return e.writeCodes(c, i, words, codes, valid)
	}
	e.text.data, e.text.ends = e.text.data[:0], append(e.text.ends[:0], 0)
	for row, code := range codes {
		if valid.has(row) { // else the code may be anything
			if uint32(code) >= uint32(words.len()) {
				return errCode
			}
			if e.text.data = append(e.text.data, words.value(int(code))...); len(e.text.data) > math.MaxInt32 {
				return errors.New("more than 2 GiB of text")
			}
		}
		e.text.ends = append(e.text.ends, int32(len(e.text.data)))
	}
	return e.writePlain(c, i, e.text, valid)
}

// writeText writes a column of text, through a dictionary of our own if that pays.
func (e *Encoder) writeText(c *chunk, i int, text texts, valid bitmap) error {
	d, hasBloom, present := &e.dictionary, e.wantsBloom(c, i), c.rows-c.nulls
	if !e.columns[i].repeats {
		if hasBloom {
			d.hash(text, valid)
			e.writeBloom(c, present)
		}
		return e.writePlain(c, i, text, valid)
	}
	d.hash(text, valid)
	distinct, size := d.distinct(), text.bytes()
	limit := 2*distinct + 1024 // the estimate of few is rough
	if pays(present, size, distinct, size/present*distinct) && d.build(text, valid, limit) {
		if hasBloom {
			e.writeBloom(c, len(d.hashes))
		}
		return e.writeCodes(c, i, d.words, d.codes, valid)
	}
	if hasBloom {
		e.writeBloom(c, present)
	}
	return e.writePlain(c, i, text, valid)
}

func (e *Encoder) wantsBloom(c *chunk, i int) bool {
	return e.columns[i].hasBloom && e.cfg.BloomRows > 0 && int64(c.rows) >= e.cfg.BloomRows && !e.sealer.isOn()
}

// writeBloom makes the filter of the dictionary's hashes.
func (e *Encoder) writeBloom(c *chunk, distinct int) {
	c.bloomBytes = bloomBytes(distinct, e.cfg.BloomRate)
	e.bloom = appendBloom(e.bloom, e.dictionary.hashes, c.bloomBytes)
}

func (e *Encoder) writeCodes(c *chunk, i int, words texts, codes []int32, valid bitmap) error {
	for w := range words.len() {
		e.raw = appendText(e.raw, words.value(w))
	}
	e.pages = append(e.pages, page{kind: pageDictionary, encoding: encodingPlain, values: words.len(), rawTo: len(e.raw)})
	width := widthOf(words.len())
	if e.columns[i].hasBounds {
		// All words of a batch are in use; in a part of one the bounds may be too wide.
		for w := range words.len() {
			c.include(words.value(w))
		}
	}
	return e.writePages(c, i, valid, encodingDictionary, nil, func(from, to, n int) error {
		codes := withoutNulls(e, codes[from:to], n, &e.codes)
		var greatest uint32
		for _, code := range codes {
			greatest = max(greatest, uint32(code))
		}
		if greatest >= uint32(words.len()) {
			return errCode
		}
		e.raw = appendCodes(e.raw, codes, width)
		return nil
	})
}

// include widens the bounds.
func (c *chunk) include(value []byte) {
	if !c.hasBounds || bytes.Compare(value, c.min) < 0 {
		c.min = value
	}
	if !c.hasBounds || bytes.Compare(value, c.max) > 0 {
		c.max = value
	}
	c.hasBounds = true
}

// writePlain writes text without a dictionary.
func (e *Encoder) writePlain(c *chunk, i int, text texts, valid bitmap) error {
	if e.columns[i].hasBounds {
		for row := range c.rows {
			if valid.has(row) {
				c.include(text.value(row))
			}
		}
	}
	if e.cfg.PlainEncodings {
		return e.writePages(c, i, valid, encodingPlain, &text, func(from, to, _ int) error {
			for row := from; row < to; row++ {
				if valid.has(row) {
					e.raw = appendText(e.raw, text.value(row))
				}
			}
			return nil
		})
	}
	return e.writePages(c, i, valid, encodingDeltaLength, &text, func(from, to, n int) error {
		e.lengths = slices.Grow(e.lengths[:0], to-from)[:to-from]
		ends := text.ends[from : to+1]
		for row := range e.lengths {
			e.lengths[row] = ends[row+1] - ends[row]
		}
		if n == to-from {
			e.raw = appendDelta(e.raw, e.lengths)
			e.raw = append(e.raw, text.data[ends[0]:ends[to-from]]...)
			return nil
		}
		// A null has no text as a rule, but may.
		e.lengths = appendWhere(e.lengths[:0], e.lengths, e.valid)
		e.raw = appendDelta(e.raw, e.lengths)
		for row := from; row < to; row++ {
			if valid.has(row) {
				e.raw = append(e.raw, text.value(row)...)
			}
		}
		return nil
	})
}

func appendText(dst, value []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(value))), value...)
}

// finish compresses the chunk's pages if that pays, and writes them.
func (e *Encoder) finish(c *chunk, group, i int) error {
	// A column has one codec in the whole file: parquet-go takes that of the first row group for
	// all, though the format has one for each chunk.
	isFirst := group == 0
	isPacked := e.columns[i].isPacked
	if isFirst {
		isPacked = e.mayPack()
	}
	var err error
	if isPacked {
		if isPacked, err = e.pack(isFirst); err != nil {
			return err
		}
	}
	e.columns[i].isPacked = isPacked
	if isPacked {
		c.codec = codecZstd
	}
	c.offset = int64(len(e.out))
	ordinal := 0
	for _, p := range e.pages {
		body := e.raw[p.rawFrom:p.rawTo]
		if isPacked {
			body = e.packed[p.packFrom:p.packTo]
		}
		start := len(e.out)
		e.thrift.reset()
		e.thrift.pageHeader(p, len(body)+e.sealer.overhead())
		if p.kind == pageDictionary {
			c.dictionaryAt = int64(start)
			if e.out, err = e.sealer.append(e.out, e.thrift.buf, moduleDictionaryHeader, group, i); err != nil {
				return err
			}
			c.uncompressed += int64(len(e.out) - start + p.rawTo - p.rawFrom)
			e.out, err = e.sealer.append(e.out, body, moduleDictionary, group, i)
		} else {
			if ordinal == 0 {
				c.dataAt = int64(start)
			}
			if e.out, err = e.sealer.append(e.out, e.thrift.buf, moduleDataPageHeader, group, i, ordinal); err != nil {
				return err
			}
			c.uncompressed += int64(len(e.out) - start + p.rawTo - p.rawFrom)
			e.out, err = e.sealer.append(e.out, body, moduleDataPage, group, i, ordinal)
			ordinal++
		}
		if err != nil {
			return err
		}
	}
	c.compressed = int64(len(e.out)) - c.offset
	return nil
}

// mayPack reports whether it is worth trying to compress the pages.
func (e *Encoder) mayPack() bool {
	if len(e.raw) >= minPackedBits {
		return true
	}
	for _, p := range e.pages {
		if isText := p.kind == pageDictionary || p.encoding == encodingDeltaLength || p.encoding == encodingPlain; isText && p.rawTo-p.rawFrom >= minPackedText {
			return true
		}
	}
	return false
}

// pack compresses the pages. If it must pay, it gives up as soon as a data page shows that
// less than a thirty-second is saved: packed codes of many words, and deltas of random
// numbers, have nothing left to save.
func (e *Encoder) pack(mustPay bool) (isPacked bool, err error) {
	e.packed = e.packed[:0]
	for k := range e.pages {
		p := &e.pages[k]
		p.packFrom = len(e.packed)
		e.packed = slices.Grow(e.packed, zstd.CompressBound(p.rawTo-p.rawFrom))
		text, err := e.zstd.CompressLevel(e.packed[len(e.packed):], e.raw[p.rawFrom:p.rawTo], e.cfg.Level)
		if err != nil {
			return false, err
		}
		e.packed = e.packed[:p.packFrom+len(text)]
		p.packTo = len(e.packed)
		// The raw pages lie one after another, and so do the packed ones.
		if mustPay && p.kind == pageData && p.packTo > p.rawTo-p.rawTo/32 {
			return false, nil
		}
	}
	return true, nil
}

// pageHeader writes the header of a page of size bytes in the file.
func (t *thriftWriter) pageHeader(p page, size int) {
	t.open()
	t.i32(1, p.kind)
	t.i32(2, p.rawTo-p.rawFrom)
	t.i32(3, size)
	if p.kind == pageDictionary {
		t.openField(7)
		t.i32(1, p.values)
		t.i32(2, p.encoding)
	} else {
		t.openField(5)
		t.i32(1, p.values)
		t.i32(2, p.encoding)
		t.i32(3, encodingRLE)
		t.i32(4, encodingRLE)
	}
	t.close()
	t.close()
}
