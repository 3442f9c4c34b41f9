package lftest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
)

// maxExpression: "total length of the expression must be less than 2048 characters".
const maxExpression = 2047

// predicate says whether a row with these values is given. A column that is not among them has
// an unknown value, which is taken to be one that gives the row.
type predicate func(row map[string]string) bool

// parseExpression reads a row filter expression (Lake Formation developer guide, "PartiQL
// support in row filter expressions"): simple expressions of a column, one of the operators =,
// <>, !=, <, >, <=, >=, IN, LIKE, BETWEEN and IS [NOT] NULL and constants of the column's type;
// composite ones of those in parentheses with AND and OR. NOT is refused: the guide names it
// and does not say where it may stand.
func parseExpression(text string, t *cardlake.Table) (predicate, error) {
	if len(text) == 0 || len(text) > maxExpression {
		return nil, errors.New("length of the expression")
	}
	p := &parser{table: t}
	for rest := text; rest != ""; {
		m := tokens.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("character %q", rest[0])
		}
		if m[1] != "" {
			p.tokens = append(p.tokens, m[1])
		}
		rest = rest[len(m[0]):]
	}
	out, err := p.composite()
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("%q after the expression", p.tokens[0])
	}
	return out, err
}

var tokens = regexp.MustCompile(`^(?:\s+|('(?:[^']|'')*'|[a-zA-Z_][a-zA-Z0-9_]*|-?[0-9]+(?:\.[0-9]+)?|<>|!=|<=|>=|[=<>(),]))`)

type parser struct {
	table  *cardlake.Table
	tokens []string
}

func (p *parser) next() string {
	if len(p.tokens) == 0 {
		return ""
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

func (p *parser) take(word string) bool {
	if len(p.tokens) > 0 && strings.EqualFold(p.tokens[0], word) {
		p.tokens = p.tokens[1:]
		return true
	}
	return false
}

func (p *parser) composite() (predicate, error) {
	out, err := p.part()
	for err == nil {
		isAnd := p.take("AND")
		if !isAnd && !p.take("OR") {
			return out, nil
		}
		left := out
		var right predicate
		if right, err = p.part(); err != nil {
			break
		}
		if isAnd {
			out = func(row map[string]string) bool { return left(row) && right(row) }
		} else {
			out = func(row map[string]string) bool { return left(row) || right(row) }
		}
	}
	return nil, err
}

func (p *parser) part() (predicate, error) {
	if !p.take("(") {
		return p.simple()
	}
	out, err := p.composite()
	if err == nil && !p.take(")") {
		err = errors.New("a parenthesis is not closed")
	}
	return out, err
}

func (p *parser) simple() (predicate, error) {
	name := p.next()
	column := p.table.Column(name)
	if column == nil {
		return nil, fmt.Errorf("there is no column %q", name)
	}
	on := func(holds func(value string) bool) predicate {
		return func(row map[string]string) bool {
			value, ok := row[name]
			return !ok || holds(value)
		}
	}
	switch operator := strings.ToUpper(p.next()); operator {
	case "=", "<>", "!=", "<", ">", "<=", ">=":
		value, err := p.constant(column)
		return on(func(v string) bool { return compare(v, operator, value) }), err
	case "IN":
		if !p.take("(") {
			return nil, errors.New("IN without a list")
		}
		var list []string
		for {
			value, err := p.constant(column)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
			if p.take(")") {
				return on(func(v string) bool { return slices.Contains(list, v) }), nil
			}
			if !p.take(",") {
				return nil, errors.New("a list is not closed")
			}
		}
	case "BETWEEN":
		low, err := p.constant(column)
		if err != nil || !p.take("AND") {
			return nil, errors.New("BETWEEN without two constants")
		}
		high, err := p.constant(column)
		return on(func(v string) bool { return compare(v, ">=", low) && compare(v, "<=", high) }), err
	case "LIKE":
		pattern, err := p.constant(column)
		if err != nil || column.Type != cardlake.String {
			return nil, errors.New("LIKE is for strings")
		}
		expression := strings.NewReplacer("%", ".*", "_", ".").Replace(regexp.QuoteMeta(pattern))
		matches, err := regexp.Compile("^(?s:" + expression + ")$")
		return on(func(v string) bool { return matches.MatchString(v) }), err
	case "IS":
		isNot := p.take("NOT")
		if !p.take("NULL") {
			return nil, errors.New("IS without NULL")
		}
		return on(func(string) bool { return isNot }), nil
	default:
		return nil, fmt.Errorf("operator %q", operator)
	}
}

// compare compares as texts, which is right for strings only; other columns are never known.
func compare(v, operator, with string) bool {
	switch c := strings.Compare(v, with); operator {
	case "=":
		return c == 0
	case "<>", "!=":
		return c != 0
	case "<":
		return c < 0
	case ">":
		return c > 0
	case "<=":
		return c <= 0
	default:
		return c >= 0
	}
}

// constant reads a constant of the column's type.
func (p *parser) constant(c *cardlake.Column) (string, error) {
	token := p.next()
	inner, isText := strings.CutPrefix(token, "'")
	isBool := strings.EqualFold(token, "true") || strings.EqualFold(token, "false")
	isNumber := token != "" && (token[0] == '-' || token[0] >= '0' && token[0] <= '9')
	switch c.Type {
	case cardlake.String:
		if isText {
			return strings.ReplaceAll(strings.TrimSuffix(inner, "'"), "''", "'"), nil
		}
	case cardlake.Bool:
		if isBool {
			return strings.ToLower(token), nil
		}
	case cardlake.Int32, cardlake.Int64, cardlake.Decimal18x4:
		if isNumber {
			return token, nil
		}
	}
	return "", fmt.Errorf("%q is no constant for column %s", token, c.Name)
}
