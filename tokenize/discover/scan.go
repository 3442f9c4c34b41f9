package discover

import (
	"encoding/binary"
	"io"
	"math/bits"
	"slices"
)

const (
	chunk = 256 << 10
	// span is more bytes than any spelling takes: hexadecimal and UTF-16 take two a digit.
	span = 64
)

// Scan reads r to its end in bounded memory and yields every place that holds one of the
// numbers, in no particular order within a few hundred kilobytes. name goes into the
// findings as it is. When yield returns false, Scan stops and returns nil. An error of r is
// returned after what was read before it has been searched.
func (k Known) Scan(r io.Reader, name string, yield func(Finding) bool) error {
	return k.scan(r, make([]byte, chunk+span), name, yield)
}

// scan reads through buf, which must be longer than span.
func (k Known) scan(r io.Reader, buf []byte, name string, yield func(Finding) bool) error {
	s := scanner{index: k.ix, name: name, yield: yield}
	n := 0
	for {
		var err error
		for n < len(buf) && err == nil {
			var m int
			m, err = r.Read(buf[n:])
			n += m
		}
		if err == nil {
			// Numbers that begin in the last span bytes may go on in the next chunk: they
			// are moved to its start, so that each start is looked at exactly once.
			s.search(buf[:n], n-span)
			s.base += int64(n - span)
			n = copy(buf, buf[n-span:n])
		} else {
			s.search(buf[:n], n)
		}
		switch {
		case s.stopped, err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// steps runs one pattern for each family of spellings over the bytes at once, in the bits of
// two words (the shift-and method): after a byte, a pattern's bit i is set if the last i+1
// bytes fit the pattern's first i+1 classes. The bit of a pattern's last class says that a
// number of the family may begin where the pattern began.
type steps struct {
	step   [256][2]uint64 // the bits of the classes that have the byte
	starts [2]uint64      // first bit of each pattern
	ends   [2]uint64      // last bit of each pattern
	family [2][64]family  // by last bit
}

// family is one way to read digits, and the length of the pattern that leads to it.
type family struct {
	encoding Encoding
	bit      int // of a base64 character, at which the number begins
	length   int
}

// BCD has no pattern: half of all bytes are two digits. Its two bits say that a number
// begins with four packed digits, at the byte's high or low half.
const (
	bcdHigh = 1 << 62
	bcdLow  = 1 << 63
)

// class is a set of bytes.
type class func(byte) bool

func isDigit(c byte) bool  { return c-'0' < 10 }
func isSep(c byte) bool    { return c == ' ' || c == '-' }
func isNull(c byte) bool   { return c == 0 }
func isThree(c byte) bool  { return c == '3' }
func isEBCDIC(c byte) bool { return c-0xf0 < 10 }

// cycle is a pattern of n classes, the given ones over and over.
func cycle(n int, classes ...class) []class {
	out := make([]class, n)
	for i := range out {
		out[i] = classes[i%len(classes)]
	}
	return out
}

// newSteps lays the patterns out. The shortest number sought decides how many characters of
// base64 must fit before they are read: ordinary words may be base64 of BCD for a while.
func newSteps(shortest int) steps {
	var s steps
	next := 0
	add := func(word int, encoding Encoding, bit int, pattern []class) {
		s.starts[word] |= 1 << next
		for _, in := range pattern {
			for c := range 256 {
				if in(byte(c)) {
					s.step[c][word] |= 1 << next
				}
			}
			next++
		}
		s.ends[word] |= 1 << (next - 1)
		s.family[word][next-1] = family{encoding, bit, len(pattern)}
	}
	add(0, ASCII, 0, cycle(8, isDigit))
	add(0, ASCIIGrouped, 0, cycle(9, isDigit, isDigit, isDigit, isDigit, isSep))
	add(0, UTF16, 0, cycle(7, isDigit, isNull))
	add(0, EBCDIC, 0, cycle(8, isEBCDIC))
	add(0, HexASCII, 0, cycle(8, isThree, isDigit))
	next = 0
	for bit := 0; bit <= 4; bit += 2 {
		add(1, Base64ASCII, bit, base64Classes(6, bit, 8))
		add(1, Base64BCD, bit, base64Classes(min(4*shortest/6, 10), bit, 4))
	}
	return s
}

// base64Classes are the characters in which digits of the given width in bits can appear
// when the first of them begins at the given bit of the first character. A byte of the
// encoded data begins at bit 0, 2 or 4, and so does each half of a byte.
func base64Classes(n, bit, width int) []class {
	out := make([]class, n)
	for i := range out {
		out[i] = func(c byte) bool {
			v := sextets[c]
			if v > 63 {
				return false
			}
			for lo := 6*i - bit; lo < 6*i-bit+6; { // the digit's first bit in this character
				at := max(lo, 0)
				hi := min(at/width*width+width, 6*i-bit+6)
				shift, have := 6*i-bit+6-hi, hi-at
				if !slices.ContainsFunc([]byte("0123456789"), func(d byte) bool {
					if width == 4 {
						d -= '0'
					}
					rest := width - at%width - have
					return (v>>shift^d>>rest)&(1<<have-1) == 0
				}) {
					return false
				}
				lo = hi
			}
			return true
		}
	}
	return out
}

// sextets gives the value of a base64 character in either alphabet of RFC 4648, 255 for any
// other byte.
var sextets = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = byte(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()

// scanner searches one stream.
type scanner struct {
	*index
	name    string
	base    int64 // offset of the buffer's first byte
	yield   func(Finding) bool
	stopped bool
}

// search looks for numbers that begin in data[:limit]; they may end after it. BCD is tried
// two bytes late, which loses nothing: a number takes at least six.
func (s *scanner) search(data []byte, limit int) {
	var (
		a, b uint64 // states
		last uint32 // the last bytes, newest lowest
		st   = &s.steps
	)
	for i, c := range data[:min(len(data), limit+maxPattern)] {
		step := &st.step[c]
		a = (a<<1 | st.starts[0]) & step[0]
		b = (b<<1 | st.starts[1]) & step[1]
		last = last<<8 | uint32(c)
		hitA := a&st.ends[0] | s.begins(uint16(last>>8))<<62 | s.begins(uint16(last>>4))<<63
		hitB := b & st.ends[1]
		if hitA|hitB == 0 {
			continue
		}
		if p := i - 2; p >= 0 && p < limit {
			if hitA&bcdHigh != 0 {
				s.bcd(data, p, 0)
			}
			if hitA&bcdLow != 0 {
				s.bcd(data, p, 1)
			}
		}
		for hits := hitA &^ (bcdHigh | bcdLow); hits != 0; hits &= hits - 1 {
			s.look(data, i, limit, &st.family[0][bits.TrailingZeros64(hits)])
		}
		for ; hitB != 0; hitB &= hitB - 1 {
			s.look(data, i, limit, &st.family[1][bits.TrailingZeros64(hitB)])
		}
		if s.stopped {
			return
		}
	}
}

// maxPattern is at least the length of the longest pattern.
const maxPattern = 16

// look reads a number of the family from where its pattern, which ended at data[i], began.
func (s *scanner) look(data []byte, i, limit int, f *family) {
	p := i + 1 - f.length
	if p >= limit {
		return
	}
	switch f.encoding {
	case ASCII, ASCIIGrouped:
		s.ascii(data, p, f.encoding)
	case UTF16:
		s.utf16(data, p)
	case EBCDIC:
		s.ebcdic(data, p)
	case HexASCII:
		s.hex(data, p)
	case Base64ASCII:
		s.base64(data, p, f.bit, 8, Base64ASCII)
	case Base64BCD:
		s.base64(data, p, f.bit, 4, Base64BCD)
	}
}

// number collects the digits that follow one another from one place.
type number struct {
	digits [maxDigits]byte
	n      int
	packed uint64 // two digits a byte, of the first twelve
}

// add takes the next digit. It returns false when no further digit can matter: there are
// as many as a card number can have, or no number begins like this.
func (s *scanner) add(num *number, digit byte) bool {
	num.digits[num.n] = digit
	num.n++
	if num.n > minDigits {
		return num.n < maxDigits
	}
	num.packed = num.packed<<4 | uint64(digit)
	switch num.n {
	case 4:
		return s.begins(uint16(num.packed)) != 0
	case minDigits:
		return s.mayBegin(num.packed)
	}
	return true
}

// report yields a finding for each length in which the digits begin with a number sought.
func (s *scanner) report(num *number, at int, enc Encoding) {
	if num.n < minDigits || !s.mayBegin(num.packed) {
		return
	}
	var v uint64
	for i, d := range num.digits[:num.n] {
		v = v*10 + uint64(d)
		if i+1 < minDigits || !s.sets[i+1].has(v) || s.stopped {
			continue
		}
		var ascii [maxDigits]byte
		for j, d := range num.digits[:i+1] {
			ascii[j] = '0' + d
		}
		s.stopped = !s.yield(Finding{
			Name: s.name, Offset: s.base + int64(at), Encoding: enc, Fingerprint: s.fingerprint(ascii[:i+1]),
		})
	}
}

// ascii reads ASCII digits from p on, over single separators of one kind.
func (s *scanner) ascii(data []byte, p int, enc Encoding) {
	var num number
	sep := byte(0)
	for i := p; i < len(data); i++ {
		c := data[i]
		if isSep(c) && (sep == 0 || c == sep) && i+1 < len(data) && isDigit(data[i+1]) {
			sep = c
			continue
		}
		if !isDigit(c) || !s.add(&num, c-'0') {
			break
		}
	}
	s.report(&num, p, enc)
}

// utf16 reads digits at every other byte from p on, with zeros between them. Whether the
// zero belongs before or behind its digit cannot be told and does not matter.
func (s *scanner) utf16(data []byte, p int) {
	var num number
	for i := p; i < len(data) && isDigit(data[i]) && (i == p || data[i-1] == 0); i += 2 {
		if !s.add(&num, data[i]-'0') {
			break
		}
	}
	s.report(&num, p, UTF16)
}

func (s *scanner) ebcdic(data []byte, p int) {
	var num number
	for i := p; i < len(data) && isEBCDIC(data[i]); i++ {
		if !s.add(&num, data[i]&15) {
			break
		}
	}
	s.report(&num, p, EBCDIC)
}

func (s *scanner) hex(data []byte, p int) {
	var num number
	for i := p; i+1 < len(data) && data[i] == '3' && isDigit(data[i+1]); i += 2 {
		if !s.add(&num, data[i+1]-'0') {
			break
		}
	}
	s.report(&num, p, HexASCII)
}

// bcd reads packed digits from p on, from the byte's low half if low is 1. The filler F
// that ends a number of odd length ends the digits.
func (s *scanner) bcd(data []byte, p, low int) {
	if p+8 <= len(data) {
		x := binary.BigEndian.Uint64(data[p:]) << (4 * low)
		// A half above 9 has its bit 3 set and one of bits 2 and 1.
		if x&(x<<1|x<<2)&0x8888_8888_8888_0000 != 0 || !s.mayBegin(x>>16) {
			return
		}
	}
	var num number
	for i := low; p+i/2 < len(data); i++ {
		d := data[p+i/2] >> 4
		if i&1 == 1 {
			d = data[p+i/2] & 15
		}
		if d > 9 || !s.add(&num, d) {
			break
		}
	}
	s.report(&num, p, BCD)
}

// base64 reads digits of the given width in bits, from a bit of the character at p on.
func (s *scanner) base64(data []byte, p, bit, width int, enc Encoding) {
	if width == 4 { // most of what looks like base64 ends here
		var first uint32
		for _, c := range data[p : p+4] {
			first = first<<6 | uint32(sextets[c])
		}
		if s.begins(uint16(first>>(8-bit))) == 0 {
			return
		}
	}
	var (
		num  number
		acc  uint32
		have = -bit
	)
	for _, c := range data[p:] {
		v := sextets[c]
		if v > 63 {
			break
		}
		acc = acc<<6 | uint32(v)
		for have += 6; have >= width; {
			have -= width
			d := byte(acc >> have & (1<<width - 1))
			if width == 8 {
				d -= '0'
			}
			if d > 9 || !s.add(&num, d) {
				s.report(&num, p, enc)
				return
			}
		}
	}
	s.report(&num, p, enc)
}
