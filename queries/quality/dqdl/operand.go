package dqdl

import (
	"strconv"
	"time"
)

// Operand is what a condition compares with: Text, Keyword, Expr, DateOperand, DurationOperand,
// SizeOperand or Reference.
type Operand interface {
	// String returns the operand in DQDL.
	String() string
}

// Keyword is NULL, EMPTY or WHITESPACES_ONLY.
type Keyword string

// The keywords.
const (
	NullWord    Keyword = "NULL"
	EmptyWord   Keyword = "EMPTY"
	SpacesWord  Keyword = "WHITESPACES_ONLY"
	shortestDay         = "2006-01-02"
)

// Reference is a constant as an operand. Value is what it stands for.
type Reference struct {
	Name  string
	Value Operand // Text or Keyword
}

// Expr is a number or a computation: Literal, Call or Binary.
type Expr interface {
	Operand
	expr()
}

// Literal is a number. IsQuoted says that it was written in quotes, as the guide's
// Completeness "colA" = "1.0" has it.
type Literal struct {
	Text     string
	Value    float64
	IsQuoted bool
}

// Call is a function of a dynamic rule: last, avg, median, max, min, sum, std, abs, percentile
// or index.
type Call struct {
	Pos  Position
	Name string
	Args []Expr
}

// Binary is left Op right, where Op is one of + - * /.
type Binary struct {
	Op          byte
	Left, Right Expr
}

func (Literal) expr() {}
func (*Call) expr()   {}
func (*Binary) expr() {}

// IsDynamic says whether the operand asks for values of earlier runs.
func IsDynamic(o Operand) bool {
	switch o := o.(type) {
	case *Call:
		return true
	case *Binary:
		return IsDynamic(o.Left) || IsDynamic(o.Right)
	}
	return false
}

// DateOperand is a day, a time of the present day, or an instant relative to now.
type DateOperand struct {
	// Day is "2024-01-31", Time "21:45" or "9:30 PM"; both are "" for now() and what is relative
	// to it by Sign times Offset, where Sign is 0 for now() itself.
	Day, Time string
	Sign      int
	Offset    DurationOperand
}

// At is the instant that the operand stands for at now, in the zone for a time of day. Days are
// midnight in UTC; now is cut to the minute (awslabs/dqdl, DateExpression).
func (d DateOperand) At(now time.Time, zone *time.Location) time.Time {
	switch {
	case d.Day != "":
		at, _ := time.Parse(shortestDay, d.Day) // the parser has checked it
		return at
	case d.Time != "":
		at, _ := parseTime(d.Time)
		// The guide: combined with today's date in UTC, then taken as of the zone.
		y, m, day := now.UTC().Date()
		return time.Date(y, m, day, at.Hour(), at.Minute(), 0, 0, zone).UTC()
	}
	return now.UTC().Truncate(time.Minute).Add(time.Duration(d.Sign) * d.Offset.Length())
}

// parseTime reads a time of day in 24 or 12 hours.
func parseTime(s string) (time.Time, error) {
	if at, err := time.Parse("15:04", s); err == nil {
		return at, nil
	}
	return time.Parse("3:04 PM", s)
}

// DurationOperand is a number of days, hours or minutes.
type DurationOperand struct {
	Amount int
	Unit   string
}

// Length is the duration's length.
func (d DurationOperand) Length() time.Duration {
	unit := map[string]time.Duration{"days": 24 * time.Hour, "hours": time.Hour, "minutes": time.Minute}[d.Unit]
	return time.Duration(d.Amount) * unit
}

// SizeOperand is a number of bytes in a unit: B, KB, MB, GB or TB, each 1,024 times the one
// before.
type SizeOperand struct {
	Amount int
	Unit   string
}

// Bytes is the size in bytes.
func (s SizeOperand) Bytes() float64 {
	n := float64(s.Amount)
	for _, unit := range sizeUnits {
		if unit == s.Unit {
			return n
		}
		n *= 1024
	}
	return n
}

var (
	sizeUnits     = []string{"B", "KB", "MB", "GB", "TB"}
	durationUnits = []string{"days", "hours", "minutes"}
)

func measure(amount int, unit string) string { return strconv.Itoa(amount) + " " + unit }
