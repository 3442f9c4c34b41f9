package predict

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cardlake/cardlake/internal/bench/meter"
)

// benchHistories are customers over a year, at the resolution of a day: a million of them, or
// less for a short run.
func benchHistories(n int) []History {
	if testing.Short() {
		n /= 100
	}
	h, _ := imitate(BGNBD{R: 0.8, Alpha: 12, A: 0.7, B: 3}, n, 365, 0, 1)
	return h
}

// BenchmarkBGNBD fits a million customers and scores them for 30, 60 and 90 days.
func BenchmarkBGNBD(b *testing.B) {
	h := benchHistories(1_000_000)
	var m meter.Meter
	for b.Loop() {
		m.Start()
		c, err := NewCohort(h)
		if err != nil {
			b.Fatal(err)
		}
		model, fit, err := FitBGNBD(c)
		if err != nil || !fit.Converged {
			b.Fatal(fit, err)
		}
		if _, err := Score(model, c, []float64{30, 60, 90}); err != nil {
			b.Fatal(err)
		}
		m.Stop(int64(len(h)))
		b.ReportMetric(float64(fit.Groups), "groups")
		b.ReportMetric(fit.LogLikelihood/float64(len(h)), "LL/row")
	}
	m.Report(b)
}

// BenchmarkReferenceLifetimes has lifetimes do the same with a tenth of such customers, if
// CARDLAKE_PYTHON names an interpreter that has it.
func BenchmarkReferenceLifetimes(b *testing.B) {
	python := os.Getenv("CARDLAKE_PYTHON")
	if python == "" {
		b.Skip("CARDLAKE_PYTHON names no interpreter with lifetimes")
	}
	file := filepath.Join(b.TempDir(), "histories.csv")
	writeHistories(b, file, benchHistories(100_000))
	script := filepath.Join("..", "..", "internal", "bench", "insights", "predict_reference.py")
	var sum meter.Figures
	for b.Loop() {
		c := exec.CommandContext(b.Context(), python, script, file)
		c.Stderr = os.Stderr
		out, err := c.Output()
		if err != nil {
			b.Fatal(err)
		}
		var f struct {
			meter.Figures
			LogLikelihood float64 `json:"log_likelihood"`
		}
		if err := json.Unmarshal(out, &f); err != nil {
			b.Fatal(err)
		}
		sum.Rows, sum.CPU, sum.Wall, sum.Peak = sum.Rows+f.Rows, sum.CPU+f.CPU, sum.Wall+f.Wall, max(sum.Peak, f.Peak)
		b.ReportMetric(f.LogLikelihood/float64(f.Rows), "LL/row")
	}
	sum.Report(b)
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

// BenchmarkParetoNBD fits a tenth of so many customers.
func BenchmarkParetoNBD(b *testing.B) {
	n := 100_000
	if testing.Short() {
		n /= 100
	}
	h, _ := imitate(ParetoNBD{R: 0.8, Alpha: 12, S: 0.9, Beta: 120}, n, 365, 0, 1)
	var m meter.Meter
	for b.Loop() {
		m.Start()
		c, err := NewCohort(h)
		if err != nil {
			b.Fatal(err)
		}
		_, fit, err := FitParetoNBD(c)
		if err != nil || !fit.Converged {
			b.Fatal(fit, err)
		}
		m.Stop(int64(len(h)))
		b.ReportMetric(float64(fit.Groups), "groups")
	}
	m.Report(b)
}
