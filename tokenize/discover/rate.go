package discover

import "math"

// rate counts the numbers that were seen in one kind of place: a column, or after the same
// words.
type rate struct {
	all    float64 // of 13 to 19 digits
	prefix float64 // of them with a prefix and length of a brand
	whole  float64 // of them with the check digit too
}

// enough is from how many numbers on their share counts.
const enough = 5

// isChance reports whether the card numbers of the place are no more than what other numbers
// give by chance: of those that begin like a card number, one in ten has its check digit. More
// than a thousandth of such places, or a fiftieth of those with few numbers, would have as many,
// so a place in which even a part of the numbers are card numbers is not taken for chance.
func (r rate) isChance() bool {
	if r.all < enough {
		return false
	}
	if r.prefix >= 20 {
		return r.whole <= 0.1*r.prefix+3*math.Sqrt(0.09*r.prefix)+0.5
	}
	tail := 1.0 // of at least r.whole of r.prefix
	term := math.Pow(0.9, math.Round(r.prefix))
	for k := range int(math.Round(r.whole)) {
		tail -= term
		term *= (math.Round(r.prefix) - float64(k)) / float64(k+1) / 9
	}
	return tail > 0.02
}

// isRule reports whether nearly all numbers of the place are card numbers.
func (r rate) isRule() bool { return r.all >= enough && r.whole >= 0.8*r.all }

// rates are those of the places of one file. Older numbers count less and less, so that a
// place may change its habit in the middle of a file.
type rates map[uint64]*rate

const maxRates = 4096

func (rs rates) of(place uint64) *rate {
	r := rs[place]
	if r == nil {
		r = new(rate)
		rs[place] = r
	}
	return r
}

// age halves the counts after a chunk.
func (rs rates) age() {
	if len(rs) > maxRates {
		clear(rs)
		return
	}
	for _, r := range rs {
		r.all, r.prefix, r.whole = r.all/2, r.prefix/2, r.whole/2
	}
}

// hasher is FNV-1a, for the names of places. A collision merges two places' counts.
type hasher uint64

const newHasher hasher = 14695981039346656037

func (h *hasher) byte(c byte) { *h = (*h ^ hasher(c)) * 1099511628211 }

// isUnlikely reports whether k different hits in n bytes are more than bytes without card
// numbers give: of random ones, sixteen in a million begin a run of packed digits that looks
// like a card number (measured); logs and footers, which have structure, are given ten times
// as many.
func isUnlikely(k, n int) bool {
	mean := 1.6e-4 * float64(n)
	tail, term := 1.0, math.Exp(-mean)
	for i := range k {
		tail -= term
		term *= mean / float64(i+1)
	}
	return tail < 1e-2
}
