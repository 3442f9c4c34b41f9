package grants

import (
	"slices"
	"strings"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// timeBound is an instant, in milliseconds since 1970, at which a policy may begin or cease to
// apply: a comparison with the time has another answer from it on.
type timeBound struct {
	at int64
	// attribute is valid_from or valid_until, if the instant is the principal's; at is then
	// what is added to it.
	attribute types.String
}

// vocabulary is what the texts and entities in policies may be.
type vocabulary struct {
	entities map[types.EntityUID]bool
}

// words are the values that attributes of one name have. A policy may only ask whether an
// attribute is, or is among, literals of them: a misspelt one would never apply, and nobody
// would see it.
var words = map[types.String][]string{
	"tag":     texts(tags),
	"access":  {Clear.String(), Masked.String()},
	"persona": texts(Kinds),
	"status":  texts(catalog.TenantStatuses),
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = string(x)
	}
	return out
}

// rules checks what the schema cannot say of a policy, and finds its time bounds.
func rules(p *Policy, v vocabulary, faults *Faults) {
	fault := func(format string, args ...any) { faults.add(p.File, p.Line, format, args...) }
	tree := p.ast()

	name := func(uid types.EntityUID) {
		v.check(uid, fault)
		if uid.Type == tenantType {
			p.tenants = append(p.tenants, uid)
		}
	}
	for _, uid := range scopeEntities(tree) {
		name(uid)
	}
	glass := 0
	for _, c := range tree.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			switch n := n.(type) {
			case ast.NodeValue:
				if uid, ok := n.Value.(types.EntityUID); ok {
					name(uid)
				}
			case ast.NodeTypeLessThan:
				return !p.timeBound(n.BinaryNode, 0, 1, fault)
			case ast.NodeTypeGreaterThanOrEqual:
				return !p.timeBound(n.BinaryNode, 0, 1, fault)
			case ast.NodeTypeLessThanOrEqual:
				return !p.timeBound(n.BinaryNode, 1, 0, fault)
			case ast.NodeTypeGreaterThan:
				return !p.timeBound(n.BinaryNode, 1, 0, fault)
			case ast.NodeTypeEquals:
				return !comparison(n.BinaryNode, fault)
			case ast.NodeTypeNotEquals:
				return !comparison(n.BinaryNode, fault)
			case ast.NodeTypeContains:
				if name, ok := word(n.Right); ok {
					set, isSet := n.Left.(ast.NodeTypeSet)
					if !isSet {
						fault("%s is compared with literals only: write it as [\"…\", \"…\"].contains(…)", name)
						return false
					}
					for _, e := range set.Elements {
						checkWord(name, e, fault)
					}
					return false
				}
			case ast.NodeTypeAccess:
				switch {
				case isContext(n, "now"):
					fault(`context.now is only compared, by < <= > >=, with datetime("…"): the end of anything else is not known in advance`)
					return false
				case isContext(n, "reason"):
					fault(`context.reason is only compared with ""`)
					return false
				case isContext(n, "break_glass"):
					glass++
					return false
				case isContext(n, "mfa"):
					return false
				}
				if _, ok := words[n.Value]; ok {
					fault(`%s is only compared with literals: == "…", != "…" or ["…", "…"].contains(…)`, n.Value)
					return false
				}
			case ast.NodeTypeHas:
				if isVariable(n.Arg, "context") {
					return false
				}
			case ast.NodeTypeVariable:
				if n.Name == "context" {
					fault("context is used by its attributes only")
				}
			}
			return true
		})
	}
	p.checkBreakGlass(glass, fault)
}

// scopeEntities are the entities, but for actions, that the head of a policy names.
func scopeEntities(p *ast.Policy) []types.EntityUID {
	var out []types.EntityUID
	for _, scope := range []ast.IsScopeNode{p.Principal, p.Resource} {
		switch s := scope.(type) {
		case ast.ScopeTypeEq:
			out = append(out, s.Entity)
		case ast.ScopeTypeIn:
			out = append(out, s.Entity)
		case ast.ScopeTypeIsIn:
			out = append(out, s.Entity)
		}
	}
	return out
}

func (v vocabulary) check(uid types.EntityUID, fault func(string, ...any)) {
	if v.entities[uid] {
		return
	}
	switch uid.Type {
	case principalType:
		fault("there is no principal %q in %s", uid.ID, principalsFile)
	case tenantType:
		fault("there is no tenant %q in the register", uid.ID)
	case tableType:
		fault("there is no table %q: \"cardlake tables\" lists them", uid.ID)
	case teamType:
		fault("there is no team %q: declare it in %s", uid.ID, principalsFile)
	case personaType:
		fault("there is no persona %q: there are %s", uid.ID, join(Kinds))
	default:
		fault("there is no %s", uid)
	}
}

func isVariable(n ast.IsNode, name types.String) bool {
	v, ok := n.(ast.NodeTypeVariable)
	return ok && v.Name == name
}

func isContext(n ast.IsNode, attribute types.String) bool {
	a, ok := n.(ast.NodeTypeAccess)
	return ok && a.Value == attribute && isVariable(a.Arg, "context")
}

// word returns the name of the attribute that the node asks for, if its values are words.
func word(n ast.IsNode) (types.String, bool) {
	a, ok := n.(ast.NodeTypeAccess)
	if !ok || !isPath(a.Arg) {
		return "", false
	}
	_, ok = words[a.Value]
	return a.Value, ok
}

// isPath reports whether the node is a variable but context, or an attribute of such: nothing
// in which more could be hidden that is to be checked.
func isPath(n ast.IsNode) bool {
	switch n := n.(type) {
	case ast.NodeTypeVariable:
		return n.Name != "context"
	case ast.NodeTypeAccess:
		return isPath(n.Arg)
	}
	return false
}

// comparison checks == and != and reports whether both sides are dealt with.
func comparison(n ast.BinaryNode, fault func(string, ...any)) bool {
	for _, side := range [][2]ast.IsNode{{n.Left, n.Right}, {n.Right, n.Left}} {
		if isContext(side[0], "reason") {
			if text, ok := literal(side[1]); !ok || text != "" {
				fault(`context.reason is only compared with ""`)
			}
			return true
		}
		if name, ok := word(side[0]); ok {
			checkWord(name, side[1], fault)
			return true
		}
	}
	return false
}

func checkWord(name types.String, n ast.IsNode, fault func(string, ...any)) {
	switch text, ok := literal(n); {
	case !ok:
		fault("%s is compared with literals only", name)
	case !slices.Contains(words[name], text):
		fault("there is no %s %q: there are %s", name, text, strings.Join(words[name], ", "))
	}
}

func literal(n ast.IsNode) (string, bool) {
	v, ok := n.(ast.NodeValue)
	if !ok {
		return "", false
	}
	text, ok := v.Value.(types.String)
	return string(text), ok
}

// timeBound notes the instant at which a comparison of the time changes, and reports whether
// the node is one. What is added to the literal is in left if the time is on the left, for a
// comparison that a time equal to the literal does not change until a millisecond later.
func (p *Policy) timeBound(n ast.BinaryNode, left, right int64, fault func(string, ...any)) bool {
	other, add := n.Right, left
	if !isContext(n.Left, "now") {
		if other, add = n.Left, right; !isContext(n.Right, "now") {
			return false
		}
	}
	switch o := other.(type) {
	case ast.NodeTypeExtensionCall:
		if o.Name == "datetime" && len(o.Args) == 1 {
			if text, ok := literal(o.Args[0]); ok {
				at, err := types.ParseDatetime(text)
				if err != nil {
					fault("datetime(…): %v", err)
				}
				p.bounds = append(p.bounds, timeBound{at: at.Milliseconds() + add})
				return true
			}
		}
	case ast.NodeTypeAccess:
		if isVariable(o.Arg, "principal") && (o.Value == "valid_from" || o.Value == "valid_until") {
			p.bounds = append(p.bounds, timeBound{at: add, attribute: o.Value})
			return true
		}
	}
	fault(`context.now is only compared with datetime("…"): the end of anything else is not known in advance`)
	return true
}

// checkBreakGlass checks a policy that asks for an emergency, as mentions say: it permits, says
// so in a condition of its own, needs a reason, and ends.
func (p *Policy) checkBreakGlass(mentions int, fault func(string, ...any)) {
	if mentions == 0 || p.File == builtinFile {
		return
	}
	if !p.IsPermit {
		fault("a forbid that an emergency lifts would not be seen in the audit log: write a permit that has context.break_glass")
		return
	}
	var asked int
	var reasoned, ends bool
	for _, c := range p.ast().Conditions {
		if c.Condition != ast.ConditionWhen {
			continue
		}
		for _, n := range conjuncts(c.Body, nil) {
			switch n := n.(type) {
			case ast.NodeTypeAccess:
				if isContext(n, "break_glass") {
					asked++
				}
			case ast.NodeTypeNotEquals:
				reasoned = reasoned || isContext(n.Left, "reason") || isContext(n.Right, "reason")
			case ast.NodeTypeLessThan:
				ends = ends || isContext(n.Left, "now")
			case ast.NodeTypeLessThanOrEqual:
				ends = ends || isContext(n.Left, "now")
			case ast.NodeTypeGreaterThan:
				ends = ends || isContext(n.Right, "now")
			case ast.NodeTypeGreaterThanOrEqual:
				ends = ends || isContext(n.Right, "now")
			}
		}
	}
	if asked != mentions {
		fault("context.break_glass is a condition of its own: when { context.break_glass && … }")
	}
	if !reasoned {
		fault(`break-glass access needs a reason: add context.reason != "" to its conditions`)
	}
	if !ends {
		fault(`break-glass access ends: add context.now < datetime("…") to its conditions`)
	}
	p.IsBreakGlass = true
}

// conjuncts appends the conditions that must all hold for n to hold.
func conjuncts(n ast.IsNode, to []ast.IsNode) []ast.IsNode {
	if and, ok := n.(ast.NodeTypeAnd); ok {
		return conjuncts(and.Right, conjuncts(and.Left, to))
	}
	return append(to, n)
}
