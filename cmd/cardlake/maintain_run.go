package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/iceberg"
)

const runAbout = `Compacts, expires, removes orphans and rewrites manifests on a schedule until it is interrupted. A task
that fails is reported and tried again when it is due. More than one may run: commits decide, and
what two do at the same time is work in vain for one of them, never wrong. On AWS, Glue's own
optimisers of the same tables must be off.`

// maintainRun does all tasks on a schedule.
func maintainRun(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("maintain run", "", runAbout, stderr)
	u, l := upkeep{stderr: stderr}, limits{}
	u.define(fs)
	every := map[string]*time.Duration{}
	for _, t := range tasks {
		t.define(&l, fs)
		every[t.name] = fs.Duration(t.name+"-every", map[string]time.Duration{
			"compact": 5 * time.Minute, "expire": 15 * time.Minute, "orphans": 24 * time.Hour, "manifests": time.Hour,
		}[t.name], "`time` between two of "+t.name+", a tenth more or less by chance; 0 for never")
	}
	if err := parse(fs, args); err != nil {
		return err
	}
	for name, d := range every {
		if *d < 0 {
			return misused(fs, "-%s-every is negative", name)
		}
	}
	if err := l.check(fs); err != nil {
		return err
	}
	if err := u.complete(fs); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.close()) }()
	if err := u.open(ctx, "maintain.run"); err != nil {
		return err
	}
	due := map[string]time.Time{}
	for _, t := range tasks {
		if *every[t.name] > 0 {
			due[t.name] = time.Now() // all once at the start: it tells at once what is wrong
		}
	}
	if len(due) == 0 {
		return misused(fs, "every task is switched off")
	}
	for {
		next := time.Time{}
		for _, t := range tasks {
			at, isOn := due[t.name]
			if !isOn {
				continue
			}
			if !time.Now().Before(at) {
				u.pass(ctx, t, &l, stdout)
				at = time.Now().Add(jittered(*every[t.name]))
				due[t.name] = at
			}
			if next.IsZero() || at.Before(next) {
				next = at
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(next)):
		}
	}
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
		return u.print(stdout, []any{o}, func(w io.Writer) {
			fmt.Fprintf(w, "%s  %s  %s  %s\n", time.Now().UTC().Format(time.RFC3339), t.name, o.Table, o.text)
		})
	})
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(u.stderr, "cardlake: %s: %v\n", t.name, err)
	}
}
