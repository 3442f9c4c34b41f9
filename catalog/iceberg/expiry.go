package iceberg

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake/writers/objects"
)

// expiry is one Expire. What it learns of a version of the table is good for the next ones
// too, on which it is planned anew when others were first: manifests never change.
type expiry struct {
	t     *Table
	cfg   Expiry
	names map[string]bool // locations of cfg.Names

	base   version
	gone   map[int64]bool  // snapshots of base, by id
	naming map[string]bool // manifests that were read, by location: whether they name one of names
	kept   map[string]bool // manifests whose files are in live
	live   nameSet         // data files of kept snapshots, by location
}

func newExpiry(t *Table, e Expiry) *expiry {
	x := &expiry{
		t: t, cfg: e, names: make(map[string]bool, len(e.Names)),
		naming: map[string]bool{}, kept: map[string]bool{}, live: newNameSet(),
	}
	for _, name := range e.Names {
		x.names[t.cat.locations.uri(name)] = true
	}
	return x
}

// nameSet holds hashes of names. Two names of one hash are the same to it: of one in 10^11
// tables of 100,000 files it keeps an object that could go.
type nameSet struct {
	seed   maphash.Seed
	hashes map[uint64]struct{}
}

func newNameSet() nameSet { return nameSet{maphash.MakeSeed(), map[uint64]struct{}{}} }

// add reports whether the name is new.
func (s nameSet) add(name []byte) bool {
	h := maphash.Bytes(s.seed, name)
	_, has := s.hashes[h]
	s.hashes[h] = struct{}{}
	return !has
}

func (s nameSet) has(name []byte) bool {
	_, has := s.hashes[maphash.Bytes(s.seed, name)]
	return has
}

// plan decides which snapshots of base go, and reads which files the others name.
func (x *expiry) plan(ctx context.Context, base version) error {
	x.base, x.gone = base, map[int64]bool{}
	if base.doc.current == nil {
		return nil
	}
	if err := x.t.readLists(ctx, base.doc.snapshots, x.isOld); err != nil {
		return err
	}
	if err := x.decide(ctx); err != nil || len(x.gone) == 0 {
		return err
	}
	for _, s := range base.doc.snapshots {
		if x.gone[s.ID] {
			continue
		}
		list, err := s.list(ctx, x.t.cat)
		if err != nil {
			return err
		}
		for _, m := range list {
			if x.kept[m.path] {
				continue
			}
			if err := x.t.eachLive(ctx, base, m, func(file *fileView) error { x.live.add(file.path); return nil }); err != nil {
				return err
			}
			x.kept[m.path] = true
		}
	}
	return nil
}

// isOld reports whether the snapshot can go, so that its list may be missing.
func (x *expiry) isOld(s *snapshot) bool { return x.base.doc.current != s }

// decide fills gone.
func (x *expiry) decide(ctx context.Context) error {
	doc := x.base.doc
	now := time.Now()
	chain := doc.ancestry(doc.current)
	fixed, err := fixedOf(chain)
	if err != nil {
		return err
	}
	referred, err := doc.referred()
	if err != nil {
		return err
	}
	ends := doc.ends()
	isInGrace := func(s *snapshot) bool { return now.Sub(ends[s.ID]) < x.cfg.Grace }
	isDue := !x.cfg.Before.IsZero() || x.cfg.KeepLast > 0
	isBefore := func(s *snapshot) bool {
		return isDue && (x.cfg.Before.IsZero() || s.Millis < x.cfg.Before.UnixMilli()) && !isInGrace(s)
	}
	// cut is how many of the chain stay.
	cut := max(fixed, x.cfg.KeepLast)
	for i := len(chain); i > cut; i-- {
		if !isBefore(chain[i-1]) {
			cut = i
		}
	}
	cut = min(cut, len(chain))
	var until time.Time
	for i, s := range chain {
		isNaming, err := x.isNaming(ctx, s)
		switch {
		case err != nil:
			return err
		case !isNaming:
			continue
		case i < fixed && s == doc.current:
			return fmt.Errorf("%w: it is in the table now", ErrNamed)
		case i < fixed:
			return fmt.Errorf("%w: snapshot %d has the newest stream positions, until the next append", ErrNamed, s.ID)
		}
		cut = min(cut, i)
		if isInGrace(s) {
			until = later(until, ends[s.ID].Add(x.cfg.Grace))
		}
	}
	isInChain := make(map[int64]bool, len(chain))
	for i, s := range chain {
		isInChain[s.ID] = true
		if i >= cut && referred[s.ID] == "" {
			x.gone[s.ID] = true
		}
	}
	for _, s := range doc.snapshots {
		isNaming, err := x.isNaming(ctx, s)
		if err != nil {
			return err
		}
		switch ref := referred[s.ID]; {
		case isNaming && ref != "":
			return fmt.Errorf("%w: the branch or tag %q leads to it", ErrNamed, ref)
		case ref != "" || isInChain[s.ID]:
		case isNaming:
			x.gone[s.ID] = true
			if isInGrace(s) {
				until = later(until, ends[s.ID].Add(x.cfg.Grace))
			}
		case isBefore(s) && (!x.cfg.Before.IsZero() || s.Sequence < chain[cut-1].Sequence):
			x.gone[s.ID] = true
		}
	}
	if !until.IsZero() {
		return &GraceError{until}
	}
	return nil
}

// fixedOf is how many of the chain must stay for the table's positions to be known: down to
// the newest that has its own, or the current one alone if there are none.
func fixedOf(chain []*snapshot) (int, error) {
	for i, s := range chain {
		if p, err := s.own(); err != nil {
			return 0, err
		} else if p != nil {
			return i + 1, nil
		}
	}
	return 1, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ends tells of each snapshot up to when it can have been current: the next commit's time, or
// when the log says that a rollback to it ended; now for the current one. A branch that is
// not in the log ends nothing.
func (d *document) ends() map[int64]time.Time {
	ends := make(map[int64]time.Time, len(d.snapshots))
	end := time.UnixMilli(d.lastUpdated)
	for _, s := range slices.Backward(d.snapshots) {
		ends[s.ID] = end
		end = time.UnixMilli(s.Millis)
	}
	for i, e := range d.log[:max(0, len(d.log)-1)] {
		if _, ok := ends[e.Snapshot]; ok {
			ends[e.Snapshot] = later(ends[e.Snapshot], time.UnixMilli(d.log[i+1].Millis))
		}
	}
	if d.current != nil {
		ends[d.current.ID] = time.Now()
	}
	return ends
}

// isNaming reports whether the snapshot names a file that must be gone.
func (x *expiry) isNaming(ctx context.Context, s *snapshot) (bool, error) {
	if len(x.names) == 0 {
		return false, nil
	}
	list, err := s.list(ctx, x.t.cat)
	if err != nil {
		return false, ignoreMissing(err)
	}
	isNaming := false
	for _, m := range list {
		has, ok := x.naming[m.path]
		if !ok {
			err := x.t.eachLive(ctx, x.base, m, func(file *fileView) error {
				has = has || x.names[string(file.path)]
				return nil
			})
			if err != nil {
				return false, err
			}
			x.naming[m.path] = has
		}
		isNaming = isNaming || has
	}
	return isNaming, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, objects.ErrNotFound) {
		return nil
	}
	return err
}

// readWidth is how many objects maintenance reads at the same time.
const readWidth = 8

// readLists reads the manifest lists of the snapshots that were not read yet. One that is
// missing is passed over if mayMiss allows it.
func (t *Table) readLists(ctx context.Context, snapshots []*snapshot, mayMiss func(*snapshot) bool) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readWidth)
	for _, s := range snapshots {
		group.Go(func() error {
			_, err := s.list(ctx, t.cat)
			if mayMiss(s) {
				err = ignoreMissing(err)
			}
			return err
		})
	}
	return group.Wait()
}

// eachLive calls each for the live files of a manifest. The view is overwritten by the next.
func (t *Table) eachLive(ctx context.Context, v version, m *manifest, each func(*fileView) error) error {
	l, body, err := t.open(ctx, v, m)
	if err == nil {
		err = l.decode(m, body, func(e entry, file *fileView) error {
			if e.status == statusDeleted {
				return nil
			}
			return each(file)
		})
	}
	if err != nil {
		return fmt.Errorf("manifest %s: %w", m.path, err)
	}
	return nil
}

const (
	// sweepBatch is how many objects are deleted between two calls of Progress.
	sweepBatch = 256
	// faultsMost bounds the errors of single objects that an error tells.
	faultsMost = 5
)

// sweep deletes what the snapshots named that are gone and no other names: first the data
// files, then the manifests that tell of them, then the lists and what else is superfluous.
func (x *expiry) sweep(ctx context.Context, superfluous ...string) (Expired, error) {
	s := &sweeper{t: x.t, ctx: ctx, dryRun: x.cfg.DryRun, progress: x.cfg.Progress}
	s.done.Snapshots = len(x.gone)
	var lists, manifests []string
	seen, swept := map[string]bool{}, newNameSet()
	for _, snap := range x.base.doc.snapshots {
		if !x.gone[snap.ID] {
			continue
		}
		lists = append(lists, snap.List)
		list, err := snap.list(ctx, x.t.cat)
		if err != nil {
			if ignoreMissing(err) != nil {
				s.faults = append(s.faults, err)
			}
			continue
		}
		for _, m := range list {
			if x.kept[m.path] || seen[m.path] {
				continue
			}
			seen[m.path] = true
			manifests = append(manifests, m.path)
			err := x.t.eachLive(ctx, x.base, m, func(file *fileView) error {
				if !x.live.has(file.path) && swept.add(file.path) {
					s.add(string(file.path), file.size, true)
				}
				return ctx.Err()
			})
			if err != nil && ignoreMissing(err) != nil {
				s.faults = append(s.faults, err)
			}
		}
	}
	s.flush()
	for _, list := range x.base.doc.statistics {
		for _, st := range list {
			if x.gone[st.snapshot] {
				lists = append(lists, st.path)
			}
		}
	}
	for _, uri := range slices.Concat(manifests, lists, superfluous) {
		s.add(uri, 0, false)
	}
	s.flush()
	return s.done, s.err()
}

// sweeper deletes objects in batches.
type sweeper struct {
	t        *Table
	ctx      context.Context // of one Expire
	dryRun   bool
	progress func(Expired)

	batch  []doomed
	done   Expired
	faults []error
}

type doomed struct {
	uri    string
	bytes  int64
	isData bool
}

func (s *sweeper) add(uri string, bytes int64, isData bool) {
	if s.batch = append(s.batch, doomed{uri, bytes, isData}); len(s.batch) >= sweepBatch {
		s.flush()
	}
}

func (s *sweeper) flush() {
	errs := make([]error, len(s.batch))
	if !s.dryRun {
		var wg sync.WaitGroup
		for i := range min(removeWidth, len(s.batch)) {
			wg.Go(func() {
				for ; i < len(s.batch); i += removeWidth {
					errs[i] = s.t.cat.delete(s.ctx, s.batch[i].uri)
				}
			})
		}
		wg.Wait()
	}
	for i, d := range s.batch {
		switch {
		case errors.Is(errs[i], objects.ErrNotFound):
		case errs[i] != nil:
			s.faults = append(s.faults, errs[i])
		case d.isData:
			s.done.DataFiles++
			s.done.Bytes += d.bytes
		default:
			s.done.Metadata++
		}
	}
	s.batch = s.batch[:0]
	if s.progress != nil {
		s.progress(s.done)
	}
}

func (s *sweeper) err() error {
	if len(s.faults) == 0 {
		return nil
	}
	if err := context.Cause(s.ctx); err != nil {
		return fmt.Errorf("stopped; what is left are orphans: %w", err)
	}
	return fmt.Errorf("%d objects were not deleted and are orphans now: %w", len(s.faults), errors.Join(s.faults[:min(len(s.faults), faultsMost)]...))
}

// delete deletes the object at a location.
func (c *Catalog) delete(ctx context.Context, uri string) error {
	name, err := c.locations.object(uri)
	if err != nil {
		return err
	}
	return c.store.Delete(ctx, name)
}
