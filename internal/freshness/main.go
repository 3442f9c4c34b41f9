// Command freshness asks the lake, while events flow into it, how soon they can be seen and
// whether every answer is whole.
//
//	freshness measure      how long after its decision an event is in an answer: through a
//	                       gateway with the hot tail, and through one that sees only what is committed
//	freshness consistency  thousands of answers while workers are killed, share partitions and
//	                       commit: no row twice, none gone
//
// The stream with its producer, each worker, and what asks are processes of their own, on one
// machine: the embedded broker, the sealed object store, a catalog on SQLite, file keyrings,
// and the tail over Arrow Flight with mutual TLS.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "freshness:", err)
		os.Exit(1)
	}
}

const usage = "say what to do: freshness measure or freshness consistency, -h for the flags of each"

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch args[0] {
	case "measure":
		return runMeasure(ctx, args[1:], stdout, stderr)
	case "consistency":
		return runConsistency(ctx, args[1:], stdout, stderr)
	case roleStream:
		return serveStream(ctx, args[1:], stdin, stdout)
	case roleWorker:
		return serveWorker(ctx, args[1:], stderr)
	}
	return errors.New(usage)
}

// common are the flags of both commands.
type common struct {
	tps, tenants, partitions int
	dir, report              string
}

func (c *common) flags(fs *flag.FlagSet) {
	fs.IntVar(&c.tps, "tps", c.tps, "events a `second`")
	fs.IntVar(&c.tenants, "tenants", c.tenants, "`number` of tenants: each has a file of its own in every commit")
	fs.IntVar(&c.partitions, "partitions", 4, "`number` of partitions of the stream")
	fs.StringVar(&c.dir, "dir", "", "`folder` for lakes and logs, kept afterwards; default a temporary one, removed")
	fs.StringVar(&c.report, "report", "", "`file` for the report as JSON")
}

func (c *common) validate() error {
	if c.tps < 1 || c.tenants < 1 || c.partitions < 1 {
		return errors.New("-tps, -tenants and -partitions must be at least 1")
	}
	return nil
}

// folder is -dir or a temporary folder, which done removes.
func (c *common) folder() (dir string, done func() error, err error) {
	if c.dir != "" {
		return c.dir, func() error { return nil }, os.MkdirAll(c.dir, 0o700)
	}
	dir, err = os.MkdirTemp("", "cardlake-freshness-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

// durations is a flag: a list of durations with commas between them.
type durations []time.Duration

// String implements flag.Value.
func (d *durations) String() string {
	var texts []string
	for _, one := range *d {
		texts = append(texts, one.String())
	}
	return strings.Join(texts, ",")
}

// Set implements flag.Value.
func (d *durations) Set(text string) error {
	*d = nil
	for one := range strings.SplitSeq(text, ",") {
		parsed, err := time.ParseDuration(one)
		if err != nil {
			return err
		}
		if parsed <= 0 {
			return fmt.Errorf("%v is not positive", parsed)
		}
		*d = append(*d, parsed)
	}
	return nil
}

func writeReport(path string, report any) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
