package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/reconcile"
	"github.com/cardlake/cardlake/queries/render"
)

const reconcileAbout = `Compares the lake's rows with what the processors counted, by tenant and minute, for the
tenants that -as is permitted to read. A minute is
  complete     if its rows are as many as were counted, with the same sums
  unconfirmed  if rows are there whose control totals may still come
  late         if rows are missing that may still come
  wrong        if neither: rows lost, added or changed, or never counted
A gap is a control total that is not in the lake. Listed is what is not complete.

Exit codes: 0 all complete, 1 something is wrong, 2 refused or failed, 3 nothing is wrong, but
something is late or unconfirmed: ask again later.`

// exitCode is the outcome of a command that has printed all there is to say.
type exitCode int

func (c exitCode) Error() string { return "exit code " + strconv.Itoa(int(c)) }

// reconcileRows compares the lake's rows with the control totals.
func reconcileRows(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("reconcile", "", reconcileAbout, stderr)
	var place lakeflags.Flags
	place.Define(fs, lakeflags.Read)
	var d door
	d.define(fs)
	d.defineRecord(fs)
	since := fs.String("since", "", "first minute: a `time` in RFC 3339, or how long ago, as 24h; default the first there is")
	until := fs.String("until", "", "end of the last minute, a `time` as -since; default none")
	tenant := fs.String("tenant", "", "`name` of the only tenant to look at; default all")
	grace := fs.Duration("grace", 5*time.Minute, "how long after its last arrival a minute may still be late or unconfirmed")
	most := fs.Int("list", 1000, "list at most so many `minutes` and gaps; -1 for no bound")
	format := fs.String("format", "table", "how the result is written: table, json")
	timeout := fs.Duration("timeout", 5*time.Minute, "longest time the comparison may take")
	memory := fs.Int64("memory", 512, "`MiB` of memory that the comparison may use, besides the decrypted files")
	if err := parse(fs, args); err != nil {
		return err
	}
	cfg := reconcile.Config{Tenant: cardlake.Tenant(*tenant), Grace: *grace, MaxListed: *most}
	if *most == 0 {
		return misused(fs, "-list must be at least 1, or -1 for no bound")
	}
	now := time.Now()
	if cfg.Since, err = moment(*since, now); err != nil {
		return misused(fs, "-since: %v", err)
	}
	if cfg.Until, err = moment(*until, now); err != nil {
		return misused(fs, "-until: %v", err)
	}
	switch {
	case fs.NArg() != 0:
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	case *format != "table" && *format != "json":
		return misused(fs, "unknown format %q: want one of table, json", *format)
	case *tenant != "" && cfg.Tenant.Validate() != nil:
		return misused(fs, "-tenant: %v", cfg.Tenant.Validate())
	case *grace <= 0 || *timeout <= 0 || *memory < 1 || *memory > 1<<20:
		return misused(fs, "-grace and -timeout must be positive, -memory from 1 to %d", 1<<20)
	case !cfg.Until.IsZero() && !cfg.Since.Before(cfg.Until):
		return misused(fs, "-since must be before -until")
	}

	if err := errors.Join(place.Complete(), d.complete(home.Dir(place.Dir))); err != nil {
		return misused(fs, "%v", err)
	}
	l, err := d.site(ctx, &place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	engine := l.engine(embedded.Config{Memory: *memory << 20})
	gateway := l.gateway(engine, queries.Config{MaxRows: -1, Timeout: *timeout})
	report, err := reconcile.Run(ctx, gateway.As(d.caller), cfg)
	if err != nil {
		return err
	}
	if err := writeReport(ctx, stdout, stderr, *format, &report); err != nil {
		return err
	}
	switch report.Status {
	case reconcile.Complete:
		return nil
	case reconcile.Wrong:
		return exitCode(1)
	}
	return exitCode(3)
}

// moment reads an instant, or how long before now it is; the zero time if empty.
func moment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, errors.New("want a time as 2026-03-01T12:00:00Z or how long ago, as 90m")
	}
	return at, nil
}

// writeReport writes the report, and in the format table what it comes to on stderr.
func writeReport(ctx context.Context, stdout, stderr io.Writer, format string, r *reconcile.Report) error {
	if format == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	for i, l := range []*listing{tenantsListing(r), minutesListing(r), gapsListing(r)} {
		if i > 0 && len(l.rows) == 0 {
			continue
		}
		if i > 0 {
			if _, err := fmt.Fprintln(stdout); err != nil {
				return err
			}
		}
		if err := render.Table(ctx, stdout, l); err != nil {
			return err
		}
	}
	if r.Unlisted > 0 {
		fmt.Fprintf(stderr, "(%d more are not listed: see -list)\n", r.Unlisted)
	}
	fmt.Fprintf(stderr, "(%v as of %s)\n", r.Status, r.At.Format(time.RFC3339))
	return nil
}

func tenantsListing(r *reconcile.Report) *listing {
	l := &listing{}
	l.column("tenant", arrow.BinaryTypes.String)
	for _, name := range []string{"complete", "unconfirmed", "late", "wrong", "gaps", "rows", "counted"} {
		l.column(name, arrow.PrimitiveTypes.Int64)
	}
	for _, t := range r.Tenants {
		l.rows = append(l.rows, []any{string(t.Tenant), t.Complete, t.Unconfirmed, t.Late, t.Wrong, t.Gaps, t.Rows, t.Counted})
	}
	return l
}

// toTheSecond is the type of the instants that are listed.
var toTheSecond = &arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"}

func minutesListing(r *reconcile.Report) *listing {
	l := &listing{}
	l.column("tenant", arrow.BinaryTypes.String)
	l.column("minute", toTheSecond)
	l.column("status", arrow.BinaryTypes.String)
	l.column("rows", arrow.PrimitiveTypes.Int64)
	l.column("counted", arrow.PrimitiveTypes.Int64)
	l.column("what", arrow.BinaryTypes.String)
	for _, m := range r.Minutes {
		var rows, counted int64
		for _, s := range m.Sums {
			rows, counted = rows+s.Lake.Events, counted+s.Totals.Events
		}
		l.rows = append(l.rows, []any{string(m.Tenant), m.Minute, m.Status.String(), rows, counted, m.Detail()})
	}
	return l
}

func gapsListing(r *reconcile.Report) *listing {
	l := &listing{}
	l.column("tenant", arrow.BinaryTypes.String)
	l.column("processor", arrow.BinaryTypes.String)
	l.column("status", arrow.BinaryTypes.String)
	l.column("first_missing", arrow.PrimitiveTypes.Int64)
	l.column("last_missing", arrow.PrimitiveTypes.Int64)
	l.column("after", toTheSecond)
	l.column("before", toTheSecond)
	for _, g := range r.Gaps {
		var after any
		if !g.After.IsZero() {
			after = g.After
		}
		l.rows = append(l.rows, []any{string(g.Tenant), g.Processor, g.Status.String(), g.First, g.Last, after, g.Before})
	}
	return l
}
