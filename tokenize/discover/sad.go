package discover

import (
	"bytes"

	"github.com/cardlake/cardlake/card"
)

// track decides whether a number is the beginning of a magnetic stripe's track (ISO/IEC 7813):
//
//	track 1: % B number ^ name ^ YYMM service …
//	track 2: ; number = YYMM service …, with D for = in a chip's equivalent and in hexadecimal
//
// A number of no known brand counts only with its start sentinel.
func (s *search) track(c *candidate, fit card.Fit) bool {
	if c.end >= len(s.data) {
		return false
	}
	after := s.data[c.end:]
	sentinel := byte(0)
	if c.start > 0 {
		sentinel = s.data[c.start-1]
	}
	switch after[0] {
	case '^':
		if sentinel != 'B' && sentinel != 'b' || fit == card.NoFit && (c.start < 2 || s.data[c.start-2] != '%') {
			return false
		}
		name := bytes.IndexByte(after[1:min(len(after), 40)], '^')
		if name < 0 || !isExpiry(after[name+2:]) {
			return false
		}
		c.kind, c.end = Track1, c.end+name+2+7
	case '=', 'D', 'd':
		if fit != card.FitsWhole && sentinel != ';' || !isExpiry(after[1:]) {
			return false
		}
		c.kind, c.end = Track2, c.end+1+7
	default:
		return false
	}
	for c.end < len(s.data) && isDigit(s.data[c.end]) {
		c.end++
	}
	c.confidence, c.reason = High, "number, expiry and service code as on a magnetic stripe"
	return true
}

// isExpiry reports whether b begins with YYMM and a service code.
func isExpiry(b []byte) bool {
	if len(b) < 7 {
		return false
	}
	for _, c := range b[:7] {
		if !isDigit(c) {
			return false
		}
	}
	month := (b[2]-'0')*10 + b[3] - '0'
	return month >= 1 && month <= 12
}

// nearWindow is how far from a card number its security code or PIN block is looked for.
const nearWindow = 160

// near looks for a security code and a PIN block beside a card number: a word that names one,
// and digits of its length.
func (s *search) near(c candidate, found func(candidate)) {
	from, to := max(0, c.start-nearWindow), min(len(s.data), c.end+nearWindow)
	lower := lowerASCII(s.data[from:to])
	for i := 0; i < len(lower); i++ {
		if lower[i] != 'c' && lower[i] != 'p' && lower[i] != 's' || i > 0 && isLetter(lower[i-1]) {
			continue
		}
		for _, w := range secretWords {
			if !bytes.HasPrefix(lower[i:], []byte(w.word)) {
				continue
			}
			j := i + len(w.word)
			if j < len(lower) && lower[j] == '2' {
				j++
			}
			start := j
			for start < len(lower) && start-j < 6 && bytes.IndexByte([]byte(" \t\"'`:=>#-|\\"), lower[start]) >= 0 {
				start++
			}
			end := start
			for end < len(lower) && isHex(lower[end]) {
				end++
			}
			if start == j || !w.kind.fits(lower[start:end]) || end < len(lower) && isLetter(lower[end]) {
				continue
			}
			found(candidate{start: from + start, end: from + end, kind: w.kind, enc: c.enc, confidence: High, reason: "named, beside a card number"})
			i = end
			break
		}
	}
}

// lowerASCII returns b with small letters, as long as it was.
func lowerASCII(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if isUpper(c) {
			out[i] = c | 0x20
		}
	}
	return out
}

// secretWords name a security code or a PIN block.
var secretWords = []struct {
	word string
	kind Kind
}{
	{"cvv", SecurityCode}, {"cvc", SecurityCode}, {"cvn", SecurityCode}, {"cid", SecurityCode}, {"csc", SecurityCode},
	{"card_verification", SecurityCode}, {"card verification", SecurityCode},
	{"security code", SecurityCode}, {"security_code", SecurityCode}, {"securitycode", SecurityCode},
	{"codigo de seguridad", SecurityCode}, {"código de seguridad", SecurityCode},
	{"codigo de seguranca", SecurityCode}, {"código de segurança", SecurityCode}, {"cod_seg", SecurityCode}, {"cod seg", SecurityCode},
	{"pin_block", PINBlock}, {"pinblock", PINBlock}, {"pin block", PINBlock}, {"pin-block", PINBlock},
}

// fits reports whether a value has the form of the kind: a security code three or four digits,
// a PIN block sixteen hexadecimal ones.
func (k Kind) fits(value []byte) bool {
	switch k {
	case SecurityCode:
		return (len(value) == 3 || len(value) == 4) && bytes.IndexFunc(value, func(r rune) bool { return r < '0' || r > '9' }) < 0
	case PINBlock:
		return len(value) == 16 && bytes.IndexFunc(value, func(r rune) bool { return r > 'f' || !isHex(byte(r)) }) < 0
	}
	return false
}

// secretNamed returns what a column of the name holds, "" if nothing that it must not.
func secretNamed(name string) Kind {
	lower := lowerASCII([]byte(name))
	for i := range lower {
		if i > 0 && isLetter(lower[i-1]) && !(isUpper(name[i]) && isLower(name[i-1])) {
			continue
		}
		for _, w := range secretWords {
			rest, ok := bytes.CutPrefix(lower[i:], []byte(w.word))
			if ok && (len(rest) == 0 || !isLetter(rest[0])) {
				return w.kind
			}
		}
	}
	return ""
}
