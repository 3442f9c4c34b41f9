package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

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

// reportFormats are how a card is printed.
var reportFormats = []struct {
	name  string
	write func(io.Writer, report.Card) error
}{{"text", report.Text}, {"json", cardJSON}, {"html", report.HTML}, {"markdown", report.Markdown}}

// jobReport shows the model card of a run.
func jobReport(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("job report", "JOB", `Shows the newest published run of a job for a tenant: what it read, how good its results are beside
simple methods, how far the data moved since the run before, and figures. With several tenants that
-as may read and no -tenant it lists their runs.`, stderr)
	var place lakeflags.Flags
	place.Define(fs, lakeflags.Read)
	var d door
	d.define(fs)
	d.defineRecord(fs)
	tenant := fs.String("tenant", "", "`tenant` whose run it is; default the only one that -as may read")
	run := fs.String("run", "", "`id` of a published run; default the newest")
	var names []string
	for _, f := range reportFormats {
		names = append(names, f.name)
	}
	format := fs.String("format", "text", "how the report is printed: "+strings.Join(names, ", "))
	out := fs.String("out", "", "`folder` to write report.html, card.json and each figure as PNG and SVG to")
	if err := parse(fs, args); err != nil {
		return err
	}
	i := slices.Index(names, *format)
	switch {
	case fs.NArg() != 1:
		return misused(fs, "takes one job, such as segment; got %d arguments", fs.NArg())
	case i < 0:
		return misused(fs, "unknown format %q: want one of %s", *format, strings.Join(names, ", "))
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
	defer func() { err = errors.Join(err, engine.Close()) }()
	gateway := l.gateway(engine, queries.Config{Timeout: 5 * time.Minute, Views: views.All})
	cards := cardReader{gateway.As(d.caller), d.caller.Principal, fs.Arg(0)}
	runs, err := cards.find(ctx, *tenant, *run)
	if err != nil {
		return err
	}
	if len(runs) > 1 {
		if *format != "text" || *out != "" {
			return fmt.Errorf("there are runs of %d tenants: name one with -tenant, such as -tenant %s", len(runs), runs[0].tenant)
		}
		if err := cards.list(ctx, stdout); err != nil {
			return err
		}
		fmt.Fprintf(stderr, "cardlake: for the report of one tenant's run add -tenant, such as -tenant %s\n", runs[0].tenant)
		return nil
	}
	card, err := cards.card(ctx, runs[0])
	if err != nil {
		return err
	}
	if *out != "" {
		if err := saveReport(*out, card); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		fmt.Fprintf(stderr, "cardlake: wrote report.html, card.json and %d figures, as PNG and SVG, to %s\n", len(card.Figures), *out)
	}
	return reportFormats[i].write(stdout, card)
}

// cardReader reads what a principal may see of a job's runs.
type cardReader struct {
	session   queries.Session
	principal grants.Principal
	job       string
}

// foundRun is a published run.
type foundRun struct{ tenant, id string }

// each calls f with the rows of an answer, each in a slice of its own.
func (c cardReader) each(ctx context.Context, sql string, f func(row []any)) (err error) {
	result, err := c.session.Query(ctx, sql)
	if err != nil {
		return located(err, sql)
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	for {
		row := make([]any, len(result.Columns()))
		switch err := result.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return located(err, sql)
		}
		f(row)
	}
}

// find returns the newest run of each tenant, or those of the id. There is at least one if there
// is no error.
func (c cardReader) find(ctx context.Context, tenant, id string) (out []foundRun, err error) {
	sql := "SELECT DISTINCT tenant, run_id FROM "
	where := " WHERE job = " + insights.Text(c.job)
	if tenant != "" {
		where += " AND tenant = " + insights.Text(tenant)
	}
	if id == "" {
		sql += "views.insight_runs" + where
	} else {
		sql += cardlake.Runs.FullName() + where + " AND run_id = " + insights.Text(id)
	}
	err = c.each(ctx, sql+" ORDER BY tenant, run_id", func(row []any) { out = append(out, foundRun{row[0].(string), row[1].(string)}) })
	if err == nil && len(out) == 0 {
		err = c.none(ctx, tenant, id)
	}
	return out, err
}

// list writes a line for each tenant's newest run.
func (c cardReader) list(ctx context.Context, w io.Writer) error {
	format, err := render.ByName("table")
	if err != nil {
		return err
	}
	runs, err := listRuns(ctx, c.session, c.job, "", false)
	if err != nil {
		return err
	}
	return format(ctx, w, runs)
}

// none says why there is nothing to show, and what to do.
func (c cardReader) none(ctx context.Context, tenant, id string) error {
	var jobs []string
	if err := c.each(ctx, "SELECT DISTINCT job FROM views.insight_runs ORDER BY job", func(row []any) { jobs = append(jobs, row[0].(string)) }); err != nil {
		return err
	}
	what := fmt.Sprintf("no run of job %q is published", c.job)
	if id != "" {
		what = fmt.Sprintf("no run %q of job %q is published", id, c.job)
	}
	if tenant != "" {
		what += fmt.Sprintf(" for tenant %q", tenant)
	}
	what += fmt.Sprintf(" that %s may read", c.principal)
	switch {
	case len(jobs) > 0 && !slices.Contains(jobs, c.job):
		what += "; there are runs of " + strings.Join(jobs, ", ")
	case id != "":
		return fmt.Errorf("%s; without -run the newest one is shown", what)
	}
	if !slices.ContainsFunc(insightJobs(), func(j insights.Job) bool { return j.Name() == c.job }) {
		return errors.New(what + "; there is no such job, see \"cardlake job\"")
	}
	return fmt.Errorf("%s; make one with \"cardlake job run %s\"", what, c.job)
}

// card reads a run's model card.
func (c cardReader) card(ctx context.Context, r foundRun) (card report.Card, err error) {
	info, err := c.session.Describe(ctx, cardlake.Runs.FullName())
	if err != nil {
		return card, err
	}
	if info.Column("card") != grants.Clear {
		return card, fmt.Errorf("%s may not read model cards, which hold figures of money: it needs a grant of column card of %s", c.principal, cardlake.Runs.FullName())
	}
	sql := "SELECT card FROM " + cardlake.Runs.FullName() + " WHERE job = " + insights.Text(c.job) + " AND tenant = " + insights.Text(r.tenant) +
		" AND run_id = " + insights.Text(r.id) + " ORDER BY sequence DESC LIMIT 1"
	var stored string
	if err := c.each(ctx, sql, func(row []any) { stored = row[0].(string) }); err != nil {
		return card, err
	}
	if stored == "" {
		return card, errors.New("the run was replaced while it was read: ask again")
	}
	return report.Decode([]byte(stored))
}

// cardJSON writes a card as it is stored, indented.
func cardJSON(w io.Writer, card report.Card) error {
	data, err := report.Encode(card)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err = out.WriteTo(w)
	return err
}

// saveReport writes the report's files, which only their owner may read: they hold a tenant's
// figures. Files of the same names are replaced.
func saveReport(folder string, card report.Card) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	write := func(name string, body []byte, err error) error {
		if err != nil {
			return err
		}
		return replaceFile(filepath.Join(folder, name), body)
	}
	for name, form := range map[string]func(io.Writer, report.Card) error{"report.html": report.HTML, "card.json": cardJSON} {
		var body bytes.Buffer
		err := form(&body, card)
		if err := write(name, body.Bytes(), err); err != nil {
			return err
		}
	}
	for _, f := range card.Figures {
		body, err := report.PNG(f, 2)
		if err := write(f.Name+".png", body, err); err != nil {
			return err
		}
		body, err = report.SVG(f)
		if err := write(f.Name+".svg", body, err); err != nil {
			return err
		}
	}
	return nil
}
