package iceberg

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// replaceAttempts bounds how often maintenance is rebuilt on a table that others moved. It
// takes longer than an Append and so loses more often.
const replaceAttempts = 64

// Replace takes files out of the table and puts others in, in one snapshot, which is durable
// when Replace returns nil. The stream positions go on unchanged.
//
// It is rebuilt on whatever Appends commit meanwhile, and they on it: neither fails for the
// other. Of two that remove the same file one wins; the other's error matches
// catalog.ErrGone, and nothing of it happened. catalog.ErrConflict says that others were
// first too often and nothing happened; catalog.ErrUnknown, that it may have happened: plan
// anew from Files, and delete none of the files of r, which Orphans finds if they are none of
// the table's. With any other error nothing happened. The data files removed stay in the
// store, because older snapshots name them, until Expire; those of r.Add belong to the
// caller again whenever nothing happened.
func (t *Table) Replace(ctx context.Context, r catalog.Replace) (catalog.Snapshot, error) {
	s, err := t.replace(ctx, r)
	if err != nil {
		return catalog.Snapshot{}, fmt.Errorf("replace files of %s: %w", t.def.FullName(), err)
	}
	return s, nil
}

func (t *Table) replace(ctx context.Context, r catalog.Replace) (catalog.Snapshot, error) {
	if t.cat.readOnly {
		return catalog.Snapshot{}, errReadOnly
	}
	remove, err := checkReplace(r)
	if err != nil {
		return catalog.Snapshot{}, err
	}
	c := newCommit(t, string(r.Operation), r.Add)
	x := &replacement{c: c, remove: remove, done: map[string]*manifest{}}
	c.rewrite = x.rewrite
	return c.run(ctx, replaceAttempts, func(have cardlake.Positions) (cardlake.Positions, error) { return have, nil })
}

// checkReplace reports a Replace that no table could take, and returns the names to remove.
func checkReplace(r catalog.Replace) (map[string]bool, error) {
	switch {
	case len(r.Remove) == 0:
		return nil, errors.New("nothing to replace: no file to be removed")
	case r.Operation != catalog.OpReplace && r.Operation != catalog.OpOverwrite && r.Operation != catalog.OpDelete:
		return nil, errors.New("Operation is none of replace, overwrite and delete")
	case (len(r.Add) == 0) != (r.Operation == catalog.OpDelete):
		return nil, fmt.Errorf("operation %s with %d files to be added", r.Operation, len(r.Add))
	}
	remove := make(map[string]bool, len(r.Remove))
	for _, name := range r.Remove {
		if name == "" || remove[name] {
			return nil, fmt.Errorf("file to be removed %q: a name is empty or there twice", name)
		}
		remove[name] = true
	}
	for _, f := range r.Add {
		if remove[f.Name] {
			return nil, fmt.Errorf("data file %s is both removed and added; names are unique for ever", f.Name)
		}
	}
	return remove, nil
}

// replacement removes files from the manifests that hold them.
type replacement struct {
	c      *commit
	remove map[string]bool
	// done are the manifests written so far, by the location of the one they take the place
	// of. Manifests never change, so that a later try uses them again.
	done map[string]*manifest
}

func (x *replacement) rewrite(ctx context.Context, base version, list []*manifest) ([]*manifest, []blob, error) {
	affected, err := x.find(ctx, base, list)
	if err != nil {
		return nil, nil, err
	}
	out := make([]*manifest, 0, len(list)+1)
	var blobs []blob
	for _, m := range list {
		if !affected[m.path] {
			out = append(out, m)
			continue
		}
		rewritten := x.done[m.path]
		if rewritten == nil {
			var body blob
			if rewritten, body, err = x.without(ctx, base, m); err != nil {
				return nil, nil, fmt.Errorf("manifest %s: %w", m.path, err)
			}
			x.done[m.path] = rewritten
			x.c.lasting = append(x.c.lasting, body.name)
			blobs = append(blobs, body)
		}
		placed := *rewritten
		placed.sequence = base.doc.lastSequence + 1
		placed.minSequence = min(placed.minSequence, placed.sequence)
		out = append(out, &placed)
	}
	return out, blobs, nil
}

// find looks for the files among the live ones. It returns the locations of the manifests
// that hold them, and leaves in c.removed what they are.
func (x *replacement) find(ctx context.Context, base version, list []*manifest) (affected map[string]bool, err error) {
	decoded, err := x.c.t.decodeAll(ctx, base, list)
	if err != nil {
		return nil, err
	}
	added := make(map[string]bool, len(x.c.files))
	rows := map[partition]int64{} // removed less added
	for _, f := range x.c.files {
		added[f.Name] = true
		rows[partitionOf(f)] -= f.Rows
	}
	affected = map[string]bool{}
	found := make(map[string]bool, len(x.remove))
	removed := removal{sequences: map[partition]int64{}}
	again := "" // an added file that is live
	for path, files := range decoded {
		for _, f := range files {
			switch {
			case x.remove[f.Name]:
				affected[path], found[f.Name] = true, true
				p := partitionOf(f)
				removed.files++
				removed.rows += f.Rows
				removed.bytes += f.Bytes
				removed.sequences[p] = max(removed.sequences[p], f.Sequence)
				rows[p] += f.Rows
			case added[f.Name]:
				again = f.Name
			}
		}
	}
	for name := range x.remove {
		if !found[name] {
			return nil, fmt.Errorf("%w: %s", catalog.ErrGone, name)
		}
	}
	if again != "" {
		return nil, fmt.Errorf("data file %s is in the table already", again)
	}
	if x.c.operation == string(catalog.OpReplace) {
		for p, n := range rows {
			if n != 0 {
				return nil, fmt.Errorf("operation replace would change the number of rows of a partition (day %s) by %d", p.day, -n)
			}
		}
	}
	x.c.removed = removed
	return affected, nil
}

// without writes m anew with the files marked as deleted by the snapshot. What earlier
// snapshots deleted is left out: it is of interest to those that tell of them (Iceberg
// specification, "Manifest Entry Fields").
func (x *replacement) without(ctx context.Context, base version, m *manifest) (*manifest, blob, error) {
	t := x.c.t
	l, body, err := t.open(ctx, base, m)
	if err != nil {
		return nil, blob{}, err
	}
	name := t.objectName(newUUID().String() + "-m2.avro")
	out := &manifest{
		path: t.cat.locations.uri(name), specID: m.specID, snapshot: x.c.snapshot,
		minSequence: maxSequence, partitions: m.partitions,
	}
	w := l.newContainer(int(m.files()))
	err = l.decode(m, body, func(e entry, file *fileView) error {
		if e.status == statusDeleted {
			return nil
		}
		object, err := t.cat.locations.object(string(file.path))
		if err != nil {
			return err
		}
		if x.remove[object] {
			e.status, e.snapshot = statusDeleted, x.c.snapshot
			out.deleted++
			out.deletedRows += file.rows
		} else {
			out.existing++
			out.existingRows += file.rows
			out.minSequence = min(out.minSequence, e.sequence)
		}
		w.block = e.appendTo(w.block)
		w.end()
		return nil
	})
	if err != nil {
		return nil, blob{}, err
	}
	encoded := w.close()
	out.length = int64(len(encoded))
	return out, blob{name, encoded}, nil
}
