package maintenance

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// What pages hold, decoded straight into the memory that files are made of: parquet-format,
// Encodings.md. Every length in a page is checked before it is used; a page that does not keep
// to the format gives errPage.
var errPage = errors.New("a page does not keep to its encoding")

// maxValues bounds the values that one page says it has: far more than any writer puts in one.
const maxValues = 1 << 24

// appendHybrid appends n values of the width from the runs of the RLE and bit-packing hybrid.
func appendHybrid(dst []int32, src []byte, n int, width uint) ([]int32, error) {
	if width > 32 {
		return dst, errPage
	}
	dst = slices.Grow(dst, n)
	for n > 0 {
		header, size := binary.Uvarint(src)
		if size <= 0 || header>>1 > maxValues {
			return dst, errPage
		}
		src = src[size:]
		if header&1 == 0 {
			run, bytes := min(n, int(header>>1)), int(width+7)/8
			if run == 0 || len(src) < bytes {
				return dst, errPage
			}
			var value uint32
			for i := range bytes {
				value |= uint32(src[i]) << (8 * i)
			}
			src = src[bytes:]
			for range run {
				dst = append(dst, int32(value))
			}
			n -= run
			continue
		}
		groups := int(header >> 1)
		run, size := min(n, groups*8), groups*int(width)
		if size > len(src) { // the last run may be cut after its last value
			size = len(src)
		}
		if run == 0 || (run*int(width)+7)/8 > size {
			return dst, errPage
		}
		dst = appendPacked(dst, src[:size], run, width)
		src = src[size:]
		n -= run
	}
	return dst, nil
}

// appendPacked appends n bit-packed values of up to 32 bits, which src has.
func appendPacked(dst []int32, src []byte, n int, width uint) []int32 {
	mask, at := uint64(1)<<width-1, uint(0)
	for ; n > 0 && int(at>>3)+8 <= len(src); n-- {
		dst = append(dst, int32(binary.LittleEndian.Uint64(src[at>>3:])>>(at&7)&mask))
		at += width
	}
	for ; n > 0; n-- {
		var last [8]byte
		copy(last[:], src[min(int(at>>3), len(src)):])
		dst = append(dst, int32(binary.LittleEndian.Uint64(last[:])>>(at&7)&mask))
		at += width
	}
	return dst
}

// appendLevels appends a byte for each of n rows, 1 where the value is there, and returns how
// many are. src are the runs of definition levels of a column that may be null.
func appendLevels(dst, src []byte, n int) (levels []byte, valid int, err error) {
	for n > 0 {
		header, size := binary.Uvarint(src)
		if size <= 0 || header>>1 > maxValues {
			return dst, 0, errPage
		}
		src = src[size:]
		if header&1 == 0 {
			run := min(n, int(header>>1))
			if run == 0 || len(src) < 1 || src[0] > 1 {
				return dst, 0, errPage
			}
			for range run {
				dst = append(dst, src[0])
			}
			valid += run * int(src[0])
			src, n = src[1:], n-run
			continue
		}
		run, size := min(n, int(header>>1)*8), min(int(header>>1), len(src))
		if run == 0 || (run+7)/8 > size {
			return dst, 0, errPage
		}
		for i := range run {
			bit := src[i>>3] >> (i & 7) & 1
			dst = append(dst, bit)
			valid += int(bit)
		}
		src, n = src[size:], n-run
	}
	return dst, valid, nil
}

// appendDelta appends n values in DELTA_BINARY_PACKED and returns what follows them. The
// arithmetic wraps in the width of T.
func appendDelta[T int32 | int64](dst []T, src []byte, n int) ([]T, []byte, error) {
	block, src, ok1 := uvarint(src)
	minis, src, ok2 := uvarint(src)
	total, src, ok3 := uvarint(src)
	first, size := binary.Varint(src)
	if !ok1 || !ok2 || !ok3 || size <= 0 || minis == 0 || block == 0 || block%minis != 0 || block/minis%32 != 0 || block > maxValues || total != n {
		return dst, nil, errPage
	}
	src = src[size:]
	if n == 0 {
		return dst, src, nil
	}
	per := block / minis
	dst = append(slices.Grow(dst, n), T(first))
	value := T(first)
	for n--; n > 0; {
		least, size := binary.Varint(src)
		if size <= 0 || len(src) < size+minis {
			return dst, nil, errPage
		}
		widths := src[size : size+minis]
		src = src[size+minis:]
		for _, w := range widths {
			if n == 0 {
				break // no values: no bytes, whatever the width says
			}
			width := uint(w)
			bytes := int(width) * per / 8
			if width > 64 || bytes > len(src) {
				return dst, nil, errPage
			}
			count := min(n, per)
			dst, value = appendMini(dst, src, count, width, value, T(least))
			src = src[bytes:]
			n -= count
		}
	}
	return dst, src, nil
}

// appendMini appends the n values of a miniblock, of which src has the bytes, and those that
// follow it.
func appendMini[T int32 | int64](dst []T, src []byte, n int, width uint, value, least T) ([]T, T) {
	mask, at := ^uint64(0)>>(64-width), uint(0)
	if width == 0 {
		for range n {
			value += least
			dst = append(dst, value)
		}
		return dst, value
	}
	for range n {
		from := int(at >> 3)
		var delta uint64
		if from+9 <= len(src) {
			delta = binary.LittleEndian.Uint64(src[from:]) >> (at & 7)
			delta |= uint64(src[from+8]) << (64 - at&7) // nothing at a whole byte: Go shifts it out
		} else {
			var last [9]byte
			copy(last[:], src[min(from, len(src)):])
			delta = binary.LittleEndian.Uint64(last[:])>>(at&7) | uint64(last[8])<<(64-at&7)
		}
		value += least + T(delta&mask)
		dst = append(dst, value)
		at += width
	}
	return dst, value
}

func uvarint(src []byte) (int, []byte, bool) {
	v, size := binary.Uvarint(src)
	if size <= 0 || v > maxValues {
		return 0, src, false
	}
	return int(v), src[size:], true
}

// appendPlain appends n integers as they lie.
func appendPlain[T int32 | int64](dst []T, src []byte, n int) ([]T, error) {
	size := 8
	if _, ok := any(dst).([]int32); ok {
		size = 4
	}
	if len(src) < n*size {
		return dst, errPage
	}
	dst = slices.Grow(dst, n)
	for i := range n {
		if size == 4 {
			dst = append(dst, T(int32(binary.LittleEndian.Uint32(src[4*i:]))))
		} else {
			dst = append(dst, T(binary.LittleEndian.Uint64(src[8*i:])))
		}
	}
	return dst, nil
}

// texts is a run of texts: text i lies from ends[i] to ends[i+1].
type texts struct {
	data []byte
	ends []int32
}

func (t *texts) len() int { return len(t.ends) - 1 }

func (t *texts) value(i int) []byte { return t.data[t.ends[i]:t.ends[i+1]] }

func (t *texts) reset() { t.data, t.ends = t.data[:0], append(t.ends[:0], 0) }

func (t *texts) add(value []byte) {
	t.data = append(t.data, value...)
	t.ends = append(t.ends, int32(len(t.data)))
}

// addRun adds n texts of another run, from the first on.
func (t *texts) addRun(other *texts, first, n int) error {
	from, to := other.ends[first], other.ends[first+n]
	shift := int64(len(t.data)) - int64(from)
	if int64(to)+shift > math.MaxInt32 {
		return errText
	}
	t.data = append(t.data, other.data[from:to]...)
	t.ends = slices.Grow(t.ends, n)
	for _, end := range other.ends[first+1 : first+n+1] {
		t.ends = append(t.ends, end+int32(shift))
	}
	return nil
}

// plain makes t the n texts of a PLAIN page or dictionary.
func (t *texts) plain(src []byte, n int) error {
	t.reset()
	for range n {
		if len(src) < 4 {
			return errPage
		}
		size := uint64(binary.LittleEndian.Uint32(src))
		if uint64(len(src)-4) < size {
			return errPage
		}
		t.add(src[4 : 4+size])
		src = src[4+size:]
	}
	return nil
}

// deltaLength makes t the n texts of a DELTA_LENGTH_BYTE_ARRAY page, whose memory it shares.
func (t *texts) deltaLength(src []byte, n int) (err error) {
	t.reset()
	ends, rest, err := appendDelta(t.ends, src, n)
	if err != nil {
		return err
	}
	t.ends = ends
	sum := int64(0)
	for i, length := range ends[1:] {
		if sum += int64(length); length < 0 || sum > int64(len(rest)) {
			return errPage
		}
		ends[i+1] = int32(sum)
	}
	t.data = rest[:sum:sum]
	return nil
}
