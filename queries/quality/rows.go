package quality

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// The columns that WriteRows adds (EvaluateDataQuality, "rowLevelOutcomes").
const (
	PassColumn   = "DataQualityRulesPass"
	FailColumn   = "DataQualityRulesFail"
	SkipColumn   = "DataQualityRulesSkip"
	ResultColumn = "DataQualityEvaluationResult"
)

// RowConfig is how rows are told. The zero value is Glue's default.
type RowConfig struct {
	// SkipFiltered puts a rule whose where leaves a row out among the skipped, not the passed
	// (rowLevelConfiguration.filteredRowLabel "SKIPPED").
	SkipFiltered bool
}

// Row is a row of the dataset and what the rules say of it.
type Row struct {
	Values           []string // as they were written; IsNull says which are NULL
	IsNull           []bool
	Pass, Fail, Skip []string // rules
}

// Passed says whether no rule failed on the row.
func (r *Row) Passed() bool { return len(r.Fail) == 0 }

// EachRow calls f with every row of the dataset, in its order, and what each rule says of it.
// Rules that have nothing to say of single rows, such as Mean, are skipped. f does not keep the
// row.
func EachRow(ctx context.Context, engine Engine, set *dqdl.Ruleset, primary Dataset, cfg Config, rowCfg RowConfig, f func(*Row) error) (err error) {
	e := newEvaluation(engine, set, primary, cfg)
	var plans []*plan
	for _, r := range set.Rules {
		plans = append(plans, e.plan(ctx, r))
	}
	if err := e.run(ctx); err != nil {
		return err
	}
	var exprs []string
	for _, c := range primary.Columns {
		exprs = append(exprs, c.text())
	}
	with := primary.With
	says := make([]int, len(plans)) // where a rule's answer is in the row, 0 if nowhere
	for i, p := range plans {
		expr := e.rowOutcome(p, rowCfg)
		if expr == "" || p.finish(ctx).result == Errored {
			continue
		}
		says[i] = len(exprs)
		exprs = append(exprs, expr)
		if own := e.datasets(expr); own != with && len(own) > len(with) {
			with = own
		}
	}
	rows, err := engine.Query(ctx, withClause(with)+"SELECT "+strings.Join(exprs, ", ")+" FROM "+primary.From)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]any, len(exprs))
	n := len(primary.Columns)
	row := Row{Values: make([]string, n), IsNull: make([]bool, n)}
	for {
		if err := rows.Next(values); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		for i, v := range values[:n] {
			row.Values[i], row.IsNull[i] = "", v == nil
			if v != nil {
				row.Values[i] = fmt.Sprint(v)
			}
		}
		row.Pass, row.Fail, row.Skip = row.Pass[:0], row.Fail[:0], row.Skip[:0]
		for i := range plans {
			name := plain(set.Rules[i]).String()
			switch {
			case says[i] == 0 || values[says[i]] == nil:
				row.Skip = append(row.Skip, name)
			case values[says[i]] == true:
				row.Pass = append(row.Pass, name)
			default:
				row.Fail = append(row.Fail, name)
			}
		}
		if err := f(&row); err != nil {
			return err
		}
	}
}

// rowOutcome says of a row whether the rule passes, NULL if it has nothing to say of it; "" if it
// has nothing to say of any. A composite has, if all of its parts have.
func (e *evaluation) rowOutcome(p *plan, cfg RowConfig) string {
	if len(p.parts) == 0 {
		switch {
		case p.row == "":
			return ""
		case p.where != "" && cfg.SkipFiltered:
			return "CASE WHEN " + p.where + " THEN " + p.row + " END"
		}
		return limited(p)
	}
	var parts []string
	for _, part := range p.parts {
		s := e.rowOutcome(part, cfg)
		if s == "" {
			return ""
		}
		parts = append(parts, s)
	}
	return "(" + strings.Join(parts, " "+strings.ToUpper(string(p.rule.Operator))+" ") + ")"
}
