package iceberg

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// appendAttempts bounds how often an Append is rebuilt on a table that others moved.
const appendAttempts = 16

// Append commits the files and the positions in one snapshot, which is durable when Append
// returns nil.
//
// Commits of other partitions and of maintenance that happen meanwhile are not conflicts:
// Append rebuilds on the newer table as long as its positions still hold From. When it
// returns an error that matches catalog.ErrConflict, nothing happened and the table has
// moved; catalog.ErrUnknown, the commit may be in the table now or come back with it after a
// crash. With any other error nothing happened: the append was malformed, or an object or the
// catalog could not be read or written, and the same Append may be tried again.
func (t *Table) Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error) {
	s, err := t.append(ctx, a)
	if err != nil {
		return catalog.Snapshot{}, fmt.Errorf("append to %s: %w", t.def.FullName(), err)
	}
	return s, nil
}

func (t *Table) append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error) {
	if t.cat.readOnly {
		return catalog.Snapshot{}, errReadOnly
	}
	if err := check(a); err != nil {
		return catalog.Snapshot{}, err
	}
	c := newCommit(t, "append", a.Files)
	c.rewrite = func(ctx context.Context, base version, list []*manifest) ([]*manifest, []blob, error) {
		return t.merge(ctx, base, list, c.snapshot, t.objectName(newUUID().String()+"-m1.avro"))
	}
	return c.run(ctx, appendAttempts, func(have cardlake.Positions) (cardlake.Positions, error) {
		return have.Merge(a.To), fence(have, a)
	})
}

// check reports an append that no table could take.
func check(a catalog.Append) error {
	if len(a.Files) == 0 && len(a.To) == 0 {
		return errors.New("nothing to append: no file and no position")
	}
	for sp, to := range a.To {
		if sp.Stream == "" || sp.Partition < 0 || to.Next < a.From[sp].Next || a.From[sp].Next < 0 {
			return fmt.Errorf("positions of %s go from %d to %d", sp, a.From[sp].Next, to.Next)
		}
	}
	return nil
}

// fence reports ErrConflict unless the table is where the append begins, in every partition
// it moves. A partition that From does not name begins at 0.
func fence(have cardlake.Positions, a catalog.Append) error {
	moved := func(sp cardlake.StreamPartition) error {
		return fmt.Errorf("%w: %s is at %d, the append begins at %d", catalog.ErrConflict, sp, have[sp].Next, a.From[sp].Next)
	}
	for sp, from := range a.From {
		if have[sp] != from {
			return moved(sp)
		}
	}
	for sp := range a.To {
		if have[sp] != a.From[sp] {
			return moved(sp)
		}
	}
	return nil
}
