package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// Files lists the data files of a table's snapshot; 0 is the current one.
type Files interface {
	Files(ctx context.Context, snapshotID int64) ([]cardlake.DataFile, error)
}

// HistoryOf returns the History of the transactions table, read from its newest files.
func HistoryOf(table Files, store objects.Store) History {
	return func(ctx context.Context, window time.Duration, now int64, yield func(cardlake.EventID, int64)) error {
		files, err := table.Files(ctx, 0)
		if err != nil {
			return err
		}
		var newest int64
		for _, f := range files {
			newest = max(newest, f.MaxTime)
		}
		// A clock that ran ahead must not hide the rest.
		since := min(newest, now) - window.Microseconds()
		for _, f := range files {
			if f.MaxTime < since {
				continue
			}
			body, err := objects.ReadAll(ctx, store, f.Name)
			if errors.Is(err, keys.ErrDestroyed) {
				continue // the tenant's events do not open any more either
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", f.Name, err)
			}
			err = parquet.EventIDs(body, since, func(id cardlake.EventID, eventTime int64) bool {
				yield(id, eventTime)
				return true
			})
			if err != nil {
				return fmt.Errorf("read event ids of %s: %w", f.Name, err)
			}
		}
		return nil
	}
}

// KeptIn returns the Kept of the rejected table.
func KeptIn(table Files, store objects.Store) Kept {
	return func(ctx context.Context, yield func(cardlake.Position)) error {
		files, err := table.Files(ctx, 0)
		if err != nil {
			return err
		}
		for _, f := range files {
			body, err := objects.ReadAll(ctx, store, f.Name)
			if err != nil {
				return fmt.Errorf("read %s: %w", f.Name, err)
			}
			err = parquet.Positions(ctx, body, func(p cardlake.Position) bool { yield(p); return true })
			if err != nil {
				return fmt.Errorf("read positions of %s: %w", f.Name, err)
			}
		}
		return nil
	}
}
