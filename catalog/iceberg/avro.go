package iceberg

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
)

// Avro's binary encoding and object container files, as far as Iceberg's manifests need
// them (Apache Avro 1.12 specification, "Binary Encoding" and "Object Container Files").
// A general codec rebuilds the schema for every file and boxes every value: of a commit of
// a dozen files that was the greater part of the cost.

var errAvro = errors.New("malformed Avro")

func appendLong(b []byte, n int64) []byte { return binary.AppendVarint(b, n) }

func appendBytes[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(appendLong(b, int64(len(s))), s...)
}

// Branches of a union of null and another type.
const (
	avroNull    = 0
	avroPresent = 1
)

func appendOptionalLong(b []byte, n int64, isPresent bool) []byte {
	if !isPresent {
		return appendLong(b, avroNull)
	}
	return appendLong(appendLong(b, avroPresent), n)
}

// avroReader decodes values from memory, which what it returns shares. After the first
// malformed value it returns zero values, and bad is true.
type avroReader struct {
	rest []byte
	bad  bool
}

func (r *avroReader) fail() {
	r.bad, r.rest = true, nil
}

func (r *avroReader) long() int64 {
	n, size := binary.Varint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *avroReader) take(n int64) []byte {
	if n < 0 || n > int64(len(r.rest)) {
		r.fail()
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

func (r *avroReader) bytes() []byte { return r.take(r.long()) }

func (r *avroReader) boolean() bool {
	b := r.take(1)
	return len(b) == 1 && b[0] != 0
}

// present reads the branch of a union of null and another type.
func (r *avroReader) present() bool {
	branch := r.long()
	if branch != avroNull && branch != avroPresent {
		r.fail()
	}
	return branch == avroPresent
}

// array reads the blocks of an array, or of a map. No item is of zero bytes, so a count
// beyond the bytes that are left is malformed.
func (r *avroReader) array(item func()) {
	for !r.bad {
		count := r.long()
		if count == 0 {
			return
		}
		if count < 0 {
			count = -count
			r.long() // the block's size
		}
		if count < 0 || count > int64(len(r.rest)) {
			r.fail()
		}
		for ; count > 0 && !r.bad; count-- {
			item()
		}
	}
}

// Container files.
const (
	avroMagic = "Obj\x01"
	syncSize  = 16
	// blockTarget is the size from which a block is closed: Avro's Java writer has the same.
	blockTarget = 64 << 10
	// maxBlock bounds what a compressed block may grow to.
	maxBlock = 256 << 20
)

// containerHeader is a container file's beginning, up to the sync marker. The pairs are keys
// and values of its metadata.
func containerHeader(schema, codec string, pairs ...string) []byte {
	pairs = append(pairs, "avro.schema", schema, "avro.codec", codec)
	b := appendLong([]byte(avroMagic), int64(len(pairs)/2))
	for _, s := range pairs {
		b = appendBytes(b, s)
	}
	return appendLong(b, 0)
}

// containerWriter collects a container file whose header is given.
type containerWriter struct {
	out, block []byte
	count      int64
	sync       [syncSize]byte
	deflate    *flate.Writer // nil: not compressed
}

func newContainer(header []byte, compress bool) *containerWriter {
	w := &containerWriter{}
	rand.Read(w.sync[:])
	if compress {
		w.deflate, _ = flate.NewWriter(nil, flate.BestSpeed) // fails on unknown levels only
	}
	w.out = append(append(w.out, header...), w.sync[:]...)
	return w
}

// end closes an item that was appended to block.
func (w *containerWriter) end() {
	w.count++
	if len(w.block) >= blockTarget {
		w.flush()
	}
}

func (w *containerWriter) flush() {
	if w.count == 0 {
		return
	}
	data := w.block
	if w.deflate != nil {
		var buf bytes.Buffer // to which writing does not fail
		w.deflate.Reset(&buf)
		_, _ = w.deflate.Write(data)
		_ = w.deflate.Close()
		data = buf.Bytes()
	}
	w.out = appendBytes(appendLong(w.out, w.count), data)
	w.out = append(w.out, w.sync[:]...)
	w.block, w.count = w.block[:0], 0
}

func (w *containerWriter) close() []byte {
	w.flush()
	return w.out
}

// readContainer calls item for each item of a container file of the schema. It returns false,
// having called nothing, if the file has another schema or another codec than null and
// deflate. An item must consume itself.
func readContainer(file []byte, schema string, item func(*avroReader) error) (known bool, err error) {
	r := &avroReader{rest: file}
	if string(r.take(int64(len(avroMagic)))) != avroMagic {
		return false, errAvro
	}
	var has, codec string
	r.array(func() {
		key, value := string(r.bytes()), r.bytes()
		switch key {
		case "avro.schema":
			has = string(value)
		case "avro.codec":
			codec = string(value)
		}
	})
	sync := r.take(syncSize)
	switch {
	case r.bad:
		return false, errAvro
	case has != schema, codec != "" && codec != "null" && codec != "deflate":
		return false, nil
	}
	for len(r.rest) > 0 {
		count, data := r.long(), r.bytes()
		if !bytes.Equal(r.take(syncSize), sync) || r.bad || count < 0 {
			return true, errAvro
		}
		if codec == "deflate" {
			if data, err = inflate(data); err != nil {
				return true, err
			}
		}
		items := &avroReader{rest: data}
		for ; count > 0; count-- {
			if err := item(items); err != nil {
				return true, err
			}
			if items.bad {
				return true, errAvro
			}
		}
		if len(items.rest) > 0 {
			return true, errAvro
		}
	}
	return true, nil
}

func inflate(data []byte) ([]byte, error) {
	z := flate.NewReader(bytes.NewReader(data))
	defer z.Close()
	out, err := io.ReadAll(io.LimitReader(z, maxBlock+1))
	if err != nil || len(out) > maxBlock {
		return nil, fmt.Errorf("%w: a compressed block", errAvro)
	}
	return out, nil
}
