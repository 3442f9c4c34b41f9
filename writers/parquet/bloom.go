package parquet

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// bloomColumns are looked up by equality and too many to list in statistics: a filter lets a
// reader pass over a row group without reading the column.
var bloomColumns = []string{"card_token", "event_id", "customer_id"}

// The bounds of a filter's bytes that arrow's readers accept.
const (
	minBloom = 32
	maxBloom = 128 << 20
)

// bloomBytes is the size of a split-block filter of n distinct values with the
// false-positive rate: the formula of parquet-format's BloomFilter.md, rounded up to a power of
// two since arrow's readers refuse other sizes.
func bloomBytes(n int, rate float64) int {
	filterBits := -8 * float64(n) / math.Log(1-math.Pow(rate, 1.0/8))
	if filterBits >= maxBloom*8 {
		return maxBloom
	}
	return max(minBloom, 1<<bits.Len(uint(filterBits/8)))
}

// bloomSalt are the constants of BloomFilter.md that spread a hash over a block's words.
var bloomSalt = [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}

// appendBloom appends the bits of a filter of the size that holds the hashes.
func appendBloom(dst []byte, hashes []uint64, size int) []byte {
	start := len(dst)
	dst = slices.Grow(dst, size)[:start+size]
	filter := dst[start:]
	clear(filter)
	blocks := uint64(size / 32)
	for _, h := range hashes {
		at := (h >> 32) * blocks >> 32 * 32
		block, key := filter[at:at+32:at+32], uint32(h)
		for i, salt := range bloomSalt {
			word := block[i*4 : i*4+4 : i*4+4]
			binary.LittleEndian.PutUint32(word, binary.LittleEndian.Uint32(word)|1<<(key*salt>>27))
		}
	}
	return dst
}

// bloomHeader writes the header of a filter of the size: split blocks, xxHash,
// uncompressed.
func (t *thriftWriter) bloomHeader(size int) {
	t.open()
	t.i32(1, size)
	for id := 2; id <= 4; id++ {
		t.openField(id)
		t.emptyField(1)
		t.close()
	}
	t.close()
}
