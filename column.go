package cardlake

import (
	"hash/maphash"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// An accumulator collects the values of one column in Arrow's layout. The arrays it gives
// share its memory. Between reset and reset it grows; reset keeps what it has grown to.
type accumulator interface {
	// array returns the rows so far as an array of the type dt, or of a dictionary of it.
	array(dt arrow.DataType) arrow.Array
	// permute puts the row order[i] in place i, for every row.
	permute(order []int32)
	reset()
	// width is the bytes that a row takes, beside its text.
	width() int
}

// validity is the bitmap of a nullable column. It is empty until the first null.
type validity struct {
	bits  []byte
	spare []byte
	rows  int
	nulls int
}

func (v *validity) append(valid bool) {
	if v.nulls == 0 {
		if valid {
			v.rows++
			return
		}
		for range v.rows / 8 {
			v.bits = append(v.bits, 0xff)
		}
		if n := v.rows & 7; n > 0 {
			v.bits = append(v.bits, 1<<n-1)
		}
	}
	if v.rows&7 == 0 {
		v.bits = append(v.bits, 0)
	}
	if valid {
		v.bits[v.rows>>3] |= 1 << (v.rows & 7)
	} else {
		v.nulls++
	}
	v.rows++
}

func (v *validity) permute(order []int32) {
	if v.nulls == 0 {
		return
	}
	v.spare = append(v.spare[:0], v.bits...)
	clear(v.bits)
	for i, from := range order {
		v.bits[i>>3] |= v.spare[from>>3] >> (from & 7) & 1 << (i & 7)
	}
}

func (v *validity) reset() { v.bits, v.rows, v.nulls = v.bits[:0], 0, 0 }

// buffer returns the bitmap, nil where Arrow wants none.
func (v *validity) buffer() *memory.Buffer {
	if v.nulls == 0 {
		return nil
	}
	return memory.NewBufferBytes(v.bits)
}

// fixed is a column of values that are memory as Arrow has it: int32, int64, decimal128.
type fixed[T int32 | int64 | decimal128.Num] struct {
	values []T
	spare  []T
	valid  validity // of no rows in a required column
}

func (c *fixed[T]) append(v T) { c.values = append(c.values, v) }

func (c *fixed[T]) appendNullable(v T, valid bool) {
	c.values = append(c.values, v)
	c.valid.append(valid)
}

func (c *fixed[T]) array(dt arrow.DataType) arrow.Array {
	data := array.NewData(dt, len(c.values), []*memory.Buffer{c.valid.buffer(), bufferOf(c.values)}, nil, c.valid.nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

func (c *fixed[T]) permute(order []int32) {
	c.spare = gather(c.spare, c.values, order)
	c.values, c.spare = c.spare, c.values
	c.valid.permute(order)
}

func (c *fixed[T]) reset() {
	c.values = c.values[:0]
	c.valid.reset()
}

func (c *fixed[T]) width() int { return int(unsafe.Sizeof(*new(T))) }

// bools is a column of booleans; they become bits when the array is made.
type bools struct {
	values []Truth
	spare  []Truth
	bits   []byte
	valid  validity
}

func (c *bools) append(v Truth) { c.values = append(c.values, v) }

func (c *bools) array(dt arrow.DataType) arrow.Array {
	c.bits = append(c.bits[:0], make([]byte, (len(c.values)+7)/8)...)
	c.valid.reset()
	for i, v := range c.values {
		if v == True {
			c.bits[i>>3] |= 1 << (i & 7)
		}
		c.valid.append(v != Unknown)
	}
	data := array.NewData(dt, len(c.values), []*memory.Buffer{c.valid.buffer(), memory.NewBufferBytes(c.bits)}, nil, c.valid.nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

func (c *bools) permute(order []int32) {
	c.spare = gather(c.spare, c.values, order)
	c.values, c.spare = c.spare, c.values
}

func (c *bools) reset() { c.values = c.values[:0] }

func (c *bools) width() int { return 1 }

// texts is a column of strings or bytes, one after another in one buffer.
type texts struct {
	data       []byte
	ends       []int32 // offsets as Arrow has them: ends[0] is 0
	spare      []byte
	spareEnds  []int32
	valid      validity
	isNullable bool
}

func (c *texts) append(s string) int {
	c.data = append(c.data, s...)
	c.close(s != "")
	return len(s)
}

// close ends the value whose bytes were appended to data.
func (c *texts) close(valid bool) {
	if len(c.ends) == 0 {
		c.ends = append(c.ends, 0)
	}
	c.ends = append(c.ends, int32(len(c.data)))
	if c.isNullable {
		c.valid.append(valid)
	}
}

func (c *texts) rows() int { return max(0, len(c.ends)-1) }

func (c *texts) value(row int32) []byte { return c.data[c.ends[row]:c.ends[row+1]] }

func (c *texts) array(dt arrow.DataType) arrow.Array {
	buffers := []*memory.Buffer{c.valid.buffer(), bufferOf(c.ends), memory.NewBufferBytes(c.data)}
	if len(c.ends) == 0 {
		buffers[1] = memory.NewBufferBytes(make([]byte, 4))
	}
	data := array.NewData(dt, c.rows(), buffers, nil, c.valid.nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

func (c *texts) permute(order []int32) {
	c.spare, c.spareEnds = c.spare[:0], append(c.spareEnds[:0], 0)
	for _, from := range order {
		c.spare = append(c.spare, c.value(from)...)
		c.spareEnds = append(c.spareEnds, int32(len(c.spare)))
	}
	c.data, c.spare = c.spare, c.data
	c.ends, c.spareEnds = c.spareEnds, c.ends
	c.valid.permute(order)
}

func (c *texts) reset() {
	c.data, c.ends = c.data[:0], c.ends[:0]
	c.valid.reset()
}

func (c *texts) width() int { return 4 }

// words is a column of strings that repeat: codes into a dictionary of the batch's distinct
// values. The dictionary's look-up is a table of open addressing over the values' hashes, so
// that a value that was seen before costs no allocation.
type words struct {
	codes      fixed[int32]
	dictionary texts
	hashes     []uint32 // of the dictionary's values
	slots      []int32  // code + 1, 0 for a free slot; a power of two of them
	seed       maphash.Seed
	last       int32 // code of the value before, by far the likeliest
	isNullable bool
}

const minSlots = 16

func newWords(nullable bool) *words {
	return &words{seed: maphash.MakeSeed(), slots: make([]int32, minSlots), isNullable: nullable}
}

// append returns the bytes of text that the dictionary has grown by.
func (c *words) append(s string) (grown int) {
	if c.isNullable {
		if s == "" {
			c.codes.appendNullable(0, false)
			return 0
		}
		c.codes.valid.append(true)
	}
	if len(c.hashes) == 0 || string(c.dictionary.value(c.last)) != s {
		n := len(c.hashes)
		c.last = c.code(s)
		if len(c.hashes) > n {
			grown = len(s)
		}
	}
	c.codes.append(c.last)
	return grown
}

// code returns the value's code, a new one if there is none yet.
func (c *words) code(s string) int32 {
	hash := uint32(maphash.String(c.seed, s))
	mask := uint32(len(c.slots) - 1)
	slot := hash & mask
	for ; c.slots[slot] != 0; slot = (slot + 1) & mask {
		code := c.slots[slot] - 1
		if c.hashes[code] == hash && string(c.dictionary.value(code)) == s {
			return code
		}
	}
	code := int32(len(c.hashes))
	c.hashes = append(c.hashes, hash)
	c.dictionary.append(s)
	c.slots[slot] = code + 1
	if 2*len(c.hashes) > len(c.slots) {
		c.grow()
	}
	return code
}

func (c *words) grow() {
	c.slots = make([]int32, 2*len(c.slots))
	mask := uint32(len(c.slots) - 1)
	for code, hash := range c.hashes {
		slot := hash & mask
		for c.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		c.slots[slot] = int32(code) + 1
	}
}

func (c *words) array(dt arrow.DataType) arrow.Array {
	dictType := dictionaryOf(dt)
	indices, dictionary := c.codes.array(dictType.IndexType), c.dictionary.array(dt)
	defer indices.Release()
	defer dictionary.Release()
	return array.NewDictionaryArray(dictType, indices, dictionary)
}

func (c *words) permute(order []int32) { c.codes.permute(order) }

func (c *words) reset() {
	c.codes.reset()
	c.dictionary.reset()
	c.hashes = c.hashes[:0]
	clear(c.slots)
}

func (c *words) width() int { return 4 }

func gather[T any](dst, src []T, order []int32) []T {
	dst = dst[:0]
	for _, from := range order {
		dst = append(dst, src[from])
	}
	return dst
}

func bufferOf[T int32 | int64 | decimal128.Num](values []T) *memory.Buffer {
	if len(values) == 0 {
		return memory.NewBufferBytes(nil)
	}
	bytes := len(values) * int(unsafe.Sizeof(values[0]))
	return memory.NewBufferBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), bytes))
}
