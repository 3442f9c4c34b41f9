package iceberg

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// settleTime bounds the work that goes on although the caller's context is cancelled:
// finding out what became of a commit, and taking back what was not committed.
const settleTime = 15 * time.Second

var errReadOnly = errors.New("the catalog is read-only")

// run tries the commit on the newest version of the table until it is in, is refused, or
// others were first attempts times in a row. next says which positions the snapshot has
// where the table has those given, or refuses them.
func (c *commit) run(ctx context.Context, attempts int, next func(cardlake.Positions) (cardlake.Positions, error)) (catalog.Snapshot, error) {
	t := c.t
	// What earlier commits made superfluous is removed meanwhile.
	var wg sync.WaitGroup
	defer wg.Wait()
	if due := t.due(); len(due) > 0 {
		wg.Go(func() { t.cat.remove(ctx, due...) })
	}
	for n := range attempts {
		if n > 0 {
			if err := pause(ctx, n); err != nil {
				c.takeBack(ctx, true)
				return catalog.Snapshot{}, err
			}
		}
		base, positions, err := t.ready(ctx, next)
		if err != nil {
			c.takeBack(ctx, true)
			return catalog.Snapshot{}, err
		}
		result, o, err := c.try(ctx, base, positions)
		if o == untried && t.hasOutrun(ctx, base, err) {
			o = lost
		}
		if o == failed || o == unknown {
			var s *catalog.Snapshot
			if o, s, err = t.settle(ctx, c.id, base, o, err); s != nil {
				return *s, nil
			}
		}
		switch o {
		case swapped:
			t.remember(result)
			c.tidy(ctx)
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
	return catalog.Snapshot{}, fmt.Errorf("%w: others won %d times in a row", catalog.ErrConflict, attempts)
}

// ready returns the version to commit to and the positions of the commit.
func (t *Table) ready(ctx context.Context, next func(cardlake.Positions) (cardlake.Positions, error)) (version, cardlake.Positions, error) {
	base, err := t.load(ctx)
	if err != nil {
		return version{}, nil, err
	}
	positions, err := base.doc.positions()
	if err == nil {
		positions, err = next(positions)
	}
	return base, positions, err
}

// settle finds out what became of a commit whose swap returned an error. It returns the
// snapshot if it is in the table, and otherwise what is known of the commit then.
func (t *Table) settle(ctx context.Context, id string, base version, o outcome, cause error) (outcome, *catalog.Snapshot, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	v, err := t.load(ctx)
	if err != nil {
		return unknown, nil, fmt.Errorf("%w; then %w", cause, err)
	}
	isWhole := false // whether every commit since base is still kept
	for _, s := range v.doc.ancestry(v.doc.current) {
		if s.Summary[appendProperty] == id {
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

// appendID is 128 random bits in letters, of one call that commits.
func appendID() string {
	var b [16]byte
	cryptorand.Read(b[:])
	return string(cardlake.AppendLetters(nil, b[:]))
}

// pause waits a random time that grows with the number of attempts, so that writers that
// collide do not collide again in step.
func pause(ctx context.Context, attempts int) error {
	most := min(5*time.Millisecond<<attempts, 500*time.Millisecond)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(rand.N(most)):
		return nil
	}
}
