package dialect

import (
	"strings"

	"github.com/cardlake/cardlake/queries"
)

// tableScope is a chain of the common table expressions that a place of the statement can name.
type tableScope struct {
	name   string
	source *source
	outer  *tableScope
}

func (s *tableScope) find(name string) *source {
	for ; s != nil; s = s.outer {
		if strings.EqualFold(s.name, name) {
			return s.source
		}
	}
	return nil
}

// relation is an element of FROM.
type relation struct {
	schema, name string // by which columns may be qualified
	columns      []column
}

// column is a column of an element of FROM.
type column struct {
	name string
	sql  string // qualified
	t    typ
}

func (r *relation) find(name string) *column {
	for i := range r.columns {
		if strings.EqualFold(r.columns[i].name, name) {
			return &r.columns[i]
		}
	}
	return nil
}

// scope is where names of columns are looked up.
type scope struct {
	tables    *tableScope
	relations []*relation
	merged    []column // by USING: found before the relations' own
	outer     *scope

	items  []*item         // whose aliases may be named
	groups map[string]bool // expressions of GROUP BY, as printed; nil if there are none
	// isUsed says that a subquery named a column of this scope.
	isUsed bool
}

// item is an element of a select list.
type item struct {
	node    node
	column  *column // of an expanded star
	name    string
	isNamed bool // with AS
	isBound bool // its expression is being printed: an alias that names itself names nothing
}

// lookup finds a column by its name, qualified or not: the relations' first, then the select
// list's aliases, then what is around.
func (p *printer) lookup(s *scope, n node, parts []string) *expr {
	for at := s; at != nil; at = at.outer {
		if c := p.lookupHere(at, n, parts); c != nil {
			e := &expr{sql: c.sql, t: c.t, isColumn: true}
			if at == s {
				e.loose = n
			} else {
				for inner := s; inner != at; inner = inner.outer {
					inner.outer.isUsed = true
				}
			}
			return e
		}
		if len(parts) == 1 && at == s {
			if e := p.alias(at, parts[0]); e != nil {
				return e
			}
		}
	}
	name := parts[len(parts)-1]
	switch word := strings.ToLower(name); {
	case len(parts) > 1:
	case word == "current_date":
		return &expr{sql: todayFormat, t: of(date)}
	case word == "current_timestamp":
		return &expr{sql: nowFormat, t: of(timestamptz)}
	}
	e := &queries.Error{Message: "there is no column " + quoteName(strings.Join(parts, ".")), Offset: at(n)}
	var names []string
	for at := s; at != nil; at = at.outer {
		for _, r := range at.relations {
			for _, c := range r.columns {
				names = append(names, c.name)
			}
		}
	}
	if near := queries.Nearest(name, names); near != "" {
		e.Hint = "did you mean " + near + "?"
	}
	panic(failure{e})
}

func (p *printer) lookupHere(s *scope, n node, parts []string) *column {
	name := parts[len(parts)-1]
	if len(parts) == 1 {
		for i := range s.merged {
			if strings.EqualFold(s.merged[i].name, name) {
				return &s.merged[i]
			}
		}
	}
	var found *column
	for _, r := range s.relations {
		switch {
		case len(parts) > 1 && !strings.EqualFold(parts[len(parts)-2], r.name),
			len(parts) > 2 && !strings.EqualFold(parts[len(parts)-3], r.schema),
			len(parts) > 3:
			continue
		}
		if c := r.find(name); c != nil {
			if found != nil {
				refuse(n, "name its table before it", "the column %q is of several tables", name)
			}
			found = c
		}
	}
	return found
}

// alias prints the expression of a select list's alias once more.
func (p *printer) alias(s *scope, name string) *expr {
	for _, it := range s.items {
		if it.isNamed && strings.EqualFold(it.name, name) && !it.isBound {
			return p.item(s, it)
		}
	}
	return nil
}

// item prints an element of the select list.
func (p *printer) item(s *scope, it *item) *expr {
	if it.column != nil {
		return s.grouped(&expr{sql: it.column.sql, t: it.column.t, isColumn: true, loose: it.node})
	}
	it.isBound = true
	defer func() { it.isBound = false }()
	return p.expr(s, it.node)
}

// grouped marks an expression that GROUP BY names: it may stand outside aggregates.
func (s *scope) grouped(e *expr) *expr {
	if s.groups[e.sql] {
		e.loose = nil
	}
	return e
}
