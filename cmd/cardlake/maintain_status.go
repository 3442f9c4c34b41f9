package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/catalog/maintenance"
)

// health is how a table is.
type health struct {
	Table      string `json:"table"`
	Rows       int64  `json:"rows"`
	Files      int    `json:"files"`
	Bytes      int64  `json:"bytes"`
	Partitions int    `json:"partitions"` // tenants' days
	Snapshots  int    `json:"snapshots"`
	// Most is the partition with the most files.
	Most struct {
		Tenant string `json:"tenant,omitempty"`
		Day    string `json:"day,omitempty"`
		Files  int    `json:"files"`
	} `json:"most_files"`
	// Jobs, JobFiles and JobBytes are what compact would begin with.
	Jobs     int   `json:"compaction_jobs"`
	JobFiles int   `json:"compaction_files"`
	JobBytes int64 `json:"compaction_bytes"`
}

const statusAbout = `Lists the tables with their files, the tenant's day that has the most of them, and what "cardlake maintain
compact" would do. It changes nothing.`

// maintainStatus tells how the tables are.
func maintainStatus(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("maintain status", "", statusAbout, stderr)
	u, l := upkeep{stderr: stderr}, limits{}
	u.define(fs)
	l.defineCompact(fs)
	fs.StringVar(&u.tenant, "tenant", "", "`name` of the only tenant")
	if err := parse(fs, args); err != nil {
		return err
	}
	if err := l.check(fs); err != nil {
		return err
	}
	if err := u.complete(fs); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.close()) }()
	if err := u.open(ctx, "maintain.status"); err != nil {
		return err
	}
	var results []any
	var all []health
	err = u.each(ctx, func(def *cardlake.Table, table *iceberg.Table) error {
		if u.tenant != "" && !def.ByTenant {
			return nil
		}
		return u.recorded(ctx, "maintain.status", def, func() (map[string]int64, error) {
			h, err := u.health(ctx, &l, def, table)
			results, all = append(results, h), append(all, h)
			return nil, err
		})
	})
	if err != nil {
		return err
	}
	return u.print(stdout, results, func(w io.Writer) {
		fmt.Fprintln(w, "TABLE\tROWS\tFILES\tSIZE\tPARTITIONS\tMOST FILES\tSNAPSHOTS\tTO MERGE")
		for _, h := range all {
			most := "-"
			if h.Most.Files > 0 {
				most = fmt.Sprintf("%d (%s %s)", h.Most.Files, cmp.Or(h.Most.Tenant, "-"), h.Most.Day)
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%s\t%d\t%d files, %s\n", h.Table, h.Rows, h.Files, megabytes(h.Bytes), h.Partitions, most, h.Snapshots, h.JobFiles, megabytes(h.JobBytes))
		}
	})
}

func (u *upkeep) health(ctx context.Context, l *limits, def *cardlake.Table, table *iceberg.Table) (health, error) {
	h := health{Table: def.FullName()}
	isWanted := func(at maintenance.Partition) bool { return u.tenant == "" || at.Tenant == cardlake.Tenant(u.tenant) }
	files, err := table.Files(ctx, 0)
	if err != nil {
		return h, err
	}
	counts := map[maintenance.Partition]int{}
	for _, f := range files {
		at := maintenance.Partition{Tenant: f.Tenant, Day: f.Day}
		if !isWanted(at) {
			continue
		}
		h.Rows += f.Rows
		h.Files++
		h.Bytes += f.Bytes
		if counts[at]++; counts[at] > h.Most.Files {
			h.Most.Files, h.Most.Tenant, h.Most.Day = counts[at], string(at.Tenant), at.Day.String()
		}
	}
	h.Partitions = len(counts)
	snapshots, err := table.Snapshots(ctx)
	if err != nil {
		return h, err
	}
	h.Snapshots = len(snapshots)
	jobs, err := maintenance.New(def, table, u.lake.Store, u.tenants, maintenance.Config{
		Width: l.width, FileBytes: l.fileMB * 1e6, Settle: max(l.settle, time.Nanosecond), Only: isWanted,
	}).Plan(ctx)
	for _, j := range jobs {
		h.Jobs++
		h.JobFiles += len(j.Files)
		h.JobBytes += j.Bytes()
	}
	return h, err
}
