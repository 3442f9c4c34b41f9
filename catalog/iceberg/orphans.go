package iceberg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/objects"
)

const (
	// defaultOrphanAge is what other engines take too.
	defaultOrphanAge = 3 * 24 * time.Hour
	// minOrphanAge is the least age that is taken without Force: longer than a worker goes on
	// trying to commit files that it has put.
	minOrphanAge = 24 * time.Hour
	// orphanBatch is how many objects are compared with one version of the table.
	orphanBatch = 1000
)

// OrphanConfig tunes [Table.Orphans].
type OrphanConfig struct {
	// Age is how old an object must be: 3 days when zero. What a writer has put and not
	// committed yet looks like an orphan, so it must be longer than from any put to its commit,
	// outages included; less than a day is refused.
	Age time.Duration
	// Force takes an Age of less than a day too. It is for tables that nobody writes to.
	Force bool
	// Delete deletes the objects, each before it is yielded.
	Delete bool
}

// Orphans yields the objects under the table's data and metadata prefixes that its current
// version does not name, nor its snapshots, nor its log of versions: what was put and never
// committed, and what was not deleted when it was superseded. Objects of other tables are
// not among them. An error of one deletion is yielded with the object, and the next follows;
// any other error ends it. It holds 8 bytes for each object of the table in memory.
func (t *Table) Orphans(ctx context.Context, cfg OrphanConfig) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		o := &orphans{t: t, cfg: cfg, named: newNameSet(), manifests: map[string]bool{}, snapshots: map[int64]bool{}}
		err := o.check()
		for _, prefix := range [...]string{"data/" + t.def.Name + "/", metadataPrefix(t.def) + "/"} {
			if err == nil {
				err = o.look(ctx, prefix, yield)
			}
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(objects.Info{}, fmt.Errorf("orphans of %s: %w", t.def.FullName(), err))
		}
	}
}

// errEnough says that who asked wants no more.
var errEnough = errors.New("enough")

// orphans is one search.
type orphans struct {
	t      *Table
	cfg    OrphanConfig
	before time.Time

	at        string          // location of the version that is in named
	named     nameSet         // locations
	manifests map[string]bool // whose files are in named
	snapshots map[int64]bool  // whose manifests are in named
}

func (o *orphans) check() error {
	age := cmp.Or(o.cfg.Age, defaultOrphanAge)
	switch {
	case age < 0 || age < minOrphanAge && !o.cfg.Force:
		return fmt.Errorf("Age is %s: below %s what a writer has put and not committed yet could be taken for an orphan", age, minOrphanAge)
	case o.cfg.Delete && o.t.cat.readOnly:
		return errReadOnly
	}
	for _, def := range cardlake.Tables {
		if def.Name == o.t.def.Name && def.Namespace != o.t.def.Namespace {
			return fmt.Errorf("table %s keeps its objects at the same place", def.FullName())
		}
	}
	o.before = time.Now().Add(-age)
	return nil
}

// look goes through the objects of a prefix, a batch at a time: each batch is compared with a
// version of the table that is loaded after the batch was listed, so that what was committed
// before then is seen.
func (o *orphans) look(ctx context.Context, prefix string, yield func(objects.Info, error) bool) error {
	var batch []objects.Info
	for info, err := range o.t.cat.store.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if !info.ModTime.Before(o.before) {
			continue
		}
		if batch = append(batch, info); len(batch) == orphanBatch {
			if err := o.settle(ctx, batch, yield); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return o.settle(ctx, batch, yield)
}

func (o *orphans) settle(ctx context.Context, batch []objects.Info, yield func(objects.Info, error) bool) error {
	if len(batch) == 0 {
		return nil
	}
	if err := o.learn(ctx); err != nil {
		return err
	}
	for _, info := range batch {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if o.named.has([]byte(o.t.cat.locations.uri(info.Name))) {
			continue
		}
		var err error
		if o.cfg.Delete {
			if err = o.t.cat.store.Delete(ctx, info.Name); errors.Is(err, objects.ErrNotFound) {
				continue
			}
		}
		if !yield(info, err) {
			return errEnough
		}
	}
	return nil
}

// learn adds what the current version names. What earlier ones named stays in.
func (o *orphans) learn(ctx context.Context) error {
	return o.t.latest(ctx, func(v version) error {
		if v.location == o.at {
			return nil
		}
		return o.learnFrom(ctx, v)
	})
}

func (o *orphans) learnFrom(ctx context.Context, v version) error {
	if err := o.t.readLists(ctx, v.doc.snapshots, func(*snapshot) bool { return false }); err != nil {
		return err
	}
	o.add(v.location)
	for _, m := range v.doc.previous {
		o.add(m.Location)
	}
	for _, list := range v.doc.statistics {
		for _, s := range list {
			o.add(s.path)
		}
	}
	for _, s := range v.doc.snapshots {
		if o.snapshots[s.ID] {
			continue
		}
		o.add(s.List)
		list, err := s.list(ctx, o.t.cat)
		if err != nil {
			return err
		}
		for _, m := range list {
			if o.manifests[m.path] {
				continue
			}
			o.add(m.path)
			if err := o.t.eachLive(ctx, v, m, func(file *fileView) error { o.named.add(file.path); return nil }); err != nil {
				return err
			}
			o.manifests[m.path] = true
		}
		o.snapshots[s.ID] = true
	}
	o.at = v.location
	return nil
}

func (o *orphans) add(uri string) { o.named.add([]byte(uri)) }
