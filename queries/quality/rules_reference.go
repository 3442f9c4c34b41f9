package quality

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// reference returns the dataset with the alias; "primary" is the primary one.
func (e *evaluation) reference(alias string) (*Dataset, error) {
	if alias == "primary" || alias == "" {
		return &e.primary, nil
	}
	d, ok := e.cfg.References[alias]
	if !ok {
		return nil, fmt.Errorf("Reference dataset '%s' not found in additional data sources", alias) // deequ's words
	}
	return &d, nil
}

var aggregateShape = regexp.MustCompile(`(?i)^\s*(sum|avg)\s*\((.*)\)\s*$`)

// planAggregateMatch plans AggregateMatch.
func (e *evaluation) planAggregateMatch(r *dqdl.Rule) *plan {
	var names []string
	var scalars []scalar
	for _, param := range r.Params {
		m := aggregateShape.FindStringSubmatch(param.Value())
		if m == nil {
			return always(r, errored(fmt.Errorf("%q is neither sum(COLUMN) nor avg(COLUMN), where COLUMN may follow a reference and a dot", param.Value())))
		}
		d, c, err := e.qualified(m[2])
		if err != nil {
			return always(r, failed("%v", err))
		}
		value := c.number()
		if c.isNumeric() {
			value = c.sql()
		}
		names = append(names, c.Name)
		scalars = append(scalars, e.scalar(d, d.From, "CAST("+strings.ToLower(m[1])+"("+value+") AS DOUBLE)"))
	}
	metric := "Column." + names[0] + ".AggregateMatch"
	if names[0] != names[1] {
		metric = "Column." + names[0] + "," + names[1] + ".AggregateMatch"
	}
	return &plan{rule: r, finish: func(context.Context) verdict {
		var values [2]float64
		for i, s := range scalars {
			v, ok, err := s.number()
			switch {
			case err != nil:
				return errored(err)
			case !ok:
				return failed("%s cannot be computed: there are no values but NULL", r.Params[i].Value())
			}
			values[i] = v
		}
		return e.judge(r, metric, r.Params[0].Value()+" "+r.Params[1].Value(), ratio(values[0], values[1]))
	}}
}

// ratio is a to b; of nothing to nothing it is 1 (awslabs/deequ, AggregateMatchExecutor).
func ratio(a, b float64) float64 {
	switch {
	case a == 0 && b == 0:
		return 1
	case b == 0:
		return 0
	}
	return a / b
}

// qualified finds COLUMN or REFERENCE.COLUMN. A column of the primary dataset may have dots.
func (e *evaluation) qualified(name string) (*Dataset, Column, error) {
	name = strings.ReplaceAll(strings.TrimSpace(name), `"`, "")
	dot := strings.LastIndexByte(name, '.')
	if c, err := e.primary.column(name); err == nil || dot < 0 {
		return &e.primary, c, err
	}
	d, err := e.reference(name[:dot])
	if err != nil {
		return nil, Column{}, err
	}
	c, err := d.column(name[dot+1:])
	return d, c, err
}

// planRowCountMatch plans RowCountMatch.
func (e *evaluation) planRowCountMatch(r *dqdl.Rule) *plan {
	alias := r.Params[0].Value()
	d, err := e.reference(alias)
	if err != nil {
		return always(r, errored(err))
	}
	own, other := e.of("count(*)"), e.scalar(d, d.From, "count(*)")
	return &plan{rule: r, finish: func(context.Context) verdict {
		n, err := numbers(own, other)
		switch {
		case err != nil:
			return errored(err)
		case n[1] == 0 && n[0] > 0:
			return failed("The reference dataset has no rows")
		}
		return e.judge(r, "Dataset."+alias+".RowCountMatch", "", ratio(n[0], n[1]))
	}}
}

// planSchemaMatch plans SchemaMatch (awslabs/deequ, SchemaMatch).
func (e *evaluation) planSchemaMatch(r *dqdl.Rule) *plan {
	alias := r.Params[0].Value()
	d, err := e.reference(alias)
	if err != nil {
		return always(r, errored(err))
	}
	metric := "Dataset." + alias + ".SchemaMatch"
	if len(d.Columns) != len(e.primary.Columns) {
		return &plan{rule: r, finish: func(context.Context) verdict {
			v := e.judge(r, metric, "", 0)
			if v.result == Failed {
				v.reason = "Column counts do not match"
			}
			return v
		}}
	}
	types := map[string]string{}
	for _, c := range d.Columns {
		types[c.Name] = c.Type
	}
	matched := 0
	for _, c := range e.primary.Columns {
		if t, ok := types[c.Name]; ok && t == c.Type {
			matched++
		}
	}
	return e.planKnown(r, metric, ratio(float64(matched), float64(len(e.primary.Columns))))
}

var (
	bracedShape = regexp.MustCompile(`^(.+)\.\{(.+)\}$`)
	dottedShape = regexp.MustCompile(`^(.+)\.([^.]+)$`)
)

func split(list string) []string {
	names := strings.Split(list, ",")
	for i, n := range names {
		names[i] = strings.TrimSpace(n)
	}
	return names
}

// planIntegrity plans ReferentialIntegrity. A row with a NULL among its columns has no match.
func (e *evaluation) planIntegrity(r *dqdl.Rule) *plan {
	unquoted := strings.ReplaceAll(r.Params[1].Value(), `"`, "")
	m := bracedShape.FindStringSubmatch(unquoted)
	if m == nil {
		m = dottedShape.FindStringSubmatch(unquoted)
	}
	if m == nil {
		return always(r, errored(fmt.Errorf("%q is neither REFERENCE.COLUMN nor REFERENCE.{COLUMN,COLUMN}", unquoted)))
	}
	d, err := e.reference(m[1])
	if err != nil {
		return always(r, errored(err))
	}
	own, err := e.primary.columns(split(strings.TrimPrefix(r.Params[0].Value(), "primary.")))
	if err != nil {
		return always(r, failed("%v", err))
	}
	others, err := d.columns(split(m[2]))
	if err != nil {
		return always(r, failed("Reference dataset: %v", err))
	}
	if len(own) != len(others) {
		return always(r, errored(fmt.Errorf("The number of columns to check from the primary data frame must equal the number of columns to check from the reference data frame."))) // deequ's words
	}
	row := "EXISTS (SELECT 1 FROM " + d.From + " AS r WHERE " + equal(own, e.primary.From, others, "r", "=") + ")"
	metric := "Column." + m[1] + ".ReferentialIntegrity"
	return e.planMatched(r, e.with(d), row, metric, nil)
}

// with is the primary dataset together with another.
func (e *evaluation) with(d *Dataset) *Dataset {
	both := e.primary
	if d.With != "" && d.With != both.With {
		both.With = strings.TrimPrefix(both.With+", "+d.With, ", ")
	}
	return &both
}

// equal compares columns of two relations pairwise.
func equal(own []Column, ownRelation string, others []Column, otherRelation, op string) string {
	var parts []string
	for i := range own {
		a, b := alike(own[i].in(ownRelation), others[i].in(otherRelation))
		parts = append(parts, a+" "+op+" "+b)
	}
	return strings.Join(parts, " AND ")
}

// planMatched plans a rule of the share of rows that have a match. check, if not nil, says what
// else must hold first.
func (e *evaluation) planMatched(r *dqdl.Rule, both *Dataset, row, metric string, check func() error) *plan {
	from := "(SELECT " + row + " AS ok FROM " + both.From + ") AS m"
	matched, all := e.scalar(both, from, "count(CASE WHEN ok THEN 1 END)"), e.scalar(both, from, "count(*)")
	return &plan{rule: r, row: row, finish: func(context.Context) verdict {
		if check != nil {
			if err := check(); err != nil {
				return failed("%v", err)
			}
		}
		n, err := numbers(matched, all)
		switch {
		case err != nil:
			return errored(err)
		case n[1] == 0:
			return failed("Primary data frame contains no data.") // deequ's words
		}
		return e.judge(r, metric, r.Params[0].Value()+" "+r.Params[1].Value(), n[0]/n[1])
	}}
}

// mapping reads COLUMN->COLUMN,COLUMN: pairs of columns of both datasets.
func (e *evaluation) mapping(text string, d *Dataset) (own, others []Column, _ error) {
	for _, pair := range split(text) {
		left, right, ok := strings.Cut(pair, "->")
		if !ok {
			right = left
		}
		a, err := e.primary.column(left)
		if err != nil {
			return nil, nil, err
		}
		b, err := d.column(right)
		if err != nil {
			return nil, nil, fmt.Errorf("Reference dataset: %w", err)
		}
		own, others = append(own, a), append(others, b)
	}
	return own, others, nil
}

// planDatasetMatch plans DatasetMatch: rows whose keys and other columns are in the reference.
func (e *evaluation) planDatasetMatch(r *dqdl.Rule) *plan {
	alias := r.Params[0].Value()
	d, err := e.reference(alias)
	if err != nil {
		return always(r, errored(err))
	}
	keys, otherKeys, err := e.mapping(r.Params[1].Value(), d)
	if err != nil {
		return always(r, failed("%v", err))
	}
	var own, others []Column
	if len(r.Params) == 3 {
		if own, others, err = e.mapping(r.Params[2].Value(), d); err != nil {
			return always(r, failed("%v", err))
		}
	} else {
		isKey := map[string]bool{}
		for _, k := range keys {
			isKey[k.Name] = true
		}
		for _, c := range e.primary.Columns {
			if isKey[c.Name] {
				continue
			}
			other, err := d.column(c.Name)
			if err != nil {
				return always(r, failed("Non key columns in the given data frames do not match.")) // deequ's words
			}
			own, others = append(own, c), append(others, other)
		}
	}
	isKey := []scalar{}
	for _, side := range []struct {
		d       *Dataset
		columns []Column
	}{{&e.primary, keys}, {d, otherKeys}} {
		var names, nulls []string
		for _, c := range side.columns {
			names = append(names, c.sql())
			nulls = append(nulls, c.sql()+" IS NULL")
		}
		from := "(SELECT count(*) AS n, count(CASE WHEN " + strings.Join(nulls, " OR ") + " THEN 1 END) AS nulls FROM " + side.d.From + " GROUP BY " + strings.Join(names, ", ") + ") AS k"
		isKey = append(isKey, e.scalar(side.d, from, "CAST(max(n) AS DOUBLE)"), e.scalar(side.d, from, "CAST(sum(nulls) AS DOUBLE)"))
	}
	condition := equal(keys, e.primary.From, otherKeys, "r", "=")
	if len(own) > 0 {
		condition += " AND " + equal(own, e.primary.From, others, "r", "IS NOT DISTINCT FROM")
	}
	row := "EXISTS (SELECT 1 FROM " + d.From + " AS r WHERE " + condition + ")"
	return e.planMatched(r, e.with(d), row, "Dataset."+alias+".DatasetMatch", func() error {
		n, err := numbers(isKey...)
		if err != nil {
			return err
		}
		if n[0] > 1 || n[1] > 0 || n[2] > 1 || n[3] > 0 {
			return fmt.Errorf("Provided key map not suitable for given data frames: keys must be unique and not NULL in both") // Glue's words
		}
		return nil
	})
}
