package features

import (
	"encoding/binary"
	"math"
)

// spread is a histogram of amounts with two bins to the octave, from 1/16 to 2^28 units of the
// currency; what lies beyond falls into the first or last bin. When it is full all bins are
// halved, so that it follows the latest one to two hundred amounts of a card. Quantiles are
// interpolated within a bin: they are off by less than one bin, a factor of 1.42, and by half
// of that in the mean.
type spread struct {
	bins  [64]uint8
	total uint8
}

const (
	spreadFull  = 200
	spreadKnown = 8 // fewer amounts than this say nothing
)

// scale puts an amount on the axis of the bins.
func scale(amount float64) float32 {
	return float32(min(max(2*(math.Log2(amount)+4), 0), 63.999))
}

func (s *spread) add(x float32) {
	s.bins[int(x)]++
	if s.total++; s.total < spreadFull {
		return
	}
	s.total = 0
	for i := range s.bins {
		s.bins[i] /= 2
		s.total += s.bins[i]
	}
}

// quartiles returns the first quartile, the median and the third quartile on the axis of the
// bins, and false if there are too few amounts. It takes eight bins at once: they hold fewer than
// 256 amounts, so that one multiplication adds each byte to all above it.
func (s *spread) quartiles() (q [3]float32, ok bool) {
	if s.total < spreadKnown {
		return q, false
	}
	k, before, want := 0, float32(0), float32(s.total)/4
	for at := 0; at < len(s.bins); at += 8 {
		upTo := binary.LittleEndian.Uint64(s.bins[at:]) * 0x0101010101010101
		for before+float32(upTo>>56) >= want {
			i, below := 0, uint64(0)
			for before+float32(upTo>>(8*i)&255) < want {
				below = upTo >> (8 * i) & 255
				i++
			}
			q[k] = float32(at+i) + (want-(before+float32(below)))/float32(s.bins[at+i])
			if k++; k == len(q) {
				return q, true
			}
			want += float32(s.total) / 4
		}
		before += float32(upTo >> 56)
	}
	return q, true
}

// deviation returns how far x lies from the median in robust standard deviations of the
// logarithm, taken as the distance of the quartiles by 1.349 and as no less than one bin, and
// how far it lies on the axis of the bins; false if there are too few amounts.
func (s *spread) deviation(x float32) (z, above float32, ok bool) {
	q, ok := s.quartiles()
	if !ok {
		return 0, 0, false
	}
	return (x - q[1]) / max((q[2]-q[0])/1.349, 1), x - q[1], true
}

// ratio is that of two amounts of which one lies so far above the other on the axis of the bins.
func ratio(above float32) float32 { return float32(math.Exp2(float64(above) / 2)) }
