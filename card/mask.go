package card

// MaskPANs returns s with every text that looks like a card number replaced by as many
// asterisks, its separators kept. Such a text is a whole run of digits, or neighbouring
// whole runs joined by one space or one hyphen, the same everywhere, in groups in which
// people write card numbers ([PlausibleGroups]); it has 13 to 19 digits, a known brand's
// prefix and length, and the Luhn digit where the brand uses one. Part of a longer run of
// digits is not looked at. What follows a card number as on a magnetic stripe loses its
// digits too. s itself is returned when there is nothing to mask.
func MaskPANs(s string) string {
	t := KnownIINs()
	start, end := nextPAN(t, s, 0)
	if end == 0 {
		return s
	}
	out := []byte(s)
	t.mask(out, start, end)
	return string(out)
}

// Clean masks in text what [MaskPANs] masks, and says how many numbers that were. It allocates
// nothing.
func Clean(text []byte) (removed int) { return KnownIINs().Clean(text) }

// Clean is [Clean] with the table's ranges.
func (t *IINs) Clean(text []byte) (removed int) {
	if start, end := nextPAN(t, text, 0); end > 0 {
		removed = t.mask(text, start, end)
	}
	return removed
}

// ContainsPAN reports whether MaskPANs would change the text.
func ContainsPAN(b []byte) bool {
	_, end := nextPAN(KnownIINs(), b, 0)
	return end > 0
}

// mask masks the number at start and all that follow.
func (t *IINs) mask(out []byte, start, end int) (removed int) {
	for end > 0 {
		maskDigits(out[start:end])
		end = maskTrack(out, end)
		removed++
		start, end = nextPAN(t, out, end)
	}
	return removed
}

func maskDigits(b []byte) {
	for i, c := range b {
		if isDigit(c) {
			b[i] = '*'
		}
	}
}

// maskTrack masks the digits that follow a card number as in a track of ISO/IEC 7813: after
// "=" or "D" the digits right behind it, after "^" all up to the end sentinel. It returns where
// they end.
func maskTrack(out []byte, i int) int {
	if i == len(out) {
		return i
	}
	end := i
	switch out[i] {
	case '=', 'D':
		end = groupEnd(out, i+1)
	case '^':
		for end < len(out) && out[end] != '?' {
			end++
		}
	}
	maskDigits(out[i:end])
	return end
}

func isDigit(c byte) bool { return c-'0' < 10 }
func isSep(c byte) bool   { return c == ' ' || c == '-' }

// nextPAN finds the first card number that starts at i or after, whose digits begin a run. end is
// 0 if there is none.
//
// A number and its separators take at least 13 bytes, of which a look at every 13th must
// therefore meet one. Only there are runs of digits looked at, so text without long ones is
// passed at 13 bytes a look.
func nextPAN[S string | []byte](t *IINs, s S, from int) (start, end int) {
	for p := from + minPAN - 1; p < len(s); p += minPAN {
		if !inChain(s, p) {
			continue
		}
		first := p
		for first > from && inChain(s, first-1) {
			first--
		}
		for p = first; p < len(s) && inChain(s, p); {
			if !isDigit(s[p]) {
				p++
				continue
			}
			if end := panEnd(t, s, p); end > 0 {
				return p, end
			}
			p = groupEnd(s, p)
		}
	}
	return 0, 0
}

// inChain reports whether s[p] is a digit, or a separator with a digit on each side.
func inChain[S string | []byte](s S, p int) bool {
	return isDigit(s[p]) || isSep(s[p]) && p > 0 && p+1 < len(s) && isDigit(s[p-1]) && isDigit(s[p+1])
}

// panEnd returns the end of the longest text that starts with the run of digits at i and
// looks like a card number, 0 if there is none.
func panEnd[S string | []byte](t *IINs, s S, i int) (end int) {
	var (
		digits [maxPAN]byte
		sizes  [maxPAN]int
		n, g   int
		sep    byte
	)
	for {
		begin := n
		for ; i < len(s) && isDigit(s[i]); i++ {
			if n == len(digits) {
				return end
			}
			digits[n] = s[i]
			n++
		}
		sizes[g] = n - begin
		g++
		if n >= minPAN && PlausibleGroups(sizes[:g]) {
			if _, fit := t.Match(digits[:n]); fit == FitsWhole {
				end = i
			}
		}
		if i+1 >= len(s) || !isSep(s[i]) || sep != 0 && s[i] != sep || !isDigit(s[i+1]) {
			return end
		}
		sep = s[i]
		i++
	}
}

func groupEnd[S string | []byte](s S, i int) int {
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}
