// Command cardlake-vault keeps which token stands for which card number, and the keys of
// both: it serves the workers that pin cards and the people who turn tokens back, two at a
// time; it rotates and destroys keys. It belongs to zone A. Whatever it does with keys is in
// an audit log before it is done.
//
// It exits with 0 when all went well, 1 when something failed or was refused, and 2 when it
// was started in a way that cannot work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/cardlake/cardlake"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once, which is safe
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

const usage = `usage: cardlake-vault COMMAND [flags]

  serve       answer workers and people, by HTTP with TLS both ways
  tokenize    card numbers from standard input, one a line, to tokens
  detokenize  ask for card numbers, approve another's request, collect the answer
  rotate      make a tenant a new mint or reverse key and retire the old one, resumable
  keys        list, create, rotate or destroy keys
  tenant      create, suspend, resume, off-board or list tenants
  version     print the version

"cardlake-vault COMMAND -h" lists a command's flags. Results go to standard output,
everything else to standard error. Exit codes: 0 done, 1 failed or refused, 2 misused.
`

// usageError is the caller's fault: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	commands := map[string]func(context.Context, []string, streams) error{
		"serve": serve, "tokenize": tokenizeCards, "detokenize": detokenizeCards, "rotate": rotate, "keys": manageKeys, "tenant": manageTenants,
	}
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stdout, usage)
		return 0
	case "version", "-version", "--version":
		fmt.Fprintln(stdout, "cardlake-vault", cardlake.Version)
		return 0
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "cardlake-vault: there is no command %q\n\n%s", args[0], usage)
		return 2
	}
	err := command(ctx, args[1:], streams{stdin, stdout, stderr})
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "cardlake-vault %s: %s\n", args[0], strings.TrimSpace(line))
	}
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

// newFlags returns a command's flags, whose usage is printed on -h only.
func newFlags(command, about string) *flag.FlagSet {
	fs := flag.NewFlagSet(command, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run reports errors, in one line
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "usage: cardlake-vault %s [flags]\n\n%s\n\n", command, about)
		fs.PrintDefaults()
	}
	return fs
}

// parse parses flags, of which the required ones must be given. What they say is at fault is
// the caller's.
func parse(fs *flag.FlagSet, args []string, std streams, required ...string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(std.out)
			fs.Usage()
			return err
		}
		return usageError{err}
	}
	var errs []error
	if fs.NArg() > 0 {
		// The argument may be a card number in the wrong place.
		errs = append(errs, fmt.Errorf("takes no arguments besides flags, got %d", fs.NArg()))
	}
	for _, name := range required {
		if fs.Lookup(name).Value.String() == "" {
			errs = append(errs, fmt.Errorf("-%s is missing", name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	return nil
}
