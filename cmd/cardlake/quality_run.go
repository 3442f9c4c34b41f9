package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/quality"
	"github.com/cardlake/cardlake/queries/quality/dqdl"
	"github.com/cardlake/cardlake/queries/quality/local"
	"github.com/cardlake/cardlake/queries/views"
)

const qualityRunAbout = `Evaluates a rule set over a file (-input) or a table of the lake (-table), within what -as is
permitted to read, and keeps what came of it.

A rule that fails and has the label "severity"="quarantine" puts the partition of -tenant and -day
into quarantine, as every failing rule does with -quarantine: it is not passed on until
"cardlake quality release" says so. Nothing is deleted.

Exit codes: 0 every rule passed, 1 a rule failed or could not be evaluated, 2 misuse, a rule set
with a fault, or nothing could be evaluated.`

// pairs is a flag NAME=VALUE that can be given several times.
type pairs map[string]string

// String implements flag.Value.
func (p pairs) String() string { return "" }

// Set implements flag.Value.
func (p pairs) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" || value == "" {
		return errors.New("want NAME=VALUE")
	}
	if _, ok := p[name]; ok {
		return fmt.Errorf("%s is given twice", name)
	}
	p[name] = value
	return nil
}

// qualityJob is what "quality run" is told.
type qualityJob struct {
	place lakeflags.Flags
	door  door

	rules, name, input, table, tenant, day string
	references, mapped                     pairs
	format, rows, filtered, composite      string
	history, target, separator, blank      string
	quarantine, forget                     bool
	memory                                 int64
	timeout                                time.Duration

	date time.Time
	set  *dqdl.Ruleset
	// unmarked says why a partition that belongs into quarantine is not in it.
	unmarked error
}

func (j *qualityJob) define(fs *flag.FlagSet) {
	j.place.Define(fs, lakeflags.Read)
	j.door.define(fs)
	j.door.defineRecord(fs)
	j.references, j.mapped = pairs{}, pairs{}
	fs.StringVar(&j.rules, "rules", "", "`file` of the rule set, in DQDL, or default: the set for cards.transactions")
	fs.StringVar(&j.name, "name", "", "`name` under which results are kept; default the file's")
	fs.StringVar(&j.input, "input", "", "`file` to look at: .csv, .tsv (also .gz) or .parquet")
	fs.StringVar(&j.table, "table", "", "`table` or view of the lake to look at, as cards.transactions")
	fs.StringVar(&j.tenant, "tenant", "", "the only `tenant` to look at in -table")
	fs.StringVar(&j.day, "day", "", "the only `day` to look at in -table, as 2026-03-01, in UTC")
	fs.Var(j.references, "reference", "another dataset, `ALIAS=FILE` with -input or ALIAS=TABLE with -table; can be repeated")
	fs.Var(j.mapped, "map", "folder that stands for what rules about files name, `PREFIX=FOLDER`, as s3://bucket/=data; can be repeated")
	fs.StringVar(&j.format, "format", "table", "how results are written: table, json")
	fs.StringVar(&j.rows, "rows", "", "CSV `file` to write each row of -input to, with the rules that it passes and fails")
	fs.StringVar(&j.filtered, "filtered", "passed", "what a row is that a rule's where leaves out: passed, skipped")
	fs.StringVar(&j.composite, "composite", "column", "how composite rules are evaluated: column (each part over all rows) or row")
	fs.StringVar(&j.history, "history", "", "`folder` in which results and the quarantine are kept; default quality in -dir")
	fs.BoolVar(&j.forget, "forget", false, "keep no results")
	fs.StringVar(&j.target, "target", "", "`name` of what is looked at, under which results are kept; default the file or table")
	fs.StringVar(&j.separator, "separator", "", "what is between the fields of CSV; default a comma")
	fs.StringVar(&j.blank, "blank", "null", "what an empty field of text in CSV is: null, or empty as Glue's reader has it")
	fs.BoolVar(&j.quarantine, "quarantine", false, "quarantine the partition if any rule fails")
	fs.Int64Var(&j.memory, "memory", 1024, "`MiB` of memory that the evaluation may use")
	fs.DurationVar(&j.timeout, "timeout", 30*time.Minute, "longest time that the evaluation may take")
}

func (j *qualityJob) complete() error {
	var errs []error
	fault := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(j.rules == "", "-rules is missing")
	fault((j.input == "") == (j.table == ""), "takes -input FILE or -table TABLE, one of them")
	fault(j.table == "" && (j.tenant != "" || j.day != ""), "-tenant and -day are of -table")
	fault(j.table == "" && j.quarantine, "-quarantine is of -table")
	fault(j.input == "" && j.rows != "", "-rows is of -input")
	fault(j.format != "table" && j.format != "json", "unknown format %q: want one of table, json", j.format)
	fault(j.filtered != "passed" && j.filtered != "skipped", "-filtered is passed or skipped")
	fault(j.composite != "column" && j.composite != "row", "-composite is column or row")
	fault(j.blank != "null" && j.blank != "empty", "-blank is null or empty")
	fault(j.memory < 16 || j.memory > 1<<20, "-memory is from 16 to %d", 1<<20)
	fault(j.timeout <= 0, "-timeout must be positive")
	if j.tenant != "" {
		if err := cardlake.Tenant(j.tenant).Validate(); err != nil {
			fault(true, "-tenant: %v", err)
		}
	}
	if j.day != "" {
		var err error
		j.date, err = time.Parse(time.DateOnly, j.day)
		fault(err != nil, "-day: want a day as 2026-03-01")
	}
	for alias := range j.references {
		fault(alias == local.Primary, "-reference: primary is the data itself")
	}
	if j.table != "" {
		errs = append(errs, j.place.Complete(), j.door.complete(home.Dir(j.place.Dir)))
	}
	return errors.Join(errs...)
}

// looksAt is what the results are of. Of a table it is what the principal may read of it: results
// of others are neither shown to him nor compared with his.
func (j *qualityJob) looksAt() (string, error) {
	if j.input != "" {
		if j.target != "" {
			return j.target, nil
		}
		return filepath.Abs(j.input)
	}
	parts := []string{j.target}
	if j.target == "" {
		parts = []string{j.table}
		if j.tenant != "" {
			parts = append(parts, "tenant="+j.tenant) // without the day: days are compared with each other
		}
	}
	return strings.Join(append(parts, "as", j.door.caller.Principal.String()), " "), nil
}

func qualityRun(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("quality run", "", qualityRunAbout, stderr)
	var j qualityJob
	j.define(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 0 {
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	if err := j.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	var err error
	if j.set, err = readRules(j.rules); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, j.timeout, fmt.Errorf("the evaluation took longer than %v: give it more with -timeout", j.timeout))
	defer cancel()
	target, err := j.looksAt()
	if err != nil {
		return err
	}
	cfg := quality.Config{Name: ruleset(j.name, j.rules), Target: target, IsRowwise: j.composite == "row", Files: local.Disk{Mapped: j.mapped}}
	history := quality.NewHistory(keptIn(j.history, j.place.Dir))
	if !j.forget {
		if cfg.History, err = history.Reports(cfg.Name, cfg.Target, keptReports); err != nil {
			return err
		}
	}
	var report *quality.Report
	if j.input != "" {
		report, err = j.overFile(ctx, cfg)
	} else {
		report, err = j.overTable(ctx, cfg)
	}
	if err != nil {
		return err
	}
	if !j.forget {
		if err := history.Append(report); err != nil {
			return err
		}
	}
	if err := writeQuality(stdout, j.format, report); err != nil {
		return err
	}
	if j.unmarked != nil {
		fmt.Fprintln(stderr, "cardlake: the partition is not in quarantine:", j.unmarked)
	}
	if !report.Passed() {
		return exitCode(1)
	}
	return nil
}

// keptReports is how many earlier reports rules can look at.
const keptReports = 1000

// overFile evaluates the rules over -input.
func (j *qualityJob) overFile(ctx context.Context, cfg quality.Config) (_ *quality.Report, err error) {
	paths := map[string]string{local.Primary: j.input}
	maps.Copy(paths, j.references)
	files, err := local.Open(ctx, paths, local.Config{Memory: j.memory << 20, Separator: j.separator, KeepBlank: j.blank == "empty"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	cfg.References = files.References()
	primary := files.Dataset(local.Primary)
	report, err := quality.Run(ctx, files, j.set, primary, cfg)
	if err != nil || j.rows == "" {
		return report, err
	}
	return report, j.writeRows(ctx, files, primary, cfg)
}

// writeRows writes each row and what the rules say of it. The file is there whole or not at all.
func (j *qualityJob) writeRows(ctx context.Context, engine quality.Engine, primary quality.Dataset, cfg quality.Config) (err error) {
	out, err := os.CreateTemp(filepath.Dir(j.rows), ".rows-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close(), os.Remove(out.Name()))
		}
	}()
	w := csv.NewWriter(out)
	var header []string
	for _, c := range primary.Columns {
		header = append(header, c.Name)
	}
	if err := w.Write(append(header, quality.PassColumn, quality.FailColumn, quality.SkipColumn, quality.ResultColumn)); err != nil {
		return err
	}
	list := func(rules []string) string { return "[" + strings.Join(rules, ", ") + "]" }
	rowCfg := quality.RowConfig{SkipFiltered: j.filtered == "skipped"}
	err = quality.EachRow(ctx, engine, j.set, primary, cfg, rowCfg, func(r *quality.Row) error {
		result := quality.Passed
		if !r.Passed() {
			result = quality.Failed
		}
		return w.Write(append(slices.Clone(r.Values), list(r.Pass), list(r.Fail), list(r.Skip), string(result)))
	})
	if err != nil {
		return err
	}
	w.Flush()
	if err := errors.Join(w.Error(), out.Sync(), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), j.rows)
}

// overTable evaluates the rules over -table, and quarantines its partition if they say so.
func (j *qualityJob) overTable(ctx context.Context, cfg quality.Config) (_ *quality.Report, err error) {
	l, err := serving.OpenLake(ctx, &j.place)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	permits, err := j.door.permits()
	if err != nil {
		return nil, err
	}
	record, err := j.door.record(ctx, &j.place)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	parser := embedded.NewParser()
	defer func() { err = errors.Join(err, parser.Close()) }()
	engine := embedded.New(l.Planner, l.Store, embedded.Config{Memory: j.memory << 20})
	gateway := queries.New(parser, engine, permits, record, queries.Config{Views: views.All, MaxRows: -1, Timeout: j.timeout, MaxSQL: serving.MaxStatement})

	lake := quality.NewLake(gateway, j.door.caller)
	part := quality.Partition{Tenant: cardlake.Tenant(j.tenant), Day: j.date}
	primary, err := lake.Dataset(ctx, local.Primary, j.table, part)
	if err != nil {
		return nil, err
	}
	primary.Files = j.files(l, gateway)
	cfg.References = map[string]quality.Dataset{}
	for alias, table := range j.references {
		if cfg.References[alias], err = lake.Dataset(ctx, alias, table, quality.Partition{}); err != nil {
			return nil, fmt.Errorf("-reference %s: %w", alias, err)
		}
	}
	report, err := quality.Run(ctx, lake, j.set, primary, cfg)
	if err != nil {
		return nil, err
	}
	if report.Quarantines() || j.quarantine && !report.Passed() {
		err := j.mark(ctx, permits, record, report)
		if errors.Is(err, queries.ErrUnrecorded) {
			return nil, err
		}
		j.unmarked = err
	}
	return report, nil
}

// mayQuarantine says whether the caller may mark and release partitions: it keeps data from
// others, so it is maintenance, not reading.
func mayQuarantine(permits *grants.Grants, c grants.Caller) error {
	if !permits.Permitted(c, grants.Maintain).Allowed() {
		return fmt.Errorf("%w: the quarantine is for those who may maintain the lake", queries.ErrNotPermitted)
	}
	return nil
}

// mark quarantines the partition, on record.
func (j *qualityJob) mark(ctx context.Context, permits *grants.Grants, record *audit.Log, report *quality.Report) error {
	if err := mayQuarantine(permits, j.door.caller); err != nil {
		return j.door.looked(ctx, record, "quality.quarantine", j.table, err)
	}
	m := quality.Mark{
		At: report.StartedOn, Table: j.table, Tenant: cardlake.Tenant(j.tenant), Day: j.date,
		By: j.door.caller.Principal.String(), Ruleset: report.Ruleset,
	}
	var failed []string
	for _, o := range report.Rules {
		if o.Outcome != quality.Passed && (j.quarantine || o.Labels[quality.SeverityLabel] == "quarantine") {
			failed = append(failed, o.Rule)
		}
	}
	m.Reason = strings.Join(failed, "\n")
	if err := j.door.quarantined(ctx, record, "quality.quarantine", m); err != nil {
		return err
	}
	return quality.NewQuarantine(keptIn(j.history, j.place.Dir)).Mark(m)
}

// quarantined puts a mark or a release on record.
func (d *door) quarantined(ctx context.Context, record *audit.Log, action string, m quality.Mark) error {
	detail := map[string]string{"ruleset": m.Ruleset}
	if m.Tenant != "" {
		detail["tenant"] = string(m.Tenant)
	}
	if !m.Day.IsZero() {
		detail["day"] = m.Day.UTC().Format(time.DateOnly)
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	line := audit.Record{
		Actor: d.caller.Principal.String(), Action: action, Resource: m.Table, Outcome: audit.Allowed,
		Origin: d.caller.Origin, Reason: d.caller.Reason, Detail: detail,
	}
	if err := record.Append(late, line); err != nil {
		return fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
	}
	return nil
}

// writeQuality writes the report: one line a rule, and why it did not pass below it.
func writeQuality(w io.Writer, format string, r *quality.Report) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	marks := map[quality.Result]string{quality.Passed: "ok   ", quality.Failed: "FAIL ", quality.Errored: "ERROR"}
	below := func(text string) {
		for line := range strings.Lines(text) {
			fmt.Fprintf(w, "       %s\n", strings.TrimSpace(line))
		}
	}
	passed := 0
	for _, o := range r.Rules {
		if o.Outcome == quality.Passed {
			passed++
		}
		fmt.Fprintf(w, "%s  %s%s\n", marks[o.Outcome], oneLine(o.Rule), metrics(o.EvaluatedMetrics))
		if o.EvaluatedRule != o.Rule {
			fmt.Fprintf(w, "       evaluated: %s\n", oneLine(o.EvaluatedRule))
		}
		below(o.FailureReason)
	}
	for _, a := range r.Analyzers {
		mark := "info "
		if a.Error != "" {
			mark = "ERROR"
		}
		fmt.Fprintf(w, "%s  %s%s\n", mark, oneLine(a.Analyzer), metrics(a.EvaluatedMetrics))
		below(a.Error)
		for _, name := range slices.Sorted(maps.Keys(a.Distributions)) {
			below(fmt.Sprintf("%s: %s, in -format json", name, numbered(len(a.Distributions[name].Count), "bin")))
		}
	}
	for _, o := range r.Observations {
		fmt.Fprintf(w, "note   %s\n", o.Description)
	}
	if len(r.Rules) == 0 {
		_, err := fmt.Fprintf(w, "no rules, %s\n", numbered(len(r.Analyzers), "analyzer"))
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %s passed, score %.2f\n", passed, numbered(len(r.Rules), "rule"), r.Score)
	return err
}

// oneLine is a rule on one line, though a statement in it may have several.
func oneLine(rule string) string {
	if !strings.Contains(rule, "\n") {
		return rule
	}
	return strings.Join(strings.Fields(rule), " ")
}

func metrics(m map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s = %.6g", name, m[name]))
	}
	if len(parts) == 0 {
		return ""
	}
	return "   [" + strings.Join(parts, ", ") + "]"
}
