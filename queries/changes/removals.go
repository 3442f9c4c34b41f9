package changes

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Operations is what a Table is besides if it can say what its snapshots did.
type Operations interface {
	// Operations returns what each snapshot that is kept did, by its id.
	Operations(ctx context.Context) (map[int64]catalog.Operation, error)
}

// Removal is a commit that took rows out of the table, or changed them.
type Removal struct {
	Mark
	// Operation is catalog.OpDelete for rows that were taken, by retention or with a tenant, and
	// catalog.OpOverwrite for rows that were changed, because a person was erased. What a reader
	// has of them it must delete, or read anew.
	Operation catalog.Operation `json:"operation"`
	// Partitions are where the rows were; nil if that is not known any more.
	Partitions []Partition `json:"partitions"`
}

// Partition is a tenant's day.
type Partition struct {
	Tenant cardlake.Tenant `json:"tenant"`
	Day    string          `json:"day"` // as 2026-03-02
	// Rows is how many were in the files that went. Those of them that were not to go are in
	// other files.
	Rows int64 `json:"rows"`
}

// about tells of removals since the cursor, as far as the decision gives the rows that went.
func about(ctx context.Context, table Table, d *grants.Decision, from cursor, kept []catalog.Snapshot, files []cardlake.DataFile) (About, error) {
	var out About
	out.KeptSince = map[cardlake.Tenant]cardlake.Day{}
	for _, f := range files {
		if d.Scope(f.Tenant) == nil || f.Tenant == "" {
			continue
		}
		if day, ok := out.KeptSince[f.Tenant]; !ok || f.Day < day {
			out.KeptSince[f.Tenant] = f.Day
		}
	}
	if len(kept) == 0 || kept[len(kept)-1].Sequence <= from.told {
		return out, nil
	}
	out.IsUnsure = kept[0].Sequence > from.told+1
	t, ok := table.(Operations)
	if !ok {
		out.IsUnsure = true
		return out, nil
	}
	operations, err := t.Operations(ctx)
	if err != nil {
		return out, err
	}
	for i, s := range kept {
		operation := operations[s.ID]
		if s.Sequence <= from.told || operation != catalog.OpDelete && operation != catalog.OpOverwrite {
			continue
		}
		removal := Removal{Mark: Mark{s.ID, s.CommittedAt}, Operation: operation}
		if i > 0 {
			gone, isKnown, err := difference(ctx, table, d, kept[i-1].ID, s.ID)
			if err != nil {
				return out, err
			}
			if isKnown && len(gone) == 0 {
				continue // other tenants'
			}
			removal.Partitions = gone
		}
		if removal.Partitions == nil && !d.IsWhole() {
			out.IsUnsure = true // somebody's
			continue
		}
		out.Removals = append(out.Removals, removal)
	}
	return out, nil
}

// difference returns the partitions of the files that a snapshot took out, and false if one of
// the two has expired meanwhile.
func difference(ctx context.Context, table Table, d *grants.Decision, before, after int64) ([]Partition, bool, error) {
	had, err := table.Files(ctx, before)
	if err == nil {
		var has []cardlake.DataFile
		if has, err = table.Files(ctx, after); err == nil {
			return gone(d, had, has), true, nil
		}
	}
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	return nil, false, nil
}

func gone(d *grants.Decision, had, has []cardlake.DataFile) []Partition {
	stays := make(map[string]bool, len(has))
	for _, f := range has {
		stays[f.Name] = true
	}
	type place struct {
		tenant cardlake.Tenant
		day    cardlake.Day
	}
	rows := map[place]int64{}
	for _, f := range had {
		if !stays[f.Name] && d.Scope(f.Tenant) != nil {
			rows[place{f.Tenant, f.Day}] += f.Rows
		}
	}
	var out []Partition
	for p, n := range rows {
		out = append(out, Partition{p.tenant, p.day.Time().Format(time.DateOnly), n})
	}
	slices.SortFunc(out, func(a, b Partition) int { return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Day, b.Day)) })
	return out
}
