// Package dqdl reads and prints rule sets in AWS Glue's Data Quality Definition Language
// (AWS Glue developer guide, "Data Quality Definition Language (DQDL) reference"). Where the
// guide is silent, the grammar that AWS publishes with its parser (awslabs/dqdl) decides, so
// that a rule set which this package accepts is one that Glue accepts. What the guide's examples
// use is read beyond that grammar: CustomSQL for CustomSql, comments that begin with //, a column
// name after RowCount and where after ColumnNamesMatchPattern, which mean nothing, and with
// threshold after RowCount. So are numbers with an exponent or without a digit before the point,
// and where after with; String writes them as Glue reads them.
//
// Parse and String are inverse: String of what was parsed parses to the same rule set. Comments
// are not kept.
//
// In one place this package and Glue's grammar differ: that grammar gives + - * / one precedence,
// from left to right, and here * and / bind closer, as in arithmetic. Parentheses make the two
// the same, and String writes them wherever the two would differ.
package dqdl

import "strings"

// Ruleset is a parsed document.
type Ruleset struct {
	Metadata      []Pair // only "Version"
	Sources       []Pair // "Primary" and "AdditionalDataSources"
	Constants     []Constant
	DefaultLabels []Label
	Rules         []*Rule
	Analyzers     []*Rule // a type, its parameters and tags; no condition
}

// Position is a place in the source text. Line and Column count from 1, Column in characters;
// Offset counts bytes from 0.
type Position struct{ Line, Column, Offset int }

// Pair is an entry of Metadata or DataSources.
type Pair struct {
	Key    Text
	Values []Text
	IsList bool
}

// Constant is a declaration before the rules: name = "value" or name = ["value", …].
type Constant struct {
	Pos    Position
	Name   string
	Values []Operand // Text or Keyword
	IsList bool
}

// Label is a key and a value that are attached to a rule.
type Label struct{ Key, Value Text }

// Operator joins the rules of a composite rule.
type Operator string

// The operators of composite rules.
const (
	And Operator = "and"
	Or  Operator = "or"
)

// Rule is a rule, a composite of rules, or an analyzer.
type Rule struct {
	Pos Position

	// Type is the rule type's name; "" for a composite.
	Type      string
	Params    []Param
	Condition *Condition // nil if the type has a Boolean answer
	Where     *Text      // predicate in SQL, nil if none
	Threshold *Condition // of kind Number, nil if none
	Tags      []Tag      // without the threshold
	Labels    []Label    // the rule's own, without the default ones

	// Operator and Rules are a composite's.
	Operator Operator
	Rules    []*Rule
}

// IsComposite says whether the rule joins others.
func (r *Rule) IsComposite() bool { return r.Operator != "" }

// Tag returns the value of the named tag, and whether the rule has it. A number's value is its
// text; a list's is its first.
func (r *Rule) Tag(name string) (string, bool) {
	for _, t := range r.Tags {
		if t.Name == name {
			return t.Values[0].Value(), true
		}
	}
	return "", false
}

// AllLabels are the default labels and the rule's own, which win.
func (s *Ruleset) AllLabels(r *Rule) map[string]string {
	all := map[string]string{}
	for _, list := range [][]Label{s.DefaultLabels, r.Labels} {
		for _, l := range list {
			all[l.Key.Value()] = l.Value.Value()
		}
	}
	return all
}

// Param is one parameter of a rule.
type Param struct {
	Pos       Position
	Text      Text
	IsQuoted  bool
	Connector string // "of" or "and" before it, mostly ""
	// Constant names the constant that the parameter was given by; Text is its value.
	Constant string
}

// Value is the parameter's value.
func (p Param) Value() string { return p.Text.Value() }

// Tag is "with name = value" after a rule. IsText says that the values were quoted.
type Tag struct {
	Name   string
	Values []Text
	IsText bool
	IsList bool
}

// Op is what a condition does with its operands.
type Op string

// The operators of conditions. Between leaves out both bounds, and NotBetween is its negation
// (guide, "Expressions").
const (
	Equal        Op = "="
	NotEqual     Op = "!="
	Greater      Op = ">"
	GreaterEqual Op = ">="
	Less         Op = "<"
	LessEqual    Op = "<="
	Between      Op = "between"
	NotBetween   Op = "not between"
	In           Op = "in"
	NotIn        Op = "not in"
	Matches      Op = "matches"
	NotMatches   Op = "not matches"
)

// Kind is what a condition compares.
type Kind int

// The kinds of conditions. Null is a condition whose operands are all NULL.
const (
	Number Kind = 1 << iota
	String
	Date
	Duration
	Size
	Null
)

// Condition compares the answer of a rule type with operands.
type Condition struct {
	Pos      Position
	Op       Op
	Kind     Kind
	Operands []Operand
	// Constant names the constant that the operands of in and not in were given by, if any.
	Constant string
}

// Text is the inside of a quoted string as it was written, with its escapes.
type Text string

// Value is the text with \" and \\ resolved.
func (t Text) Value() string {
	if !strings.Contains(string(t), `\`) {
		return string(t)
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(string(t))
}

// Pattern is the text as a regular expression: only \" is resolved.
func (t Text) Pattern() string { return strings.ReplaceAll(string(t), `\"`, `"`) }

// Quote returns the text whose Value is s.
func Quote(s string) Text { return Text(strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(s)) }
