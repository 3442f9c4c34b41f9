package discover

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// benchText makes text of a kind: prose of few digits, a log, or a table of numbers.
func benchText(kind string, size int) []byte {
	r := rand.New(rand.NewPCG(7, 7))
	words := strings.Fields("la compra fue aprobada por el emisor the customer paid with cartão em loja while retrying checkout request accepted")
	var b bytes.Buffer
	for b.Len() < size {
		switch kind {
		case "prose":
			for range 12 {
				b.WriteString(words[r.IntN(len(words))] + " ")
			}
		case "log":
			fmt.Fprintf(&b, "2026-11-22T%02d:%02d:%02d.%03dZ INFO [worker] %s %s latency_us=%d partition=%d", r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000), words[r.IntN(len(words))], words[r.IntN(len(words))], r.IntN(90000), r.IntN(8))
		case "numbers":
			fmt.Fprintf(&b, "%d,%d,%d.%02d,%s,%d,%d", r.IntN(1e9), r.IntN(1e6), r.IntN(1e5), r.IntN(100), "2026-11-22 13:26:05", 1e12+r.Int64N(1e11), r.IntN(100))
		case "bytes":
			for range 32 {
				b.WriteByte(byte(r.Uint32()))
			}
			continue
		}
		b.WriteByte('\n')
	}
	return b.Bytes()[:size]
}

// BenchmarkDetector searches 32 MB beside two references on the same bytes: counting line ends, as
// grep -c does, and a regular expression for 13 to 19 digits.
func BenchmarkDetector(b *testing.B) {
	const size = 32 << 20
	expression := regexp.MustCompile(`[0-9](?:[ -]?[0-9]){12,18}`)
	for _, kind := range []string{"prose", "log", "numbers", "bytes"} {
		data := benchText(kind, size)
		d := NewDetector(DetectorConfig{})
		b.Run("detector/"+kind, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			start := cpuSeconds(b)
			for b.Loop() {
				if err := d.Scan(bytes.NewReader(data), Place{}, func(Detection) bool { return true }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*size/1e6/(cpuSeconds(b)-start), "MB/cpu-s")
		})
		b.Run("reference=count/"+kind, func(b *testing.B) {
			b.SetBytes(size)
			start := cpuSeconds(b)
			for b.Loop() {
				bytes.Count(data, []byte{'\n'})
			}
			b.ReportMetric(float64(b.N)*size/1e6/(cpuSeconds(b)-start), "MB/cpu-s")
		})
		b.Run("reference=regexp/"+kind, func(b *testing.B) {
			part := data[:1<<20]
			b.SetBytes(int64(len(part)))
			start := cpuSeconds(b)
			for b.Loop() {
				expression.FindAllIndex(part, -1)
			}
			b.ReportMetric(float64(b.N*len(part))/1e6/(cpuSeconds(b)-start), "MB/cpu-s")
		})
	}
}

// cpuSeconds is the processor time that the process has used.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
