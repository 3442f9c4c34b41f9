package dqdl

import (
	"fmt"
	"slices"
	"strings"
)

// topRule reads a rule or a composite of rules: and binds closer than or.
func (p *parser) topRule() (*Rule, error) { return p.joined(Or) }

func (p *parser) joined(op Operator) (*Rule, error) {
	next := func() (*Rule, error) {
		if op == Or {
			return p.joined(And)
		}
		return p.primary()
	}
	start := p.peek()
	first, err := next()
	if err != nil || !p.peek().isWord(string(op), strings.ToUpper(string(op))) {
		return first, err
	}
	composite := &Rule{Pos: start.pos, Operator: op, Rules: []*Rule{first}}
	for p.peek().isWord(string(op), strings.ToUpper(string(op))) {
		p.take()
		r, err := next()
		if err != nil {
			return nil, err
		}
		composite.Rules = append(composite.Rules, r)
	}
	for _, r := range composite.Rules {
		if len(r.Labels) > 0 {
			return nil, &Error{Pos: r.Pos, Message: "a part of a composite rule has labels", Hint: `labels belong to the whole: ((RULE) and (RULE)) labels=["KEY"="VALUE"]`}
		}
	}
	return composite, nil
}

// primary reads a rule, or whatever is in parentheses.
func (p *parser) primary() (*Rule, error) {
	if !p.peek().is("(") {
		return p.rule()
	}
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.take()
	r, err := p.topRule()
	if err != nil {
		return nil, err
	}
	if err := p.expect(")", "after "+describe(r)); err != nil {
		return nil, err
	}
	if p.peek().isWord("labels") {
		if len(r.Labels) > 0 {
			return nil, fault(p.peek(), "", "%s has labels already", describe(r))
		}
		r.Labels, err = p.ruleLabels()
	}
	return r, err
}

func (p *parser) ruleLabels() ([]Label, error) {
	p.take()
	if err := p.expect("=", "after labels"); err != nil {
		return nil, err
	}
	return p.labels(len(p.set.DefaultLabels))
}

// typeOf reads a rule type's name.
func (p *parser) typeOf(analyzers bool) (Type, token, error) {
	name := p.peek()
	what, names := "a rule", typeNames(analyzers)
	if analyzers {
		what = "an analyzer"
	}
	if name.kind != wordToken {
		return Type{}, name, fault(name, "", "expected %s, found %v", what, name)
	}
	t, ok := Lookup(name.text)
	switch {
	case !ok:
		return t, name, fault(name, suggest(name.text, names), "there is no rule type %s", name)
	case analyzers && !t.IsAnalyzer:
		return t, name, fault(name, "analyzers are "+strings.Join(names, ", "), "%s cannot stand among the analyzers", t.Name)
	case !analyzers && !t.IsRule:
		return t, name, fault(name, "write it into Analyzers = [ … ]", "%s is an analyzer, not a rule", t.Name)
	}
	p.take()
	return t, name, nil
}

// rule reads TYPE parameters condition where labels with….
func (p *parser) rule() (*Rule, error) {
	t, name, err := p.typeOf(false)
	if err != nil {
		return nil, err
	}
	r := &Rule{Pos: name.pos, Type: t.Name}
	if r.Params, err = p.params(); err != nil {
		return nil, err
	}
	if err := checkParams(t, name, r.Params); err != nil {
		return nil, err
	}
	if r.Condition, err = p.condition(t, t.Kinds, t.IsDynamic); err != nil {
		return nil, err
	}
	for {
		switch word := p.peek(); {
		case word.isWord("where"):
			if r.Where != nil {
				return nil, fault(word, "join the predicates with and, in the quotes", "the rule %s has where already", t.Name)
			}
			if r.Where, err = p.where(t); err != nil {
				return nil, err
			}
		case word.isWord("with"):
			if err := p.with(t, r); err != nil {
				return nil, err
			}
		case word.isWord("labels"):
			if len(r.Labels) > 0 {
				return nil, fault(word, "", "the rule %s has labels already", t.Name)
			}
			if r.Labels, err = p.ruleLabels(); err != nil {
				return nil, err
			}
		default:
			return r, checkRule(t, name, r, word)
		}
	}
}

// analyzer reads TYPE parameters, and tags if it has some.
func (p *parser) analyzer() (*Rule, error) {
	t, name, err := p.typeOf(true)
	if err != nil {
		return nil, err
	}
	r := &Rule{Pos: name.pos, Type: t.Name}
	if r.Params, err = p.params(); err != nil {
		return nil, err
	}
	if err := checkParams(t, name, r.Params); err != nil {
		return nil, err
	}
	for p.peek().isWord("with") {
		if err := p.with(t, r); err != nil {
			return nil, err
		}
	}
	if next := p.peek(); !next.is(",") && !next.is("]") {
		return nil, fault(next, "an analyzer has no condition, where or labels", "expected , or ] after the analyzer %s, found %v", t.Name, next)
	}
	return r, checkTags(name, r)
}

// reserved are the words that end the parameters.
var reserved = []string{"between", "in", "not", "matches", "where", "with", "labels", "and", "AND", "or", "OR"}

// isReserved says whether the word ends the parameters, also when its letters are of the wrong
// case, which is told then.
func isReserved(word string) bool {
	return slices.ContainsFunc(reserved, func(r string) bool { return strings.EqualFold(r, word) })
}

func isType(word string) bool {
	_, ok := Lookup(word)
	return ok
}

// params reads the parameters: strings, words and constants, some after of or and, as in
// ColumnCorrelation of "height" and "weight".
func (p *parser) params() ([]Param, error) {
	var params []Param
	for {
		t := p.peek()
		connector := ""
		if t.isWord("of", "OF") || len(params) > 0 && t.isWord("and", "AND") {
			next := p.ahead(1)
			if next.kind == stringToken || next.is("$") || next.kind == wordToken && (!isType(next.text) || t.isWord("of", "OF")) {
				connector = strings.ToLower(p.take().text)
				t = next
			}
		}
		switch {
		case t.kind == stringToken:
			p.take()
			params = append(params, Param{Pos: t.pos, Text: Text(t.text), IsQuoted: true, Connector: connector})
		case t.is("$"):
			c, err := p.reference()
			if err != nil {
				return nil, err
			}
			text, ok := c.Values[0].(Text)
			if c.IsList || !ok {
				return nil, fault(t, "", "the constant %s is not one string, which a parameter must be", c.Name)
			}
			params = append(params, Param{Pos: t.pos, Text: text, Connector: connector, Constant: c.Name})
		case t.kind == wordToken && !isReserved(t.text) && !(len(params) > 0 && connector == "" && isType(t.text)):
			p.take()
			params = append(params, Param{Pos: t.pos, Text: Text(t.text), Connector: connector})
		case connector != "":
			return nil, fault(t, "", "expected a parameter after %s, found %v", connector, t)
		default:
			return params, nil
		}
	}
}

func checkParams(t Type, name token, params []Param) error {
	n := len(params)
	if t.MaxParams >= 0 && n > t.MaxParams && !params[t.MaxParams].IsQuoted && params[t.MaxParams].Constant == "" {
		surplus := params[t.MaxParams]
		hint := "as in " + t.usage
		switch word := strings.ToLower(surplus.Value()); {
		case word == "is":
			hint = "write = NULL or != NULL"
		case word == "like" || word == "rlike":
			hint = `write matches "PATTERN", a regular expression`
		case n > t.MaxParams+1 && params[t.MaxParams+1].IsQuoted:
			hint = `a " inside a string is written \"; ` + hint
		}
		return &Error{Pos: surplus.Pos, Message: fmt.Sprintf("%s means nothing here", surplus.Value()), Hint: hint}
	}
	if n < t.MinParams || t.MaxParams >= 0 && n > t.MaxParams {
		want := fmt.Sprint(t.MinParams)
		switch {
		case t.MaxParams < 0:
			want = "at least " + want
		case t.MaxParams > t.MinParams:
			want = fmt.Sprintf("%d or %d", t.MinParams, t.MaxParams)
		}
		noun := "parameters"
		if want == "1" || want == "at least 1" {
			noun = "parameter"
		}
		return fault(name, "as in "+t.usage, "%s takes %s %s, got %d", t.Name, want, noun, n)
	}
	for _, param := range params {
		if param.Value() == "" {
			return &Error{Pos: param.Pos, Message: "a parameter of " + t.Name + " is empty", Hint: "as in " + t.usage}
		}
	}
	switch t.Name {
	case "DetectAnomalies":
		return checkAnomalies(params)
	case "ColumnNamesMatchPattern":
		if !params[0].IsQuoted && params[0].Constant == "" {
			return &Error{Pos: params[0].Pos, Message: "the pattern is not in quotes", Hint: "as in " + t.usage}
		}
	}
	return nil
}

// checkAnomalies checks that the first parameter is a rule type whose answer can be followed,
// and the others its parameters (guide, "DetectAnomalies").
func checkAnomalies(params []Param) error {
	followed, ok := Lookup(params[0].Value())
	if !ok || !followed.IsRule || !followed.IsAnalyzer {
		var names []string
		for _, t := range types {
			if t.IsRule && t.IsAnalyzer {
				names = append(names, t.Name)
			}
		}
		hint := suggest(params[0].Value(), names)
		if hint == "" {
			hint = "it follows " + strings.Join(names, ", ")
		}
		return &Error{Pos: params[0].Pos, Message: fmt.Sprintf("DetectAnomalies cannot follow %q", params[0].Value()), Hint: hint}
	}
	return checkParams(followed, token{pos: params[0].Pos}, params[1:])
}

// where reads where "PREDICATE".
func (p *parser) where(t Type) (*Text, error) {
	word := p.take()
	if !t.TakesWhere {
		return nil, fault(word, "", "%s takes no where", t.Name)
	}
	text := p.peek()
	if text.kind != stringToken {
		return nil, fault(text, `as in where "amount > 10"`, "expected a predicate in quotes after where, found %v", text)
	}
	if strings.TrimSpace(text.text) == "" {
		return nil, fault(text, "", "the predicate after where is empty")
	}
	p.take()
	predicate := Text(text.text)
	return &predicate, nil
}

// with reads with threshold CONDITION, or with NAME = VALUE, NAME = VALUE.
func (p *parser) with(t Type, r *Rule) error {
	p.take()
	for {
		name := p.peek()
		if name.kind != wordToken {
			return fault(name, "as in with threshold > 0.9", "expected threshold or a tag after with, found %v", name)
		}
		if name.text == "threshold" {
			switch {
			case !t.TakesThreshold:
				return fault(name, "", "%s takes no threshold", t.Name)
			case r.Threshold != nil:
				return fault(name, "", "the rule %s has a threshold already", t.Name)
			}
			p.take()
			var err error
			if r.Threshold, err = p.condition(t, Number, true); err != nil {
				return err
			}
			if r.Threshold == nil {
				return fault(p.peek(), "as in with threshold > 0.9", "expected a condition after threshold, found %v", p.peek())
			}
			return nil
		}
		tag, err := p.tag(t, r)
		if err != nil {
			return err
		}
		r.Tags = append(r.Tags, tag)
		// A comma goes on with the tags if a name and = follow it, else with the list.
		if !p.peek().is(",") || p.ahead(1).kind != wordToken || !p.ahead(2).is("=") {
			return nil
		}
		p.take()
	}
}

func (p *parser) tag(t Type, r *Rule) (Tag, error) {
	name := p.take()
	if !slices.Contains(t.Tags, name.text) {
		names := slices.Clone(t.Tags)
		if t.TakesThreshold {
			names = append(names, "threshold")
		}
		hint := suggest(name.text, names)
		if hint == "" && len(names) > 0 {
			hint = "it takes " + strings.Join(names, ", ")
		}
		return Tag{}, fault(name, hint, "%s takes no %s after with", t.Name, name)
	}
	if _, ok := r.Tag(name.text); ok {
		return Tag{}, fault(name, "", "%s is given twice", name.text)
	}
	if err := p.expect("=", "after "+name.text); err != nil {
		return Tag{}, err
	}
	tag := Tag{Name: name.text, IsText: true}
	if v := p.peek(); v.kind == numberToken || v.isWord("true", "false") {
		p.take()
		tag.IsText, tag.Values = false, []Text{Text(v.text)}
		return tag, nil
	}
	var err error
	tag.Values, tag.IsList, err = p.texts("a value in quotes or a number")
	if tag.IsList && name.text != "filterOrder" && err == nil {
		return tag, fault(name, "", "%s takes one value, not a list", name.text)
	}
	return tag, err
}

// checkRule checks that the rule is complete. next is what follows it.
func checkRule(t Type, name token, r *Rule, next token) error {
	switch {
	case r.Condition == nil && t.Kinds != 0 && !t.HasBareForm:
		return fault(next, "as in "+t.usage, "expected a condition for %s, found %v", t.Name, next)
	case t.Name == "FileMatch" && (r.Condition != nil) == (len(r.Params) == 2):
		return fault(name, "as in "+t.usage, "FileMatch compares with another path or with checksums, one of them")
	case t.Name == "CustomSql" && r.Condition != nil && r.Threshold != nil:
		return fault(name, "with a threshold the statement returns rows that pass", "CustomSql takes a condition or a threshold, not both")
	}
	return checkTags(name, r)
}
