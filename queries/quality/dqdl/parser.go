package dqdl

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// maxSource bounds a rule set, in bytes. Glue itself takes 65,536
	// (CreateDataQualityRuleset, Ruleset).
	maxSource = 1 << 20
	// maxDepth bounds how deep parentheses may nest.
	maxDepth = 100
	// maxTerms bounds how many numbers are added or multiplied in one operand.
	maxTerms = 100

	// The guide, "Label constraints".
	maxLabels     = 10
	maxLabelKey   = 128
	maxLabelValue = 256
)

// Parse reads a rule set. A fault is an [*Error], the first there is.
func Parse(source string) (*Ruleset, error) {
	if len(source) > maxSource {
		return nil, &Error{Pos: Position{1, 1, 0}, Message: fmt.Sprintf("the rule set has %d bytes, at most %d are allowed", len(source), maxSource)}
	}
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens, constants: map[string]*Constant{}}
	if err := p.document(); err != nil {
		return nil, err
	}
	return &p.set, nil
}

type parser struct {
	tokens    []token
	at        int
	depth     int
	set       Ruleset
	constants map[string]*Constant
}

func (p *parser) peek() token { return p.ahead(0) }

func (p *parser) ahead(n int) token { return p.tokens[min(p.at+n, len(p.tokens)-1)] }

func (p *parser) take() token {
	t := p.peek()
	if p.at < len(p.tokens)-1 {
		p.at++
	}
	return t
}

// accept takes the symbol if it is next.
func (p *parser) accept(symbol string) bool {
	if p.peek().is(symbol) {
		p.take()
		return true
	}
	return false
}

func (p *parser) expect(symbol, where string) error {
	if !p.accept(symbol) {
		return fault(p.peek(), "", "expected %s %s, found %v", symbol, where, p.peek())
	}
	return nil
}

func fault(t token, hint, format string, args ...any) *Error {
	return &Error{Pos: t.pos, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// deeper counts nested parentheses; the caller calls p.depth-- in the end.
func (p *parser) deeper() error {
	if p.depth++; p.depth > maxDepth {
		return fault(p.peek(), "", "parentheses nest deeper than %d", maxDepth)
	}
	return nil
}

// The sections, in the order in which they stand. Constants are between DataSources and
// DefaultLabels.
var sections = []string{"Metadata", "DataSources", "DefaultLabels", "Rules", "Analyzers"}

func (p *parser) document() error {
	last := -1
	for p.peek().kind != endToken {
		name := p.peek()
		if name.kind != wordToken {
			return fault(name, "a rule set is Rules = [ RULE, RULE, … ]", "expected Rules or another section, found %v", name)
		}
		order := 1
		section := -1
		for i, s := range sections {
			if s == name.text {
				section, order = i, i
			}
		}
		if section < 0 {
			if last > 1 {
				return fault(name, suggest(name.text, sections), "expected a section or the end, found %v", name)
			}
			if err := p.constant(); err != nil {
				return err
			}
			last = order
			continue
		}
		isRepeated := section == last && (section != 1 || p.set.Sources != nil)
		if order < last || isRepeated || section == 1 && len(p.set.Constants) > 0 {
			return fault(name, "the order is Metadata, DataSources, constants, DefaultLabels, Rules, Analyzers, each once", "%s cannot stand here", name.text)
		}
		p.take()
		if err := p.expect("=", "after "+name.text); err != nil {
			return err
		}
		var err error
		switch section {
		case 0:
			p.set.Metadata, err = p.dictionary(name.text, "Version")
		case 1:
			p.set.Sources, err = p.dictionary(name.text, "Primary", "AdditionalDataSources")
		case 2:
			p.set.DefaultLabels, err = p.labels(0)
		case 3:
			p.set.Rules, err = list(p, "Rules", p.topRule)
		case 4:
			p.set.Analyzers, err = list(p, "Analyzers", p.analyzer)
		}
		if err != nil {
			return err
		}
		last = order
	}
	if len(p.set.Rules)+len(p.set.Analyzers) == 0 {
		return fault(p.peek(), "a rule set is Rules = [ RULE, RULE, … ]", "there are no rules and no analyzers")
	}
	return nil
}

// dictionary reads { "key": "value", "key": ["value", …] }.
func (p *parser) dictionary(section string, keys ...string) ([]Pair, error) {
	if err := p.expect("{", "after "+section+" ="); err != nil {
		return nil, err
	}
	var pairs []Pair
	for {
		key := p.peek()
		if key.kind != stringToken {
			return nil, fault(key, "", "expected a key in quotes in %s, found %v", section, key)
		}
		known := false
		for _, k := range keys {
			known = known || k == Text(key.text).Value()
		}
		if !known {
			return nil, fault(key, suggest(key.text, keys), "%s has no key %v", section, key)
		}
		p.take()
		if err := p.expect(":", "after the key"); err != nil {
			return nil, err
		}
		pair := Pair{Key: Text(key.text)}
		var err error
		pair.Values, pair.IsList, err = p.texts("a value in quotes")
		if err != nil {
			return nil, err
		}
		if key.text == "AdditionalDataSources" && !pair.IsList {
			return nil, fault(key, `write ["NAME", "NAME"]`, "AdditionalDataSources must be a list")
		}
		pairs = append(pairs, pair)
		if !p.accept(",") {
			return pairs, p.expect("}", "after the entries of "+section)
		}
	}
}

// texts reads one quoted string or a list of them.
func (p *parser) texts(what string) (values []Text, isList bool, _ error) {
	one := func() error {
		if p.peek().kind != stringToken {
			return fault(p.peek(), "", "expected %s, found %v", what, p.peek())
		}
		values = append(values, Text(p.take().text))
		return nil
	}
	if !p.accept("[") {
		err := one()
		return values, false, err
	}
	for {
		if err := one(); err != nil {
			return nil, true, err
		}
		if !p.accept(",") {
			return values, true, p.expect("]", "after the list")
		}
	}
}

// constant reads NAME = "value" or NAME = ["value", …].
func (p *parser) constant() error {
	name := p.take()
	c := Constant{Pos: name.pos, Name: name.text}
	if strings.HasPrefix(c.Name, ".") || strings.HasPrefix(c.Name, "_") {
		return fault(name, "", "a constant's name cannot begin with . or _")
	}
	if !p.accept("=") {
		return fault(p.peek(), suggest(name.text, sections), "expected = after %s, found %v", name, p.peek())
	}
	if p.constants[c.Name] != nil {
		return fault(name, "", "the constant %s is declared twice", c.Name)
	}
	value := func() error {
		o, err := p.textOperand()
		if err != nil {
			hint := "a constant is a string in quotes or a list of them"
			if s := suggest(name.text, sections); s != "" {
				hint = s
			}
			return fault(p.peek(), hint, "expected a string as the value of %s, found %v", c.Name, p.peek())
		}
		if t, ok := o.(Text); ok && refersToConstant(string(t)) {
			return fault(name, "", "the constant %s refers to another one, which a constant cannot", c.Name)
		}
		c.Values = append(c.Values, o)
		return nil
	}
	if p.accept("[") {
		c.IsList = true
		for {
			if err := value(); err != nil {
				return err
			}
			if !p.accept(",") {
				break
			}
		}
		if err := p.expect("]", "after the values of "+c.Name); err != nil {
			return err
		}
	} else if err := value(); err != nil {
		return err
	}
	p.set.Constants = append(p.set.Constants, c)
	p.constants[c.Name] = &c
	return nil
}

// refersToConstant says whether s has $ and a letter or _ after it.
func refersToConstant(s string) bool {
	for i := 0; i+1 < len(s); i++ {
		if c := s[i+1]; s[i] == '$' && (c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			return true
		}
	}
	return false
}

// reference reads $NAME after the $.
func (p *parser) reference() (*Constant, error) {
	p.take()
	name := p.peek()
	if name.kind != wordToken && name.kind != numberToken {
		return nil, fault(name, "", "expected the name of a constant after $, found %v", name)
	}
	c := p.constants[name.text]
	if c == nil {
		var names []string
		for _, c := range p.set.Constants {
			names = append(names, c.Name)
		}
		hint := suggest(name.text, names)
		if hint == "" {
			hint = fmt.Sprintf(`declare it before the rules: %s = "…"`, short(name.text))
		}
		return nil, fault(name, hint, "there is no constant %s", name)
	}
	p.take()
	return c, nil
}

// labels reads ["key"="value", …]. others is how many labels the rule has besides.
func (p *parser) labels(others int) ([]Label, error) {
	start := p.peek()
	if err := p.expect("[", "before the labels"); err != nil {
		return nil, err
	}
	var labels []Label
	seen := map[string]bool{}
	for {
		key := p.peek()
		if key.kind != stringToken {
			return nil, fault(key, `labels are ["KEY"="VALUE", …]`, "expected a label's key in quotes, found %v", key)
		}
		p.take()
		if err := p.expect("=", "after the label's key"); err != nil {
			return nil, err
		}
		value := p.peek()
		if value.kind != stringToken {
			return nil, fault(value, `labels are ["KEY"="VALUE", …]`, "expected a label's value in quotes, found %v", value)
		}
		p.take()
		l := Label{Text(key.text), Text(value.text)}
		switch n := utf8.RuneCountInString(l.Key.Value()); {
		case n == 0:
			return nil, fault(key, "", "a label's key is empty")
		case n > maxLabelKey:
			return nil, fault(key, "", "a label's key has %d characters, at most %d are allowed", n, maxLabelKey)
		case seen[l.Key.Value()]:
			return nil, fault(key, "", "the label %v is given twice", key)
		}
		if n := utf8.RuneCountInString(l.Value.Value()); n > maxLabelValue {
			return nil, fault(value, "", "a label's value has %d characters, at most %d are allowed", n, maxLabelValue)
		}
		seen[l.Key.Value()] = true
		labels = append(labels, l)
		if !p.accept(",") {
			break
		}
	}
	if len(labels)+others > maxLabels {
		return nil, fault(start, "", "the rule has %d labels with the default ones, at most %d are allowed", len(labels)+others, maxLabels)
	}
	return labels, p.expect("]", "after the labels")
}

// list reads [ item, item, … ], or [ ].
func list(p *parser, section string, item func() (*Rule, error)) ([]*Rule, error) {
	if err := p.expect("[", "after "+section+" ="); err != nil {
		return nil, err
	}
	if p.accept("]") {
		return nil, nil
	}
	var rules []*Rule
	for {
		if len(rules) > 0 && p.peek().is("]") {
			return nil, fault(p.peek(), "leave out the comma before ]", "expected another of the %s, found ]", section)
		}
		r, err := item()
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
		if p.accept(",") {
			continue
		}
		if !p.peek().is("]") {
			hint := ""
			switch next := p.peek(); {
			case next.kind == wordToken && next.text != strings.ToLower(next.text) && isReserved(next.text):
				hint = "keywords are in lower case: write " + strings.ToLower(next.text)
			case next.isWord("threshold"):
				hint = "as in with threshold > 0.9"
			case next.kind == wordToken || next.is("("):
				hint = "rules are separated by commas"
			}
			return nil, fault(p.peek(), hint, "expected , or ] after %s, found %v", describe(r), p.peek())
		}
		p.take()
		return rules, nil
	}
}

func describe(r *Rule) string {
	if r.IsComposite() {
		return "the composite rule"
	}
	return "the rule " + r.Type
}
