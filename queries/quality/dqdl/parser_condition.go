package dqdl

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condition reads a condition of one of the kinds, or returns nil if there is none.
func (p *parser) condition(t Type, kinds Kind, isDynamic bool) (*Condition, error) {
	start := p.peek()
	op, err := p.operator()
	if err != nil || op == "" {
		return nil, err
	}
	if kinds == 0 {
		return nil, fault(start, "as in "+t.usage, "%s takes no condition", t.Name)
	}
	c := &Condition{Pos: start.pos, Op: op}
	switch op {
	case In, NotIn:
		err = p.listOperands(c)
	case Between, NotBetween:
		err = p.betweenOperands(c)
	default:
		err = p.oneOperand(c)
	}
	if err != nil {
		return nil, err
	}
	if err := c.settle(t, kinds, start); err != nil {
		return nil, err
	}
	for _, o := range c.Operands {
		if IsDynamic(o) && !isDynamic {
			return nil, fault(start, "", "%s cannot be compared with values of earlier runs", t.Name)
		}
	}
	return c, nil
}

// operator reads an operator, or returns "" if there is none.
func (p *parser) operator() (Op, error) {
	t := p.peek()
	if t.kind == symbolToken {
		switch op := Op(t.text); op {
		case Equal, NotEqual, Greater, GreaterEqual, Less, LessEqual:
			p.take()
			return op, nil
		}
		return "", nil
	}
	words := []string{"between", "in", "matches"}
	if t.isWord(words...) {
		p.take()
		return Op(t.text), nil
	}
	if t.isWord("not") {
		p.take()
		if next := p.peek(); next.isWord(words...) {
			p.take()
			return Op("not " + next.text), nil
		}
		return "", fault(p.peek(), "", "expected between, in or matches after not, found %v", p.peek())
	}
	for _, w := range append(words, "not", "where", "with") {
		if t.kind == wordToken && t.text != w && strings.EqualFold(t.text, w) {
			return "", fault(t, "write "+w, "keywords are in lower case, found %v", t)
		}
	}
	return "", nil
}

func (p *parser) oneOperand(c *Condition) error {
	o, err := p.operand()
	c.Operands = []Operand{o}
	return err
}

func (p *parser) betweenOperands(c *Condition) error {
	low, err := p.operand()
	if err != nil {
		return err
	}
	if !p.peek().isWord("and", "AND") {
		return fault(p.peek(), "as in between 1 and 10", "expected and between the bounds, found %v", p.peek())
	}
	p.take()
	high, err := p.operand()
	c.Operands = []Operand{low, high}
	return err
}

func (p *parser) listOperands(c *Condition) error {
	if p.peek().is("$") {
		constant, err := p.reference()
		if err != nil {
			return err
		}
		c.Constant, c.Operands = constant.Name, constant.Values
		return nil
	}
	if !p.accept("[") {
		return fault(p.peek(), `as in `+string(c.Op)+` ["A", "B"]`, "expected [ after %s, found %v", c.Op, p.peek())
	}
	for {
		o, err := p.operand()
		if err != nil {
			return err
		}
		c.Operands = append(c.Operands, o)
		if !p.accept(",") {
			return p.expect("]", "after the list")
		}
	}
}

var (
	dayShape  = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	timeShape = regexp.MustCompile(`^([0-9]{2}:[0-9]{2}|[0-9]{1,2}:[0-9]{2} (AM|PM))$`)
)

// textOperand reads a string or one of the keywords.
func (p *parser) textOperand() (Operand, error) {
	t := p.peek()
	if t.kind == stringToken {
		p.take()
		return Text(t.text), nil
	}
	for _, k := range []Keyword{NullWord, EmptyWord, SpacesWord} {
		if t.isWord(string(k), strings.ToLower(string(k))) {
			p.take()
			return k, nil
		}
	}
	return nil, fault(t, "", "expected a string, found %v", t)
}

// operand reads one operand. Days and times are strings until the condition is settled.
func (p *parser) operand() (Operand, error) {
	t := p.peek()
	if o, err := p.textOperand(); err == nil {
		return o, nil
	}
	switch {
	case t.is("$"):
		c, err := p.reference()
		if err != nil {
			return nil, err
		}
		if c.IsList {
			return nil, fault(t, "lists stand after in and not in", "the constant %s is a list", c.Name)
		}
		return Reference{c.Name, c.Values[0]}, nil
	case t.isWord("now"):
		if err := p.now(); err != nil {
			return nil, err
		}
		if p.peek().is("-") || p.peek().is("+") {
			return nil, fault(t, "as in (now() - 3 days)", "what is added to now() needs parentheses")
		}
		return DateOperand{}, nil
	case t.is("(") && p.ahead(1).isWord("now"):
		return p.relativeDate()
	case t.kind == numberToken && p.ahead(1).kind == wordToken && isUnit(p.ahead(1).text):
		return p.measure()
	case t.kind == numberToken || t.is("-") || t.is("(") || isReal(t) || t.kind == wordToken && p.ahead(1).is("("):
		return p.sum()
	case t.is("=") || t.is(">") || t.is("<"):
		return nil, fault(t, "operators are =, !=, >, >=, <, <=, between, in and matches", "expected a value, found %v", t)
	case t.kind == wordToken:
		return nil, fault(t, `write a string in quotes, "`+t.text+`"`, "expected a value, found %v", t)
	}
	return nil, fault(t, "", "expected a value, found %v", t)
}

// now reads now().
func (p *parser) now() error {
	p.take()
	if err := p.expect("(", "after now"); err != nil {
		return err
	}
	return p.expect(")", "after now(")
}

// relativeDate reads (now() - 3 days).
func (p *parser) relativeDate() (Operand, error) {
	p.take()
	if err := p.now(); err != nil {
		return nil, err
	}
	var d DateOperand
	switch t := p.peek(); {
	case p.accept("-"):
		d.Sign = -1
	case p.accept("+"):
		d.Sign = 1
	default:
		return nil, fault(t, "as in (now() - 3 days)", "expected - or + after now(), found %v", t)
	}
	n := p.peek()
	o, err := p.measure()
	if err != nil {
		return nil, err
	}
	var ok bool
	if d.Offset, ok = o.(DurationOperand); !ok {
		return nil, fault(n, "as in (now() - 3 days)", "expected days, hours or minutes, found %v", n)
	}
	return d, p.expect(")", "after the time")
}

// measure reads a number and its unit.
func (p *parser) measure() (Operand, error) {
	n := p.peek()
	amount, err := strconv.Atoi(n.text)
	if n.kind != numberToken || err != nil || amount > 1<<30 {
		return nil, fault(n, "", "expected a whole number before the unit, found %v", n)
	}
	p.take()
	unit := p.peek()
	switch {
	case unit.isWord(durationUnits...):
		p.take()
		return DurationOperand{amount, unit.text}, nil
	case unit.isWord(sizeUnits...):
		p.take()
		return SizeOperand{amount, unit.text}, nil
	}
	return nil, fault(unit, suggest(unit.text, units), "expected a unit (%s), found %v", strings.Join(units, ", "), unit)
}

var units = slices.Concat(durationUnits, sizeUnits)

// isUnit says whether the word is a unit, or was meant to be one.
func isUnit(word string) bool {
	return !isReserved(word) && !isType(word) && suggest(word, units) != ""
}

// functions of dynamic rules, and how many arguments each has at most.
var functions = map[string]int{
	"last": 1, "avg": 1, "median": 1, "max": 1, "min": 1, "sum": 1, "std": 1, "abs": 1, "percentile": 2, "index": 2,
}

func (p *parser) sum() (Expr, error)     { return p.binary("+-", p.product) }
func (p *parser) product() (Expr, error) { return p.binary("*/", p.factor) }

func (p *parser) binary(ops string, next func() (Expr, error)) (Expr, error) {
	left, err := next()
	for n := 1; err == nil && p.peek().kind == symbolToken && strings.Contains(ops, p.peek().text); n++ {
		if n == maxTerms {
			return nil, fault(p.peek(), "", "a number is computed from more than %d others", maxTerms)
		}
		op := p.take().text[0]
		var right Expr
		right, err = next()
		left = &Binary{op, left, right}
	}
	return left, err
}

func (p *parser) factor() (Expr, error) {
	t := p.peek()
	switch {
	case t.is("("):
		if err := p.deeper(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		p.take()
		e, err := p.sum()
		if err != nil {
			return nil, err
		}
		return e, p.expect(")", "after the number")
	case t.is("-") && (p.ahead(1).kind == numberToken || isReal(p.ahead(1))):
		p.take()
		return p.literal("-")
	case t.kind == numberToken || isReal(t):
		return p.literal("")
	case t.is("-"):
		return nil, fault(p.ahead(1), "comments begin with #", "expected a number after -, found %v", p.ahead(1))
	case t.kind == wordToken && p.ahead(1).is("("):
		return p.call()
	}
	return nil, fault(t, "", "expected a number, found %v", t)
}

// realShape is a number that Glue's grammar has not, up to the sign of its exponent.
var realShape = regexp.MustCompile(`^([0-9]*\.[0-9]+|[0-9]+\.?)([eE][0-9]*)?$`)

// isReal says whether the word is a number, or the part of one before the sign of its exponent.
func isReal(t token) bool { return t.kind == wordToken && realShape.MatchString(t.text) }

// literal reads a number. One that Glue's grammar has not is written as Glue reads it.
func (p *parser) literal(sign string) (Expr, error) {
	t := p.take()
	text := sign + t.text
	isOpen := t.kind == wordToken && strings.HasSuffix(strings.ToLower(text), "e")
	if s := p.peek(); isOpen && (s.is("-") || s.is("+")) && p.ahead(1).kind == numberToken {
		text += p.take().text + p.take().text
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fault(t, "as in 1500, -0.5 or 1.5e3", "%v is no number, or out of range", t)
	}
	if t.kind == wordToken {
		text = strconv.FormatFloat(v, 'f', -1, 64)
	}
	return Literal{Text: text, Value: v}, nil
}

func (p *parser) call() (Expr, error) {
	name := p.take()
	most, ok := functions[name.text]
	if !ok {
		names := make([]string, 0, len(functions))
		for f := range functions {
			names = append(names, f)
		}
		return nil, fault(name, suggest(name.text, names), "there is no function %s", name)
	}
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.take()
	c := &Call{Pos: name.pos, Name: name.text}
	if !p.peek().is(")") {
		for {
			arg, err := p.sum()
			if err != nil {
				return nil, err
			}
			c.Args = append(c.Args, arg)
			if !p.accept(",") {
				break
			}
		}
	}
	if len(c.Args) > most || len(c.Args) < most && c.Name != "last" {
		return nil, fault(name, "", "%s takes %d arguments, got %d", c.Name, most, len(c.Args))
	}
	if c.Name == "last" && len(c.Args) == 1 {
		if n, ok := c.Args[0].(Literal); !ok || n.Value < 1 || n.Value != float64(int(n.Value)) {
			return nil, fault(name, "as in avg(last(10))", "last takes a whole number, at least 1")
		}
	}
	return c, p.expect(")", "after the arguments of "+c.Name)
}

// settle finds the condition's kind among those that are allowed, and makes its operands of it.
func (c *Condition) settle(t Type, kinds Kind, at token) error {
	var found Kind
	for i, o := range c.Operands {
		if r, ok := o.(Reference); ok {
			o = r.Value
		}
		switch o := o.(type) {
		case Expr:
			found |= Number
		case DurationOperand:
			found |= Duration
		case SizeOperand:
			found |= Size
		case DateOperand:
			found |= Date
		case Keyword:
			if o != NullWord {
				found |= String
			}
		case Text:
			k, made := settleText(o, kinds, c.isOrder())
			found |= k
			if _, isReference := c.Operands[i].(Reference); !isReference && made != nil && c.Constant == "" {
				c.Operands[i] = made
			}
		}
	}
	if found == 0 {
		found = Null
	}
	if found == String|Date && kinds&String != 0 {
		found = String
		for i, o := range c.Operands {
			d, ok := o.(DateOperand)
			if ok && d.Day == "" {
				return fault(at, "", "now() cannot stand among strings")
			}
			if ok {
				c.Operands[i] = Text(d.Day)
			}
		}
	}
	if found == Number|Size {
		return fault(at, "give every number a unit", "a condition has sizes and plain numbers")
	}
	c.Kind = found
	isPattern := c.Op == Matches || c.Op == NotMatches
	if isPattern && found == Date && kinds&String != 0 {
		c.Kind, c.Operands[0] = String, Text(c.Operands[0].(DateOperand).Day)
	}
	switch {
	case found&(found-1) != 0:
		return fault(at, "write all of them in quotes, or none", "the operands of %s are of different kinds", c.Op)
	case c.Kind&kinds == 0:
		return fault(at, "as in "+t.usage, "%s is not compared with %s", t.Name, kindNames[c.Kind])
	case isPattern && c.Kind != String:
		return fault(at, `as in matches "[a-z]+"`, "%s takes a pattern in quotes", c.Op)
	case c.Kind == String && c.isOrder():
		hint := ""
		if kinds&Date != 0 {
			hint = `a day is written "2026-01-31", a time of day "21:45"`
		}
		return fault(at, hint, "strings are compared with =, !=, in, not in, matches and not matches, not with %s", c.Op)
	}
	if isPattern {
		if _, ok := c.Operands[0].(Keyword); ok {
			return fault(at, "", "%s takes a pattern in quotes, not a keyword", c.Op)
		}
	}
	if c.isOrder() {
		for _, o := range c.Operands {
			if o == Operand(NullWord) {
				return fault(at, "", "NULL is compared with =, !=, in and not in, not with %s", c.Op)
			}
		}
	}
	return nil
}

var kindNames = map[Kind]string{
	Number: "a number", String: "a string", Date: "a date", Duration: "a duration", Size: "a size", Null: "NULL",
}

// isOrder says whether the operator asks which is greater.
func (c *Condition) isOrder() bool {
	switch c.Op {
	case Equal, NotEqual, In, NotIn, Matches, NotMatches:
		return false
	}
	return true
}

// settleText says what a string is where the kinds are allowed, and what operand it makes. A
// time of day is one where strings are not allowed or could not be compared.
func settleText(s Text, kinds Kind, isOrder bool) (Kind, Operand) {
	if kinds&Date != 0 {
		if _, err := time.Parse(shortestDay, string(s)); err == nil && dayShape.MatchString(string(s)) {
			return Date, DateOperand{Day: string(s)}
		}
		if _, err := parseTime(string(s)); err == nil && (kinds&String == 0 || isOrder) && timeShape.MatchString(string(s)) {
			return Date, DateOperand{Time: string(s)}
		}
	}
	if kinds == Number {
		number := strings.TrimPrefix(string(s), "-")
		if v, err := strconv.ParseFloat(string(s), 64); err == nil && isNumber(number) {
			return Number, Literal{Text: string(s), Value: v, IsQuoted: true}
		}
	}
	return String, nil
}
