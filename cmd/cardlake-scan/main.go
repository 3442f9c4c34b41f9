// Command cardlake-scan finds card numbers, magnetic stripe tracks, security codes and PIN
// blocks in files, folders, S3 buckets, Kafka topics and standard input.
//
//	cardlake-scan [-format text|json|sarif] PATH|URL ...
//
// It exits with 0 when it found nothing, 1 when it found something, and 2 when it was started
// in a way that cannot work or could not read all of what it was given, whatever it found in
// the rest. Findings are masked.
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
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/tokenize/discover"
	"github.com/cardlake/cardlake/tokenize/discover/formats"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

const (
	program  = "cardlake-scan"
	clean    = 0
	found    = 1
	notAll   = 2
	maxShown = 20 // faults printed one by one
)

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return clean
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\n", program, err)
		return notAll
	case o.version:
		fmt.Fprintln(stdout, program, cardlake.Version)
		return clean
	}
	s, err := newScan(o, stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", program, err)
		return notAll
	}
	for _, target := range o.targets {
		if s.failed != nil || ctx.Err() != nil {
			break
		}
		s.target(ctx, target, stdin)
	}
	return s.finish(ctx)
}

// scan is one run.
type scan struct {
	o         *options
	scanner   *formats.Scanner
	out       output
	progress  *progress
	incidents *discover.Incidents
	stderr    io.Writer
	origin    discover.Origin // of the target that is being searched
	shown     map[string]int  // findings printed, by path
	counts    map[discover.Confidence]int64
	hidden    int64
	failed    error // of writing the results
}

func newScan(o *options, stdout, stderr io.Writer) (*scan, error) {
	s := &scan{o: o, out: newOutput(o.format, stdout), stderr: stderr, shown: map[string]int{}, counts: map[discover.Confidence]int64{},
		incidents: discover.NewIncidents(program+" "+cardlake.Version, time.Now), progress: newProgress(o.progress, stderr)}
	detector, cfg, err := o.open()
	if err != nil {
		return nil, err
	}
	cfg.Progress = s.progress.tell
	s.scanner = formats.New(detector, cfg, s.tell)
	return s, nil
}

// tell takes a detection. It returns false when the results can no longer be written.
func (s *scan) tell(d discover.Detection) bool {
	s.counts[d.Confidence]++
	if d.Confidence < s.o.least {
		return true
	}
	if s.o.incident != "" {
		s.incidents.Add(d, s.since(d.Path))
	}
	if s.o.most > 0 {
		if s.shown[d.Path] >= s.o.most {
			s.hidden++
			return true
		}
		if len(s.shown) < 1<<20 {
			s.shown[d.Path]++
		}
	}
	s.failed = s.out.finding(d)
	return s.failed == nil
}

// since tells how long the data can have been where it is.
func (s *scan) since(path string) discover.Origin {
	if !s.origin.Since.IsZero() {
		return s.origin
	}
	path, _, _ = strings.Cut(path, "!")
	if info, err := os.Stat(path); err == nil {
		return discover.Origin{Since: info.ModTime(), Basis: "the file's modification time: it may have been there before"}
	}
	return discover.Origin{}
}

// target searches one argument.
func (s *scan) target(ctx context.Context, target string, stdin io.Reader) {
	s.origin = discover.Origin{}
	var err error
	switch scheme, rest, isURL := strings.Cut(target, "://"); {
	case target == "-":
		err = s.scanner.Stream(ctx, "(standard input)", stdin)
	case isURL && scheme == "s3":
		err = s.bucket(ctx, rest)
	case isURL && (scheme == "kafka" || scheme == "kafkas"):
		err = s.topic(ctx, scheme, rest)
	case isURL && scheme == "file":
		err = s.scanner.Tree(ctx, rest)
	case isURL:
		err = errors.New("only s3://BUCKET/PREFIX, kafka://BROKER/TOPIC, kafkas://BROKER/TOPIC and file:// can be searched")
	default:
		err = s.scanner.Tree(ctx, target)
	}
	if err != nil && ctx.Err() == nil {
		s.scanner.Fault(target, err)
	}
}

// finish prints what remains to be said and returns the exit code.
func (s *scan) finish(ctx context.Context) int {
	s.progress.end()
	if ctx.Err() != nil {
		s.scanner.Fault("(search)", errors.New("interrupted before its end"))
	}
	stats := s.scanner.Stats()
	sum := summary{
		Sources: stats.Sources, Members: stats.Members, Bytes: stats.Bytes, Skipped: stats.Skipped, Encrypted: int64(len(stats.Encrypted)),
		High: s.counts[discover.High], Medium: s.counts[discover.Medium], Low: s.counts[discover.Low], NotShown: s.hidden,
	}
	faults := stats.Faults
	if s.o.strict {
		faults = append(faults, stats.Encrypted...)
	}
	err := errors.Join(s.failed, s.out.end(sum, faults))
	if err == nil && s.o.incident != "" {
		err = s.writeIncidents()
	}
	for i, f := range faults {
		if i == maxShown {
			fmt.Fprintf(s.stderr, "%s: and %d more that could not be read\n", program, len(faults)-i)
			break
		}
		fmt.Fprintf(s.stderr, "%s: could not read all of %v\n", program, f)
	}
	if len(stats.Encrypted) > 0 && !s.o.strict {
		fmt.Fprintf(s.stderr, "%s: %d encrypted objects were searched as they are, the first %s; give -keyring or -parquet-key to search what is in them\n", program, len(stats.Encrypted), stats.Encrypted[0].Path)
	}
	fmt.Fprintf(s.stderr, "%s: %s\n", program, sum)
	if err != nil {
		fmt.Fprintf(s.stderr, "%s: write results: %v\n", program, err)
	}
	findings := int64(0)
	for c, n := range s.counts {
		if c >= s.o.least {
			findings += n
		}
	}
	switch {
	case err != nil || len(faults) > 0:
		return notAll
	case findings > 0:
		return found
	}
	return clean
}

// writeIncidents writes the incidents, if there are any, to a new file or over an old one.
func (s *scan) writeIncidents() error {
	f, err := os.OpenFile(s.o.incident, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("incidents: %w", err)
	}
	return errors.Join(s.incidents.Write(f), f.Close())
}
