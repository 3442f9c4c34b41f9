package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// report is the outcome. Rows, files and what is missing were read off the lake afterwards.
type report struct {
	Transactions int64 `json:"transactions"`
	Tenants      int   `json:"tenants"`
	Rows         int64 `json:"lake_rows"`
	Missing      int64 `json:"missing"`
	Duplicates   int64 `json:"duplicates"`
	Unexpected   int64 `json:"unexpected"`
	Rejected     int64 `json:"rejected"`

	Seconds          float64 `json:"seconds"`            // from the worker's start to the last commit
	CPUSeconds       float64 `json:"cpu_seconds"`        // of the worker's process
	BrokerCPUSeconds float64 `json:"broker_cpu_seconds"` // of the embedded broker's
	PeakMemory       int64   `json:"peak_memory_bytes"`  // of the worker's process

	Stages  []stage `json:"stages"`
	Commits int64   `json:"commits"`
	Files   int     `json:"files"`
	Bytes   int64   `json:"bytes"`

	commits []time.Duration // of each append to the table
	ages    []time.Duration // of each window at its commit, from its first record on
}

type stage struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

func (r *report) print(w io.Writer) {
	n := float64(r.Transactions)
	fmt.Fprintf(w, "transactions  %d of %d tenants: %d rows, %d missing, %d duplicates, %d rejected\n", r.Transactions, r.Tenants, r.Rows, r.Missing, r.Duplicates, r.Rejected)
	fmt.Fprintf(w, "wall          %.1f s, %.0f tx/s\n", r.Seconds, n/r.Seconds)
	fmt.Fprintf(w, "processor     %.1f s in the worker, %.0f tx a CPU second, %.2f µs each; %.1f s in the broker\n", r.CPUSeconds, n/r.CPUSeconds, r.CPUSeconds/n*1e6, r.BrokerCPUSeconds)
	fmt.Fprintf(w, "memory        %d MiB at most\n", r.PeakMemory>>20)
	fmt.Fprintf(w, "stages       ")
	for _, s := range r.Stages {
		fmt.Fprintf(w, " %s %.1f s", s.Name, s.Seconds)
	}
	fmt.Fprintf(w, "\nlake          %d commits, %d files, %.0f MB, %.1f bytes a row\n", r.Commits, r.Files, float64(r.Bytes)/1e6, float64(r.Bytes)/max(float64(r.Rows), 1))
	if len(r.ages) > 0 {
		slices.Sort(r.ages)
		fmt.Fprintf(w, "freshness     taken to committed, oldest row of a window: p50 %.1f s, most %.1f s\n", r.ages[len(r.ages)/2].Seconds(), r.ages[len(r.ages)-1].Seconds())
	}
	if k := min(5, len(r.commits)/2); k > 0 {
		fmt.Fprintf(w, "commit cost   %.1f ms in the first %d, %.1f ms in the last %d\n", mean(r.commits[:k]), k, mean(r.commits[len(r.commits)-k:]), k)
	}
}

// mean is in milliseconds.
func mean(d []time.Duration) float64 {
	var sum time.Duration
	for _, x := range d {
		sum += x
	}
	return sum.Seconds() * 1000 / float64(len(d))
}

// usage is the processor time of this process so far.
func usage() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// forgetPeak gives free memory back and makes the largest resident set begin anew
// (proc_pid_clear_refs(5)).
func forgetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // without it the figure includes the filling
}

// peakMemory is the largest resident set of this process so far.
func peakMemory() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	var kilobytes int64
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			fmt.Sscan(rest, &kilobytes)
		}
	}
	return kilobytes << 10
}
