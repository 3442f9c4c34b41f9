package dialect

import (
	"fmt"
	"slices"
	"strings"
)

// from is a printed FROM clause.
type from struct {
	sql        string // "" for none
	relations  []*relation
	columns    []column // what * stands for
	merged     []column // by USING
	conditions []string // of semi and anti joins, for WHERE
	isJoin     bool
}

// from prints an element of FROM. Subqueries in it see what outer has, which is what stands left
// of them.
func (p *printer) from(v any, tables *tableScope, outer *scope) *from {
	n := object(v)
	if n == nil {
		return &from{}
	}
	if n["sample"] != nil {
		refuse(n, "use a condition on a hash of event_id", "TABLESAMPLE is not portable to Trino")
	}
	switch kind := text(n["type"]); kind {
	case "EMPTY":
		return &from{}
	case "BASE_TABLE":
		return p.base(n, tables)
	case "SUBQUERY":
		around := &scope{outer: outer}
		if outer != nil {
			around = &scope{tables: outer.tables, relations: outer.relations, merged: outer.merged, outer: outer.outer}
		}
		q := p.query(object(object(n["subquery"])["node"]), tables, around, false)
		sql := "(" + q.sql() + ")"
		if around.isUsed {
			sql = "LATERAL " + sql
		}
		return p.element(n, sql, q.columns, "")
	case "EXPRESSION_LIST":
		return p.values(n, tables, outer)
	case "TABLE_FUNCTION":
		return p.tableFunction(n, tables, outer)
	case "JOIN":
		return p.join(n, tables, outer)
	case "PIVOT":
		refuse(n, "use sum(…) FILTER (WHERE …) for each column", "PIVOT is not portable to Trino")
	default:
		refuse(n, "", "%s in FROM is not portable to Trino", kind)
	}
	return nil
}

// element is an element of FROM of one relation. It is named by its alias, or else as given.
func (p *printer) element(n node, sql string, columns []field, name string) *from {
	id := p.name("r")
	r := &relation{name: name}
	if alias := text(n["alias"]); alias != "" {
		r.name = alias
	}
	columns = rename(columns, list(n["column_name_alias"]))
	for _, c := range columns {
		r.columns = append(r.columns, column{name: c.name, sql: id + "." + c.id, t: c.t})
	}
	return &from{sql: sql + " AS " + id, relations: []*relation{r}, columns: r.columns}
}

func (p *printer) base(n node, tables *tableScope) *from {
	catalog, schema, name := text(n["catalog_name"]), text(n["schema_name"]), text(n["table_name"])
	if n["at_clause"] != nil || catalog != "" {
		refuse(n, "", "only tables of the lake can be named, without a catalog and AT")
	}
	var s *source
	if schema == "" {
		s = tables.find(name)
	} else {
		s = p.named(schema, name)
		name = strings.TrimPrefix(name, schema+".")
	}
	if s == nil {
		refuse(n, "", "there is no table %q", strings.TrimPrefix(schema+"."+name, "."))
	}
	f := p.element(n, s.sql, s.columns, name)
	if text(n["alias"]) == "" {
		f.relations[0].schema = schema
	}
	return f
}

// values prints VALUES.
func (p *printer) values(n node, tables *tableScope, outer *scope) *from {
	s := &scope{tables: tables, outer: outer}
	var rows [][]*expr
	for _, v := range list(n["values"]) {
		var row []*expr
		for _, e := range list(v) {
			row = append(row, p.value(p.expr(s, object(e)), object(e)))
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 || len(rows[0]) == 0 {
		refuse(n, "", "VALUES of nothing is not portable to Trino")
	}
	columns := make([]field, len(rows[0]))
	names := list(n["expected_names"])
	for i := range columns {
		var all []*expr
		for _, row := range rows {
			all = append(all, row[i])
		}
		columns[i] = field{name: fmt.Sprintf("col%d", i), id: fmt.Sprintf("c%d", i+1), t: p.unify(all, n, "VALUES")}
		if i < len(names) {
			columns[i].name = text(names[i])
		}
		for k := range rows {
			rows[k][i] = all[k]
		}
	}
	var out, ids []string
	for _, row := range rows {
		var list []string
		for i, e := range row {
			list = append(list, p.typed(e, columns[i].t).sql)
		}
		out = append(out, "ROW("+strings.Join(list, ", ")+")")
	}
	for _, c := range columns {
		ids = append(ids, c.id)
	}
	f := p.element(n, "(VALUES "+strings.Join(out, ", ")+")", columns, text(n["alias"]))
	f.sql += " (" + strings.Join(ids, ", ") + ")"
	return f
}

// tableFunction prints unnest, range and generate_series. Trino's series have at most 10,000
// elements.
func (p *printer) tableFunction(n node, tables *tableScope, outer *scope) *from {
	call := object(n["function"])
	name := lower(call["function_name"])
	if text(n["with_ordinality"]) != "WITHOUT_ORDINALITY" {
		refuse(n, "use row_number()", "WITH ORDINALITY is not portable to Trino")
	}
	s := &scope{tables: tables, outer: outer}
	var args []*expr
	for _, v := range list(call["children"]) {
		args = append(args, p.expr(s, object(v)))
	}
	var sql string
	var t typ
	condition := ""
	switch {
	case name == "unnest" && len(args) == 1 && args[0].t.kind == array:
		sql, t = args[0].sql, *args[0].t.element
	case (name == "range" || name == "generate_series") && len(args) >= 1 && len(args) <= 3:
		if len(args) == 1 {
			args = append([]*expr{{sql: "0", t: of(integral)}}, args...)
		}
		sql, t, condition = p.series(n, name, args)
	default:
		refuse(n, "use unnest of a list, range or generate_series", "%s so in FROM is not portable to Trino", name)
	}
	if condition != "" {
		id := p.name("u")
		f := p.element(n, "(SELECT "+id+".c1 FROM UNNEST("+sql+") AS "+id+" (c1) WHERE "+id+".c1"+condition+")", []field{{name: name, id: "c1", t: t}}, name)
		return f
	}
	f := p.element(n, "UNNEST("+sql+")", []field{{name: name, id: "c1", t: t}}, name)
	f.sql += " (c1)"
	return f
}

// series prints the array of a series, and the condition by which range leaves out its end. A
// series that ends before it begins is empty in DuckDB and an error in Trino.
func (p *printer) series(n node, name string, args []*expr) (sql string, t typ, condition string) {
	start, stop, step := args[0], args[1], ""
	switch {
	case start.t.isInteger() && stop.t.isInteger():
		t = of(bigint)
		start, stop, step = p.cast(start, t, n), p.cast(stop, t, n), "1"
		if len(args) == 3 {
			if args[2].literal == nil || !args[2].isNumeral() || strings.HasPrefix(args[2].sql, "-") || args[2].sql == "0" {
				refuse(n, "", "the step of %s must be a whole number above 0", name)
			}
			step = args[2].sql
		}
	case (start.t.isTime() || start.isLiteralText()) && len(args) == 3 && args[2].interval != nil:
		t = of(timestamp)
		if start.t.kind == timestamptz || stop.t.kind == timestamptz {
			t = of(timestamptz)
		}
		// Trino counts in wall clock; all instants are in UTC.
		start, stop = p.cast(p.cast(start, t, n), of(timestamp), n), p.cast(p.cast(stop, t, n), of(timestamp), n)
		step = args[2].interval.literal(n)
	default:
		refuse(n, "give whole numbers, or two times and an interval", "%s so is not portable to Trino", name)
	}
	sql = fmt.Sprintf("CASE WHEN %s <= %s THEN sequence(%s, %s, %s) END", start.sql, stop.sql, start.sql, stop.sql, step)
	if t.kind == timestamptz {
		sql = "transform(" + sql + ", x -> with_timezone(x, 'UTC'))"
	}
	if name == "range" {
		end := stop.sql
		if t.kind == timestamptz {
			end = "with_timezone(" + end + ", 'UTC')"
		}
		condition = " < " + end
	}
	return sql, t, condition
}

func (p *printer) join(n node, tables *tableScope, outer *scope) *from {
	if ref := text(n["ref_type"]); ref != "REGULAR" && ref != "CROSS" {
		refuse(n, "join ON a condition, or USING columns", "%s JOIN is not portable to Trino", ref)
	}
	left := p.from(n["left"], tables, outer)
	lateral := &scope{tables: tables, relations: left.relations, merged: left.merged, outer: outer}
	right := p.from(n["right"], tables, lateral)
	if left.sql == "" || right.sql == "" {
		refuse(n, "", "a join of nothing is not portable to Trino")
	}
	kind := text(n["join_type"])
	j := &from{relations: append(slices.Clone(left.relations), right.relations...), isJoin: true}
	s := &scope{tables: tables, relations: j.relations, merged: append(slices.Clone(left.merged), right.merged...), outer: outer}

	var condition string
	using := list(n["using_columns"])
	switch {
	case n["condition"] != nil:
		e := p.condition(s, n["condition"])
		p.refuseAggregate(e, n["condition"], "ON")
		condition = e.sql
	case len(using) > 0:
		var equal []string
		for _, v := range using {
			l := p.lookupHere(&scope{relations: left.relations, merged: left.merged}, n, []string{text(v)})
			r := p.lookupHere(&scope{relations: right.relations, merged: right.merged}, n, []string{text(v)})
			if l == nil || r == nil {
				refuse(n, "", "USING: the column %q is not on both sides", text(v))
			}
			a, b := &expr{sql: l.sql, t: l.t}, &expr{sql: r.sql, t: r.t}
			pair := []*expr{a, b}
			t := p.unify(pair, n, "USING")
			equal = append(equal, pair[0].sql+" = "+pair[1].sql)
			merged := column{name: l.name, sql: l.sql, t: l.t}
			switch kind {
			case "RIGHT":
				merged.sql, merged.t = r.sql, r.t
			case "FULL", "OUTER":
				merged.sql, merged.t = "coalesce("+pair[0].sql+", "+pair[1].sql+")", t
			}
			j.merged = append(j.merged, merged)
		}
		condition = "(" + strings.Join(equal, " AND ") + ")"
	}
	word, ok := map[string]string{"INNER": " JOIN ", "LEFT": " LEFT JOIN ", "RIGHT": " RIGHT JOIN ", "FULL": " FULL JOIN ", "OUTER": " FULL JOIN "}[kind]
	switch {
	case kind == "SEMI" || kind == "ANTI":
		return p.semiJoin(kind, left, right, condition)
	case !ok:
		refuse(n, "", "%s JOIN is not portable to Trino", kind)
	case len(left.conditions)+len(right.conditions) > 0 && kind != "INNER":
		refuse(n, "put the semi or anti join in a subquery", "a semi or anti join under an outer join is not portable to Trino")
	}
	j.conditions = append(left.conditions, right.conditions...)
	j.merged = j.stillMerged(left.merged, right.merged)
	if right.isJoin {
		right.sql = "(" + right.sql + ")"
	}
	if condition == "" {
		j.sql = left.sql + " CROSS JOIN " + right.sql
	} else {
		j.sql = left.sql + word + right.sql + " ON " + condition
	}
	j.columns = j.starred(left.columns, right.columns, using)
	return j
}

// stillMerged adds what was merged below and is not merged again.
func (f *from) stillMerged(below ...[]column) []column {
	out := f.merged
	for _, list := range below {
		for _, c := range list {
			if !slices.ContainsFunc(out, func(m column) bool { return strings.EqualFold(m.name, c.name) }) {
				out = append(out, c)
			}
		}
	}
	return out
}

// starred are the columns that * stands for: those of USING once, where the left has them.
func (f *from) starred(left, right []column, using []any) []column {
	isUsing := func(name string) bool {
		return slices.ContainsFunc(using, func(v any) bool { return strings.EqualFold(text(v), name) })
	}
	var out []column
	for _, c := range left {
		if isUsing(c.name) {
			i := slices.IndexFunc(f.merged, func(m column) bool { return strings.EqualFold(m.name, c.name) })
			c = f.merged[i]
		}
		out = append(out, c)
	}
	for _, c := range right {
		if !isUsing(c.name) {
			out = append(out, c)
		}
	}
	return out
}

// semiJoin makes a condition of the join: it takes rows away from the left and gives none.
func (p *printer) semiJoin(kind string, left, right *from, condition string) *from {
	if len(right.conditions) > 0 {
		condition = strings.Join(append(right.conditions, condition), " AND ")
	}
	exists := "EXISTS (SELECT 1 FROM " + right.sql + " WHERE " + condition + ")"
	if kind == "ANTI" {
		exists = "NOT " + exists
	}
	left.conditions = append(left.conditions, exists)
	return left
}
