package retention

import (
	"context"
	"errors"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
)

// Of returns an Iceberg table as a Keeper takes it. Grace is how long a snapshot stays after
// it was current, for readers at work on it, and is waited for; none when zero.
func Of(t *iceberg.Table, grace time.Duration) Table {
	if grace == 0 {
		grace = -1 // what iceberg.Expiry takes for none
	}
	return icebergTable{t, grace}
}

type icebergTable struct {
	*iceberg.Table
	grace time.Duration
}

// maxLooks bounds how often the newest snapshot and its files are read as one.
const maxLooks = 1000

// Live implements Table.
func (t icebergTable) Live(ctx context.Context) (catalog.Snapshot, []cardlake.DataFile, error) {
	for range maxLooks {
		s, err := t.Current(ctx)
		if err != nil || s.ID == 0 {
			return s, nil, err
		}
		files, err := t.Files(ctx, s.ID)
		if errors.Is(err, iceberg.ErrNoSnapshot) {
			continue // it expired in between
		}
		return s, files, err
	}
	return catalog.Snapshot{}, nil, iceberg.ErrNoSnapshot
}

// Named implements Table.
func (t icebergTable) Named(ctx context.Context) ([]string, error) {
	files, err := t.NamedFiles(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
	}
	return names, nil
}

// Forget implements Table.
func (t icebergTable) Forget(ctx context.Context, names []string) (int, error) {
	snapshots := 0
	for {
		done, err := t.Expire(ctx, iceberg.Expiry{Names: names, Grace: t.grace})
		snapshots += done.Snapshots
		var early *iceberg.GraceError
		if !errors.As(err, &early) {
			return snapshots, err
		}
		wait := time.NewTimer(time.Until(early.Until) + time.Millisecond)
		select {
		case <-ctx.Done():
			wait.Stop()
			return snapshots, errors.Join(err, ctx.Err())
		case <-wait.C:
		}
	}
}
