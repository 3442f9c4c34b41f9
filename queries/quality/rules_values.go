package quality

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// planShare plans a rule that each row passes or fails: all must pass, or as many as the
// threshold asks for. why says why not all do.
func (e *evaluation) planShare(r *dqdl.Rule, in scope, metric, row string, why func(share float64) string) *plan {
	passing, all := e.of(in.count(row)), e.of(in.count("TRUE"))
	return &plan{rule: r, row: row, finish: func(context.Context) verdict {
		n, err := numbers(passing, all)
		switch {
		case err != nil:
			return in.broken(r, err)
		case n[1] == 0:
			return noRows(in)
		}
		of := in.name()
		if r.Condition != nil {
			of += r.Condition.String() // a share is told apart by more than its name
		}
		return e.shared(r, metric, of, n[0], n[1], why)
	}}
}

// shared judges the share of rows that pass: all must, or as many as the threshold asks for.
func (e *evaluation) shared(r *dqdl.Rule, metric, of string, passing, all float64, why func(float64) string) verdict {
	share := passing / all
	v := verdict{result: Passed, metrics: map[string]float64{metric: share}}
	if r.Threshold == nil {
		if passing < all {
			v.result, v.reason = Failed, why(share)
		}
		e.record(metric, of, share)
		return v
	}
	resolved, operands, err := e.resolve(r.Threshold, metric, of)
	e.record(metric, of, share)
	if err != nil {
		return errored(err)
	}
	v.threshold = resolved
	if !holds(resolved, share, operands) {
		v.result, v.reason = Failed, unmet(formatted(share))
	}
	return v
}

// percent is the reason of a rule that too few rows pass, in Glue's words.
func percent(share float64) string {
	return fmt.Sprintf("%.2f %% of rows passed the threshold", 100*share)
}

// planValues plans ColumnValues.
func (e *evaluation) planValues(r *dqdl.Rule, in scope) *plan {
	c, err := e.primary.column(r.Params[0].Value())
	if err != nil {
		return always(r, failed("%v", err))
	}
	row, err := e.valuesPredicate(r, c)
	if err != nil {
		return always(r, errored(err))
	}
	metric := "Column." + c.Name + ".ColumnValues.Compliance"
	nulls, all := e.of(in.count(c.sql()+" IS NULL")), e.of(in.count("TRUE"))
	isNumber := r.Condition.Kind == dqdl.Number
	var low, high scalar
	if isNumber {
		low, high = e.of("min("+in.value(c.number())+")"), e.of("max("+in.value(c.number())+")")
	}
	p := e.planShare(r, in, metric, row, nil)
	inner := *p
	passing := e.of(in.count(row))
	p.finish = func(ctx context.Context) verdict {
		if r.Threshold != nil {
			return inner.finish(ctx)
		}
		n, err := numbers(passing, all, nulls)
		switch {
		case err != nil:
			return in.broken(r, err)
		case n[1] == 0:
			return noRows(in)
		}
		v := verdict{result: Passed, metrics: map[string]float64{}}
		lowest, hasLow, highest, hasHigh := 0.0, false, 0.0, false
		if isNumber {
			var err1, err2 error
			lowest, hasLow, err1 = low.number()
			highest, hasHigh, err2 = high.number()
			if err := errors.Join(err1, err2); err != nil {
				return in.broken(r, err)
			}
		}
		if hasLow && hasHigh {
			v.metrics["Column."+c.Name+".Minimum"], v.metrics["Column."+c.Name+".Maximum"] = lowest, highest
			e.record("Column."+c.Name+".Minimum", in.name(), lowest)
			e.record("Column."+c.Name+".Maximum", in.name(), highest)
		} else {
			v.metrics[metric] = n[0] / n[1]
		}
		if n[0] == n[1] {
			return v
		}
		v.result = Failed
		var reasons []string
		failing := n[1] - n[0]
		nullFails := !passesNull(r.Condition)
		if !nullFails || failing > n[2] {
			switch op := r.Condition.Op; {
			case hasLow && (op == dqdl.Greater || op == dqdl.GreaterEqual):
				reasons = append(reasons, unmet(formatted(lowest)))
			case hasHigh && (op == dqdl.Less || op == dqdl.LessEqual):
				reasons = append(reasons, unmet(formatted(highest)))
			default:
				reasons = append(reasons, unmet(formatted(n[0]/n[1])))
			}
		}
		if nullFails && n[2] > 0 {
			reasons = append(reasons, unmet("NULL"))
		}
		v.reason = strings.Join(reasons, "\n")
		return v
	}
	return p
}

// passesNull says whether a row with NULL passes the condition.
func passesNull(c *dqdl.Condition) bool {
	named := false
	for _, o := range c.Operands {
		named = named || keyword(o) == dqdl.NullWord
	}
	switch c.Op {
	case dqdl.NotEqual, dqdl.NotIn:
		return !named
	}
	return named
}

// keyword is the operand's keyword, or "".
func keyword(o dqdl.Operand) dqdl.Keyword {
	if r, ok := o.(dqdl.Reference); ok {
		o = r.Value
	}
	k, _ := o.(dqdl.Keyword)
	return k
}

// textOf is the operand's text.
func textOf(o dqdl.Operand) (dqdl.Text, bool) {
	if r, ok := o.(dqdl.Reference); ok {
		o = r.Value
	}
	t, ok := o.(dqdl.Text)
	return t, ok
}

// valuesPredicate says of a row whether ColumnValues holds; never NULL.
func (e *evaluation) valuesPredicate(r *dqdl.Rule, c Column) (string, error) {
	switch cond := r.Condition; cond.Kind {
	case dqdl.Number:
		return numberPredicate(cond, c)
	case dqdl.Date:
		return e.datePredicate(cond, c)
	default:
		ignoreCase, _ := r.Tag("ignoreCase")
		return textPredicate(cond, c, strings.EqualFold(ignoreCase, "true"))
	}
}

// number is a literal of SQL.
func number(f float64) string { return "CAST('" + strconv.FormatFloat(f, 'g', -1, 64) + "' AS DOUBLE)" }

// ordered is the predicate for values that have an order. null says what of NULL.
func ordered(op dqdl.Op, value string, operands []string, isNull string, passesNull bool) string {
	var s string
	switch op {
	case dqdl.Between:
		s = value + " > " + operands[0] + " AND " + value + " < " + operands[1]
	case dqdl.NotBetween:
		s = value + " <= " + operands[0] + " OR " + value + " >= " + operands[1]
	case dqdl.In, dqdl.Equal:
		s = "FALSE"
		if len(operands) > 0 {
			s = value + " IN (" + strings.Join(operands, ", ") + ")"
		}
	case dqdl.NotIn, dqdl.NotEqual:
		s = "TRUE"
		if len(operands) > 0 {
			s = value + " NOT IN (" + strings.Join(operands, ", ") + ")"
		}
	default:
		s = value + " " + string(op) + " " + operands[0]
	}
	null := "FALSE"
	if passesNull {
		null = "TRUE"
	}
	// A text that is no such value is not NULL, and is unequal to every one.
	other := "FALSE"
	if op == dqdl.NotIn || op == dqdl.NotEqual {
		other = "TRUE"
	}
	return "(CASE WHEN " + isNull + " THEN " + null + " ELSE coalesce((" + s + "), " + other + ") END)"
}

func numberPredicate(c *dqdl.Condition, column Column) (string, error) {
	var operands []string
	for _, o := range c.Operands {
		switch o := o.(type) {
		case dqdl.Literal:
			operands = append(operands, number(o.Value))
		case dqdl.Keyword:
		default:
			if dqdl.IsDynamic(o) {
				return "", errors.New("values of rows cannot be compared with values of earlier runs")
			}
			v, err := (&evaluation{}).compute(o.(dqdl.Expr), "", "")
			if err != nil {
				return "", err
			}
			operands = append(operands, number(v[0]))
		}
	}
	return ordered(c.Op, column.number(), operands, column.sql()+" IS NULL", passesNull(c)), nil
}

// datePredicate compares days, or instants if the column has them and an operand is finer than a
// day.
func (e *evaluation) datePredicate(c *dqdl.Condition, column Column) (string, error) {
	var at []time.Time
	isFine := false
	for _, o := range c.Operands {
		switch o := o.(type) {
		case dqdl.DateOperand:
			at = append(at, o.At(e.cfg.Now, time.UTC))
			isFine = isFine || o.Time != "" || o.Day == "" && o.Offset.Unit != "days"
		case dqdl.Keyword:
		default:
			text, _ := textOf(o)
			day, err := time.Parse(time.DateOnly, text.Value())
			if err != nil {
				return "", fmt.Errorf("%s is no date", o)
			}
			at = append(at, day)
		}
	}
	isInstant := isFine && column.Kind != Day
	operands := make([]string, len(at))
	for i, t := range at {
		operands[i] = "DATE " + quote(t.Format(time.DateOnly))
		if isInstant {
			operands[i] = instantSQL(t)
		}
	}
	value := column.day()
	if isInstant {
		value = column.instant()
	}
	return ordered(c.Op, value, operands, column.sql()+" IS NULL", passesNull(c)), nil
}

func instantSQL(t time.Time) string {
	return "TIMESTAMP " + quote(t.UTC().Format("2006-01-02 15:04:05"))
}

// textPredicate compares text.
func textPredicate(c *dqdl.Condition, column Column, ignoreCase bool) (string, error) {
	text := column.text()
	null := column.sql() + " IS NULL"
	var parts []string
	if c.Op == dqdl.Matches || c.Op == dqdl.NotMatches {
		t, _ := textOf(c.Operands[0])
		p, err := parsePattern(t.Pattern())
		if err != nil {
			return "", err
		}
		parts = append(parts, p.sql(text, ignoreCase))
	}
	value, fold := text, func(s string) string { return s }
	if ignoreCase {
		value, fold = "lower("+text+")", strings.ToLower
	}
	var values []string
	if len(parts) == 0 {
		for _, o := range c.Operands {
			switch keyword(o) {
			case dqdl.NullWord: // passesNull has it
			case dqdl.EmptyWord:
				parts = append(parts, text+" = ''")
			case dqdl.SpacesWord:
				parts = append(parts, "("+text+" <> '' AND regexp_matches("+text+", '^\\s+$'))")
			default:
				t, _ := textOf(o)
				values = append(values, quote(fold(t.Value())))
			}
		}
	}
	if len(values) > 0 {
		parts = append(parts, value+" IN ("+strings.Join(values, ", ")+")")
	}
	match := "FALSE"
	if len(parts) > 0 {
		match = "(" + strings.Join(parts, " OR ") + ")"
	}
	switch c.Op {
	case dqdl.NotEqual, dqdl.NotIn, dqdl.NotMatches:
		match = "NOT " + match
	}
	isNull := "FALSE"
	if passesNull(c) {
		isNull = "TRUE"
	}
	return "(CASE WHEN " + null + " THEN " + isNull + " ELSE " + match + " END)", nil
}

// planLength plans ColumnLength. NULL has length 0 (guide, "ColumnLength").
func (e *evaluation) planLength(r *dqdl.Rule, in scope) *plan {
	c, err := e.primary.column(r.Params[0].Value())
	if err != nil {
		return always(r, failed("%v", err))
	}
	length := lengthOf(c)
	var operands []string
	for _, o := range r.Condition.Operands {
		v, err := (&evaluation{}).compute(o.(dqdl.Expr), "", "")
		if err != nil {
			return always(r, errored(err))
		}
		operands = append(operands, number(v[0]))
	}
	row := ordered(r.Condition.Op, length, operands, "FALSE", false)
	low, high := e.of("min("+in.value(length)+")"), e.of("max("+in.value(length)+")")
	share := e.planShare(r, in, "Column."+c.Name+".ColumnValues.Compliance", row, percent)
	finish := share.finish
	share.finish = func(ctx context.Context) verdict {
		v := finish(ctx)
		n, err := numbers(low, high)
		if err != nil || len(v.metrics) == 0 {
			return v
		}
		if r.Threshold == nil {
			v.metrics = map[string]float64{}
			if v.result == Failed {
				extreme := n[0]
				if op := r.Condition.Op; op == dqdl.Less || op == dqdl.LessEqual || n[0] == n[1] {
					extreme = n[1]
				}
				v.reason = unmet(formatted(extreme))
			}
		}
		e.lengths(c, in, n, v.metrics)
		return v
	}
	return share
}

func lengthOf(c Column) string {
	return "CAST(CASE WHEN " + c.sql() + " IS NULL THEN 0 ELSE length(" + c.text() + ") END AS DOUBLE)"
}

func (e *evaluation) lengths(c Column, in scope, n []float64, metrics map[string]float64) {
	for i, name := range []string{"MinimumLength", "MaximumLength"} {
		metrics["Column."+c.Name+"."+name] = n[i]
		e.record("Column."+c.Name+"."+name, in.name(), n[i])
	}
}

// planFreshness plans DataFreshness: ages in hours, to two digits, as deequ has them. NULL fails.
func (e *evaluation) planFreshness(r *dqdl.Rule, in scope) *plan {
	c, err := e.primary.column(r.Params[0].Value())
	if err != nil {
		return always(r, failed("%v", err))
	}
	hours := "round(date_diff('second', " + c.instant() + ", " + instantSQL(e.cfg.Now) + ") / CAST(3600 AS DOUBLE), 2)"
	var operands []string
	for _, o := range r.Condition.Operands {
		operands = append(operands, number(o.(dqdl.DurationOperand).Length().Hours()))
	}
	row := "coalesce(" + ordered(r.Condition.Op, hours, operands, hours+" IS NULL", false) + ", FALSE)"
	return e.planShare(r, in, "Column."+c.Name+".DataFreshness.Compliance", row, percent)
}
