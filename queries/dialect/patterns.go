package dialect

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"unicode"
)

// DuckDB's regular expressions are RE2's, Trino's by default Joni's, in Java's syntax. What is
// printed is made anew from the parsed expression, of what both read alike: characters as code
// points, classes as ranges, and no \d or $ that differ.

// pattern prints a regular expression.
func pattern(n node, name string, e *expr, isFull bool) string {
	re, err := syntax.Parse(word(n, name, e), syntax.Perl&^syntax.UnicodeGroups)
	if err != nil {
		refuse(n, "", "the regular expression of %s is not understood, or not portable to Trino", name)
	}
	var b strings.Builder
	if isFull {
		b.WriteString(`\A(?:`)
	}
	writePattern(&b, n, re)
	if isFull {
		b.WriteString(`)\z`)
	}
	return quote(b.String())
}

func writePattern(b *strings.Builder, n node, re *syntax.Regexp) {
	lazy := ""
	if re.Flags&syntax.NonGreedy != 0 {
		lazy = "?"
	}
	group := func(sub *syntax.Regexp, suffix string) {
		b.WriteString("(?:")
		writePattern(b, n, sub)
		b.WriteString(")" + suffix)
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		b.WriteString("(?:)")
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 {
				writeFolded(b, r)
			} else {
				writeRune(b, r)
			}
		}
	case syntax.OpCharClass:
		writeClass(b, n, re.Rune)
	case syntax.OpAnyCharNotNL:
		b.WriteString(`[^\n]`)
	case syntax.OpAnyChar:
		b.WriteString(`(?:[^\n]|\n)`)
	case syntax.OpBeginText:
		b.WriteString(`\A`)
	case syntax.OpEndText:
		b.WriteString(`\z`)
	case syntax.OpCapture:
		b.WriteString("(")
		writePattern(b, n, re.Sub[0])
		b.WriteString(")")
	case syntax.OpStar:
		group(re.Sub[0], "*"+lazy)
	case syntax.OpPlus:
		group(re.Sub[0], "+"+lazy)
	case syntax.OpQuest:
		group(re.Sub[0], "?"+lazy)
	case syntax.OpRepeat:
		most := fmt.Sprint(re.Max)
		if re.Max < 0 {
			most = ""
		}
		group(re.Sub[0], fmt.Sprintf("{%d,%s}%s", re.Min, most, lazy))
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			writePattern(b, n, sub)
		}
	case syntax.OpAlternate:
		b.WriteString("(?:")
		for i, sub := range re.Sub {
			if i > 0 {
				b.WriteString("|")
			}
			writePattern(b, n, sub)
		}
		b.WriteString(")")
	default:
		refuse(n, `use characters, classes, groups, repetition, ^ and $`, "this regular expression is not portable to Trino")
	}
}

// writeRune writes a character. Letters, digits and what is not ASCII mean themselves.
func writeRune(b *strings.Builder, r rune) {
	switch {
	case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == ' ', r > unicode.MaxASCII:
		b.WriteRune(r)
	default:
		fmt.Fprintf(b, `\x%02x`, r)
	}
}

func writeFolded(b *strings.Builder, r rune) {
	b.WriteString("[")
	writeRune(b, r)
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		writeRune(b, f)
	}
	b.WriteString("]")
}

func writeClass(b *strings.Builder, n node, ranges []rune) {
	if len(ranges) == 0 || len(ranges) > 128 {
		refuse(n, "", "this class of a regular expression is not portable to Trino")
	}
	negated := ranges[0] == 0 && ranges[len(ranges)-1] == unicode.MaxRune
	b.WriteString("[")
	if negated {
		b.WriteString("^")
		var rest []rune
		for i := 1; i+1 < len(ranges); i += 2 {
			rest = append(rest, ranges[i]+1, ranges[i+1]-1)
		}
		if ranges = rest; len(ranges) == 0 {
			refuse(n, "", "this class of a regular expression is not portable to Trino")
		}
	}
	for i := 0; i < len(ranges); i += 2 {
		writeRune(b, ranges[i])
		if ranges[i+1] > ranges[i] {
			b.WriteString("-")
			writeRune(b, ranges[i+1])
		}
	}
	b.WriteString("]")
}

func regexpMatches(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	s := p.as(n, name, args[0], varchar)
	return call(of(boolean), "regexp_like("+s.sql+", "+pattern(n, name, args[1], name == "regexp_full_match")+")", s)
}

// regexpExtract gives the empty text where nothing matches.
func regexpExtract(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2, 3)
	s, group := p.as(n, name, args[0], varchar), int64(0)
	if len(args) == 3 {
		group = number(n, name, args[2], 0)
	}
	sql := fmt.Sprintf("coalesce(regexp_extract(%[1]s, %[2]s, %[3]d), CASE WHEN %[1]s IS NOT NULL THEN '' END)", s.sql, pattern(n, name, args[1], false), group)
	return call(of(varchar), sql, s)
}

// regexpReplace replaces all matches: DuckDB's default, the first alone, is not Trino's.
func regexpReplace(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 4)
	if word(n, name, args[3]) != "g" || !args[2].isLiteralText() {
		refuse(n, "give the option 'g'", "regexp_replace is portable to Trino only with a literal and the option 'g'")
	}
	s := p.as(n, name, args[0], varchar)
	var with strings.Builder
	replacement := args[2].literal.text
	for i := 0; i < len(replacement); i++ {
		switch c := replacement[i]; {
		case c == '\\' && i+1 < len(replacement) && replacement[i+1] >= '0' && replacement[i+1] <= '9':
			i++
			if i+1 < len(replacement) && replacement[i+1] >= '0' && replacement[i+1] <= '9' {
				refuse(n, "", "a digit after a group in the replacement of regexp_replace is not portable to Trino")
			}
			fmt.Fprintf(&with, "$%c", replacement[i])
		case c == '\\':
			refuse(n, "", `a \ in the replacement of regexp_replace is portable to Trino only before a digit`)
		case c == '$':
			with.WriteString(`\$`)
		default:
			with.WriteByte(c)
		}
	}
	return call(of(varchar), "regexp_replace("+s.sql+", "+pattern(n, name, args[1], false)+", "+quote(with.String())+")", s)
}
