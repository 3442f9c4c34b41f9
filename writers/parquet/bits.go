package parquet

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A bitmap is a run of bits as Arrow has them: least significant first, from a bit offset.
// A bitmap without bytes has only ones.
type bitmap struct {
	bytes  []byte
	offset int
}

func (b bitmap) has(i int) bool {
	i += b.offset
	return b.bytes == nil || b.bytes[i>>3]>>(i&7)&1 == 1
}

// appendTo appends n bits from the bit at, and zeros up to the next byte.
func (b bitmap) appendTo(dst []byte, at, n int) []byte {
	at += b.offset
	start := len(dst)
	size := (n + 7) / 8
	if from, shift := b.bytes[at>>3:], at&7; shift == 0 {
		dst = append(dst, from[:size]...)
	} else {
		for i := range size {
			v := from[i] >> shift
			if i+1 < len(from) {
				v |= from[i+1] << (8 - shift)
			}
			dst = append(dst, v)
		}
	}
	if n&7 != 0 {
		dst[start+size-1] &= 1<<(n&7) - 1
	}
	return dst
}

func onesIn(b []byte) int {
	n := 0
	for ; len(b) >= 8; b = b[8:] {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(b))
	}
	for _, v := range b {
		n += bits.OnesCount8(v)
	}
	return n
}

// appendWhere appends the values whose bit is set.
func appendWhere[T any](dst, values []T, set []byte) []T {
	start := len(dst)
	dst = slices.Grow(dst, len(values)+1)[:start+len(values)+1] // one to spare for the last write
	n := start
	for i, v := range values {
		dst[n] = v
		n += int(set[i>>3] >> (i & 7) & 1)
	}
	return dst[:n]
}

// The definition levels of an optional column, and the codes of a dictionary, are runs of
// the RLE and bit-packing hybrid (parquet-format, Encodings.md). A run's header is the number
// of equal values twice, or the number of packed groups of 8 twice and one.

// appendLevels appends the definition levels of n rows of which set has the valid ones,
// preceded by their length as a data page of version 1 wants them. Arrow's validity bits are
// Parquet's packed levels as they stand.
func appendLevels(dst []byte, set []byte, n, valid int) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	switch valid {
	case n:
		dst = append(binary.AppendUvarint(dst, uint64(n)<<1), 1)
	case 0:
		dst = append(binary.AppendUvarint(dst, uint64(n)<<1), 0)
	default:
		dst = binary.AppendUvarint(dst, uint64(n+7)/8<<1|1)
		dst = append(dst, set[:(n+7)/8]...)
	}
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// hybridBlock is how many codes are looked at for a run of equal ones. Random codes differ
// at the first look, so the search costs nothing where there is nothing to find.
const hybridBlock = 512

// appendCodes appends the codes as one byte of their width and the runs.
func appendCodes(dst []byte, codes []int32, width int) []byte {
	dst = append(dst, byte(width))
	for packed := 0; len(codes[packed:]) > 0; {
		rest := codes[packed:]
		equal := equalRun(rest)
		if equal >= hybridBlock || equal == len(rest) {
			dst = appendPacked(dst, codes[:packed], width)
			dst = binary.AppendUvarint(dst, uint64(equal)<<1)
			for i := 0; i < width; i += 8 {
				dst = append(dst, byte(uint32(rest[0])>>i))
			}
			codes, packed = rest[equal:], 0
			continue
		}
		// All packed runs but the last are of whole groups of 8.
		if packed += hybridBlock; packed >= len(codes) {
			return appendPacked(dst, codes, width)
		}
	}
	return dst
}

// equalRun is the number of codes at the start that are equal, in whole groups of 8 unless
// all are.
func equalRun(codes []int32) int {
	n := 1
	for n < len(codes) && codes[n] == codes[0] {
		n++
	}
	if n == len(codes) {
		return n
	}
	return n &^ 7
}

// appendPacked appends one bit-packed run.
func appendPacked(dst []byte, codes []int32, width int) []byte {
	if len(codes) == 0 {
		return dst
	}
	groups := (len(codes) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	start := len(dst)
	end := start + groups*width
	dst = slices.Grow(dst, groups*width+8)[:end+8]
	at := start
	for ; len(codes) >= 8; codes = codes[8:] {
		packGroup(dst[at:], (*[8]int32)(codes), width)
		at += width
	}
	if len(codes) > 0 {
		var last [8]int32
		copy(last[:], codes)
		packGroup(dst[at:], &last, width)
	}
	return dst[:end]
}

// packGroup writes 8 codes of width bits; it may write up to 8 bytes past them.
func packGroup(dst []byte, c *[8]int32, width int) {
	w := uint(width)
	if w > 16 {
		pack(dst, c[:], w)
		return
	}
	lo := uint64(c[0]) | uint64(c[1])<<(w&63) | uint64(c[2])<<(2*w&63) | uint64(c[3])<<(3*w&63)
	hi := uint64(c[4]) | uint64(c[5])<<(w&63) | uint64(c[6])<<(2*w&63) | uint64(c[7])<<(3*w&63)
	if w <= 8 {
		binary.LittleEndian.PutUint64(dst, lo|hi<<(4*w&63))
		return
	}
	dst = dst[:16]
	binary.LittleEndian.PutUint64(dst, lo|hi<<(4*w)) // no mask: at 16 bits nothing of hi is left
	binary.LittleEndian.PutUint64(dst[8:], hi>>(64-4*w))
}

// pack writes values of w bits each, 64 at most, and returns the bytes they take, rounded
// up. It may write up to 8 bytes past them.
func pack[T int32 | uint32 | uint64](dst []byte, values []T, w uint) int {
	var acc uint64
	var n uint
	at := 0
	for _, v := range values {
		acc |= uint64(v) << (n & 63)
		n += w
		if n >= 64 {
			binary.LittleEndian.PutUint64(dst[at:], acc)
			at += 8
			n -= 64
			acc = uint64(v) >> (w - n) // all of it when n is 0 and w 64: Go shifts it out
		}
	}
	if n > 0 {
		binary.LittleEndian.PutUint64(dst[at:], acc)
		at += int(n+7) / 8
	}
	return at
}

// The shape of a DELTA_BINARY_PACKED page: blocks of 128 values in miniblocks of 32, as all
// writers have it.
const (
	deltaBlock = 128
	deltaMinis = 4
	deltaMini  = deltaBlock / deltaMinis
)

// appendDelta appends the values in DELTA_BINARY_PACKED (parquet-format, Encodings.md). The
// arithmetic wraps in the width of the column's type, so that no delta is wider than it.
func appendDelta[T int32 | int64](dst []byte, values []T) []byte {
	dst = binary.AppendUvarint(dst, deltaBlock)
	dst = binary.AppendUvarint(dst, deltaMinis)
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	if len(values) == 0 {
		return append(dst, 0)
	}
	dst = binary.AppendVarint(dst, int64(values[0]))
	var deltas [deltaBlock]uint64
	for prev := values[0]; len(values) > 1; {
		n := min(deltaBlock, len(values)-1)
		block := values[1 : n+1]
		least := block[0] - prev
		for i, v := range block {
			d := v - prev
			deltas[i] = uint64(d)
			least = min(least, d)
			prev = v
		}
		values = values[n:]
		dst = binary.AppendVarint(dst, int64(least))
		dst = appendBlock[T](dst, deltas[:n], least)
	}
	return dst
}

// appendBlock appends the widths of the miniblocks and those of them that have values, the
// last one filled up with zeros.
func appendBlock[T int32 | int64](dst []byte, deltas []uint64, least T) []byte {
	mask := ^uint64(0)
	if _, ok := any(least).(int32); ok {
		mask = 1<<32 - 1
	}
	widths := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for m := 0; m*deltaMini < len(deltas); m++ {
		mini := deltas[m*deltaMini : min(len(deltas), (m+1)*deltaMini)]
		var all uint64
		for i := range mini {
			mini[i] = (mini[i] - uint64(least)) & mask
			all |= mini[i]
		}
		w := bits.Len64(all)
		dst[widths+m] = byte(w)
		if w == 0 {
			continue
		}
		start, size := len(dst), w*deltaMini/8
		dst = slices.Grow(dst, size+8)[:start+size+8]
		clear(dst[start+pack(dst[start:], mini, uint(w)) : start+size])
		dst = dst[:start+size]
	}
	return dst
}
