package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries/quality"
)

func qualityHistory(args []string, stdout, stderr io.Writer) error {
	fs := flagSet("quality history", "", "Shows what the last runs of a rule set over the same target came to: outcomes, and each metric's values, the newest last.", stderr)
	dir := fs.String("dir", home.Default(), "`folder` of the lake; default $CARDLAKE_DIR or cardlake-data")
	rules := fs.String("rules", "", "`file` of the rule set that was evaluated, or default")
	name := fs.String("name", "", "`name` under which results were kept; default the file's")
	input := fs.String("input", "", "`file` that was looked at")
	table := fs.String("table", "", "`table` that was looked at")
	tenant := fs.String("tenant", "", "`tenant` that was looked at")
	target := fs.String("target", "", "`name` of what was looked at, if it was given one")
	last := fs.Int("last", 20, "how many `runs` to show")
	format := fs.String("format", "table", "how results are written: table, json")
	folder := keptFlag(fs)
	j := qualityJob{}
	j.door.define(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	j.input, j.table, j.tenant, j.target = *input, *table, *tenant, *target
	if err := j.door.complete(home.Dir(*dir)); err != nil {
		return misused(fs, "%v", err)
	}
	switch {
	case fs.NArg() != 0:
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	case *rules == "" && *name == "":
		return misused(fs, "-rules or -name is missing")
	case (*input == "") == (*table == ""):
		return misused(fs, "takes -input FILE or -table TABLE, one of them")
	case *last < 1 || *last > keptReports:
		return misused(fs, "-last is from 1 to %d", keptReports)
	case *format != "table" && *format != "json":
		return misused(fs, "unknown format %q: want one of table, json", *format)
	}
	looksAt, err := j.looksAt()
	if err != nil {
		return err
	}
	reports, err := quality.NewHistory(keptIn(*folder, *dir)).Reports(ruleset(*name, *rules), looksAt, *last)
	if err != nil {
		return err
	}
	if *format == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if reports == nil {
			reports = []quality.Report{}
		}
		return enc.Encode(reports)
	}
	if len(reports) == 0 {
		fmt.Fprintln(stderr, "cardlake: no run was kept of", ruleset(*name, *rules), "over", looksAt)
		return nil
	}
	return writeTrend(stdout, reports)
}

// writeTrend writes a line for each rule and each metric.
func writeTrend(w io.Writer, reports []quality.Report) error {
	newest := reports[len(reports)-1]
	fmt.Fprintf(w, "%d runs, %s to %s\n", len(reports), reports[0].StartedOn.Format(time.RFC3339), newest.StartedOn.Format(time.RFC3339))
	scores := make([]float64, len(reports))
	for i, r := range reports {
		scores[i] = r.Score
	}
	fmt.Fprintf(w, "\n%s  score, now %.2f\n", sparkline(scores), newest.Score)
	letters := map[quality.Result]byte{quality.Passed: '.', quality.Failed: 'F', quality.Errored: 'E'}
	for _, o := range newest.Rules {
		trend := make([]byte, len(reports))
		for i, r := range reports {
			trend[i] = ' '
			for _, other := range r.Rules {
				if other.Rule == o.Rule {
					trend[i] = letters[other.Outcome]
				}
			}
		}
		fmt.Fprintf(w, "%s  %s\n", trend, o.Rule)
	}
	values := map[string][]float64{}
	for i, r := range reports {
		for _, s := range r.Statistics {
			name := strings.TrimSpace(s.Name + " " + s.Of)
			for len(values[name]) < i {
				values[name] = append(values[name], math.NaN())
			}
			if len(values[name]) == i {
				values[name] = append(values[name], s.Value)
			}
		}
	}
	fmt.Fprintln(w)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		list := values[name]
		for len(list) < len(reports) {
			list = append(list, math.NaN())
		}
		fmt.Fprintf(w, "%s  %s, now %.6g\n", sparkline(list), name, list[len(list)-1])
	}
	return nil
}

// sparkline draws values, the lowest at the bottom. NaN is a gap.
func sparkline(values []float64) string {
	const bars = "▁▂▃▄▅▆▇█"
	levels := []rune(bars)
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) {
			low, high = min(low, v), max(high, v)
		}
	}
	line := make([]rune, len(values))
	for i, v := range values {
		switch {
		case math.IsNaN(v):
			line[i] = ' '
		case high == low:
			line[i] = levels[len(levels)/2]
		default:
			line[i] = levels[int((v-low)/(high-low)*float64(len(levels)-1))]
		}
	}
	return string(line)
}

func qualityRelease(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("quality release", "", "Takes a partition out of quarantine, on record. Without -table it lists what is in quarantine.", stderr)
	var place lakeflags.Flags
	place.Define(fs, lakeflags.Read)
	var d door
	d.define(fs)
	d.defineRecord(fs)
	table := fs.String("table", "", "`table` of the partition")
	tenant := fs.String("tenant", "", "`tenant` of the partition, if the mark has one")
	day := fs.String("day", "", "`day` of the partition, if the mark has one, as 2026-03-01")
	folder := keptFlag(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	var date time.Time
	if *day != "" {
		if date, err = time.Parse(time.DateOnly, *day); err != nil {
			return misused(fs, "-day: want a day as 2026-03-01")
		}
	}
	if fs.NArg() != 0 {
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	q := quality.NewQuarantine(keptIn(*folder, place.Dir))
	if *table == "" {
		marks, err := q.Marks()
		if err != nil {
			return err
		}
		for _, m := range marks {
			fmt.Fprintf(stdout, "%s  %s  since %s, by %s: %s\n", partition(m), m.Ruleset, m.At.Format(time.RFC3339), m.By, strings.ReplaceAll(m.Reason, "\n", "; "))
		}
		return nil
	}
	if err := errors.Join(place.Complete(), d.complete(home.Dir(place.Dir))); err != nil {
		return misused(fs, "%v", err)
	}
	if d.reason == "" {
		return misused(fs, "a release needs a -reason")
	}
	permits, err := d.permits()
	if err != nil {
		return err
	}
	record, err := d.record(ctx, &place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Close()) }()
	m := quality.Mark{At: time.Now().UTC(), Table: *table, Tenant: cardlake.Tenant(*tenant), Day: date, By: d.caller.Principal.String(), Reason: d.reason}
	if err := mayQuarantine(permits, d.caller); err != nil {
		return d.looked(ctx, record, "quality.release", *table, err)
	}
	// On record first: what is released is known to be.
	if err := d.quarantined(ctx, record, "quality.release", m); err != nil {
		return err
	}
	if err := q.Release(m); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "released %s\n", partition(m))
	return nil
}

// partition names a partition.
func partition(m quality.Mark) string {
	parts := []string{m.Table}
	if m.Tenant != "" {
		parts = append(parts, "tenant="+string(m.Tenant))
	}
	if !m.Day.IsZero() {
		parts = append(parts, "day="+m.Day.UTC().Format(time.DateOnly))
	}
	return strings.Join(parts, " ")
}
