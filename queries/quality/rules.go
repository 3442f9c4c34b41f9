package quality

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// plan plans a rule.
func (e *evaluation) plan(ctx context.Context, r *dqdl.Rule) *plan {
	if r.IsComposite() {
		return e.planComposite(ctx, r)
	}
	in, err := e.scope(r)
	if err != nil {
		return always(r, errored(fmt.Errorf("the rule has provided an invalid where clause: %w", err)))
	}
	var p *plan
	switch r.Type {
	case "RowCount":
		p = e.planMetric(r, "Dataset.*.RowCount", in, e.of(in.count("TRUE")))
	case "ColumnCount":
		p = e.planKnown(r, "Dataset.*.ColumnCount", float64(len(e.primary.Columns)))
	case "ColumnExists":
		p = e.planExists(r)
	case "ColumnNamesMatchPattern":
		p = e.planNames(r)
	case "Completeness", "IsComplete":
		p = e.planCompleteness(r, in)
	case "Mean", "Sum", "StandardDeviation", "Variance":
		p = e.planNumbers(r, in)
	case "ColumnCorrelation":
		p = e.planCorrelation(r, in)
	case "Uniqueness", "UniqueValueRatio", "DistinctValuesCount", "Entropy", "IsUnique", "IsPrimaryKey":
		p = e.planFrequency(r, in)
	case "ColumnValues":
		p = e.planValues(r, in)
	case "ColumnLength":
		p = e.planLength(r, in)
	case "ColumnDataType":
		p = e.planDataType(r, in)
	case "DataFreshness":
		p = e.planFreshness(r, in)
	case "CustomSql":
		p = e.planSQL(ctx, r)
	case "AggregateMatch":
		p = e.planAggregateMatch(r)
	case "RowCountMatch":
		p = e.planRowCountMatch(r)
	case "SchemaMatch":
		p = e.planSchemaMatch(r)
	case "ReferentialIntegrity":
		p = e.planIntegrity(r)
	case "DatasetMatch":
		p = e.planDatasetMatch(r)
	case "DetectAnomalies":
		p = e.planAnomalies(ctx, r)
	case "FileFreshness", "FileMatch", "FileSize", "FileUniqueness":
		p = e.planFiles(r)
	default:
		p = always(r, errored(fmt.Errorf("%s cannot be evaluated", r.Type)))
	}
	p.where = in.where
	return p
}

// scope is the rows that a rule looks at: those for which where holds, all if it is "".
type scope struct{ where string }

func (e *evaluation) scope(r *dqdl.Rule) (scope, error) {
	if r.Where == nil {
		return scope{}, nil
	}
	where, err := predicate(r.Where.Value(), func(name string) bool {
		_, err := e.primary.column(name)
		return err == nil
	})
	return scope{where}, err
}

// name is the scope as statistics are told apart by it.
func (s scope) name() string { return s.where }

// value is the expression in the scope's rows, NULL in others.
func (s scope) value(expr string) string {
	if s.where == "" {
		return expr
	}
	return "CASE WHEN " + s.where + " THEN " + expr + " END"
}

// count is how many of the scope's rows the predicate holds for.
func (s scope) count(predicate string) string {
	switch {
	case s.where == "" && predicate == "TRUE":
		return "count(*)"
	case s.where == "":
		return "count(CASE WHEN " + predicate + " THEN 1 END)"
	case predicate == "TRUE":
		return "count(CASE WHEN " + s.where + " THEN 1 END)"
	}
	return "count(CASE WHEN " + s.where + " AND " + predicate + " THEN 1 END)"
}

// broken turns an error of the rule's SQL into a verdict.
func (s scope) broken(r *dqdl.Rule, err error) verdict {
	if s.where != "" {
		return errored(fmt.Errorf("Rule %s has provided an invalid where clause: %w", plain(r), err)) // Glue's words
	}
	return errored(err)
}

// judge compares a metric with the rule's condition.
func (e *evaluation) judge(r *dqdl.Rule, metric, of string, value float64) verdict {
	v := verdict{result: Passed, metrics: map[string]float64{metric: value}}
	if r.Condition == nil {
		e.record(metric, of, value)
		return v // an analyzer
	}
	resolved, operands, err := e.resolve(r.Condition, metric, of)
	e.record(metric, of, value)
	if err != nil {
		v.result, v.reason = Errored, err.Error()
		return v
	}
	v.condition = resolved
	if !holds(resolved, value, operands) {
		v.result, v.reason = Failed, unmet(formatted(value))
	}
	return v
}

// planMetric plans a rule whose metric is one scalar.
func (e *evaluation) planMetric(r *dqdl.Rule, metric string, in scope, s scalar) *plan {
	return &plan{rule: r, finish: func(context.Context) verdict {
		v, ok, err := s.number()
		switch {
		case err != nil:
			return in.broken(r, err)
		case !ok:
			return failed("%s cannot be computed: there are no values but NULL, or some are not finite", metric)
		}
		return e.answered(r, e.judge(r, metric, in.name(), v), metric, in)
	}}
}

// answered judges a rule that has one answer by its threshold: the share of its answers that meet
// the condition is all or nothing.
func (e *evaluation) answered(r *dqdl.Rule, v verdict, metric string, in scope) verdict {
	if r.Threshold == nil || v.result == Errored {
		return v
	}
	met := 0.0
	if v.result == Passed {
		met = 1
	}
	share := e.shared(r, metric+".Compliance", in.name()+r.Condition.String(), met, 1, nil)
	if share.result != v.result {
		v.result, v.reason = share.result, share.reason
	}
	maps.Copy(v.metrics, share.metrics)
	v.threshold = share.threshold
	return v
}

// planKnown plans a rule whose metric is known.
func (e *evaluation) planKnown(r *dqdl.Rule, metric string, value float64) *plan {
	return &plan{rule: r, finish: func(context.Context) verdict { return e.judge(r, metric, "", value) }}
}

func (e *evaluation) planExists(r *dqdl.Rule) *plan {
	if _, err := e.primary.column(r.Params[0].Value()); err != nil {
		return always(r, failed("%v", err))
	}
	return always(r, verdict{result: Passed})
}

// planNames plans ColumnNamesMatchPattern. A pattern that anchors itself may match a part of a
// name; another must match the whole.
func (e *evaluation) planNames(r *dqdl.Rule) *plan {
	text := r.Params[0].Text.Pattern()
	p, err := parsePattern(text)
	if err != nil {
		return always(r, errored(err))
	}
	if !strings.HasPrefix(text, "^") && !strings.HasSuffix(text, "$") {
		p.rest = "^(?:" + p.rest + ")$"
	}
	matches, err := p.finder()
	if err != nil {
		return always(r, errored(err))
	}
	var others []string
	for _, c := range e.primary.Columns {
		if !matches(c.Name) {
			others = append(others, c.Name)
		}
	}
	v := verdict{result: Passed, metrics: map[string]float64{}}
	if n := len(e.primary.Columns); n > 0 {
		v.metrics["Dataset.*.ColumnNamesPatternMatchRatio"] = float64(n-len(others)) / float64(n)
	}
	if len(others) > 0 {
		v.result, v.reason = Failed, "Columns that do not match the pattern: "+strings.Join(others, ", ")
	}
	return always(r, v)
}

// noRows is the verdict over no rows at all.
func noRows(in scope) verdict {
	if in.where != "" {
		return verdict{result: Passed, reason: "No rows matched the filter"} // deequ's words
	}
	return failed("The dataset has no rows")
}

func (e *evaluation) planCompleteness(r *dqdl.Rule, in scope) *plan {
	c, err := e.primary.column(r.Params[0].Value())
	if err != nil {
		return always(r, failed("%v", err))
	}
	row := c.sql() + " IS NOT NULL"
	there, all := e.of(in.count(row)), e.of(in.count("TRUE"))
	return &plan{rule: r, row: row, finish: func(context.Context) verdict {
		n, err := numbers(there, all)
		switch {
		case err != nil:
			return in.broken(r, err)
		case n[1] == 0:
			return noRows(in)
		}
		v := e.judge(r, "Column."+c.Name+".Completeness", in.name(), n[0]/n[1])
		if r.Type == "IsComplete" && n[0] < n[1] {
			v.result, v.reason = Failed, unmet(formatted(n[0]/n[1]))
		}
		return v
	}}
}

// planNumbers plans the statistics of one column of numbers. NULL is left out.
func (e *evaluation) planNumbers(r *dqdl.Rule, in scope) *plan {
	c, err := e.primary.column(r.Params[0].Value())
	if err != nil {
		return always(r, failed("%v", err))
	}
	if c.Kind != Text && !c.isNumeric() {
		return always(r, failed("Column %s is no column of numbers: it is of type %s", c.Name, c.Type))
	}
	f := map[string]string{"Mean": "avg", "Sum": "sum", "StandardDeviation": "stddev_pop", "Variance": "var_pop"}[r.Type]
	number := c.number()
	if r.Type == "Sum" && c.isNumeric() {
		number = c.sql() // exact, if the type is
	}
	return e.planMetric(r, "Column."+c.Name+"."+r.Type, in, e.of("CAST("+f+"("+in.value(number)+") AS DOUBLE)"))
}

func (e *evaluation) planCorrelation(r *dqdl.Rule, in scope) *plan {
	columns, err := e.primary.columns([]string{r.Params[0].Value(), r.Params[1].Value()})
	if err != nil {
		return always(r, failed("%v", err))
	}
	metric := "Multicolumn." + columns[0].Name + "," + columns[1].Name + ".ColumnCorrelation"
	return e.planMetric(r, metric, in, e.of("corr("+in.value(columns[0].number())+", "+in.value(columns[1].number())+")"))
}

// planFrequency plans what is asked of how often values occur.
func (e *evaluation) planFrequency(r *dqdl.Rule, in scope) *plan {
	var names []string
	for _, p := range r.Params {
		names = append(names, p.Value())
	}
	columns, err := e.primary.columns(names)
	if err != nil {
		return always(r, failed("%v", err))
	}
	var keys, any, all []string
	for i, c := range columns {
		names[i] = c.Name
		keys = append(keys, c.sql())
		any = append(any, c.sql()+" IS NOT NULL")
		all = append(all, c.sql()+" IS NOT NULL")
	}
	there := "(" + strings.Join(any, " OR ") + ")"
	if r.Type == "DistinctValuesCount" {
		there = "TRUE" // deequ's histogram counts NULL as a value
	}
	if in.where != "" {
		there += " AND " + in.where
	}
	from := "(SELECT count(*) AS n FROM " + e.primary.From + " WHERE " + there + " GROUP BY " + strings.Join(keys, ", ") + ") AS f"
	ask := func(expr string) scalar { return e.scalar(&e.primary, from, "CAST("+expr+" AS DOUBLE)") }
	unique, distinct, total := ask("sum(CASE WHEN n = 1 THEN 1 ELSE 0 END)"), ask("count(*)"), ask("sum(n)")
	entropy := scalar{}
	if r.Type == "Entropy" {
		entropy = ask("sum(n * ln(n))")
	}
	var present scalar
	rowCount := e.of(in.count("TRUE"))
	if r.Type == "IsPrimaryKey" {
		present = e.of(in.count("(" + strings.Join(all, " AND ") + ")"))
	}
	prefix := "Column." + names[0]
	if len(names) > 1 {
		prefix = "Multicolumn." + strings.Join(names, ",")
	}
	occurs := "count(*) OVER (PARTITION BY " + strings.Join(keys, ", ") + ")"
	if in.where != "" {
		occurs = "count(CASE WHEN " + in.where + " THEN 1 END) OVER (PARTITION BY " + strings.Join(keys, ", ") + ")"
	}
	p := &plan{rule: r}
	switch r.Type {
	case "IsPrimaryKey":
		p.row = "(" + occurs + " = 1 AND " + strings.Join(all, " AND ") + ")"
	case "IsUnique", "Uniqueness", "UniqueValueRatio", "DistinctValuesCount":
		p.row = "(" + occurs + " = 1)"
	}
	if r.Type == "DistinctValuesCount" {
		p.row = ""
	}
	p.finish = func(context.Context) verdict {
		n, err := numbers(unique, distinct, total, rowCount)
		switch {
		case err != nil:
			return in.broken(r, err)
		case r.Type == "DistinctValuesCount":
			return e.judge(r, prefix+".DistinctValuesCount", in.name(), n[1])
		case n[3] == 0:
			return noRows(in)
		case n[2] == 0:
			return failed("%s.%s cannot be computed: there are no values but NULL", prefix, r.Type)
		}
		switch r.Type {
		case "UniqueValueRatio":
			return e.judge(r, prefix+".UniqueValueRatio", in.name(), n[0]/n[1])
		case "Entropy":
			sum, err := numbers(entropy)
			if err != nil {
				return in.broken(r, err)
			}
			return e.judge(r, prefix+".Entropy", in.name(), max(0, math.Log(n[2])-sum[0]/n[2]))
		}
		v := e.judge(r, prefix+".Uniqueness", in.name(), n[0]/n[2])
		if r.Type != "Uniqueness" && n[0] < n[2] {
			v.result, v.reason = Failed, unmet(formatted(n[0]/n[2]))
		}
		if r.Type == "IsPrimaryKey" {
			complete, err := numbers(present)
			if err != nil {
				return in.broken(r, err)
			}
			if complete[0] < n[3] {
				v.result = Failed
				v.reason = strings.TrimPrefix(v.reason+"\n"+unmet("NULL"), "\n")
			}
		}
		return v
	}
	return p
}

// planComposite plans a composite rule.
func (e *evaluation) planComposite(ctx context.Context, r *dqdl.Rule) *plan {
	p := &plan{rule: r}
	for _, part := range r.Rules {
		p.parts = append(p.parts, e.plan(ctx, part))
	}
	p.finish = func(ctx context.Context) verdict { return e.join(ctx, p) }
	if e.cfg.IsRowwise {
		p.finish = func(ctx context.Context) verdict { return e.rowwise(ctx, p) }
	}
	return p
}

// join joins what came of the parts over the whole dataset.
func (e *evaluation) join(ctx context.Context, p *plan) verdict {
	v := verdict{metrics: map[string]float64{}}
	var reasons []string
	passed, broken := 0, 0
	for _, part := range p.parts {
		o := part.finish(ctx)
		for name, m := range o.metrics {
			v.metrics[name] = m
		}
		switch o.result {
		case Passed:
			passed++
		case Errored:
			broken++
			fallthrough
		default:
			reasons = append(reasons, o.reason)
		}
		v.parts = append(v.parts, evaluated(part, o))
	}
	isAnd := p.rule.Operator == dqdl.And
	switch {
	case isAnd && passed == len(p.parts), !isAnd && passed > 0:
		v.result = Passed
	case isAnd && passed+broken < len(p.parts), broken == 0:
		v.result = Failed
	default:
		v.result = Errored
	}
	if v.result != Passed {
		v.reason = strings.Join(reasons, "\n")
	}
	return v
}

var errNotRowwise = errors.New("rules of ratios and thresholds cannot be part of a composite rule that is evaluated row by row")

// rowwise evaluates a composite rule on each row (guide, "How Composite rules work").
func (e *evaluation) rowwise(ctx context.Context, p *plan) verdict {
	predicate, err := e.rowPredicate(ctx, p)
	if err != nil {
		return errored(err)
	}
	row, err := e.ask(ctx, e.primary.With, "(SELECT "+predicate+" AS ok FROM "+e.primary.From+") AS r", []string{"count(*)", "count(CASE WHEN ok THEN 1 END)"})
	if err != nil {
		return errored(err)
	}
	all, err1 := toFloat(row[0])
	ok, err2 := toFloat(row[1])
	switch {
	case errors.Join(err1, err2) != nil:
		return errored(errors.Join(err1, err2))
	case all == 0:
		return noRows(scope{})
	case ok < all:
		return failed("%.2f %% of rows passed the threshold", 100*ok/all)
	}
	return verdict{result: Passed}
}

// rowPredicate says of a row whether the rule passes. What a rule says of the whole dataset it
// says of each row.
func (e *evaluation) rowPredicate(ctx context.Context, p *plan) (string, error) {
	if len(p.parts) > 0 {
		var parts []string
		for _, part := range p.parts {
			s, err := e.rowPredicate(ctx, part)
			if err != nil {
				return "", err
			}
			parts = append(parts, s)
		}
		return "(" + strings.Join(parts, " "+strings.ToUpper(string(p.rule.Operator))+" ") + ")", nil
	}
	t, _ := dqdl.Lookup(p.rule.Type)
	switch {
	case t.IsRatio || p.rule.Threshold != nil:
		return "", fmt.Errorf("%w: %s", errNotRowwise, plain(p.rule))
	case p.row != "":
		return limited(p), nil
	}
	switch v := p.finish(ctx); v.result {
	case Errored:
		return "", errors.New(v.reason)
	case Passed:
		return "TRUE", nil
	}
	return "FALSE", nil
}

// limited is the plan's predicate, which rows outside of its where pass.
func limited(p *plan) string {
	if p.where == "" {
		return p.row
	}
	return "(NOT coalesce(" + p.where + ", FALSE) OR " + p.row + ")"
}
