package iceberg

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

const (
	// sweepMost bounds how many objects one append removes, so that none waits long.
	sweepMost = 64
	// retiredMost bounds how many objects wait for their removal.
	retiredMost = 1 << 16
)

// retired is an object that no version of the table has named since a commit. It is removed
// a while later, because a reader may still be at work on an older version.
type retired struct {
	name  string
	since time.Time
}

// retire remembers the objects that only the versions before the commit had use for: the
// metadata object that left its log, and the manifest lists of dropped snapshots with
// the manifests that were merged into others. It is best effort: what is forgotten when the
// process ends is found by maintenance, as objects that no metadata names. Data files are
// not touched.
//
// A manifest that is gone from one snapshot's list is in none of those that descend from it.
// So what the oldest of the current snapshot's ancestors lists, and what the snapshots
// beside them list that a branch, a tag or a rollback left, is all that is still needed.
func (t *Table) retire(ctx context.Context, base, result version) {
	superfluous := map[string]bool{}
	if err := t.retireSnapshots(ctx, base, result, superfluous); err != nil {
		t.cat.log.WarnContext(ctx, "expired table metadata was not removed", "table", t.def.FullName(), "error", err)
	}
	t.retireAll(append(slices.Collect(maps.Keys(superfluous)), t.retireLog(base, result)...))
}

// retireLog remembers the metadata objects that left the log, except those that were
// superseded longer ago than the grace: it returns their locations.
func (t *Table) retireLog(base, result version) (due []string) {
	log := append(slices.Clone(base.doc.previous), metadataEntry{base.doc.lastUpdated, base.location})
	before := time.Now().Add(-t.cat.grace)
	var young []string
	for i, m := range log[:max(0, len(log)-len(result.doc.previous))] {
		if time.UnixMilli(log[i+1].Millis).Before(before) {
			due = append(due, m.Location)
		} else {
			young = append(young, m.Location)
		}
	}
	t.retireAll(young)
	return due
}

func (t *Table) retireAll(uris []string) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, uri := range uris {
		if name, err := t.cat.locations.object(uri); err == nil {
			t.retired = append(t.retired, retired{name, now})
		}
	}
	t.retired = t.retired[max(0, len(t.retired)-retiredMost):]
}

func (t *Table) retireSnapshots(ctx context.Context, base, result version, superfluous map[string]bool) error {
	isKept := make(map[*snapshot]bool, len(result.doc.snapshots))
	for _, s := range result.doc.snapshots {
		isKept[s] = true
	}
	var gone, needed []*snapshot
	for _, s := range base.doc.snapshots {
		if !isKept[s] {
			gone = append(gone, s)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	ancestors := result.doc.ancestry(result.doc.current)
	for _, s := range ancestors[:len(ancestors)-1] {
		delete(isKept, s)
	}
	for s := range isKept {
		needed = append(needed, s)
	}
	paths := map[string]bool{}
	since := map[string]int64{} // manifests, by the sequence number of their commit
	for _, s := range gone {
		list, err := s.list(ctx, t.cat)
		if err != nil {
			return err
		}
		paths[s.List] = true
		for _, m := range list {
			since[m.path] = m.sequence
		}
	}
	// The oldest ancestor leaves little to look for in the others, most of which were committed
	// before what is left was there.
	slices.SortFunc(needed, func(a, b *snapshot) int { return cmp.Compare(b.Sequence, a.Sequence) })
	for _, s := range needed {
		isAfterSome := false
		for _, sequence := range since {
			isAfterSome = isAfterSome || s.Sequence >= sequence
		}
		if !isAfterSome {
			continue
		}
		list, err := s.list(ctx, t.cat)
		if err != nil {
			return err
		}
		for _, m := range list {
			delete(since, m.path)
		}
	}
	for path := range since {
		paths[path] = true
	}
	maps.Copy(superfluous, paths)
	return nil
}

// due takes the objects whose time has come.
func (t *Table) due() (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := time.Now().Add(-t.cat.grace)
	n := 0
	for n < min(len(t.retired), sweepMost) && !t.retired[n].since.After(before) {
		names = append(names, t.retired[n].name)
		n++
	}
	t.retired = t.retired[n:]
	return names
}
