package dqdl

import (
	"strings"
)

// String returns the rule set in DQDL, one rule a line.
func (s *Ruleset) String() string {
	var b strings.Builder
	dictionary := func(name string, pairs []Pair) {
		if len(pairs) == 0 {
			return
		}
		b.WriteString(name + " = {\n")
		for i, p := range pairs {
			b.WriteString("    " + quoted(p.Key) + ": " + texts(p.Values, p.IsList) + comma(i, len(pairs)) + "\n")
		}
		b.WriteString("}\n\n")
	}
	dictionary("Metadata", s.Metadata)
	dictionary("DataSources", s.Sources)
	for _, c := range s.Constants {
		b.WriteString(c.Name + " = ")
		if c.IsList {
			b.WriteString("[" + operands(c.Values) + "]")
		} else {
			b.WriteString(c.Values[0].String())
		}
		b.WriteString("\n\n")
	}
	if len(s.DefaultLabels) > 0 {
		b.WriteString("DefaultLabels = [" + labels(s.DefaultLabels) + "]\n\n")
	}
	rules := func(name string, rules []*Rule) {
		if len(rules) == 0 {
			return
		}
		b.WriteString(name + " = [\n")
		for i, r := range rules {
			b.WriteString("    " + r.String() + comma(i, len(rules)) + "\n")
		}
		b.WriteString("]\n")
	}
	rules("Rules", s.Rules)
	rules("Analyzers", s.Analyzers)
	return b.String()
}

func comma(i, n int) string {
	if i == n-1 {
		return ""
	}
	return ","
}

func quoted(t Text) string { return `"` + string(t) + `"` }

func texts(values []Text, isList bool) string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = quoted(v)
	}
	if !isList {
		return list[0]
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func labels(list []Label) string {
	out := make([]string, len(list))
	for i, l := range list {
		out[i] = quoted(l.Key) + "=" + quoted(l.Value)
	}
	return strings.Join(out, ", ")
}

func operands(list []Operand) string {
	out := make([]string, len(list))
	for i, o := range list {
		out[i] = o.String()
	}
	return strings.Join(out, ", ")
}

// String returns the rule in DQDL, on one line unless a string in it has more.
func (r *Rule) String() string {
	var b strings.Builder
	if r.IsComposite() {
		parts := make([]string, len(r.Rules))
		for i, part := range r.Rules {
			parts[i] = "(" + part.String() + ")"
		}
		b.WriteString(strings.Join(parts, " "+string(r.Operator)+" "))
		if len(r.Labels) > 0 {
			return "(" + b.String() + ") labels=[" + labels(r.Labels) + "]"
		}
		return b.String()
	}
	b.WriteString(r.Type)
	for _, p := range r.Params {
		b.WriteByte(' ')
		if p.Connector != "" {
			b.WriteString(p.Connector + " ")
		}
		switch {
		case p.Constant != "":
			b.WriteString("$" + p.Constant)
		case p.IsQuoted:
			b.WriteString(quoted(p.Text))
		default:
			b.WriteString(string(p.Text))
		}
	}
	if r.Condition != nil {
		b.WriteString(" " + r.Condition.String())
	}
	if r.Where != nil {
		b.WriteString(" where " + quoted(*r.Where))
	}
	if len(r.Labels) > 0 {
		b.WriteString(" labels=[" + labels(r.Labels) + "]")
	}
	if r.Threshold != nil {
		b.WriteString(" with threshold " + r.Threshold.String())
	}
	for i, t := range r.Tags {
		word := " with "
		if i > 0 && r.Type == "Distribution" { // the guide writes these with commas
			word = ", "
		}
		value := texts(t.Values, t.IsList)
		if !t.IsText {
			value = string(t.Values[0])
		}
		b.WriteString(word + t.Name + " = " + value)
	}
	return b.String()
}

// String returns the condition in DQDL.
func (c *Condition) String() string {
	switch c.Op {
	case Between, NotBetween:
		return string(c.Op) + " " + c.Operands[0].String() + " and " + c.Operands[1].String()
	case In, NotIn:
		if c.Constant != "" {
			return string(c.Op) + " $" + c.Constant
		}
		return string(c.Op) + " [" + operands(c.Operands) + "]"
	}
	return string(c.Op) + " " + c.Operands[0].String()
}

// String returns the text in quotes.
func (t Text) String() string { return quoted(t) }

// String returns the keyword.
func (k Keyword) String() string { return string(k) }

// String returns $ and the constant's name.
func (r Reference) String() string { return "$" + r.Name }

// String returns the number as it was written.
func (l Literal) String() string {
	if l.IsQuoted {
		return `"` + l.Text + `"`
	}
	return l.Text
}

// String returns the call in DQDL.
func (c *Call) String() string {
	args := make([]string, len(c.Args))
	for i, a := range c.Args {
		args[i] = a.String()
	}
	return c.Name + "(" + strings.Join(args, ", ") + ")"
}

// String returns the computation with the parentheses that make it the same whether or not * and
// / bind closer than + and -.
func (b *Binary) String() string {
	left, right := b.Left.String(), b.Right.String()
	if l, ok := b.Left.(*Binary); ok && strings.IndexByte("+-", l.Op) >= 0 && strings.IndexByte("*/", b.Op) >= 0 {
		left = "(" + left + ")"
	}
	if _, ok := b.Right.(*Binary); ok {
		right = "(" + right + ")"
	}
	return left + " " + string(b.Op) + " " + right
}

// String returns the date in DQDL.
func (d DateOperand) String() string {
	switch {
	case d.Day != "" || d.Time != "":
		return `"` + d.Day + d.Time + `"`
	case d.Sign < 0:
		return "(now() - " + d.Offset.String() + ")"
	case d.Sign > 0:
		return "(now() + " + d.Offset.String() + ")"
	}
	return "now()"
}

// String returns the duration in DQDL.
func (d DurationOperand) String() string { return measure(d.Amount, d.Unit) }

// String returns the size in DQDL.
func (s SizeOperand) String() string { return measure(s.Amount, s.Unit) }
