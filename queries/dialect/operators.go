package dialect

import (
	"fmt"
	"strings"
)

var comparisons = map[string]string{
	"COMPARE_EQUAL": "=", "COMPARE_NOTEQUAL": "<>", "COMPARE_LESSTHAN": "<", "COMPARE_GREATERTHAN": ">",
	"COMPARE_LESSTHANOREQUALTO": "<=", "COMPARE_GREATERTHANOREQUALTO": ">=",
	"COMPARE_DISTINCT_FROM": "IS DISTINCT FROM", "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}

func (p *printer) comparison(s *scope, n node) *expr {
	op, ok := comparisons[text(n["type"])]
	if !ok {
		refuse(n, "", "the comparison %s is not portable to Trino", text(n["type"]))
	}
	pair := []*expr{p.expr(s, object(n["left"])), p.expr(s, object(n["right"]))}
	p.unify(pair, n, "a comparison")
	return like(of(boolean), "(%s "+op+" %s)", pair...)
}

// operator prints an expression of class OPERATOR.
func (p *printer) operator(s *scope, n node) *expr {
	children := list(n["children"])
	switch kind := text(n["type"]); kind {
	case "OPERATOR_NOT":
		return like(of(boolean), "(NOT %s)", p.condition(s, first(children)))
	case "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL":
		word := map[string]string{"OPERATOR_IS_NULL": "IS NULL", "OPERATOR_IS_NOT_NULL": "IS NOT NULL"}[kind]
		return like(of(boolean), "(%s "+word+")", p.value(p.expr(s, object(first(children))), n))
	case "OPERATOR_COALESCE":
		args := p.exprs(s, children)
		t := p.unify(args, n, "coalesce")
		if len(args) == 1 {
			return args[0]
		}
		return call(t, "coalesce("+joined(args)+")", args...)
	case "OPERATOR_NULLIF":
		return p.nullif(n, p.exprs(s, children))
	case "COMPARE_IN", "COMPARE_NOT_IN":
		args := p.exprs(s, children)
		p.unify(args, n, "IN")
		word := " IN ("
		if kind == "COMPARE_NOT_IN" {
			word = " NOT IN ("
		}
		return call(of(boolean), "("+args[0].sql+word+joined(args[1:])+"))", args...)
	case "GROUPING_FUNCTION":
		args := p.exprs(s, children)
		for _, a := range args {
			if !a.isColumn {
				refuse(n, "", "GROUPING takes columns")
			}
			a.loose = nil
		}
		return call(of(bigint), "CAST(grouping("+joined(args)+") AS BIGINT)", args...)
	case "ARRAY_CONSTRUCTOR":
		return p.listOf(n, p.exprs(s, children))
	case "ARRAY_EXTRACT":
		args := p.exprs(s, children)
		if len(args) == 2 && args[0].t.kind == array && args[1].isNumeral() && args[1].literal.number.Sign() > 0 {
			return like(*args[0].t.element, "element_at(%s, %s)", args...)
		}
		refuse(n, "", "[…] is portable to Trino only with a list and a whole number above 0")
	case "OPERATOR_TRY":
		refuse(n, "check the value with CASE first", "TRY is not portable to Trino")
	default:
		refuse(n, "", "the operator %s is not portable to Trino", strings.ToLower(kind))
	}
	return nil
}

func joined(args []*expr) string {
	printed := make([]string, len(args))
	for i, a := range args {
		printed[i] = a.sql
	}
	return strings.Join(printed, ", ")
}

func (p *printer) nullif(n node, args []*expr) *expr {
	wantArgs(n, "nullif", args, 2)
	pair := []*expr{args[0], args[1]}
	p.unify(pair, n, "nullif")
	if pair[0] == args[0] {
		return like(args[0].t, "nullif(%s, %s)", pair...)
	}
	// The result has the first one's type.
	return call(args[0].t, fmt.Sprintf("CASE WHEN %s = %s THEN NULL ELSE %s END", pair[0].sql, pair[1].sql, args[0].sql), pair...)
}

func (p *printer) listOf(n node, args []*expr) *expr {
	if len(args) == 0 {
		refuse(n, "", "an empty list is not portable to Trino")
	}
	t := p.unify(args, n, "a list")
	return call(typ{kind: array, element: &t}, "CAST(ARRAY["+joined(args)+"] AS ARRAY("+t.sql()+"))", args...)
}

// arithmetic prints + - * / // % of numbers and times, in DuckDB's result types.
func (p *printer) arithmetic(n node, op string, args []*expr) *expr {
	if len(args) == 1 && (op == "-" || op == "+") {
		return p.unary(n, op, args[0])
	}
	wantArgs(n, op, args, 2)
	a, b := args[0], args[1]
	if a.t.isTime() || b.t.isTime() || a.interval != nil || b.interval != nil {
		return p.timeArithmetic(n, op, a, b)
	}
	for i, e := range args {
		if e.t.kind == null {
			args[i] = call(of(integral), "CAST(NULL AS INTEGER)", e)
		} else if e.isLiteralText() || !e.t.isNumber() {
			refuse(n, "cast it to a number", "%s %s %s", a.t, op, b.t)
		}
	}
	a, b = args[0], args[1]
	switch {
	case op == "/" || a.t.kind == double || b.t.kind == double || op == "//" && !(a.t.isInteger() && b.t.isInteger()):
		a, b = p.cast(a, of(double), n), p.cast(b, of(double), n)
		if op == "//" {
			op = "/"
		}
		if op == "%" {
			return like(of(double), "mod(%s, %s)", a, b)
		}
		return like(of(double), "(%s "+op+" %s)", a, b)
	case a.t.isInteger() && b.t.isInteger():
		return p.integerArithmetic(op, a, b)
	}
	return p.decimalArithmetic(n, op, a, b)
}

func (p *printer) unary(n node, op string, e *expr) *expr {
	if !e.t.isNumber() {
		refuse(n, "", "%s of %s", op, e.t)
	}
	if op == "+" {
		return e
	}
	return like(e.t, "(- %s)", e)
}

// integerArithmetic: division by zero gives NULL, and an overflow of the result's type is an
// error in both engines.
func (p *printer) integerArithmetic(op string, a, b *expr) *expr {
	t, _ := common(a, b)
	word := map[string]string{"//": "/", "%": "%%"}[op]
	if word == "" {
		word = op
	}
	format := "(%s " + word + " %s)"
	if op == "//" || op == "%" {
		format = "(%s " + word + " nullif(%s, 0))"
	}
	if t.kind == hugeint {
		a, b = p.cast(a, t, nil), p.cast(b, t, nil)
		if op == "//" {
			// Trino rounds quotients of decimals; what it has no remainder of needs no rounding.
			return call(t, fmt.Sprintf("CAST((%[1]s - mod(%[1]s, nullif(%[2]s, 0))) / nullif(%[2]s, 0) AS %[3]s)", a.sql, b.sql, t.sql()), a, b)
		}
	}
	e := like(t, format, a, b)
	if widest := max(a.t.kind, b.t.kind); t.kind == hugeint || widest != t.kind || a.literal != nil || b.literal != nil {
		e.sql = "CAST(" + e.sql + " AS " + t.sql() + ")"
	}
	return e
}

// maxInt64Digits is the width up to which DuckDB does not widen sums and products of decimals:
// they are kept in 64 bits.
const maxInt64Digits = 18

func (p *printer) decimalArithmetic(n node, op string, a, b *expr) *expr {
	x, y := a.t.digits(), b.t.digits()
	var t typ
	switch op {
	case "+", "-":
		scale := max(x.scale, y.scale)
		t = decimalOf(max(x.width-x.scale, y.width-y.scale)+scale+1, scale)
	case "*":
		t = decimalOf(x.width+y.width, x.scale+y.scale)
		if t.scale > 38 {
			refuse(n, "cast one of them to DOUBLE", "a product of %d digits after the point", t.scale)
		}
	case "%":
		t, _ = common(a, b)
	}
	if op != "%" && t.width > maxInt64Digits && max(x.width, y.width) <= maxInt64Digits && t.scale <= maxInt64Digits {
		t.width = maxInt64Digits
	}
	t.width = min(t.width, 38)
	a, b = p.cast(a, x, n), p.cast(b, y, n)
	if op == "%" {
		return like(t, "CAST(mod(%s, nullif(%s, 0)) AS "+t.sql()+")", a, b)
	}
	return like(t, "CAST((%s "+op+" %s) AS "+t.sql()+")", a, b)
}
