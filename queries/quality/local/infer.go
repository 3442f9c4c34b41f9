package local

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cardlake/cardlake/queries/quality"
)

// The types of a CSV's columns are found over all of its rows, as Spark's inferSchema does: a
// column has a type if every value that is there suits it. Unlike Spark, a column with a leading
// zero, such as of postal codes, is text, and dates with slashes are dates.
const (
	wholes = `regexp_full_match(v, '[+-]?(0|[1-9][0-9]{0,17})')`
	reals  = `regexp_full_match(v, '[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?')`
	truths = `lower(v) IN ('true', 'false')`
	days   = `(regexp_full_match(v, '[0-9]{4}-[0-9]{2}-[0-9]{2}') AND TRY_CAST(v AS DATE) IS NOT NULL)`
	times  = `(regexp_full_match(v, '[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?( ?(Z|[+-][0-9]{2}(:?[0-9]{2})?))?') AND TRY_CAST(v AS TIMESTAMPTZ) IS NOT NULL)`
	slashy = `regexp_full_match(v, '[0-9]{1,4}[/.-][0-9]{1,2}[/.-][0-9]{1,4}')`
)

// layouts of dates other than ISO 8601's, in the order in which they are tried: where month and
// day cannot be told apart, the month is first.
var layouts = []string{"%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y"}

// found is what the values of a column come to.
type found struct {
	column quality.Column
	sql    string // of the value
}

// infer returns the columns with their types, and the select list that makes of the text v both
// the values and the text as it was written.
func (f *Files) infer(ctx context.Context, s source, columns []quality.Column) ([]quality.Column, []string, error) {
	const tests = 8
	var list []string
	for _, c := range columns {
		for _, test := range []string{"v IS NOT NULL", wholes, reals, truths, days, times, slashy, "TRY_CAST(v AS BIGINT) NOT BETWEEN -2147483648 AND 2147483647"} {
			list = append(list, "count(CASE WHEN "+on(test, c)+" THEN 1 END)")
		}
	}
	counts, err := f.counts(ctx, list, s.from)
	if err != nil {
		return nil, nil, err
	}
	types := make([]found, len(columns))
	for i, c := range columns {
		n := counts[i*tests : (i+1)*tests]
		types[i] = typed(c, n)
		if types[i].column.Kind == quality.Text && n[0] > 0 && n[6] == n[0] {
			if types[i], err = f.dated(ctx, s, c, n[0]); err != nil {
				return nil, nil, err
			}
		}
	}
	out := make([]quality.Column, len(columns))
	var selects []string
	for i, t := range types {
		out[i] = t.column
		out[i].IsWritten = t.column.Kind != quality.Text
		value := t.sql
		if t.column.Kind == quality.Text && f.cfg.KeepBlank {
			value = "coalesce(" + value + ", '')"
		}
		selects = append(selects, value+" AS "+quoteName(t.column.Name))
		if out[i].IsWritten {
			selects = append(selects, quoteName(t.column.Name)+" AS "+quoteName(quality.WrittenName(t.column.Name)))
		}
	}
	return out, selects, nil
}

// on puts the column in the place of v.
func on(test string, c quality.Column) string {
	name := quoteName(c.Name)
	test = strings.ReplaceAll(test, "(v, ", "("+name+", ")
	test = strings.ReplaceAll(test, "(v AS ", "("+name+" AS ")
	test = strings.ReplaceAll(test, "(v)", "("+name+")")
	return strings.Replace(test, "v IS NOT NULL", name+" IS NOT NULL", 1)
}

// typed finds the type from how many values each test holds for.
func typed(c quality.Column, n []int64) found {
	name, is := quoteName(c.Name), func(i int) bool { return n[0] > 0 && n[i] == n[0] }
	as := func(kind quality.Kind, typeName, sqlType string) found {
		c.Kind, c.Type = kind, typeName
		return found{c, "CAST(" + name + " AS " + sqlType + ")"}
	}
	switch {
	case is(1) && n[7] == 0:
		return as(quality.Whole, "integer", "BIGINT")
	case is(1):
		return as(quality.Whole, "long", "BIGINT")
	case is(2):
		return as(quality.Real, "double", "DOUBLE")
	case is(3):
		return as(quality.Truth, "boolean", "BOOLEAN")
	case is(4):
		return as(quality.Day, "date", "DATE")
	case is(5), n[0] > 0 && n[4]+n[5] == n[0]:
		return as(quality.Instant, "timestamp", "TIMESTAMP")
	}
	c.Kind, c.Type = quality.Text, "string"
	return found{c, name}
}

// dated looks for a layout of dates that all values have.
func (f *Files) dated(ctx context.Context, s source, c quality.Column, all int64) (found, error) {
	name := quoteName(c.Name)
	var list []string
	for _, layout := range layouts {
		list = append(list, "count(try_strptime("+name+", "+quote(layout)+"))")
	}
	n, err := f.counts(ctx, list, s.from)
	if err != nil {
		return found{}, err
	}
	for i, layout := range layouts {
		if n[i] == all {
			c.Kind, c.Type = quality.Day, "date"
			return found{c, "CAST(strptime(" + name + ", " + quote(layout) + ") AS DATE)"}, nil
		}
	}
	c.Kind, c.Type = quality.Text, "string"
	return found{c, name}, nil
}

// counts runs a statement that returns one row of counts.
func (f *Files) counts(ctx context.Context, list []string, from string) (_ []int64, err error) {
	rows, err := f.db.QueryContext(ctx, "SELECT "+strings.Join(list, ", ")+" FROM "+from)
	if err != nil {
		return nil, explain(ctx, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return nil, errors.Join(errors.New("no answer"), explain(ctx, rows.Err()))
	}
	n := make([]int64, len(list))
	into := make([]any, len(list))
	for i := range n {
		into[i] = &n[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, fmt.Errorf("count values: %w", err)
	}
	return n, nil
}
