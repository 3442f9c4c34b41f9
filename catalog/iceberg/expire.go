package iceberg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardlake/cardlake/catalog"
)

// ErrNamed says that a file which must be gone is named by a snapshot that stays: the current
// one, the newest one with stream positions, or what a branch or a tag leads to. Nothing
// happened.
var ErrNamed = errors.New("a snapshot that stays names a file that must be gone")

// GraceError says that a snapshot which names a file that must be gone was current so
// recently that readers may be at work on it. Nothing happened; the same call is possible
// after Until.
type GraceError struct{ Until time.Time }

// Error implements error.
func (e *GraceError) Error() string {
	return "readers may be at work on a snapshot that names a file that must be gone; try again after " + e.Until.UTC().Format(time.RFC3339)
}

// Expiry says which snapshots go. At least one of Before, KeepLast and Names must be set.
//
// The current snapshot never goes, nor its ancestors down to the newest one with stream
// positions, nor what a branch or a tag leads to, nor one that was current within the grace.
type Expiry struct {
	// Before lets the snapshots go that were committed before it; zero: whatever their age, if
	// KeepLast is set.
	Before time.Time
	// KeepLast is how many of the current snapshot and its ancestors stay whatever their age.
	KeepLast int
	// Names are data files of which no snapshot may be left: those that name one go whatever
	// Before and KeepLast say, and their ancestors with them. An error that matches
	// ErrNamed or is a *GraceError says that this is not possible.
	Names []string
	// Grace is how long a snapshot stays after it was current, for readers at work on it. It
	// must exceed the longest query. The catalog's Config.Grace when zero; none when negative.
	Grace time.Duration
	// DryRun only counts what would go.
	DryRun bool
	// Progress, if not nil, is called now and then while objects are deleted, with what is gone
	// so far.
	Progress func(Expired)
}

// Expired counts what is gone.
type Expired struct {
	Snapshots int
	// DataFiles are those that no snapshot names any more, and Bytes what they held.
	DataFiles int
	Bytes     int64
	// Metadata are manifests, manifest lists, statistics and, unless it is a dry run, versions
	// that left the table's log.
	Metadata int
}

// Expire drops old snapshots from the table and then deletes the objects that no snapshot
// names any more. Appends go on beside it.
//
// Whatever it is stopped by, the table is whole, and what it did not come to delete are
// orphans. If some objects cannot be deleted, the error says so and the result counts the
// others. catalog.ErrConflict and catalog.ErrUnknown are as of Append; with both nothing was
// deleted. It holds 16 bytes for each data file of the table in memory, and the manifests of
// all snapshots.
func (t *Table) Expire(ctx context.Context, e Expiry) (Expired, error) {
	done, err := t.expire(ctx, e)
	if err != nil {
		return done, fmt.Errorf("expire snapshots of %s: %w", t.def.FullName(), err)
	}
	return done, nil
}

func (t *Table) expire(ctx context.Context, e Expiry) (Expired, error) {
	switch {
	case t.cat.readOnly && !e.DryRun:
		return Expired{}, errReadOnly
	case e.Before.IsZero() && e.KeepLast == 0 && len(e.Names) == 0:
		return Expired{}, errors.New("one of Before, KeepLast and Names must be set")
	case e.KeepLast < 0:
		return Expired{}, errors.New("KeepLast must not be negative")
	}
	if e.Grace = cmp.Or(e.Grace, t.cat.grace); e.Grace < 0 {
		e.Grace = 0
	}
	x := newExpiry(t, e)
	for n := range replaceAttempts {
		if n > 0 {
			if err := pause(ctx, n); err != nil {
				return Expired{}, err
			}
		}
		base, err := t.load(ctx)
		if err != nil {
			return Expired{}, err
		}
		if err := x.plan(ctx, base); t.hasOutrun(ctx, base, err) {
			continue
		} else if err != nil || len(x.gone) == 0 {
			return Expired{}, err
		}
		if e.DryRun {
			return x.sweep(ctx)
		}
		switch result, o, err := t.drop(ctx, base, x.gone); o {
		case swapped:
			t.remember(result)
			return x.sweep(ctx, t.retireLog(base, result)...)
		case lost:
		case unknown:
			return Expired{}, fmt.Errorf("%w: %w", catalog.ErrUnknown, err)
		default:
			return Expired{}, err
		}
	}
	return Expired{}, fmt.Errorf("%w: others won %d times in a row", catalog.ErrConflict, replaceAttempts)
}

// drop moves the table from base to a version without the snapshots.
func (t *Table) drop(ctx context.Context, base version, gone map[int64]bool) (version, outcome, error) {
	doc := base.doc.without(gone, base.location)
	doc.lastUpdated = max(time.Now().UnixMilli(), doc.lastUpdated)
	result, body, err := t.nextVersion(base, doc)
	if err != nil {
		return version{}, untried, err
	}
	if err := t.cat.put(ctx, body); err != nil {
		t.cat.remove(ctx, body.name)
		return version{}, untried, err
	}
	err = context.Cause(ctx)
	o := untried
	if err == nil {
		o, err = t.cat.pointers.swap(context.WithoutCancel(ctx), t.def, base.location, result.location)
		if o == failed || o == unknown {
			o, err = t.settleVersion(ctx, base, result, o, err)
		}
	}
	if o == untried || o == lost {
		t.cat.remove(ctx, body.name)
	}
	return result, o, err
}

// settleVersion finds out what became of a swap from base to result that returned an error.
// The versions that followed base are in the log of those after them, as far as it goes back.
func (t *Table) settleVersion(ctx context.Context, base, result version, o outcome, cause error) (outcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	v, err := t.load(ctx)
	if err != nil {
		return unknown, fmt.Errorf("%w; then %w", cause, err)
	}
	switch {
	case v.location == result.location:
		return swapped, nil
	case v.location == base.location && o == failed:
		return untried, cause
	case v.location == base.location:
		return unknown, cause
	}
	isAfterBase := false
	for _, m := range v.doc.previous {
		if m.Location == result.location {
			return swapped, nil
		}
		isAfterBase = isAfterBase || m.Location == base.location
	}
	if isAfterBase {
		return lost, cause
	}
	return unknown, cause
}
