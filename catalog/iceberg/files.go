package iceberg

import (
	"context"
	"errors"
	"fmt"

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

func (t *Table) files(ctx context.Context, snapshotID int64) ([]cardlake.DataFile, error) {
	v, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	s := v.doc.current
	if snapshotID != 0 {
		if s = v.doc.byID(snapshotID); s == nil {
			return nil, fmt.Errorf("snapshot %d: %w", snapshotID, ErrNoSnapshot)
		}
	}
	if s == nil {
		return nil, nil
	}
	manifests, err := s.list(ctx, t.cat)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	known := t.manifests
	t.mu.Unlock()
	total := int64(0)
	decoded := make(map[string][]cardlake.DataFile, len(manifests))
	for _, m := range manifests {
		some, ok := known[m.path]
		if !ok {
			if some, err = t.decode(ctx, v, m); err != nil {
				return nil, fmt.Errorf("manifest %s: %w", m.path, err)
			}
		}
		decoded[m.path] = some
		total += int64(len(some))
	}
	files := make([]cardlake.DataFile, 0, total)
	for _, m := range manifests {
		files = append(files, decoded[m.path]...)
	}
	t.mu.Lock()
	t.manifests = decoded
	t.mu.Unlock()
	return files, nil
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
