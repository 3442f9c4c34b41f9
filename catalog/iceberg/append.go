package iceberg

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
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
	// What earlier commits made superfluous is removed meanwhile.
	var wg sync.WaitGroup
	defer wg.Wait()
	if due := t.due(); len(due) > 0 {
		wg.Go(func() { t.cat.remove(ctx, due...) })
	}
	c := newCommit(t, a.Files)
	for attempts := range appendAttempts {
		if attempts > 0 {
			if err := pause(ctx, attempts); err != nil {
				c.takeBack(ctx, true)
				return catalog.Snapshot{}, err
			}
		}
		base, positions, err := t.ready(ctx, a)
		if err != nil {
			c.takeBack(ctx, true)
			return catalog.Snapshot{}, err
		}
		result, o, err := c.try(ctx, base, positions.Merge(a.To))
		if o == failed || o == unknown {
			var s *catalog.Snapshot
			if o, s, err = t.settle(ctx, c, base, o, err); s != nil {
				return *s, nil
			}
		}
		switch o {
		case swapped:
			t.remember(result)
			t.retire(context.WithoutCancel(ctx), base, result)
			return result.current()
		case lost:
			c.takeBack(ctx, false)
		case unknown:
			return catalog.Snapshot{}, fmt.Errorf("%w: %w", catalog.ErrUnknown, err)
		default:
			c.takeBack(ctx, true)
			return catalog.Snapshot{}, err
		}
	}
	c.takeBack(ctx, true)
	return catalog.Snapshot{}, fmt.Errorf("%w: others won %d times in a row", catalog.ErrConflict, appendAttempts)
}

// ready returns the version to append to and its positions.
func (t *Table) ready(ctx context.Context, a catalog.Append) (version, cardlake.Positions, error) {
	base, err := t.load(ctx)
	if err != nil {
		return version{}, nil, err
	}
	positions, err := base.doc.positions()
	if err != nil {
		return version{}, nil, err
	}
	return base, positions, fence(positions, a)
}

// settle finds out what became of a commit whose swap returned an error. It returns the
// snapshot if it is in the table, and otherwise what is known of the commit then.
func (t *Table) settle(ctx context.Context, c *commit, base version, o outcome, cause error) (outcome, *catalog.Snapshot, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	v, err := t.load(ctx)
	if err != nil {
		return unknown, nil, fmt.Errorf("%w; then %w", cause, err)
	}
	isWhole := false // whether every commit since base is still kept
	for _, s := range v.doc.ancestry(v.doc.current) {
		if s.Summary[appendProperty] == c.id {
			p, err := s.own()
			if err != nil {
				return unknown, nil, err
			}
			found := s.snapshot(p.Clone())
			return swapped, &found, nil
		}
		if base.doc.current == nil && s.Parent == 0 || base.doc.current != nil && base.doc.current.ID == s.ID {
			isWhole = true
			break
		}
	}
	switch {
	case v.location != base.location && isWhole:
		// Another commit was first, and the swap cannot succeed after it: names of metadata
		// objects do not come back.
		return lost, nil, cause
	case v.location != base.location, o == unknown:
		return unknown, nil, cause
	}
	return untried, nil, cause
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
