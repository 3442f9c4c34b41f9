// Package meter takes the figures that benchmarks have in common, each for one row:
// processor time of the process, wall time, allocations, bytes written, and the peak of
// memory.
//
// Processor time is that of all threads, user and system (getrusage(2)), so it does not
// depend on who else uses the machine's cores as wall time does. The peak is the largest
// resident set since Start (VmHWM of proc_pid_status(5)), memory of C libraries included.
package meter

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Figures are what some rows took.
type Figures struct {
	Rows   int64         `json:"rows"`
	Bytes  int64         `json:"bytes"` // of the files that hold the rows; 0 if none were written
	CPU    time.Duration `json:"cpu_ns"`
	Wall   time.Duration `json:"wall_ns"`
	Allocs uint64        `json:"allocs"` // objects on Go's heap
	Peak   int64         `json:"peak_bytes"`
}

// Report adds the figures to a benchmark's.
func (f Figures) Report(b *testing.B) {
	rows := float64(f.Rows)
	b.ReportMetric(rows/f.CPU.Seconds(), "rows/cpu-s")
	b.ReportMetric(rows/f.Wall.Seconds(), "rows/s")
	b.ReportMetric(float64(f.CPU.Nanoseconds())/rows, "cpu-ns/row")
	b.ReportMetric(float64(f.Allocs)/rows, "allocs/row")
	b.ReportMetric(float64(f.Peak)/(1<<20), "peak-MiB")
	if f.Bytes > 0 {
		b.ReportMetric(float64(f.Bytes)/rows, "bytes/row")
	}
}

// Meter sums up the figures of this process between Start and Stop, which may repeat. The
// zero value is ready; it is for one goroutine.
type Meter struct {
	Figures
	allocs uint64
	cpu    time.Duration
	wall   time.Time
}

// Start begins a measurement. Memory that is free is given back first, so that the peak is
// that of the work to come.
func (m *Meter) Start() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // where this is not allowed, the peak is the process's since its start
	m.allocs, m.cpu, m.wall = mallocs(), CPU(), time.Now()
}

// Stop ends a measurement of rows rows.
func (m *Meter) Stop(rows int64) {
	m.CPU += CPU() - m.cpu
	m.Wall += time.Since(m.wall)
	m.Allocs += mallocs() - m.allocs
	m.Peak = max(m.Peak, peak())
	m.Rows += rows
}

// Loop measures op, which makes rows rows into a file and returns its size in bytes, for as
// long as the benchmark wants, and reports its figures. One more op before lets buffers grow.
func Loop(b *testing.B, rows int, op func() int64) {
	op()
	var m Meter
	var done int64
	m.Start()
	for b.Loop() {
		m.Bytes += op()
		done += int64(rows)
	}
	m.Stop(done)
	m.Report(b)
}

// CPU is the processor time of this process so far.
func CPU() time.Duration {
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

// peak is the largest resident set in bytes, 0 where the system does not say.
func peak() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	var kilobytes int64
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, _ = fmt.Sscan(rest, &kilobytes)
		}
	}
	return kilobytes << 10
}
