package predict

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// BenchmarkBGNBD fits a million customers, at the resolution of a day, and scores them for 30, 60
// and 90 days. With CARDLAKE_HISTORIES set to a file, it writes their histories there as x,t_x,T,
// for a reference to fit the same.
func BenchmarkBGNBD(b *testing.B) {
	const n = 1_000_000
	h, _ := imitate(BGNBD{R: 0.8, Alpha: 12, A: 0.7, B: 3}, n, 365, 0, 1)
	if name := os.Getenv("CARDLAKE_HISTORIES"); name != "" {
		writeHistories(b, name, h)
	}
	b.ReportAllocs()
	for b.Loop() {
		c, err := NewCohort(h)
		if err != nil {
			b.Fatal(err)
		}
		m, fit, err := FitBGNBD(c)
		if err != nil || !fit.Converged {
			b.Fatal(fit, err)
		}
		if _, err := Score(m, c, []float64{30, 60, 90}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(fit.Groups), "groups")
		b.ReportMetric(fit.LogLikelihood, "LL")
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "customers/s")
}

func writeHistories(b *testing.B, name string, histories []History) {
	out := []byte("x,t_x,T\n")
	for _, h := range histories {
		out = fmt.Appendf(out, "%d,%s,%s\n", h.X, strconv.FormatFloat(h.Tx, 'g', -1, 64), strconv.FormatFloat(h.T, 'g', -1, 64))
	}
	if err := os.WriteFile(name, out, 0o600); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkParetoNBD(b *testing.B) {
	h, _ := imitate(ParetoNBD{R: 0.8, Alpha: 12, S: 0.9, Beta: 120}, 100_000, 365, 0, 1)
	for b.Loop() {
		c, err := NewCohort(h)
		if err != nil {
			b.Fatal(err)
		}
		_, fit, err := FitParetoNBD(c)
		if err != nil || !fit.Converged {
			b.Fatal(fit, err)
		}
		b.ReportMetric(float64(fit.Groups), "groups")
	}
}
