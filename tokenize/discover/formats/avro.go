package formats

import (
	"bytes"
	"context"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"

	"github.com/hamba/avro/v2"
	"github.com/hamba/avro/v2/ocf"

	"github.com/cardlake/cardlake/tokenize/discover"
)

// avro searches an Avro object container file (Avro 1.12, "Object Container Files").
func (s *Scanner) avro(ctx context.Context, path string, r io.Reader, _ int) {
	d, err := ocf.NewDecoder(r, ocf.WithDecoderSchemaCache(new(avro.SchemaCache)), ocf.WithDecoderConfig(avro.Config{MaxByteSliceSize: 64 << 20, MaxSliceAllocSize: 1 << 20}.Freeze()))
	if err != nil {
		s.fault(path, formError(err))
		s.bytes(path, r)
		return
	}
	defer d.Close()
	var header bytes.Buffer
	for k, v := range d.Metadata() {
		header.WriteString(k + " " + string(v) + "\n")
	}
	s.text(path, "header", header.String())
	c := s.columns(path)
	defer c.flush()
	for row := int64(1); d.HasNext() && !s.stopped && ctx.Err() == nil; row++ {
		var v any
		if err := d.Decode(&v); err != nil {
			break
		}
		c.walk("", 0, row, v)
	}
	if err := d.Error(); err != nil && err != io.EOF {
		s.fault(path, formError(err))
	}
}

// columns are those of one file, made as their names are met.
type columns struct {
	s    *Scanner
	path string
	by   map[string]*discover.Column
	buf  []byte
}

// maxColumns bounds the columns of a file whose names are data; the others are one column.
const maxColumns = 4096

func (s *Scanner) columns(path string) *columns {
	return &columns{s: s, path: s.shown(path), by: map[string]*discover.Column{}}
}

func (c *columns) column(field string) *discover.Column {
	col := c.by[field]
	if col == nil {
		if len(c.by) >= maxColumns {
			field = "others"
			if col = c.by[field]; col != nil {
				return col
			}
		}
		col = c.s.detector.Column(discover.Place{Path: c.path, Field: field}, c.s.tell)
		c.by[field] = col
	}
	return col
}

func (c *columns) flush() {
	names := make([]string, 0, len(c.by))
	for name := range c.by {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c.by[name].Flush()
	}
}

// walk adds a value of any type and what is in it.
func (c *columns) walk(field string, group, row int64, v any) {
	within := func(name string) string {
		if field == "" {
			return name
		}
		return field + "." + name
	}
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			c.column("keys of "+field).Add(group, row, []byte(name))
			c.walk(within(name), group, row, v[name])
		}
	case []any:
		for _, e := range v {
			c.walk(field, group, row, e)
		}
	case string:
		c.text(field, group, row, []byte(v))
	case []byte:
		c.text(field, group, row, v)
	case int64:
		c.integer(field, group, row, v)
	case int:
		c.integer(field, group, row, int64(v))
	case float64:
		if v == math.Trunc(v) && v >= 1e12 && v < 1e19 {
			c.buf = strconv.AppendFloat(c.buf[:0], v, 'f', 0, 64)
			c.column(field).AddInteger(group, row, c.buf)
		}
	case *big.Rat:
		if v.IsInt() {
			c.column(field).AddInteger(group, row, []byte(v.Num().String()))
		}
	}
}

func (c *columns) text(field string, group, row int64, v []byte) {
	c.s.progress(len(v))
	c.column(field).Add(group, row, v)
}

func (c *columns) integer(field string, group, row, v int64) {
	c.s.progress(8)
	c.buf = strconv.AppendInt(c.buf[:0], v, 10)
	c.column(field).AddInteger(group, row, c.buf)
}
