// Command cardlake-worker moves a stream of sealed card events into the lake: it opens and
// tokenises them and commits encrypted files and stream positions in one snapshot, exactly
// once. It belongs to zone A: it sees card numbers, in memory only.
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
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `usage: cardlake-worker run|replay|config [flags]

run     reads sealed card events from Kafka or Kinesis and commits them to the lake,
        exactly once
replay  gives rejected records to the lake again, after what was wrong with them was put
        right, exactly once; exit 1 if some were rejected again
config  prints what run would work with, in the form that -config reads

"cardlake-worker run -h" lists the flags.
`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 {
		switch args[0] {
		case "version":
			fmt.Fprintln(stdout, "cardlake-worker", cardlake.Version)
			return 0
		case "-h", "--help", "help":
			fmt.Fprint(stdout, usage)
			return 0
		}
	}
	if len(args) == 0 || args[0] != "run" && args[0] != "replay" && args[0] != "config" {
		fmt.Fprint(stderr, usage)
		return 2
	}
	o, err := parse("cardlake-worker "+args[0], args[1:], stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil && args[0] == "config":
		o.print(stdout)
	case err == nil && args[0] == "replay":
		err = again(ctx, o, stdout, stderr)
		if errors.Is(err, errRejectedAgain) {
			return 1
		}
	case err == nil:
		err = work(ctx, o, stderr)
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintln(stderr, "cardlake-worker:", strings.TrimSpace(line))
		}
		return 2
	}
	return 0
}
