package dialect

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// span is the length of an interval: of one unit, if it is computed.
type span struct {
	months, days, micros int64

	unit  string // of Trino's date_add
	count *expr  // BIGINT; nil for a constant
}

// interval functions, by name: months, days or microseconds, and how many of them.
var intervalUnits = map[string]struct {
	months, days, micros int64
	unit                 string
	times                int64
}{
	"to_years": {months: 12, unit: "month", times: 12}, "to_quarters": {months: 3, unit: "month", times: 3},
	"to_months": {months: 1, unit: "month", times: 1}, "to_weeks": {days: 7, unit: "day", times: 7},
	"to_days": {days: 1, unit: "day", times: 1}, "to_hours": {micros: 3_600_000_000, unit: "hour", times: 1},
	"to_minutes": {micros: 60_000_000, unit: "minute", times: 1}, "to_seconds": {micros: 1_000_000, unit: "second", times: 1},
	"to_milliseconds": {micros: 1000, unit: "millisecond", times: 1},
}

// intervalOf prints the function of an interval, nil if it is another.
func (p *printer) intervalOf(s *scope, n node, name string) *expr {
	u, ok := intervalUnits[name]
	if !ok {
		return nil
	}
	children := list(n["children"])
	if len(children) != 1 {
		refuse(n, "", "%s with %d arguments is not portable to Trino", name, len(children))
	}
	if i, ok := constant(object(children[0])); ok && i < 1<<31 && i > -1<<31 {
		return &expr{sql: "NULL", t: of(interval), interval: &span{months: i * u.months, days: i * u.days, micros: i * u.micros}}
	}
	e := p.expr(s, object(children[0]))
	if !e.t.isInteger() || e.t.kind == hugeint {
		refuse(n, "give a whole number", "an interval of %s is not portable to Trino", e.t)
	}
	count := call(of(bigint), fmt.Sprintf("(CAST(%s AS BIGINT) * %d)", e.sql, u.times), e)
	return call(of(interval), "NULL", e).with(&span{unit: u.unit, count: count})
}

func (e *expr) with(s *span) *expr {
	e.interval = s
	return e
}

// constant reads a whole number through the casts and trunc that the parser wraps it in.
func constant(n node) (int64, bool) {
	switch {
	case text(n["class"]) == "CAST":
		return constant(object(n["child"]))
	case text(n["class"]) == "FUNCTION" && lower(n["function_name"]) == "trunc" && len(list(n["children"])) == 1:
		return constant(object(first(list(n["children"]))))
	case text(n["class"]) != "CONSTANT":
		return 0, false
	}
	v := object(n["value"])
	if s := text(v["value"]); text(object(v["type"])["id"]) == "VARCHAR" {
		i, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		return i, err == nil
	}
	if _, ok := v["value"].(json.Number); !ok || !strings.HasSuffix(text(object(v["type"])["id"]), "INT") && text(object(v["type"])["id"]) != "INTEGER" {
		return 0, false
	}
	return integer(v["value"])
}

var intervalWords = regexp.MustCompile(`^\s*(?:([+-]?[0-9]{1,9})\s*([a-zA-Z]+)\s*)`)

// intervalText reads INTERVAL '2 days 3 hours'.
func (p *printer) intervalText(n node) *expr {
	child := object(n["child"])
	s := text(object(child["value"])["value"])
	if text(child["class"]) != "CONSTANT" || strings.TrimSpace(s) == "" {
		refuse(n, "write INTERVAL 2 DAY or to_days(…)", "this INTERVAL is not portable to Trino")
	}
	out := &span{}
	for strings.TrimSpace(s) != "" {
		m := intervalWords.FindStringSubmatch(s)
		if m == nil {
			refuse(n, "write it like '2 days 3 hours'", "this INTERVAL is not portable to Trino")
		}
		word := strings.ToLower(strings.TrimSuffix(strings.ToLower(m[2]), "s"))
		u, ok := intervalUnits["to_"+word+"s"]
		if !ok {
			refuse(n, "write it like '2 days 3 hours'", "this INTERVAL is not portable to Trino")
		}
		i, _ := strconv.ParseInt(m[1], 10, 64)
		out.months, out.days, out.micros = out.months+i*u.months, out.days+i*u.days, out.micros+i*u.micros
		s = s[len(m[0]):]
	}
	return &expr{sql: "NULL", t: of(interval), interval: out}
}

// constant returns the length, which must be in the statement's text.
func (s *span) constant(n node) (months, days, micros int64) {
	if s.count != nil {
		refuse(n, "write INTERVAL 2 DAY", "an interval that is computed cannot stand here")
	}
	return s.months, s.days, s.micros
}

// literal is the interval as Trino writes it.
func (s *span) literal(n node) string {
	months, days, micros := s.constant(n)
	switch {
	case months != 0 && days == 0 && micros == 0:
		return fmt.Sprintf("INTERVAL '%d' MONTH", months)
	case months == 0 && micros == 0:
		return fmt.Sprintf("INTERVAL '%d' DAY", days)
	case months == 0 && micros%1_000_000 == 0:
		return fmt.Sprintf("INTERVAL '%d' SECOND", days*86_400+micros/1_000_000)
	}
	refuse(n, "", "an interval of months and days, or of parts of a second, cannot stand here")
	return ""
}

// timeArithmetic prints sums and differences of times.
func (p *printer) timeArithmetic(n node, op string, a, b *expr) *expr {
	if op == "+" && a.interval != nil || op == "+" && a.t.isInteger() {
		a, b = b, a
	}
	switch {
	case a.t.isTime() && b.interval != nil && (op == "+" || op == "-"):
		return p.shifted(n, a, b, op == "-")
	case a.t.kind == date && b.t.isInteger() && (op == "+" || op == "-"):
		return like(of(date), "date_add('day', "+map[string]string{"+": "", "-": "-"}[op]+"(%[2]s), %[1]s)", a, b)
	case a.t.kind == date && b.t.kind == date && op == "-":
		return like(of(bigint), "date_diff('day', %[2]s, %[1]s)", a, b)
	case a.t.isTime() && b.t.isTime() && op == "-":
		refuse(n, "use date_diff('second', …)", "the INTERVAL between two times is not portable to Trino")
	}
	refuse(n, "cast the text to a time, as TIMESTAMP '…'", "%s %s %s", a.t, op, b.t)
	return nil
}

// shifted adds an interval: months first, then days, then the rest.
func (p *printer) shifted(n node, e, by *expr, isMinus bool) *expr {
	if e.t.kind == date {
		e = p.cast(e, of(timestamp), n)
	}
	iv := by.interval
	sign := ""
	if isMinus {
		sign = "-"
	}
	if iv.count != nil {
		return like(e.t, "date_add('"+iv.unit+"', "+sign+"%[2]s, %[1]s)", e, iv.count)
	}
	steps := []struct {
		unit  string
		count int64
	}{{"month", iv.months}, {"day", iv.days}, {"millisecond", iv.micros / 1000}}
	if iv.micros%1000 != 0 {
		refuse(n, "", "an interval of microseconds is not portable to Trino")
	}
	if iv.micros%1_000_000 == 0 {
		steps[2].unit, steps[2].count = "second", iv.micros/1_000_000
	}
	for _, s := range steps {
		if s.count != 0 {
			if isMinus {
				s.count = -s.count
			}
			e = like(e.t, fmt.Sprintf("date_add('%s', %d, %%s)", s.unit, s.count), e)
		}
	}
	return e
}

func dateAdd(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	return p.timeArithmetic(n, "+", p.timeArg(n, name, args[0]), args[1])
}
