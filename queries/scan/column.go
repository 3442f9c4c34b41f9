package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// column reads one column of a file, of which rows are asked in order. What is skipped is not
// made into values, and a row group of which no row is asked is not read.
type column struct {
	def      cardlake.Column
	leaf     int
	isFixed  bool // a decimal in an array of bytes of fixed length
	isMasked bool

	chunk parquet.ColumnChunk
	pages parquet.Pages

	page   parquet.Page
	first  int64  // row of the row group that the page begins with
	rows   int64  // of the page
	levels []byte // 1 for a row that has a value; nil if all have
	row    int64  // of the page: where value is the index of
	value  int

	// Of the page, by how it has its values.
	words  []any // of the column chunk's dictionary, as they are given
	codes  []int32
	texts  string
	ends   []uint32
	bools  []byte
	narrow []int32
	wide   []int64
	fixed  []byte
	size   int

	dictionary parquet.Dictionary // that words are of
}

func newColumn(def cardlake.Column, leaf *parquet.Column, access grants.Access) (*column, error) {
	c := &column{def: def, leaf: leaf.Index(), isMasked: access == grants.Masked}
	if err := c.check(leaf); err != nil {
		return nil, fmt.Errorf("column %s: %w", def.Name, err)
	}
	return c, nil
}

// check refuses what would be read as another value than it is.
func (c *column) check(leaf *parquet.Column) error {
	kind := leaf.Type().Kind()
	var logical format.LogicalTypeValue
	if t := leaf.Type().LogicalType(); t != nil {
		logical = t.Value
	}
	ok := false
	switch c.def.Type {
	case cardlake.String, cardlake.Binary:
		ok = kind == parquet.ByteArray
	case cardlake.Bool:
		ok = kind == parquet.Boolean
	case cardlake.Int32:
		ok = kind == parquet.Int32
	case cardlake.Int64:
		ok = kind == parquet.Int32 || kind == parquet.Int64
	case cardlake.Timestamp, cardlake.TimestampTZ:
		ok = kind == parquet.Int64
		if t, is := logical.(*format.TimestampType); is {
			if _, is := t.Unit.Value.(*format.MicroSeconds); !is {
				return errors.New("its times are not microseconds")
			}
		}
	case cardlake.Decimal18x4:
		c.isFixed = kind == parquet.FixedLenByteArray && leaf.Type().Length() <= 16
		ok = kind == parquet.Int32 || kind == parquet.Int64 || c.isFixed
		if t, is := logical.(*format.DecimalType); !is || t.Scale != 4 {
			return errors.New("it is not a decimal of four places")
		}
	}
	if !ok {
		return fmt.Errorf("it is stored as %s", kind)
	}
	return nil
}

// enter begins a row group.
func (c *column) enter(chunks []parquet.ColumnChunk) error {
	err := c.close()
	c.chunk = chunks[c.leaf]
	c.first, c.rows = 0, 0
	c.dictionary, c.words = nil, nil
	return err
}

func (c *column) close() error {
	parquet.Release(c.page)
	c.page = nil
	if c.pages == nil {
		return nil
	}
	err := c.pages.Close()
	c.pages = nil
	return err
}

// seek goes to a row of the row group, never back beyond the page. It reports whether the row
// has a value, which is the one at c.value.
func (c *column) seek(row int64) (bool, error) {
	for row >= c.first+c.rows {
		if err := c.turn(); err != nil {
			return false, fmt.Errorf("column %s: %w", c.def.Name, err)
		}
	}
	at := row - c.first
	if c.levels == nil {
		c.value = int(at)
		return true, nil
	}
	if at < c.row {
		c.row, c.value = 0, 0
	}
	c.value += bytes.Count(c.levels[c.row:at], one)
	c.row = at
	return c.levels[at] == 1, nil
}

var one = []byte{1}

// turn goes to the next page.
func (c *column) turn() error {
	if c.pages == nil {
		c.pages = c.chunk.Pages()
	}
	parquet.Release(c.page)
	c.page = nil
	page, err := c.pages.ReadPage()
	if errors.Is(err, io.EOF) {
		return errors.New("it has fewer rows than the file")
	}
	if err != nil {
		return err
	}
	c.page = page
	c.first, c.rows = c.first+c.rows, page.NumRows()
	c.levels, c.row, c.value = page.DefinitionLevels(), 0, 0
	values := c.rows
	if c.levels != nil {
		values = int64(bytes.Count(c.levels, one))
	}
	c.codes, c.ends, c.bools, c.narrow, c.wide, c.fixed = nil, nil, nil, nil, nil, nil
	data := page.Data()
	if d := page.Dictionary(); d != nil {
		c.codes = data.Int32()
		if d != c.dictionary {
			c.dictionary, c.words = d, nil
			if c.words, err = c.wordsOf(d); err != nil {
				return err
			}
		}
		return c.enough(len(c.codes), values)
	}
	switch page.Type().Kind() {
	case parquet.ByteArray:
		text, ends := data.ByteArray()
		c.texts, c.ends = string(text), ends
		return c.enough(len(ends)-1, values)
	case parquet.Boolean:
		c.bools = data.Boolean()
		return c.enough(len(c.bools)*8, values)
	case parquet.Int32:
		c.narrow = data.Int32()
		return c.enough(len(c.narrow), values)
	case parquet.Int64:
		c.wide = data.Int64()
		return c.enough(len(c.wide), values)
	case parquet.FixedLenByteArray:
		c.fixed, c.size = data.FixedLenByteArray()
		return c.enough(len(c.fixed)/max(c.size, 1), values)
	}
	return fmt.Errorf("a page is stored as %s", page.Type().Kind())
}

func (c *column) enough(have int, want int64) error {
	if int64(max(have, 0)) < want {
		return fmt.Errorf("a page has %d values for %d rows", have, want)
	}
	return nil
}

// wordsOf returns the values of a dictionary as they are given.
func (c *column) wordsOf(d parquet.Dictionary) ([]any, error) {
	words := make([]any, d.Len())
	for i := range words {
		v := d.Index(int32(i))
		switch v.Kind() {
		case parquet.ByteArray, parquet.FixedLenByteArray:
			words[i] = c.give(c.ofBytes(v.ByteArray()))
		case parquet.Int32:
			words[i] = c.give(c.ofInteger(int64(v.Int32())))
		case parquet.Int64:
			words[i] = c.give(c.ofInteger(v.Int64()))
		default:
			return nil, fmt.Errorf("a dictionary is stored as %s", v.Kind())
		}
	}
	return words, nil
}

// give masks a value, if the column is given masked.
func (c *column) give(v any) any {
	if c.isMasked {
		return queries.MaskValue(c.def, v)
	}
	return v
}

// at returns the row's value as it is given, nil for NULL.
func (c *column) at(row int64) (any, error) {
	ok, err := c.seek(row)
	switch {
	case err != nil || !ok:
		return nil, err
	case c.codes != nil:
		return c.words[c.codes[c.value]], nil
	case c.ends != nil:
		text := c.texts[c.ends[c.value]:c.ends[c.value+1]]
		if c.def.Type == cardlake.Binary {
			return c.give([]byte(text)), nil
		}
		return c.give(text), nil
	case c.bools != nil:
		return c.give(c.bools[c.value/8]>>(c.value%8)&1 == 1), nil
	case c.narrow != nil:
		return c.give(c.ofInteger(int64(c.narrow[c.value]))), nil
	case c.wide != nil:
		return c.give(c.ofInteger(c.wide[c.value])), nil
	}
	return c.give(c.ofBytes(c.fixed[c.value*c.size : (c.value+1)*c.size])), nil
}

// integer returns the row's value as the number that it is stored as, false for NULL.
func (c *column) integer(row int64) (int64, bool, error) {
	ok, err := c.seek(row)
	switch {
	case err != nil || !ok:
		return 0, false, err
	case c.codes != nil:
		switch v := c.words[c.codes[c.value]].(type) {
		case int32:
			return int64(v), true, nil
		case int64:
			return v, true, nil
		case time.Time:
			return v.UnixMicro(), true, nil
		}
	case c.narrow != nil:
		return int64(c.narrow[c.value]), true, nil
	case c.wide != nil:
		return c.wide[c.value], true, nil
	}
	return 0, false, fmt.Errorf("column %s is no number", c.def.Name)
}

func (c *column) ofInteger(n int64) any {
	switch c.def.Type {
	case cardlake.Int32:
		return int32(n)
	case cardlake.Timestamp, cardlake.TimestampTZ:
		return time.UnixMicro(n).UTC()
	case cardlake.Decimal18x4:
		return decimal128.FromI64(n)
	}
	return n
}

func (c *column) ofBytes(b []byte) any {
	switch {
	case c.isFixed: // two's complement, the greatest byte first
		var high, low uint64
		if len(b) > 0 && b[0]&0x80 != 0 {
			high, low = ^uint64(0), ^uint64(0)
		}
		for _, x := range b {
			high = high<<8 | low>>(64-8)
			low = low<<8 | uint64(x)
		}
		return decimal128.New(int64(high), low)
	case c.def.Type == cardlake.Binary:
		return bytes.Clone(b)
	}
	return string(b)
}
