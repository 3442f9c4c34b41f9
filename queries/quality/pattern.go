package quality

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// pattern is a Java regular expression as RE2 can do it: assertions about what the text begins
// with, then the expression itself.
type pattern struct {
	begins []assertion
	rest   string
}

type assertion struct {
	expr  string
	isNot bool
}

var possessive = regexp.MustCompile(`[*+?}]\+`)

// javaClasses are classes that RE2 spells otherwise (java.util.regex.Pattern, "POSIX character
// classes").
var javaClasses = map[string]string{
	"Lower": "lower", "Upper": "upper", "Alpha": "alpha", "Digit": "digit", "Alnum": "alnum", "Punct": "punct",
	"Space": "space", "XDigit": "xdigit", "Blank": "blank", "Cntrl": "cntrl", "Graph": "graph", "Print": "print", "ASCII": "ascii",
}

var errSets = errors.New("a class within a class, and &&, are not understood: write the class without them")

// translated is a Java regular expression with the escapes of Java in the words of RE2. What RE2
// would take for something else is an error.
func translated(java string) (string, error) {
	var b strings.Builder
	inClass := false
	for i := 0; i < len(java); i++ {
		rest := java[i:]
		switch {
		case strings.HasPrefix(rest, `\Q`):
			quoted, _, isClosed := strings.Cut(rest[2:], `\E`)
			b.WriteString(regexp.QuoteMeta(quoted))
			i += len(quoted) + 1
			if isClosed {
				i += 2
			}
		case rest[0] == '\\' && len(rest) > 1:
			n, text := escape(rest, inClass)
			b.WriteString(text)
			i += n - 1
		case inClass && (strings.HasPrefix(rest, "&&") || rest[0] == '['):
			return "", errSets
		case inClass:
			b.WriteByte(rest[0])
			inClass = rest[0] != ']'
		case rest[0] == '[':
			inClass = true
			begin := "["
			for _, s := range []string{"^", "]"} { // at the beginning, ] stands for itself
				if strings.HasPrefix(rest[len(begin):], s) {
					begin += s
				}
			}
			b.WriteString(begin)
			i += len(begin) - 1
		default:
			b.WriteByte(rest[0])
		}
	}
	return b.String(), nil
}

// escape is the escape at the beginning of the text in the words of RE2, and its length in Java's.
func escape(text string, inClass bool) (int, string) {
	class := func(s string) string {
		if inClass {
			return s
		}
		return "[" + s + "]"
	}
	switch text[1] {
	case 'Z':
		return 2, `\z`
	case 'h':
		return 2, class(` \t`)
	case 'p', 'P':
		end := strings.IndexByte(text, '}')
		if len(text) < 3 || text[2] != '{' || end < 0 {
			break
		}
		name := text[3:end]
		if posix, ok := javaClasses[name]; ok {
			if text[1] == 'P' {
				posix = "^" + posix
			}
			return end + 1, class("[:" + posix + ":]")
		}
		name = strings.TrimPrefix(name, "Is")
		if name == "Alphabetic" {
			name = "L"
		} else if name == "Digit" {
			name = "Nd"
		}
		return end + 1, text[:2] + "{" + name + "}"
	}
	return 2, text[:2]
}

// parsePattern reads a Java regular expression.
func parsePattern(java string) (pattern, error) {
	var p pattern
	var err error
	if p.rest, err = translated(java); err != nil {
		return p, err
	}
	for {
		rest := strings.TrimPrefix(p.rest, "^")
		isNot := strings.HasPrefix(rest, "(?!")
		if !isNot && !strings.HasPrefix(rest, "(?=") {
			break
		}
		end := closing(rest)
		if end < 0 {
			return p, errors.New("the pattern does not close a parenthesis")
		}
		p.begins = append(p.begins, assertion{rest[3:end], isNot})
		p.rest = rest[end+1:]
	}
	for _, expr := range p.exprs() {
		if _, err := regexp.Compile(expr); err != nil {
			hint := "lookaheads are understood at its beginning only, and backreferences, lookbehinds and possessive quantifiers not at all"
			if !strings.Contains(expr, "(?") && !possessive.MatchString(expr) && !strings.Contains(expr, `\`) {
				hint = err.Error()
			}
			return p, fmt.Errorf("the pattern is no regular expression that can be evaluated here: %s", hint)
		}
	}
	return p, nil
}

// closing is the place of the parenthesis that closes the one at the beginning.
func closing(s string) int {
	depth, inClass := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case inClass:
			inClass = c != ']'
		case c == '[':
			inClass = true
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// exprs are the expressions that all must match, but the assertions that are negated.
func (p pattern) exprs() []string {
	list := make([]string, 0, len(p.begins)+1)
	for _, a := range p.begins {
		list = append(list, "^(?:"+a.expr+")")
	}
	return append(list, "^(?:"+p.rest+")$")
}

// sql says whether the whole text matches; NULL if it is NULL.
func (p pattern) sql(text string, ignoreCase bool) string {
	flags := ""
	if ignoreCase {
		flags = "(?i)"
	}
	var list []string
	for i, expr := range p.exprs() {
		s := "regexp_matches(" + text + ", " + quote(flags+expr) + ")"
		if i < len(p.begins) && p.begins[i].isNot {
			s = "NOT " + s
		}
		list = append(list, s)
	}
	return "(" + strings.Join(list, " AND ") + ")"
}

// finder returns a function that says whether something in a text matches, as Java's find does,
// with the assertions about the text's beginning.
func (p pattern) finder() (func(string) bool, error) {
	rest, err := regexp.Compile(p.rest)
	if err != nil {
		return nil, fmt.Errorf("the pattern is no regular expression: %w", err)
	}
	begins := make([]*regexp.Regexp, len(p.begins))
	for i, a := range p.begins {
		begins[i] = regexp.MustCompile("^(?:" + a.expr + ")") // parsePattern has compiled it
	}
	return func(s string) bool {
		for i, b := range begins {
			if b.MatchString(s) == p.begins[i].isNot {
				return false
			}
		}
		return rest.MatchString(s)
	}, nil
}
