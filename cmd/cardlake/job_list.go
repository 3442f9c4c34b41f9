package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/queries/render"
	"github.com/cardlake/cardlake/queries/views"
)

const jobListAbout = `Lists the newest published run of each job for each tenant that -as may read, or with -all every run.`

// jobList is "cardlake job list".
func jobList(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("job list", "", jobListAbout, stderr)
	var place lakeflags.Flags
	place.Define(fs, lakeflags.Read)
	var d door
	d.define(fs)
	d.defineRecord(fs)
	job := fs.String("job", "", "`name` of the only job")
	tenant := fs.String("tenant", "", "`name` of the only tenant")
	all := fs.Bool("all", false, "list earlier runs too")
	formatName := fs.String("format", "table", "how rows are written: "+strings.Join(render.Names(), ", "))
	if err := parse(fs, args); err != nil {
		return err
	}
	format, err := render.ByName(*formatName)
	switch {
	case err != nil:
		return misused(fs, "%v", err)
	case fs.NArg() != 0:
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	if err := errors.Join(place.Complete(), d.complete(home.Dir(place.Dir))); err != nil {
		return misused(fs, "%v", err)
	}
	l, err := d.site(ctx, &place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	engine := l.engine(embedded.Config{})
	gateway := l.gateway(engine, queries.Config{MaxRows: -1, Views: views.All})
	out, err := listRuns(ctx, gateway.As(d.caller), *job, *tenant, *all)
	if err != nil {
		return err
	}
	if err := format(ctx, stdout, out); err != nil {
		return err
	}
	if len(out.rows) == 0 {
		fmt.Fprintf(stderr, "(no such runs that %s may read; \"cardlake job run\" makes one)\n", d.caller.Principal)
	}
	return nil
}

// listRuns asks for the published runs, and for the model cards of the newest if they are given.
func listRuns(ctx context.Context, s queries.Session, job, tenant string, all bool) (_ *listing, err error) {
	info, err := s.Describe(ctx, cardlake.Runs.FullName())
	if err != nil {
		return nil, err
	}
	const newest = ` JOIN (SELECT tenant, job, max(sequence) AS sequence FROM insights.runs GROUP BY tenant, job) AS n
		ON r.tenant = n.tenant AND r.job = n.job AND r.sequence = n.sequence`
	card, from := "NULL", "insights.runs AS r"
	if !all {
		from += newest
		if info.Column("card") == grants.Clear {
			card = "r.card"
		}
	}
	var where []string
	for column, value := range map[string]string{"job": job, "tenant": tenant} {
		if value != "" {
			where = append(where, "r."+column+" = "+insights.Text(value))
		}
	}
	sql := "SELECT r.job, r.tenant, r.run_id, r.as_of, r.snapshot, r.rows_read, r.rows_written, r.published_at, CAST(" + card + " AS VARCHAR) FROM " + from
	if len(where) > 0 {
		sql += " WHERE " + strings.Join(where, " AND ")
	}
	result, err := s.Query(ctx, sql+" ORDER BY r.job, r.tenant, r.sequence DESC")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	var out listing
	for i, t := range []arrow.DataType{
		arrow.BinaryTypes.String, arrow.BinaryTypes.String, arrow.BinaryTypes.String, arrow.FixedWidthTypes.Timestamp_us, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64, arrow.FixedWidthTypes.Timestamp_us, arrow.BinaryTypes.String,
	} {
		out.column([]string{"job", "tenant", "run_id", "as_of", "snapshot", "rows_read", "rows_written", "published_at", "result"}[i], t)
	}
	for {
		row := make([]any, len(out.columns))
		if err := result.Next(row); errors.Is(err, io.EOF) {
			return &out, nil
		} else if err != nil {
			return nil, err
		}
		if text, ok := row[len(row)-1].(string); ok {
			c, err := report.Decode([]byte(text))
			if err != nil {
				return nil, fmt.Errorf("insights.runs: model card: %w", err)
			}
			row[len(row)-1] = headline(c)
		}
		out.rows = append(out.rows, row)
	}
}
