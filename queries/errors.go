package queries

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

var (
	// ErrTooManyRows says that the answer has more rows than Config.MaxRows. The rows
	// before were delivered.
	ErrTooManyRows = errors.New("the answer has too many rows")
	// ErrTimeout says that the statement ran longer than Config.Timeout, or than the caller's
	// grant allows.
	ErrTimeout = errors.New("the statement ran too long")
	// ErrNotPermitted says that the caller may not have what was asked for, or not any more.
	// Why is in the audit record: the caller is told nothing else.
	ErrNotPermitted = errors.New("not permitted")
	// ErrUnrecorded says that the question could not be put on record, and so is not answered,
	// or no further.
	ErrUnrecorded = errors.New("nothing is answered that is not recorded, and the audit log cannot be written")
)

// Error is a fault of a statement, told to its author: it does not parse, is not allowed,
// names what does not exist, or fails on the data. It never holds a value of the data.
type Error struct {
	Message string
	// Hint says what to do instead; it may be empty.
	Hint string
	// Offset is the byte of the statement at which the fault lies, -1 if unknown.
	Offset int
}

// Error returns the message and the hint on one line.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// Excerpt returns the line of the statement that holds the fault, and below it a caret
// under the place, or "" if the place is unknown.
func (e *Error) Excerpt(sql string) string {
	if e.Offset < 0 || e.Offset > len(sql) || !utf8.ValidString(sql) {
		return ""
	}
	start := strings.LastIndexByte(sql[:e.Offset], '\n') + 1
	line := sql[start:]
	if end := strings.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	before := []rune(sql[start:e.Offset])
	for i, r := range before {
		if r != '\t' {
			before[i] = ' '
		}
	}
	prefix := fmt.Sprintf("line %d: ", strings.Count(sql[:start], "\n")+1)
	return prefix + strings.TrimRight(line, "\r") + "\n" + strings.Repeat(" ", len(prefix)) + string(before) + "^"
}
