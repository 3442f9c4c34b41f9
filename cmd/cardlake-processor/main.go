// Command cardlake-processor is the authorising host: it answers the card networks and
// hands one sealed event for each decision to the stream.
//
//	cardlake-processor serve  -dir DIR -brokers LIST
//	cardlake-sim cards | cardlake-processor import -dir DIR
//	cardlake-processor decode -spec iso8583-1987-ascii [FILE|-]
//
// It exits with 0 when all went well, 1 when it failed at work, and 2, with one line on
// standard error, when it was started in a way that cannot work.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/keyflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/processor/ledger"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

const usage = `usage: cardlake-processor COMMAND [flags]
  serve    answer the card networks
  import   read issued cards as CSV from standard input into the ledger
  decode   print one ISO 8583 message as masked JSON
  version  print the version
`

// usageError is the caller's fault: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	commands := map[string]func(context.Context, []string, io.Reader, io.Writer, io.Writer) error{
		"serve": serve, "import": importCards, "decode": decode,
	}
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	if args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		fmt.Fprint(stderr, usage)
		return 0
	}
	if args[0] == "version" {
		fmt.Fprintln(stdout, "cardlake-processor", cardlake.Version)
		return 0
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "cardlake-processor: no command %q\n%s", args[0], usage)
		return 2
	}
	err := command(ctx, args[1:], stdin, stdout, stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "cardlake-processor %s: %v\n", args[0], err)
		return 2
	default:
		fmt.Fprintf(stderr, "cardlake-processor %s: %v\n", args[0], err)
		return 1
	}
}

// parse parses flags and checks that the required ones were given.
func parse(fs *flag.FlagSet, args []string, stderr io.Writer, operands int, required ...string) error {
	fs.SetOutput(io.Discard) // the error is printed once, by run
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(stderr)
			fs.Usage()
			return err
		}
		return usageError{err}
	}
	if fs.NArg() > operands {
		return usagef("%d arguments too many", fs.NArg()-operands)
	}
	for _, name := range required {
		if fs.Lookup(name).Value.String() == "" {
			return usagef("-%s is missing", name)
		}
	}
	return nil
}

// store are the flags that say where the ledger, its keys and its tenants are.
type store struct {
	dir, ledger, tenants string
	keys                 keyflags.Flags
}

func (s *store) flags(fs *flag.FlagSet) {
	fs.StringVar(&s.dir, "dir", home.Default(), "`folder` that the other files and folders are in by default")
	fs.StringVar(&s.ledger, "ledger", "", "`folder` of the ledger, made if it is not there; default processor in -dir")
	s.keys.Define(fs, keyflags.Card)
	fs.StringVar(&s.tenants, "tenants", "", "`file` with the register of tenants; default tenants.json in -dir")
}

// complete fills in what was not given, from the folder.
func (s *store) complete() error {
	d := home.Dir(s.dir)
	s.ledger, s.tenants = cmp.Or(s.ledger, d.Ledger()), cmp.Or(s.tenants, d.Tenants())
	if err := s.keys.Complete(d); err != nil {
		return usageError{err}
	}
	return nil
}

func (s *store) open(ctx context.Context, cfg ledger.Config) (*ledger.Ledger, keys.Provider, error) {
	ring, err := s.keys.Card.Open(ctx)
	if err != nil {
		return nil, nil, usageError{err}
	}
	l, err := ledger.Open(ctx, s.ledger, ring, cfg)
	if errors.Is(err, ledger.ErrSecret) || errors.Is(err, keys.ErrNoKey) {
		return nil, nil, usageError{err}
	}
	if err != nil {
		return nil, nil, usagef("%w (folder %s: is another processor using it, and may this one write there?)", err, s.ledger)
	}
	return l, ring, nil
}
