package card

// brand is one range of issuer identification numbers (ISO/IEC 7812-1): numbers whose first
// digits lie between lo and hi, both of the same number of digits, in the lengths given.
// lengths has bit n set when the brand issues numbers of n digits.
type brand struct {
	name    string
	lo, hi  uint32
	lengths uint32
	luhn    bool // false: the issuer has numbers without the Luhn digit
}

const (
	len13 = 1 << 13
	len14 = 1 << 14
	len15 = 1 << 15
	len16 = 1 << 16
	len19 = 1 << 19

	len13to19 = 1<<20 - 1<<13
	len16to19 = 1<<20 - 1<<16
)

// brands are the ranges of the schemes accepted in Latin America and of the global ones.
// Elo's ranges below 4, 509 and 65 that lie inside Visa's and Discover's are not repeated.
var brands = []brand{
	{"visa", 4, 4, len13 | len16 | len19, true},
	{"mastercard", 51, 55, len16, true},
	{"mastercard", 2221, 2720, len16, true},
	{"amex", 34, 34, len15, true},
	{"amex", 37, 37, len15, true},
	{"diners", 300, 305, len14 | len16to19, true},
	{"diners", 3095, 3095, len14 | len16to19, true},
	{"diners", 36, 36, len14 | len16to19, true},
	{"diners", 38, 39, len14 | len16to19, true},
	{"discover", 6011, 6011, len16to19, true},
	{"discover", 644, 649, len16to19, true},
	{"discover", 65, 65, len16to19, true}, // and Elo's 650, 651, 655
	{"jcb", 3528, 3589, len16to19, true},
	{"unionpay", 62, 62, len16to19, true}, // and Elo's 627780
	{"maestro", 5018, 5018, len13to19, true},
	{"maestro", 5020, 5020, len13to19, true},
	{"maestro", 5038, 5038, len13to19, true},
	{"maestro", 5893, 5893, len13to19, true},
	{"maestro", 6304, 6304, len13to19, true},
	{"maestro", 6759, 6759, len13to19, true},
	{"maestro", 6761, 6763, len13to19, true},
	{"elo", 504175, 504175, len16, true},
	{"elo", 506699, 506778, len16, true},
	{"elo", 509000, 509999, len16, true},
	{"elo", 636297, 636297, len16, true},
	{"elo", 636368, 636368, len16, true},
	{"hipercard", 606282, 606282, len13 | len16 | len19, true},
	{"cabal", 589657, 589657, len16, true},
	{"cabal", 603522, 603522, len16, true},
	{"cabal", 604200, 604299, len16, true},
	{"cabal", 604324, 604324, len16, true},
	{"cabal", 604330, 604330, len16, true},
	{"cabal", 604337, 604338, len16, true},
	{"argencard", 501105, 501105, len16, true},
	{"cencosud", 603493, 603493, len16, true},
	{"naranja", 589562, 589562, len16, false},
}

// looksLikePAN reports whether 13 to 19 ASCII digits have a known brand's prefix and
// length, and the Luhn digit where the brand uses one.
func looksLikePAN(digits []byte) bool {
	var prefix [7]uint32 // by number of digits
	for i := range 6 {
		prefix[i+1] = prefix[i]*10 + uint32(digits[i]-'0')
	}
	for i := range brands {
		b := &brands[i]
		p := prefix[decimals(b.hi)]
		if p >= b.lo && p <= b.hi && b.lengths>>len(digits)&1 == 1 && (!b.luhn || LuhnValid(digits)) {
			return true
		}
	}
	return false
}

func decimals(n uint32) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

// MaskPANs returns s with every text that looks like a card number replaced by as many
// asterisks, its separators kept. Such a text is a whole run of digits, or neighbouring
// whole runs joined by one space or one hyphen, the same everywhere; it has 13 to 19 digits,
// a known brand's prefix and length, and the Luhn digit where the brand uses one. Part of a
// longer run of digits is not looked at. s itself is returned when there is nothing to mask.
func MaskPANs(s string) string {
	var out []byte
	for i := nextGroup(s, 0); i < len(s); i = nextGroup(s, groupEnd(s, i)) {
		end := panEnd(s, i)
		if end > 0 && out == nil {
			out = []byte(s)
		}
		for j := i; j < end; j++ {
			if isDigit(s[j]) {
				out[j] = '*'
			}
		}
	}
	if out == nil {
		return s
	}
	return string(out)
}

// ContainsPAN reports whether MaskPANs would change the text.
func ContainsPAN(b []byte) bool {
	for i := nextGroup(b, 0); i < len(b); i = nextGroup(b, groupEnd(b, i)) {
		if panEnd(b, i) > 0 {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return c-'0' < 10 }

// nextGroup returns where the next digit is, from i on; len(s) if nowhere or if fewer than
// 13 bytes are left.
func nextGroup[S string | []byte](s S, i int) int {
	for ; i+13 <= len(s); i++ {
		if isDigit(s[i]) {
			return i
		}
	}
	return len(s)
}

func groupEnd[S string | []byte](s S, i int) int {
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}

// panEnd returns the end of the longest text that starts with the run of digits at i and
// looks like a card number, 0 if there is none.
func panEnd[S string | []byte](s S, i int) (end int) {
	var digits [19]byte
	n, sep := 0, byte(0)
	for {
		for ; i < len(s) && isDigit(s[i]); i++ {
			if n == len(digits) {
				return end
			}
			digits[n] = s[i]
			n++
		}
		if n >= 13 && looksLikePAN(digits[:n]) {
			end = i
		}
		if i+1 >= len(s) || s[i] != ' ' && s[i] != '-' || sep != 0 && s[i] != sep || !isDigit(s[i+1]) {
			return end
		}
		sep = s[i]
		i++
	}
}
