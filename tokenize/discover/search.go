package discover

import (
	"cmp"
	"slices"

	"github.com/cardlake/cardlake/card"
)

// candidate is a place in the searched bytes that may hold card data.
type candidate struct {
	start, end int // in the bytes
	kind       Kind
	enc        Encoding
	digits     [maxDigits]byte // ASCII
	n          int
	brand      string
	place      uint64 // of rates; 0 if it is not counted
	hint       hint
	confidence Confidence
	reason     string
}

// search looks for candidates in one piece of bytes, in every spelling at once.
type search struct {
	*Detector
	data     []byte
	from, to int // candidates begin here; what is around it is context
	rates    rates
	table    *table // of the piece, if it is one of comma-separated values
	column   string // that the piece is a value of
	depth    int    // of decoded text in text
	found    []candidate
	packed   rate // runs of packed digits with nothing said around them
	groups   []group
	tried    int   // numbers
	others   []int // places of the numbers of no brand
}

// group is a run of digits.
type group struct{ start, end int }

func (g group) len() int { return g.end - g.start }

// Classes of bytes that a number can go through.
const (
	digitByte = 1 << iota
	separator
	null
	ebcdicDigit
	ebcdicSeparator
	base64Byte
	hexByte
	packedByte
)

var classes = func() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		if isDigit(b) {
			t[c] |= digitByte
		}
		if isSep(b) {
			t[c] |= separator
		}
		if isEBCDIC(b) {
			t[c] |= ebcdicDigit
		}
		if sextets[b] < 64 {
			t[c] |= base64Byte
		}
		if b>>4 <= 9 && b&15 <= 9 {
			t[c] |= packedByte
		}
		if isHex(b) {
			t[c] |= hexByte
		}
	}
	t[0] |= null
	t[0x40] |= ebcdicSeparator
	t[0x60] |= ebcdicSeparator
	return t
}()

func isHex(c byte) bool { return isDigit(c) || (c|0x20)-'a' < 6 }

// leastDigits is the length of the shortest number that is detected.
const leastDigits = 13

// run finds all candidates.
func (s *search) run() {
	s.digits()
	if s.depth < 2 {
		s.tokens()
	}
	if isBinary(s.data[s.from:min(s.to, len(s.data))]) {
		s.packedDigits()
	}
	if s.table != nil {
		s.table.secrets(s)
	}
}

// digits looks at every 13th byte: a number with its separators takes 13 bytes or more, so
// one of them is in it. In text without long numbers it looks at nothing else.
func (s *search) digits() {
	data := s.data
	for p := s.from + leastDigits - 1; p < len(data); p += leastDigits {
		c := classes[data[p]]
		if c&(digitByte|separator|null|ebcdicDigit|ebcdicSeparator) == 0 {
			continue
		}
		end := p
		switch {
		case c&digitByte != 0:
			if isWide(data, p) {
				end = s.wide(p)
			} else {
				end = s.chain(p)
			}
		case c&separator != 0:
			if inChain(data, p) {
				end = s.chain(p)
			} else if isWide(data, p) {
				end = s.wide(p)
			}
		case c&null != 0:
			if isWide(data, p-1) {
				end = s.wide(p - 1)
			}
		case c&ebcdicDigit != 0, inEBCDIC(data, p):
			end = s.ebcdicChain(p)
		}
		p = max(p, end)
		if p >= s.to+2*maxDigits {
			return
		}
	}
}

// inChain reports whether data[p] is a digit, or a separator with a digit on each side.
func inChain(data []byte, p int) bool {
	return isDigit(data[p]) || isSep(data[p]) && p > 0 && p+1 < len(data) && isDigit(data[p-1]) && isDigit(data[p+1])
}

func inEBCDIC(data []byte, p int) bool {
	return isEBCDIC(data[p]) || classes[data[p]]&ebcdicSeparator != 0 && p > 0 && p+1 < len(data) && isEBCDIC(data[p-1]) && isEBCDIC(data[p+1])
}

// chain looks at the digits and separators around p and returns their end.
func (s *search) chain(p int) int {
	first, end := p, p
	for first > 0 && inChain(s.data, first-1) {
		first--
	}
	for end < len(s.data) && inChain(s.data, end) {
		end++
	}
	if end-first >= leastDigits {
		s.numbers(first, end, ASCII)
	}
	return end
}

// numbers takes apart a chain of digits and separators.
func (s *search) numbers(first, end int, enc Encoding) {
	s.groups = s.groups[:0]
	for i := first; i < end; {
		j := i
		for j < end && isDigit(s.data[j]) {
			j++
		}
		g := group{i, j}
		if n := g.len(); n >= leastDigits && n <= maxDigits {
			s.number([]group{g}, enc)
		}
		s.groups = append(s.groups, g)
		i = j + 1
	}
	// Numbers in groups: the separator is the same everywhere, and no group is a number itself.
	for i := 0; i < len(s.groups); {
		if s.groups[i].len() >= leastDigits {
			i++
			continue
		}
		j := i + 1
		for j < len(s.groups) && s.data[s.groups[j].start-1] == s.data[s.groups[i].end] && s.groups[j].len() < leastDigits {
			j++
		}
		if j > i+1 {
			s.grouped(s.groups[i:j], enc)
		}
		if j == len(s.groups) {
			break
		}
		i = max(i+1, j-1)
	}
}

func digitsIn(groups []group) (n int) {
	for _, g := range groups {
		n += g.len()
	}
	return n
}

// grouped looks at groups joined by the same separator: all of them are a number, or some are
// in the way in which card numbers are written.
func (s *search) grouped(groups []group, enc Encoding) {
	if n := digitsIn(groups); n < leastDigits {
		return
	} else if n <= maxDigits && len(groups) <= maxDigits && plausible(groups) && (s.fits(groups) || len(groups) < 4) {
		s.number(groups, groupedAs(enc))
		return
	}
	before := s.tried
	defer func() {
		if n := digitsIn(groups); s.tried == before && n <= maxDigits && len(groups) <= maxDigits && plausible(groups) {
			s.number(groups, groupedAs(enc)) // for the rates
		}
	}()
	for i := 0; i+3 <= len(groups); {
		n := 0 // groups of four from here on
		for i+n < len(groups) && groups[i+n].len() == 4 {
			n++
		}
		var parts [][]group
		switch {
		case n >= 4 && n <= 7: // a year, a month or a code may stand beside it
			for j := range n - 3 {
				parts = append(parts, groups[i+j:i+j+4])
			}
		case n%4 == 0 && n <= 32:
			for j := 0; j < n; j += 4 {
				parts = append(parts, groups[i+j:i+j+4])
			}
		}
		// Lengths that are no multiple of four, with something else behind them.
		if after := i + n; (n == 3 || n == 4) && after < len(groups) && groups[after].len() < 4 {
			parts = append(parts, groups[i:after+1])
		}
		if n == 1 && groups[i+1].len() == 6 && (groups[i+2].len() == 5 || groups[i+2].len() == 4) {
			parts = append(parts, groups[i:i+3])
		}
		s.parts(parts, groupedAs(enc))
		i += max(n, 1)
	}
}

// parts judges the parts of a chain that are card numbers. If none is, the first one counts
// for the rates.
func (s *search) parts(parts [][]group, enc Encoding) {
	any := false
	for _, p := range parts {
		if s.fits(p) {
			any = true
			s.number(p, enc)
		}
	}
	if !any && len(parts) > 0 {
		s.number(parts[0], enc)
	}
}

func groupedAs(enc Encoding) Encoding {
	if enc == ASCII {
		return ASCIIGrouped
	}
	return enc
}

func plausible(groups []group) bool {
	var sizes [maxDigits]int
	for i, g := range groups {
		sizes[i] = g.len()
	}
	return card.PlausibleGroups(sizes[:len(groups)])
}

// fits reports whether the digits of the groups are a card number.
func (s *search) fits(groups []group) bool {
	var digits [maxDigits]byte
	n := 0
	for _, g := range groups {
		n += copy(digits[n:], s.data[g.start:g.end])
	}
	_, fit := s.iins.Match(digits[:n])
	return fit == card.FitsWhole
}

// number judges one number, all of whose digits are known to belong together.
func (s *search) number(groups []group, enc Encoding) {
	c := candidate{start: groups[0].start, end: groups[len(groups)-1].end, enc: enc, kind: CardNumber}
	if c.start < s.from || c.start >= s.to {
		return
	}
	s.tried++
	for _, g := range groups {
		c.n += copy(c.digits[c.n:], s.data[g.start:g.end])
	}
	digits := c.digits[:c.n]
	brand, fit := s.iins.Match(digits)
	c.brand = brand
	if s.track(&c, fit) {
		s.found = append(s.found, c)
		return
	}
	if isFraction(s.data, c.start, c.end) {
		return
	}
	if fit == card.NoFit {
		s.others = append(s.others, c.start)
		return
	}
	before := s.before(c.start)
	c.place = s.placeOf(c.start, before)
	r := s.rates.of(c.place)
	r.all++
	r.prefix++
	if fit != card.FitsWhole {
		return
	}
	r.whole++
	c.hint = s.hint(c.start, before, c.n)
	switch {
	case inHex(s.data, c.start, c.end):
		c.confidence, c.reason = Low, "part of a hexadecimal value"
	case c.hint == raises:
		c.confidence, c.reason = High, "prefix, length and check digit; the words before it"
	case c.hint == lowers && len(groups) == 1:
		c.confidence, c.reason = Low, "the words before it name another number"
	case len(groups) == 1 && explained(digits) || c.n <= 15 && c.start > 0 && s.data[c.start-1] == '+':
		c.confidence, c.reason = Low, "has the form of another number too"
	case c.hint == neutral && (c.n == 16 && len(groups) == 4 || c.n == 15 && len(groups) == 3):
		c.confidence, c.reason = High, "prefix, length and check digit; grouped as on a card"
	default:
		c.confidence, c.reason = Medium, "prefix, length and check digit"
	}
	s.found = append(s.found, c)
}

// isFraction reports whether the digits are the decimals of a number, or are followed by
// decimals that are not all zero.
func isFraction(data []byte, start, end int) bool {
	if start >= 2 && data[start-1] == '.' && isDigit(data[start-2]) {
		return true
	}
	if end+1 >= len(data) || data[end] != '.' || !isDigit(data[end+1]) {
		return false
	}
	for i := end + 1; i < len(data) && isDigit(data[i]); i++ {
		if data[i] != '0' {
			return true
		}
	}
	return false
}

// inHex reports whether the digits are part of a longer hexadecimal value, a UUID or a hash.
func inHex(data []byte, start, end int) bool {
	letters := false
	from, to := start, end
	for from > 0 && start-from < 64 && (isHex(data[from-1]) || data[from-1] == '-' && from > 1 && isHex(data[from-2])) {
		from--
		letters = letters || !isDigit(data[from]) && data[from] != '-'
	}
	for to < len(data) && to-end < 64 && (isHex(data[to]) || data[to] == '-' && to+1 < len(data) && isHex(data[to+1])) {
		letters = letters || !isDigit(data[to]) && data[to] != '-'
		to++
	}
	return letters && to-from >= 32
}

// before returns the text before i that may say what a number at i is.
func (s *search) before(i int) []byte {
	from := max(0, i-maxBefore)
	if s.table != nil {
		from = max(from, s.table.cell(s.data, i))
	}
	return s.data[from:i]
}

// hint joins what the text and the name of the column say.
func (s *search) hint(at int, before []byte, n int) hint {
	if h := hintBefore(before, n); h != neutral {
		return h
	}
	if name := s.columnAt(at); name != "" {
		return hintOf(name, n)
	}
	return neutral
}

func (s *search) columnAt(i int) string {
	if s.table != nil {
		return s.table.name(s.data, i)
	}
	return s.column
}

// placeOf names the place of a number for the rates: its column and the last characters
// before it, without their digits.
func (s *search) placeOf(at int, before []byte) uint64 {
	h := newHasher
	if s.table != nil {
		h.byte(byte(s.table.index(s.data, at)))
	}
	for i, n := len(before), 0; i > 0 && n < 12; n++ {
		c := before[i-1]
		i--
		if c == '\n' {
			break
		}
		if isDigit(c) {
			for i > 0 && isDigit(before[i-1]) {
				i--
			}
			c = '0'
		}
		h.byte(c)
	}
	return uint64(h) | 1
}

// countOthers counts the numbers of no brand in their places. Where nothing was found no place
// matters.
func (s *search) countOthers() {
	if len(s.found) > 0 {
		for _, at := range s.others {
			s.rates.of(s.placeOf(at, s.before(at))).all++
		}
	}
	s.others = s.others[:0]
}

// judge weighs the candidates against the rates of their places and orders them. What lies in
// one that was taken already is dropped.
func (s *search) judge() []candidate {
	s.countOthers()
	kept := s.found[:0]
	for _, c := range s.found {
		if (c.kind == CardNumber || c.enc == BCD) && c.place != 0 {
			r := s.rates.of(c.place)
			switch {
			case r.isRule():
				c.confidence, c.reason = High, "prefix, length and check digit, as of nearly all numbers in its place"
			case c.place == packedText && r.all < enough:
				c.confidence, c.reason = Low, "packed digits that are text too"
			case r.isChance() && c.hint != raises && c.confidence == Medium:
				c.confidence, c.reason = Low, "no more in its place than chance gives"
			}
		}
		if c.place == 0 && c.enc == BCD && c.confidence == Medium && (s.packed.isChance() || !isUnlikely(int(s.packed.whole), s.to-s.from)) {
			c.confidence, c.reason = Low, "packed digits, no more than chance gives"
		}
		kept = append(kept, c)
	}
	slices.SortStableFunc(kept, func(a, b candidate) int {
		if a.start != b.start {
			return cmp.Compare(a.start, b.start)
		}
		return cmp.Compare(b.confidence, a.confidence)
	})
	out := kept[:0]
	for _, c := range kept {
		// A number can be found in two spellings, and a short one within a longer one. Which of
		// two is meant that begin together cannot be told.
		if n := len(out); n > 0 && c.start < out[n-1].end && (c.n > 0 && c.digits == out[n-1].digits && (c.kind == CardNumber || c.kind == out[n-1].kind) ||
			out[n-1].confidence >= c.confidence && c.kind == CardNumber && (c.start > out[n-1].start || c.n <= out[n-1].n)) {
			continue
		}
		out = append(out, c)
	}
	return out
}
