package dqdl

import (
	"fmt"
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

// Excerpt returns the line of the source that holds the fault, and below it a caret under the
// place.
func (e *Error) Excerpt(source string) string {
	if e.Pos.Offset < 0 || e.Pos.Offset > len(source) || !utf8.ValidString(source) {
		return ""
	}
	start := strings.LastIndexByte(source[:e.Pos.Offset], '\n') + 1
	line, _, _ := strings.Cut(source[start:], "\n")
	before := []rune(source[start:e.Pos.Offset])
	for i, r := range before {
		if r != '\t' {
			before[i] = ' '
		}
	}
	return strings.TrimRight(line, "\r") + "\n" + string(before) + "^"
}

// suggest is "did you mean …?" for the closest of the names, or "".
func suggest(word string, names []string) string {
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

// distance is the Levenshtein distance of two short words.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
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
