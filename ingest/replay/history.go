package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// History is what a worker that replays knows of the transactions table: whether the events
// to be replayed are in it already, however old they are. Their ids and times are read from
// the rejected payloads, so that only the files of those times have to be looked at.
func History(deps Deps, cfg Config, versions map[uint32]int, transactions ingest.Files) ingest.History {
	return func(ctx context.Context, _ time.Duration, _ int64, yield func(cardlake.EventID, int64)) error {
		wanted, first, last, err := candidates(ctx, deps, cfg, versions)
		if err != nil || len(wanted) == 0 {
			return err
		}
		files, err := transactions.Files(ctx, 0)
		if err != nil {
			return err
		}
		for _, f := range files {
			if f.MaxTime < first || f.MinTime > last {
				continue
			}
			body, err := objects.ReadAll(ctx, deps.Store, f.Name)
			if errors.Is(err, keys.ErrDestroyed) {
				continue // the tenant's events do not open any more either
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", f.Name, err)
			}
			err = parquet.EventIDs(body, first, func(id cardlake.EventID, eventTime int64) bool {
				if wanted[id] {
					yield(id, eventTime)
				}
				return true
			})
			if err != nil {
				return fmt.Errorf("read event ids of %s: %w", f.Name, err)
			}
		}
		return nil
	}
}

// candidates are the events among the rejected records, with the range of their times. A
// record that is no event has none.
func candidates(ctx context.Context, deps Deps, cfg Config, versions map[uint32]int) (ids map[cardlake.EventID]bool, first, last int64, err error) {
	files, err := deps.Rejected.Files(ctx, 0)
	if err != nil {
		return nil, 0, 0, err
	}
	reasons := cfg.Reasons
	if len(reasons) == 0 {
		reasons = ingest.Reasons()
	}
	opens := keys.NewEnvelopes(deps.Keys, keys.Seal, keys.EnvelopeConfig{})
	decoder := wire.NewDecoder(deps.Keys, wire.DecoderConfig{SchemaVersions: versions})
	ids = map[cardlake.EventID]bool{}
	for _, f := range files {
		for _, reason := range reasons {
			rows, err := read(ctx, deps.Store, f, reason, 0)
			if err != nil {
				return nil, 0, 0, err
			}
			for _, r := range rows {
				_, value, err := r.open(ctx, opens)
				if err != nil {
					return nil, 0, 0, fmt.Errorf("replay: row %d of %s: %w", r.number, f.Name, err)
				}
				var m card.Message
				if _, err := decoder.Decode(value, &m); err != nil {
					continue
				}
				if len(ids) == 0 {
					first, last = m.EventTime, m.EventTime
				}
				first, last = min(first, m.EventTime), max(last, m.EventTime)
				ids[m.EventID] = true
			}
		}
	}
	return ids, first, last, nil
}
