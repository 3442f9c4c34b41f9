package dialect

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"time"
)

// explicitCast prints CAST and TRY_CAST.
func (p *printer) explicitCast(s *scope, n node) *expr {
	t := typeNamed(object(n["cast_type"]), n)
	if t.kind == interval {
		return p.intervalText(n)
	}
	if object(n["child"])["class"] == "CONSTANT" && t.kind == boolean && text(object(object(n["child"])["value"])["value"]) != "" {
		switch strings.ToLower(text(object(object(n["child"])["value"])["value"])) {
		case "t", "true": // how the parser writes TRUE
			return &expr{sql: "TRUE", t: t, literal: &literal{}}
		case "f", "false":
			return &expr{sql: "FALSE", t: t, literal: &literal{}}
		}
	}
	e := p.expr(s, object(n["child"]))
	if flag(n["try_cast"]) && !e.t.equal(t) && !(e.t.isNumber() && t.isNumber()) {
		refuse(n, "check the value with CASE first", "TRY_CAST from %s to %s is not portable to Trino", e.t, t)
	}
	out := p.cast(e, t, n)
	if flag(n["try_cast"]) {
		out = like(t, "try(%s)", out)
	}
	out.literal = nil // it has the type that it was given
	return out
}

// cast prints the expression in another type, with DuckDB's roundings. What the engines write or
// read differently is refused.
func (p *printer) cast(e *expr, t typ, n node) *expr {
	to := "CAST(%s AS " + t.sqlOrNone() + ")"
	switch {
	case e.t.equal(t):
		return e
	case e.interval != nil:
		refuse(n, "", "a cast of an INTERVAL is not portable to Trino")
	case e.t.kind == null:
		return like(t, to, e)
	case e.isLiteralText():
		return parsed(e.literal.text, t, n)
	case e.isNumeral() && t.isInteger() && e.fits(t):
		return numeral(e.literal.number, t)
	}
	from := e.t
	switch t.kind {
	case boolean:
		if from.isInteger() {
			return like(t, "(%s <> 0)", e)
		}
	case tinyint, smallint, integral, bigint, hugeint:
		switch {
		case from.isExact(), from.kind == boolean:
			return like(t, to, e)
		case from.kind == double:
			// DuckDB rounds halves to even, Trino up.
			rounded := fmt.Sprintf("CASE WHEN abs(%[1]s - truncate(%[1]s)) = 0.5E0 THEN 2 * round(%[1]s / 2) ELSE round(%[1]s) END", e.sql)
			return call(t, fmt.Sprintf(to, rounded), e)
		case from.kind == varchar:
			return like(t, to, e)
		}
	case decimal:
		if from.isNumber() || from.kind == varchar {
			return like(t, to, e)
		}
		if from.kind == boolean {
			return like(t, to, like(of(integral), "CAST(%s AS INTEGER)", e))
		}
	case double:
		if from.isNumber() || from.kind == boolean || from.kind == varchar {
			return like(t, to, e)
		}
	case varchar:
		if from.isExact() || from.kind == boolean || from.kind == date {
			return like(t, to, e)
		}
		hint := "use round(…)::DECIMAL(18,4)::VARCHAR for a number, strftime(…) for a time"
		refuse(n, hint, "%s as VARCHAR is written differently by Trino", from)
	case date:
		if from.kind == timestamp || from.kind == timestamptz {
			return like(t, "CAST(%s AS DATE)", e)
		}
		if from.kind == varchar {
			return like(t, to, e)
		}
	case timestamp:
		if from.kind == date || from.kind == timestamptz {
			return like(t, to, e)
		}
	case timestamptz:
		// The session's zone must not matter.
		if from.kind == date {
			e = like(of(timestamp), "CAST(%s AS TIMESTAMP(6))", e)
		}
		if from.kind == date || from.kind == timestamp {
			return like(t, "with_timezone(%s, 'UTC')", e)
		}
	}
	refuse(n, "", "a cast from %s to %s is not portable to Trino", from, t)
	return nil
}

func (t typ) sqlOrNone() string {
	if t.kind == interval {
		return ""
	}
	return t.sql()
}

// typed prints the expression so that Trino gives it the type, too: it has shorter ones for
// literals.
func (p *printer) typed(e *expr, t typ) *expr {
	if e.literal != nil && t.kind != varchar && t.kind != boolean {
		return like(t, "CAST(%s AS "+t.sql()+")", e)
	}
	return e
}

var (
	wholeText   = regexp.MustCompile(`^\s*[+-]?[0-9]{1,38}\s*$`)
	decimalText = regexp.MustCompile(`^[+-]?([0-9]{1,38}(\.[0-9]{0,37})?|\.[0-9]{1,38})$`)
)

// parsed reads a literal text as the type that is wanted of it, and prints the value.
func parsed(s string, t typ, n node) *expr {
	bad := func(hint string) {
		refuse(n, hint, "the text is no %s that both engines read alike", t)
	}
	switch t.kind {
	case varchar:
		return &expr{sql: quote(s), t: t, literal: &literal{text: s}}
	case boolean:
		switch strings.ToLower(s) {
		case "true", "t":
			return &expr{sql: "TRUE", t: t, literal: &literal{}}
		case "false", "f":
			return &expr{sql: "FALSE", t: t, literal: &literal{}}
		}
		bad("write TRUE or FALSE")
	case tinyint, smallint, integral, bigint, hugeint:
		if !wholeText.MatchString(s) {
			bad("write a whole number")
		}
		i, _ := new(big.Int).SetString(strings.TrimSpace(s), 10)
		e := numeral(i, t)
		if !e.fits(t) {
			bad("it is too large")
		}
		return e
	case decimal:
		if !decimalText.MatchString(s) {
			bad("write a number with a decimal point")
		}
		return &expr{sql: "CAST(" + quote(s) + " AS " + t.sql() + ")", t: t, literal: &literal{}}
	case double:
		if !decimalText.MatchString(s) {
			bad("write a number with a decimal point")
		}
		return &expr{sql: "CAST(" + quote(s) + " AS DOUBLE)", t: t, literal: &literal{}}
	case date, timestamp, timestamptz:
		at, ok := instant(s, t.kind)
		if !ok {
			bad("write it like 2026-03-01 or 2026-03-01 12:30:00")
		}
		return &expr{sql: timeLiteral(at, t.kind), t: t, literal: &literal{}}
	}
	bad("")
	return nil
}

// instant reads a time as both ISO 8601 and DuckDB write it. Without an offset an instant is UTC.
func instant(s string, k kind) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if at, err := time.Parse("2006-01-02", s); err == nil {
		return at, true
	}
	s = strings.Replace(s, "T", " ", 1)
	for _, layout := range []string{"2006-01-02 15:04:05.999999", "2006-01-02 15:04"} {
		if at, err := time.Parse(layout, s); err == nil && k != date {
			return at, true
		}
		for _, zone := range []string{"Z07:00", "-07", " MST"} {
			if at, err := time.Parse(layout+zone, s); err == nil && k == timestamptz && (zone != " MST" || strings.HasSuffix(s, " UTC")) {
				return at.UTC(), true
			}
		}
	}
	return time.Time{}, false
}

func timeLiteral(at time.Time, k kind) string {
	switch k {
	case date:
		return "DATE '" + at.Format("2006-01-02") + "'"
	case timestamp:
		return "TIMESTAMP '" + at.Format("2006-01-02 15:04:05.000000") + "'"
	}
	return "TIMESTAMP '" + at.Format("2006-01-02 15:04:05.000000") + " UTC'"
}
