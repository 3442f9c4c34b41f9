// Package archtest holds the rules of who may import whom. The import graph is the PCI scope
// diagram: code that cannot be linked to package card cannot see a card number.
//
// The rules are data ([Rules]) and are checked over a graph ([Check]) that go list reads from
// the module ([Load]). Imports of test files do not count: they are in no binary.
package archtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Graph is the module's packages, by path below the module ("." is its root), with the
// paths they import. Paths outside the module are import paths, as Go writes them.
type Graph struct {
	Imports map[string][]string
	// Standard are the imported packages of the standard library.
	Standard map[string]bool
}

// Zone says whether code may see a clear card number.
type Zone string

const (
	// CardData is zone A, the cardholder data environment.
	CardData Zone = "zone A"
	// Lake is zone B, and everything that both zones share.
	Lake Zone = "zone B"
	// OneMachine is for trying out: both zones in one process.
	OneMachine Zone = "one machine"
)

// Rule places packages. A pattern is a package's path below the module, or a path and
// "/..." for it and all below it. The most specific pattern that fits a package is its rule.
type Rule struct {
	Packages string
	Zone     Zone
	// May are patterns of the module's packages that may be imported, besides those of the
	// rule's own pattern.
	May []string
	// Outside, if not nil, are the prefixes of import paths outside the module and the
	// standard library that may be imported.
	Outside []string
	Why     string
}

// Violation is one broken rule.
type Violation struct {
	Package string
	// Chain are the imports that break the rule, from Package to what it must not reach.
	Chain []string
	Rule  string
}

// String is "queries: zone B links zone A: queries -> card".
func (v Violation) String() string {
	s := v.Package + ": " + v.Rule
	if len(v.Chain) > 0 {
		s += ": " + strings.Join(v.Chain, " -> ")
	}
	return s
}

func matches(pattern, pkg string) bool {
	tree, below := strings.CutSuffix(pattern, "/...")
	return pkg == tree || below && strings.HasPrefix(pkg, tree+"/")
}

// ruleOf returns the most specific rule for the package, nil if there is none.
func ruleOf(rules []Rule, pkg string) *Rule {
	var best *Rule
	for i := range rules {
		r := &rules[i]
		if matches(r.Packages, pkg) && (best == nil || len(strings.TrimSuffix(r.Packages, "/...")) > len(strings.TrimSuffix(best.Packages, "/..."))) {
			best = r
		}
	}
	return best
}

// Check returns every broken rule, in order of packages: a package without a rule, an import
// that its rule does not allow, an import of a binary, a package of zone B that reaches one
// of zone A over however many imports.
func Check(g Graph, rules []Rule) []Violation {
	var out []Violation
	for _, pkg := range slices.Sorted(maps.Keys(g.Imports)) {
		rule := ruleOf(rules, pkg)
		if rule == nil {
			out = append(out, Violation{pkg, nil, "no rule places it: add it to the table with its zone"})
			continue
		}
		for _, to := range g.Imports[pkg] {
			if broken := checkImport(g, rule, to); broken != "" {
				out = append(out, Violation{pkg, []string{pkg, to}, broken})
			}
		}
		if rule.Zone != Lake {
			continue
		}
		for _, chain := range chainsToCardData(g, rules, pkg) {
			out = append(out, Violation{pkg, chain, "zone B links zone A"})
		}
	}
	return out
}

func checkImport(g Graph, rule *Rule, to string) string {
	_, inside := g.Imports[to]
	if !inside {
		if rule.Outside == nil || g.Standard[to] || slices.ContainsFunc(rule.Outside, func(p string) bool { return strings.HasPrefix(to, p) }) {
			return ""
		}
		return fmt.Sprintf("may import the standard library and %s only", cmp.Or(strings.Join(rule.Outside, ", "), "the module"))
	}
	if matches("cmd/...", to) {
		return "nobody imports a binary"
	}
	if matches(rule.Packages, to) || slices.ContainsFunc(rule.May, func(p string) bool { return matches(p, to) }) {
		return ""
	}
	return "not an arrow of the table"
}

// chainsToCardData returns a shortest chain of imports to each package of zone A that from
// reaches without passing through another one of zone A.
func chainsToCardData(g Graph, rules []Rule, from string) [][]string {
	var out [][]string
	cameFrom := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, to := range g.Imports[queue[0]] {
			if _, inside := g.Imports[to]; !inside {
				continue
			}
			if _, seen := cameFrom[to]; seen {
				continue
			}
			cameFrom[to] = queue[0]
			if rule := ruleOf(rules, to); rule == nil || rule.Zone == Lake {
				queue = append(queue, to)
				continue
			}
			var chain []string
			for p := to; p != ""; p = cameFrom[p] {
				chain = append(chain, p)
			}
			slices.Reverse(chain)
			out = append(out, chain)
		}
	}
	return out
}
