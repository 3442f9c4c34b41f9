package quality

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// planSQL plans CustomSql: a number that is compared, or rows of the dataset that pass.
func (e *evaluation) planSQL(ctx context.Context, r *dqdl.Rule) *plan {
	text := r.Params[0].Value()
	if r.Condition != nil {
		return &plan{rule: r, finish: func(ctx context.Context) verdict { return e.customNumber(ctx, r, text) }}
	}
	row, err := e.customRows(ctx, text)
	if err != nil {
		return always(r, errored(err))
	}
	return e.planShareOf(r, row, "Dataset.*.CustomSQL.Compliance")
}

// datasets are the common table expressions of all datasets that the SQL may name.
func (e *evaluation) datasets(sql string) string {
	with := e.primary.With
	for _, alias := range sortedKeys(e.cfg.References) {
		if d := e.cfg.References[alias]; d.With != "" && strings.Contains(sql, alias) {
			with = strings.TrimPrefix(with+", "+d.With, ", ")
		}
	}
	return with
}

// isName says whether a dataset, or a column of one, has the name.
func (e *evaluation) isName(name string) bool {
	if _, err := e.primary.column(name); err == nil || strings.EqualFold(name, "primary") {
		return true
	}
	for alias, d := range e.cfg.References {
		if _, err := d.column(name); err == nil || strings.EqualFold(name, alias) {
			return true
		}
	}
	return false
}

// customNumber runs a statement that returns one number.
func (e *evaluation) customNumber(ctx context.Context, r *dqdl.Rule, text string) verdict {
	sql, err := query(text, e.datasets(text), e.isName)
	if err != nil {
		return errored(err)
	}
	value, err := e.single(ctx, sql)
	if err != nil {
		return errored(err)
	}
	return e.judge(r, "Dataset.*.CustomSQL", text, value)
}

// single runs a statement whose answer is one number.
func (e *evaluation) single(ctx context.Context, sql string) (_ float64, err error) {
	rows, err := e.engine.Query(ctx, sql)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if n := len(rows.Names()); n != 1 {
		return 0, fmt.Errorf("the statement returns %d columns, and one number is needed", n)
	}
	var row [1]any
	if err := rows.Next(row[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, errors.New("the statement returned no row, and one number is needed")
		}
		return 0, err
	}
	if row[0] == nil {
		return 0, errors.New("the statement returned NULL, and a number is needed")
	}
	value, err := toFloat(row[0])
	if err != nil {
		return 0, err
	}
	if err := rows.Next(row[:]); !errors.Is(err, io.EOF) {
		return 0, errors.Join(errors.New("the statement returned several rows, and one number is needed"), err)
	}
	return value, nil
}

// customRows is the predicate of rows that the statement returns.
func (e *evaluation) customRows(ctx context.Context, text string) (string, error) {
	inner, err := query(text, "", e.isName)
	if err != nil {
		return "", err
	}
	probe := withClause(e.datasets(text)) + "SELECT * FROM (" + inner + ") AS s LIMIT 0"
	rows, err := e.engine.Query(ctx, probe)
	if err != nil {
		return "", err
	}
	names := slices.Clone(rows.Names())
	if err := rows.Close(); err != nil {
		return "", err
	}
	var own, unknown, same []string
	for _, name := range names {
		c, err := e.primary.column(name)
		if err != nil {
			unknown = append(unknown, name)
			continue
		}
		own = append(own, name)
		same = append(same, c.in(e.primary.From).sql()+" IS NOT DISTINCT FROM s."+quoteName(name))
	}
	switch {
	case len(own) == 0:
		return "", errors.New("The output from CustomSQL must contain at least one column that matches the input dataset for AWS Glue Data Quality to provide row level results. The SQL query is a valid query but the columns from the SQL result are not present in the Input Dataset. Ensure that matching columns are returned from the SQL.") // Glue's words
	case len(unknown) > 0:
		return "", fmt.Errorf("The columns returned from the SQL statement should only belong to the primary table. Columns not found: %s", strings.Join(unknown, ", ")) // Glue's words
	}
	return "EXISTS (SELECT 1 FROM (" + inner + ") AS s WHERE " + strings.Join(same, " AND ") + ")", nil
}

// planShareOf plans a rule of the share of rows that pass a predicate which other datasets may
// be in.
func (e *evaluation) planShareOf(r *dqdl.Rule, row, metric string) *plan {
	all := e.primary
	all.With = e.datasets(row)
	from := "(SELECT " + row + " AS ok FROM " + all.From + ") AS m"
	passing, total := e.scalar(&all, from, "count(CASE WHEN ok THEN 1 END)"), e.scalar(&all, from, "count(*)")
	return &plan{rule: r, row: row, finish: func(context.Context) verdict {
		n, err := numbers(passing, total)
		switch {
		case err != nil:
			return errored(err)
		case n[1] == 0:
			return failed("Custom SQL rule could not be evaluated due to data frame being empty") // deequ's words
		}
		return e.shared(r, metric, r.Params[0].Value(), n[0], n[1], percent)
	}}
}
