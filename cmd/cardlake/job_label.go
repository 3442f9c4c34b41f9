package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/labels"
	"github.com/cardlake/cardlake/queries/views"
)

const (
	jobConfirmAbout = `Says of alerts that they are fraud, all of them or none. -reason is kept beside it. Who says it
needs a grant of review for the tenant. To confirm again what is confirmed does nothing; of a
confirmation and a dismissal the newer counts.`

	jobDismissAbout = `Says of alerts that they are no fraud, all of them or none, and with -reason why: the next run of job
anomaly learns from it. Who says it needs a grant of review for the tenant.`

	jobLabelAbout = `Takes a file of what the tenant knows of its events: CSV with a heading, or a JSON object on each line.

  event_id     event_id of cards.transactions; needed
  label        fraud or genuine; default fraud
  reported_at  a day, or an instant such as 2026-03-01T08:30:00Z; default now
  pattern      kind of fraud, one word
  note         what is kept beside it

The same file twice counts once. If a line is wrong, nothing is taken, and the line and field are told.`
)

// labelTimeout is the longest time that looking up alerts and labels may take.
const labelTimeout = 10 * time.Minute

// labelling is an open lake that takes labels, and what it is told of on the command line.
type labelling struct {
	jobLake
	tenant string
}

func (l *labelling) define(fs *flag.FlagSet) {
	l.place.Define(fs, lakeflags.Write)
	l.door.define(fs)
	l.door.defineRecord(fs)
	fs.StringVar(&l.tenant, "tenant", "", "`name` of the tenant; default the only one that -as may label")
	l.width, l.memory, l.timeout = 1, 512, labelTimeout
}

// complete fills in what was not given, and reports what is wrong. On one machine a tenant's analyst of the starter grants speaks for it
// if nobody is named.
func (l *labelling) complete() error {
	if l.tenant != "" {
		if err := cardlake.Tenant(l.tenant).Validate(); err != nil {
			return fmt.Errorf("-tenant: %w", err)
		}
	}
	if l.door.as == "" {
		l.door.as = os.Getenv("CARDLAKE_AS")
	}
	if l.door.as == "" {
		if l.tenant == "" {
			return errors.New("say who you are with -as, or give the -tenant for whose analyst you speak")
		}
		l.door.as = string(grants.TenantAnalyst) + "/analyst@" + l.tenant
	}
	return l.jobLake.complete()
}

// desk is where the caller's labels are taken, once the lake is open.
func (l *labelling) desk() *labels.Desk {
	return labels.New(insights.Deps{
		Gateway: queries.New(l.parser, l.engine, l.permits, l.record, queries.Config{MaxRows: -1, Timeout: l.timeout, Views: views.All}),
		Permits: l.permits, Recorder: l.record, Tenants: l.tenants, Store: l.lake.Store, Now: time.Now,
		Table: func(ctx context.Context, def *cardlake.Table) (insights.Table, error) {
			t, err := l.lake.Table(ctx, def)
			if err != nil {
				return nil, err // not a *iceberg.Table that is nil
			}
			return t, nil
		},
	}, l.door.caller)
}

// jobConfirm is "cardlake job confirm".
func jobConfirm(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return jobReview(ctx, labels.Fraud, args, stdout, stderr)
}

// jobDismiss is "cardlake job dismiss".
func jobDismiss(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return jobReview(ctx, labels.Genuine, args, stdout, stderr)
}

func jobReview(ctx context.Context, label labels.Label, args []string, stdout, stderr io.Writer) (err error) {
	command, about, done := "job confirm", jobConfirmAbout, "confirmed"
	if label == labels.Genuine {
		command, about, done = "job dismiss", jobDismissAbout, "dismissed"
	}
	fs := flagSet(command, "ALERT_ID…", about, stderr)
	var l labelling
	l.define(fs)
	if err := parseAround(fs, args); err != nil {
		return err
	}
	switch {
	case fs.NArg() == 0:
		return misused(fs, `takes the ids of alerts, which "cardlake job alerts" shows`)
	case label == labels.Genuine && l.door.reason == "":
		return misused(fs, "needs a -reason: the next reviewer, and the next run, want to know why")
	}
	if err := labels.CheckNote(l.door.reason); err != nil {
		return misused(fs, "-reason: %v", err)
	}
	if err := l.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.open(ctx); err != nil {
		return err
	}
	out, err := l.desk().Review(ctx, cardlake.Tenant(l.tenant), label, l.door.reason, fs.Args())
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %d %s", out.Tenant, out.Added, done)
	if out.Known > 0 {
		fmt.Fprintf(stdout, ", %d already so", out.Known)
	}
	fmt.Fprintln(stdout)
	return nil
}

// jobLabel is "cardlake job label".
func jobLabel(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("job label", "FILE", jobLabelAbout, stderr)
	var l labelling
	l.define(fs)
	source := fs.String("source", string(labels.File), "where the labels come from: "+string(labels.Chargeback)+", "+string(labels.File))
	if err := parseAround(fs, args); err != nil {
		return err
	}
	switch from := labels.Source(*source); {
	case fs.NArg() != 1:
		return misused(fs, "takes one file, got %d arguments", fs.NArg())
	case from != labels.Chargeback && from != labels.File:
		return misused(fs, "-source is one of %s, %s", labels.Chargeback, labels.File)
	}
	if err := l.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	file, err := os.Open(fs.Arg(0))
	if err != nil {
		return err
	}
	defer file.Close()
	reports, err := labels.Read(file, time.Now())
	if err != nil {
		return fmt.Errorf("%s: nothing was taken:\n%w", fs.Arg(0), err)
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.open(ctx); err != nil {
		return err
	}
	desk := l.desk()
	tenant, err := desk.Tenant(ctx, cardlake.Tenant(l.tenant))
	if err != nil {
		return err
	}
	out, err := desk.Add(ctx, tenant, labels.Source(*source), reports)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %d labels added, %d known already\n", out.Tenant, out.Added, out.Known)
	if out.Strangers > 0 {
		fmt.Fprintf(stderr, "cardlake: %d of the events are not in the lake, or not yet: their labels count once they are\n", out.Strangers)
	}
	return nil
}
