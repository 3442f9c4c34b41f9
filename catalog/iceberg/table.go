package iceberg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/writers/objects"
)

// Table is one table of a catalog. It is safe for concurrent use.
type Table struct {
	cat *Catalog
	def *cardlake.Table

	mu        sync.Mutex
	newest    version                        // what load saw last
	manifests map[string][]cardlake.DataFile // what Files decoded last, by location
	retired   []retired                      // oldest first
}

// version is one state of a table. It never changes.
type version struct {
	location string
	doc      *document
}

// load returns the table's current version. Metadata is read only when the pointer moved
// since the last load, and then only what is new in it is parsed.
func (t *Table) load(ctx context.Context) (version, error) {
	for {
		location, err := t.cat.pointers.load(ctx, t.def)
		if err != nil {
			return version{}, err
		}
		t.mu.Lock()
		v := t.newest
		t.mu.Unlock()
		if v.location == location {
			return v, nil
		}
		v, err = t.read(ctx, location, v.doc)
		if errors.Is(err, objects.ErrNotFound) {
			// The object may have been superseded and removed since the pointer was read.
			again, err2 := t.cat.pointers.load(ctx, t.def)
			if err2 == nil && again != location {
				continue
			}
		}
		if err != nil {
			return version{}, err
		}
		t.remember(v)
		return v, nil
	}
}

// latest calls do with the table's current version; again with a newer one if something that
// the version names has been deleted because the table moved on, as Expire does without a
// grace.
func (t *Table) latest(ctx context.Context, do func(version) error) error {
	for {
		v, err := t.load(ctx)
		if err != nil {
			return err
		}
		if err = do(v); !t.hasOutrun(ctx, v, err) {
			return err
		}
	}
}

// hasOutrun reports whether err may be due to the table having moved on from v.
func (t *Table) hasOutrun(ctx context.Context, v version, err error) bool {
	if !errors.Is(err, objects.ErrNotFound) {
		return false
	}
	now, err := t.cat.pointers.load(ctx, t.def)
	return err == nil && now != v.location
}

func (t *Table) read(ctx context.Context, location string, before *document) (version, error) {
	body, err := t.cat.read(ctx, location)
	if err != nil {
		return version{}, err
	}
	doc, err := parseDocument(body, t.def, before)
	if err != nil {
		return version{}, err
	}
	return version{location, doc}, nil
}

func (t *Table) remember(v version) {
	t.mu.Lock()
	t.newest = v
	t.mu.Unlock()
}

// create writes the table's first metadata and its pointer. That another process was faster
// is not an error.
func (t *Table) create(ctx context.Context) error {
	meta, err := newMetadata(t.def, t.cat.locations)
	if err != nil {
		return err
	}
	body, err := json.Marshal(meta)
	if err != nil {
		return fmt.Errorf("table metadata: %w", err)
	}
	name := t.metadataName(0)
	if err := t.cat.put(ctx, blob{name, body}); err != nil {
		t.cat.remove(ctx, name)
		return err
	}
	created, err := t.cat.pointers.create(ctx, t.def, t.cat.locations.uri(t.def.Name), t.cat.locations.uri(name))
	if err != nil {
		return err
	}
	if !created {
		t.cat.remove(ctx, name)
	}
	return nil
}

// metadataName is a fresh name of a metadata object, which begins with number as other
// engines expect.
func (t *Table) metadataName(number int) string {
	return t.objectName(fmt.Sprintf("%05d-%s.metadata.json", number, newUUID()))
}

func (t *Table) objectName(base string) string { return metadataPrefix(t.def) + "/" + base }

// metadataNumber is the number at the start of a metadata object's name.
func metadataNumber(location string) (int, error) {
	digits, _, _ := strings.Cut(path.Base(location), "-")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("metadata location %q has no number", location)
	}
	return n, nil
}

// Current returns the newest snapshot, the zero Snapshot when nothing was committed yet.
func (t *Table) Current(ctx context.Context) (catalog.Snapshot, error) {
	v, err := t.load(ctx)
	if err == nil {
		var s catalog.Snapshot
		if s, err = v.current(); err == nil {
			return s, nil
		}
	}
	return catalog.Snapshot{}, fmt.Errorf("current snapshot of %s: %w", t.def.FullName(), err)
}

// Positions returns the stream positions of the newest snapshot that has them. They are
// empty when nothing was committed yet.
func (t *Table) Positions(ctx context.Context) (cardlake.Positions, error) {
	v, err := t.load(ctx)
	if err == nil {
		var p cardlake.Positions
		if p, err = v.doc.positions(); err == nil {
			return p.Clone(), nil
		}
	}
	return nil, fmt.Errorf("positions of %s: %w", t.def.FullName(), err)
}

// Snapshots returns the current snapshot and its ancestors as far as they are kept, oldest
// first, each with the positions as of it. Snapshots that were rolled back are not among
// them. The oldest ones have nil positions if they were made by maintenance and the
// snapshot they took theirs from has expired.
func (t *Table) Snapshots(ctx context.Context) ([]catalog.Snapshot, error) {
	v, err := t.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("snapshots of %s: %w", t.def.FullName(), err)
	}
	var out []catalog.Snapshot
	var positions cardlake.Positions
	for _, s := range slices.Backward(v.doc.ancestry(v.doc.current)) {
		own, err := s.own()
		if err != nil {
			return nil, fmt.Errorf("snapshots of %s: %w", t.def.FullName(), err)
		}
		if own != nil {
			positions = own
		}
		out = append(out, s.snapshot(positions.Clone()))
	}
	return out, nil
}

func (v version) current() (catalog.Snapshot, error) {
	if v.doc.current == nil {
		return catalog.Snapshot{}, nil
	}
	p, err := v.doc.positions()
	if err != nil {
		return catalog.Snapshot{}, err
	}
	return v.doc.current.snapshot(p.Clone()), nil
}
