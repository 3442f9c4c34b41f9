package discover

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
)

// isWide reports whether data[p] is a digit or separator of two bytes (UTF-16 of either byte
// order) and has another one beside it. Which of its neighbours is its own zero cannot be told
// and does not matter.
func isWide(data []byte, p int) bool {
	const either = digitByte | separator
	if classes[data[p]]&either == 0 {
		return false
	}
	return p+2 < len(data) && data[p+1] == 0 && classes[data[p+2]]&either != 0 && (p+3 == len(data) || data[p+3] == 0 || p > 0 && data[p-1] == 0) ||
		p >= 2 && data[p-1] == 0 && classes[data[p-2]]&either != 0 && (p < 3 || data[p-3] == 0 || p+1 < len(data) && data[p+1] == 0)
}

// Characters of context around a number in another encoding.
const contextBefore, contextAfter = 64, 64

// wide looks at the digits of two bytes around p and returns their end.
func (s *search) wide(p int) int {
	const either = digitByte | separator
	first, last := p, p
	for first >= 2 && s.data[first-1] == 0 && classes[s.data[first-2]]&either != 0 {
		first -= 2
	}
	for last+2 < len(s.data) && s.data[last+1] == 0 && classes[s.data[last+2]]&either != 0 {
		last += 2
	}
	if last-first >= 2*(leastDigits-1) {
		s.transcribed(first, last, 2, UTF16, func(c byte) byte { return c })
	}
	return last
}

// ebcdicChain looks at the EBCDIC digits around p and returns their end.
func (s *search) ebcdicChain(p int) int {
	first, last := p, p
	for first > 0 && inEBCDIC(s.data, first-1) {
		first--
	}
	for last+1 < len(s.data) && inEBCDIC(s.data, last+1) {
		last++
	}
	if last-first >= leastDigits-1 {
		s.transcribed(first, last, 1, EBCDIC, func(c byte) byte { return cp037[c] })
	}
	return last
}

// transcribed looks at characters first to last, step bytes apart, and what is around them in
// ASCII. What has no letter there becomes a question mark.
func (s *search) transcribed(first, last, step int, enc Encoding, ascii func(byte) byte) {
	begin := first
	for n := 0; n < contextBefore && begin >= step; n++ {
		begin -= step
	}
	text := make([]byte, 0, (last-begin)/step+1+contextAfter)
	for i := begin; i < len(s.data) && i <= last+step*contextAfter; i += step {
		c := ascii(s.data[i])
		if c == 0 || c >= 0x80 {
			c = '?'
		}
		text = append(text, c)
	}
	sub := search{Detector: s.Detector, data: text, from: max(0, s.from-begin+step-1) / step, to: max(0, s.to-begin+step-1) / step, rates: s.rates, column: s.column, depth: s.depth}
	sub.numbers((first-begin)/step, (last-begin)/step+1, enc)
	sub.countOthers()
	for _, c := range sub.found {
		if c.confidence >= Medium {
			sub.near(c, func(c candidate) { sub.found = append(sub.found, c) })
		}
	}
	for _, c := range sub.found {
		c.start, c.end, c.enc = begin+c.start*step, begin+c.end*step, enc
		s.found = append(s.found, c)
	}
}

// cp037 is the part of EBCDIC (code page 037) that card data and its names are written in.
var cp037 = func() (t [256]byte) {
	for from, chars := range map[byte]string{0x81: "abcdefghi", 0x91: "jklmnopqr", 0xa2: "stuvwxyz", 0xc1: "ABCDEFGHI", 0xd1: "JKLMNOPQR", 0xe2: "STUVWXYZ", 0xf0: "0123456789"} {
		for i := range chars {
			t[int(from)+i] = chars[i]
		}
	}
	for c, ch := range map[byte]byte{0x40: ' ', 0x60: '-', 0x7e: '=', 0xb0: '^', 0x5f: '^', 0x7a: ':', 0x6b: ',', 0x6d: '_', 0x7f: '"', 0x61: '/', 0x4b: '.', 0x5e: ';', 0x6f: '?', 0x6c: '%', 0x15: '\n', 0x25: '\n'} {
		t[c] = ch
	}
	return t
}()

const (
	// leastToken is the characters of base64, without padding, of the shortest number.
	leastToken = 18
	// mostToken bounds how much of a token is decoded at once; the rest is another token.
	mostToken = 1 << 20
)

// tokens decodes long words of base64 and hexadecimal text and searches what they say. It
// looks at the end of each window first and jumps behind the byte that cannot be part of a
// token, so short words cost little.
func (s *search) tokens() {
	data := s.data
	limit := min(s.to+leastToken, len(data))
	for start := s.from; start+leastToken <= limit; {
		p := start + leastToken - 1
		for p >= start && classes[data[p]]&base64Byte != 0 {
			p--
		}
		if p >= start {
			start = p + 1
			continue
		}
		end := start + leastToken
		for end < len(s.data) && end-start < mostToken && classes[s.data[end]]&base64Byte != 0 {
			end++
		}
		if start < s.to && (start > s.from || start == 0 || classes[s.data[start-1]]&base64Byte == 0) {
			end = s.token(start, end)
		}
		start = end
	}
}

// token searches one token and returns its end, which may be lines further down.
func (s *search) token(start, end int) int {
	text := s.data[start:end]
	if isHexText(text) {
		s.hexToken(start, text)
		return end
	}
	// Base64 in lines of one length (MIME, PEM) goes on.
	if n := end - start; n%4 == 0 && n >= 40 {
		text, end = s.folded(text, n, end)
	}
	s.base64Token(start, end, text)
	// A path or an identifier may precede the token.
	if i := bytes.LastIndexAny(text, "/-_+"); i >= 0 && len(text)-i > leastToken {
		s.base64Token(start+i+1, end, text[i+1:])
	}
	return end
}

func isHexText(b []byte) bool {
	for _, c := range b {
		if classes[c]&hexByte == 0 {
			return false
		}
	}
	return true
}

// folded joins the lines that follow a line of n characters of base64.
func (s *search) folded(text []byte, n, end int) ([]byte, int) {
	joined := append(make([]byte, 0, 2*len(text)), text...)
	for len(joined) < mostToken {
		next := end
		for next < len(s.data) && next-end < 2 && (s.data[next] == '\r' || s.data[next] == '\n') {
			next++
		}
		last := next
		for last < len(s.data) && last-next < n && classes[s.data[last]]&base64Byte != 0 {
			last++
		}
		if next == end || last == next || last < len(s.data) && last-next == n && classes[s.data[last]]&base64Byte != 0 {
			break
		}
		joined = append(joined, s.data[next:last]...)
		end = last
		if last-next < n {
			break
		}
	}
	return joined, end
}

func (s *search) hexToken(start int, text []byte) {
	if len(text) > 1 && len(text)%2 == 1 {
		text = text[:len(text)-1]
	}
	plain := make([]byte, len(text)/2)
	if _, err := hex.Decode(plain, text); err != nil {
		return
	}
	sub := s.within(plain, start)
	sub.run()
	if !isBinary(plain) {
		sub.packedDigits() // the pass over binary data was not taken
	}
	s.adopt(&sub, start, start+len(text), HexASCII, HexBCD)
}

func (s *search) base64Token(start, end int, text []byte) {
	encoding := base64Encoding(text)
	if len(text)%4 == 1 {
		text = text[:len(text)-1]
	}
	plain := make([]byte, len(text)/4*3+3)
	n, err := encoding.Decode(plain, text)
	if err != nil && n < leastDigits/2 {
		return
	}
	sub := s.within(plain[:n], start)
	sub.run()
	s.adopt(&sub, start, end, Base64ASCII, Base64BCD)
}

// base64Encoding returns the alphabet of unpadded text (RFC 4648, sections 4 and 5).
func base64Encoding(text []byte) *base64.Encoding {
	if bytes.IndexAny(text, "-_") >= 0 {
		return base64.RawURLEncoding
	}
	return base64.RawStdEncoding
}

func (s *search) within(plain []byte, at int) search {
	return search{Detector: s.Detector, data: plain, to: len(plain), rates: s.rates, column: s.columnAt(at), depth: s.depth + 1}
}

// adopt takes over what was found in decoded text. In packed digits only what has a structure
// around it counts: any bytes hold some by chance.
func (s *search) adopt(sub *search, start, end int, text, packed Encoding) {
	sub.countOthers()
	for _, c := range sub.found {
		if c.confidence >= Medium && c.kind == CardNumber {
			sub.near(c, func(c candidate) { sub.found = append(sub.found, c) })
		}
	}
	for _, c := range sub.found {
		if c.enc == BCD && c.confidence < High {
			continue
		}
		switch c.enc {
		case ASCII, ASCIIGrouped:
			c.enc = text
		case BCD:
			c.enc = packed
		}
		// Where it is follows from how much longer the text is than what it says.
		c.start, c.end = start+c.start*(end-start)/len(sub.data), start+min(len(sub.data), c.end)*(end-start)/len(sub.data)
		s.found = append(s.found, c)
	}
}
