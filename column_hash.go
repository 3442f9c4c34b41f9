package cardlake

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"unsafe"
)

// hashSeed keys the hash of the batches' tables, so that nobody outside can choose names that
// fall on each other. The hash is wyhash's folded multiplication (Wang Yi, wyhash final
// version 4), which for the short strings of a card network takes half the time of
// hash/maphash.
type hashSeed [2]uint64

// newSeed draws a seed.
func newSeed() hashSeed { return hashSeed{rand.Uint64(), rand.Uint64()} }

func (k hashSeed) hash(s string) uint64 {
	b, h := bytesOf(s), k[0]^uint64(len(s))
	var first, last uint64 // up to 16 bytes, or the last 16
	switch {
	case len(b) > 16:
		for ; len(b) > 16; b = b[16:] {
			h = fold(binary.LittleEndian.Uint64(b)^k[1], binary.LittleEndian.Uint64(b[8:])^h)
		}
		b = bytesOf(s)[len(s)-16:]
		first, last = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	case len(b) >= 8:
		first, last = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[len(b)-8:])
	case len(b) >= 4:
		first, last = uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[len(b)-4:]))
	case len(b) > 0:
		first = uint64(b[0]) | uint64(b[len(b)/2])<<8 | uint64(b[len(b)-1])<<16
	}
	return fold(first^k[1], last^h)
}

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// bytesOf returns s's memory as bytes, which nobody may write.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// index finds entries, which are numbers, by the hash of what they are about: a table of open
// addressing, a power of two long and at most half full. A slot is 32 bits of the hash and
// the entry plus 1; 0 is free.
type index struct {
	slots   []uint64
	entries int
}

// first returns the first entry that may have the hash, -1 if there is none, and what next
// wants to go on.
func (x *index) first(hash uint32) (entry int32, at uint32) {
	if len(x.slots) == 0 {
		return -1, 0
	}
	return x.from(hash, hash)
}

func (x *index) next(hash, at uint32) (entry int32, then uint32) { return x.from(hash, at+1) }

func (x *index) from(hash, at uint32) (entry int32, then uint32) {
	mask := uint32(len(x.slots) - 1)
	for ; ; at++ {
		slot := x.slots[at&mask]
		if uint32(slot>>32) == hash || slot == 0 {
			return int32(uint32(slot)) - 1, at
		}
	}
}

const minSlots = 16

// add adds an entry with the hash.
func (x *index) add(hash uint32, entry int32) {
	if 2*(x.entries+1) > len(x.slots) {
		old := x.slots
		x.slots = make([]uint64, max(minSlots, 2*len(old)))
		for _, slot := range old {
			if slot != 0 {
				x.put(slot)
			}
		}
	}
	x.entries++
	x.put(uint64(hash)<<32 | uint64(uint32(entry)+1))
}

func (x *index) put(slot uint64) {
	mask := uint32(len(x.slots) - 1)
	at := uint32(slot>>32) & mask
	for x.slots[at] != 0 {
		at = (at + 1) & mask
	}
	x.slots[at] = slot
}

// maxSpare is how many times as many slots as it used a table may have to be kept: clearing
// more would cost more than growing anew.
const maxSpare = 64

func (x *index) reset() {
	if len(x.slots) > maxSpare*(x.entries+minSlots) {
		x.slots = nil
	}
	clear(x.slots)
	x.entries = 0
}
