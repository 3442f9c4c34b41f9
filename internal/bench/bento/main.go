// Command bento runs one Bento pipeline until its standard input ends and prints what the
// pipeline took, from its start on: the reference that Bento is to the worker. It is a module
// of its own, so that Bento's dependencies are none of cardlake's.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	_ "github.com/warpstreamlabs/bento/public/components/confluent"
	_ "github.com/warpstreamlabs/bento/public/components/io"
	_ "github.com/warpstreamlabs/bento/public/components/kafka"
	_ "github.com/warpstreamlabs/bento/public/components/pure"
	_ "github.com/warpstreamlabs/bento/public/components/pure/extended"
	"github.com/warpstreamlabs/bento/public/service"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bento:", err)
		os.Exit(1)
	}
}

// figures are those of package meter, as JSON.
type figures struct {
	CPU    time.Duration `json:"cpu_ns"`
	Wall   time.Duration `json:"wall_ns"`
	Allocs uint64        `json:"allocs"`
	Peak   int64         `json:"peak_bytes"`
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: bento CONFIG")
	}
	config, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	builder := service.NewStreamBuilder()
	builder.SetLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err := builder.SetYAML(string(config)); err != nil {
		return err
	}
	stream, err := builder.Build()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		close(ended)
	}()
	cpu, allocs, start := cpuTime(), mallocs(), time.Now()
	go func() { failed <- stream.Run(ctx) }()
	select {
	case err := <-failed:
		return errors.Join(errors.New("the pipeline ended before its input"), err)
	case <-ended:
	}
	took := figures{cpuTime() - cpu, time.Since(start), mallocs() - allocs, peak()}
	cancel()
	<-failed
	return json.NewEncoder(stdout).Encode(took)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // getrusage(2) fails for wrong arguments only
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// peak is the largest resident set in bytes (VmHWM of proc_pid_status(5)).
func peak() (bytes int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, _ = fmt.Sscan(rest, &bytes)
		}
	}
	return bytes << 10
}
