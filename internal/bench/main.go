// Command bench runs every benchmark of the module and prints them as one table, each beside
// the reference that was measured in the same run: figures of a shared machine mean little
// by themselves, their ratios mean more.
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
)

// group is one package's benchmarks, and which of them are compared.
type group struct {
	pkg   string
	pairs []pair
}

// pair compares a benchmark with its reference by a unit, of which more is better if rate.
type pair struct {
	bench, reference, unit string
	rate                   bool
}

var groups = []group{
	{"./tokenize", []pair{{"Token", "TokenReference", "ns/op", false}}},
	{"./card/wire", []pair{{"DecodeOpen", "DecodeReference", "ns/op", false}}},
	{"./card", nil},
	{"./tokenize/discover", nil},
	{"./processor/iso8583", []pair{{"Parse", "ParseMoovReference", "ns/op", false}}},
	{"./processor/ledger", nil},
	{"./processor", nil},
	{"./sim", nil},
	{".", nil},
	{"./writers/objects", nil},
	{"./writers/objects/s3", nil},
	{"./writers/parquet", nil},
	{"./writers", []pair{{"Writer/50000", "ReferencePqarrow", "rows/cpu-s", true}, {"Writer/50000", "ReferenceParquetGo", "rows/cpu-s", true}}},
	{"./catalog/iceberg", nil},
	{"./ingest/kafka", []pair{{"KafkaToCommitted/embedded_broker", "ReferenceConsume", "tx/cpu-s", true}}},
	{"./ingest/kinesis", nil},
	{"./ingest/telemetry", nil},
	{"./ingest/tailserver", []pair{{"Flight/tenants=100", "ReferenceInProcess/tenants=100", "rows/cpu-s", true}}},
	{"./queries/embedded", []pair{{"Query/gateway", "Query/reference=duckdb-new", "ns/op", false}}},
	{"./cmd/cardlake", nil},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	time := flag.String("benchtime", "1s", "go test's -benchtime")
	flag.Parse()
	if err := run(ctx, *time, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, benchtime string, stdout, stderr io.Writer) error {
	fmt.Fprintf(stdout, "%s, %d cores\n\n", runtime.Version(), runtime.NumCPU())
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "package\tbenchmark\tfigures\t\t\t\t\t")
	for i, g := range groups {
		fmt.Fprintf(stderr, "bench: %d of %d, %s\n", i+1, len(groups), g.pkg)
		rows, err := benchmark(ctx, g.pkg, benchtime)
		if err != nil {
			return err
		}
		for _, r := range rows {
			fmt.Fprintf(t, "%s\t%s\t", strings.TrimPrefix(g.pkg, "./"), r.name)
			for _, m := range r.metrics {
				fmt.Fprintf(t, "%s %s\t", m.value, m.unit)
			}
			fmt.Fprintln(t)
		}
		for _, p := range g.pairs {
			if ratio, ok := compare(rows, p); ok {
				fmt.Fprintf(t, "\t%s ÷ %s\t%.2f (%s)\t\n", p.bench, p.reference, ratio, p.unit)
			} else {
				return fmt.Errorf("%s: no %s to compare %s with %s", g.pkg, p.unit, p.bench, p.reference)
			}
		}
	}
	return t.Flush()
}

type row struct {
	name    string
	metrics []metric
}

type metric struct{ value, unit string }

// benchmark runs a package's benchmarks.
func benchmark(ctx context.Context, pkg, benchtime string) ([]row, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", benchtime, "-timeout", "30m", pkg)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s%s", pkg, err, out.String(), errs.String())
	}
	var rows []row
	for s := bufio.NewScanner(&out); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(f[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		r := row{name: name}
		for i := 2; i+1 < len(f); i += 2 {
			r.metrics = append(r.metrics, metric{f[i], f[i+1]})
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: no benchmark ran", pkg)
	}
	return rows, nil
}

// compare returns bench over reference for a rate and reference over bench for a cost: above
// 1 the benchmark is the better one.
func compare(rows []row, p pair) (float64, bool) {
	value := func(name string) (float64, bool) {
		for _, r := range rows {
			if r.name != name {
				continue
			}
			for _, m := range r.metrics {
				if m.unit == p.unit {
					v, err := strconv.ParseFloat(m.value, 64)
					return v, err == nil
				}
			}
		}
		return 0, false
	}
	b, ok1 := value(p.bench)
	ref, ok2 := value(p.reference)
	if !ok1 || !ok2 || b == 0 || ref == 0 {
		return 0, false
	}
	if p.rate {
		return b / ref, true
	}
	return ref / b, true
}
