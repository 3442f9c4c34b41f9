package telemetry

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector reads a View at every scrape. It implements prometheus.Collector.
type collector struct {
	view  *View
	descs map[string]*prometheus.Desc // of all metrics but histograms, by name
}

func newCollector(v *View) collector {
	c := collector{v, map[string]*prometheus.Desc{}}
	for _, m := range metrics {
		if m.kind != histogram {
			c.descs[m.name] = prometheus.NewDesc(m.name, m.help, m.labels, nil)
		}
	}
	return c
}

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	send := func(m metric, value float64, labels ...string) {
		kind := prometheus.GaugeValue
		if m.kind == counter {
			kind = prometheus.CounterValue
		}
		to <- prometheus.MustNewConstMetric(c.descs[m.name], kind, value, labels...)
	}
	at := func(m metric, t *time.Time, labels ...string) {
		if t != nil {
			send(m, float64(t.UnixMicro())/1e6, labels...)
		}
	}
	r := c.view.Report()
	send(ready, truth(r.Ready))
	at(lastPoll, r.LastPoll)
	at(lastAnswer, r.LastAnswer)
	at(lastCommit, r.LastCommit)
	at(watermark, r.Watermark)
	var age float64
	if r.OldestUncommitted != nil {
		age = max(c.view.now().Sub(*r.OldestUncommitted).Seconds(), 0)
	}
	send(oldest, age)
	send(pending, float64(r.PendingWindows))
	send(openRows, float64(r.OpenRows))
	send(openBytes, float64(r.OpenBytes))
	for _, p := range r.Partitions {
		labels := []string{p.Stream, strconv.Itoa(int(p.Partition))}
		send(taken, float64(p.Taken), labels...)
		send(committed, float64(p.Committed), labels...)
		at(partWatermark, p.Watermark, labels...)
		if p.LagRecords != nil {
			send(lagRecords, float64(*p.LagRecords), labels...)
		}
		if p.LagSeconds != nil {
			send(lagSeconds, *p.LagSeconds, labels...)
		}
		send(faulty, truth(p.Fault != ""), labels...)
	}
	send(records, float64(r.Records))
	send(rows, float64(r.Rows))
	send(totals, float64(r.ControlTotals))
	send(duplicates, float64(r.Duplicates))
	send(offboarded, float64(r.Offboarded))
	for field, n := range r.Removed {
		send(removed, float64(n), field)
	}
	for reason, n := range r.Rejected {
		send(rejects, float64(n), reason)
	}
	send(late, float64(r.Late))
	send(outOfOrder, float64(r.OutOfOrder))
	send(commits, float64(r.Commits))
	send(conflicts, float64(r.Conflicts))
	send(unknown, float64(r.UnknownOutcomes))
	for kind, n := range r.Errors {
		send(errorsOf, float64(n), kind)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
