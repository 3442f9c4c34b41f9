package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/queries/reconcile"
	"github.com/cardlake/cardlake/queries/render"
	"github.com/cardlake/cardlake/sim"
)

// report is what -report writes. Every figure but cpu_us_per_tx and peak_memory_bytes, which
// the operating system counts, was read off the lake, its catalog or the folder after the run.
type report struct {
	Sent       int64 `json:"sent"`
	Approved   int64 `json:"approved"`
	Declined   int64 `json:"declined"`
	LakeRows   int64 `json:"lake_rows"`
	Missing    int64 `json:"missing"`
	Duplicates int64 `json:"duplicates"`
	Unexpected int64 `json:"unexpected"`
	Differ     int64 `json:"answers_differ"`
	Rejected   int64 `json:"rejected"`

	// Complete counts the minutes of tenants whose rows equal the processor's control totals,
	// Incomplete those that do not, and totals that are missing.
	Complete   int64 `json:"minutes_complete"`
	Incomplete int64 `json:"minutes_not_complete"`

	PANFindings   int64 `json:"pan_findings"`
	PANsSearched  int64 `json:"pans_searched"`
	SearchedFiles int64 `json:"searched_files"`
	SearchedBytes int64 `json:"searched_bytes"`

	TPS        float64 `json:"tps"`           // of this run, from first to last decision
	CPUPerTx   float64 `json:"cpu_us_per_tx"` // of the whole process, simulator and broker included
	PeakMemory int64   `json:"peak_memory_bytes"`

	Freshness struct {
		P50 int64 `json:"p50"`
		P99 int64 `json:"p99"`
	} `json:"freshness_ms"` // decision to commit, rows of this run

	Files     int64 `json:"files"`
	Bytes     int64 `json:"bytes"`
	Snapshots int64 `json:"snapshots"`

	Tenants []*tally `json:"tenants"`

	runRows  int64
	wrong    []string
	findings []string
	// incomplete are the minutes that differ, in words.
	incomplete []string
}

func (r *report) right() bool {
	for _, t := range r.Tenants {
		if !t.right() {
			return false
		}
	}
	return r.PANFindings == 0 && r.Rejected == 0 && r.LakeRows > 0 && r.Incomplete == 0 && r.Complete > 0
}

// examine checks the lake against the networks' journal and searches the folder.
func examine(ctx context.Context, f *folder, h *host, traffic *sim.Run, live *live, since time.Time) (_ *report, err error) {
	live.show("checking the lake against what the card networks sent …")
	snapshots, err := h.table.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	lake, err := openReader(ctx, f.Dir, f.lakeKeys, h.catalog, h.store)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lake.Close()) }()
	clock := "event_time"
	if f.isPast() {
		clock = "ingested_at"
	}
	found, err := checkLake(ctx, lake.Session, traffic.Expected, snapshots, since.UnixMicro(), clock)
	if err != nil {
		return nil, err
	}
	total := found.total()
	r := &report{
		Sent: total.Sent, Approved: total.Approved, Declined: total.Declined, LakeRows: total.Rows,
		Missing: total.Missing, Duplicates: total.Duplicates, Unexpected: total.Unexpected, Differ: total.Differ,
		Rejected: found.rejected, Snapshots: int64(len(snapshots)), Tenants: found.tenants, runRows: found.runRows,
		wrong: found.wrong,
	}
	files, err := h.table.Files(ctx, 0)
	if err != nil {
		return nil, err
	}
	r.Files = int64(len(files))
	for _, file := range files {
		r.Bytes += file.Bytes
	}
	if seconds := float64(found.last-found.first) / 1e6; seconds > 0 {
		r.TPS = float64(found.runRows) / seconds
	}
	confirmed, err := reconcile.Run(ctx, lake, reconcile.Config{Grace: time.Nanosecond})
	if err != nil {
		return nil, err
	}
	for _, t := range confirmed.Tenants {
		r.Complete += t.Complete
		r.Incomplete += t.Unconfirmed + t.Late + t.Wrong + t.Gaps
	}
	for _, m := range confirmed.Minutes {
		r.incomplete = append(r.incomplete, fmt.Sprintf("%s %s: %s, %s", m.Tenant, m.Minute.Format(time.RFC3339), m.Status, m.Detail()))
	}
	r.Freshness.P50 = percentile(found.freshness, 50)
	r.Freshness.P99 = percentile(found.freshness, 99)

	shown := time.Now()
	s, err := searchPANs(ctx, f, func(files, bytes int64) {
		if time.Since(shown) > live.every() {
			shown = time.Now()
			live.show(fmt.Sprintf("searching every byte of the folder for card numbers … %d files, %d MiB", files, bytes>>20))
		}
	})
	if err != nil {
		return nil, err
	}
	r.PANFindings, r.PANsSearched = int64(len(s.findings)), s.pans
	r.SearchedFiles, r.SearchedBytes = s.files, s.bytes
	for _, found := range s.findings {
		r.findings = append(r.findings, fmt.Sprintf("%s at byte %d, %s, card %s", found.Name, found.Offset, found.Encoding, found.Fingerprint))
	}
	return r, nil
}

// usage is the processor time of this process so far.
func usage() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure adds what the operating system counted: cpu is the run's, without the check.
func (r *report) measure(cpu time.Duration) {
	if r.runRows > 0 {
		r.CPUPerTx = float64(cpu.Microseconds()) / float64(r.runRows)
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err == nil {
		r.PeakMemory = u.Maxrss << 10 // Linux counts kilobytes
	}
}

func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// examples are the queries that the summary ends with.
var examples = []string{
	`SELECT tenant, count(*) AS events, round(100.0 * avg(approved::INT), 1) AS approved_pct, count(DISTINCT card_token) AS cards
FROM cards.transactions GROUP BY tenant ORDER BY events DESC LIMIT 5`,
	`SELECT decline_reason, count(*) AS declines, count(DISTINCT card_token) AS cards
FROM cards.transactions WHERE NOT approved GROUP BY 1 ORDER BY 2 DESC LIMIT 5`,
	`SELECT card_token, count(*) AS tries, count(DISTINCT merchant_id) AS merchants, count(DISTINCT merchant_country) AS countries
FROM cards.transactions GROUP BY 1 ORDER BY tries DESC LIMIT 3`,
}

// list writes the first lines of a list.
func list(w io.Writer, lines []string) {
	for i, line := range lines {
		if i == 10 {
			fmt.Fprintf(w, "           … and %d more\n", len(lines)-i)
			return
		}
		fmt.Fprintln(w, "           "+line)
	}
}

// print writes the summary and the example queries with their results.
func (r *report) print(ctx context.Context, w io.Writer, h *host, f *folder) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "tenant\tsent\tapproved\tdeclined\tin the lake\tmissing\tduplicates\t")
	for _, x := range r.Tenants {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", x.Tenant, x.Sent, x.Approved, x.Declined, x.Rows, x.Missing, x.Duplicates)
	}
	fmt.Fprintf(t, "all\t%d\t%d\t%d\t%d\t%d\t%d\t\n", r.Sent, r.Approved, r.Declined, r.LakeRows, r.Missing, r.Duplicates)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nspeed      %.0f tx/s, %.0f µs of processor time a transaction, %d MiB of memory at most\n", r.TPS, r.CPUPerTx, r.PeakMemory>>20)
	from := "decision"
	if f.isPast() {
		from = "worker" // decisions are on a simulated calendar
	}
	fmt.Fprintf(w, "freshness  %s to commit: p50 %d ms, p99 %d ms\n", from, r.Freshness.P50, r.Freshness.P99)
	fmt.Fprintf(w, "lake       %d files, %.1f MB of Parquet, %d snapshots, %d records rejected\n", r.Files, float64(r.Bytes)/1e6, r.Snapshots, r.Rejected)
	fmt.Fprintf(w, "totals     %d minutes of tenants equal what the processor counted, %d do not\n", r.Complete, r.Incomplete)
	list(w, r.incomplete)
	fmt.Fprintf(w, "search     %d card numbers, in every encoding, in %d files of %.0f MB: %d found\n", r.PANsSearched, r.SearchedFiles, float64(r.SearchedBytes)/1e6, r.PANFindings)
	list(w, r.findings)
	if r.Unexpected > 0 || r.Differ > 0 {
		fmt.Fprintf(w, "wrong      %d rows of events that were never sent, %d that say something else than the networks know\n", r.Unexpected, r.Differ)
		list(w, r.wrong)
	}
	lake, err := openReader(ctx, f.Dir, f.lakeKeys, h.catalog, h.store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lake.Close()) }()
	table, err := render.ByName("table")
	if err != nil {
		return err
	}
	for _, sql := range examples {
		fmt.Fprintf(w, "\n%s\n\n", sql)
		rows, err := lake.Query(ctx, sql)
		if err != nil {
			return err
		}
		if err := errors.Join(table(ctx, w, rows), rows.Close()); err != nil {
			return err
		}
	}
	dir := ""
	if string(f.Dir) != home.Default() {
		dir = "-dir " + string(f.Dir) + " "
	}
	fmt.Fprintf(w, "\nAsk for more:  bin/cardlake query %s\"SELECT tenant, count(*), avg(amount) FROM cards.transactions GROUP BY 1\"\n", dir)
	return nil
}
