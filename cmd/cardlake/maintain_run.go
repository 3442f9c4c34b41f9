package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/home"
)

const runAbout = `Compacts, expires, removes orphans, rewrites manifests and enforces retention on a schedule until it is
interrupted. A task that fails is reported and tried again when it is due; the others go on. More
than one may run: commits decide, and what two do at the same time is work in vain for one of them,
never wrong. Retention is of all tables: with -table it is left out. On AWS, Glue's own optimisers
of the same tables must be off.`

// job is a task on its schedule.
type job struct {
	name  string
	every time.Duration
	pass  func(context.Context)
	due   time.Time
}

// maintainRun does all tasks on a schedule.
func maintainRun(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("maintain run", "", runAbout, stderr)
	u, l := upkeep{stderr: stderr}, limits{}
	k := keeping{}
	u.define(fs)
	var jobs []*job
	schedule := func(name string, every time.Duration, pass func(context.Context)) {
		j := &job{name: name, pass: pass}
		fs.DurationVar(&j.every, name+"-every", every, "`time` between two of "+name+", a tenth more or less by chance; 0 for never")
		jobs = append(jobs, j)
	}
	for _, t := range tasks {
		t.define(&l, fs)
		schedule(t.name, map[string]time.Duration{
			"compact": 5 * time.Minute, "expire": 15 * time.Minute, "orphans": 24 * time.Hour, "manifests": time.Hour,
		}[t.name], func(ctx context.Context) { u.pass(ctx, t, &l, stdout) })
	}
	// The last, because it waits for readers.
	schedule("retention", 24*time.Hour, func(ctx context.Context) { u.keep(ctx, &k, stdout) })
	fs.StringVar(&k.policy, "policy", "", "JSON `file` of how long rows are kept and which are held, read by each retention; default retention.json in -dir")
	if err := parse(fs, args); err != nil {
		return err
	}
	for _, j := range jobs {
		if j.every < 0 {
			return misused(fs, "-%s-every is negative", j.name)
		}
	}
	if err := l.check(fs); err != nil {
		return err
	}
	if err := u.complete(fs); err != nil {
		return err
	}
	k.policy, k.grace = cmp.Or(k.policy, home.Dir(u.place.Dir).Retention()), l.grace
	jobs = active(jobs, u.table == "")
	if len(jobs) == 0 {
		return misused(fs, "every task is switched off")
	}
	defer func() { err = errors.Join(err, u.close()) }()
	if err := u.open(ctx, "maintain.run"); err != nil {
		return err
	}
	for { // all once at the start: it tells at once what is wrong
		next := time.Time{}
		for _, j := range jobs {
			if !time.Now().Before(j.due) {
				j.pass(ctx)
				j.due = time.Now().Add(jittered(j.every))
			}
			if next.IsZero() || j.due.Before(next) {
				next = j.due
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(next)):
		}
	}
}

// active leaves out the jobs that are switched off.
func active(jobs []*job, isAllTables bool) (out []*job) {
	for _, j := range jobs {
		if j.every > 0 && (isAllTables || j.name != "retention") {
			out = append(out, j)
		}
	}
	return out
}

// jittered is the time, a tenth more or less, so that processes do not stay in step.
func jittered(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// pass does a task to all tables and says what came of it. Grants are asked anew, so that who
// lost the permission stops.
func (u *upkeep) pass(ctx context.Context, t task, l *limits, stdout io.Writer) {
	err := u.each(ctx, func(def *cardlake.Table, table *iceberg.Table) error {
		if ctx.Err() != nil {
			return nil
		}
		if err := u.permitted(ctx, "maintain."+t.name); err != nil {
			return err
		}
		o, err := u.perform(ctx, t, l, def, table)
		if err != nil {
			fmt.Fprintf(u.stderr, "cardlake: %s of %s: %v\n", t.name, def.FullName(), err)
			return nil // the other tables need not wait for this one
		}
		return u.say(stdout, o)
	})
	u.report(ctx, t.name, err)
}

// say prints what came of a task.
func (u *upkeep) say(stdout io.Writer, o outcome) error {
	return u.print(stdout, []any{o}, func(w io.Writer) {
		fmt.Fprintf(w, "%s  %s  %s  %s\n", time.Now().UTC().Format(time.RFC3339), o.Task, o.Table, o.text)
	})
}

// report says what went wrong, unless the command was interrupted.
func (u *upkeep) report(ctx context.Context, task string, err error) {
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(u.stderr, "cardlake: %s: %v\n", task, err)
	}
}

// keep does what "maintain retention enforce" does, with grants, policy and holds as they are
// now. What is past its days goes also if not all of an erased person's could be erased again.
func (u *upkeep) keep(ctx context.Context, k *keeping, stdout io.Writer) {
	if ctx.Err() != nil {
		return
	}
	if err := u.permitted(ctx, "retention.enforce"); err != nil {
		u.report(ctx, "retention", err)
		return
	}
	k.door, k.place = u.door, u.place
	k.record = &ruled{u.record, &u.door, u.permits.Permitted(u.door.caller, grants.Maintain)}
	keeper, closeLake, err := k.keeper(ctx, u.stderr)
	if err != nil {
		u.report(ctx, "retention", err)
		return
	}
	erased, err := keeper.Reapply(ctx)
	u.report(ctx, "retention: erase again", err)
	again := int64(0)
	for _, e := range erased {
		again += e.Rows
	}
	e, err := keeper.Enforce(ctx, false)
	if err = errors.Join(err, closeLake()); err != nil {
		u.report(ctx, "retention", err)
		return
	}
	o := outcome{Table: "lake", Task: "retention", Numbers: map[string]int64{
		"erased_rows": again, "rows": e.Plan.Rows(), "snapshots": int64(e.Disposal.Snapshots), "objects": int64(e.Disposal.Objects),
		"versions": int64(e.Disposal.Versions), "pending": int64(e.Disposal.Pending),
	}}
	o.text = fmt.Sprintf("removed %d rows past their days, erased %d rows again", e.Plan.Rows(), again)
	u.report(ctx, "retention", u.say(stdout, o))
}
