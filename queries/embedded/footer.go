package embedded

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"

	"github.com/cardlake/cardlake"
)

// footer is what a Parquet file's metadata tells of where its columns lie and what is in them.
type footer struct {
	from   int64 // where the metadata begins; it goes on to the end of the file
	fields []field
	groups []group
}

// field is a column of a file.
type field struct {
	id         int
	name       string
	typ        cardlake.Type
	isKnown    bool // typ is the field's type
	isRequired bool // no value is NULL
}

// group is a row group.
type group struct {
	chunks []chunk // as fields
}

// chunk is the part of a column that is in a row group.
type chunk struct {
	parts []span // its pages, and the filter and the indexes, if it has them
	bloom span
	// Every value lies from min to max, as Parquet writes them plainly, if hasBounds.
	min, max  []byte
	hasBounds bool
}

// span is a part of a file: from, up to but not including to.
type span struct{ from, to int64 }

// parquetTail is what ends a file: the length of its metadata and four letters.
const parquetTail = 8

var errFooter = errors.New("is not a Parquet file that can be read")

// metadataSpan returns where the metadata of a file of the size lies, from the file's last bytes.
func metadataSpan(tail []byte, size int64) (span, error) {
	if len(tail) != parquetTail || string(tail[4:]) != "PAR1" {
		return span{}, errFooter
	}
	length := int64(binary.LittleEndian.Uint32(tail))
	if length > size-parquetTail-4 {
		return span{}, errFooter
	}
	return span{size - parquetTail - length, size - parquetTail}, nil
}

// parseFooter reads a file's metadata (parquet.thrift of the Parquet format, FileMetaData); at is
// where in the file it lies. Of a file whose columns are nested, as none of ours are, it finds no
// fields.
func parseFooter(metadata []byte, at int64) (_ *footer, err error) {
	defer func() {
		if r := recover(); r != nil {
			if r != errFooter {
				panic(r)
			}
			err = errFooter
		}
	}()
	f := &footer{from: at}
	r := &thriftReader{b: metadata}
	isNested, orders := false, 0
	r.structure(thriftStruct, func(id int64, kind byte) {
		switch id {
		case 2: // schema, the root first
			isRoot := true
			r.list(kind, func(kind byte) {
				of, isLeaf := r.field(kind)
				if !isRoot {
					f.fields = append(f.fields, of)
					isNested = isNested || !isLeaf
				}
				isRoot = false
			})
		case 4: // row_groups
			r.list(kind, func(kind byte) { f.groups = append(f.groups, r.group(kind, at)) })
		case 7: // column_orders
			r.list(kind, func(kind byte) {
				orders++
				r.skip(kind, true)
			})
		default:
			r.skip(kind, false)
		}
	})
	if isNested {
		return &footer{from: at}, nil
	}
	for i := range f.groups {
		if len(f.groups[i].chunks) != len(f.fields) {
			return nil, errFooter
		}
		for c := range f.groups[i].chunks {
			k := &f.groups[i].chunks[c]
			// Without an order of the columns nobody knows by which one the bounds are.
			k.hasBounds = k.min != nil && k.max != nil && orders == len(f.fields)
		}
	}
	return f, nil
}

// Physical types and repetitions of parquet.thrift.
const (
	physicalBoolean   = 0
	physicalInt32     = 1
	physicalInt64     = 2
	physicalByteArray = 6

	repetitionRequired = 0
	repetitionRepeated = 2
)

// field reads a SchemaElement and what an engine sees in it.
func (r *thriftReader) field(kind byte) (f field, isLeaf bool) {
	physical, repetition, isConverted := int64(-1), int64(-1), false
	var logical cardlake.Type
	isLogical, isKnown := false, false
	isLeaf = true
	r.structure(kind, func(id int64, kind byte) {
		switch id {
		case 1:
			physical = r.integer(kind)
		case 3:
			repetition = r.integer(kind)
		case 4:
			f.name = string(r.binary(kind))
		case 5:
			isLeaf = r.integer(kind) == 0
		case 6:
			r.skip(kind, false)
			isConverted = true
		case 9:
			f.id = int(r.integer(kind))
		case 10:
			isLogical = true
			logical, isKnown = r.logicalType(kind)
		default:
			r.skip(kind, false)
		}
	})
	f.isRequired = repetition == repetitionRequired
	switch {
	case repetition == repetitionRepeated:
	case isLogical:
		f.typ = logical
		switch logical {
		case cardlake.String:
			f.isKnown = isKnown && physical == physicalByteArray
		case cardlake.Timestamp, cardlake.TimestampTZ:
			f.isKnown = isKnown && physical == physicalInt64
		default:
			f.isKnown = isKnown
		}
	case !isConverted:
		f.isKnown = true
		switch physical {
		case physicalBoolean:
			f.typ = cardlake.Bool
		case physicalInt32:
			f.typ = cardlake.Int32
		case physicalInt64:
			f.typ = cardlake.Int64
		case physicalByteArray:
			f.typ = cardlake.Binary
		default:
			f.isKnown = false
		}
	}
	return f, isLeaf
}

// logicalType reads a LogicalType; false for one that no column has.
func (r *thriftReader) logicalType(kind byte) (t cardlake.Type, isKnown bool) {
	r.structure(kind, func(id int64, kind byte) {
		switch id {
		case 1: // STRING
			t, isKnown = cardlake.String, true
			r.skip(kind, false)
		case 5: // DECIMAL
			var scale, precision int64
			r.structure(kind, func(id int64, kind byte) {
				switch id {
				case 1:
					scale = r.integer(kind)
				case 2:
					precision = r.integer(kind)
				default:
					r.skip(kind, false)
				}
			})
			t, isKnown = cardlake.Decimal18x4, scale == 4 && precision == 18
		case 8: // TIMESTAMP
			t = cardlake.Timestamp
			r.structure(kind, func(id int64, kind byte) {
				switch {
				case id == 1 && kind == thriftTrue: // isAdjustedToUTC
					t = cardlake.TimestampTZ
				case id == 2:
					r.structure(kind, func(id int64, kind byte) {
						isKnown = id == 2 // MICROS
						r.skip(kind, false)
					})
				default:
					r.skip(kind, false)
				}
			})
		default:
			r.skip(kind, false)
		}
	})
	return t, isKnown
}

// group reads a RowGroup whose chunks end before end, where the metadata begin.
func (r *thriftReader) group(kind byte, end int64) (g group) {
	r.structure(kind, func(id int64, kind byte) {
		if id != 1 {
			r.skip(kind, false)
			return
		}
		r.list(kind, func(kind byte) { g.chunks = append(g.chunks, r.chunk(kind, end)) })
	})
	return g
}

// chunk reads a ColumnChunk.
func (r *thriftReader) chunk(kind byte, end int64) (k chunk) {
	var pages, dictionary, bytes int64
	var bloom, columnIndex, offsetIndex span // each with its length in place of its end
	metadata := func(id int64, kind byte) {
		switch id {
		case 7:
			bytes = r.integer(kind)
		case 9:
			pages = r.integer(kind)
		case 11:
			dictionary = r.integer(kind)
		case 12:
			r.structure(kind, func(id int64, kind byte) {
				switch id {
				case 5:
					k.max = append([]byte{}, r.binary(kind)...)
				case 6:
					k.min = append([]byte{}, r.binary(kind)...)
				default:
					r.skip(kind, false)
				}
			})
		case 14:
			bloom.from = r.integer(kind)
		case 15:
			bloom.to = r.integer(kind)
		default:
			r.skip(kind, false)
		}
	}
	r.structure(kind, func(id int64, kind byte) {
		switch id {
		case 1: // file_path: the column is in another file
			panic(errFooter)
		case 3:
			r.structure(kind, metadata)
		case 4:
			offsetIndex.from = r.integer(kind)
		case 5:
			offsetIndex.to = r.integer(kind)
		case 6:
			columnIndex.from = r.integer(kind)
		case 7:
			columnIndex.to = r.integer(kind)
		default:
			r.skip(kind, false)
		}
	})
	if dictionary > 0 {
		pages = min(pages, dictionary)
	}
	if bloom.from > 0 && bloom.to == 0 { // its header tells how long it is, which nobody has read
		bloom.to = end - bloom.from
	}
	for i, part := range []span{{pages, bytes}, bloom, columnIndex, offsetIndex} {
		if i > 0 && part.from == 0 {
			continue
		}
		if part.from < 0 || part.to < 0 || part.from > end || part.to > end-part.from {
			panic(errFooter)
		}
		k.parts = append(k.parts, span{part.from, part.from + part.to})
	}
	if bloom.from > 0 {
		k.bloom = span{bloom.from, bloom.from + bloom.to}
	}
	return k
}

// fieldOf returns the index of the field that has the column's id, -1 if the file is from before
// the column.
func (f *footer) fieldOf(c *cardlake.Column) int {
	for i := range f.fields {
		if f.fields[i].id == c.ID {
			return i
		}
	}
	return -1
}

// hasByName reports whether whoever reads the column by its name reads it right.
func (f *footer) hasByName(c *cardlake.Column) bool {
	of := f.fieldOf(c)
	if of < 0 || !f.fields[of].isKnown || f.fields[of].typ != c.Type || f.fields[of].name != c.Name {
		return false
	}
	for i := range f.fields {
		if i != of && (strings.EqualFold(f.fields[i].name, c.Name) || f.fields[i].id == c.ID) {
			return false
		}
	}
	return true
}

// bounds returns the least and the greatest number that a chunk of the type can have, in the
// type's unit. Without bounds, and for types that are no numbers, they are those of an int64.
func (k *chunk) bounds(t cardlake.Type) (least, greatest int64) {
	switch t {
	case cardlake.Int32:
		if k.hasBounds && len(k.min) == 4 && len(k.max) == 4 {
			return int64(int32(binary.LittleEndian.Uint32(k.min))), int64(int32(binary.LittleEndian.Uint32(k.max)))
		}
	case cardlake.Int64, cardlake.Timestamp, cardlake.TimestampTZ:
		if k.hasBounds && len(k.min) == 8 && len(k.max) == 8 {
			return int64(binary.LittleEndian.Uint64(k.min)), int64(binary.LittleEndian.Uint64(k.max))
		}
	}
	return math.MinInt64, math.MaxInt64
}

// only returns the one text that the column has in all rows of the file, none of them NULL; false
// if the file's metadata do not prove it.
func (f *footer) only(c *cardlake.Column) (string, bool) {
	of := f.fieldOf(c)
	if of < 0 || !f.fields[of].isRequired || !f.hasByName(c) || c.Type != cardlake.String || len(f.groups) == 0 {
		return "", false
	}
	first := f.groups[0].chunks[of]
	for i := range f.groups {
		k := &f.groups[i].chunks[of]
		if !k.hasBounds || string(k.min) != string(first.min) || string(k.max) != string(first.min) {
			return "", false
		}
	}
	return string(first.min), true
}

// whereabouts returns the parts of the file that hold the columns.
func (f *footer) whereabouts(columns []cardlake.Column, isNeeded func(column int) bool) []span {
	if f.fields == nil {
		return []span{{0, f.from}}
	}
	var parts []span
	for i := range columns {
		of := f.fieldOf(&columns[i])
		if of < 0 || !isNeeded(i) {
			continue
		}
		for g := range f.groups {
			parts = append(parts, f.groups[g].chunks[of].parts...)
		}
	}
	return parts
}
