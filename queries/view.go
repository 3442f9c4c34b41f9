package queries

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// View is a documented statement that callers name like a table. It belongs to nobody: its
// tables are read as the caller's own decisions give them. A column that a decision drops is
// NULL inside a view.
type View struct {
	Namespace, Name string
	Doc             string
	Columns         []ViewColumn // as the statement gives them
	// SQL is one SELECT in the portable dialect over tables and views that come before it in
	// Config.Views, by their full names.
	SQL string
}

// ViewColumn is one column of a view.
type ViewColumn struct {
	Name string
	Type arrow.DataType
	Tag  cardlake.Tag // the most sensitive of what it is made of
	Doc  string
}

// FullName is "namespace.name".
func (v *View) FullName() string { return v.Namespace + "." + v.Name }

// ViewUse is a view that a statement reads, and its parse tree, as Statement.Tree is one.
type ViewUse struct {
	*View
	Tree []byte
}

// viewTree is a view, checked.
type viewTree struct {
	ViewUse
	*found
}

// views are those of a gateway, each parsed when it is first named.
type views struct {
	all []*View

	mu      sync.Mutex
	checked map[*View]*viewTree
}

// open parses and checks a view and those under it, and adds them to uses in an order in which
// each comes after those that it names.
func (g *Gateway) open(ctx context.Context, v *View, uses []*viewTree) ([]*viewTree, error) {
	if slices.ContainsFunc(uses, func(u *viewTree) bool { return u.View == v }) {
		return uses, nil
	}
	t, err := g.viewTree(ctx, v)
	if err != nil {
		// A fault of the view is not of the statement that names it.
		var fault *Error
		if errors.As(err, &fault) {
			return nil, fmt.Errorf("view %s: %s", v.FullName(), fault.Message)
		}
		return nil, fmt.Errorf("view %s: %w", v.FullName(), err)
	}
	for _, under := range t.views {
		if uses, err = g.open(ctx, under, uses); err != nil {
			return nil, err
		}
	}
	return append(uses, t), nil
}

func (g *Gateway) viewTree(ctx context.Context, v *View) (*viewTree, error) {
	g.views.mu.Lock()
	defer g.views.mu.Unlock()
	if t := g.views.checked[v]; t != nil {
		return t, nil
	}
	tree, err := g.parser.Parse(ctx, v.SQL)
	if err != nil {
		return nil, err
	}
	before := g.views.all[:slices.Index(g.views.all, v)] // so that no view is under itself
	f, err := check(tree, g.cfg.Tables, before, func() []string { return nil })
	if err != nil {
		return nil, err
	}
	t := &viewTree{ViewUse{v, tree}, f}
	g.views.checked[v] = t
	return t, nil
}

// expand completes a statement that passed the check: the views that it names and those under
// them, the tables of all of them, and which columns of each table can be used.
func (g *Gateway) expand(ctx context.Context, s *Statement, f *found) error {
	var uses []*viewTree
	for _, v := range f.views {
		var err error
		if uses, err = g.open(ctx, v, uses); err != nil {
			return err
		}
	}
	s.Reads = nil
	add := func(f *found, isUnder bool) {
		s.IsVolatile = s.IsVolatile || f.isVolatile
		for _, t := range f.tables {
			i := slices.IndexFunc(s.Reads, func(r Read) bool { return r.Table == t })
			if i < 0 {
				i = len(s.Reads)
				s.Reads = append(s.Reads, Read{Table: t, Uses: make([]bool, len(t.Columns)), IsUnder: isUnder})
			}
			for c, column := range t.Columns {
				s.Reads[i].Uses[c] = s.Reads[i].Uses[c] || f.all || f.columns[column.Name]
			}
		}
	}
	add(f, false)
	for _, u := range uses {
		add(u.found, true)
		s.Views = append(s.Views, u.ViewUse)
	}
	slices.SortFunc(s.Reads, func(a, b Read) int { return cmp.Compare(a.Table.FullName(), b.Table.FullName()) })
	for i, found := range filters(f.root, uses, s.Reads) {
		s.Reads[i].Filters = found
	}
	return nil
}

// Views returns the views whose tables the caller may all read something of, in the order of
// Config.Views.
func (g *Gateway) Views(ctx context.Context, c grants.Caller) ([]*View, error) {
	var out []*View
	for _, v := range g.views.all {
		ok, err := g.mayRead(ctx, c, v)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, v)
		}
	}
	return out, nil
}

func (g *Gateway) mayRead(ctx context.Context, c grants.Caller, v *View) (bool, error) {
	uses, err := g.open(ctx, v, nil)
	if err != nil {
		return false, err
	}
	for _, u := range uses {
		for _, t := range u.tables {
			if !g.decide(c, grants.Query, t).Allowed() {
				return false, nil
			}
		}
	}
	return true, nil
}

// DescribeView returns the named view. A name that is no view's is an [*Error], and a view of
// whose tables the caller may not read something is ErrNotPermitted.
func (g *Gateway) DescribeView(ctx context.Context, c grants.Caller, name string) (*View, error) {
	i := slices.IndexFunc(g.views.all, func(v *View) bool { return strings.EqualFold(v.FullName(), name) })
	if i < 0 {
		return nil, noTable(name, g.names(ctx, c), -1)
	}
	ok, err := g.mayRead(ctx, c, g.views.all[i])
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, ErrNotPermitted
	}
	return g.views.all[i], nil
}

// names are the full names of the tables and views that the caller may read.
func (g *Gateway) names(ctx context.Context, c grants.Caller) []string {
	var names []string
	for _, t := range g.permitted(c) {
		names = append(names, t.FullName())
	}
	seen, err := g.Views(ctx, c)
	if err != nil {
		return names // a hint is not worth failing for
	}
	for _, v := range seen {
		names = append(names, v.FullName())
	}
	return names
}
