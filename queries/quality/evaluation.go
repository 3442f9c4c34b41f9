package quality

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// evaluation is one run of a rule set. Rules are planned first, each asking for scalars; the
// scalars of all rules are computed together; then each rule is finished with its own.
type evaluation struct {
	engine  *watched
	primary Dataset
	cfg     Config
	set     *dqdl.Ruleset

	scalars      map[string]*statement // by relation and what it needs
	observations []Observation
	statistics   []Statistic
}

// plan is a rule that waits for its scalars.
type plan struct {
	rule  *dqdl.Rule
	parts []*plan // of a composite
	// row says of a row whether it passes, never NULL; "" if the rule has nothing to say of rows.
	row    string
	where  string // limits row, "" if nothing does
	finish func(ctx context.Context) verdict
}

// verdict is what came of a rule.
type verdict struct {
	result  Result
	reason  string
	metrics map[string]float64
	// condition and threshold are the rule's with dynamic operands resolved; nil as they were.
	condition, threshold *dqdl.Condition
	parts                []*dqdl.Rule // of a composite, likewise
}

func failed(format string, args ...any) verdict {
	return verdict{result: Failed, reason: fmt.Sprintf(format, args...)}
}

func errored(err error) verdict { return verdict{result: Errored, reason: err.Error()} }

// always is a plan whose verdict is known.
func always(r *dqdl.Rule, v verdict) *plan {
	return &plan{rule: r, finish: func(context.Context) verdict { return v }}
}

// statement computes expressions over one relation.
type statement struct {
	with, from string
	exprs      []string
	index      map[string]int
	values     []value
}

type value struct {
	v   any
	err error
}

// scalar is an expression of a statement.
type scalar struct {
	s *statement
	i int
}

// scalar asks for an aggregate over a relation of the dataset.
func (e *evaluation) scalar(d *Dataset, from, expr string) scalar {
	key := d.With + "\x00" + from
	s := e.scalars[key]
	if s == nil {
		s = &statement{with: d.With, from: from, index: map[string]int{}}
		e.scalars[key] = s
	}
	i, ok := s.index[expr]
	if !ok {
		i = len(s.exprs)
		s.index[expr] = i
		s.exprs = append(s.exprs, expr)
	}
	return scalar{s, i}
}

// of asks for an aggregate over the primary dataset.
func (e *evaluation) of(expr string) scalar { return e.scalar(&e.primary, e.primary.From, expr) }

// number returns the scalar's value, and false if it is NULL.
func (s scalar) number() (float64, bool, error) {
	v := s.s.values[s.i]
	if v.err != nil || v.v == nil {
		return 0, false, v.err
	}
	f, err := toFloat(v.v)
	return f, !math.IsNaN(f), err
}

// numbers returns several scalars; NULL is 0.
func numbers(list ...scalar) ([]float64, error) {
	out := make([]float64, len(list))
	for i, s := range list {
		var err error
		if out[i], _, err = s.number(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func toFloat(v any) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case float32:
		return float64(v), nil
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(fmt.Sprint(v)), 64)
	if err != nil {
		return 0, fmt.Errorf("the answer is no number")
	}
	return f, nil
}

// perStatement bounds the expressions of one statement.
const perStatement = 60

// run computes all scalars.
func (e *evaluation) run(ctx context.Context) error {
	for _, key := range slices.Sorted(maps.Keys(e.scalars)) {
		s := e.scalars[key]
		for i := 0; i < len(s.exprs); i += perStatement {
			part := s.exprs[i:min(i+perStatement, len(s.exprs))]
			values, err := e.ask(ctx, s.with, s.from, part)
			if stop := e.stopped(ctx); stop != nil {
				return stop
			}
			for j, expr := range part {
				switch {
				case err == nil:
					s.values = append(s.values, value{v: values[j]})
				case len(part) == 1:
					s.values = append(s.values, value{err: err})
				default:
					// One rule's fault must not be the others': ask one by one.
					v, err := e.ask(ctx, s.with, s.from, []string{expr})
					if stop := e.stopped(ctx); stop != nil {
						return stop
					}
					if err != nil {
						v = []any{nil}
					}
					s.values = append(s.values, value{v[0], err})
				}
			}
		}
	}
	return nil
}

// watched is an engine, and the first fault of it for which no rule is to blame.
type watched struct {
	Engine
	fault error
}

// Query implements Engine.
func (w *watched) Query(ctx context.Context, sql string) (Rows, error) {
	if w.fault != nil {
		return nil, w.fault
	}
	rows, err := w.Engine.Query(ctx, sql)
	var fatal interface{ Fatal() bool }
	if errors.As(err, &fatal) && fatal.Fatal() {
		w.fault = err
	}
	return rows, err
}

// stopped is why the evaluation cannot go on, nil if it can.
func (e *evaluation) stopped(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return e.engine.fault
}

// ask computes expressions over a relation: one row.
func (e *evaluation) ask(ctx context.Context, with, from string, exprs []string) (_ []any, err error) {
	sql := "SELECT " + strings.Join(exprs, ", ") + " FROM " + from
	rows, err := e.engine.Query(ctx, withClause(with)+sql)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]any, len(rows.Names()))
	if err := rows.Next(row); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the statement returned no row")
		}
		return nil, err
	}
	if len(row) != len(exprs) {
		return nil, errors.New("the statement returned another number of columns")
	}
	return row, nil
}

// withClause is WITH and the expressions, or nothing.
func withClause(with string) string {
	if with == "" {
		return ""
	}
	return "WITH " + with + " "
}

// outcome makes the rule's outcome.
func (e *evaluation) outcome(ctx context.Context, p *plan) Outcome {
	v := p.finish(ctx)
	return Outcome{
		Rule: plain(p.rule).String(), Outcome: v.result, FailureReason: v.reason, EvaluatedMetrics: v.metrics,
		EvaluatedRule: evaluated(p, v).String(),
	}
}

// plain is the rule without its labels, which are told apart.
func plain(r *dqdl.Rule) *dqdl.Rule {
	c := *r
	c.Labels = nil
	return &c
}

// evaluated is the rule with its dynamic operands resolved.
func evaluated(p *plan, v verdict) *dqdl.Rule {
	r := plain(p.rule)
	if v.condition != nil {
		r.Condition = v.condition
	}
	if v.threshold != nil {
		r.Threshold = v.threshold
	}
	if v.parts != nil {
		r.Rules = v.parts
	}
	return r
}

// record keeps a metric for later runs.
func (e *evaluation) record(name, of string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	for _, s := range e.statistics {
		if s.Name == name && s.Of == of {
			return
		}
	}
	e.statistics = append(e.statistics, Statistic{name, of, v})
}

// formatted is a number as Glue's messages have it: with a fraction.
func formatted(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.ContainsAny(s, ".NI") {
		s += ".0"
	}
	return s
}

// unmet is the reason of a value that does not meet a condition, in Glue's words.
func unmet(value string) string {
	return "Value: " + value + " does not meet the constraint requirement!"
}
