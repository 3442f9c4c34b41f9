package queries

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cardlake/cardlake"
)

// found is what a statement that passed the check reads.
type found struct {
	tables []*cardlake.Table // by name
	views  []*View           // by name
	// columns are the names that it uses, in lower case; some may be of no column. all says
	// that it may use every column of its tables.
	columns    map[string]bool
	all        bool
	isVolatile bool // see Statement
	root       any  // the statement's tree
}

// check walks a parse tree and returns what it reads. Whatever the grammar does not list is
// refused: a node, a field of a node, a table, a function, a type. A refusal names none but
// the tables and views that near returns.
func check(tree []byte, tables []*cardlake.Table, views []*View, near func() []string) (*found, error) {
	var parsed struct {
		Error    bool   `json:"error"`
		Type     string `json:"error_type"`
		Message  string `json:"error_message"`
		Position string `json:"position"`

		Statements []any `json:"statements"`
	}
	dec := json.NewDecoder(bytes.NewReader(tree))
	dec.UseNumber()
	if err := dec.Decode(&parsed); err != nil {
		return nil, fmt.Errorf("read parse tree: %w", err)
	}
	switch {
	case parsed.Error && parsed.Type == "parser":
		return nil, &Error{Message: parsed.Message, Offset: parsePosition(parsed.Position)}
	case parsed.Error:
		return nil, &Error{Message: "only a SELECT statement is allowed", Hint: "nothing can be changed, set, loaded or copied through a query", Offset: -1}
	case len(parsed.Statements) != 1:
		return nil, &Error{Message: fmt.Sprintf("exactly one statement is allowed, not %d", len(parsed.Statements)), Offset: -1}
	}
	w := &walker{tables: tables, views: views, near: near, read: map[*cardlake.Table]bool{}, seen: map[*View]bool{}, columns: map[string]bool{}, values: map[string]bool{}, rows: map[string]bool{}}
	if err := statement(w, nil, parsed.Statements[0]); err != nil {
		return nil, err
	}
	for name := range w.rows {
		w.all = w.all || w.values[name] // a table's name as a value is all of its row
	}
	return &found{
		columns: w.columns, all: w.all, isVolatile: w.isVolatile, root: parsed.Statements[0],
		tables: slices.SortedFunc(maps.Keys(w.read), func(a, b *cardlake.Table) int { return strings.Compare(a.FullName(), b.FullName()) }),
		views:  slices.SortedFunc(maps.Keys(w.seen), func(a, b *View) int { return strings.Compare(a.FullName(), b.FullName()) }),
	}, nil
}

func parsePosition(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// walker carries what one check needs and finds.
type walker struct {
	tables []*cardlake.Table
	views  []*View
	near   func() []string // those that a refusal may name
	read   map[*cardlake.Table]bool
	seen   map[*View]bool

	columns map[string]bool // names of columns
	values  map[string]bool // those that stand for a value, which a qualifier does not
	rows    map[string]bool // names and aliases of tables
	all     bool

	isVolatile bool

	expressions, stars, refs int
	length, growth           int // see sizes.go
}

// name notes what a name in the statement may be a column's.
func (w *walker) name(v any) {
	switch v := v.(type) {
	case string:
		w.columns[strings.ToLower(v)] = true
	case []any:
		for _, e := range v {
			w.name(e)
		}
	}
}

// scope is a chain of the common table expressions that a place in the statement can name.
// It must never be wider than the engine's: a name that the engine does not find in its
// scope is looked up elsewhere, and elsewhere are files.
type scope struct {
	name  string
	outer *scope
}

func (s *scope) with(name string) *scope { return &scope{strings.ToLower(name), s} }

func (s *scope) holds(name string) bool {
	for name = strings.ToLower(name); s != nil; s = s.outer {
		if s.name == name {
			return true
		}
	}
	return false
}

// node is one object of the parse tree.
type node = map[string]any

func text(v any) string {
	s, _ := v.(string)
	return s
}

// at returns the place of the node in the statement, -1 if the parser kept none.
func at(n node) int {
	number, ok := n["query_location"].(json.Number)
	if !ok {
		return -1
	}
	i, err := strconv.ParseInt(number.String(), 10, 32)
	if err != nil {
		return -1
	}
	return int(i)
}

func refuse(n node, format string, args ...any) *Error {
	return &Error{Message: fmt.Sprintf(format, args...), Offset: at(n)}
}

// rule checks one value of the tree.
type rule func(w *walker, s *scope, v any) error

// shape lists the fields that a kind of node may have, each with its rule.
type shape map[string]rule

// fields applies a shape to a node: every field it has must be listed.
func fields(w *walker, s *scope, n node, what string, sh shape) error {
	for _, key := range slices.Sorted(maps.Keys(n)) {
		r, ok := sh[key]
		if !ok {
			return refuse(n, "%s with %q is not allowed", what, key)
		}
		if err := r(w, s, n[key]); err != nil {
			return err
		}
	}
	return nil
}

// object is the rule of a plain object of the shape.
func object(what string, sh shape) rule {
	return func(w *walker, s *scope, v any) error {
		if v == nil {
			return nil
		}
		n, ok := v.(node)
		if !ok {
			return &Error{Message: what + " is not understood", Offset: -1}
		}
		return fields(w, s, n, what, sh)
	}
}

// list is the rule of a list whose elements follow r.
func list(r rule) rule {
	return func(w *walker, s *scope, v any) error {
		if v == nil {
			return nil
		}
		l, ok := v.([]any)
		if !ok {
			return &Error{Message: "a list of the statement is not understood", Offset: -1}
		}
		for _, e := range l {
			if err := r(w, s, e); err != nil {
				return err
			}
		}
		return nil
	}
}

// data accepts a number, string, truth value, null, or lists of them: what holds no node.
func data(w *walker, s *scope, v any) error {
	switch v := v.(type) {
	case nil, bool, json.Number, string:
		return nil
	case []any:
		return list(data)(w, s, v)
	}
	return &Error{Message: "a part of the statement is not understood", Offset: -1}
}

// empty accepts only what is absent.
func empty(what string) rule {
	return func(_ *walker, _ *scope, v any) error {
		switch v := v.(type) {
		case nil:
			return nil
		case string:
			if v == "" {
				return nil
			}
		case []any:
			if len(v) == 0 {
				return nil
			}
		}
		return &Error{Message: what + " is not allowed", Offset: -1}
	}
}

// query is the rule of a query node. Its common table expressions come first: each sees
// those before it, and the rest of the node sees all of them.
func query(w *walker, s *scope, v any) error {
	if v == nil {
		return nil
	}
	n, ok := v.(node)
	if !ok {
		return &Error{Message: "a query is not understood", Offset: -1}
	}
	kind := text(n["type"])
	sh, ok := queryNodes[kind]
	if !ok {
		return refuse(n, "a query of kind %s is not allowed", kind)
	}
	m, ok := n["cte_map"].(node)
	if !ok || len(m) != 1 {
		return refuse(n, "WITH is not understood")
	}
	entries, ok := m["map"].([]any)
	if !ok {
		return refuse(n, "WITH is not understood")
	}
	for _, e := range entries {
		entry, ok := e.(node)
		if !ok {
			return refuse(n, "WITH is not understood")
		}
		if err := fields(w, s, entry, "WITH", commonTable); err != nil {
			return err
		}
		s = s.with(text(entry["key"]))
	}
	rest := maps.Clone(n)
	delete(rest, "cte_map")
	if kind == "RECURSIVE_CTE_NODE" {
		// Only the recursive side sees the expression's own name.
		if err := query(w, s.with(text(n["cte_name"])), n["right"]); err != nil {
			return err
		}
		delete(rest, "right")
	}
	return fields(w, s, rest, "a query", sh)
}

// statement is the rule of a whole SELECT statement, the outermost or a subquery.
func statement(w *walker, s *scope, v any) error {
	return object("a statement", shape{"node": query, "named_param_map": empty("a parameter ($1, ?, $name)")})(w, s, v)
}

// tableRef is the rule of an element of FROM.
func tableRef(w *walker, s *scope, v any) error {
	if v == nil {
		return nil
	}
	n, ok := v.(node)
	if !ok {
		return &Error{Message: "an element of FROM is not understood", Offset: -1}
	}
	kind := text(n["type"])
	sh, ok := tableRefs[kind]
	switch {
	case kind == "SHOW_REF":
		return &Error{Message: "SHOW, DESCRIBE and SUMMARIZE are not allowed", Hint: "see cardlake tables and cardlake describe TABLE", Offset: at(n)}
	case !ok:
		return refuse(n, "%s in FROM is not allowed", kind)
	}
	w.rows[strings.ToLower(text(n["alias"]))] = true
	switch kind {
	case "BASE_TABLE":
		if err := w.table(s, n); err != nil {
			return err
		}
		w.rows[strings.ToLower(text(n["table_name"]))] = true
	case "JOIN":
		w.name(n["using_columns"])
		w.all = w.all || text(n["ref_type"]) == "NATURAL"
	case "PIVOT":
		w.all = true
	}
	if renamed, _ := n["column_name_alias"].([]any); len(renamed) > 0 {
		w.all = true
	}
	return fields(w, s, n, "an element of FROM", sh)
}

// table resolves a name in FROM: a common table expression in scope, or a table of the lake
// by its full name.
func (w *walker) table(s *scope, n node) error {
	catalog, schema, name := text(n["catalog_name"]), text(n["schema_name"]), text(n["table_name"])
	if catalog == "" && schema == "" && s.holds(name) {
		return nil
	}
	full := name
	if schema != "" {
		full = schema + "." + full
	}
	if catalog == "" {
		for _, t := range w.tables {
			if strings.EqualFold(schema, t.Namespace) && strings.EqualFold(name, t.Name) {
				w.read[t] = true
				return nil
			}
		}
		for _, v := range w.views {
			if strings.EqualFold(schema, v.Namespace) && strings.EqualFold(name, v.Name) {
				w.seen[v] = true
				return nil
			}
		}
	} else {
		full = catalog + "." + full
	}
	return noTable(full, w.near(), at(n))
}

// noTable says that there is no table of the name, and which of those there are may be meant.
func noTable(name string, names []string, offset int) *Error {
	e := &Error{Message: fmt.Sprintf("there is no table %q", name), Offset: offset}
	if near := NearestTable(name, names); near != "" {
		e.Hint = "did you mean " + near + "?"
	} else if len(names) > 0 {
		e.Hint = "tables: " + strings.Join(names, ", ")
	}
	return e
}

// expression is the rule of an expression.
func expression(w *walker, s *scope, v any) error {
	if v == nil {
		return nil
	}
	n, ok := v.(node)
	if !ok {
		return &Error{Message: "an expression is not understood", Offset: -1}
	}
	class, kind := text(n["class"]), text(n["type"])
	sh, ok := expressions[class]
	if err := w.count(n, class); err != nil {
		return err
	}
	switch {
	case class == "PARAMETER":
		return refuse(n, "a parameter ($1, ?, $name) is not allowed")
	case !ok:
		return refuse(n, "an expression of class %s is not allowed", class)
	case class == "OPERATOR" && !operators[kind]:
		return refuse(n, "the operator %s is not allowed", kind)
	case class == "FUNCTION" || class == "WINDOW":
		if err := scalar(w, n); err != nil {
			return err
		}
	case class == "LAMBDA":
		return w.lambda(s, n, sh)
	case class == "STAR" || class == "POSITIONAL_REFERENCE":
		w.all = true
	case class == "COLUMN_REF":
		w.name(n["column_names"])
		parts, _ := n["column_names"].([]any)
		if len(parts) > 0 {
			w.values[strings.ToLower(text(parts[len(parts)-1]))] = true
		}
		if len(parts) == 1 && sessionNames[strings.ToLower(text(parts[0]))] {
			return refuse(n, "%s is not allowed", text(parts[0]))
		}
		w.isVolatile = w.isVolatile || len(parts) == 1 && volatile[strings.ToLower(text(parts[0]))]
	}
	return fields(w, s, n, "an expression of class "+class, sh)
}

// scalar checks the name of a function outside FROM.
func scalar(w *walker, n node) error {
	name := strings.ToLower(text(n["function_name"]))
	if schema := text(n["schema"]); text(n["catalog"]) != "" || schema != "" && schema != "main" {
		return refuse(n, "function %s must be named without a schema", name)
	}
	if i, ok := sized[name]; ok {
		return w.lengthArgument(n, name, i)
	}
	if i, ok := replacing[name]; ok {
		return w.replacement(n, name, i)
	}
	if _, ok := patterns[name]; ok {
		return patternArgument(n, name)
	}
	if functions[name] {
		w.isVolatile = w.isVolatile || volatile[name]
		return nil
	}
	e := refuse(n, "function %s does not exist or is not allowed", name)
	if tableFunctions[name] {
		e.Hint = "it is allowed in FROM only"
	} else if near := Nearest(name, slices.Sorted(maps.Keys(functions))); near != "" {
		e.Hint = "did you mean " + near + "?"
	}
	return e
}

// tableFunction is the rule of a function in FROM.
func tableFunction(w *walker, s *scope, v any) error {
	n, ok := v.(node)
	if !ok || text(n["class"]) != "FUNCTION" {
		return &Error{Message: "a function in FROM is not understood", Offset: -1}
	}
	name := strings.ToLower(text(n["function_name"]))
	if !tableFunctions[name] || text(n["schema"]) != "" && text(n["schema"]) != "main" || text(n["catalog"]) != "" {
		e := refuse(n, "table function %s is not allowed", name)
		e.Hint = "allowed: " + strings.Join(slices.Sorted(maps.Keys(tableFunctions)), ", ")
		return e
	}
	return fields(w, s, n, "a function in FROM", expressions["FUNCTION"])
}

// dataType is the rule of a type: those with a name of their own must be listed.
func dataType(w *walker, s *scope, v any) error {
	if v == nil {
		return nil
	}
	n, ok := v.(node)
	if !ok {
		return &Error{Message: "a type is not understood", Offset: -1}
	}
	if id := text(n["id"]); !types[id] {
		name := id
		if info, _ := n["type_info"].(node); id == "UNBOUND" {
			name = text(info["name"])
		}
		return &Error{Message: fmt.Sprintf("type %s does not exist or is not allowed", name), Offset: -1}
	}
	return fields(w, s, n, "a type", typeShape)
}

// constant is the rule of a literal's value: any tree without nodes in it.
func constant(w *walker, s *scope, v any) error {
	switch v := v.(type) {
	case node:
		for _, key := range []string{"class", "node", "function_name", "table_name"} {
			if _, ok := v[key]; ok {
				return &Error{Message: "a literal is not understood", Offset: -1}
			}
		}
		for _, e := range v {
			if err := constant(w, s, e); err != nil {
				return err
			}
		}
		return nil
	case []any:
		return list(constant)(w, s, v)
	}
	return data(w, s, v)
}
