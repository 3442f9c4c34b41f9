package meter

import (
	"os"
	"syscall"
	"testing"
	"time"
)

var sink *[64]byte

// resident makes so many bytes resident, outside Go's heap, and gives them back.
func resident(t *testing.T, bytes int) {
	mem, err := syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < bytes; i += 4096 {
		mem[i] = 1
	}
	if err := syscall.Munmap(mem); err != nil {
		t.Fatal(err)
	}
}

func TestMeterTakesWhatHappensBetweenStartAndStop(t *testing.T) {
	work := func(objects, bytes int) {
		for range objects {
			sink = new([64]byte)
		}
		resident(t, bytes)
	}
	work(50_000, 256<<20) // before the start: must not count
	var m Meter
	for range 2 {
		m.Start()
		work(10_000, 32<<20)
		m.Stop(10_000)
	}
	if m.Rows != 20_000 {
		t.Errorf("%d rows, want 20000", m.Rows)
	}
	if m.Allocs < 20_000 || m.Allocs > 30_000 {
		t.Errorf("%d allocations, want about 20000", m.Allocs)
	}
	if m.CPU <= 0 || m.Wall <= 0 {
		t.Errorf("%v of processor time in %v", m.CPU, m.Wall)
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Skip("the peak cannot begin anew here: ", err)
	}
	if m.Peak < 32<<20 || m.Peak > 256<<20 {
		t.Errorf("peak %d MiB, want that of one measurement", m.Peak>>20)
	}
}

func TestReport(t *testing.T) {
	f := Figures{Rows: 1000, Bytes: 90_000, CPU: time.Millisecond, Wall: 2 * time.Millisecond, Allocs: 250, Peak: 3 << 20}
	r := testing.Benchmark(func(b *testing.B) { f.Report(b) })
	for unit, want := range map[string]float64{
		"rows/cpu-s": 1e6, "rows/s": 5e5, "cpu-ns/row": 1000, "allocs/row": 0.25, "peak-MiB": 3, "bytes/row": 90,
	} {
		if got := r.Extra[unit]; got != want {
			t.Errorf("%s is %v, want %v", unit, got, want)
		}
	}
}
