package dialect

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// query is a printed query.
type query struct {
	ctes    []string // before it, in WITH
	body    string
	columns []field
}

func (q *query) sql() string { return with(q.ctes) + q.body }

// query prints a query node. Its columns are named c1, c2 and so on, or by their own names.
func (p *printer) query(n node, tables *tableScope, outer *scope, named bool) *query {
	var ctes []string
	for _, e := range list(object(n["cte_map"])["map"]) {
		entry := object(e)
		name, value := text(entry["key"]), object(entry["value"])
		if len(list(value["key_targets"])) > 0 {
			refuse(n, "", "USING KEY is not portable to Trino")
		}
		q := p.query(object(object(value["query"])["node"]), tables, outer, false)
		s := &source{sql: p.name("w"), columns: rename(q.columns, list(value["aliases"]))}
		ctes = append(ctes, s.sql+" AS ("+q.sql()+")")
		tables = &tableScope{name, s, tables}
	}
	var q *query
	switch kind := text(n["type"]); kind {
	case "SELECT_NODE":
		q = p.selects(n, tables, outer, named)
	case "SET_OPERATION_NODE":
		q = p.setOperation(n, tables, outer, named)
	case "RECURSIVE_CTE_NODE":
		refuse(n, "use generate_series, or a query for each level", "WITH RECURSIVE is not portable to Trino")
	default:
		refuse(n, "", "a query of kind %s is not portable to Trino", kind)
	}
	q.ctes = ctes
	p.spend(len(q.sql()))
	return q
}

// rename gives the first columns other names.
func rename(columns []field, names []any) []field {
	out := slices.Clone(columns)
	for i := range min(len(names), len(out)) {
		out[i].name = text(names[i])
	}
	return out
}

// plainName is a name that is printed as it is.
var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// fields are the columns of a query of these items. Those that are named alike are told apart as
// DuckDB does it for a subquery.
func (p *printer) fields(items []*item, exprs []*expr, named bool) []field {
	out := make([]field, len(items))
	seen := map[string]int{}
	for i, it := range items {
		out[i] = field{name: it.name, id: fmt.Sprintf("c%d", i+1), t: exprs[i].t}
		if named {
			if !plainName.MatchString(it.name) {
				refuse(it.node, "name it with AS", "column %d needs a plain name", i+1)
			}
			out[i].id = quoteName(it.name)
		}
		key := strings.ToLower(it.name)
		if k := seen[key]; k > 0 {
			out[i].name = fmt.Sprintf("%s_%d", it.name, k)
		}
		seen[key]++
	}
	return out
}

func (p *printer) selects(n node, tables *tableScope, outer *scope, named bool) *query {
	if n["sample"] != nil {
		refuse(n, "use a condition on a hash of event_id", "USING SAMPLE is not portable to Trino")
	}
	f := p.from(n["from_table"], tables, outer)
	s := &scope{tables: tables, relations: f.relations, merged: f.merged, outer: outer}
	s.items = p.items(s, f, list(n["select_list"]))

	conditions := f.conditions
	if n["where_clause"] != nil {
		e := p.condition(s, n["where_clause"])
		p.refuseAggregate(e, n["where_clause"], "WHERE")
		conditions = append(conditions, e.sql)
	}
	group := p.groupBy(s, n)
	exprs := make([]*expr, len(s.items))
	isAggregated := group != "" || text(n["aggregate_handling"]) == "FORCE_AGGREGATES"
	for i, it := range s.items {
		exprs[i] = p.value(p.item(s, it), it.node)
		isAggregated = isAggregated || exprs[i].isAggregate
	}
	having, qualify := "", ""
	if n["having"] != nil {
		e := p.condition(s, n["having"])
		isAggregated = true
		having = " HAVING " + e.sql
		p.checkGrouped(e)
	}
	if n["qualify"] != nil {
		e := p.condition(s, n["qualify"])
		isAggregated = isAggregated || e.isAggregate
		qualify = e.sql
		if isAggregated {
			p.checkGrouped(e)
		}
	}
	for _, e := range exprs {
		if isAggregated {
			p.checkGrouped(e)
		}
	}

	columns := p.fields(s.items, exprs, named)
	m := p.modifiers(s, n, exprs, isAggregated)
	distinct := ""
	if m.isDistinct {
		distinct = "DISTINCT "
	}
	var out []string
	for i, e := range exprs {
		out = append(out, e.sql+" AS "+columns[i].id)
	}
	body := " FROM " + f.sql
	if f.sql == "" {
		body = ""
	}
	if len(conditions) > 0 {
		body += " WHERE " + strings.Join(conditions, " AND ")
	}
	body += group + having
	if qualify == "" {
		sql := "SELECT " + distinct + strings.Join(out, ", ") + body + m.order(func(_ int, e string) string { return e }) + m.limit
		return &query{body: sql, columns: columns}
	}
	// Trino has no QUALIFY: it is a condition on a query around.
	inner := p.name("q")
	var outside []string
	for i := range exprs {
		outside = append(outside, inner+"."+columns[i].id+" AS "+columns[i].id)
	}
	order := m.order(func(i int, e string) string {
		hidden := fmt.Sprintf("o%d", i+1)
		out = append(out, e+" AS "+hidden)
		return inner + "." + hidden
	})
	out = append(out, qualify+" AS q")
	sql := "SELECT " + distinct + strings.Join(outside, ", ") + " FROM (SELECT " + strings.Join(out, ", ") + body + ") AS " + inner +
		" WHERE " + inner + ".q" + order + m.limit
	return &query{body: sql, columns: columns}
}

// checkGrouped refuses a column outside of aggregates that GROUP BY does not name.
func (p *printer) checkGrouped(e *expr) {
	if e.loose != nil {
		refuse(e.loose, "", "a column outside of aggregates must be in GROUP BY: %s", display(e.loose))
	}
}

func (p *printer) refuseAggregate(e *expr, v any, clause string) {
	switch {
	case e.isAggregate:
		refuse(object(v), "use HAVING", "%s cannot hold aggregates", clause)
	case e.isWindow:
		refuse(object(v), "use QUALIFY", "%s cannot hold window functions", clause)
	}
}

// groupBy prints GROUP BY and notes what it groups by. What is in the select list is named by its
// place there.
func (p *printer) groupBy(s *scope, n node) string {
	if text(n["aggregate_handling"]) == "FORCE_AGGREGATES" {
		s.groups = map[string]bool{}
		var places []string
		for i, it := range s.items {
			if e := p.item(s, it); !e.isAggregate && !e.isWindow {
				s.groups[e.sql] = true
				places = append(places, fmt.Sprint(i+1))
			}
		}
		if len(places) == 0 {
			return ""
		}
		return " GROUP BY " + strings.Join(places, ", ")
	}
	expressions := list(n["group_expressions"])
	if len(expressions) == 0 {
		return ""
	}
	groups := map[string]bool{}
	printed, plain := make([]string, len(expressions)), make([]string, len(expressions))
	for i, v := range expressions {
		g := object(v)
		place := p.selected(s, g)
		var e *expr
		if place >= 0 {
			e = p.item(s, s.items[place])
			printed[i] = fmt.Sprint(place + 1)
		} else {
			e = p.expr(s, g)
			if e.literal != nil {
				refuse(g, "", "GROUP BY a literal is not portable to Trino")
			}
			printed[i] = e.sql
		}
		p.refuseAggregate(e, v, "GROUP BY")
		groups[e.sql] = true
		if e.isColumn {
			plain[i] = e.sql
		}
	}
	s.groups = groups
	sets := list(n["group_sets"])
	if len(sets) <= 1 && len(list(first(sets))) == len(expressions) {
		return " GROUP BY " + strings.Join(printed, ", ")
	}
	var out []string
	for _, set := range sets {
		var members []string
		for _, v := range list(set) {
			i, ok := integer(v)
			if !ok || i < 0 || int(i) >= len(plain) || plain[i] == "" {
				refuse(object(first(expressions)), "group by the expression in a subquery and by its column here", "GROUPING SETS, ROLLUP and CUBE take only columns")
			}
			members = append(members, plain[i])
		}
		out = append(out, "("+strings.Join(members, ", ")+")")
	}
	return " GROUP BY GROUPING SETS (" + strings.Join(out, ", ") + ")"
}

func first(l []any) any {
	if len(l) == 0 {
		return nil
	}
	return l[0]
}

// selected is the select item that an expression of GROUP BY names by number or alias, -1 if none.
func (p *printer) selected(s *scope, n node) int {
	if i, ok := ordinal(n); ok {
		if i < 1 || i > len(s.items) {
			refuse(n, "", "there is no column %d in the select list", i)
		}
		return i - 1
	}
	if parts := list(n["column_names"]); text(n["class"]) == "COLUMN_REF" && len(parts) == 1 && p.lookupHere(s, n, []string{text(parts[0])}) == nil {
		return named(s, text(parts[0]))
	}
	return -1
}

// named is the select item of the alias, -1 if there is none.
func named(s *scope, name string) int {
	return slices.IndexFunc(s.items, func(it *item) bool { return it.isNamed && strings.EqualFold(it.name, name) })
}

// ordinal reads the place of a column in the select list.
func ordinal(n node) (int, bool) {
	if text(n["class"]) != "CONSTANT" {
		return 0, false
	}
	i, ok := integer(object(n["value"])["value"])
	return int(i), ok && text(object(object(n["value"])["type"])["id"]) == "INTEGER"
}

// modifiers are what follows a query.
type modifiers struct {
	isDistinct bool
	keys       []string // of ORDER BY: places in the select list or expressions
	directions []string
	limit      string // and offset
}

func (m *modifiers) order(hide func(i int, expression string) string) string {
	if len(m.keys) == 0 {
		return ""
	}
	keys := make([]string, len(m.keys))
	for i, k := range m.keys {
		if !isPlace(k) {
			k = hide(i, k)
		}
		keys[i] = k + m.directions[i]
	}
	return " ORDER BY " + strings.Join(keys, ", ")
}

func isPlace(key string) bool { return strings.Trim(key, "0123456789") == "" }

// modifiers prints DISTINCT, ORDER BY, LIMIT and OFFSET. exprs are the select list's.
func (p *printer) modifiers(s *scope, n node, exprs []*expr, isAggregated bool) *modifiers {
	m := &modifiers{}
	for _, v := range list(n["modifiers"]) {
		mod := object(v)
		switch kind := text(mod["type"]); kind {
		case "DISTINCT_MODIFIER":
			if len(list(mod["distinct_on_targets"])) > 0 {
				refuse(n, "use QUALIFY row_number() OVER (PARTITION BY … ORDER BY …) = 1", "DISTINCT ON is not portable to Trino")
			}
			m.isDistinct = true
		case "ORDER_MODIFIER":
			for _, o := range list(mod["orders"]) {
				p.orderKey(s, m, object(o), exprs, isAggregated)
			}
		case "LIMIT_MODIFIER":
			if mod["offset"] != nil {
				m.limit += " OFFSET " + count(object(mod["offset"]))
			}
			if mod["limit"] != nil {
				m.limit += " LIMIT " + count(object(mod["limit"]))
			}
		default:
			refuse(n, "", "%s is not portable to Trino", kind)
		}
	}
	return m
}

// count is the number of a LIMIT.
func count(n node) string {
	i, ok := integer(object(n["value"])["value"])
	if text(n["class"]) != "CONSTANT" || !ok || i < 0 {
		refuse(n, "", "LIMIT and OFFSET must be whole numbers")
	}
	return fmt.Sprint(i)
}

func (p *printer) orderKey(s *scope, m *modifiers, o node, exprs []*expr, isAggregated bool) {
	n := object(o["expression"])
	direction := p.direction(o)
	add := func(key string) {
		m.keys, m.directions = append(m.keys, key), append(m.directions, direction)
	}
	if text(n["class"]) == "STAR" {
		if n["expr"] != nil {
			refuse(n, "name the columns", "ORDER BY COLUMNS(…) is not portable to Trino")
		}
		for i := range exprs {
			add(fmt.Sprint(i + 1))
		}
		return
	}
	place := -1
	if i, ok := ordinal(n); ok {
		if i < 1 || i > len(exprs) {
			refuse(n, "", "there is no column %d in the select list", i)
		}
		place = i - 1
	} else if parts := list(n["column_names"]); text(n["class"]) == "COLUMN_REF" && len(parts) == 1 {
		place = named(s, text(parts[0]))
	}
	if place < 0 {
		e := p.value(p.expr(s, n), n)
		if isAggregated {
			p.checkGrouped(e)
		}
		place = slices.IndexFunc(exprs, func(x *expr) bool { return x.sql == e.sql })
		if place < 0 && e.literal != nil {
			return // it orders nothing
		}
		if place < 0 {
			if m.isDistinct {
				refuse(n, "", "with DISTINCT, ORDER BY names what is selected")
			}
			add(e.sql)
			return
		}
	}
	add(fmt.Sprint(place + 1))
}

// direction is what follows a key of ORDER BY. DuckDB's default is NULLS LAST both ways.
func (p *printer) direction(o node) string {
	out := " ASC"
	if text(o["type"]) == "DESCENDING" {
		out = " DESC"
	}
	if text(o["null_order"]) == "NULLS FIRST" {
		return out + " NULLS FIRST"
	}
	return out + " NULLS LAST"
}

// setOperation prints UNION, EXCEPT and INTERSECT.
func (p *printer) setOperation(n node, tables *tableScope, outer *scope, isNamed bool) *query {
	op, ok := map[string]string{"UNION": "UNION", "EXCEPT": "EXCEPT", "INTERSECT": "INTERSECT"}[text(n["setop_type"])]
	if !ok {
		refuse(n, "write the columns in the same order on both sides", "%s is not portable to Trino", strings.ReplaceAll(text(n["setop_type"]), "_", " "))
	}
	if flag(n["setop_all"]) {
		op += " ALL"
	}
	left := p.query(object(n["left"]), tables, outer, isNamed)
	right := p.query(object(n["right"]), tables, outer, false)
	if len(left.columns) != len(right.columns) {
		refuse(n, "", "%s of %d and %d columns", op, len(left.columns), len(right.columns))
	}
	columns := slices.Clone(left.columns)
	exprs := make([]*expr, len(columns))
	s := &scope{tables: tables, outer: outer}
	for i, c := range columns {
		t, ok := common(&expr{t: c.t}, &expr{t: right.columns[i].t})
		if !ok {
			refuse(n, "cast one of them", "%s of %s and %s in column %d", op, c.t, right.columns[i].t, i+1)
		}
		columns[i].t = t
		exprs[i] = &expr{sql: fmt.Sprintf("\x00%d", i), t: t} // equal to nothing that is printed
		s.items = append(s.items, &item{name: c.name, isNamed: true, isBound: true, node: n})
	}
	m := p.modifiers(s, n, exprs, false)
	for i, k := range m.keys {
		if !isPlace(k) {
			refuse(object(first(list(n["modifiers"]))), "", "after %s, ORDER BY names columns of the result (key %d)", op, i+1)
		}
	}
	q := &query{body: "(" + p.conform(left, columns) + ") " + op + " (" + p.conform(right, columns) + ")", columns: columns}
	if m.isDistinct || len(m.keys) > 0 || m.limit != "" {
		q.body += m.order(nil) + m.limit
	}
	return q
}

// conform casts the query's columns to the types.
func (p *printer) conform(q *query, columns []field) string {
	if slices.EqualFunc(q.columns, columns, func(a, b field) bool { return a.t.equal(b.t) }) {
		return q.sql()
	}
	name := p.name("q")
	var out []string
	for i, c := range q.columns {
		e := p.cast(&expr{sql: name + "." + c.id, t: c.t}, columns[i].t, nil)
		out = append(out, e.sql+" AS "+columns[i].id)
	}
	return "SELECT " + strings.Join(out, ", ") + " FROM (" + q.sql() + ") AS " + name
}

// items expands the select list's stars.
func (p *printer) items(s *scope, f *from, selected []any) []*item {
	var out []*item
	for _, v := range selected {
		n := object(v)
		if text(n["class"]) != "STAR" {
			name, isNamed := text(n["alias"]), text(n["alias"]) != ""
			if !isNamed {
				name = p.display(s, n)
			}
			out = append(out, &item{node: n, name: name, isNamed: isNamed})
			continue
		}
		out = append(out, p.star(s, f, n)...)
	}
	return out
}

// star expands *, t.*, EXCLUDE, REPLACE and RENAME.
func (p *printer) star(s *scope, f *from, n node) []*item {
	if flag(n["columns"]) || n["expr"] != nil {
		refuse(n, "name the columns", "COLUMNS(…) is not portable to Trino")
	}
	columns := f.columns
	if name := text(n["relation_name"]); name != "" {
		i := slices.IndexFunc(s.relations, func(r *relation) bool { return strings.EqualFold(r.name, name) })
		if i < 0 {
			refuse(n, "", "there is no table %q in FROM", name)
		}
		columns = s.relations[i].columns
	}
	excluded, replaced, renamed := map[string]bool{}, map[string]node{}, map[string]string{}
	for _, v := range list(n["exclude_list"]) {
		excluded[lower(v)] = true
	}
	for _, v := range list(n["qualified_exclude_list"]) {
		excluded[lower(object(v)["column"])] = true
		if text(object(v)["table"]) != "" {
			refuse(n, "exclude the column by its name alone", "EXCLUDE of a qualified name is not portable to Trino")
		}
	}
	for _, v := range list(n["replace_list"]) {
		replaced[lower(object(v)["key"])] = object(object(v)["value"])
	}
	for _, v := range list(n["rename_list"]) {
		renamed[lower(object(object(v)["key"])["column"])] = text(object(v)["value"])
	}
	var out []*item
	used := map[string]bool{}
	for i := range columns {
		c := &columns[i]
		key := strings.ToLower(c.name)
		used[key] = true
		it := &item{node: n, column: c, name: c.name}
		if as, ok := renamed[key]; ok {
			it.name = as
		}
		if with, ok := replaced[key]; ok {
			it.node, it.column = with, nil
		}
		if !excluded[key] {
			out = append(out, it)
		}
	}
	for _, names := range [][]string{keysOf(excluded), keysOf(replaced), keysOf(renamed)} {
		for _, name := range names {
			if !used[name] {
				refuse(n, "", "there is no column %q to exclude, replace or rename", name)
			}
		}
	}
	if len(out) == 0 {
		refuse(n, "", "nothing is left of *")
	}
	return out
}

func keysOf[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
