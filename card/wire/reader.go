package wire

import (
	"encoding/binary"
	"unicode/utf8"
	"unsafe"
)

// reader walks an Avro record. After the first fault it returns zero values.
type reader struct {
	rest        []byte
	field, rule string // of the first fault
}

func (r *reader) fail(field, rule string) {
	if r.field == "" {
		r.field, r.rule = field, rule
	}
	r.rest = nil
}

func (r *reader) long(field string) int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail(field, "is not a varint")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes(field string) []byte {
	n := r.long(field)
	if n < 0 || n > int64(len(r.rest)) {
		r.fail(field, "is cut short")
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) text(field string) string {
	b := r.bytes(field)
	if len(b) == 0 {
		return ""
	}
	if !utf8.Valid(b) {
		r.fail(field, "is not UTF-8")
		return ""
	}
	return unsafe.String(&b[0], len(b))
}
