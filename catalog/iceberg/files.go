package iceberg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
)

// ErrNoSnapshot says that a table does not have a snapshot, or not any more.
var ErrNoSnapshot = errors.New("no such snapshot")

// Files returns the data files of a snapshot, in no order; snapshotID 0 is the current one.
// A table without snapshots has no files, and an id that it does not keep gives an error
// that matches ErrNoSnapshot. The caller owns the slice, but not the SplitOffsets in it. A
// Table that is asked again decodes only manifests that are new.
func (t *Table) Files(ctx context.Context, snapshotID int64) ([]cardlake.DataFile, error) {
	files, err := t.files(ctx, snapshotID)
	if err != nil {
		return nil, fmt.Errorf("files of %s: %w", t.def.FullName(), err)
	}
	return files, nil
}

func (t *Table) files(ctx context.Context, snapshotID int64) (files []cardlake.DataFile, err error) {
	err = t.latest(ctx, func(v version) error {
		manifests, err := t.manifestsOf(ctx, v, snapshotID)
		if err != nil {
			return err
		}
		decoded, err := t.decodeAll(ctx, v, manifests)
		if err != nil {
			return err
		}
		total := 0
		for _, some := range decoded {
			total += len(some)
		}
		files = make([]cardlake.DataFile, 0, total)
		for _, m := range manifests {
			files = append(files, decoded[m.path]...)
		}
		return nil
	})
	return files, err
}

// manifestsOf returns the manifests of a snapshot, 0 the current one.
func (t *Table) manifestsOf(ctx context.Context, v version, snapshotID int64) ([]*manifest, error) {
	s := v.doc.current
	if snapshotID != 0 {
		if s = v.doc.byID(snapshotID); s == nil {
			return nil, fmt.Errorf("snapshot %d: %w", snapshotID, ErrNoSnapshot)
		}
	}
	if s == nil {
		return nil, nil
	}
	return s.list(ctx, t.cat)
}

// FilesOf returns the data files of a snapshot that belong to the tenants, as Files does. It
// reads only manifests that may have some, as the manifest list tells; after RewriteManifests
// they are few.
func (t *Table) FilesOf(ctx context.Context, snapshotID int64, tenants ...cardlake.Tenant) (files []cardlake.DataFile, err error) {
	err = t.latest(ctx, func(v version) error {
		manifests, err := t.manifestsOf(ctx, v, snapshotID)
		if err != nil {
			return err
		}
		manifests = slices.DeleteFunc(slices.Clone(manifests), func(m *manifest) bool { return !v.doc.mayHold(m, tenants) })
		decoded, err := t.decodeAll(ctx, v, manifests)
		if err != nil {
			return err
		}
		files = nil
		for _, m := range manifests {
			for _, f := range decoded[m.path] {
				if slices.Contains(tenants, f.Tenant) {
					files = append(files, f)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("files of %s: %w", t.def.FullName(), err)
	}
	return files, nil
}

// mayHold reports whether a manifest may have files of one of the tenants.
func (d *document) mayHold(m *manifest, tenants []cardlake.Tenant) bool {
	l := d.specs[int(m.specID)]
	if l == nil || l.fields[l.lead()].isDay || len(m.partitions) != len(l.fields) {
		return true
	}
	s := m.partitions[l.lead()]
	return slices.ContainsFunc(tenants, func(t cardlake.Tenant) bool {
		return s.lower != nil && s.upper != nil && string(s.lower) <= string(t) && string(t) <= string(s.upper)
	})
}

// NamedFiles returns every data file that a snapshot of the table still names, each once:
// what can still be read as of some snapshot, and so must not be deleted.
func (t *Table) NamedFiles(ctx context.Context) (files []cardlake.DataFile, err error) {
	err = t.latest(ctx, func(v version) (err error) {
		files, err = t.namedFiles(ctx, v)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("named files of %s: %w", t.def.FullName(), err)
	}
	return files, nil
}

func (t *Table) namedFiles(ctx context.Context, v version) (files []cardlake.DataFile, err error) {
	if err := t.readLists(ctx, v.doc.snapshots, func(*snapshot) bool { return false }); err != nil {
		return nil, err
	}
	read, seen := map[string]bool{}, map[string]bool{}
	for _, s := range v.doc.snapshots {
		list, err := s.list(ctx, t.cat)
		if err != nil {
			return nil, err
		}
		for _, m := range list {
			if read[m.path] {
				continue
			}
			read[m.path] = true
			some, err := t.decode(ctx, v, m)
			if err != nil {
				return nil, fmt.Errorf("manifest %s: %w", m.path, err)
			}
			for _, f := range some {
				if !seen[f.Name] {
					seen[f.Name] = true
					files = append(files, f)
				}
			}
		}
	}
	return files, nil
}

// decodeAll returns the live files of the manifests, by location. Those that were decoded
// before are not read again. The caller must not change them.
func (t *Table) decodeAll(ctx context.Context, v version, manifests []*manifest) (map[string][]cardlake.DataFile, error) {
	t.mu.Lock()
	known := t.manifests
	t.mu.Unlock()
	decoded := make(map[string][]cardlake.DataFile, len(manifests))
	results := make([][]cardlake.DataFile, len(manifests))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(readWidth)
	for i, m := range manifests {
		if some, ok := known[m.path]; ok {
			results[i] = some
			continue
		}
		group.Go(func() (err error) {
			if results[i], err = t.decode(groupCtx, v, m); err != nil {
				return fmt.Errorf("manifest %s: %w", m.path, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, m := range manifests {
		decoded[m.path] = results[i]
	}
	t.keep(v, decoded)
	return decoded, nil
}

// keep remembers what was decoded, beside what else of the current snapshot was before.
func (t *Table) keep(v version, decoded map[string][]cardlake.DataFile) {
	kept := maps.Clone(decoded)
	t.mu.Lock()
	defer t.mu.Unlock()
	if v.doc.current != nil {
		for _, m := range v.doc.current.listed() {
			if some, ok := t.manifests[m.path]; ok {
				kept[m.path] = some
			}
		}
	}
	t.manifests = kept
}

// decode reads one manifest.
func (t *Table) decode(ctx context.Context, v version, m *manifest) ([]cardlake.DataFile, error) {
	l, body, err := t.open(ctx, v, m)
	if err != nil {
		return nil, err
	}
	// Counts are what a writer says: the capacity is bounded by what the bytes can hold.
	files := make([]cardlake.DataFile, 0, max(0, min(m.files(), int64(len(body)))))
	err = l.decode(m, body, func(e entry, file *fileView) error {
		if e.status == statusDeleted {
			return nil
		}
		f, err := l.dataFile(file, t.cat.locations)
		if err != nil {
			return err
		}
		f.Sequence = e.sequence
		files = append(files, f)
		return nil
	})
	return files, err
}

// open reads the bytes of a manifest and finds the layout of its entries.
func (t *Table) open(ctx context.Context, v version, m *manifest) (*fileLayout, []byte, error) {
	l := v.doc.specs[int(m.specID)]
	if l == nil {
		return nil, nil, fmt.Errorf("partition spec %d is unknown", m.specID)
	}
	body, err := t.cat.read(ctx, m.path)
	return l, body, err
}
