package quality

import (
	"errors"
	"regexp"
	"strings"
)

// userSQL is SQL that the author of a rule wrote for Spark, cut into pieces.
type userSQL []piece

type piece struct {
	text  string
	isRaw bool // neither quoted nor a comment
	// isName says that it was quoted as only names are, in backticks.
	isName bool
}

// scanSQL cuts SQL into quoted and other pieces; comments are left out. Backticks become double
// quotes, and a text of Spark in double quotes stays: it is a name here.
func scanSQL(sql string) (userSQL, error) {
	var pieces userSQL
	start := 0
	flush := func(end int) {
		if end > start {
			pieces = append(pieces, piece{text: sql[start:end], isRaw: true})
		}
	}
	for i := 0; i < len(sql); {
		switch c := sql[i]; {
		case c == '\'' || c == '"' || c == '`':
			flush(i)
			end := i + 1
			for ; ; end++ {
				if end >= len(sql) {
					return nil, errors.New("the SQL has a quote that is not closed")
				}
				if sql[end] != c {
					continue
				}
				if end+1 < len(sql) && sql[end+1] == c {
					end++
					continue
				}
				break
			}
			text := sql[i : end+1]
			if c == '`' {
				text = quoteName(strings.ReplaceAll(text[1:len(text)-1], "``", "`"))
			}
			pieces = append(pieces, piece{text: text, isName: c == '`'})
			i, start = end+1, end+1
		case strings.HasPrefix(sql[i:], "--"):
			flush(i)
			end := strings.IndexByte(sql[i:], '\n')
			if end < 0 {
				end = len(sql) - i
			}
			i += end
			start = i
		case strings.HasPrefix(sql[i:], "/*"):
			flush(i)
			end := strings.Index(sql[i:], "*/")
			if end < 0 {
				return nil, errors.New("the SQL has a comment that is not closed")
			}
			pieces = append(pieces, piece{text: " ", isRaw: true})
			i += end + 2
			start = i
		case c == '$' && strings.Contains(sql[i+1:], "$"):
			return nil, errors.New("the SQL has a $, which quotes text in one engine and not in another: quote with ' instead")
		default:
			i++
		}
	}
	flush(len(sql))
	return pieces, nil
}

func (s userSQL) String() string {
	var b strings.Builder
	for _, p := range s {
		b.WriteString(p.text)
	}
	return b.String()
}

// each replaces the pieces that are neither quoted nor comments.
func (s userSQL) each(f func(string) string) {
	for i, p := range s {
		if p.isRaw {
			s[i].text = f(p.text)
		}
	}
}

var (
	beforeName = regexp.MustCompile(`(?i)(\bas\s*|\.)$`)
	matchesEnd = regexp.MustCompile(`(?i)\b(rlike|regexp)\s*$`)
)

// fromSpark puts what Spark reads otherwise into the engine's words. Spark takes what is in double
// quotes for a text: so it is here, unless it is the name of something. And RLIKE looks for a part
// of a text that matches.
func (s userSQL) fromSpark(isName func(string) bool) {
	unquoted := func(p piece) string { return strings.ReplaceAll(p.text[1:len(p.text)-1], `""`, `"`) }
	isQuoted := func(p piece) bool { return !p.isRaw && !p.isName && p.text[0] == '"' }
	own := map[string]bool{}
	for i, p := range s {
		if isQuoted(p) && i > 0 && beforeName.MatchString(s[i-1].text) {
			own[unquoted(p)] = true
		}
	}
	for i, p := range s {
		if isQuoted(p) && !own[unquoted(p)] && !isName(unquoted(p)) {
			s[i].text = quote(unquoted(p))
		}
		if i > 0 && s[i-1].isRaw && s[i].text[0] == '\'' && matchesEnd.MatchString(s[i-1].text) {
			s[i-1].text = matchesEnd.ReplaceAllString(s[i-1].text, "SIMILAR TO ")
			s[i].text = "'(?s).*(?:" + s[i].text[1:len(s[i].text)-1] + ").*'"
		}
	}
}

// predicate checks that the text is one expression, and returns it in parentheses.
func predicate(text string, isColumn func(name string) bool) (string, error) {
	pieces, err := scanSQL(text)
	if err != nil {
		return "", err
	}
	pieces.fromSpark(isColumn)
	depth := 0
	for _, p := range pieces {
		if !p.isRaw {
			continue
		}
		for _, c := range p.text {
			switch c {
			case '(':
				depth++
			case ')':
				depth--
			case ';':
				return "", errors.New("the predicate has a semicolon")
			}
			if depth < 0 {
				return "", errors.New("the predicate closes a parenthesis that it did not open")
			}
		}
	}
	if depth != 0 {
		return "", errors.New("the predicate does not close a parenthesis")
	}
	return "(" + pieces.String() + ")", nil
}

var (
	primaryWord = regexp.MustCompile(`(?i)\bprimary\b`)
	startsWith  = regexp.MustCompile(`(?i)^\s*with\s`)
)

// query is the author's statement over the dataset, which it calls primary: a name that SQL
// reserves, so it is put in quotes.
func query(text, with string, isName func(string) bool) (string, error) {
	pieces, err := scanSQL(strings.TrimRight(strings.TrimSpace(text), ";"))
	if err != nil {
		return "", err
	}
	pieces.fromSpark(isName)
	pieces.each(func(s string) string { return primaryWord.ReplaceAllString(s, `"primary"`) })
	sql := pieces.String()
	if with == "" {
		return sql, nil
	}
	if at := startsWith.FindStringIndex(sql); at != nil {
		return "WITH " + with + ", " + sql[at[1]:], nil
	}
	return "WITH " + with + " " + sql, nil
}
