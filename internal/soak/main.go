// Command soak replays a record day from a broker to committed tables and reports whether
// everything arrived, how fast, and what it cost. The broker is a process of its own: the
// embedded one, or any that -brokers names.
//
// The worker, its catalog on SQLite, its sealed and synced object store and its keyring are
// those of one machine; nothing is switched off.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

type options struct {
	transactions, tenants, partitions int
	brokers, dir, report, profile     string
	window                            time.Duration
	rows                              int
	verbose                           bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	if len(args) > 0 && args[0] == "broker" {
		return serveBroker(ctx, args[1:], stdout)
	}
	var o options
	fs := flag.NewFlagSet("soak", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.transactions, "transactions", 13_500_000, "`number` of transactions: the record day of the system this is modelled on")
	fs.IntVar(&o.tenants, "tenants", 100, "`number` of tenants")
	fs.IntVar(&o.partitions, "partitions", 8, "`number` of partitions of the topic")
	fs.StringVar(&o.brokers, "brokers", "", "comma-separated `host:port` of Kafka brokers; default an embedded one, in a process of its own")
	fs.StringVar(&o.dir, "dir", "", "`folder` for the lake, kept afterwards; default a temporary one, removed")
	fs.StringVar(&o.report, "report", "", "`file` for the report as JSON")
	fs.StringVar(&o.profile, "cpuprofile", "", "`file` for a processor profile of the replay")
	fs.DurationVar(&o.window, "window", 5*time.Second, "longest time an event waits for its commit")
	fs.IntVar(&o.rows, "window-rows", 1_000_000, "rows after which a window is committed before its time")
	fs.BoolVar(&o.verbose, "v", false, "log what the worker logs")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.transactions < 1 || o.tenants < 1 || o.partitions < 1 || o.transactions > maxEvents {
		return fmt.Errorf("-transactions, -tenants and -partitions must be at least 1, and transactions at most %d", maxEvents)
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "cardlake-soak-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	level := slog.LevelError
	if o.verbose {
		level = slog.LevelInfo
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))

	brokers, b := strings.Split(o.brokers, ","), (*broker)(nil)
	if o.brokers == "" {
		if b, err = startBroker(ctx, o.partitions); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.stop()) }()
		brokers = []string{b.addr}
	}
	l, err := newLake(ctx, o, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	began := time.Now()
	if err := l.fill(ctx, brokers, o, func(done int) {
		fmt.Fprintf(stderr, "\rfilling the topic: %d of %d events", done, o.transactions)
	}); err != nil {
		return fmt.Errorf("fill the topic: %w", err)
	}
	fmt.Fprintf(stderr, "\rfilled the topic with %d events in %.0f s\n", o.transactions, time.Since(began).Seconds())
	forgetPeak()
	debug.SetMemoryLimit(o.worker().MemoryLimit()) // as cardlake-worker does

	r, err := l.replay(ctx, brokers, b, o, stderr)
	if err != nil {
		return err
	}
	if err := l.verify(ctx, o, r, stderr); err != nil {
		return err
	}
	r.print(stdout)
	if o.report != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.report, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	if r.Missing > 0 || r.Duplicates > 0 || r.Rejected > 0 || r.Unexpected > 0 {
		return errors.New("the lake does not hold what was produced")
	}
	return nil
}
