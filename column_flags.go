package cardlake

import (
	"encoding/binary"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A flag is a bit that each row has: the validity of a nullable column, or a boolean. A row's
// flags are one word, written at once; 64 rows' words are turned into a word for each column
// when they are complete, which costs a row a few nanoseconds where a bitmap for each of some
// thirty columns would cost ten times that.
type flag int8

const noFlag flag = -1 // of a required column

// mask returns the flag as a word, 0 for noFlag.
func (f flag) mask() uint64 {
	if f == noFlag {
		return 0
	}
	return 1 << f
}

// flags are the flags of all rows.
type flags struct {
	words  fixed[uint64] // a word for each row
	sealed []uint64      // of 64 rows after 64 rows: a word for each flag
	used   int           // how many flags there are
	sorted bitmaps
}

// take returns the next unused flag.
func (f *flags) take() flag {
	if f.used == 64 {
		panic("cardlake: more than 64 nullable columns and booleans")
	}
	f.used++
	return flag(f.used - 1)
}

// set gives row n, which is the next, its flags.
func (f *flags) set(n int, word uint64) {
	f.words.live[n] = word
	if n&63 == 63 {
		var block [64]uint64
		copy(block[:], f.words.live[n-63:n+1])
		transpose(&block)
		f.sealed = append(f.sealed, block[:f.used]...)
	}
}

// live fills m with the bitmaps of the first n rows.
func (f *flags) live(n int, m *bitmaps) {
	m.reset(f.used, n)
	for block := range n / 64 {
		m.put(block, f.sealed[block*f.used:])
	}
	if n&63 != 0 {
		var block [64]uint64
		copy(block[:], f.words.live[n&^63:n])
		transpose(&block)
		m.put(n/64, block[:])
	}
}

// sort fills m with the bitmaps of the rows in the order.
func (f *flags) sort(order []int32, m *bitmaps) {
	m.reset(f.used, len(order))
	for n := 0; n < len(order); n += 64 {
		var block [64]uint64
		for i, from := range order[n:min(n+64, len(order))] {
			block[i] = f.words.live[from]
		}
		transpose(&block)
		m.put(n/64, block[:])
	}
}

// transpose swaps rows and columns: bit j of word i becomes bit i of word j (H. S. Warren,
// Hacker's Delight, section 7-3).
func transpose(a *[64]uint64) {
	for width, mask := 32, uint64(1<<32-1); width != 0; width, mask = width/2, mask^mask<<(width/2) {
		for i := 0; i < 64; i = (i + width + 1) &^ width {
			swap := (a[i&63]>>width ^ a[(i+width)&63]) & mask
			a[i&63] ^= swap << width
			a[(i+width)&63] ^= swap
		}
	}
}

// bitmaps are flags as Arrow has them: for each a bit a row, least significant first.
type bitmaps struct {
	data   []byte
	stride int // bytes of one bitmap, a multiple of 8
	rows   int
	ones   []int
}

func (m *bitmaps) reset(flags, rows int) {
	m.rows, m.stride = rows, (rows+63)/64*8
	if size := flags * m.stride; cap(m.data) < size {
		m.data = make([]byte, size)
	} else {
		m.data = m.data[:size]
	}
	m.ones = append(m.ones[:0], make([]int, flags)...)
}

// put sets the bits of 64 rows from a word for each flag.
func (m *bitmaps) put(block int, words []uint64) {
	at := block * 8
	for f, word := range words[:len(m.ones)] {
		binary.LittleEndian.PutUint64(m.data[at:], word)
		m.ones[f] += bits.OnesCount64(word)
		at += m.stride
	}
}

// bytes is the bitmap of a flag.
func (m *bitmaps) bytes(f flag) []byte {
	from := int(f) * m.stride
	to := from + (m.rows+7)/8
	return m.data[from:to:to]
}

// validity returns the bitmap of a column and how many nulls it has, nil if none.
func (m *bitmaps) validity(f flag) (*memory.Buffer, int) {
	if f == noFlag || m.ones[f] == m.rows {
		return nil, 0
	}
	return memory.NewBufferBytes(m.bytes(f)), m.rows - m.ones[f]
}
