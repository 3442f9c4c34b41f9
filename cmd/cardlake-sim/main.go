// Command cardlake-sim is the card networks and the cardholders of a simulation: a client
// that asks a processor for decisions.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

const usage = `usage: cardlake-sim [run] [flags]     send transactions to a processor
       cardlake-sim cards [flags]     write the card file, card numbers in clear, to a pipe
       cardlake-sim version
Each command explains its flags with -h.
`

// errUsage marks a mistake of the user's that has been explained.
var errUsage = errors.New("usage")

// run is main without the process: exit code 0 for success, 1 for a failure, 2 for a
// mistake of the user's.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	command := "run"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "run":
		err = drive(ctx, args, stdout, stderr)
	case "cards":
		err = cards(args, stdout, stderr)
	case "version":
		fmt.Fprintln(stdout, "cardlake-sim", cardlake.Version)
	case "help":
		fmt.Fprint(stdout, usage)
	default:
		fmt.Fprintf(stderr, "cardlake-sim: no command %q\n%s", command, usage)
		return 2
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, sim.ErrUnreachable):
		fmt.Fprintf(stderr, "cardlake-sim: %v\nhint: -addr names the processor, and the -tls flags how to trust it\n", err)
		return 2
	case errors.Is(err, syscall.ENOSPC):
		fmt.Fprintf(stderr, "cardlake-sim: %v\nhint: nothing is lost; make room, and the same command goes on\n", err)
		return 2
	}
	fmt.Fprintln(stderr, "cardlake-sim:", err)
	return 1
}

// population adds the flags that say which population to make.
func population(fs *flag.FlagSet) *sim.Config {
	c := &sim.Config{}
	fs.Uint64Var(&c.Seed, "seed", 1, "`number` that population and traffic follow from")
	fs.IntVar(&c.Tenants, "tenants", 12, fmt.Sprintf("`companies`, 1 to %d", sim.MaxTenants))
	fs.IntVar(&c.CardsTotal, "cards", 20_000, "issued `cards` of all companies; about one for every 20 transactions keeps most within their limits")
	return c
}

// parse parses the flags, complains about arguments that are none, and validates.
func parse(fs *flag.FlagSet, args []string, stderr io.Writer, validate ...func() error) error {
	fs.SetOutput(stderr)
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage // flag has explained it
	}
	var errs []error
	if fs.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	for _, v := range validate {
		errs = append(errs, v())
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintf(stderr, "cardlake-sim: %v\nhint: cardlake-sim %s -h lists the flags\n", err, fs.Name())
		return errUsage
	}
	return nil
}

func cards(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("cards", flag.ContinueOnError)
	cfg := population(fs)
	if err := parse(fs, args, stderr, func() error { return cfg.Validate() }); err != nil {
		return err
	}
	if f, ok := stdout.(*os.File); ok {
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("look at standard output: %w", err)
		}
		if info.Mode().IsRegular() {
			fmt.Fprintln(stderr, "cardlake-sim: standard output is a file, and card numbers must not be kept in one\nhint: pipe them: cardlake-sim cards | COMMAND")
			return errUsage
		}
	}
	return card.WriteIssued(stdout, sim.NewPopulation(*cfg).Cards())
}

func drive(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	cfg := population(fs)
	client := sim.ClientConfig{}
	fs.StringVar(&client.Addr, "addr", "127.0.0.1:8583", "`host:port` of the processor")
	fs.IntVar(&client.Connections, "connections", 2, "TCP `connections`")
	transactions := fs.Uint64("transactions", 100_000, "stop when so many distinct `events` are answered, those of earlier runs in -dir included")
	rc := sim.RunConfig{}
	fs.Float64Var(&rc.Rate, "tps", 600, "`messages` a second, whatever the processor does")
	fs.Float64Var(&rc.Speed, "speed", 1, "simulated `seconds` for a real one")
	start := fs.String("start", "", "first `instant` of the simulated calendar (RFC 3339); the wall clock if empty")
	dir := fs.String("dir", "cardlake-sim", "`folder` for the journal and the fraud labels")
	ca := fs.String("tls-ca", "", "`file` of certificates (PEM) that the processor's must chain to; plain TCP if none of the -tls flags is given")
	cert := fs.String("tls-cert", "", "`file` of the client's certificate (PEM)")
	key := fs.String("tls-key", "", "`file` of the client's private key (PEM)")
	err := parse(fs, args, stderr, func() (err error) {
		client.TLS, err = tlsConfig(*ca, *cert, *key)
		return err
	}, func() (err error) {
		if *start != "" {
			if rc.Start, err = time.Parse(time.RFC3339, *start); err != nil {
				return fmt.Errorf("-start: %q is not an RFC 3339 time such as 2026-03-01T08:00:00Z", *start)
			}
		}
		_, err = sim.NewSegment(0, rc.Start, rc.Rate, rc.Speed)
		return errors.Join(cfg.Validate(), client.Validate(), err)
	})
	if err != nil {
		return err
	}
	r, err := sim.Open(*dir, sim.NewPopulation(*cfg), rc)
	if err != nil {
		fmt.Fprintln(stderr, "cardlake-sim:", err)
		return errUsage
	}
	live, quiet := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { watch(live, r, stderr) })
	s, err := r.Drive(ctx, client, *transactions)
	quiet()
	watching.Wait()
	if s.Sent > 0 {
		summarize(stdout, s)
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "stopped; the same command goes on from here")
		err = nil
	}
	return errors.Join(err, r.Close())
}

// watch shows a line that is renewed twice a second.
func watch(ctx context.Context, r *sim.Run, stderr io.Writer) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last, since := r.Progress().Answered, time.Now()
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(stderr)
			return
		case now := <-tick.C:
			p := r.Progress()
			rate := float64(p.Answered-last) / now.Sub(since).Seconds()
			last, since = p.Answered, now
			fmt.Fprintf(stderr, "\r%d of %d answered, %d waiting, %.0f/s, %d approved, %d repeats, p99 %s\x1b[K",
				p.Answered, p.Target, p.Sent-p.Answered, rate, p.Approved, p.Repeats, p.P99.Round(100*time.Microsecond))
		}
	}
}

func summarize(w io.Writer, s sim.Summary) {
	fmt.Fprintf(w, "sent         %d\nanswered     %d\napproved     %d\ndeclined     %d\nrepeats      %d\nreconnects   %d\nconflicting  %d\nstrays       %d\n",
		s.Sent, s.Answered, s.Approved, s.Declined, s.Repeats, s.Reconnects, s.Conflicting, s.Strays)
	fmt.Fprintf(w, "latency      p50 %s, p99 %s, max %s\nelapsed      %s\n", s.P50, s.P99, s.Max, s.Elapsed.Round(time.Millisecond))
}

// tlsConfig is nil when no file is named.
func tlsConfig(ca, cert, key string) (*tls.Config, error) {
	if ca == "" && cert == "" && key == "" {
		return nil, nil
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("-tls-cert and -tls-key: one is of no use without the other")
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("-tls-ca: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-tls-ca: %s has no certificate in it", ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("-tls-cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
