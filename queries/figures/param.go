package figures

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cardlake/cardlake"
)

// Type is what a parameter's values are.
type Type string

const (
	Instant  Type = "instant"  // RFC 3339
	Text     Type = "text"     // what somebody writes: at most 64 characters, none of control
	Name     Type = "name"     // the value of a column, with the same bounds
	Token    Type = "token"    // a card token: letters, digits and underscores
	ID       Type = "id"       // an event_id or transaction_id
	Int      Type = "int"      // within Param.Min and Param.Max
	Decimal  Type = "decimal"  // at most 4 decimals, not negative
	Choice   Type = "choice"   // one of Param.Values
	Flag     Type = "flag"     // true or false
	Country  Type = "country"  // ISO 3166-1 alpha-2
	Currency Type = "currency" // ISO 4217
	MCC      Type = "mcc"      // ISO 18245
	Code     Type = "code"     // ISO 8583 DE 39
	BIN      Type = "bin"      // the first 6 to 8 digits of a card number
	Last4    Type = "last4"    // the last 4 digits of a card number
	Cursor   Type = "cursor"   // what Figure.Next returned
)

// Param is a parameter of a figure.
type Param struct {
	Name, Doc string
	Type      Type
	Values    []string // of a Choice
	Min, Max  int64    // of an Int
	Required  bool
	Default   string // the value if none is given

	derive func(value string, a Args) map[string]string // literals that follow from a checked value
	sql    map[string]string                            // what stands for a Choice, if not its text
}

// rules are those of types whose values are quoted as they are.
var rules = map[Type]struct {
	pattern *regexp.Regexp
	text    string
}{
	Token:    {regexp.MustCompile(`^[0-9A-Za-z_]{1,64}$`), "must be a token of at most 64 letters, digits and underscores"},
	Country:  {regexp.MustCompile(`^[A-Z]{2}$`), "must be a country of two capital letters, like BR"},
	Currency: {regexp.MustCompile(`^[A-Z]{3}$`), "must be a currency of three capital letters, like BRL"},
	MCC:      {regexp.MustCompile(`^[0-9]{4}$`), "must be a merchant category of four digits, like 5411"},
	Code:     {regexp.MustCompile(`^[0-9A-Z]{2}$`), "must be a response code of two characters, like 51"},
	BIN:      {regexp.MustCompile(`^[0-9]{6,8}$`), "must be the first 6 to 8 digits of card numbers"},
	Last4:    {regexp.MustCompile(`^[0-9]{4}$`), "must be the last 4 digits of card numbers"},
}

var (
	decimal = regexp.MustCompile(`^[0-9]{1,14}(\.[0-9]{1,4})?$`)
	signed  = regexp.MustCompile(`^-?[0-9]{1,34}(\.[0-9]{1,4})?$`)
)

const (
	maxText    = 64
	minCard    = 12 // digits of a card number, at the least
	oneDay     = 24 * time.Hour
	idleDays   = 30
	usualRows  = 20
	usualPage  = 50
	mostRows   = 500
	sortParam  = "sort"
	limitParam = "limit"
)

// literal returns the value as SQL has it.
func (p Param) literal(v string) (string, error) {
	wrong := func(rule string) (string, error) { return "", &ArgError{p.Name, rule} }
	switch p.Type {
	case Text, Name:
		if !isText(v, maxText) {
			return wrong("must be a text of at most 64 characters, without those of control")
		}
		if p.Type == Text && looksLikeCard(v) {
			return wrong("must not hold what looks like a card number")
		}
		return quote(v), nil
	case ID:
		if _, err := cardlake.ParseEventID(v); err != nil {
			return wrong("must be an id of 36 characters, in lower case")
		}
		return quote(v), nil
	case Int:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < p.Min || n > p.Max {
			return wrong("must be a whole number from " + strconv.FormatInt(p.Min, 10) + " to " + strconv.FormatInt(p.Max, 10))
		}
		return strconv.FormatInt(n, 10), nil
	case Decimal:
		if !decimal.MatchString(v) {
			return wrong("must be a number of at most 14 digits and 4 decimals, like 12.5")
		}
		return v, nil
	case Flag:
		if v != "true" && v != "false" {
			return wrong("must be true or false")
		}
		return strings.ToUpper(v), nil
	case Choice:
		if !slices.Contains(p.Values, v) {
			return wrong("must be one of " + strings.Join(p.Values, ", "))
		}
		if sql, ok := p.sql[v]; ok {
			return sql, nil
		}
		return quote(v), nil
	case Instant:
		t, err := time.Parse(time.RFC3339, v)
		if err != nil || t.Year() < 1971 || t.Year() > 9998 {
			return wrong("must be an instant, like 2026-03-01T12:30:00Z")
		}
		return instant(t), nil
	}
	r, ok := rules[p.Type]
	switch {
	case !ok:
		return wrong("is of no type")
	case !r.pattern.MatchString(v):
		return wrong(r.text)
	case p.Type == Token && isCard(v):
		return wrong("must be a token, not a card number")
	}
	return quote(v), nil
}

// isText reports whether the text is one that people write.
func isText(s string, most int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, unicode.IsControl)
}

// looksLikeCard reports whether there are as many digits as a card number has. Names are let
// through, because a merchant's may be a number; the audit record masks them.
func looksLikeCard(s string) bool {
	n := 0
	for _, r := range s {
		if unicode.IsDigit(r) {
			n++
		}
	}
	return n >= minCard
}

// isCard reports whether it is digits of which the last checks the others (ISO/IEC 7812-1, annex
// B). A token that keeps the format of a card number never passes.
func isCard(s string) bool {
	if len(s) < minCard || strings.Trim(s, "0123456789") != "" {
		return false
	}
	sum := 0
	for i := range len(s) {
		d := int(s[len(s)-1-i] - '0')
		if i%2 == 1 {
			d *= 2
		}
		sum += d/10 + d%10
	}
	return sum%10 == 0
}

// quote writes a text as SQL has it.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func date(t time.Time) string { return "DATE " + quote(t.UTC().Format(time.DateOnly)) }

// instant writes microseconds only if there are any.
func instant(t time.Time) string {
	return "TIMESTAMP WITH TIME ZONE " + quote(t.UTC().Truncate(time.Microsecond).Format("2006-01-02 15:04:05.999999+00:00"))
}
