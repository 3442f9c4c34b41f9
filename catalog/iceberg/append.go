package iceberg

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

const (
	// appendAttempts bounds how often an Append is rebuilt on a table that others moved.
	appendAttempts = 16
	// settleTime bounds the work that goes on although the caller's context is cancelled:
	// finding out what became of a commit, and taking back what was not committed.
	settleTime = 15 * time.Second
)

// Append commits the files and the positions in one snapshot, which is durable when Append
// returns nil.
//
// Commits of other partitions that happen meanwhile are not conflicts: Append rebuilds on
// the newer table as long as its positions still hold From. When it returns an error that
// matches catalog.ErrConflict, nothing happened and the table has moved; catalog.ErrUnknown,
// the commit may be in the table now or come back with it after a crash. With any other
// error nothing happened: the append was malformed, or an object or the catalog could not be
// read or written, and the same Append may be tried again.
func (t *Table) Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error) {
	s, err := t.append(ctx, a)
	if err != nil {
		return catalog.Snapshot{}, fmt.Errorf("append to %s: %w", t.def.FullName(), err)
	}
	return s, nil
}

func (t *Table) append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error) {
	if t.cat.readOnly {
		return catalog.Snapshot{}, errors.New("the catalog is read-only")
	}
	if err := check(a); err != nil {
		return catalog.Snapshot{}, err
	}
	id := appendID()
	for attempts := range appendAttempts {
		if attempts > 0 {
			if err := pause(ctx, attempts); err != nil {
				return catalog.Snapshot{}, err
			}
		}
		base, err := t.load(ctx)
		if err != nil {
			return catalog.Snapshot{}, err
		}
		positions, err := base.positions()
		if err != nil {
			return catalog.Snapshot{}, err
		}
		if err := fence(positions, a); err != nil {
			return catalog.Snapshot{}, err
		}
		c := &commit{t: t, base: base, storage: t.cat.storage(ctx)}
		err = c.run(ctx, a.Files, positions.Merge(a.To), id)
		switch c.swap {
		case swapped:
			// Whatever err says came after the commit.
			t.remember(c.result)
			c.sweep()
			return c.result.current()
		case untried:
			c.storage.removeCreated()
			return catalog.Snapshot{}, err
		case lost:
			c.storage.removeCreated()
		case failed:
			return t.settle(ctx, id, err)
		}
	}
	return catalog.Snapshot{}, fmt.Errorf("%w: others won %d times in a row", catalog.ErrConflict, appendAttempts)
}

// settle finds out what became of a commit whose swap returned an error.
func (t *Table) settle(ctx context.Context, id string, cause error) (catalog.Snapshot, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	v, err := t.load(ctx)
	if err != nil {
		return catalog.Snapshot{}, fmt.Errorf("%w: %w; then %w", catalog.ErrUnknown, cause, err)
	}
	for _, s := range v.ancestry() {
		if property(s, appendProperty) != id {
			continue
		}
		p, err := positionsOf(s)
		if err != nil {
			return catalog.Snapshot{}, fmt.Errorf("%w: %w", catalog.ErrUnknown, err)
		}
		return snapshotOf(s, p), nil
	}
	if isIOError(cause) {
		return catalog.Snapshot{}, fmt.Errorf("%w: %w", catalog.ErrUnknown, cause)
	}
	return catalog.Snapshot{}, cause
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

// appendID is 128 random bits in letters.
func appendID() string {
	var b [16]byte
	rand.Read(b[:])
	return string(cardlake.AppendLetters(nil, b[:]))
}

// pause waits a random time that grows with the number of attempts, so that writers that
// collide do not collide again in step.
func pause(ctx context.Context, attempts int) error {
	most := min(5*time.Millisecond<<attempts, 500*time.Millisecond)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(mathrand.N(most)):
		return nil
	}
}
