package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/report"
)

const jobRunAbout = `Makes insights of each tenant's transactions, each tenant's of its own rows alone, and publishes them: alerts,
segments, predictions or recommendations, in the tables of insights and the views over them. A run
is of one snapshot, and is made once: the same again does nothing. One that was interrupted goes on
where it stopped. A tenant that has too little data is told how much is needed, and keeps what it had.

NAME is anomaly, segment, predict or recommend; "-param help" lists a job's parameters.

Exit codes: 0 done, tenants with too little data included; 1 interrupted; 2 refused, or failed for a tenant.`

// tenantNames is a flag that can be given several times.
type tenantNames []cardlake.Tenant

// String implements flag.Value.
func (n *tenantNames) String() string { return "" }

// Set implements flag.Value.
func (n *tenantNames) Set(s string) error {
	t := cardlake.Tenant(s)
	if err := t.Validate(); err != nil {
		return err
	}
	if slices.Contains(*n, t) {
		return errors.New("is given twice")
	}
	*n = append(*n, t)
	return nil
}

// parameters is a flag NAME=VALUE that can be given several times.
type parameters struct {
	pairs
	isHelp bool
}

// Set implements flag.Value.
func (p *parameters) Set(s string) error {
	if s == "help" {
		p.isHelp = true
		return nil
	}
	return p.pairs.Set(s)
}

// jobOrder is what is to be run.
type jobOrder struct {
	job      insights.Job
	tenants  []cardlake.Tenant // none: all for which the caller may run jobs
	values   map[string]string
	settings string // a file, or a folder of files TENANT.json
	snapshot int64
	check    bool
}

// jobResult is what became of a tenant's run.
type jobResult struct {
	tenant  cardlake.Tenant
	outcome insights.Outcome
	err     error
}

// jobRun is "cardlake job run".
func jobRun(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return jobRunOf(ctx, insightJobs(), args, stdout, stderr)
}

func jobRunOf(ctx context.Context, jobs []insights.Job, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("job run", "NAME", jobRunAbout, stderr)
	l := jobLake{jobs: jobs}
	l.define(fs)
	var o jobOrder
	p := parameters{pairs: pairs{}}
	fs.Var((*tenantNames)(&o.tenants), "tenant", "`name` of a tenant; can be repeated; default all for which -as may run jobs")
	fs.Var(&p, "param", "a parameter of the job, `NAME=VALUE`; can be repeated; help lists them")
	fs.StringVar(&o.settings, "settings", "", "`file` with the tenant's settings of the job, or folder of files TENANT.json")
	fs.Int64Var(&o.snapshot, "at", 0, "`snapshot` of cards.transactions to read; default the newest")
	fs.BoolVar(&o.check, "check", false, "compute again what was published, compare, and write nothing")
	format := fs.String("format", "table", "how the summary is written: table, json")
	if err := parseAround(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return misused(fs, "takes the name of a job, got %d arguments", fs.NArg())
	}
	if o.job, err = l.job(fs.Arg(0)); err != nil {
		return misused(fs, "%v", err)
	}
	if p.isHelp {
		return writeParameters(stdout, o.job)
	}
	if err := checkParameters(o.job, p.pairs); err != nil {
		return misused(fs, "-param: %v", err)
	}
	if *format != "table" && *format != "json" {
		return misused(fs, "unknown format %q: want one of table, json", *format)
	}
	if err := l.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	o.values = p.pairs
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.open(ctx); err != nil {
		return err
	}
	show := newJobProgress(stderr)
	results, err := l.run(ctx, o, show)
	show.end()
	if err != nil {
		return err
	}
	if err := writeJobResults(stdout, stderr, *format, o.job, results); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if slices.ContainsFunc(results, jobResult.isFailure) {
		return exitCode(2)
	}
	return nil
}

// parseAround parses flags before and behind the arguments: "job run NAME -tenant T".
func parseAround(fs *flag.FlagSet, args []string) error {
	var positional []string
	for {
		if err := parse(fs, args); err != nil {
			return err
		}
		if fs.NArg() == 0 {
			return fs.Parse(append([]string{"--"}, positional...))
		}
		positional, args = append(positional, fs.Arg(0)), fs.Args()[1:]
	}
}

// run makes the runs, so many at once as -jobs says, and returns what became of each in the
// order of the tenants. One that fails leaves the others alone.
func (l *jobLake) run(ctx context.Context, o jobOrder, show *jobProgress) ([]jobResult, error) {
	if len(o.tenants) == 0 {
		var err error
		if o.tenants, err = l.permittedTenants(ctx, o.job.Name()); err != nil {
			return nil, err
		}
	}
	if err := checkSettings(o.settings, len(o.tenants), l.tenants); err != nil {
		return nil, err
	}
	results := make([]jobResult, len(o.tenants))
	show.begin(len(o.tenants))
	var group errgroup.Group
	group.SetLimit(l.width)
	for i, tenant := range o.tenants {
		group.Go(func() error {
			results[i] = jobResult{tenant: tenant}
			if results[i].err = ctx.Err(); results[i].err == nil {
				results[i].outcome, results[i].err = l.runOne(ctx, o, tenant, show)
				if results[i].state() == "failed" && ctx.Err() != nil {
					results[i].err = ctx.Err() // whatever it broke
				}
			}
			show.ended(tenant)
			return nil
		})
	}
	return results, group.Wait()
}

// runOne makes one tenant's run. A job that panics fails: the value of the panic may be of the
// data, and is not told unless it is the runtime's.
func (l *jobLake) runOne(ctx context.Context, o jobOrder, tenant cardlake.Tenant, show *jobProgress) (_ insights.Outcome, err error) {
	defer func() {
		if r := recover(); r != nil {
			what := fmt.Sprintf("%T", r)
			if fault, ok := r.(runtime.Error); ok {
				what = fault.Error()
			}
			buffer := make([]byte, 4<<10)
			err = fmt.Errorf("job %s for tenant %s failed inside: %s\n%s", o.job.Name(), tenant, what, buffer[:runtime.Stack(buffer, false)])
		}
	}()
	settings, err := settingsOf(o.settings, tenant)
	if err != nil {
		return insights.Outcome{}, fmt.Errorf("job %s for tenant %s: settings: %w", o.job.Name(), tenant, err)
	}
	return l.runner.Run(ctx, o.job, insights.Request{
		Tenant: tenant, Values: o.values, Settings: settings, Snapshot: o.snapshot, Check: o.check, Progress: show.report,
	})
}

// maxSettings bounds a file of settings.
const maxSettings = 16 << 20

// checkSettings refuses a file for several tenants, because what one wants is not another's, and
// a folder with a file that is of no tenant: one that is spelt wrong would be left out in silence.
func checkSettings(path string, tenants int, register *catalog.Tenants) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if !info.IsDir() {
		if tenants > 1 {
			return errors.New("settings: a file is of one tenant: give -tenant, or a folder of files TENANT.json")
		}
		return nil
	}
	files, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok {
			continue
		}
		if _, err := register.Lookup(cardlake.Tenant(name)); err != nil {
			return fmt.Errorf("settings: %s: %q: %w", path, f.Name(), err)
		}
	}
	return nil
}

// settingsOf reads the tenant's settings from a file, or from its own in a folder, which may have
// none.
func settingsOf(path string, tenant cardlake.Tenant) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		path = filepath.Join(path, string(tenant)+".json")
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && info.IsDir() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSettings+1))
	if err == nil && len(text) > maxSettings {
		err = fmt.Errorf("%s has more than %d MiB", path, maxSettings>>20)
	}
	return text, err
}

// state is in one word what became of the run.
func (r jobResult) state() string {
	var refusal *insights.Refusal
	switch {
	case r.err == nil:
		return string(r.outcome.State)
	case errors.As(r.err, &refusal):
		return "too little data"
	case errors.Is(r.err, insights.ErrNotPermitted):
		return "not permitted"
	case errors.Is(r.err, context.Canceled), errors.Is(r.err, context.DeadlineExceeded):
		return "interrupted"
	}
	return "failed"
}

// isFailure reports whether somebody has to look at it: too little data is an answer.
func (r jobResult) isFailure() bool {
	state := r.state()
	return r.err != nil && state != "too little data" && state != "interrupted"
}

// reason is why there is no result.
func (r jobResult) reason() string {
	var refusal *insights.Refusal
	switch {
	case r.err == nil:
		return ""
	case errors.As(r.err, &refusal):
		return refusal.Error()
	}
	return r.err.Error()
}

// jobLine is a run in the summary.
type jobLine struct {
	Job      string           `json:"job"`
	Tenant   cardlake.Tenant  `json:"tenant"`
	State    string           `json:"state"`
	RunID    string           `json:"run_id,omitempty"`
	AsOf     time.Time        `json:"as_of,omitzero"`
	Rows     map[string]int64 `json:"rows,omitempty"`
	Headline string           `json:"headline,omitempty"`
	Reason   string           `json:"reason,omitempty"`
}

func (r jobResult) line(job insights.Job) jobLine {
	l := jobLine{Job: job.Name(), Tenant: r.tenant, State: r.state(), Reason: r.reason()}
	if r.err == nil {
		l.RunID, l.AsOf, l.Rows, l.Headline = r.outcome.RunID, r.outcome.AsOf, r.outcome.Rows, headline(r.outcome.Card)
	}
	return l
}

// writeJobResults writes the summary, and what somebody must look at to stderr.
func writeJobResults(stdout, stderr io.Writer, format string, job insights.Job, results []jobResult) error {
	lines := []jobLine{}
	for _, r := range results {
		if r.isFailure() {
			fmt.Fprintln(stderr, "cardlake:", r.err)
		}
		if r.outcome.Left != nil {
			fmt.Fprintf(stderr, "cardlake: job %s for tenant %s is published, and files of earlier runs are left to maintenance: %v\n", job.Name(), r.tenant, r.outcome.Left)
		}
		lines = append(lines, r.line(job))
	}
	if format == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(lines)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TENANT\tSTATE\tRUN\tAS OF\tROWS\tRESULT")
	for _, l := range lines {
		rows, asOf, result := "-", "-", l.Headline
		if l.Rows != nil {
			var n int64
			for _, of := range l.Rows {
				n += of
			}
			rows = strconv.FormatInt(n, 10)
		}
		if !l.AsOf.IsZero() {
			asOf = l.AsOf.UTC().Format(time.RFC3339)
		}
		if l.State == "too little data" {
			result = l.Reason
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Tenant, l.State, orDash(l.RunID), asOf, rows, orDash(result))
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// headline is the first metric that there is a baseline for, or the first, beside the best of
// its baselines.
func headline(c report.Card) string {
	if len(c.Metrics) == 0 {
		return ""
	}
	m := c.Metrics[0]
	for _, other := range c.Metrics {
		if other.Verdict() != report.NoVerdict {
			m = other
			break
		}
	}
	text := m.Name + " " + measure(m.Value, m.Unit)
	if best, ok := m.Best(); ok {
		text += " (" + best.Name + ": " + measure(best.Value, m.Unit) + ")"
	}
	return text
}

// measure is a value with about three digits: the report has more.
func measure(v float64, unit string) string {
	if unit == report.Share {
		return strconv.FormatFloat(v*100, 'f', 1, 64) + "%"
	}
	decimals := 3
	switch size := math.Abs(v); {
	case v == math.Trunc(v), size >= 100:
		decimals = 0
	case size >= 10:
		decimals = 1
	case size >= 1:
		decimals = 2
	}
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	if unit != "" {
		text += " " + unit
	}
	return text
}

// checkParameters reports what is wrong with a job's parameters before a lake is opened.
func checkParameters(job insights.Job, values map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(job.Parameters(), func(p insights.Parameter) bool { return p.Name == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("job %s has no parameter %q", job.Name(), name))
		} else if check := job.Parameters()[i].Check; check != nil {
			if err := check(values[name]); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func writeParameters(w io.Writer, job insights.Job) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "PARAMETER\tDEFAULT\tMEANING")
	for _, p := range job.Parameters() {
		value := p.Default
		if codes := strings.Split(value, ","); len(codes) > 5 {
			value = fmt.Sprintf("%s,… (%d codes)", strings.Join(codes[:3], ","), len(codes))
		}
		fmt.Fprintf(out, "%s\t%s\t%s\n", p.Name, orDash(value), p.Doc)
	}
	return out.Flush()
}
