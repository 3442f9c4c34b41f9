package cardlake

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A column holds the values of one column in Arrow's layout, in the order in which the rows
// came, and on request in another order, in memory of its own. The arrays it gives share its
// memory. What an array of the first order covers is never written again before reset:
// values are added behind it, and growth leaves the old memory as it is.
//
// Whether a value is null is not in the column but in the rows' flags.
type column interface {
	// grow makes room for so many rows, of which n are there.
	grow(n, room int)
	// sort puts the row order[i] in place i of the sorted values, for every row.
	sort(order []int32)
	// array returns the first n rows, or the sorted ones, as an array of the type dt or of a
	// dictionary of it, with the validity and booleans of m.
	array(dt arrow.DataType, n int, isSorted bool, m *bitmaps) arrow.Array
	reset()
	// width is the bytes that a row takes, beside its text.
	width() int
	// flagged gives the column its flags: the validity, if it is nullable, and what it takes.
	flagged(valid flag, f *flags)
}

// fixed is a column of values that are memory as Arrow has it.
type fixed[T int32 | int64 | uint64 | decimal128.Num | idText] struct {
	live   []T // one for each row that there is room for
	sorted []T
	valid  flag
}

func (c *fixed[T]) grow(n, room int) {
	live := make([]T, room)
	copy(live, c.live[:n])
	c.live = live
}

func (c *fixed[T]) sort(order []int32) {
	if cap(c.sorted) < len(order) {
		c.sorted = make([]T, len(c.live))
	}
	c.sorted = c.sorted[:len(order)]
	for i, from := range order {
		c.sorted[i] = c.live[from]
	}
}

func (c *fixed[T]) buffer(n int, isSorted bool) *memory.Buffer {
	if isSorted {
		return bufferOf(c.sorted)
	}
	return bufferOf(c.live[:n:n])
}

func (c *fixed[T]) array(dt arrow.DataType, n int, isSorted bool, m *bitmaps) arrow.Array {
	return newArray(dt, n, c.valid, m, c.buffer(n, isSorted))
}

func (c *fixed[T]) reset() {}

func (c *fixed[T]) flagged(valid flag, _ *flags) { c.valid = valid }

func (c *fixed[T]) width() int { return int(unsafe.Sizeof(*new(T))) }

// ids is a column of event ids, as strings. They are all of one length, so their offsets are
// known before they are.
type ids struct {
	fixed[idText]
	ends []int32
}

func (c *ids) grow(n, room int) {
	c.fixed.grow(n, room)
	c.ends = make([]int32, room+1)
	for i := range c.ends {
		c.ends[i] = int32(i * len(idText{}))
	}
}

func (c *ids) array(dt arrow.DataType, n int, isSorted bool, m *bitmaps) arrow.Array {
	return newArray(dt, n, c.valid, m, offsetsOf(c.ends, n), c.buffer(n, isSorted))
}

func (c *ids) width() int { return c.fixed.width() + 4 }

// bools is a column of booleans. Its values are flags of the rows.
type bools struct{ value, valid flag }

func (c *bools) grow(int, int) {}

func (c *bools) sort([]int32) {}

func (c *bools) array(dt arrow.DataType, n int, _ bool, m *bitmaps) arrow.Array {
	return newArray(dt, n, c.valid, m, memory.NewBufferBytes(m.bytes(c.value)))
}

func (c *bools) reset() {}

func (c *bools) flagged(valid flag, f *flags) { c.value, c.valid = f.take(), valid }

func (c *bools) width() int { return 0 }

// texts is a column of strings or bytes, one after another in one buffer.
type texts struct {
	data       []byte
	ends       []int32 // offsets as Arrow has them, one more than there is room for rows: ends[0] is 0
	sortedData []byte
	sortedEnds []int32
	valid      flag
}

// set appends the value of row n, which is the next.
func (c *texts) set(n int, s string) {
	c.data = append(c.data, s...)
	c.ends[n+1] = int32(len(c.data))
}

func (c *texts) grow(n, room int) {
	ends := make([]int32, room+1)
	if n > 0 {
		copy(ends, c.ends[:n+1])
	}
	c.ends = ends
}

func (c *texts) sort(order []int32) {
	if cap(c.sortedEnds) <= len(order) {
		c.sortedEnds = make([]int32, len(c.ends))
	}
	c.sortedEnds = c.sortedEnds[:len(order)+1]
	data := c.sortedData[:0]
	for i, from := range order {
		data = append(data, c.data[c.ends[from]:c.ends[from+1]]...)
		c.sortedEnds[i+1] = int32(len(data))
	}
	c.sortedData = data
}

func (c *texts) array(dt arrow.DataType, n int, isSorted bool, m *bitmaps) arrow.Array {
	ends, data := c.ends, c.data
	if isSorted {
		ends, data = c.sortedEnds, c.sortedData
	}
	return newArray(dt, n, c.valid, m, offsetsOf(ends, n), memory.NewBufferBytes(data[:len(data):len(data)]))
}

func (c *texts) flagged(valid flag, _ *flags) { c.valid = valid }

func (c *texts) reset() { c.data = c.data[:0] }

func (c *texts) width() int { return 4 }

// words is a column of strings that repeat: codes into a dictionary of the batch's distinct
// values, which only grows.
type words struct {
	codes fixed[int32]
	data  []byte  // the dictionary
	ends  []int32 // its offsets
	index index   // of its values
	seed  hashSeed
	last  int32 // code of the value looked up before
	valid flag
}

func newWords(seed hashSeed) *words { return &words{seed: seed} }

func (c *words) value(code int32) string { return view(c.data[c.ends[code]:c.ends[code+1]]) }

// set gives row n, which is the next, a value; an empty one is null where the column may be.
// It returns the bytes of text that the dictionary grew by.
func (c *words) set(n int, s string) (grown int) {
	if s == "" && c.valid != noFlag {
		c.codes.live[n] = 0
		return 0
	}
	c.codes.live[n], grown = c.code(s)
	return grown
}

// code returns the code of a value and the bytes of text that the dictionary grew by.
func (c *words) code(s string) (code int32, grown int) {
	if len(c.ends) == 0 {
		c.ends = append(c.ends, 0)
	} else if c.value(c.last) == s {
		return c.last, 0
	}
	hash := uint32(c.seed.hash(s))
	for code, at := c.index.first(hash); code >= 0; code, at = c.index.next(hash, at) {
		if c.value(code) == s {
			c.last = code
			return code, 0
		}
	}
	c.data = append(c.data, s...)
	c.ends = append(c.ends, int32(len(c.data)))
	c.last = int32(c.index.entries)
	c.index.add(hash, c.last)
	return c.last, len(s)
}

func (c *words) grow(n, room int) { c.codes.grow(n, room) }

func (c *words) sort(order []int32) { c.codes.sort(order) }

func (c *words) array(dt arrow.DataType, n int, isSorted bool, m *bitmaps) arrow.Array {
	entries := c.index.entries
	dictionary := newArray(dt, entries, noFlag, m, offsetsOf(c.ends, entries), memory.NewBufferBytes(c.data[:len(c.data):len(c.data)]))
	defer dictionary.Release()
	dictType := dictionaryOf(dt)
	codes := newArray(dictType.IndexType, n, c.valid, m, c.codes.buffer(n, isSorted))
	defer codes.Release()
	return array.NewDictionaryArray(dictType, codes, dictionary)
}

func (c *words) flagged(valid flag, _ *flags) { c.valid = valid }

func (c *words) reset() {
	c.data, c.ends, c.last = c.data[:0], c.ends[:0], 0
	c.index.reset()
}

func (c *words) width() int { return c.codes.width() }

func newArray(dt arrow.DataType, n int, valid flag, m *bitmaps, buffers ...*memory.Buffer) arrow.Array {
	validity, nulls := m.validity(valid)
	data := array.NewData(dt, n, append([]*memory.Buffer{validity}, buffers...), nil, nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

// offsetsOf returns the offsets of n values; before the first value there may be none.
func offsetsOf(ends []int32, n int) *memory.Buffer {
	if len(ends) == 0 {
		return bufferOf(make([]int32, 1))
	}
	return bufferOf(ends[: n+1 : n+1])
}

func bufferOf[T int32 | int64 | uint64 | decimal128.Num | idText](values []T) *memory.Buffer {
	if len(values) == 0 {
		return memory.NewBufferBytes(nil)
	}
	bytes := len(values) * int(unsafe.Sizeof(values[0]))
	return memory.NewBufferBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), bytes))
}

// view returns b's memory as a string.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
