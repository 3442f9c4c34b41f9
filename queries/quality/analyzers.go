package quality

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"strconv"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// Distribution is how often values occur (guide, "Distribution analyzer"). BinEdges are the
// bounds of the bins for numbers, one more than Count has, else the values, the most frequent
// first.
type Distribution struct {
	BinEdges []string
	Count    []int64
	DataType string
	// Bins is how many were asked for, and Overflows how many runs in a row more than 5 % of the
	// values were outside of the edges.
	Bins      int
	Overflows int `json:",omitempty"`
}

// planAnalyzer plans an analyzer: what a rule of its type measures, without a condition.
func (e *evaluation) planAnalyzer(ctx context.Context, r *dqdl.Rule) *plan {
	switch r.Type {
	case "CustomSql":
		text := r.Params[0].Value()
		return &plan{rule: r, finish: func(ctx context.Context) verdict { return e.customNumber(ctx, r, text) }}
	case "Distribution":
		return &plan{rule: r}
	case "ColumnValues", "ColumnLength", "AllStatistics":
		return e.planStatistics(ctx, r)
	}
	return e.plan(ctx, r)
}

// planStatistics plans the analyzers of several metrics.
func (e *evaluation) planStatistics(ctx context.Context, r *dqdl.Rule) *plan {
	columns := e.primary.Columns
	if name := r.Params[0].Value(); r.Type != "AllStatistics" || name != "AllColumns" {
		c, err := e.primary.column(name)
		if err != nil {
			return always(r, failed("%v", err))
		}
		columns = []Column{c}
	}
	var parts []*plan
	add := func(ruleType string, c Column) {
		parts = append(parts, e.plan(ctx, &dqdl.Rule{Pos: r.Pos, Type: ruleType, Params: []dqdl.Param{{Text: dqdl.Quote(c.Name), IsQuoted: true}}}))
	}
	var named []func() (string, float64, bool, error)
	bound := func(name, expr string) {
		s := e.of("CAST(" + expr + " AS DOUBLE)")
		named = append(named, func() (string, float64, bool, error) {
			v, ok, err := s.number()
			return name, v, ok, err
		})
	}
	if r.Type == "AllStatistics" {
		bound("Dataset.*.RowCount", "count(*)")
		bound("Dataset.*.ColumnCount", strconv.Itoa(len(e.primary.Columns)))
	}
	for _, c := range columns {
		if r.Type == "AllStatistics" {
			add("Completeness", c)
			add("Uniqueness", c)
		}
		isLength := r.Type == "ColumnLength" || !c.isNumeric()
		switch {
		case isLength && c.Kind != Other:
			bound("Column."+c.Name+".MinimumLength", "min("+lengthOf(c)+")")
			bound("Column."+c.Name+".MaximumLength", "max("+lengthOf(c)+")")
		case c.isNumeric():
			bound("Column."+c.Name+".Minimum", "min("+c.number()+")")
			bound("Column."+c.Name+".Maximum", "max("+c.number()+")")
			if r.Type == "AllStatistics" {
				for _, t := range []string{"Entropy", "Mean", "StandardDeviation", "Sum"} {
					add(t, c)
				}
			}
		}
	}
	return &plan{rule: r, finish: func(ctx context.Context) verdict {
		v := verdict{result: Passed, metrics: map[string]float64{}}
		for _, f := range named {
			name, value, ok, err := f()
			if err != nil {
				return errored(err)
			}
			if ok {
				v.metrics[name] = value
				e.record(name, "", value)
			}
		}
		for _, p := range parts {
			maps.Copy(v.metrics, p.finish(ctx).metrics)
		}
		return v
	}}
}

// measure makes an analyzer's result.
func (e *evaluation) measure(ctx context.Context, r *dqdl.Rule, p *plan) AnalyzerResult {
	result := AnalyzerResult{Analyzer: r.String()}
	if r.Type == "Distribution" {
		var err error
		if result.Distributions, err = e.distributions(ctx, r); err != nil {
			result.Error = err.Error()
		}
		return result
	}
	v := p.finish(ctx)
	result.EvaluatedMetrics = v.metrics
	if v.result != Passed {
		result.Error = v.reason
	}
	return result
}

// Bounds of the Distribution analyzer (guide).
const (
	defaultBins   = 20
	mostValues    = 20
	someOverflow  = 0.02
	muchOverflow  = 0.05
	rebinAfter    = 3
	edgePrecision = 17
)

func (e *evaluation) distributions(ctx context.Context, r *dqdl.Rule) (map[string]Distribution, error) {
	columns := e.primary.Columns
	if name := r.Params[0].Value(); name != "AllColumns" {
		c, err := e.primary.column(name)
		if err != nil {
			return nil, err
		}
		columns = []Column{c}
	}
	bins := defaultBins
	if n, ok := r.Tag("bins"); ok {
		bins, _ = strconv.Atoi(n) // the parser has checked it
	}
	rebin, _ := r.Tag("rebin")
	all := map[string]Distribution{}
	for _, c := range columns {
		var d Distribution
		var err error
		switch {
		case c.isNumeric():
			d, err = e.histogram(ctx, r, c, bins, rebin != "false")
		case c.Kind == Other:
			continue
		default:
			d, err = e.frequencies(ctx, c)
		}
		if err != nil {
			return nil, err
		}
		all["Column."+c.Name+".Distribution"] = d
	}
	return all, nil
}

// frequencies are the most frequent values of a column.
func (e *evaluation) frequencies(ctx context.Context, c Column) (_ Distribution, err error) {
	d := Distribution{DataType: c.Type}
	sql := withClause(e.primary.With) + "SELECT " + c.text() + " AS v, count(*) AS n FROM " + e.primary.From +
		" WHERE " + c.sql() + " IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT " + strconv.Itoa(mostValues)
	rows, err := e.engine.Query(ctx, sql)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var row [2]any
	for {
		if err := rows.Next(row[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return d, nil
			}
			return d, err
		}
		n, err := toFloat(row[1])
		if err != nil {
			return d, err
		}
		d.BinEdges = append(d.BinEdges, fmt.Sprint(row[0]))
		d.Count = append(d.Count, int64(n))
	}
}

// earlier is the distribution of the column that the newest run has.
func (e *evaluation) earlier(r *dqdl.Rule, c Column, bins int) (Distribution, bool) {
	for i := len(e.cfg.History) - 1; i >= 0; i-- {
		for _, a := range e.cfg.History[i].Analyzers {
			if d, ok := a.Distributions["Column."+c.Name+".Distribution"]; ok && d.Bins == bins {
				return d, true
			}
		}
	}
	return Distribution{}, false
}

// histogram counts a column's values in bins of equal width. The first run's edges are kept;
// what falls outside is counted in the outermost bins and observed.
func (e *evaluation) histogram(ctx context.Context, r *dqdl.Rule, c Column, bins int, rebin bool) (Distribution, error) {
	row, err := e.ask(ctx, e.primary.With, e.primary.From, []string{"min(" + c.number() + ")", "max(" + c.number() + ")", "count(" + c.sql() + ")"})
	if err != nil || row[0] == nil {
		return Distribution{DataType: c.Type, Bins: bins}, err
	}
	low, err1 := toFloat(row[0])
	high, err2 := toFloat(row[1])
	total, err3 := toFloat(row[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return Distribution{}, err
	}
	var edges []float64
	old, isFrozen := e.earlier(r, c, bins)
	overflows := old.Overflows
	if isFrozen && len(old.BinEdges) == bins+1 {
		for _, s := range old.BinEdges {
			edge, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return Distribution{}, fmt.Errorf("the kept edges of %s are damaged", c.Name)
			}
			edges = append(edges, edge)
		}
	} else {
		edges, isFrozen = spread(low, high, bins), false
	}
	d, outside, err := e.counts(ctx, c, edges)
	if err != nil || !isFrozen {
		return d, err
	}
	share := outside / total
	if share <= muchOverflow {
		overflows = 0
	} else if overflows++; overflows >= rebinAfter && rebin {
		d, _, err = e.counts(ctx, c, spread(low, high, bins))
		overflows = 0
	}
	d.Overflows = overflows
	if share > someOverflow {
		much := ""
		if share > muchOverflow {
			much = ", which is much"
		}
		e.observations = append(e.observations, Observation{
			Description: fmt.Sprintf("%.1f %% of the values of %s are outside of the distribution's edges%s", 100*share, c.Name, much),
			MetricName:  "Column." + c.Name + ".Distribution", ActualValue: share, UpperLimit: someOverflow,
		})
	}
	return d, err
}

// spread are the edges of bins of equal width.
func spread(low, high float64, bins int) []float64 {
	edges := make([]float64, bins+1)
	for i := range edges {
		edges[i] = low + (high-low)*float64(i)/float64(bins)
	}
	edges[bins] = high
	return edges
}

// counts counts values by bin: from its lower edge up to, without, its upper one, but for the
// last.
func (e *evaluation) counts(ctx context.Context, c Column, edges []float64) (Distribution, float64, error) {
	d := Distribution{DataType: c.Type, Bins: len(edges) - 1}
	exprs := make([]string, 0, len(edges))
	x := c.number()
	for i := range d.Bins {
		condition := x + " >= " + number(edges[i]) + " AND " + x + " < " + number(edges[i+1])
		switch {
		case d.Bins == 1:
			condition = x + " IS NOT NULL"
		case i == 0:
			condition = x + " < " + number(edges[1])
		case i == d.Bins-1:
			condition = x + " >= " + number(edges[i])
		}
		exprs = append(exprs, "count(CASE WHEN "+condition+" THEN 1 END)")
	}
	last := edges[len(edges)-1]
	exprs = append(exprs, "count(CASE WHEN "+x+" < "+number(edges[0])+" OR "+x+" > "+number(last)+" THEN 1 END)")
	row, err := e.ask(ctx, e.primary.With, e.primary.From, exprs)
	if err != nil {
		return d, 0, err
	}
	outside := 0.0
	for i, v := range row {
		n, err := toFloat(v)
		if err != nil {
			return d, 0, err
		}
		if i == d.Bins {
			outside = n
		} else {
			d.Count = append(d.Count, int64(math.Round(n)))
		}
	}
	for _, edge := range edges {
		d.BinEdges = append(d.BinEdges, strconv.FormatFloat(edge, 'g', edgePrecision, 64))
	}
	return d, outside, nil
}
