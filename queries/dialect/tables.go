package dialect

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// source is what can be named in FROM: a table, a view, or a common table expression.
type source struct {
	sql     string // what FROM says
	columns []field
}

// field is a column of a source or a query.
type field struct {
	name string // as a statement names it
	id   string // as it is printed, without its relation
	t    typ
}

// tenantColumn says whose a row is, in the tables that have it.
const tenantColumn = "tenant"

// decided prints the table as a common table expression of what the decision permits. Inside
// views, a column that no scope gives is NULL; elsewhere it is not there.
func (p *printer) decided(r queries.Read, at Relation) *source {
	access := r.Decision.Access()
	s := &source{sql: p.name("t")}
	for i, c := range r.Table.Columns {
		if p.inView || i < len(access) && access[i] != grants.Dropped {
			s.columns = append(s.columns, field{name: c.Name, id: quoteName(c.Name), t: columnType(c.Type)})
		}
	}
	if len(access) == 0 || len(s.columns) == 0 {
		panic(failure{fmt.Errorf("read %s: nothing of it is permitted", r.Table.FullName())})
	}
	var branches []string
	for i, scope := range r.Decision.Scopes {
		if !at.Absent {
			branches = append(branches, "SELECT "+tableColumns(r.Table, s, access, scope.Columns, p.inView)+" FROM "+at.sql()+at.version()+where(r, i))
		}
	}
	if len(branches) == 0 {
		none := make([]grants.Access, len(r.Table.Columns))
		branches = []string{"SELECT " + tableColumns(r.Table, s, access, none, p.inView) + " WHERE FALSE"}
	}
	p.tables = append(p.tables, s.sql+" AS ("+strings.Join(branches, " UNION ALL ")+")")
	return s
}

func (r Relation) version() string {
	if r.Snapshot == 0 {
		return ""
	}
	return fmt.Sprintf(" FOR VERSION AS OF %d", r.Snapshot)
}

// tableColumns are those that any scope gives, as this one does.
func tableColumns(t *cardlake.Table, s *source, any, scope []grants.Access, inView bool) string {
	var out []string
	for i, c := range t.Columns {
		if !inView && any[i] == grants.Dropped {
			continue
		}
		sql := queries.ColumnSQL(c, scope[i])
		if t := columnType(c.Type); scope[i] != grants.Clear && t.isTime() {
			// TypeSQL's names of times stand for other precisions in Trino.
			sql = "CAST(" + sql + " AS " + columnType(c.Type).sql() + ")"
		}
		out = append(out, sql+" AS "+quoteName(c.Name))
	}
	return strings.Join(out, ", ")
}

// where asks for the scope's tenants by name.
func where(r queries.Read, scope int) string {
	if !r.Table.ByTenant {
		return ""
	}
	s := r.Decision.Scopes[scope]
	if !s.Others {
		return " WHERE " + quoteName(tenantColumn) + " IN (" + tenants(s.Tenants) + ")"
	}
	not := slices.Clone(r.Decision.Except)
	for i, other := range r.Decision.Scopes {
		if i != scope {
			not = append(not, other.Tenants...)
		}
	}
	if len(not) == 0 {
		return ""
	}
	return " WHERE " + quoteName(tenantColumn) + " NOT IN (" + tenants(not) + ")"
}

func tenants(names []cardlake.Tenant) string {
	out := make([]string, len(names))
	for i, t := range names {
		if err := t.Validate(); err != nil {
			panic(failure{fmt.Errorf("a tenant of a decision: %w", err)})
		}
		out[i] = quote(string(t))
	}
	return strings.Join(out, ", ")
}

// plain is the table itself.
func plain(t *cardlake.Table, at Relation) *source {
	s := &source{sql: at.sql() + at.version()}
	for _, c := range t.Columns {
		s.columns = append(s.columns, field{name: c.Name, id: quoteName(c.Name), t: columnType(c.Type)})
	}
	return s
}

// named returns the table or view of the name, nil if there is none.
func (p *printer) named(schema, name string) *source {
	for _, t := range p.known {
		if strings.EqualFold(t.Namespace, schema) && strings.EqualFold(t.Name, name) {
			key := t.FullName()
			if p.inView {
				key += " in a view"
			}
			return p.once(key, func() *source { return p.table(t) })
		}
	}
	for _, v := range p.views {
		if strings.EqualFold(v.Namespace, schema) && strings.EqualFold(v.Name, name) {
			return p.once(v.FullName(), func() *source { return p.view(v) })
		}
	}
	return nil
}

func (p *printer) once(key string, print func() *source) *source {
	s, ok := p.sources[key]
	if !ok {
		s = print()
		p.sources[key] = s
	}
	return s
}

// view prints the view as a common table expression, after those of the tables and views that it
// reads.
func (p *printer) view(v queries.ViewUse) *source {
	defer func(before bool) { p.inView = before }(p.inView)
	defer func() {
		r := recover()
		if f, ok := r.(failure); ok {
			// Places in the view's statement are none in the caller's.
			panic(failure{fmt.Errorf("view %s: %s", v.FullName(), f.Error())})
		}
		if r != nil {
			panic(r)
		}
	}()
	p.inView = true
	q := p.statement(v.Tree, false)
	if err := sameColumns(v, q); err != nil {
		panic(failure{err})
	}
	if p.place != nil {
		s := &source{sql: p.place(v.View).sql()}
		for _, c := range q.columns {
			s.columns = append(s.columns, field{name: c.name, id: quoteName(c.name), t: c.t})
		}
		return s
	}
	s := &source{sql: p.name("v"), columns: q.columns}
	p.tables = append(p.tables, s.sql+" AS ("+q.sql()+")")
	return s
}
