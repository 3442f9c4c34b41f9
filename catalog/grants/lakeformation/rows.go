package lakeformation

import (
	"regexp"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
)

// maxExpression is the longest row filter expression: "total length of the expression must be
// less than 2048 characters" (Lake Formation developer guide, "PartiQL support in row filter
// expressions").
const maxExpression = 2047

// rows are rows that one filter gives.
type rows struct {
	// tenants are those whose rows are given; with others they are those whose rows are not.
	tenants []cardlake.Tenant
	others  bool
	// foreign is an expression that this package does not write.
	foreign string
}

// expression spells rows in the documented grammar: simple expressions of a column, an operator
// and constants, IN among the operators, joined by AND in parentheses. An exclusion is written
// with <>, for the guide does not say where NOT may stand. Names of tenants have no character
// that would end a constant. Empty stands for all rows.
func (r rows) expression() string {
	switch {
	case r.foreign != "":
		return r.foreign
	case !r.others:
		return "tenant IN (" + strings.Join(quoted(r.tenants, "'", "'"), ", ") + ")"
	case len(r.tenants) == 1:
		return "tenant <> '" + string(r.tenants[0]) + "'"
	}
	return strings.Join(quoted(r.tenants, "(tenant <> '", "')"), " AND ")
}

func quoted(tenants []cardlake.Tenant, before, after string) []string {
	out := make([]string, len(tenants))
	for i, t := range tenants {
		out[i] = before + string(t) + after
	}
	return out
}

var (
	included = regexp.MustCompile(`^tenant IN \(('[a-z0-9-]+'(?:, '[a-z0-9-]+')*)\)$`)
	excluded = regexp.MustCompile(`^\(?tenant <> '[a-z0-9-]+'\)?(?: AND \(tenant <> '[a-z0-9-]+'\))*$`)
	constant = regexp.MustCompile(`'([a-z0-9-]+)'`)
)

// parseRows reads what expression writes; anything else is foreign.
func parseRows(text string) rows {
	r := rows{others: excluded.MatchString(text)}
	for _, match := range constant.FindAllStringSubmatch(text, -1) {
		r.tenants = append(r.tenants, cardlake.Tenant(match[1]))
	}
	if !r.others && !included.MatchString(text) || r.expression() != text {
		return rows{foreign: text}
	}
	return r
}

// within reports whether b certainly gives every row that r gives.
func (r rows) within(b rows) bool {
	all := func(of, in []cardlake.Tenant) bool {
		return !slices.ContainsFunc(of, func(t cardlake.Tenant) bool { return !slices.Contains(in, t) })
	}
	switch {
	case b.foreign == "" && b.others && len(b.tenants) == 0:
		return true
	case r.foreign != "" || b.foreign != "":
		return r.foreign == b.foreign
	case r.others && b.others:
		return all(b.tenants, r.tenants)
	case r.others:
		return false
	case b.others:
		return !slices.ContainsFunc(r.tenants, func(t cardlake.Tenant) bool { return slices.Contains(b.tenants, t) })
	}
	return all(r.tenants, b.tenants)
}

// split returns the rows of a group as filters whose expressions are short enough. An exclusion
// that is too long becomes the list of the tenants that are known to be in it: the rows of
// tenants to come are left out until the next apply, which isListed reports.
func (g group) split(known []cardlake.Tenant) (out []rows, isListed bool) {
	whole := rows{tenants: g.tenants, others: g.others}
	if g.others && len(g.tenants) == 0 || len(whole.expression()) <= maxExpression {
		return []rows{whole}, false
	}
	list := g.tenants
	if g.others {
		isListed = true
		list = slices.DeleteFunc(slices.Clone(known), func(t cardlake.Tenant) bool { return slices.Contains(g.tenants, t) })
	}
	var part rows
	for _, tenant := range list {
		longer := rows{tenants: append(slices.Clone(part.tenants), tenant)}
		if len(longer.expression()) > maxExpression {
			out = append(out, part)
			longer = rows{tenants: []cardlake.Tenant{tenant}}
		}
		part = longer
	}
	if len(part.tenants) > 0 {
		out = append(out, part)
	}
	return out, isListed
}
