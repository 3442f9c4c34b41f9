package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/render"
	"github.com/cardlake/cardlake/queries/views"
)

func query(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	fs := flagSet("query", "SQL", `Answers one SELECT statement over the tables that "cardlake tables" lists, within what -as is permitted, and records it. SQL "-" is read from standard input.`, stderr)
	var place lakeflags.Flags
	place.Define(fs, lakeflags.Read)
	var d door
	d.define(fs)
	d.defineRecord(fs)
	var w workers
	w.flags(fs)
	var e engines
	e.define(fs)
	formatName := fs.String("format", "table", "how rows are written: "+strings.Join(render.Names(), ", "))
	at := fs.Int64("at", 0, "read the statement's one table in this `snapshot` of it, and nothing beyond; 0 for the newest")
	maxRows := fs.Int64("max-rows", 1_000_000, "fail after so many `rows`; 0 for no bound")
	timeout := fs.Duration("timeout", 5*time.Minute, "longest time the statement may take")
	memory := fs.Int64("memory", 512, "`MiB` of memory that the statement may use, besides the decrypted files")
	if err := parse(fs, args); err != nil {
		return err
	}
	format, err := render.ByName(*formatName)
	switch {
	case err != nil:
		return misused(fs, "%v", err)
	case fs.NArg() != 1:
		return misused(fs, "takes one statement, in quotes, or - for standard input; got %d arguments", fs.NArg())
	case *maxRows < 0 || *timeout <= 0 || *memory < 1 || *memory > 1<<20:
		return misused(fs, "-max-rows must not be negative, -timeout must be positive, -memory from 1 to %d", 1<<20)
	}
	if err := errors.Join(place.Complete(), d.complete(home.Dir(place.Dir)), w.check(), e.check()); err != nil {
		return misused(fs, "%v", err)
	}
	sql := fs.Arg(0)
	if sql == "-" {
		text, err := io.ReadAll(io.LimitReader(stdin, serving.MaxStatement))
		if err != nil {
			return fmt.Errorf("read statement: %w", err)
		}
		sql = string(text)
	}
	if *maxRows == 0 {
		*maxRows = -1
	}

	start := time.Now()
	var screen io.Writer
	if isTerminal(stderr) {
		screen = stderr
	}
	p := startMeter(screen, start, "opening the lake")
	defer p.end()
	l, err := d.site(ctx, &place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	cfg := embedded.Config{Memory: *memory << 20}
	tails, err := w.open()
	if err != nil {
		return err
	}
	if tails != nil {
		defer func() { err = errors.Join(err, tails.Close()) }()
		cfg.Tail = tails
	}
	engine, err := e.open(ctx, l.Lake, &place, cfg)
	if err != nil {
		return err
	}
	gateway := l.gateway(engine, queries.Config{MaxRows: *maxRows, Timeout: *timeout, MaxSQL: serving.MaxStatement, Views: views.All})
	p.is("running")
	result, err := ask(ctx, gateway, d.caller, *at, sql)
	if err != nil {
		return located(err, sql)
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	p.is("writing")
	rows := &counted{Rows: result, p: p, first: func() {
		if isTerminal(stdout) {
			p.end() // the rows need the screen
		}
	}}
	if err := format(ctx, stdout, rows); err != nil {
		return located(err, sql)
	}
	p.end()
	destroyed(stderr, result)
	if *formatName == "table" {
		footer(stderr, result, time.Since(start))
	}
	return nil
}

// ask asks of the newest state, or of a snapshot of the one table that the statement reads.
func ask(ctx context.Context, g *queries.Gateway, c grants.Caller, snapshot int64, sql string) (*queries.Result, error) {
	if snapshot == 0 {
		return g.Query(ctx, c, sql)
	}
	s, err := g.Check(ctx, sql)
	if err != nil {
		return nil, err
	}
	if len(s.Reads) != 1 {
		return nil, fmt.Errorf("-at is a snapshot of one table, and the statement reads %d", len(s.Reads))
	}
	return g.QueryAt(ctx, c, queries.At{Snapshots: map[string]int64{s.Reads[0].Table.FullName(): snapshot}}, sql)
}

// located adds the place in the statement to a fault of it.
func located(err error, sql string) error {
	var fault *queries.Error
	if !errors.As(err, &fault) {
		return err
	}
	text := fault.Error()
	if excerpt := fault.Excerpt(sql); excerpt != "" {
		text += "\n" + excerpt
	}
	return errors.New(text)
}

// destroyed tells which rows were left out for ever, whatever the format: a count without them
// is not wrong, and must not surprise.
func destroyed(w io.Writer, r *queries.Result) {
	for _, s := range r.Snapshots() {
		for _, tenant := range slices.Sorted(maps.Keys(s.Destroyed)) {
			fmt.Fprintf(w, "cardlake: without %d rows of tenant %s in %s: its keys were destroyed\n", s.Destroyed[tenant], tenant, s.Table.FullName())
		}
	}
}

// footer tells how much was answered, how fast, and as of when.
func footer(w io.Writer, r *queries.Result, elapsed time.Duration) {
	rows := "rows"
	if r.Count() == 1 {
		rows = "row"
	}
	fmt.Fprintf(w, "(%d %s in %d ms", r.Count(), rows, elapsed.Milliseconds())
	if at, ok := r.AsOf(); ok {
		fmt.Fprintf(w, ", as of %s", at.UTC().Format(time.RFC3339))
	}
	if s, ok := r.Stats(); ok {
		fmt.Fprintf(w, ", %s scanned %.1f MiB", s.Engine, float64(s.ScannedBytes)/(1<<20))
		switch {
		case s.IsReused:
			fmt.Fprint(w, ", an earlier answer")
		case s.NanoUSD > 0:
			fmt.Fprintf(w, ", about $%.6f", float64(s.NanoUSD)/1e9)
		}
	}
	for _, s := range r.Snapshots() {
		switch {
		case s.TailError != nil:
			fmt.Fprintf(w, ", without what is not committed yet: %v", s.TailError)
		case len(s.Lacking) > 0:
			fmt.Fprintf(w, ", without what is not committed yet of %d partitions", len(s.Lacking))
		case s.IsPartial:
			fmt.Fprint(w, ", without a part of what is not committed yet")
		}
		if s.Unanswered != nil {
			fmt.Fprintf(w, ", without workers that do not answer: %v", s.Unanswered)
		}
	}
	fmt.Fprintln(w, ")")
}
