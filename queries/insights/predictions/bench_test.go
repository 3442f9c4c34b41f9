package predictions

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
)

// BenchmarkRun is the job on 13.5 million purchases of a million customers over half a year, or
// on as many thousand customers as CARDLAKE_CUSTOMERS says, without what reading and writing the
// lake takes.
func BenchmarkRun(b *testing.B) {
	thousands := 1000
	if s := os.Getenv("CARDLAKE_CUSTOMERS"); s != "" {
		var err error
		if thousands, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	n := thousands * 1000
	d := purchasesOf(n, 135*n/10, 180)
	runtime.GC()
	b.ResetTimer()
	for b.Loop() {
		m, err := d.measure(d.holdout(0))
		if err != nil {
			b.Fatal(err)
		}
		next, err := d.next(3)
		if err != nil {
			b.Fatal(err)
		}
		f, err := d.forecast()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(m.holdout.Model.MAE/m.holdout.SameRate.MAE, "MAE/same-rate")
		b.ReportMetric(next.folds[0].Model.Top1/next.folds[0].Last.Top1, "top1/same-as-last")
		b.ReportMetric(float64(f.groups), "groups")
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "customers/s")
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	b.ReportMetric(float64(mem.Sys>>20), "MiB")
}

// purchasesOf makes purchases of customers of different rates and habits, some of whom leave.
func purchasesOf(customers, purchases, days int) *data {
	r := rand.New(rand.NewPCG(1, 1))
	d := &data{currency: "BRL", mccs: []string{""}}
	for c := range 120 {
		d.mccs = append(d.mccs, fmt.Sprint(4000+c))
	}
	d.customers = make([]string, customers)
	d.visits.Start, d.visits.Zone = make([]int64, 1, customers+1), make([]int32, customers)
	const begin = 20_000 * secondsPerDay
	// Rates are log-normal; of the days a customer is there, some three quarters on average.
	mean := float64(purchases) / float64(customers) / float64(days) / .75
	for i := range d.customers {
		d.customers[i] = fmt.Sprintf("cu-%010d", i)
		rate := mean * math.Exp(r.NormFloat64()-.5)
		habit, other := uint16(1+r.IntN(120)), uint16(1+r.IntN(120))
		stays := min(float64(days), float64(days)*1.5*r.ExpFloat64())
		at := float64(days) * .3 * r.Float64()
		for first := true; first || at < stays; at += r.ExpFloat64() / rate {
			c := habit
			if u := r.Float64(); u < .3 {
				c = other
			} else if u < .5 {
				c = uint16(1 + r.IntN(120))
			}
			d.visits.Time = append(d.visits.Time, begin+int64(at*secondsPerDay))
			d.visits.Category = append(d.visits.Category, c)
			d.value = append(d.value, float32(10*r.ExpFloat64())+.01)
			first = false
		}
		d.visits.Start = append(d.visits.Start, int64(len(d.visits.Time)))
	}
	d.first, d.last = slices.Min(d.visits.Time)/secondsPerDay, slices.Max(d.visits.Time)/secondsPerDay
	d.end = (d.last + 1) * secondsPerDay
	return d
}
