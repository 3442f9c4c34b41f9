package discover

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/bits"

	"github.com/cardlake/cardlake/card"
)

const (
	minDigits = 12 // of a card.PAN
	maxDigits = 19
)

// Known finds the card numbers of one set. It takes 18 to 36 bytes a number and keeps
// them only scrambled under a random key of its own, so that neither a memory dump nor a
// second search of that dump shows them as they are. It is safe for concurrent use.
type Known struct{ ix *index }

type index struct {
	// prefixes has a bit for each four digits, packed two to a byte, with which a number
	// begins. It keeps all but a few positions away from the sets.
	prefixes [1 << 16 / 64]uint64
	// filter has a bit for each hash of the first twelve digits, packed, with at most one
	// in eight set: it answers for the sets, which are slower to ask.
	filter []uint64
	shift  int                // 64 less the bits of a place in filter
	factor uint64             // of the hash
	sets   [maxDigits + 1]set // by number of digits
	steps  steps
	mac    [32]byte // key of the fingerprints
}

// NewKnown reads the numbers to look for. It keeps nothing of what the sequence yields, so
// the sequence may reuse one PAN's memory. Empty PANs are passed over.
func NewKnown(pans iter.Seq[card.PAN]) *Known {
	ix := &index{factor: random() | 1}
	rand.Read(ix.mac[:])
	for n := range ix.sets {
		ix.sets[n].key = random()
	}
	shortest := maxDigits
	var hashes []uint64 // of the first twelve digits
	for p := range pans {
		digits := p.Digits()
		if len(digits) < minDigits {
			continue
		}
		var v, packed uint64 // 19 digits fit v
		for i, c := range digits {
			v = v*10 + uint64(c-'0')
			if i < minDigits {
				packed = packed<<4 | uint64(c-'0')
			}
		}
		first := packed >> (4 * (minDigits - 4))
		ix.prefixes[first/64] |= 1 << (first % 64)
		hashes = append(hashes, packed*ix.factor)
		ix.sets[len(digits)].add(v)
		shortest = min(shortest, len(digits))
	}
	places := max(16, bits.Len(uint(8*len(hashes))))
	ix.shift = 64 - places
	ix.filter = make([]uint64, 1<<places/64)
	for _, h := range hashes {
		ix.filter[h>>ix.shift/64] |= 1 << (h >> ix.shift % 64)
	}
	ix.steps = newSteps(shortest)
	return &Known{ix}
}

func random() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// Len is the number of different card numbers looked for.
func (k Known) Len() int {
	n := 0
	for i := range k.ix.sets {
		n += k.ix.sets[i].n
	}
	return n
}

const redacted = "known card numbers(redacted)"

// Format implements fmt.Formatter: every verb prints a placeholder.
func (Known) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (Known) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText fails: card numbers are never marshalled.
func (Known) MarshalText() ([]byte, error) {
	return nil, errors.New("card numbers cannot be marshalled")
}

func (ix *index) fingerprint(digits []byte) string {
	m := hmac.New(sha256.New, ix.mac[:])
	m.Write(digits)
	return letters(m.Sum(nil)[:fingerprintBytes])
}

// begins returns 1 if a number begins with the four packed digits, else 0.
func (ix *index) begins(packed uint16) uint64 {
	return ix.prefixes[packed>>6] >> (packed & 63) & 1
}

// mayBegin reports whether a number may begin with the twelve packed digits; false is exact.
func (ix *index) mayBegin(packed uint64) bool {
	h := packed * ix.factor >> ix.shift
	return ix.filter[h/64]>>(h%64)&1 == 1
}

// set is a hash set of numbers of one length, open addressing. Its entries are scrambled by
// a bijection, so that a match is exact.
type set struct {
	key   uint64
	n     int
	slots []uint64 // 0 is free; a power of two of them, at most half in use
	zero  bool     // whether the number that scrambles to 0 is in the set
}

func (s *set) scramble(v uint64) uint64 {
	v = (v ^ s.key) * 0x9e3779b97f4a7c15
	v ^= v >> 32
	v *= 0xd6e8feb86659fd93
	return v ^ v>>32
}

func (s *set) add(v uint64) {
	if s.has(v) {
		return
	}
	if len(s.slots) < 2*(s.n+1) {
		old := s.slots
		s.slots = make([]uint64, max(64, 2*len(old)))
		for _, h := range old {
			if h != 0 {
				s.put(h)
			}
		}
	}
	s.n++
	h := s.scramble(v)
	if h == 0 {
		s.zero = true
		return
	}
	s.put(h)
}

func (s *set) put(h uint64) {
	mask := uint64(len(s.slots) - 1)
	i := h & mask
	for s.slots[i] != 0 {
		i = (i + 1) & mask
	}
	s.slots[i] = h
}

func (s *set) has(v uint64) bool {
	if s.n == 0 {
		return false
	}
	h := s.scramble(v)
	if h == 0 {
		return s.zero
	}
	mask := uint64(len(s.slots) - 1)
	for i := h & mask; s.slots[i] != 0; i = (i + 1) & mask {
		if s.slots[i] == h {
			return true
		}
	}
	return false
}
