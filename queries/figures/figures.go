// Package figures holds the statements behind the pages of a dashboard: each [Figure] is one
// SELECT, in the portable dialect of package queries/views and over its views, with parameters
// that are checked before they are part of it. What comes out of [Figure.For] is what a person
// would write, formatted and without placeholders, so that a page can show it and anybody can go
// on from it.
//
// What holds for all of them:
//
//   - Days are those of UTC. A range is from a day, included, to a day, excluded.
//   - Money is of one currency: a figure that has money has a currency among its columns, or asks
//     for one. Counts may be added up over currencies.
//   - Of no rows there are no rows, not zeros, and a day or an hour without events has none.
//   - A column that the caller is not given is NULL, and so is what is made of it. Only figures of
//     health, of the audit record and of forecasts read tables, where it is an error: the former
//     read what operators and auditors are given, the latter identifiers.
//   - Rows have an order without ties. Pages go by the values of that order, so that what is
//     written in between neither repeats nor hides a row.
package figures

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
)

// Figure is a question that a page asks.
type Figure struct {
	Name string // for URLs and metrics: lower-case letters and hyphens
	Page string // the page that it is for
	Doc  string // what its rows say, in a sentence or two
	// SQL has the arguments by name, in braces. A line is left out if an argument in it is
	// optional and not given.
	SQL    string
	Params []Param
	Range  Range
	Scope  Scope

	orders []order // that rows can have; the first is the default
}

// Range says whether a figure takes [Args.From] and [Args.To].
type Range string

const (
	NoRange  Range = "none"
	Ranged   Range = "required"
	MayRange Range = "optional" // to read less
)

// Scope says whose rows a figure is about.
type Scope string

const (
	OfTenant Scope = "tenant" // one tenant's, which must be named
	OfAnyone Scope = "any"    // one tenant's, or those of all that the caller may read
	OfLake   Scope = "lake"   // of tables that are no tenant's: none may be named
)

// Args are what a figure is asked of.
type Args struct {
	Tenant cardlake.Tenant
	// From and To are UTC days, at most MaxDays apart; To is excluded. Both are zero for none.
	From, To time.Time
	// Values are the parameters by name. An empty value is as good as none.
	Values map[string]string
}

// MaxDays is the longest range.
const MaxDays = 400

// ArgError says of which argument what is wrong, and never what it holds.
type ArgError struct {
	Param string // tenant, from, to, or a parameter's name; empty for one that there is not
	Rule  string // what it has to be
}

func (e *ArgError) Error() string {
	if e.Param == "" {
		return e.Rule
	}
	return e.Param + " " + e.Rule
}

// Named returns the figure of the name, and false if there is none.
func Named(name string) (Figure, bool) {
	i := slices.IndexFunc(All, func(f Figure) bool { return f.Name == name })
	if i < 0 {
		return Figure{}, false
	}
	return All[i], true
}

// All are the figures, in the order of the pages.
var All = complete(overview, transactions, declines, cards, merchants, anomalies, models, segments, predictions, recommendations, health, trail)

// complete puts in what most figures have.
func complete(pages ...[]Figure) []Figure {
	all := slices.Concat(pages...)
	for i := range all {
		all[i].Range = cmp.Or(all[i].Range, NoRange)
		all[i].Scope = cmp.Or(all[i].Scope, OfTenant)
	}
	return all
}

// For returns the statement that answers the figure. Arguments are literals of checked values,
// or texts that are quoted: nothing that a caller writes can be a part of the statement but a
// literal. An error is an [*ArgError].
func (f Figure) For(a Args) (string, error) {
	l, err := f.literals(a)
	if err != nil {
		return "", err
	}
	var out []string
	for line := range strings.Lines(f.SQL) {
		filled, given, err := l.fill(line)
		if err != nil {
			return "", err
		}
		if given {
			out = append(out, filled)
		}
	}
	return strings.Join(out, ""), nil
}

// literals are the arguments of one statement.
type literals struct {
	values map[string]string // in SQL
	known  map[string]bool   // names that there are, given or not
}

var errTemplate = errors.New("the statement names an argument that its figure does not have")

// fill puts the literals in the place of their names. given is false if one is not given.
func (l *literals) fill(line string) (filled string, given bool, err error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(line, "{")
		b.WriteString(before)
		if !ok {
			return b.String(), true, nil
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok || !l.known[name] {
			return "", false, errTemplate
		}
		value, ok := l.values[name]
		if !ok {
			return "", false, nil
		}
		b.WriteString(value)
		line = after
	}
}

// literals checks the arguments.
func (f Figure) literals(a Args) (*literals, error) {
	l := &literals{values: map[string]string{}, known: map[string]bool{}}
	set := func(name, value string) { l.known[name], l.values[name] = true, value }
	l.known["tenant"] = true
	switch {
	case f.Scope == OfLake && a.Tenant != "":
		return nil, &ArgError{"tenant", "cannot be named: the figure is about the whole lake"}
	case a.Tenant != "":
		if err := a.Tenant.Validate(); err != nil {
			return nil, &ArgError{"tenant", "must be the name of a tenant"}
		}
		set("tenant", quote(string(a.Tenant)))
	case f.Scope == OfTenant:
		return nil, &ArgError{"tenant", "is missing"}
	}
	if err := f.days(a, l, set); err != nil {
		return nil, err
	}
	for name, value := range a.Values {
		if value != "" && !slices.ContainsFunc(f.Params, func(p Param) bool { return p.Name == name }) {
			return nil, &ArgError{"", "figure " + f.Name + " has " + f.takes()}
		}
	}
	for _, p := range f.Params {
		l.known[p.Name] = true
		value := a.Values[p.Name]
		if value == "" {
			value = p.Default
		}
		if value == "" {
			if p.Required {
				return nil, &ArgError{p.Name, "is missing: it is " + p.Doc}
			}
			continue
		}
		if p.Type == Cursor || p.Name == sortParam {
			continue
		}
		literal, err := p.literal(value)
		if err != nil {
			return nil, err
		}
		set(p.Name, literal)
		if p.derive != nil {
			for name, literal := range p.derive(value, a) {
				set(name, literal)
			}
		}
	}
	return l, f.order(a, l, set)
}

// days checks the range.
func (f Figure) days(a Args, l *literals, set func(name, value string)) error {
	for _, name := range []string{"from", "to", "begin", "end", "before"} {
		l.known[name] = true
	}
	switch {
	case f.Range == NoRange:
		return nil
	case a.From.IsZero() && a.To.IsZero() && f.Range == MayRange:
		return nil
	}
	for i, t := range []time.Time{a.From, a.To} {
		if t = t.UTC(); t.Year() < 1971 || t.Year() > 9998 || !t.Truncate(oneDay).Equal(t) {
			return &ArgError{[]string{"from", "to"}[i], "must be a day, like 2026-03-01"}
		}
	}
	if !a.From.Before(a.To) || a.To.Sub(a.From) > MaxDays*oneDay {
		return &ArgError{"to", "must be 1 to 400 days after from"}
	}
	set("from", date(a.From))
	set("to", date(a.To))
	set("begin", instant(a.From))
	set("end", instant(a.To))
	set("before", date(a.From.AddDate(0, 0, -idleDays)))
	return nil
}

// takes names the parameters.
func (f Figure) takes() string {
	if len(f.Params) == 0 {
		return "no parameters"
	}
	names := make([]string, len(f.Params))
	for i, p := range f.Params {
		names[i] = p.Name
	}
	return "the parameters " + strings.Join(names, ", ")
}
