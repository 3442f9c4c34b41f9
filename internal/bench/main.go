// Command bench runs every benchmark of the module and prints them as one table, each beside
// the reference that was measured in the same run: figures of a shared machine mean little
// by themselves, their ratios mean more.
//
// It runs in the module's root. The first groups follow the data from the stream to the lake;
// packages that no group names come last, each as a group of its own.
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
	"regexp"
	"runtime"
	"strings"
	"time"
)

type options struct {
	benchtime string
	short     bool
	only      *regexp.Regexp
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flag.StringVar(&o.benchtime, "benchtime", "", "go test's -benchtime for all groups; default what fits each")
	flag.BoolVar(&o.short, "short", false, "run each benchmark once, on less data: shows that they work, not how fast")
	only := flag.String("only", "", "`pattern` of the titles of the groups to run")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile("(?i)" + *only); err == nil {
		err = run(ctx, o, os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	rest, err := ungrouped(".", groups)
	if err != nil {
		return err
	}
	var chosen []group
	for _, g := range append(groups, rest...) {
		if o.only.MatchString(g.title) {
			chosen = append(chosen, g)
		}
	}
	fmt.Fprintf(stdout, "%s, %d cores, load %s at the start\n%s\n", runtime.Version(), runtime.NumCPU(), load(), legend)
	if o.short {
		fmt.Fprintln(stdout, "Short: each benchmark ran once and on less data than it says. These are no figures to quote.")
	}
	start := time.Now()
	var failed []error
	for i, g := range chosen {
		fmt.Fprintf(stderr, "bench: %d of %d, %s\n", i+1, len(chosen), g.title)
		if err := runGroup(ctx, g, o, stdout); err != nil {
			failed = append(failed, err)
			fmt.Fprintln(stderr, "bench:", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	fmt.Fprintf(stdout, "\n%d groups in %s\n", len(chosen), time.Since(start).Round(time.Second))
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d groups failed", len(failed), len(chosen))
	}
	return nil
}

// runGroup prints the figures that there are, whatever failed.
func runGroup(ctx context.Context, g group, o options, stdout io.Writer) error {
	start := time.Now()
	var env, notes []string
	pairs := g.pairs
	if g.bento {
		program, version, err := buildBento(ctx, bentoModule)
		if err != nil {
			notes = append(notes, "Bento: not built: "+err.Error())
			pairs = nil
			for _, p := range g.pairs {
				if !strings.Contains(p.reference, "Bento") {
					pairs = append(pairs, p)
				}
			}
		} else {
			defer os.RemoveAll(program.dir)
			env = append(env, "CARDLAKE_BENTO="+program.path)
			notes = append(notes, fmt.Sprintf("Bento: %s, built in %.0f s", version, time.Since(start).Seconds()))
		}
	}
	if g.python {
		name, note, err := python(ctx)
		if err != nil {
			note, pairs = "Python: not to be had, so no references: "+err.Error(), nil
		} else if name != "" {
			env = append(env, name)
		}
		notes = append(notes, note)
	}
	var rows []row
	var failed error
	for _, s := range g.sources {
		got, err := benchmark(ctx, s, cmp.Or(o.benchtime, g.benchtime, "1s"), o.short, env)
		rows, failed = append(rows, got...), errors.Join(failed, err)
	}
	if len(rows) == 0 && failed == nil {
		notes = append(notes, "nothing ran: what it needs is not here")
	}
	t, err := newTable(rows, g.columns, g.trim, pairs)
	t.print(stdout, fmt.Sprintf("%s  (%.0f s)", g.title, time.Since(start).Seconds()), append(strings.Split(g.note, "\n"), notes...))
	if failed != nil {
		fmt.Fprintf(stdout, "  failed, see standard error\n")
		return failed
	}
	if err != nil {
		return fmt.Errorf("%s: %w", g.title, err)
	}
	return nil
}

// load is the machine's load average of the last minute: what else ran.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg") // other systems have none
	first, _, _ := strings.Cut(string(text), " ")
	return cmp.Or(first, "unknown")
}
