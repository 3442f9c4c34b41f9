package dialect

import (
	"fmt"
	"strings"
)

// aggregation prints an aggregate's call without FILTER and OVER. condition is one that rows must
// meet besides, or "".
type aggregation func(p *printer, n node, name string, args []*expr, distinct string) (e *expr, condition string)

var aggregates = map[string]aggregation{
	"count_star": countRows, "count": countValues, "count_if": countIf, "countif": countIf,
	"sum": sum, "avg": avg, "mean": avg, "min": ordered, "max": ordered,
	"bool_and": truths, "bool_or": truths,
	"stddev": doubles("stddev_samp", 1), "stddev_samp": doubles("stddev_samp", 1), "stddev_pop": doubles("stddev_pop", 1),
	"variance": doubles("var_samp", 1), "var_samp": doubles("var_samp", 1), "var_pop": doubles("var_pop", 1),
	"covar_pop": doubles("covar_pop", 2), "covar_samp": doubles("covar_samp", 2),
	"arg_min": byOther("min_by"), "argmin": byOther("min_by"), "min_by": byOther("min_by"),
	"arg_max": byOther("max_by"), "argmax": byOther("max_by"), "max_by": byOther("max_by"),
	"any_value":  anyValue,
	"string_agg": texts, "listagg": texts, "group_concat": texts,
	"array_agg": values, "list": values,
	"quantile_disc": quantile, "quantile_cont": quantile, "median": quantile,
}

// aggregate prints an aggregate that is no window function.
func (p *printer) aggregate(s *scope, n node, name string) *expr {
	args := p.exprs(s, n["children"])
	for i, v := range list(n["children"]) {
		p.refuseNested(args[i], object(v), name)
		args[i] = p.value(args[i], object(v))
	}
	distinct := ""
	if flag(n["distinct"]) {
		distinct = "DISTINCT "
	}
	e, condition := p.aggregation(s, n, name, args, distinct)
	if n["filter"] != nil {
		f := p.condition(s, n["filter"])
		p.refuseNested(f, object(n["filter"]), "FILTER")
		if condition != "" {
			condition = " AND " + condition
		}
		condition = f.sql + condition
	}
	if condition != "" {
		condition = " FILTER (WHERE " + condition + ")"
	}
	e.sql = strings.Replace(e.sql, filterHere, condition, 1)
	e.isAggregate, e.isWindow, e.loose, e.literal = true, false, nil, nil
	return e
}

// filterHere marks where FILTER goes. It is no text that can be printed otherwise: a statement
// holds no zero byte.
const filterHere = "\x00"

func (p *printer) refuseNested(e *expr, n node, name string) {
	if e.isAggregate || e.isWindow {
		refuse(n, "put the inner one in a subquery", "an aggregate or window function in %s", name)
	}
}

// aggregation prints the call, with the order that some take.
func (p *printer) aggregation(s *scope, n node, name string, args []*expr, distinct string) (*expr, string) {
	orders := list(object(n["order_bys"])["orders"])
	switch name {
	case "string_agg", "listagg", "group_concat", "array_agg", "list":
		if len(orders) == 0 {
			refuse(n, "write ORDER BY in it", "%s without an order differs from one engine to the other", name)
		}
		var keys []string
		for _, v := range orders {
			o := object(v)
			key := p.value(p.expr(s, object(o["expression"])), n)
			p.refuseNested(key, n, name)
			keys = append(keys, key.sql+p.direction(o))
		}
		distinct += "\x01" + " ORDER BY " + strings.Join(keys, ", ")
	default:
		orders = nil // it changes nothing
	}
	return aggregates[name](p, n, name, args, distinct)
}

func countRows(_ *printer, n node, name string, args []*expr, _ string) (*expr, string) {
	wantArgs(n, name, args, 0)
	return call(of(bigint), "count(*)"+filterHere), ""
}

func countValues(p *printer, n node, name string, args []*expr, distinct string) (*expr, string) {
	if len(args) == 0 && distinct == "" {
		return countRows(p, n, name, args, distinct)
	}
	wantArgs(n, name, args, 1)
	return like(of(bigint), "count("+distinct+"%s)"+filterHere, args[0]), ""
}

// countIf: DuckDB's is a sum, NULL of no rows.
func countIf(p *printer, n node, name string, args []*expr, distinct string) (*expr, string) {
	wantArgs(n, name, args, 1)
	if args[0].t.kind != boolean || distinct != "" {
		refuse(n, "", "%s of %s", name, args[0].t)
	}
	return like(of(hugeint), "CAST(sum(IF(%s, 1, 0))"+filterHere+" AS "+of(hugeint).sql()+")", args[0]), ""
}

// sum: DuckDB's sums of integers are HUGEINT.
func sum(p *printer, n node, name string, args []*expr, distinct string) (*expr, string) {
	wantArgs(n, name, args, 1)
	e := args[0]
	var t typ
	switch {
	case e.t.kind == boolean && distinct == "":
		t, e = of(hugeint), like(of(hugeint), "CAST(CAST(%s AS INTEGER) AS "+of(hugeint).sql()+")", e)
	case e.t.isInteger():
		t, e = of(hugeint), p.cast(e, of(hugeint), n)
	case e.t.kind == decimal:
		t = decimalOf(38, e.t.scale)
	case e.t.kind == double:
		t = e.t
	default:
		refuse(n, "cast it to a number", "sum of %s", e.t)
	}
	return like(t, "sum("+distinct+"%s)"+filterHere, e), ""
}

// avg: DuckDB's averages are DOUBLE.
func avg(p *printer, n node, name string, args []*expr, distinct string) (*expr, string) {
	wantArgs(n, name, args, 1)
	return like(of(double), "avg("+distinct+"%s)"+filterHere, p.as(n, name, args[0], double)), ""
}

func ordered(_ *printer, n node, name string, args []*expr, _ string) (*expr, string) {
	wantArgs(n, name, args, 1)
	if args[0].t.kind == array {
		refuse(n, "", "%s of lists is not portable to Trino", name)
	}
	return like(args[0].t, name+"(%s)"+filterHere, args[0]), ""
}

func truths(_ *printer, n node, name string, args []*expr, _ string) (*expr, string) {
	wantArgs(n, name, args, 1)
	if args[0].t.kind != boolean {
		refuse(n, "", "%s of %s", name, args[0].t)
	}
	return like(of(boolean), name+"(%s)"+filterHere, args[0]), ""
}

// doubles are aggregates of so many numbers, computed as DOUBLE.
func doubles(word string, count int) aggregation {
	return func(p *printer, n node, name string, args []*expr, distinct string) (*expr, string) {
		wantArgs(n, name, args, count)
		if distinct != "" {
			refuse(n, "", "%s with DISTINCT is not portable to Trino", name)
		}
		for i := range args {
			args[i] = p.as(n, name, args[i], double)
		}
		return call(of(double), word+"("+joined(args)+")"+filterHere, args...), ""
	}
}

// byOther are arg_min and arg_max, which leave out rows where the value is NULL.
func byOther(word string) aggregation {
	return func(_ *printer, n node, name string, args []*expr, distinct string) (*expr, string) {
		wantArgs(n, name, args, 2)
		if distinct != "" {
			refuse(n, "", "%s with DISTINCT is not portable to Trino", name)
		}
		return like(args[0].t, word+"(%s, %s)"+filterHere, args...), args[0].sql + " IS NOT NULL"
	}
}

func anyValue(_ *printer, n node, name string, args []*expr, _ string) (*expr, string) {
	wantArgs(n, name, args, 1)
	return like(args[0].t, "arbitrary(%s)"+filterHere, args[0]), ""
}

// texts joins texts in an order; NULLs are left out, and none at all is NULL.
func texts(p *printer, n node, name string, args []*expr, order string) (*expr, string) {
	wantArgs(n, name, args, 1, 2)
	separator := ","
	if len(args) == 2 {
		if !args[1].isLiteralText() {
			refuse(n, "", "the separator of %s must be a literal", name)
		}
		separator = args[1].literal.text
	}
	e := p.textual(n, args[0])
	distinct, keys, _ := strings.Cut(order, "\x01")
	return call(of(varchar), "array_join(array_agg("+distinct+e.sql+keys+")"+filterHere+", "+quote(separator)+")", e), e.sql + " IS NOT NULL"
}

func values(p *printer, n node, name string, args []*expr, order string) (*expr, string) {
	wantArgs(n, name, args, 1)
	t := args[0].t
	if t.kind == array {
		refuse(n, "", "lists of lists are not portable to Trino")
	}
	distinct, keys, _ := strings.Cut(order, "\x01")
	return call(typ{kind: array, element: &t}, "array_agg("+distinct+args[0].sql+keys+")"+filterHere, args[0]), ""
}

// quantile prints exact quantiles, for which Trino has no function: it sorts the values.
// DuckDB interpolates decimals in their own type, which is left out.
func quantile(p *printer, n node, name string, args []*expr, distinct string) (*expr, string) {
	at := "0.5E0"
	if name == "median" {
		wantArgs(n, name, args, 1)
	} else {
		wantArgs(n, name, args, 2)
		at = fraction(n, name, args[1])
	}
	e := args[0]
	if distinct != "" {
		refuse(n, "", "%s with DISTINCT is not portable to Trino", name)
	}
	sorted := "array_sort(array_agg(%s)" + filterHere + ")"
	if name == "quantile_disc" {
		format := "transform(ARRAY[" + sorted + "], a -> element_at(a, greatest(CAST(ceil(cardinality(a) * " + at + ") AS INTEGER), 1)))[1]"
		return like(e.t, format, e), e.sql + " IS NOT NULL"
	}
	if e.t.kind == decimal {
		refuse(n, "cast it to DOUBLE", "%s of a decimal is not portable to Trino", name)
	}
	e = p.as(n, name, e, double)
	rank := "(cardinality(a) - 1) * " + at
	format := fmt.Sprintf("transform(ARRAY[%s], a -> element_at(a, CAST(floor(%[2]s) AS INTEGER) + 1) + (%[2]s - floor(%[2]s)) * "+
		"(element_at(a, CAST(ceil(%[2]s) AS INTEGER) + 1) - element_at(a, CAST(floor(%[2]s) AS INTEGER) + 1)))[1]", "\x02", rank)
	format = strings.Replace(strings.ReplaceAll(format, "%", "%%"), "\x02", sorted, 1)
	return like(of(double), format, e), e.sql + " IS NOT NULL"
}

// fraction is a literal between 0 and 1.
func fraction(n node, name string, e *expr) string {
	if e.literal == nil || e.literal.number == nil || !e.t.isExact() {
		refuse(n, "", "%s takes a literal between 0 and 1", name)
	}
	f := pointed(e.literal.number, e.t.scale)
	if strings.HasPrefix(f, "-") || !strings.HasPrefix(f, "0") && strings.TrimRight(f, "0.") != "1" {
		refuse(n, "", "%s takes a literal between 0 and 1", name)
	}
	return f + "E0"
}
