package dialect

import (
	"fmt"
	"strings"
)

// rankings are window functions of no argument that take no frame, and their types.
var rankings = map[string]kind{
	"row_number": bigint, "rank": bigint, "dense_rank": bigint, "rank_dense": bigint, "percent_rank": double, "cume_dist": double,
}

// window prints a window function.
func (p *printer) window(s *scope, n node) *expr {
	name := lower(n["function_name"])
	if flag(n["distinct"]) {
		refuse(n, "aggregate in a subquery first", "DISTINCT in a window function is not portable to Trino")
	}
	if len(list(n["arg_orders"])) > 0 {
		refuse(n, "", "ORDER BY among the arguments of a window function is not portable to Trino")
	}
	args := p.exprs(s, n["children"])
	for i, v := range list(n["children"]) {
		if args[i].isWindow {
			refuse(n, "put the inner one in a subquery", "a window function in %s", name)
		}
		args[i] = p.value(args[i], object(v))
	}
	var over []string
	parts := args
	if partitions := p.exprs(s, n["partitions"]); len(partitions) > 0 {
		over = append(over, "PARTITION BY "+joined(partitions))
		parts = append(parts, partitions...)
	}
	var keys []string
	for _, v := range list(n["orders"]) {
		o := object(v)
		key := p.value(p.expr(s, object(o["expression"])), n)
		if key.literal != nil {
			continue // it orders nothing
		}
		keys = append(keys, key.sql+p.direction(o))
		parts = append(parts, key)
	}
	if len(keys) > 0 {
		over = append(over, "ORDER BY "+strings.Join(keys, ", "))
	}
	var e *expr
	nulls, frame := "", p.frame(s, n)
	switch t, isRanking := rankings[name]; {
	case isRanking:
		wantArgs(n, name, args, 0)
		e, frame = call(of(t), strings.Replace(name, "rank_dense", "dense_rank", 1)+"()"), ""
	case name == "ntile":
		wantArgs(n, name, args, 1)
		e, frame = like(of(bigint), "ntile(%s)", p.as(n, name, args[0], bigint)), ""
	case name == "lag" || name == "lead":
		e, frame = p.shift(s, n, name, args), ""
		parts = append(parts, e)
	case name == "first_value" || name == "last_value" || name == "first" || name == "last":
		wantArgs(n, name, args, 1)
		e = like(args[0].t, strings.TrimSuffix(name, "_value")+"_value(%s)", args[0])
	case name == "nth_value":
		wantArgs(n, name, args, 2)
		e = call(args[0].t, fmt.Sprintf("nth_value(%s, %d)", args[0].sql, number(n, name, args[1], 1)))
	default:
		return p.windowAggregate(s, n, name, args, parts, over, frame)
	}
	if n["filter_expr"] != nil {
		refuse(n, "", "FILTER with %s is not portable to Trino", name)
	}
	if flag(n["ignore_nulls"]) {
		if nulls = " IGNORE NULLS"; isRank(name) {
			refuse(n, "", "IGNORE NULLS with %s is not portable to Trino", name)
		}
	}
	return windowed(e, nulls, over, frame, parts)
}

func isRank(name string) bool { _, ok := rankings[name]; return ok || name == "ntile" }

// windowed puts the call over its window.
func windowed(e *expr, nulls string, over []string, frame string, parts []*expr) *expr {
	if frame != "" {
		over = append(over, frame)
	}
	out := call(e.t, e.sql+nulls+" OVER ("+strings.Join(over, " ")+")", parts...)
	if i := strings.Index(e.sql, overHere); i >= 0 {
		out.sql = e.sql[:i] + " OVER (" + strings.Join(over, " ") + ")" + e.sql[i+len(overHere):]
	}
	out.isWindow = true
	return out
}

// overHere marks where OVER goes in a call with something around it.
const overHere = filterHere

// windowAggregate prints an aggregate over a window. Trino has no FILTER there: what is filtered
// out is NULL, which these aggregates leave out.
func (p *printer) windowAggregate(s *scope, n node, name string, args, parts []*expr, over []string, frame string) *expr {
	switch name {
	case "count_star", "count", "sum", "avg", "mean", "min", "max", "bool_and", "bool_or", "stddev", "stddev_samp", "stddev_pop",
		"variance", "var_samp", "var_pop", "count_if", "countif":
	default:
		refuse(n, "aggregate in a subquery first", "%s over a window is not portable to Trino", name)
	}
	if flag(n["ignore_nulls"]) {
		refuse(n, "", "IGNORE NULLS with %s is not portable to Trino", name)
	}
	if n["filter_expr"] != nil {
		f := p.condition(s, n["filter_expr"])
		if name == "count_star" || name == "count" && len(args) == 0 {
			name, args = "count", []*expr{{sql: "1", t: of(integral)}}
		}
		for i, a := range args {
			args[i] = like(a.t, "CASE WHEN %s THEN %s END", f, a)
		}
		parts = append(parts, args...)
	}
	e, _ := aggregates[name](p, n, name, args, "")
	return windowed(e, "", over, frame, parts)
}

// shift prints lag and lead.
func (p *printer) shift(s *scope, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 1)
	e := args[0]
	offset := "1"
	if n["offset_expr"] != nil {
		offset = fmt.Sprint(number(n, name, p.expr(s, object(n["offset_expr"])), 0))
	}
	if n["default_expr"] == nil {
		return call(e.t, name+"("+e.sql+", "+offset+")")
	}
	other := p.cast(p.expr(s, object(n["default_expr"])), e.t, n)
	return call(e.t, name+"("+e.sql+", "+offset+", "+other.sql+")", other)
}

// frame prints the frame of a window, "" for the default of both engines.
func (p *printer) frame(s *scope, n node) string {
	start, end := text(n["start"]), text(n["end"])
	if x := text(n["exclude_clause"]); x != "NO_OTHER" && x != "" {
		refuse(n, "", "EXCLUDE in a window is not portable to Trino")
	}
	if start == "UNBOUNDED_PRECEDING" && end == "CURRENT_ROW_RANGE" {
		return ""
	}
	unit := ""
	for _, edge := range []string{start, end} {
		for _, u := range []string{"ROWS", "RANGE", "GROUPS"} {
			if strings.HasSuffix(edge, "_"+u) {
				unit = u
			}
		}
	}
	if unit == "" {
		unit = "ROWS" // both ends are open
	}
	return unit + " BETWEEN " + p.edge(s, n, start, n["start_expr"], unit) + " AND " + p.edge(s, n, end, n["end_expr"], unit)
}

func (p *printer) edge(s *scope, n node, edge string, v any, unit string) string {
	switch {
	case edge == "UNBOUNDED_PRECEDING":
		return "UNBOUNDED PRECEDING"
	case edge == "UNBOUNDED_FOLLOWING":
		return "UNBOUNDED FOLLOWING"
	case strings.HasPrefix(edge, "CURRENT_ROW"):
		return "CURRENT ROW"
	}
	direction := " FOLLOWING"
	if strings.HasPrefix(edge, "EXPR_PRECEDING") {
		direction = " PRECEDING"
	}
	e := p.expr(s, object(v))
	switch {
	case e.interval != nil && unit == "RANGE":
		return e.interval.literal(n) + direction
	case unit != "RANGE" || e.isNumeral():
		return fmt.Sprint(number(n, "the frame of a window", e, 0)) + direction
	}
	refuse(n, "use an INTERVAL or a whole number", "this frame of a window is not portable to Trino")
	return ""
}
