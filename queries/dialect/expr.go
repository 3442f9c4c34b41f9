package dialect

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// expr is a printed expression: an atom, a call, or in parentheses.
type expr struct {
	sql string
	t   typ

	literal  *literal // its value, if it is one
	interval *span    // its length, if it is an interval
	isColumn bool

	isAggregate bool // it holds an aggregate
	isWindow    bool // it holds a window function
	loose       node // a column in it that is outside of aggregates and that GROUP BY does not name
}

// literal is a value in the statement's text.
type literal struct {
	text   string // of VARCHAR
	number *big.Int
}

// isLiteralText reports whether it is a literal that DuckDB reads as the type that is wanted.
func (e *expr) isLiteralText() bool { return e.literal != nil && e.t.kind == varchar }

// isNumeral reports whether it is a whole number in the statement's text.
func (e *expr) isNumeral() bool {
	return e.literal != nil && e.literal.number != nil && e.t.isInteger()
}

// fits reports whether it is a whole number in the statement's text that the type has.
func (e *expr) fits(t typ) bool {
	if !e.isNumeral() {
		return false
	}
	bits, ok := map[kind]int{tinyint: 7, smallint: 15, integral: 31, bigint: 63, hugeint: 127}[t.kind]
	return ok && e.literal.number.BitLen() <= bits
}

// call is an expression made of others.
func call(t typ, sql string, parts ...*expr) *expr {
	if len(sql) > maxExpression {
		refuseGrowth()
	}
	e := &expr{sql: sql, t: t}
	for _, part := range parts {
		if part == nil {
			continue
		}
		e.isAggregate = e.isAggregate || part.isAggregate
		e.isWindow = e.isWindow || part.isWindow
		if e.loose == nil {
			e.loose = part.loose
		}
	}
	return e
}

// like is an expression made of others, printed by a format that takes each of them.
func like(t typ, format string, parts ...*expr) *expr {
	args := make([]any, len(parts))
	for i, part := range parts {
		args[i] = part.sql
	}
	return call(t, fmt.Sprintf(format, args...), parts...)
}

// value refuses what is no value by itself.
func (p *printer) value(e *expr, n node) *expr {
	if e.interval != nil || e.t.kind == interval {
		refuse(n, "add it to a time, or use date_diff", "an INTERVAL as a value is not portable to Trino")
	}
	if e.t.kind == null {
		return call(of(integral), "CAST(NULL AS INTEGER)", e)
	}
	return e
}

// condition prints an expression that is true or false.
func (p *printer) condition(s *scope, v any) *expr {
	n := object(v)
	e := p.expr(s, n)
	if e.t.kind != boolean && e.t.kind != null {
		refuse(n, "compare it with something", "a condition must be a BOOLEAN, not %s", e.t)
	}
	return e
}

// maxDepth bounds how deep expressions nest.
const maxDepth = 256

// expr prints an expression.
func (p *printer) expr(s *scope, n node) *expr {
	if p.depth++; p.depth > maxDepth {
		refuse(n, "", "the statement is nested too deep")
	}
	defer func() { p.depth-- }()
	e := s.grouped(p.bare(s, n))
	p.spend(len(e.sql))
	return e
}

// An alias or an argument may be printed several times, and what it is made of as often again: a
// short statement could grow without bound.
const (
	maxExpression = 128 << 10 // bytes of one expression
	maxWork       = 16 << 20  // bytes of all expressions and queries, those in others counted again
	maxSQL        = 1_000_000 // bytes of the statement, Trino's query.max-length
)

func (p *printer) spend(bytes int) {
	if p.work += bytes; p.work > maxWork {
		refuseGrowth()
	}
}

func refuseGrowth() {
	refuse(nil, "name less that is computed by its alias, in a subquery instead", "the statement is too long once it is printed for Trino")
}

func (p *printer) exprs(s *scope, v any) []*expr {
	var out []*expr
	for _, e := range list(v) {
		out = append(out, p.expr(s, object(e)))
	}
	return out
}

func (p *printer) bare(s *scope, n node) *expr {
	switch class := text(n["class"]); class {
	case "COLUMN_REF":
		var parts []string
		for _, v := range list(n["column_names"]) {
			parts = append(parts, text(v))
		}
		return p.lookup(s, n, parts)
	case "CONSTANT":
		return p.constant(n)
	case "FUNCTION":
		return p.function(s, n)
	case "WINDOW":
		return p.window(s, n)
	case "OPERATOR":
		return p.operator(s, n)
	case "COMPARISON":
		return p.comparison(s, n)
	case "CONJUNCTION":
		word := " AND "
		if text(n["type"]) == "CONJUNCTION_OR" {
			word = " OR "
		}
		var parts []*expr
		var printed []string
		for _, v := range list(n["children"]) {
			e := p.condition(s, v)
			parts, printed = append(parts, e), append(printed, e.sql)
		}
		return call(of(boolean), "("+strings.Join(printed, word)+")", parts...)
	case "BETWEEN":
		list := []*expr{p.expr(s, object(n["input"])), p.expr(s, object(n["lower"])), p.expr(s, object(n["upper"]))}
		p.unify(list, n, "BETWEEN")
		return like(of(boolean), "(%s BETWEEN %s AND %s)", list...)
	case "CASE":
		return p.cases(s, n)
	case "CAST":
		return p.explicitCast(s, n)
	case "SUBQUERY":
		return p.subquery(s, n)
	case "COLLATE":
		refuse(n, "use lower(…)", "COLLATE is not portable to Trino")
	case "LAMBDA":
		refuse(n, "", "a lambda is not portable to Trino")
	case "STAR":
		refuse(n, "", "* cannot stand here")
	case "POSITIONAL_REFERENCE":
		refuse(n, "name the column", "#1 is not portable to Trino")
	default:
		refuse(n, "", "an expression of class %s is not portable to Trino", class)
	}
	return nil
}

// constant prints a literal.
func (p *printer) constant(n node) *expr {
	v := object(n["value"])
	id := text(object(v["type"])["id"])
	if flag(v["is_null"]) {
		return &expr{sql: "NULL", t: of(null), literal: &literal{}}
	}
	switch id {
	case "BOOLEAN":
		return &expr{sql: strings.ToUpper(strconv.FormatBool(flag(v["value"]))), t: of(boolean), literal: &literal{}}
	case "VARCHAR":
		s := text(v["value"])
		return &expr{sql: quote(s), t: of(varchar), literal: &literal{text: s}}
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT":
		t := typeNamed(object(v["type"]), n)
		i := wholeNumber(v["value"])
		if i == nil {
			refuse(n, "", "a number is not understood")
		}
		return numeral(i, t)
	case "DECIMAL":
		t := typeNamed(object(v["type"]), n)
		i := wholeNumber(v["value"])
		if i == nil {
			refuse(n, "", "a number is not understood")
		}
		return &expr{sql: "CAST(" + quote(pointed(i, t.scale)) + " AS " + t.sql() + ")", t: t, literal: &literal{number: i}}
	case "DOUBLE", "FLOAT":
		number, ok := v["value"].(json.Number)
		if !ok {
			refuse(n, "", "a number is not understood")
		}
		f, err := number.Float64()
		if err != nil {
			refuse(n, "", "a number is not understood")
		}
		return &expr{sql: doubleLiteral(f), t: of(double), literal: &literal{}}
	}
	refuse(n, "", "a literal of type %s is not portable to Trino", id)
	return nil
}

func doubleLiteral(f float64) string {
	sql := strconv.FormatFloat(f, 'E', -1, 64)
	if f < 0 {
		return "(" + sql + ")"
	}
	return sql
}

// numeral prints a whole number.
func numeral(i *big.Int, t typ) *expr {
	e := &expr{sql: i.String(), t: t, literal: &literal{number: i}}
	switch {
	case t.kind == hugeint:
		if len(new(big.Int).Abs(i).String()) > 38 {
			refuse(nil, "", "a whole number has more than 38 digits")
		}
		e.sql = "CAST(" + quote(i.String()) + " AS " + t.sql() + ")"
	case t.kind == bigint && i.IsInt64() && i.BitLen() < 32, t.kind < integral:
		e.sql = "CAST(" + e.sql + " AS " + t.sql() + ")"
	case i.Sign() < 0:
		e.sql = "(" + e.sql + ")"
	}
	return e
}

// wholeNumber reads a number of the parse tree, which has two halves beyond 64 bits.
func wholeNumber(v any) *big.Int {
	switch v := v.(type) {
	case json.Number:
		i, ok := new(big.Int).SetString(v.String(), 10)
		if ok {
			return i
		}
	case node:
		upper, lower := wholeNumber(v["upper"]), wholeNumber(v["lower"])
		if upper != nil && lower != nil {
			return upper.Add(upper.Lsh(upper, 64), lower)
		}
	}
	return nil
}

// pointed writes an unscaled number with its decimal point.
func pointed(i *big.Int, scale int) string {
	digits := new(big.Int).Abs(i).String()
	if scale > 0 {
		if len(digits) <= scale {
			digits = strings.Repeat("0", scale-len(digits)+1) + digits
		}
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if i.Sign() < 0 {
		return "-" + digits
	}
	return digits
}

// unify casts the expressions, in place, to the type that all have in common.
func (p *printer) unify(list []*expr, n node, what string) typ {
	all := list[0]
	for _, e := range list {
		if e.interval != nil {
			refuse(n, "add intervals to times", "an INTERVAL in %s is not portable to Trino", what)
		}
	}
	for _, e := range list[1:] {
		t, ok := common(all, e)
		if !ok {
			refuse(n, "cast one of them", "%s and %s in %s", all.t, e.t, what)
		}
		switch {
		case !t.equal(all.t):
			all = &expr{t: t}
		case !all.isNumeral() || e.t.kind == null:
		case !e.isNumeral():
			all = &expr{t: t}
		case e.literal.number.CmpAbs(all.literal.number) > 0:
			all = e // it fits into the fewest types
		}
	}
	for i, e := range list {
		if !e.t.equal(all.t) {
			list[i] = p.cast(e, all.t, n)
		}
	}
	return all.t
}

func (p *printer) cases(s *scope, n node) *expr {
	var conditions, results []*expr
	for _, v := range list(n["case_checks"]) {
		conditions = append(conditions, p.condition(s, object(v)["when_expr"]))
		results = append(results, p.expr(s, object(object(v)["then_expr"])))
	}
	if n["else_expr"] != nil {
		results = append(results, p.expr(s, object(n["else_expr"])))
	}
	t := p.unify(results, n, "CASE")
	var b strings.Builder
	b.WriteString("CASE")
	for i, c := range conditions {
		fmt.Fprintf(&b, " WHEN %s THEN %s", c.sql, results[i].sql)
	}
	if len(results) > len(conditions) {
		b.WriteString(" ELSE " + results[len(conditions)].sql)
	}
	b.WriteString(" END")
	return call(t, b.String(), append(conditions, results...)...)
}

// subquery prints EXISTS, IN and scalar subqueries.
func (p *printer) subquery(s *scope, n node) *expr {
	kind := text(n["subquery_type"])
	q := p.query(object(object(n["subquery"])["node"]), s.tables, s, false)
	if kind == "EXISTS" || kind == "NOT_EXISTS" {
		sql := "EXISTS (" + q.sql() + ")"
		if kind == "NOT_EXISTS" {
			sql = "(NOT " + sql + ")"
		}
		return &expr{sql: sql, t: of(boolean)}
	}
	if len(q.columns) != 1 {
		refuse(n, "", "a subquery here must have one column, not %d", len(q.columns))
	}
	switch {
	case kind == "SCALAR":
		return &expr{sql: "(" + q.sql() + ")", t: q.columns[0].t}
	case kind == "ANY" && text(n["comparison_type"]) == "COMPARE_EQUAL":
		child := object(n["child"])
		e := p.value(p.expr(s, child), child)
		if text(child["class"]) == "FUNCTION" && lower(child["function_name"]) == "row" {
			refuse(n, "use EXISTS", "IN with several columns is not portable to Trino")
		}
		t, ok := common(e, &expr{t: q.columns[0].t})
		if !ok {
			refuse(n, "cast one of them", "%s and %s in IN", e.t, q.columns[0].t)
		}
		inside := p.conform(q, []field{{id: "c1", t: t}})
		if !e.t.equal(t) {
			e = p.cast(e, t, n)
		}
		return call(of(boolean), "("+e.sql+" IN ("+inside+"))", e)
	}
	refuse(n, "use IN, EXISTS, or min and max", "this comparison with a subquery is not portable to Trino")
	return nil
}
