package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes/ready"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/webhook"
)

const readyAbout = `Lists the days of each tenant and whether all their rows are there, as the control totals show.
-as must be permitted to read all tenants' transactions and totals.`

const eventsAbout = `Tells subscribers by webhook when a tenant's day is complete.

  run    watches, and tells, until SIGTERM. What is not taken is sent again, with the same id.
  list   lists what was announced of -tenant, and who has taken it
  send   sends the event of -tenant and -day to the subscriber -to once more

The subscribers are in a JSON file:
  {"subscribers": [{"name": "warehouse", "principal": "etl_job/warehouse", "tenants": ["acme"],
    "url": "https://hooks.example.com/lake", "secret_file": "warehouse.secret", "old_secret_files": []}],
   "allow": ["10.20.0.0/16"]}
A subscriber is told of a tenant only if its principal may read the tenant's changes. A secret file holds whsec_…
(Standard Webhooks). "allow" are networks that are not public and may be sent to all the same.`

// watching is what commands about complete partitions have in common.
type watching struct {
	place  lakeflags.Flags
	door   door
	days   int
	file   string
	closes []func() error
}

func (w *watching) close() error {
	var errs []error
	for _, c := range slices.Backward(w.closes) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// open opens the lake and the watcher over it.
func (w *watching) open(ctx context.Context, stderr io.Writer) (*ready.Watcher, error) {
	subscribers, sender, err := readSubscribers(w.file)
	if err != nil {
		return nil, err
	}
	l, err := serving.OpenLake(ctx, &w.place)
	if err != nil {
		return nil, err
	}
	w.closes = append(w.closes, l.Close)
	permits, err := w.door.permits()
	if err != nil {
		return nil, err
	}
	record, err := w.door.record(ctx, &w.place)
	if err != nil {
		return nil, err
	}
	w.closes = append(w.closes, record.Close)
	tenants, err := catalog.OpenTenants(w.door.tenants)
	if err != nil {
		return nil, err
	}
	parser := embedded.NewParser()
	w.closes = append(w.closes, parser.Close)
	gateway := queries.New(parser, embedded.New(l.Planner, l.Store, embedded.Config{}), permits, record, queries.Config{MaxRows: -1})
	return ready.New(ready.Deps{
		Asker: gateway.As(w.door.caller), Permits: permits, Store: l.Store, Tenants: tenants, Sender: sender, Recorder: record,
		Log: slog.New(slog.NewJSONHandler(stderr, nil)),
	}, subscribers, ready.Config{Days: w.days})
}

// readyCommand lists which days are complete.
func readyCommand(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("changes ready", "", readyAbout, stderr)
	var w watching
	w.place.Define(fs, lakeflags.Read)
	w.door.define(fs)
	w.door.defineRecord(fs)
	fs.IntVar(&w.days, "days", 3, "how many `days` back")
	format := fs.String("format", "table", "how the result is written: table, json")
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case fs.NArg() != 0:
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	case w.days < 1 || w.days > 366:
		return misused(fs, "-days is from 1 to 366")
	case *format != "table" && *format != "json":
		return misused(fs, "unknown format %q: want one of table, json", *format)
	}
	if err := errors.Join(w.place.Complete(), w.door.complete(home.Dir(w.place.Dir))); err != nil {
		return misused(fs, "%v", err)
	}
	defer func() { err = errors.Join(err, w.close()) }()
	watcher, err := w.open(ctx, stderr)
	if err != nil {
		return err
	}
	partitions, err := watcher.Look(ctx)
	if err != nil {
		return err
	}
	if *format == "json" {
		if partitions == nil {
			partitions = []ready.Partition{}
		}
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		return out.Encode(partitions)
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "day\ttenant\trows\tcomplete\tvalid through")
	for _, p := range partitions {
		fmt.Fprintf(table, "%s\t%s\t%d\t%v\t%s\n", p.Partition, p.Tenant, p.Rows, map[bool]string{true: "yes", false: "no"}[p.IsComplete], p.ValidThrough.Format(time.RFC3339))
	}
	return table.Flush()
}

// eventsCommand tells subscribers of complete days.
func eventsCommand(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("changes events", "run|list|send", eventsAbout, stderr)
	var w watching
	w.place.Define(fs, lakeflags.Read)
	w.door.define(fs)
	w.door.defineRecord(fs)
	fs.StringVar(&w.file, "subscribers", "", "`file` with who is told")
	fs.IntVar(&w.days, "days", 3, "how many `days` back is looked, and sent again")
	tenant := fs.String("tenant", "", "`name` of the tenant, for list and send")
	day := fs.String("day", "", "UTC `day` of the event, as 2026-03-02, for send")
	to := fs.String("to", "", "`name` of the subscriber, for send")
	if len(args) == 0 {
		return misused(fs, "say what to do: run, list or send")
	}
	what, args := args[0], args[1:]
	if strings.HasPrefix(what, "-") {
		args = append([]string{what}, args...) // a flag, and nothing to do
	}
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case fs.NArg() != 0:
		return misused(fs, "takes no other arguments, got %q", fs.Arg(0))
	case !slices.Contains([]string{"run", "list", "send"}, what):
		return misused(fs, "there is no %q: say run, list or send", what)
	case w.days < 1 || w.days > 366:
		return misused(fs, "-days is from 1 to 366")
	case what != "list" && w.file == "":
		return misused(fs, "%s needs -subscribers", what)
	case what != "run" && cardlake.Tenant(*tenant).Validate() != nil:
		return misused(fs, "%s needs -tenant", what)
	case what == "send" && (*day == "" || *to == ""):
		return misused(fs, "send needs -day and -to")
	}
	if err := errors.Join(w.place.Complete(), w.door.complete(home.Dir(w.place.Dir))); err != nil {
		return misused(fs, "%v", err)
	}
	defer func() { err = errors.Join(err, w.close()) }()
	watcher, err := w.open(ctx, stderr)
	if err != nil {
		return err
	}
	switch what {
	case "run":
		return watcher.Run(ctx)
	case "send":
		return watcher.SendAgain(ctx, cardlake.Tenant(*tenant), *day, *to)
	}
	states, err := watcher.Events(ctx, cardlake.Tenant(*tenant))
	if err != nil {
		return err
	}
	out := json.NewEncoder(stdout)
	for _, s := range states {
		if err := out.Encode(s); err != nil {
			return err
		}
	}
	return nil
}

// subscribersFile is the content of -subscribers.
type subscribersFile struct {
	Subscribers []struct {
		Name           string            `json:"name"`
		Principal      string            `json:"principal"`
		Tenants        []cardlake.Tenant `json:"tenants"`
		URL            string            `json:"url"`
		SecretFile     string            `json:"secret_file"`
		OldSecretFiles []string          `json:"old_secret_files"`
	} `json:"subscribers"`
	Allow []string `json:"allow"`
}

// readSubscribers reads who is told, and returns who tells. Without a path nobody is told.
func readSubscribers(path string) ([]ready.Subscriber, *webhook.Sender, error) {
	if path == "" {
		return nil, webhook.New(webhook.Config{}), nil
	}
	fault := func(format string, args ...any) ([]ready.Subscriber, *webhook.Sender, error) {
		return nil, nil, fmt.Errorf("-subscribers: "+format, args...)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fault("%w", err)
	}
	var file subscribersFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return fault("%w", err)
	}
	var cfg webhook.Config
	for _, text := range file.Allow {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fault("allow: %w", err)
		}
		cfg.Allow = append(cfg.Allow, p)
	}
	sender := webhook.New(cfg)
	var out []ready.Subscriber
	for _, s := range file.Subscribers {
		one := ready.Subscriber{Name: s.Name, Tenants: s.Tenants, Endpoint: webhook.Endpoint{URL: s.URL}}
		if one.Principal, err = grants.ParsePrincipal(s.Principal); err != nil {
			return fault("%s: principal: %w", s.Name, err)
		}
		if one.Endpoint.Secret, err = readSecret(path, s.SecretFile); err != nil {
			return fault("%s: secret_file: %w", s.Name, err)
		}
		for _, name := range s.OldSecretFiles {
			old, err := readSecret(path, name)
			if err != nil {
				return fault("%s: old_secret_files: %w", s.Name, err)
			}
			one.Endpoint.Old = append(one.Endpoint.Old, old)
		}
		if err := sender.Check(one.Endpoint); err != nil {
			return fault("%s: url: %w", s.Name, err)
		}
		for _, t := range s.Tenants {
			if err := t.Validate(); err != nil {
				return fault("%s: tenants: %w", s.Name, err)
			}
		}
		out = append(out, one)
	}
	return out, sender, nil
}

// readSecret reads a file with a webhook's secret, whose name is relative to the file that names
// it.
func readSecret(beside, name string) (webhook.Secret, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(beside), name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return webhook.ParseSecret(string(text))
}

// changesOther finds the other commands of "cardlake changes".
func changesOther(args []string) (func(context.Context, []string, io.Writer, io.Writer) error, bool) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return nil, false
	}
	switch args[0] {
	case "ready":
		return readyCommand, true
	case "events":
		return eventsCommand, true
	}
	return nil, false
}
