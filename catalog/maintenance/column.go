package maintenance

import (
	"encoding/binary"
	"errors"
	"fmt"

	pq "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
)

// columnReader takes the values of one column of a file in order.
type columnReader struct {
	in     *input
	column int // of the table
	group  int // row groups that were begun
	left   int // rows of the row group that no page has brought yet
	isNull bool
	optional,
	narrow bool // 32 bits where the table has 64
	pages file.PageReader

	// Of the column chunk.
	dictionary texts
	integers   []int64 // in place of dictionary in a column of integers
	codes      []int32 // into the words of the values that are being filled, -1 where not known

	// Of the page: its rows from at on were not taken.
	rows, at int
	valid    []byte // nil if none is null
	present  int    // values before at
	page     values // without nulls; text that is coded has codes into dictionary
}

// errShort says that a file ends before its last row.
var errShort = fmt.Errorf("%w: it ends early", ErrInput)

// take appends the next n rows to v.
func (c *columnReader) take(n int, v *values) error {
	c.forget()
	for n > 0 {
		if c.at == c.rows {
			if ok, err := c.nextPage(); err != nil {
				return err
			} else if !ok {
				return errShort
			}
		}
		some := min(n, c.rows-c.at)
		if err := c.append(some, v); err != nil {
			return err
		}
		n -= some
	}
	if c.at == c.rows && c.left == 0 {
		c.free()
	}
	return nil
}

// takePage appends what is left of the page, or the next one, and returns the number of rows;
// 0 after the last.
func (c *columnReader) takePage(v *values) (int, error) {
	if c.at == c.rows {
		if ok, err := c.nextPage(); !ok || err != nil {
			return 0, err
		}
	}
	n := c.rows - c.at
	c.forget()
	return n, c.append(n, v)
}

// forget begins with values that have no words yet.
func (c *columnReader) forget() {
	for i := range c.codes {
		c.codes[i] = -1
	}
}

// free gives back the memory of a column chunk that was taken.
func (c *columnReader) free() {
	if c.pages != nil {
		_ = c.pages.Close() // which closes nothing outside memory
	}
	*c = columnReader{in: c.in, column: c.column, group: c.group}
}

// nextPage reads the next data page, and reports false after the last.
func (c *columnReader) nextPage() (bool, error) {
	for c.left == 0 {
		if c.group == c.in.reader.NumRowGroups() {
			return false, nil
		}
		if err := c.begin(); err != nil {
			return false, err
		}
	}
	if c.isNull {
		c.rows, c.at, c.left = c.left, 0, 0
		return true, nil
	}
	for c.pages.Next() {
		switch p := c.pages.Page().(type) {
		case *file.DictionaryPage:
			if err := c.decodeDictionary(p); err != nil {
				return false, fmt.Errorf("%w: %w", ErrInput, err)
			}
		case file.DataPage:
			if err := c.decode(p); err != nil {
				return false, fmt.Errorf("%w: %w", ErrInput, err)
			}
			if c.rows > 0 {
				c.left -= c.rows
				return true, nil
			}
		}
	}
	if err := c.pages.Err(); err != nil {
		return false, c.in.fault(err)
	}
	return false, errShort
}

// begin begins the next row group.
func (c *columnReader) begin() error {
	group := c.in.reader.RowGroup(c.group)
	c.group++
	if c.left = int(group.NumRows()); c.left <= 0 {
		c.left = 0
		return nil
	}
	leaf := c.in.leaves[c.column]
	if c.isNull = leaf < 0; c.isNull {
		return nil
	}
	pages, err := group.GetColumnPageReader(leaf)
	if err != nil {
		return c.in.fault(err)
	}
	c.pages = pages
	described := c.in.reader.MetaData().Schema.Column(leaf)
	c.optional = described.MaxDefinitionLevel() > 0
	c.narrow = described.PhysicalType() == pq.Types.Int32 && kindOf(c.in.table.Columns[c.column].Type) == int64Kind
	c.dictionary.reset()
	c.codes, c.integers = c.codes[:0], c.integers[:0]
	return nil
}

// decodeDictionary keeps the values of a dictionary page.
func (c *columnReader) decodeDictionary(p *file.DictionaryPage) (err error) {
	n, body := int(p.NumValues()), p.Data()
	if enc := pq.Encoding(p.Encoding()); enc != pq.Encodings.Plain && enc != pq.Encodings.PlainDict || n < 0 || n > len(body)/4 {
		return errPage
	}
	switch k := kindOf(c.in.table.Columns[c.column].Type); {
	case k == textKind:
		if err := c.dictionary.plain(body, n); err != nil {
			return err
		}
		c.codes = appendRepeated(c.codes[:0], -1, n)
		return nil
	case k == int32Kind || c.narrow:
		narrow, err := appendPlain[int32](nil, body, n)
		c.integers = c.integers[:0]
		for _, x := range narrow {
			c.integers = append(c.integers, int64(x))
		}
		return err
	case k == int64Kind:
		c.integers, err = appendPlain(c.integers[:0], body, n)
		return err
	}
	return errPage
}

// decodeCodes makes the n codes of a page those of the page's values.
func (c *columnReader) decodeCodes(body []byte, n, words int) (err error) {
	if len(body) == 0 {
		return errPage
	}
	v := &c.page
	v.codes, err = appendHybrid(v.codes[:0], body[1:], n, uint(body[0]))
	for _, code := range v.codes {
		if uint32(code) >= uint32(words) {
			return errPage
		}
	}
	return err
}

// decode makes a data page the one that rows are taken from.
func (c *columnReader) decode(p file.DataPage) error {
	c.rows, c.at, c.present, c.valid = int(p.NumValues()), 0, 0, nil
	if c.rows < 0 || c.rows > min(c.left, maxValues) {
		return errPage
	}
	body, levels := p.Data(), []byte(nil)
	switch p := p.(type) {
	case *file.DataPageV1:
		if c.optional {
			if p.DefinitionLevelEncoding() != pq.Encodings.RLE || len(body) < 4 || uint64(len(body)-4) < uint64(binary.LittleEndian.Uint32(body)) {
				return errPage
			}
			n := 4 + int(binary.LittleEndian.Uint32(body))
			levels, body = body[4:n], body[n:]
		}
	case *file.DataPageV2:
		n := int(p.DefinitionLevelByteLen())
		if p.RepetitionLevelByteLen() != 0 || n < 0 || n > len(body) || (n > 0) != c.optional {
			return errPage
		}
		levels, body = body[:n], body[n:]
	}
	n := c.rows
	if c.optional {
		var err error
		if c.valid, n, err = appendLevels(make([]byte, 0, c.rows), levels, c.rows); err != nil {
			return err
		}
		if n == c.rows {
			c.valid = nil
		}
	}
	return c.decodeValues(body, n, pq.Encoding(p.Encoding()))
}

// errEncoding says that a page has an encoding that no writer of the table's files uses.
var errEncoding = errors.New("an encoding that is not supported")

func (c *columnReader) decodeValues(body []byte, n int, encoding pq.Encoding) (err error) {
	v := &c.page
	v.kind = kindOf(c.in.table.Columns[c.column].Type)
	v.isCoded = false
	isPlain, isDelta := encoding == pq.Encodings.Plain, encoding == pq.Encodings.DeltaBinaryPacked
	isCoded := encoding == pq.Encodings.RLEDict || encoding == pq.Encodings.PlainDict
	switch {
	case n == 0:
		v.int32s, v.int64s, v.bools = v.int32s[:0], v.int64s[:0], v.bools[:0]
		v.plain.reset()
	case v.kind == textKind && isCoded:
		v.isCoded = true
		err = c.decodeCodes(body, n, c.dictionary.len())
	case v.kind == textKind && encoding == pq.Encodings.DeltaLengthByteArray:
		// The page's memory is not used again as long as v has it: the page is not released.
		err = v.plain.deltaLength(body, n)
	case v.kind == textKind && isPlain:
		v.plain.data = nil
		err = v.plain.plain(body, n)
	case v.kind == boolKind && isPlain:
		if len(body) < (n+7)/8 {
			return errPage
		}
		v.bools = v.bools[:0]
		for i := range n {
			v.bools = append(v.bools, body[i>>3]>>(i&7)&1)
		}
	case v.kind == boolKind && encoding == pq.Encodings.RLE:
		if len(body) < 4 {
			return errPage
		}
		v.codes, err = appendHybrid(v.codes[:0], body[4:], n, 1)
		v.bools = v.bools[:0]
		for _, b := range v.codes {
			v.bools = append(v.bools, byte(b&1))
		}
	case isCoded && v.kind == int32Kind:
		if err = c.decodeCodes(body, n, len(c.integers)); err == nil {
			v.int32s = v.int32s[:0]
			for _, code := range v.codes {
				v.int32s = append(v.int32s, int32(c.integers[code]))
			}
		}
		return err
	case isCoded && v.kind == int64Kind:
		if err = c.decodeCodes(body, n, len(c.integers)); err == nil {
			v.int64s = v.int64s[:0]
			for _, code := range v.codes {
				v.int64s = append(v.int64s, c.integers[code])
			}
		}
		return err
	case (v.kind == int32Kind || c.narrow) && isDelta:
		v.int32s, _, err = appendDelta(v.int32s[:0], body, n)
	case (v.kind == int32Kind || c.narrow) && isPlain:
		v.int32s, err = appendPlain(v.int32s[:0], body, n)
	case v.kind == int64Kind && isDelta:
		v.int64s, _, err = appendDelta(v.int64s[:0], body, n)
	case v.kind == int64Kind && isPlain:
		v.int64s, err = appendPlain(v.int64s[:0], body, n)
	default:
		return fmt.Errorf("%w: %s", errEncoding, encoding)
	}
	if err == nil && c.narrow {
		v.int64s = v.int64s[:0]
		for _, x := range v.int32s {
			v.int64s = append(v.int64s, int64(x))
		}
	}
	return err
}

// append adds the next n rows of the page to v.
func (c *columnReader) append(n int, v *values) (err error) {
	from := c.at
	c.at += n
	if c.isNull {
		v.addNulls(n)
		return nil
	}
	var valid []byte
	if c.valid != nil {
		valid = c.valid[from:c.at]
	}
	v.addValid(n, valid)
	p, first := &c.page, c.present
	switch v.kind {
	case boolKind:
		v.bools, c.present = appendSpaced(v.bools, p.bools[first:], n, valid)
	case int32Kind:
		v.int32s, c.present = appendSpaced(v.int32s, p.int32s[first:], n, valid)
	case int64Kind:
		v.int64s, c.present = appendSpaced(v.int64s, p.int64s[first:], n, valid)
	default:
		c.present, err = c.appendTexts(n, v, valid)
		return err
	}
	c.present += first
	return nil
}

// appendSpaced appends n rows, of which valid have the next of the values, and returns how
// many values they took.
func appendSpaced[T any](dst, src []T, n int, valid []byte) ([]T, int) {
	if valid == nil {
		return append(dst, src[:n]...), n
	}
	at := 0
	for _, v := range valid {
		var value T
		if v != 0 {
			value = src[at]
			at++
		}
		dst = append(dst, value)
	}
	return dst, at
}

// appendTexts adds n rows of the page and returns how many values were taken of it then.
func (c *columnReader) appendTexts(n int, v *values, valid []byte) (present int, err error) {
	p, at := &c.page, c.present
	switch {
	case valid != nil:
	case !p.isCoded && !v.isCoded:
		return at + n, v.plain.addRun(&p.plain, at, n)
	case p.isCoded && v.isCoded:
		// Most rows have a word that came before.
		codes, known := v.codes, c.codes
		for ; n > 0 && known[p.codes[at]] >= 0; n-- {
			codes = append(codes, known[p.codes[at]])
			at++
		}
		v.codes = codes
	}
	for i := range n {
		isValid := valid == nil || valid[i] != 0
		var text []byte
		switch {
		case !isValid:
		case !p.isCoded:
			text = p.plain.value(at)
			at++
		case v.isCoded:
			code := p.codes[at]
			at++
			if to := c.codes[code]; to >= 0 {
				v.codes = append(v.codes, to)
				continue
			}
			text = c.dictionary.value(int(code))
			if err := v.addText(text, true); err != nil {
				return at, err
			}
			if v.isCoded {
				c.codes[code] = v.codes[len(v.codes)-1]
			}
			continue
		default:
			text = c.dictionary.value(int(p.codes[at]))
			at++
		}
		if err := v.addText(text, isValid); err != nil {
			return at, err
		}
	}
	return at, nil
}
