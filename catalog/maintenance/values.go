package maintenance

import (
	"bytes"
	"errors"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
)

// kind is how the values of a column lie in memory.
type kind int

const (
	textKind kind = iota // text and binary
	boolKind
	int32Kind
	int64Kind // times and decimals too
)

func kindOf(t cardlake.Type) kind {
	switch t {
	case cardlake.Bool:
		return boolKind
	case cardlake.Int32:
		return int32Kind
	case cardlake.Int64, cardlake.Timestamp, cardlake.TimestampTZ, cardlake.Decimal18x4:
		return int64Kind
	}
	return textKind
}

// values are those of one column, of rows one after another. Text is kept as codes of words
// as long as that takes less, whether the files have it so or not: what hardly repeated in
// many small files may well repeat in one.
type values struct {
	kind kind
	rows int
	// valid has a byte for each row, 0 for a null; it is empty as long as there is none. What
	// a null row has in the other slices means nothing.
	valid  []byte
	int32s []int32
	int64s []int64
	bools  []byte

	// isCoded says which of the two a column of text is.
	isCoded bool
	codes   []int32
	words   words
	plain   texts
}

func (v *values) reset(k kind) {
	v.kind, v.rows, v.isCoded = k, 0, k == textKind
	v.valid, v.int32s, v.int64s, v.bools, v.codes = v.valid[:0], v.int32s[:0], v.int64s[:0], v.bools[:0], v.codes[:0]
	v.words.reset()
	v.plain.reset()
}

func (v *values) has(i int) bool { return len(v.valid) == 0 || v.valid[i] != 0 }

// fixed is the value, or what stands for null in a row's hash.
func (v *values) fixed(i int, value uint64) uint64 {
	if v.has(i) {
		return value
	}
	return null
}

// addValid notes n more rows, of which valid has a byte each, or all if it is nil.
func (v *values) addValid(n int, valid []byte) {
	if valid == nil && len(v.valid) == 0 {
		v.rows += n
		return
	}
	if len(v.valid) == 0 {
		v.valid = appendRepeated(v.valid, 1, v.rows)
	}
	if valid == nil {
		v.valid = appendRepeated(v.valid, 1, n)
	} else {
		v.valid = append(v.valid, valid...)
	}
	v.rows += n
}

func appendRepeated[T any](dst []T, value T, n int) []T {
	dst = slices.Grow(dst, n)
	for range n {
		dst = append(dst, value)
	}
	return dst
}

// addNulls adds n rows without a value.
func (v *values) addNulls(n int) {
	v.addValid(n, make([]byte, n))
	switch v.kind {
	case boolKind:
		v.bools = appendRepeated(v.bools, 0, n)
	case int32Kind:
		v.int32s = appendRepeated(v.int32s, 0, n)
	case int64Kind:
		v.int64s = appendRepeated(v.int64s, 0, n)
	default:
		if v.isCoded {
			v.codes = appendRepeated(v.codes, 0, n)
		} else {
			v.plain.ends = appendRepeated(v.plain.ends, int32(len(v.plain.data)), n)
		}
	}
}

// maxWordBytes bounds the words: no dictionary page of the encoder is larger.
const maxWordBytes = 4 << 20

// isHopeless reports whether so many words of so many texts show that codes will not pay. The
// first texts of a column that repeats are mostly new, so that early on nearly all must be.
func isHopeless(words, texts int) bool {
	switch {
	case words < 1<<10:
		return false
	case words < 1<<12:
		return words*10 > texts*9
	case words < 1<<14:
		return words*4 > texts*3
	}
	return words*2 > texts
}

var errText = errors.New("more than 2 GiB of text in one column of one row group")

// addText adds a text, or a null, of a row that addValid has noted.
func (v *values) addText(text []byte, isValid bool) error {
	if v.isCoded {
		code := int32(0)
		if isValid {
			code = v.words.code(hashText(text), text)
		}
		v.codes = append(v.codes, code)
		if n := v.words.len(); isHopeless(n, len(v.codes)) || len(v.words.data)+4*n > maxWordBytes {
			return v.spell()
		}
		return nil
	}
	if isValid {
		v.plain.data = append(v.plain.data, text...)
	}
	if len(v.plain.data) > math.MaxInt32 {
		return errText
	}
	v.plain.ends = append(v.plain.ends, int32(len(v.plain.data)))
	return nil
}

// spell turns codes into texts.
func (v *values) spell() error {
	v.isCoded = false
	v.plain.reset()
	for i, code := range v.codes {
		if v.has(i) {
			v.plain.data = append(v.plain.data, v.words.value(int(code))...)
		}
		if len(v.plain.data) > math.MaxInt32 {
			return errText
		}
		v.plain.ends = append(v.plain.ends, int32(len(v.plain.data)))
	}
	return nil
}

// words are different texts with their codes, which count them in the order in which they came.
type words struct {
	texts
	hashes []uint64
	slots  []uint64 // by the lower bits of a hash: its upper half and the code + 1; 0 is free
}

func (w *words) reset() {
	w.texts.reset()
	w.hashes = w.hashes[:0]
	clear(w.slots)
}

// code returns the code of a text, a new one if it has none.
func (w *words) code(hash uint64, text []byte) int32 {
	if 2*len(w.hashes) >= len(w.slots) {
		w.grow()
	}
	mask, tag := uint64(len(w.slots)-1), hash>>32<<32
	at := hash & mask
	for ; w.slots[at] != 0; at = (at + 1) & mask {
		if slot := w.slots[at]; slot>>32<<32 == tag {
			if code := int32(uint32(slot)) - 1; w.hashes[code] == hash && bytes.Equal(w.value(int(code)), text) {
				return code
			}
		}
	}
	w.add(text)
	w.hashes = append(w.hashes, hash)
	w.slots[at] = tag | uint64(len(w.hashes))
	return int32(len(w.hashes) - 1)
}

func (w *words) grow() {
	w.slots = make([]uint64, max(256, 2*len(w.slots)))
	mask := uint64(len(w.slots) - 1)
	for code, hash := range w.hashes {
		at := hash & mask
		for w.slots[at] != 0 {
			at = (at + 1) & mask
		}
		w.slots[at] = hash>>32<<32 | uint64(code+1)
	}
}

// output is the memory of one column of a record.
type output struct {
	valid    []byte
	int32s   []int32
	int64s   []int64
	bools    []byte
	decimals []decimal128.Num
	texts    texts
	words    texts
}

// array makes the values an array in the order: row i is the order[i]-th of v, or the i-th if
// order is nil. The array shares o's memory and none of v's.
func (o *output) array(v *values, dt arrow.DataType, order []int32) arrow.Array {
	n := v.rows
	var validity *memory.Buffer
	nulls := 0
	if len(v.valid) > 0 {
		o.valid, nulls = packBits(o.valid, v.valid, order)
		nulls = n - nulls
		validity = memory.NewBufferBytes(o.valid)
	}
	data := func(dt arrow.DataType, buffers ...*memory.Buffer) *array.Data {
		return array.NewData(dt, n, append([]*memory.Buffer{validity}, buffers...), nil, nulls, 0)
	}
	switch {
	case v.isCoded:
		o.int32s = gather(o.int32s, v.codes, order)
		o.words.data = append(o.words.data[:0], v.words.data...)
		o.words.ends = append(o.words.ends[:0], v.words.ends...)
		dictionary := array.NewData(dt, o.words.len(), []*memory.Buffer{nil, int32Buffer(o.words.ends), memory.NewBufferBytes(o.words.data)}, nil, 0, 0)
		coded := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: dt}
		return array.NewDictionaryData(array.NewDataWithDictionary(coded, n, []*memory.Buffer{validity, int32Buffer(o.int32s)}, nulls, 0, dictionary))
	case v.kind == textKind:
		o.gatherTexts(v, order)
		return array.MakeFromData(data(dt, int32Buffer(o.texts.ends), memory.NewBufferBytes(o.texts.data)))
	case v.kind == boolKind:
		o.bools, _ = packBits(o.bools, v.bools, order)
		return array.MakeFromData(data(dt, memory.NewBufferBytes(o.bools)))
	case v.kind == int32Kind:
		o.int32s = gather(o.int32s, v.int32s, order)
		return array.MakeFromData(data(dt, int32Buffer(o.int32s)))
	case dt.ID() == arrow.DECIMAL128:
		o.decimals = slices.Grow(o.decimals[:0], n)[:n]
		if order == nil {
			for i, x := range v.int64s {
				o.decimals[i] = decimal128.FromI64(x)
			}
		}
		for i, from := range order {
			o.decimals[i] = decimal128.FromI64(v.int64s[from])
		}
		return array.MakeFromData(data(dt, memory.NewBufferBytes(arrow.Decimal128Traits.CastToBytes(o.decimals))))
	}
	o.int64s = gather(o.int64s, v.int64s, order)
	return array.MakeFromData(data(dt, memory.NewBufferBytes(arrow.Int64Traits.CastToBytes(o.int64s))))
}

func int32Buffer(v []int32) *memory.Buffer {
	return memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(v))
}

func gather[T any](dst, src []T, order []int32) []T {
	if order == nil {
		return append(dst[:0], src...)
	}
	dst = slices.Grow(dst[:0], len(order))[:len(order)]
	for i, from := range order {
		dst[i] = src[from]
	}
	return dst
}

func (o *output) gatherTexts(v *values, order []int32) {
	if order == nil {
		o.texts.data, o.texts.ends = append(o.texts.data[:0], v.plain.data...), append(o.texts.ends[:0], v.plain.ends...)
		return
	}
	o.texts.reset()
	o.texts.data = slices.Grow(o.texts.data, len(v.plain.data))
	o.texts.ends = slices.Grow(o.texts.ends, len(order))
	data, ends := o.texts.data, o.texts.ends
	for _, from := range order {
		data = append(data, v.plain.data[v.plain.ends[from]:v.plain.ends[from+1]]...)
		ends = append(ends, int32(len(data)))
	}
	o.texts.data, o.texts.ends = data, ends
}

// packBits makes bits of bytes that are 0 or 1, in the order, and counts the ones.
func packBits(dst, src []byte, order []int32) (bits []byte, ones int) {
	n := len(src)
	dst = slices.Grow(dst[:0], (n+7)/8)[:(n+7)/8]
	clear(dst)
	if order == nil {
		for i, b := range src {
			dst[i>>3] |= b << (i & 7)
			ones += int(b)
		}
		return dst, ones
	}
	for i, from := range order {
		dst[i>>3] |= src[from] << (i & 7)
		ones += int(src[from])
	}
	return dst, ones
}
