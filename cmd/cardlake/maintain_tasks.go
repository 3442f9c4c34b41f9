package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/catalog/maintenance"
)

// limits are how much the tasks leave.
type limits struct {
	width     int
	fileMB    int64
	settle    time.Duration
	older     time.Duration
	keepLast  int
	grace     time.Duration
	orphanAge time.Duration
}

func (l *limits) defineCompact(fs *flag.FlagSet) {
	fs.IntVar(&l.width, "width", 10, "merge so many `files` of a size class; more write less and leave more files")
	fs.Int64Var(&l.fileMB, "file-mb", 512, "about the most `MB` of a file")
	fs.DurationVar(&l.settle, "settle", time.Hour, "`time` after a day's end, and after its last new file, at which all of it is merged")
}

func (l *limits) defineExpire(fs *flag.FlagSet) {
	fs.DurationVar(&l.older, "older", time.Hour, "drop snapshots committed `time` ago or longer")
	fs.IntVar(&l.keepLast, "keep-last", 10, "keep so many newest `snapshots` whatever their age")
	fs.DurationVar(&l.grace, "grace", 10*time.Minute, "keep what was current within `time`, for readers at work on it; longer than the longest query")
}

func (l *limits) defineOrphans(fs *flag.FlagSet) {
	fs.DurationVar(&l.orphanAge, "age", 72*time.Hour, "leave objects younger than `time`, which may be about to be committed; at least 24h")
}

func (l *limits) check(fs *flag.FlagSet) error {
	switch {
	case fs.Lookup("width") != nil && (l.width < 2 || l.fileMB < 1 || l.settle < 0):
		return misused(fs, "-width is at least 2, -file-mb at least 1, -settle not negative")
	case fs.Lookup("older") != nil && (l.older <= 0 || l.keepLast < 1 || l.grace < 0):
		return misused(fs, "-older is positive, -keep-last at least 1, -grace not negative")
	case fs.Lookup("age") != nil && l.orphanAge < 24*time.Hour:
		return misused(fs, "-age is at least 24h: what is put and not committed yet must not be taken for an orphan")
	}
	return nil
}

// outcome is what a task did to a table.
type outcome struct {
	Table   string           `json:"table"`
	Task    string           `json:"task"`
	DryRun  bool             `json:"dry_run,omitempty"`
	Numbers map[string]int64 `json:"numbers"`
	Skipped []string         `json:"skipped,omitempty"`
	text    string
}

// task is one kind of upkeep.
type task struct {
	name, about string
	define      func(*limits, *flag.FlagSet)
	do          func(*upkeep, *limits, context.Context, *cardlake.Table, *iceberg.Table) (outcome, error)
}

var tasks = [...]task{
	{"compact", `Merges small files, toward one file for each tenant and day, sorted by time; all values stay as they
are. Files that cannot be read are left as they are and reported. Of two that merge the same files
one gives way. Old files go with the snapshots that name them: see "cardlake maintain expire".`,
		(*limits).defineCompact, (*upkeep).compact},
	{"expire", `Drops old snapshots, and deletes the objects that only they name. The newest stay, and with them how far
the streams were read.`, (*limits).defineExpire, (*upkeep).expire},
	{"orphans", `Deletes objects under the tables' folders that no snapshot names: what was written and never committed.
List them first, with -dry-run.`, (*limits).defineOrphans, (*upkeep).orphans},
	{"manifests", `Writes the lists of files anew, in order of tenant and day, so that a plan for one tenant reads few of
them. It does nothing while they are in order.`, func(*limits, *flag.FlagSet) {}, (*upkeep).manifests},
}

func taskNamed(name string) task {
	for _, t := range tasks {
		if t.name == name {
			return t
		}
	}
	return task{}
}

// errSkipped says that a message about each partition that was left alone has been printed.
var errSkipped = errors.New("some partitions could not be merged and are as they were")

// maintainOnce does one task.
func maintainOnce(ctx context.Context, t task, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("maintain "+t.name, "", t.about, stderr)
	u, l := upkeep{stderr: stderr}, limits{}
	u.define(fs)
	t.define(&l, fs)
	if t.name == "compact" {
		fs.StringVar(&u.tenant, "tenant", "", "`name` of the only tenant")
	}
	fs.BoolVar(&u.dryRun, "dry-run", false, "only say what would be done")
	if err := parse(fs, args); err != nil {
		return err
	}
	if err := l.check(fs); err != nil {
		return err
	}
	if err := u.complete(fs); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.close()) }()
	if err := u.open(ctx, "maintain."+t.name); err != nil {
		return err
	}
	var results []any
	var outcomes []outcome
	var skipped error
	err = u.each(ctx, func(def *cardlake.Table, table *iceberg.Table) error {
		o, err := u.perform(ctx, t, &l, def, table)
		if err == nil {
			results, outcomes = append(results, o), append(outcomes, o)
		}
		if len(o.Skipped) > 0 {
			skipped = errSkipped
		}
		return err
	})
	printed := u.print(stdout, results, func(w io.Writer) {
		for _, o := range outcomes {
			fmt.Fprintf(w, "%s\t%s\n", o.Table, o.text)
		}
	})
	return errors.Join(err, printed, skipped)
}

// perform does a task to a table, on the record.
func (u *upkeep) perform(ctx context.Context, t task, l *limits, def *cardlake.Table, table *iceberg.Table) (o outcome, err error) {
	action := "maintain." + t.name
	if u.dryRun {
		action += ".plan"
	}
	err = u.recorded(ctx, action, def, func() (map[string]int64, error) {
		o, err = t.do(u, l, ctx, def, table)
		o.Table, o.Task, o.DryRun = def.FullName(), t.name, u.dryRun
		return o.Numbers, err
	})
	for _, s := range o.Skipped {
		fmt.Fprintf(u.stderr, "cardlake: %s: %s\n", o.Table, s)
	}
	return o, err
}

func (u *upkeep) compact(l *limits, ctx context.Context, def *cardlake.Table, table *iceberg.Table) (o outcome, err error) {
	if u.tenant != "" && !def.ByTenant {
		return outcome{text: "is not a table of tenants"}, nil
	}
	p := &progress{w: u.stderr, what: def.FullName(), start: time.Now()}
	cfg := maintenance.Config{Width: l.width, FileBytes: l.fileMB * 1e6, Settle: l.settle, Progress: p.compaction}
	if l.settle == 0 {
		cfg.Settle = time.Nanosecond
	}
	if u.tenant != "" {
		cfg.Only = func(at maintenance.Partition) bool { return at.Tenant == cardlake.Tenant(u.tenant) }
	}
	c := maintenance.New(def, table, u.lake.Store, u.tenants, cfg)
	if u.dryRun {
		jobs, err := c.Plan(ctx)
		files, bytes := int64(0), int64(0)
		for _, j := range jobs {
			files += int64(len(j.Files))
			bytes += j.Bytes()
		}
		return outcome{
			Numbers: map[string]int64{"jobs": int64(len(jobs)), "files_in": files, "bytes_in": bytes},
			text:    fmt.Sprintf("would merge %d files (%s) in %d jobs first", files, megabytes(bytes), len(jobs)),
		}, err
	}
	r, err := c.Run(ctx)
	for _, s := range r.Skipped {
		o.Skipped = append(o.Skipped, fmt.Sprintf("tenant %q, %s is left as it is: %v", s.Tenant, s.Day, s.Err))
	}
	o.Numbers = map[string]int64{
		"jobs": int64(r.Jobs), "files_in": int64(r.FilesIn), "files_out": int64(r.FilesOut), "bytes_in": r.BytesIn, "bytes_out": r.BytesOut,
		"rows": r.Rows, "yielded": int64(r.Yielded), "destroyed": int64(r.Destroyed), "skipped": int64(len(r.Skipped)),
	}
	o.text = "nothing to merge"
	if r.Jobs > 0 {
		o.text = fmt.Sprintf("merged %d files (%s) into %d (%s), %d rows, %.1f s", r.FilesIn, megabytes(r.BytesIn), r.FilesOut, megabytes(r.BytesOut), r.Rows, time.Since(p.start).Seconds())
	}
	if r.Yielded > 0 {
		o.text += fmt.Sprintf(", %d jobs left to others", r.Yielded)
	}
	if r.Destroyed > 0 {
		o.text += fmt.Sprintf(", %d partitions whose key was destroyed left alone", r.Destroyed)
	}
	return o, err
}

func (u *upkeep) expire(l *limits, ctx context.Context, def *cardlake.Table, table *iceberg.Table) (outcome, error) {
	p := &progress{w: u.stderr, what: def.FullName(), start: time.Now()}
	grace := l.grace
	if grace == 0 {
		grace = -1
	}
	x, err := table.Expire(ctx, iceberg.Expiry{
		Before: time.Now().Add(-l.older), KeepLast: l.keepLast, Grace: grace, DryRun: u.dryRun,
		Progress: func(x iceberg.Expired) {
			p.say(fmt.Sprintf("%d data files (%s) and %d objects of metadata are gone", x.DataFiles, megabytes(x.Bytes), x.Metadata))
		},
	})
	verb := "dropped"
	if u.dryRun {
		verb = "would drop"
	}
	return outcome{
		Numbers: map[string]int64{"snapshots": int64(x.Snapshots), "data_files": int64(x.DataFiles), "metadata": int64(x.Metadata), "bytes": x.Bytes},
		text:    fmt.Sprintf("%s %d snapshots, %d data files (%s), %d objects of metadata", verb, x.Snapshots, x.DataFiles, megabytes(x.Bytes), x.Metadata),
	}, err
}

func (u *upkeep) orphans(l *limits, ctx context.Context, def *cardlake.Table, table *iceberg.Table) (outcome, error) {
	p := &progress{w: u.stderr, what: def.FullName(), start: time.Now()}
	var objects, bytes int64
	var errs []error
	for info, err := range table.Orphans(ctx, iceberg.OrphanConfig{Age: l.orphanAge, Delete: !u.dryRun}) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		objects++
		bytes += info.Size
		if u.dryRun {
			fmt.Fprintf(u.stderr, "%s\t%d bytes\t%s\n", info.Name, info.Size, info.ModTime.UTC().Format(time.RFC3339))
		} else {
			p.say(fmt.Sprintf("%d orphans (%s) are gone", objects, megabytes(bytes)))
		}
	}
	verb := "removed"
	if u.dryRun {
		verb = "would remove"
	}
	return outcome{
		Numbers: map[string]int64{"objects": objects, "bytes": bytes},
		text:    fmt.Sprintf("%s %d orphans (%s)", verb, objects, megabytes(bytes)),
	}, errors.Join(errs...)
}

func (u *upkeep) manifests(_ *limits, ctx context.Context, def *cardlake.Table, table *iceberg.Table) (outcome, error) {
	if u.dryRun {
		return outcome{text: "would be looked at"}, nil
	}
	done, err := table.RewriteManifests(ctx)
	o := outcome{Numbers: map[string]int64{"rewritten": 0}, text: "manifests are in order"}
	if done {
		o.Numbers["rewritten"], o.text = 1, "manifests rewritten"
	}
	return o, err
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// progress says on standard error how far something is, now and then.
type progress struct {
	w           io.Writer
	what        string
	start, last time.Time
}

// progressEvery is how often progress is told.
const progressEvery = 2 * time.Second

func (p *progress) say(text string) {
	if now := time.Now(); now.Sub(p.start) >= progressEvery && now.Sub(p.last) >= progressEvery {
		p.last = now
		fmt.Fprintf(p.w, "%s: %s\n", p.what, text)
	}
}

func (p *progress) compaction(at maintenance.Progress) {
	rate := float64(at.BytesIn) / max(time.Since(p.start).Seconds(), 1e-3)
	p.say(fmt.Sprintf("%d files (%s) merged into %d, %.1f MB/s, %s of this pass left, about %s",
		at.FilesIn, megabytes(at.BytesIn), at.FilesOut, rate/1e6, megabytes(at.Left), time.Duration(float64(at.Left)/max(rate, 1)*float64(time.Second)).Round(time.Second)))
}
