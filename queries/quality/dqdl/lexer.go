package dqdl

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	endToken tokenKind = iota
	wordToken
	numberToken // digits, or digits "." digits
	stringToken
	symbolToken
)

// token is a piece of the source. text is the inside of a string, else the token itself.
type token struct {
	kind tokenKind
	text string
	pos  Position
}

func (t token) is(symbol string) bool { return t.kind == symbolToken && t.text == symbol }

func (t token) isWord(words ...string) bool {
	if t.kind != wordToken {
		return false
	}
	for _, w := range words {
		if t.text == w {
			return true
		}
	}
	return false
}

// String describes the token in a message.
func (t token) String() string {
	switch t.kind {
	case endToken:
		return "the end"
	case stringToken:
		return `"` + short(t.text) + `"`
	}
	return short(t.text)
}

// short is the beginning of a text, as messages show it.
func short(text string) string {
	if len(text) > 40 {
		return strings.ToValidUTF8(text[:40], "") + "…"
	}
	return text
}

// lex cuts the source into tokens, the last of which is the end.
func lex(source string) ([]token, error) {
	if !utf8.ValidString(source) {
		return nil, &Error{Pos: Position{1, 1, 0}, Message: "the rule set is not valid UTF-8"}
	}
	source, l := strings.TrimPrefix(source, "\ufeff"), lexer{line: 1, column: 1}
	l.source = source
	var tokens []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		if t.kind == endToken {
			return tokens, nil
		}
	}
}

type lexer struct {
	source       string
	at           int
	line, column int
}

func (l *lexer) pos() Position { return Position{l.line, l.column, l.at} }

// advance moves over n bytes.
func (l *lexer) advance(n int) {
	for _, r := range l.source[l.at : l.at+n] {
		if r == '\n' {
			l.line, l.column = l.line+1, 1
		} else {
			l.column++
		}
	}
	l.at += n
}

func (l *lexer) next() (token, error) {
	for l.at < len(l.source) {
		switch c := l.source[l.at]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			l.advance(1)
			continue
		case c == '#' || strings.HasPrefix(l.source[l.at:], "//"):
			end := strings.IndexByte(l.source[l.at:], '\n')
			if end < 0 {
				end = len(l.source) - l.at
			}
			l.advance(end)
			continue
		case c == '"':
			return l.text()
		case isWordByte(c):
			return l.word(), nil
		}
		return l.symbol()
	}
	return token{endToken, "", l.pos()}, nil
}

func isWordByte(c byte) bool {
	return c == '_' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// text reads a quoted string.
func (l *lexer) text() (token, error) {
	start := l.pos()
	for i := l.at + 1; i < len(l.source); i++ {
		switch l.source[i] {
		case '\\':
			if i+1 < len(l.source) && (l.source[i+1] == '"' || l.source[i+1] == '\\') {
				i++
			}
		case '"':
			t := token{stringToken, l.source[l.at+1 : i], start}
			l.advance(i + 1 - l.at)
			return t, nil
		}
	}
	return token{}, &Error{Pos: start, Message: `this string has no closing "`, Hint: `a " inside a string is written \"`}
}

func (l *lexer) word() token {
	start, n := l.pos(), 0
	for l.at+n < len(l.source) && isWordByte(l.source[l.at+n]) {
		n++
	}
	t := token{wordToken, l.source[l.at : l.at+n], start}
	if isNumber(t.text) {
		t.kind = numberToken
	}
	l.advance(n)
	return t
}

// isNumber says whether s is digits, or digits "." digits.
func isNumber(s string) bool {
	whole, fraction, isDecimal := strings.Cut(s, ".")
	return isDigits(whole) && (!isDecimal || isDigits(fraction))
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func (l *lexer) symbol() (token, error) {
	start, rest := l.pos(), l.source[l.at:]
	for _, s := range []string{">=", "<=", "!="} {
		if strings.HasPrefix(rest, s) {
			l.advance(2)
			return token{symbolToken, s, start}, nil
		}
	}
	if strings.IndexByte("=<>()[]{},:$+-*/", rest[0]) >= 0 && !strings.HasPrefix(rest, "/*") {
		l.advance(1)
		return token{symbolToken, rest[:1], start}, nil
	}
	r, _ := utf8.DecodeRuneInString(rest)
	e := &Error{Pos: start, Message: fmt.Sprintf("%q means nothing here", r)}
	switch {
	case strings.HasPrefix(rest, "/*"):
		e.Message, e.Hint = "/* means nothing here", "comments begin with # and end with the line"
	case r == ';':
		e.Hint = "rules are separated by commas"
	case r == '\'' || r == '`' || r == '“' || r == '”':
		e.Hint = `strings and column names are written in double quotes, "like this"`
	case r == '!' || r == '~':
		e.Hint = "unequal is written !="
	case unicode.IsLetter(r):
		e.Hint = `names with other characters than a-z, A-Z, 0-9, _ and . are written in quotes, "like this"`
	}
	return token{}, e
}
