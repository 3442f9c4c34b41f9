package maintenance

import (
	"fmt"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Sum is what rewritten files must have in common with those that they replace: the number of
// rows, and the sum, modulo 2^128, of a hash of each row with all its columns. It depends on
// neither the order of the rows nor on how they are divided into files, and adding or dropping
// a row, or changing one value of one row, leaves it the same with a chance of about 2^-64.
// It is no defence against whoever chooses rows: nobody who could may write files.
type Sum struct {
	Rows   int64
	lo, hi uint64
}

// Add adds the rows of other.
func (s *Sum) Add(other Sum) {
	var carry uint64
	s.Rows += other.Rows
	s.lo, carry = bits.Add64(s.lo, other.lo, 0)
	s.hi, _ = bits.Add64(s.hi, other.hi, carry)
}

func (s Sum) String() string { return fmt.Sprintf("%d rows, %016x%016x", s.Rows, s.hi, s.lo) }

// Constants of wyhash (Wang Yi, final version 4): odd, with as many ones as zeros.
const (
	mixA = 0xa0761d6478bd642f
	mixB = 0xe7037ed1a0b428db
	null = 0x8ebc6af09c88c6e3
)

func hashText(text []byte) uint64 { return xxhash.Sum64(text) }

// mix takes a column's value into the hash of a row. Columns come in the table's order, so
// that values cannot change places.
func mix(row, value uint64) uint64 {
	hi, lo := bits.Mul64(row^mixA, value^mixB)
	return hi ^ lo ^ row
}

// rowHashes are the hashes of rows whose columns come one after another.
type rowHashes []uint64

// add takes the values of a column, one for each row, into the hashes.
func (h rowHashes) add(v *values) {
	switch {
	case v.isCoded:
		for i, code := range v.codes {
			if v.has(i) {
				h[i] = mix(h[i], v.words.hashes[code])
			} else {
				h[i] = mix(h[i], null)
			}
		}
	case v.kind == textKind:
		for i := range h {
			if v.has(i) {
				h[i] = mix(h[i], hashText(v.plain.value(i)))
			} else {
				h[i] = mix(h[i], null)
			}
		}
	case v.kind == boolKind:
		for i, b := range v.bools {
			h[i] = mix(h[i], v.fixed(i, uint64(b)))
		}
	case v.kind == int32Kind:
		for i, x := range v.int32s {
			h[i] = mix(h[i], v.fixed(i, uint64(uint32(x))))
		}
	case len(v.valid) == 0:
		for i, x := range v.int64s {
			h[i] = mix(h[i], uint64(x))
		}
	default:
		for i, x := range v.int64s {
			h[i] = mix(h[i], v.fixed(i, uint64(x)))
		}
	}
}

// sum adds up the hashes.
func (h rowHashes) sum() Sum {
	s := Sum{Rows: int64(len(h))}
	for _, row := range h {
		hi, lo := bits.Mul64(row^mixB, mixA)
		var carry uint64
		s.lo, carry = bits.Add64(s.lo, row, 0)
		s.hi, _ = bits.Add64(s.hi, hi^lo, carry)
	}
	return s
}
