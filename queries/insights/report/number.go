package report

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// number is v with so many decimals and commas between thousands.
func number(v float64, decimals int) string {
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
		if strings.Trim(s, "0.") == "" {
			sign = "" // minus nothing
		}
	}
	whole, rest := s, ""
	if dot := strings.IndexByte(s, '.'); dot >= 0 {
		whole, rest = s[:dot], s[dot:]
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	b.WriteString(rest)
	return b.String()
}

// amounts shows values of one unit with the same number of decimals, so that they compare at a
// glance: about so many digits of the largest one, of shares one less, and no decimals of whole
// numbers; shares as percentages.
func amounts(unit string, digits int, values ...float64) []string {
	factor, suffix := 1.0, ""
	switch unit {
	case "":
	case Share:
		factor, digits, suffix = 100, digits-1, "%"
	default:
		suffix = " " + unit
	}
	largest, isWhole := 0.0, unit != Share
	for _, v := range values {
		largest = max(largest, abs(v*factor))
		isWhole = isWhole && v == math.Trunc(v)
	}
	out := make([]string, len(values))
	for i, v := range values {
		switch {
		case largest >= 1e15 || largest > 0 && largest < 1e-5:
			out[i] = strconv.FormatFloat(v*factor, 'g', digits, 64) + suffix
		case isWhole:
			out[i] = number(v*factor, 0) + suffix
		default:
			decimals := digits
			if largest >= 1 {
				decimals = max(digits-1-int(math.Floor(math.Log10(largest))), 1)
			} else if largest > 0 && largest < 0.1 {
				decimals = digits - int(math.Floor(math.Log10(largest))) - 1
			}
			out[i] = number(v*factor, decimals) + suffix
		}
	}
	return out
}

// short is v for a place without room: 12.3k, 4.5M, 37%.
func short(unit string, v float64) string {
	if unit == Share {
		switch p := abs(v * 100); {
		case p >= 9.95 || abs(p-math.Round(p)) < 1e-9:
			return number(v*100, 0) + "%"
		case p >= 0.095:
			return number(v*100, 1) + "%"
		default:
			return strconv.FormatFloat(v*100, 'g', 1, 64) + "%"
		}
	}
	letter := ""
	scaled := v
	for _, next := range []string{"k", "M", "bn"} {
		if abs(scaled) < 999.5 || abs(v) < 9999.5 {
			break
		}
		scaled, letter = scaled/1000, next
	}
	switch size := abs(scaled); {
	case size >= 1e6:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case size >= 99.95 || letter == "" && v == math.Trunc(v):
		return number(scaled, 0) + letter
	case size >= 9.995:
		return number(scaled, 1) + letter
	case size >= 0.0995 || size == 0:
		return number(scaled, 2) + letter
	default:
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
}

// minus sets a negative number's sign as printers do.
func minus(s string) string {
	if rest, ok := strings.CutPrefix(s, "-"); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
		return "−" + rest
	}
	return s
}

// clean makes a text safe to show: line ends and tabs are spaces, and control characters and
// those that turn the direction of writing are the replacement character, because a merchant's
// name must not move a terminal's cursor, break an SVG document or reorder a line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069,
			r == 0x200e || r == 0x200f || r == 0x061c, r >= 0xfff9 && r <= 0xfffb, r&0xfffe == 0xfffe,
			r >= 0xe0000 && r <= 0xe007f:
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
