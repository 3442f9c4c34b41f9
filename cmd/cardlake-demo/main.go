// Command cardlake-demo runs all of cardlake in one process on embedded defaults: simulated
// card networks send ISO 8583 over TCP to the processor, which decides, keeps a ledger and
// emits sealed events to an embedded broker; the worker tokenises them and commits encrypted
// files to an Iceberg table; then the demo checks the lake from the lake's side.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/sim"
)

func main() {
	// Each sync of a file holds a scheduler slot until the runtime takes it back. With as many
	// slots as processors, a few syncs at once would hold up every decision.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(4, 2*runtime.NumCPU()))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the check found something wrong
	exitUsage  = 2 // it could not run: flags, folder, keys, ports, disk
)

type options struct {
	dir           string
	transactions  uint64
	tps           float64
	tenants       int
	seed          uint64
	days          int
	serve         string
	report        string
	window        time.Duration
	processorAddr string
	brokerPort    int
	verbose       bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("cardlake-demo", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.dir, "dir", home.Default(), "`folder` for everything the demo writes; run again in it, the demo goes on where it was")
	fs.Uint64Var(&o.transactions, "transactions", 100_000, "transactions to bring into the lake in this run")
	fs.Float64Var(&o.tps, "tps", 2500, "transactions a second that the card networks send")
	fs.IntVar(&o.tenants, "tenants", 12, "number of tenants")
	fs.Uint64Var(&o.seed, "seed", 1, "seed of the simulated population and its traffic")
	fs.IntVar(&o.days, "days", 0, "in a new folder, spread the transactions over so many `days` up to now, on a simulated calendar, so that there is a history to look into; 0 for as they come")
	fs.StringVar(&o.serve, "serve", "", "keep running after the check, with live traffic, and serve the dashboard, its API and /status over HTTP on `address`, as 127.0.0.1:8080")
	fs.StringVar(&o.report, "report", "", "write the report as JSON to `file`")
	fs.DurationVar(&o.window, "window", 2*time.Second, "longest time an event waits for its commit")
	fs.StringVar(&o.processorAddr, "processor-addr", "127.0.0.1:0", "`address` of the processor for card networks; port 0 picks a free one")
	fs.IntVar(&o.brokerPort, "broker-port", 0, "`port` of the embedded broker on 127.0.0.1; 0 picks a free one")
	fs.BoolVar(&o.verbose, "v", false, "log what the parts do")
	version := fs.Bool("version", false, "print the version")
	fs.Usage = func() {
		fmt.Fprintln(stderr, "usage: cardlake-demo [flags]\n\nRuns all of cardlake in one process, brings simulated card transactions from ISO 8583\ninto the lake, and checks that each is there once and no card number is in clear.")
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if *version {
		fmt.Fprintln(stderr, "cardlake-demo", cardlake.Version)
		return o, flag.ErrHelp
	}
	var errs []error
	if fs.NArg() > 0 {
		errs = append(errs, fmt.Errorf("takes no arguments besides flags, got %q", fs.Arg(0)))
	}
	if o.transactions < 1 {
		errs = append(errs, errors.New("-transactions must be at least 1"))
	}
	if !(o.tps > 0 && o.tps <= 1_000_000) {
		errs = append(errs, errors.New("-tps must be above 0 and at most 1000000"))
	}
	if o.days < 0 || o.days > 730 {
		errs = append(errs, errors.New("-days must be from 0 to 730"))
	}
	// A second must not be longer than a million.
	if least := float64(o.days) * 86_400 * o.tps / 1e6; float64(o.transactions) < least {
		errs = append(errs, fmt.Errorf("-days %d at -tps %g takes at least %.0f transactions: ask for more -transactions, fewer -days or a lower -tps", o.days, o.tps, least))
	}
	if o.days > 0 && o.serve != "" {
		errs = append(errs, errors.New("-days fills a folder with the past, -serve goes on at the present: run with -days first, then with -serve in the same -dir"))
	}
	if o.window < 100*time.Millisecond {
		errs = append(errs, errors.New("-window must be at least 100ms"))
	}
	if err := (sim.Config{Tenants: o.tenants}).Validate(); err != nil || o.tenants < 1 {
		errs = append(errs, fmt.Errorf("-tenants must be from 1 to %d", sim.MaxTenants))
	}
	if host, _, err := net.SplitHostPort(o.processorAddr); err != nil || !loopback(host) {
		errs = append(errs, errors.New("-processor-addr must be an address of the loopback interface, as 127.0.0.1:8583: the demo speaks without TLS"))
	}
	if o.serve != "" {
		if host, _, err := net.SplitHostPort(o.serve); err != nil || !loopback(host) {
			errs = append(errs, errors.New("-serve must be an address of the loopback interface, as 127.0.0.1:8080: the demo serves without TLS"))
		}
	}
	return o, errors.Join(errs...)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err == nil {
		err = demo(ctx, o, stdout, stderr)
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errCheck):
		fmt.Fprintln(stderr, "cardlake-demo:", err)
		return exitFailed
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(stderr, "\ncardlake-demo: stopped; run it again with the same -dir and it goes on where it was\n")
		return exitFailed
	}
	fmt.Fprintln(stderr, "cardlake-demo:", err)
	return exitUsage
}

// errCheck says that the lake is not what the networks sent.
var errCheck = errors.New("the check failed")

func demo(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	started := time.Now()
	f, err := openFolder(ctx, o)
	if err != nil {
		return err
	}
	defer f.close()

	level := slog.LevelError
	if o.verbose {
		level = slog.LevelInfo
	}
	live := newLive(stderr)
	log := slog.New(slog.NewTextHandler(live, &slog.HandlerOptions{Level: level}))
	traffic, err := sim.Open(f.Simulator(), f.population, f.runConfig(o))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, traffic.Close()) }()
	cfg := hostConfig{processorAddr: o.processorAddr, brokerPort: o.brokerPort, window: o.window, tps: o.tps, log: log}
	if f.isPast() {
		cfg.clock, cfg.tps = traffic.Calendar, float64(o.transactions)/f.span().Seconds()
		cfg.repeats = f.span()
		live.calendar = traffic.Calendar
	}
	h, err := startHost(ctx, f, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	if err := f.aim(traffic.Progress().Sent, o.transactions); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "processor  %s  ISO 8583:1987, two-byte length\nbroker     %s  Kafka protocol, topic %s\nfolder     %s  %d tenants, %d to %d transactions\n",
		h.server.Addr(), h.brokers()[0], wire.Topic, f.Dir, f.state.Tenants, traffic.Progress().Answered, f.state.Target)

	before := usage()
	if err := drive(ctx, f, h, traffic, live, o, f.state.Target); err != nil {
		return err
	}
	cpu := usage() - before

	r, err := examine(ctx, f, h, traffic, live, started)
	if err != nil {
		return err
	}
	r.measure(cpu)
	live.clear()
	if err := r.print(ctx, stdout, h, f); err != nil {
		return err
	}
	if o.report != "" {
		if err := r.write(o.report); err != nil {
			return err
		}
	}
	if !r.right() {
		return errCheck
	}
	f.state.Finished = true
	if err := f.saveState(); err != nil {
		return err
	}
	if o.serve == "" {
		return nil
	}
	return keepServing(ctx, f, h, traffic, live, o, log, stderr)
}

// drive sends traffic until the folder holds total transactions and all of them are in the
// lake, with the live line. It stops early when ctx ends, a part fails or the disk is full.
func drive(ctx context.Context, f *folder, h *host, traffic *sim.Run, live *live, o options, total uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if err := f.watchDisk(ctx, minFree); err != nil {
			cancel(err)
		}
	}()
	go func() {
		select {
		case err := <-h.failures:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	shown := make(chan struct{})
	showCtx, hide := context.WithCancel(ctx)
	go func() {
		defer close(shown)
		live.follow(showCtx, h, traffic)
	}()
	defer func() { hide(); <-shown }()

	client := sim.ClientConfig{Addr: h.server.Addr().String(), Connections: 4}
	if f.isPast() {
		client.Window = 128 // what waits for its decision gets a later time on the calendar
	}
	_, err := traffic.Drive(ctx, client, total)
	if err == nil {
		// What was sent is complete: its totals need not wait for the minute's end.
		err = h.totals.Flush()
	}
	if err == nil {
		err = h.drained(ctx)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
