package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// row is one benchmark's figures, by unit.
type row struct {
	name    string
	figures []figure
}

type figure struct {
	unit  string
	value float64
}

func (r row) figure(unit string) (float64, bool) {
	for _, f := range r.figures {
		if f.unit == unit {
			return f.value, true
		}
	}
	return 0, false
}

// benchmark runs a package's benchmarks. With an error it returns those that ended well;
// none at all may have skipped themselves.
func benchmark(ctx context.Context, s source, benchtime string, short bool, env []string) ([]row, error) {
	args := []string{"test", "-run", "^$", "-bench", s.pattern, "-benchmem", "-timeout", "30m", "-benchtime"}
	if short {
		args = append(args, "1x", "-short")
	} else {
		args = append(args, benchtime)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", append(args, s.pkg)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), env...)
	ran := cmd.Run()
	rows, err := parse(bytes.NewReader(out.Bytes()))
	if ran != nil {
		return rows, fmt.Errorf("%s: %w\n%s%s", s.pkg, ran, out.Bytes(), errs.Bytes())
	}
	if err != nil {
		return rows, fmt.Errorf("%s: %w", s.pkg, err)
	}
	return rows, nil
}

// parse reads what go test prints: lines of a name, a count, and values with their units
// (golang.org/design/14313-benchmark-format).
func parse(out io.Reader) (rows []row, err error) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		if _, err := strconv.Atoi(f[1]); err != nil {
			continue
		}
		name := strings.TrimPrefix(f[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			if _, err := strconv.Atoi(name[i+1:]); err == nil { // GOMAXPROCS
				name = name[:i]
			}
		}
		r := row{name: strings.ReplaceAll(name, "_", " ")}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return rows, fmt.Errorf("%s of %s is no number", f[i+1], r.name)
			}
			r.figures = append(r.figures, figure{f[i+1], v})
		}
		rows = append(rows, r)
	}
	return rows, lines.Err()
}
