package parquet

import (
	"bytes"
	"math"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// maxDictionary is the most bytes of a dictionary page: a reader holds it whole.
const maxDictionary = 4 << 20

// maxProbes bounds the search for one value: whoever chooses values whose hashes collide gets
// them written plain.
const maxProbes = 64

// texts is a run of texts as Arrow has them: text i lies from ends[i] to ends[i+1].
type texts struct {
	data []byte
	ends []int32
}

func (t texts) len() int { return len(t.ends) - 1 }

func (t texts) value(i int) []byte { return t.data[t.ends[i]:t.ends[i+1]] }

func (t texts) bytes() int { return int(t.ends[len(t.ends)-1] - t.ends[0]) }

// widthOf is the bits of a code into a dictionary of n values; never 0, which some readers
// have trouble with.
func widthOf(n int) int { return max(1, bits.Len(uint(max(n, 1)-1))) }

// pays reports whether rows texts of size bytes together are smaller as codes into a
// dictionary of distinct values of dictionary bytes.
func pays(rows, size, distinct, dictionary int) bool {
	return dictionary+4*distinct <= maxDictionary && dictionary+4*distinct+rows*widthOf(distinct)/8 < size
}

// dictionary makes codes of texts that come without. It is used again for each column.
type dictionary struct {
	hashes []uint64 // of the rows that are not null, or of the distinct values
	sample []uint64 // distinct hashes by themselves, 0 for a free slot

	// By the lower bits of a hash: its upper half and the code + 1 of its value, 0 for a free
	// slot. The half spares most looks at a value, which lies somewhere in memory.
	slots []uint64
	codes []int32 // of the rows; of null rows 0
	words texts
}

// hash fills in the hashes of the rows whose valid bit is set.
func (d *dictionary) hash(t texts, valid bitmap) {
	d.hashes = slices.Grow(d.hashes[:0], t.len())
	for i := range t.len() {
		if valid.has(i) {
			d.hashes = append(d.hashes, xxhash.Sum64(t.value(i)))
		}
	}
}

// distinct estimates the distinct values from the hashes: it counts those of one hash in
// 16, which is one value in 16 with all its repeats. Of few rows it counts all.
func (d *dictionary) distinct() int {
	shift := uint(4)
	if len(d.hashes) < 4096 {
		shift = 0
	}
	size := 1 << bits.Len(uint(max(64, len(d.hashes)>>shift*4)))
	d.sample = slices.Grow(d.sample[:0], size)[:size]
	clear(d.sample)
	seen := 0
	for _, h := range d.hashes {
		if h<<(64-shift) != 0 {
			continue
		}
		at := h >> 32 & uint64(size-1)
		h |= 1 << 63 // never 0
		for d.sample[at] != 0 && d.sample[at] != h {
			at = (at + 1) & uint64(size-1)
		}
		if d.sample[at] == 0 {
			if seen++; seen*2 > size { // a sample that turned out large
				return len(d.hashes)
			}
			d.sample[at] = h
		}
	}
	return min(seen<<shift, len(d.hashes))
}

// build makes words and a code for each row, and leaves the hashes of the distinct values
// only. It gives up, with the hashes of all rows left, when there are more than limit values
// or their hashes collide.
func (d *dictionary) build(t texts, valid bitmap, limit int) (ok bool) {
	size := 1 << bits.Len(uint(2*limit))
	d.slots = slices.Grow(d.slots[:0], size)[:size]
	clear(d.slots)
	d.codes = slices.Grow(d.codes[:0], t.len())[:t.len()]
	d.words.data, d.words.ends = d.words.data[:0], append(d.words.ends[:0], 0)
	n := 0
	for i := range d.codes {
		d.codes[i] = 0
		if valid.has(i) {
			if d.codes[i] = d.code(d.hashes[n], t.value(i), limit); d.codes[i] < 0 {
				return false
			}
			n++
		}
	}
	// New values came in the order of their codes.
	next := int32(0)
	n = 0
	for i, code := range d.codes {
		if valid.has(i) {
			if code == next {
				d.hashes[next] = d.hashes[n]
				next++
			}
			n++
		}
	}
	d.hashes = d.hashes[:next]
	return true
}

// code returns the value's code, a new one if it has none, negative if it cannot have one.
func (d *dictionary) code(hash uint64, value []byte, limit int) int32 {
	mask := uint64(len(d.slots) - 1)
	tag := hash >> 32 << 32
	at := hash & mask
	for range maxProbes {
		slot := d.slots[at]
		if slot == 0 {
			code := d.words.len()
			if code == limit {
				return -1
			}
			d.slots[at] = tag | uint64(code+1)
			d.words.data = append(d.words.data, value...)
			d.words.ends = append(d.words.ends, int32(len(d.words.data)))
			return int32(code)
		}
		if code := int32(uint32(slot)) - 1; slot&^math.MaxUint32 == tag && bytes.Equal(d.words.value(int(code)), value) {
			return code
		}
		at = (at + 1) & mask
	}
	return -1
}
