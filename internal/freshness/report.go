package main

import (
	"fmt"
	"io"
)

// percentiles are in milliseconds.
type percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

type measureReport struct {
	TPS        int            `json:"tps"`
	Seconds    int            `json:"seconds"`
	Tenants    int            `json:"tenants"`
	Partitions int            `json:"partitions"`
	Windows    []windowReport `json:"windows"`
}

// windowReport is what was measured with one window. Processor time is in shares of one
// processor.
type windowReport struct {
	Window      string      `json:"window"`
	Events      int64       `json:"events"`       // all of them seen, both ways
	Visible     percentiles `json:"visible_ms"`   // decision to the end of the first answer with the tail that shows it
	Committed   percentiles `json:"committed_ms"` // the same without the tail
	Questions   int         `json:"questions"`
	QueryMillis float64     `json:"cpu_ms_per_question"`
	ProberCPU   float64     `json:"prober_cpu"`
	WorkerCPU   float64     `json:"worker_cpu"`
	StreamCPU   float64     `json:"stream_cpu"` // broker and producer
	Commits     int64       `json:"commits"`
	Files       int64       `json:"files"`
}

func (r *measureReport) print(w io.Writer) {
	fmt.Fprintf(w, "%d events/s for %d s, %d tenants, %d partitions; milliseconds from the decision to the end of the first answer that shows it\n",
		r.TPS, r.Seconds, r.Tenants, r.Partitions)
	fmt.Fprintf(w, "%-7s %-10s %8s %8s %8s %8s %8s\n", "window", "seen", "events", "p50", "p90", "p99", "max")
	for _, o := range r.Windows {
		for _, one := range []struct {
			name string
			p    percentiles
		}{{"with tail", o.Visible}, {"committed", o.Committed}} {
			fmt.Fprintf(w, "%-7s %-10s %8d %8.0f %8.0f %8.0f %8.0f\n", o.Window, one.name, o.Events, one.p.P50, one.p.P90, one.p.P99, one.p.Max)
		}
	}
	for _, o := range r.Windows {
		fmt.Fprintf(w, "window %s: %d questions, %.1f ms processor time each; of one processor the probes used %.0f %%, the worker %.0f %%, broker and producer %.0f %%; %d commits, %d files\n",
			o.Window, o.Questions, o.QueryMillis, 100*o.ProberCPU, 100*o.WorkerCPU, 100*o.StreamCPU, o.Commits, o.Files)
	}
}

type consistencyReport struct {
	Queries   int     `json:"queries"`
	Faults    int     `json:"faults"`
	Events    int64   `json:"events"`
	Seconds   float64 `json:"seconds"`
	Kills     int     `json:"kills"`
	Handovers int     `json:"handovers"` // kills after which the partitions went to the other worker at once
	Commits   int64   `json:"commits"`
	Files     int64   `json:"files"`
	Tailed    int     `json:"with_tail"`    // answers with rows beyond the snapshot
	Lacking   int     `json:"lacking_tail"` // answers that said that a tail was lacking
	Shorter   int     `json:"shorter"`      // answers that said so and held less of a partition than an earlier one
	Steps     []step  `json:"steps"`
}

// step is what a part of the queries cost. Rows and Files are those at its end.
type step struct {
	Queries     int     `json:"queries"`
	Rows        int64   `json:"rows"`
	Files       int64   `json:"files"`
	QueryMillis float64 `json:"cpu_ms_per_query"`
}

func (r *consistencyReport) print(w io.Writer) {
	fmt.Fprintf(w, "queries   %d in %.0f s, %d of them wrong\n", r.Queries, r.Seconds, r.Faults)
	fmt.Fprintf(w, "answers   %d held rows beyond their snapshot, %d said that a tail was lacking, %d of those held less of a partition than an earlier one\n", r.Tailed, r.Lacking, r.Shorter)
	fmt.Fprintf(w, "workers   killed %d times, %d times with a handover; %d commits, %d files, %d events\n", r.Kills, r.Handovers, r.Commits, r.Files, r.Events)
	for _, s := range r.Steps {
		fmt.Fprintf(w, "cost      to query %d: %d rows in %d files, %.1f ms processor time each\n", s.Queries, s.Rows, s.Files, s.QueryMillis)
	}
}
