package dqdl

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is a fault of a rule set, told to its author.
type Error struct {
	Pos     Position
	Message string
	// Hint says what to write instead; it may be empty.
	Hint string
}

// Error returns place, message and hint on one line.
func (e *Error) Error() string {
	s := fmt.Sprintf("line %d, column %d: %s", e.Pos.Line, e.Pos.Column, e.Message)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// excerptSides is how many characters of a long line are shown before and behind a fault.
const excerptSides = 70

// Excerpt returns the line of the source that holds the fault, and below it a caret under the
// place. Of a long line it returns what is around the place.
func (e *Error) Excerpt(source string) string {
	source = strings.TrimPrefix(source, "\ufeff") // offsets count from behind it
	if e.Pos.Offset < 0 || e.Pos.Offset > len(source) || !utf8.ValidString(source) {
		return ""
	}
	start := strings.LastIndexByte(source[:e.Pos.Offset], '\n') + 1
	line, _, _ := strings.Cut(source[start:], "\n")
	line = strings.TrimRight(line, "\r")
	at := min(e.Pos.Offset-start, len(line))
	before, behind := []rune(line[:at]), []rune(line[at:])
	if len(before) > excerptSides {
		before = append([]rune{'…'}, before[len(before)-excerptSides:]...)
	}
	if len(behind) > excerptSides {
		behind = append(behind[:excerptSides:excerptSides], '…')
	}
	caret := slices.Clone(before)
	for i, r := range caret {
		if r != '\t' {
			caret[i] = ' '
		}
	}
	return string(before) + string(behind) + "\n" + string(caret) + "^"
}

// suggest is "did you mean …?" for the closest of the names, or "".
func suggest(word string, names []string) string {
	if len(word) > 64 {
		return ""
	}
	best, least := "", len(word)/3+2
	for _, name := range names {
		if d := distance(strings.ToLower(word), strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// distance is the Levenshtein distance of two words, which are short.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
