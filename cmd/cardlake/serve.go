package main

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
)

// serveCommand answers until ctx ends.
func serveCommand(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var o serving.Options
	var w workers
	var e engines
	fs := flagSet("serve", "", `Answers over HTTP, and with -flight to drivers of Arrow Flight SQL (ADBC, JDBC, ODBC): the dashboard, SQL, tables, one's own rights. Who asks is known by an OpenID Connect token or
session, or by a client certificate; what they may is decided by the grants, and each answer is on record before it is given.
Ends on SIGTERM when what is under way is done.`, stderr)
	o.Define(fs)
	w.flags(fs)
	e.define(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 0 {
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	o.HasWorkers = w.addrs != ""
	if err := errors.Join(o.Complete(), w.check(), e.check()); err != nil {
		return misused(fs, "%v", err)
	}
	tails, err := w.open()
	if err != nil {
		return err
	}
	if tails != nil {
		defer func() { err = errors.Join(err, tails.Close()) }()
		o.Tail = tails
	}
	o.Engine = func(ctx context.Context, l *serving.Lake, cfg embedded.Config) (queries.Engine, error) {
		return e.open(ctx, l, &o.Place, cfg)
	}
	return serving.Run(ctx, o, slog.New(slog.NewJSONHandler(stderr, nil)), stdout)
}
