package queries

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
)

// An engine counts the memory of rows, but not that of a single long value, and it can be
// interrupted between steps, but not within the one step in which it computes an expression for
// a block of rows. So what one expression can make of its arguments is bounded here, by the
// statement's text.
const (
	maxExpressions = 4096
	maxStars       = 64
	// maxLength bounds the sum of the lengths that lpad and rpad fill up to.
	maxLength = 10_000
	// maxGrowth bounds by how much replacements and lambdas, one applied to another's result,
	// can lengthen a value.
	maxGrowth = 4096
)

var (
	// sized are functions that make a value of a given length, and which argument says so.
	sized = map[string]int{"lpad": 1, "rpad": 1}
	// replacing are functions that put a text in the place of others, and which argument it is.
	replacing = map[string]int{"replace": 2, "regexp_replace": 2}
)

// What a parser makes of a statement can be far larger than its text, and is there before
// anything of it can be checked: CUBE and lists of grouping sets multiply, up to 65,535 sets
// each, and a window that has a name is copied to each place that names it.
const (
	maxGroupings  = 8
	maxWindowText = 4 << 10 // bytes of a statement that names a window
)

// Keywords of what multiplies. They have no other spelling: what is quoted is no keyword. Such
// words in texts and comments count too.
var (
	groupings   = regexp.MustCompile(`(?i)\b(cube|rollup|grouping)\b`)
	namedWindow = regexp.MustCompile(`(?i)\bwindow\b`)
)

// growing refuses a statement that could grow while it is parsed, from its text alone.
func growing(sql string) error {
	switch {
	case len(groupings.FindAllStringIndex(sql, maxGroupings+1)) > maxGroupings:
		return &Error{Message: fmt.Sprintf("a statement with more than %d of CUBE, ROLLUP and GROUPING is not allowed", maxGroupings), Offset: -1}
	case len(sql) > maxWindowText && namedWindow.MatchString(sql):
		return &Error{Message: fmt.Sprintf("a statement with a WINDOW clause has at most %d bytes", maxWindowText), Hint: "write the window where it is used", Offset: -1}
	}
	return nil
}

// count refuses a statement of too many parts.
func (w *walker) count(n node, class string) error {
	w.expressions++
	switch class {
	case "STAR":
		w.stars++
	case "COLUMN_REF":
		w.refs++
	}
	if w.expressions > maxExpressions || w.stars > maxStars {
		return refuse(n, "a statement of more than %d expressions or %d stars is not allowed", maxExpressions, maxStars)
	}
	return nil
}

// lengthArgument requires that argument i, the length of what the function makes, is a small
// literal.
func (w *walker) lengthArgument(n node, name string, i int) error {
	value, _ := literal(n, i)
	number, _ := value.(json.Number)
	length, err := strconv.Atoi(number.String())
	if err == nil && length <= maxLength-w.length {
		w.length += max(length, 0)
		return nil
	}
	return refuse(n, "the length in %s must be a literal, all of them together at most %d", name, maxLength)
}

// replacement requires that argument i is a literal: each place that it is put in may have had
// no length at all, and a letter of it may stand for all that there was (\0).
func (w *walker) replacement(n node, name string, i int) error {
	value, ok := literal(n, i)
	if !ok {
		return refuse(n, "the replacement in %s must be a literal", name)
	}
	with := text(value)
	if name == "replace" {
		if from, ok := literal(n, 1); ok && len(with) <= len(text(from)) {
			return nil // it lengthens nothing
		}
	}
	return w.grow(n, len(with)+1)
}

// lambda takes every name in it for the element once more.
func (w *walker) lambda(s *scope, n node, sh shape) error {
	before := w.refs
	if err := fields(w, s, n, "a lambda", sh); err != nil {
		return err
	}
	return w.grow(n, w.refs-before)
}

func (w *walker) grow(n node, factor int) error {
	if w.growth = max(w.growth, 1) * max(factor, 1); w.growth > maxGrowth {
		return refuse(n, "replacements and lambdas that can lengthen a value more than %d times are not allowed", maxGrowth)
	}
	return nil
}

// literal returns the value of argument i if it is a literal.
func literal(n node, i int) (any, bool) {
	args, _ := n["children"].([]any)
	if i >= len(args) {
		return nil, false
	}
	arg, _ := args[i].(node)
	value, ok := arg["value"].(node)
	return value["value"], ok && text(arg["class"]) == "CONSTANT"
}
