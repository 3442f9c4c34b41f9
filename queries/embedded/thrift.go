package embedded

import "encoding/binary"

// thriftReader reads structures in Thrift's compact protocol (thrift-compact-protocol.md of
// Apache Thrift), in which Parquet's metadata are. It panics with errFooter on what is malformed,
// and holds nothing in memory but what it is asked for.
type thriftReader struct {
	b     []byte
	depth int
}

// The types of fields and elements. A truth value is in the type of its field.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12

	maxThriftDepth = 16
)

func (r *thriftReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		panic(errFooter)
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *thriftReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		panic(errFooter)
	}
	r.b = r.b[n:]
	return v
}

// integer reads a number of the type, which must be one of a whole number.
func (r *thriftReader) integer(kind byte) int64 {
	if kind < thriftI16 || kind > thriftI64 {
		panic(errFooter)
	}
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *thriftReader) binary(kind byte) []byte {
	if kind != thriftBinary {
		panic(errFooter)
	}
	return r.take(r.uvarint())
}

// structure calls field for each field of a structure, which reads or skips its value.
func (r *thriftReader) structure(kind byte, field func(id int64, kind byte)) {
	if r.depth++; kind != thriftStruct || r.depth > maxThriftDepth {
		panic(errFooter)
	}
	for id := int64(0); ; {
		head := r.take(1)[0]
		if head == 0 {
			break
		}
		if step := head >> 4; step > 0 {
			id += int64(step)
		} else {
			id = r.integer(thriftI16)
		}
		field(id, head&15)
	}
	r.depth--
}

// list calls element for each element of a list, which reads or skips it.
func (r *thriftReader) list(kind byte, element func(kind byte)) {
	if kind != thriftList && kind != thriftSet {
		panic(errFooter)
	}
	head := r.take(1)[0]
	n := uint64(head >> 4)
	if n == 15 {
		n = r.uvarint()
	}
	if n > uint64(len(r.b)) { // an element has a byte at least
		panic(errFooter)
	}
	for range n {
		element(head & 15)
	}
}

// skip passes over a value; isElement says that it is one of a list, where truth values take a
// byte.
func (r *thriftReader) skip(kind byte, isElement bool) {
	switch kind {
	case thriftTrue, thriftFalse:
		if isElement {
			r.take(1)
		}
	case thriftByte:
		r.take(1)
	case thriftI16, thriftI32, thriftI64:
		r.uvarint()
	case thriftDouble:
		r.take(8)
	case thriftBinary:
		r.binary(kind)
	case thriftList, thriftSet:
		if r.depth++; r.depth > maxThriftDepth {
			panic(errFooter)
		}
		r.list(kind, func(kind byte) { r.skip(kind, true) })
		r.depth--
	case thriftStruct:
		r.structure(kind, func(_ int64, kind byte) { r.skip(kind, false) })
	default: // maps, of which Parquet has none
		panic(errFooter)
	}
}
