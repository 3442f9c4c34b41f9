package queries

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
)

// Filter is a condition on a column that every row meets which an occurrence of its table in a
// statement can use: the value is not NULL, is one of In if that is not nil, and lies from Min to
// Max where those are not nil. It is about the column's own values, so it tells nothing where a
// decision masks or drops the column.
//
// Values are strings for columns of text, and int64 for numbers and times, these in microseconds.
type Filter struct {
	Column   int // in Table.Columns
	In       []any
	Min, Max any
}

// filters returns for each of the statement's reads what its Filters are. It is conservative: a
// condition counts only where leaving out the rows that don't meet it can change no answer, and
// what is not understood is no condition.
func filters(root any, views []*viewTree, reads []Read) [][][]Filter {
	f := &filtering{views: views, reads: reads, found: make([][][]Filter, len(reads)), isAll: make([]bool, len(reads))}
	f.walk(root, nil)
	for i := range f.found {
		if f.isAll[i] || f.steps > maxFilterSteps {
			f.found[i] = nil
		}
	}
	return f.found
}

// maxFilterSteps bounds the work on a statement whose common table expressions multiply.
const maxFilterSteps = 20_000

// filtering finds the conditions of one statement.
type filtering struct {
	views []*viewTree
	reads []Read
	found [][][]Filter // by read, one element for each occurrence
	isAll []bool       // by read: an occurrence has no condition
	steps int
}

// condition compares a column, or the day of one, with literals.
type condition struct {
	names  []string // of the column, as the statement has them, in lower case
	isDay  bool     // CAST(… AS DATE)
	op     string   // of COMPARE_*
	values []node   // one, or those of COMPARE_IN
}

// expressionScope is a chain of the common table expressions that can be named, each with where
// it was defined. The name of a recursive one, in itself, has no query.
type expressionScope struct {
	name  string
	query any // a statement
	inner *expressionScope
	outer *expressionScope
}

func (s *expressionScope) find(name string) *expressionScope {
	for ; s != nil; s = s.outer {
		if s.name == strings.ToLower(name) {
			return s
		}
	}
	return nil
}

// walk visits all queries in a part of the tree, each with no more conditions than its own.
func (f *filtering) walk(v any, s *expressionScope) {
	if f.steps++; f.steps > maxFilterSteps {
		return
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			f.walk(e, s)
		}
	case node:
		if _, ok := v["cte_map"]; ok {
			f.query(v, s, nil)
			return
		}
		if text(v["type"]) == "BASE_TABLE" {
			f.table(v, s, nil)
			return
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			f.walk(v[key], s)
		}
	}
}

// statement visits a statement of whose rows only those are used that meet the conditions, which
// are on its columns by name.
func (f *filtering) statement(v any, s *expressionScope, on []condition) {
	if n, ok := v.(node); ok {
		if q, ok := n["node"].(node); ok {
			f.query(q, s, on)
			return
		}
	}
	f.walk(v, s)
}

// query visits a query node.
func (f *filtering) query(n node, s *expressionScope, on []condition) {
	with, _ := n["cte_map"].(node)
	entries, _ := with["map"].([]any)
	for _, e := range entries {
		entry, _ := e.(node)
		value, _ := entry["value"].(node)
		next := &expressionScope{name: strings.ToLower(text(entry["key"])), query: value["query"], inner: s, outer: s}
		if aliases, _ := value["aliases"].([]any); len(aliases) > 0 || value["query"] == nil {
			f.walk(value, s)
			next.query = nil
		}
		s = next
	}
	kind := text(n["type"])
	if kind == "SELECT_NODE" {
		f.selectNode(n, s, on)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(n)) {
		switch {
		case key == "cte_map":
		case kind == "RECURSIVE_CTE_NODE" && key == "right":
			f.walk(n[key], &expressionScope{name: strings.ToLower(text(n["cte_name"])), outer: s})
		default:
			f.walk(n[key], s)
		}
	}
}

// element is a table, view or subquery in FROM. Conditions on its rows may be applied before it
// is joined only if mayFilter.
type element struct {
	ref       node
	name      string
	mayFilter bool
}

// selectNode visits a SELECT: the conditions are its WHERE and those on its columns.
func (f *filtering) selectNode(n node, s *expressionScope, on []condition) {
	var elements []element
	own := conjuncts(n["where_clause"], nil)
	own = f.from(n["from_table"], n["sample"] == nil, &elements, own, s)
	own = append(own, throughSelect(n, on)...)
	for _, e := range elements {
		var meets []condition
		for _, c := range own {
			name := c.names[len(c.names)-1]
			isOf := len(c.names) == 1 && len(elements) == 1 || len(c.names) == 2 && c.names[0] == e.name && isOnly(elements, e.name)
			if e.mayFilter && isOf {
				c.names = []string{name}
				meets = append(meets, c)
			}
		}
		switch text(e.ref["type"]) {
		case "BASE_TABLE":
			f.table(e.ref, s, meets)
		default:
			f.statement(e.ref["subquery"], s, meets)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(n)) {
		if key != "cte_map" && key != "from_table" {
			f.walk(n[key], s)
		}
	}
}

func isOnly(elements []element, name string) bool {
	n := 0
	for _, e := range elements {
		if e.name == name {
			n++
		}
	}
	return n == 1
}

// from finds the elements of FROM and adds the conditions of inner joins.
func (f *filtering) from(v any, mayFilter bool, elements *[]element, own []condition, s *expressionScope) []condition {
	n, ok := v.(node)
	if !ok {
		return own
	}
	mayFilter = mayFilter && n["sample"] == nil
	renamed, _ := n["column_name_alias"].([]any)
	switch kind := text(n["type"]); kind {
	case "BASE_TABLE", "SUBQUERY":
		name := text(n["alias"])
		if name == "" {
			name = text(n["table_name"])
		}
		*elements = append(*elements, element{n, strings.ToLower(name), mayFilter && len(renamed) == 0})
	case "JOIN":
		left, right := false, false
		if how := text(n["ref_type"]); how == "REGULAR" || how == "CROSS" {
			switch text(n["join_type"]) {
			case "INNER":
				left, right = mayFilter, mayFilter
				if mayFilter {
					own = conjuncts(n["condition"], own)
				}
			case "LEFT":
				left = mayFilter
			case "RIGHT":
				right = mayFilter
			}
		}
		own = f.from(n["left"], left, elements, own, s)
		own = f.from(n["right"], right, elements, own, s)
		f.walk(n["condition"], s)
	default:
		*elements = append(*elements, element{ref: node{"type": "SUBQUERY", "subquery": n}})
	}
	return own
}

// table visits an occurrence of a table, view or common table expression of whose rows only
// those are used that meet the conditions.
func (f *filtering) table(n node, s *expressionScope, on []condition) {
	if f.steps++; f.steps > maxFilterSteps {
		return
	}
	schema, name := text(n["schema_name"]), text(n["table_name"])
	if schema == "" {
		if e := s.find(name); e != nil && e.query != nil {
			f.statement(e.query, e.inner, on)
		}
		return
	}
	for _, v := range f.views {
		if strings.EqualFold(schema, v.Namespace) && strings.EqualFold(name, v.Name) {
			f.statement(v.root, nil, on)
			return
		}
	}
	for i, r := range f.reads {
		if !strings.EqualFold(schema, r.Table.Namespace) || !strings.EqualFold(name, r.Table.Name) {
			continue
		}
		var meets []Filter
		for _, c := range on {
			if m, ok := c.filter(r.Table); ok {
				meets = append(meets, m)
			}
		}
		f.isAll[i] = f.isAll[i] || len(meets) == 0
		f.found[i] = append(f.found[i], meets)
	}
}

// throughSelect returns the conditions on a SELECT's columns as conditions on what it selects
// from: those that can be applied before its windows, aggregates and modifiers as well as after.
func throughSelect(n node, on []condition) []condition {
	if len(on) == 0 {
		return nil
	}
	modifiers, _ := n["modifiers"].([]any)
	for _, m := range modifiers {
		modifier, _ := m.(node)
		targets, _ := modifier["distinct_on_targets"].([]any)
		if kind := text(modifier["type"]); kind != "ORDER_MODIFIER" && (kind != "DISTINCT_MODIFIER" || len(targets) > 0) {
			return nil
		}
	}
	items, _ := n["select_list"].([]any)
	var out []condition
	for _, c := range on {
		item, through, ok := selected(items, c)
		if ok && item >= 0 && !isGroupKey(n, item, through) {
			continue
		}
		if ok && item < 0 && isGrouped(n) {
			continue
		}
		if ok && areWithin(n, through) {
			out = append(out, through)
		}
	}
	return out
}

// selected returns which item of a select list has the condition's name, -1 for a star, and the
// condition on what the item selects.
func selected(items []any, c condition) (item int, through condition, ok bool) {
	name := c.names[len(c.names)-1]
	item = -2
	for i, v := range items {
		n, _ := v.(node)
		if text(n["class"]) == "STAR" {
			if item != -2 || len(items) > 1 || !isPlainStar(n) {
				return 0, c, false
			}
			item = -1
			continue
		}
		names, isDay, isColumn := column(n)
		called := strings.ToLower(text(n["alias"]))
		if called == "" && isColumn && !isDay {
			called = names[len(names)-1]
		}
		if called != name {
			continue
		}
		if item != -2 || !isColumn {
			return 0, c, false
		}
		item, c.names, c.isDay = i, names, c.isDay || isDay
	}
	return item, c, item != -2
}

func isPlainStar(n node) bool {
	for _, key := range []string{"exclude_list", "replace_list", "qualified_exclude_list", "rename_list"} {
		if l, _ := n[key].([]any); len(l) > 0 {
			return false
		}
	}
	is, _ := n["columns"].(bool)
	return !is && n["expr"] == nil && text(n["relation_name"]) == ""
}

func isGrouped(n node) bool {
	groups, _ := n["group_expressions"].([]any)
	return len(groups) > 0 || text(n["aggregate_handling"]) != "STANDARD_HANDLING" || n["having"] != nil
}

// isGroupKey reports whether rows of different values of the item are never in one group.
func isGroupKey(n node, item int, c condition) bool {
	if !isGrouped(n) {
		return true // a column beside aggregates without GROUP BY would be an error
	}
	groups, _ := n["group_expressions"].([]any)
	if text(n["aggregate_handling"]) != "STANDARD_HANDLING" {
		return len(groups) == 0 && text(n["aggregate_handling"]) == "FORCE_AGGREGATES" // GROUP BY ALL
	}
	sets, _ := n["group_sets"].([]any)
	if len(sets) != 1 {
		return false
	}
	if set, _ := sets[0].([]any); len(set) != len(groups) {
		return false
	}
	return slices.ContainsFunc(groups, func(v any) bool {
		g, _ := v.(node)
		if value, ok := g["value"].(node); ok && text(g["class"]) == "CONSTANT" {
			number, _ := value["value"].(json.Number)
			at, err := number.Int64()
			return err == nil && at == int64(item)+1
		}
		names, isDay, ok := column(g)
		return ok && (!isDay || c.isDay) && slices.Equal(names, c.names)
	})
}

// areWithin reports whether every window of the SELECT stays among rows of one value of the
// condition's column.
func areWithin(v any, c condition) bool {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if !areWithin(e, c) {
				return false
			}
		}
	case node:
		if text(v["class"]) == "WINDOW" {
			partitions, _ := v["partitions"].([]any)
			if !slices.ContainsFunc(partitions, func(p any) bool {
				n, _ := p.(node)
				names, isDay, ok := column(n)
				return ok && (!isDay || c.isDay) && slices.Equal(names, c.names)
			}) {
				return false
			}
		}
		for key, e := range v {
			if key != "from_table" && key != "cte_map" && !areWithin(e, c) {
				return false
			}
		}
	}
	return true
}

// column returns the names of a column reference, and whether it is cast to its day.
func column(n node) (names []string, isDay, ok bool) {
	if text(n["class"]) == "CAST" {
		to, _ := n["cast_type"].(node)
		child, _ := n["child"].(node)
		names, isCast, ok := column(child)
		return names, true, ok && !isCast && text(to["id"]) == "DATE"
	}
	if text(n["class"]) != "COLUMN_REF" {
		return nil, false, false
	}
	parts, _ := n["column_names"].([]any)
	for _, p := range parts {
		names = append(names, strings.ToLower(text(p)))
	}
	return names, false, len(names) == 1 || len(names) == 2
}

// flipped is the comparison with its sides exchanged.
var flipped = map[string]string{
	"COMPARE_EQUAL": "COMPARE_EQUAL", "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN", "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
	"COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO", "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
}

// conjuncts adds the conditions of which an expression is the conjunction, among others.
func conjuncts(v any, to []condition) []condition {
	n, _ := v.(node)
	side := func(key string) node { m, _ := n[key].(node); return m }
	add := func(of node, op string, values ...node) {
		if names, isDay, ok := column(of); ok && op != "" {
			to = append(to, condition{names, isDay, op, values})
		}
	}
	children, _ := n["children"].([]any)
	switch class, kind := text(n["class"]), text(n["type"]); {
	case class == "CONJUNCTION" && kind == "CONJUNCTION_AND":
		for _, c := range children {
			to = conjuncts(c, to)
		}
	case class == "COMPARISON" && flipped[kind] != "":
		add(side("left"), kind, side("right"))
		add(side("right"), flipped[kind], side("left"))
	case class == "BETWEEN":
		add(side("input"), "COMPARE_GREATERTHANOREQUALTO", side("lower"))
		add(side("input"), "COMPARE_LESSTHANOREQUALTO", side("upper"))
	case class == "OPERATOR" && kind == "COMPARE_IN" && len(children) > 1:
		of, _ := children[0].(node)
		var values []node
		for _, c := range children[1:] {
			value, _ := c.(node)
			values = append(values, value)
		}
		add(of, kind, values...)
	}
	return to
}

// filter returns the condition on the table's column; false for one that it does not have or
// whose literals are not of its type.
func (c condition) filter(t *cardlake.Table) (Filter, bool) {
	i := slices.IndexFunc(t.Columns, func(d cardlake.Column) bool { return strings.EqualFold(d.Name, c.names[0]) })
	if i < 0 {
		return Filter{}, false
	}
	f := Filter{Column: i}
	for _, v := range c.values {
		least, greatest, ok := valuesOf(v, t.Columns[i].Type, c.isDay)
		if !ok {
			return Filter{}, false
		}
		switch c.op {
		case "COMPARE_EQUAL", "COMPARE_IN":
			if !c.isDay {
				f.In = append(f.In, least)
				continue
			}
			f.Min, f.Max = lesser(f.Min, least), greater(f.Max, greatest)
		case "COMPARE_LESSTHAN":
			if f.Max = greatest; isNumber(least) {
				f.Max = least.(int64) - 1 // of a day: what is before it begins
			}
		case "COMPARE_LESSTHANOREQUALTO":
			f.Max = greatest
		case "COMPARE_GREATERTHAN":
			if f.Min = least; isNumber(greatest) {
				f.Min = greatest.(int64) + 1
			}
		default:
			f.Min = least
		}
	}
	return f, true
}

// isNumber reports whether the value has neighbours.
func isNumber(v any) bool {
	n, ok := v.(int64)
	return ok && n != math.MinInt64 && n != math.MaxInt64
}

func lesser(a, b any) any {
	if a != nil && a.(int64) < b.(int64) {
		return a
	}
	return b
}

func greater(a, b any) any {
	if a != nil && a.(int64) > b.(int64) {
		return a
	}
	return b
}

const microsPerDay = int64(24 * time.Hour / time.Microsecond)

// valuesOf returns the values of the type that equal a literal, or of which it is the day: from
// least to greatest.
func valuesOf(n node, t cardlake.Type, isDay bool) (least, greatest any, ok bool) {
	cast := ""
	if text(n["class"]) == "CAST" {
		to, _ := n["cast_type"].(node)
		if try, _ := n["try_cast"].(bool); try {
			return nil, nil, false
		}
		cast = text(to["id"])
		n, _ = n["child"].(node)
	}
	value, _ := n["value"].(node)
	of, _ := value["type"].(node)
	if isNull, _ := value["is_null"].(bool); isNull || text(n["class"]) != "CONSTANT" {
		return nil, nil, false
	}
	word, isText := value["value"].(string)
	isText = isText && text(of["id"]) == "VARCHAR"
	switch {
	case isDay:
		at, ok := instant(word, time.DateOnly)
		ok = ok && isText && (cast == "" || cast == "DATE") && (t == cardlake.Timestamp || t == cardlake.TimestampTZ)
		return at, at + microsPerDay - 1, ok
	case t == cardlake.String:
		return word, word, isText && cast == ""
	case t == cardlake.Int32 || t == cardlake.Int64:
		number, _ := value["value"].(json.Number)
		v, err := number.Int64()
		return v, v, err == nil && cast == "" && integers[text(of["id"])]
	case t == cardlake.Timestamp || t == cardlake.TimestampTZ:
		layouts := []string{time.DateOnly, "2006-01-02 15:04:05", "2006-01-02T15:04:05"}
		switch cast {
		case "DATE":
			layouts = layouts[:1]
		case "TIMESTAMP":
		case "", "TIMESTAMP WITH TIME ZONE":
			if t == cardlake.TimestampTZ {
				layouts = append(layouts, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05 UTC")
			} else if cast != "" {
				return nil, nil, false
			}
		default:
			return nil, nil, false
		}
		at, ok := instant(word, layouts...)
		return at, at, ok && isText
	}
	return nil, nil, false
}

// integers are the types of whole literals.
var integers = set("TINYINT", "SMALLINT", "INTEGER", "BIGINT")

// instant reads a time as every engine reads it, in microseconds since the epoch.
func instant(s string, layouts ...string) (int64, bool) {
	for _, l := range layouts {
		if at, err := time.Parse(l, s); err == nil && at.Nanosecond()%1000 == 0 && at.Year() >= 1 {
			return at.UnixMicro(), true
		}
	}
	return 0, false
}
