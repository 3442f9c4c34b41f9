// Command cardlake is the query side's binary: it answers SQL over the lake within what the
// caller is permitted, says who may do what, keeps the record of what was done, and maintains
// the tables. It belongs to zone B: it sees tokens and truncated numbers, never a card number,
// and links nothing that could hold one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/cardlake/cardlake"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

const usage = `usage: cardlake COMMAND [flags] [arguments]

  query SQL        answer a SELECT statement; SQL "-" reads it from standard input
  tables           list the tables that are permitted: rows, files, time of the newest snapshot
  describe [NAME]  list the tables and views, or the columns of one
  changes          write the rows that were added since, each exactly once
  export           take a tenant's rows away as files
  products         data products: what is offered of the lake, and who subscribes
  quality          check data with rules in DQDL: results, trend, quarantine
  job              find anomalies, segments, predictions and recommendations in tenants' transactions
  reconcile        compare the rows with what the processors counted
  serve            answer over HTTP and Arrow Flight SQL
  grants           who may do what, and why
  audit            read and verify the record of who did what
  maintain         keep the tables small and fast, and remove what may not be kept
  version          print the version

"cardlake COMMAND -h" lists a command's flags. Results go to standard output, everything
else to standard error. Exit codes: 0 done, 1 stopped half-way, 2 refused or failed;
those of products, quality and reconcile are their own.
`

// errUsage says that a message has been printed already.
var errUsage = errors.New("usage")

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	var err error
	interrupted := 1
	switch command, args := args[0], args[1:]; command {
	case "query":
		err = query(ctx, args, stdin, stdout, stderr)
	case "tables":
		err = tables(ctx, args, stdout, stderr)
	case "describe":
		err = describe(ctx, args, stdout, stderr)
	case "changes":
		err = changesCommand(ctx, args, stdout, stderr)
	case "export":
		err = exportCommand(ctx, args, stdout, stderr)
	case "products":
		interrupted = 2
		err = productsCommand(ctx, args, stdout, stderr)
	case "quality":
		interrupted = 2
		err = qualityCommand(ctx, args, stdout, stderr)
	case "job":
		err = jobCommand(ctx, args, stdout, stderr)
	case "reconcile":
		interrupted = 2 // 1 is one of its answers
		err = reconcileRows(ctx, args, stdout, stderr)
	case "serve":
		err = serveCommand(ctx, args, stdout, stderr)
	case "grants":
		err = grantsCommand(ctx, args, stdout, stderr)
	case "audit":
		err = auditCommand(ctx, args, stdout, stderr)
	case "maintain":
		err = maintainCommand(ctx, args, stdout, stderr)
	case "version", "-version", "--version":
		fmt.Fprintln(stdout, "cardlake", cardlake.Version)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
	default:
		fmt.Fprintf(stderr, "cardlake: there is no command %q\n\n%s", command, usage)
		return 2
	}
	var code exitCode
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, syscall.EPIPE):
		return interrupted // whoever read the results has enough of them
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "cardlake: interrupted")
		return interrupted
	}
	fmt.Fprintln(stderr, "cardlake:", err)
	return 2
}

// flagSet returns a command's flags, whose usage goes to stderr.
func flagSet(command, arguments, about string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(stderr, "usage: cardlake %s [flags] %s\n\n%s\n\n", command, arguments, about)
		fs.PrintDefaults()
	}
	return fs
}

// parse parses the flags, which the flag package has complained about if they are wrong.
func parse(fs *flag.FlagSet, args []string) error {
	err := fs.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return errUsage
	}
	return err
}

// misused prints a message and the usage.
func misused(fs *flag.FlagSet, format string, args ...any) error {
	fmt.Fprintf(fs.Output(), "cardlake %s: %s\n\n", fs.Name(), fmt.Sprintf(format, args...))
	fs.Usage()
	return errUsage
}
