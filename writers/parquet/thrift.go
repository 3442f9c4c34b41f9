package parquet

import "encoding/binary"

// Types of Thrift's compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftBinary = 8
	thriftList   = 9
	thriftStruct = 12
)

// thriftWriter writes structs in Thrift's compact protocol, as the Thrift specification
// (thrift-compact-protocol.md) has it: fields in ascending order of their ids.
type thriftWriter struct {
	buf   []byte
	last  int   // id of the field before, in the struct that is open
	outer []int // those of the structs around it
}

func (t *thriftWriter) reset() { t.buf, t.last, t.outer = t.buf[:0], 0, t.outer[:0] }

func (t *thriftWriter) field(id int, kind byte) {
	if delta := id - t.last; delta > 0 && delta <= 15 {
		t.buf = append(t.buf, byte(delta)<<4|kind)
	} else {
		t.buf = binary.AppendVarint(append(t.buf, kind), int64(id))
	}
	t.last = id
}

func (t *thriftWriter) i16(id int, v int) {
	t.field(id, thriftI16)
	t.buf = binary.AppendVarint(t.buf, int64(v))
}

func (t *thriftWriter) i32(id int, v int) {
	t.field(id, thriftI32)
	t.buf = binary.AppendVarint(t.buf, int64(v))
}

func (t *thriftWriter) i64(id int, v int64) {
	t.field(id, thriftI64)
	t.buf = binary.AppendVarint(t.buf, v)
}

func (t *thriftWriter) bool(id int, v bool) {
	if v {
		t.field(id, thriftTrue)
	} else {
		t.field(id, thriftFalse)
	}
}

func (t *thriftWriter) bytes(id int, v []byte) {
	t.field(id, thriftBinary)
	t.buf = append(binary.AppendUvarint(t.buf, uint64(len(v))), v...)
}

func (t *thriftWriter) string(id int, v string) {
	t.field(id, thriftBinary)
	t.element(v)
}

// list begins a list field of n elements, which follow.
func (t *thriftWriter) list(id int, kind byte, n int) {
	t.field(id, thriftList)
	if n < 15 {
		t.buf = append(t.buf, byte(n)<<4|kind)
	} else {
		t.buf = binary.AppendUvarint(append(t.buf, 0xf0|kind), uint64(n))
	}
}

// element writes a string of a list.
func (t *thriftWriter) element(v string) {
	t.buf = append(binary.AppendUvarint(t.buf, uint64(len(v))), v...)
}

// elementI32 writes a number of a list.
func (t *thriftWriter) elementI32(v int) { t.buf = binary.AppendVarint(t.buf, int64(v)) }

// open begins a struct that is an element of a list, or the outermost one.
func (t *thriftWriter) open() { t.outer, t.last = append(t.outer, t.last), 0 }

// openField begins a struct that is a field.
func (t *thriftWriter) openField(id int) {
	t.field(id, thriftStruct)
	t.open()
}

func (t *thriftWriter) close() {
	t.buf = append(t.buf, 0)
	t.last = t.outer[len(t.outer)-1]
	t.outer = t.outer[:len(t.outer)-1]
}

// emptyField writes a field whose struct has no fields: a member of a union.
func (t *thriftWriter) emptyField(id int) {
	t.openField(id)
	t.close()
}
