package discover

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/cardlake/cardlake/card"
)

// isBinary reports whether the bytes are no text, so that packed digits are looked for: there
// is a zero byte, or the beginning is not UTF-8.
func isBinary(b []byte) bool {
	if bytes.IndexByte(b, 0) >= 0 {
		return true
	}
	head := b[:min(len(b), 4096)]
	for n := 0; n < utf8.UTFMax && len(head) > 0 && !utf8.RuneStart(head[len(head)-1]); n++ {
		head = head[:len(head)-1]
	}
	if n := len(head); n > 0 && head[n-1] >= utf8.RuneSelf {
		head = head[:n-1]
	}
	return !utf8.Valid(head)
}

// packedDigits looks for numbers of two digits a byte: where a structure announces one (EMV
// tags, ISO 8583), and in runs that have a number's length.
func (s *search) packedDigits() {
	// A number of 13 digits has six bytes of two digits, so one of each six is looked at.
	data := s.data
	for p := s.from + 5; p < len(data) && p < s.to+maxDigits; p += 6 {
		if classes[data[p]]&packedByte == 0 {
			continue
		}
		first, end := p, p+1
		for first > 0 && classes[data[first-1]]&packedByte != 0 {
			first--
		}
		for end < len(data) && classes[data[end]]&packedByte != 0 {
			end++
		}
		from, to := 2*first, 2*end
		if first > 0 && data[first-1]&15 <= 9 {
			from--
		}
		if end < len(data) && data[end]>>4 <= 9 {
			to++
		}
		if end-first >= 6 {
			s.structures(first, end)
		}
		if n := to - from; n >= leastDigits && n <= maxDigits {
			s.packedRun(from, n)
		}
		p = end
	}
}

// half returns the half byte i of b.
func half(b []byte, i int) byte {
	if i&1 == 0 {
		return b[i/2] >> 4
	}
	return b[i/2] & 15
}

// packedText is the place, for the rates, of packed digits that are text too.
const packedText = 2

// packedRun judges a whole run of n packed digits that begins at the half byte at.
func (s *search) packedRun(at, n int) {
	c := candidate{start: at / 2, end: (at+n-1)/2 + 1, kind: CardNumber, enc: BCD, n: n}
	if c.start < s.from || c.start >= s.to {
		return
	}
	r := &s.packed
	if isText(s.data[c.start:c.end]) { // it counts if more such runs are card numbers than chance gives
		c.place = packedText
		r = s.rates.of(c.place)
	}
	r.all++
	fits := s.unpack(&c, at)
	if c.brand != "" {
		r.prefix++
	}
	if !fits {
		return
	}
	s.packedTrack(&c, at+n)
	c.confidence, c.reason = Medium, "packed digits with prefix, length and check digit"
	if c.place == packedText || !slices.ContainsFunc(s.found, func(f candidate) bool { return f.enc == BCD && f.digits == c.digits }) {
		r.whole++ // what a structure repeats is one number
	}
	s.found = append(s.found, c)
}

// isText reports whether most of the bytes are letters, digits and signs of ASCII: half of those
// have the form of two packed digits.
func isText(b []byte) bool {
	n := 0
	for _, c := range b {
		if c >= ' ' && c <= '~' {
			n++
		}
	}
	return 4*n > 3*len(b)
}

// unpack reads the digits and reports whether they are a card number.
func (s *search) unpack(c *candidate, at int) bool {
	if at+c.n > 2*len(s.data) {
		return false
	}
	for i := range c.n {
		d := half(s.data, at+i)
		if d > 9 {
			return false
		}
		c.digits[i] = '0' + d
	}
	brand, fit := s.iins.Match(c.digits[:c.n])
	c.brand = brand
	return fit == card.FitsWhole
}

// packedTrack reports whether the half bytes at i go on as track 2 does.
func (s *search) packedTrack(c *candidate, i int) bool {
	var after [8]byte
	for j := range after {
		if (i+j)/2 >= len(s.data) {
			return false
		}
		after[j] = '0' + half(s.data, i+j)
	}
	if after[0] != '0'+0xd || !isExpiry(after[1:]) {
		return false
	}
	c.kind, c.end = Track2, (i+8)/2
	c.confidence, c.reason = High, "number, expiry and service code as on a magnetic stripe"
	return true
}

// structures looks for what announces a number in or before a run of bytes of two digits,
// whatever digits follow the number: EMV tags 5A (number), 57 and 9F6B (track 2 equivalent),
// each followed by a length, and ISO 8583's field 2 with its length in packed digits.
func (s *search) structures(first, end int) {
	for i := max(s.from, first-2); i < min(end, s.to); i++ {
		switch c := s.data[i]; {
		case i+1 < len(s.data) && (c == 0x5a || c == 0x57 || c == 0x6b && i > 0 && s.data[i-1] == 0x9f):
			s.value(i+2, int(s.data[i+1]), c)
		case c >= 0x13 && c <= 0x19:
			n := int(c>>4*10 + c&15)
			if !s.isMessage(i, i+1+(n+1)/2) {
				continue
			}
			s.announced(2*(i+1)+n%2, n, "announced by an ISO 8583 message")
			s.announced(2*(i+1), n, "announced by an ISO 8583 message")
		}
	}
}

// isMessage reports whether a message type and a bitmap with bit 2 stand before i, and packed
// digits from next on where the bitmap has fields 3 (processing code) and 4 (amount).
func (s *search) isMessage(i, next int) bool {
	for _, bitmap := range []int{8, 16} {
		at := i - bitmap - 2
		if at < 0 {
			continue
		}
		first := s.data[at+2]
		if c := s.data[at]; c >= 1 && c <= 8 && s.data[at+1]&0xcf <= 5 && first&0x40 != 0 && first>>7 == byte(bitmap/8-1) {
			digits := 0
			if first&0x20 != 0 {
				digits += 3
			}
			if first&0x10 != 0 {
				digits += 6
			}
			if next+digits <= len(s.data) && !slices.ContainsFunc(s.data[next:next+digits], func(b byte) bool { return classes[b]&packedByte == 0 }) {
				return true
			}
		}
	}
	return false
}

// value judges the value of an EMV tag.
func (s *search) value(at, length int, tag byte) {
	if length < 7 || length > 19 || at+length > len(s.data) || tag == 0x5a && length > 10 {
		return
	}
	n := 0
	for n < 2*length && half(s.data, 2*at+n) <= 9 {
		n++
	}
	if n < leastDigits || n > maxDigits {
		return
	}
	if tag == 0x5a {
		for i := n; i < 2*length; i++ {
			if half(s.data, 2*at+i) != 0xf {
				return
			}
		}
		s.announced(2*at, n, "announced by an EMV tag")
		return
	}
	c := candidate{start: at, end: at + length, enc: BCD, n: n}
	if s.unpack(&c, 2*at) && s.packedTrack(&c, 2*at+n) {
		s.found = append(s.found, c)
	}
}

func (s *search) announced(at, n int, reason string) {
	c := candidate{start: at / 2, end: (at+n-1)/2 + 1, kind: CardNumber, enc: BCD, n: n, confidence: High, reason: reason}
	if s.unpack(&c, at) {
		s.found = append(s.found, c)
	}
}
