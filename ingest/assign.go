package ingest

import (
	"context"
	"fmt"

	"github.com/cardlake/cardlake"
)

// assignee is the Worker as its source sees it. Its callbacks work under the worker's
// context, which outlives the source's at shutdown.
type assignee struct {
	*Worker
	ctx context.Context
}

// Assigned commits what was taken and goes to the table's positions.
func (a assignee) Assigned(parts []cardlake.StreamPartition) (cardlake.Positions, error) {
	w, ctx := a.Worker, a.ctx
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.drain(ctx); err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		known, err := w.load(ctx, parts)
		if err == nil {
			w.Log.Info("partitions assigned", "partitions", len(parts), "positions", known.String(), "known_events", w.seen.len())
			return known, nil
		}
		w.Log.Error("take over partitions", "error", err)
		if !sleep(ctx, backoff(attempt)) {
			return nil, err
		}
	}
}

// Revoked commits what was taken, or drops it when the partitions are lost, because then it
// could only lose the race.
func (a assignee) Revoked(parts []cardlake.StreamPartition, lost bool) {
	w, ctx := a.Worker, a.ctx
	w.mu.Lock()
	defer w.mu.Unlock()
	isClean := !lost && w.drain(ctx) == nil
	w.rows.Lock()
	for _, p := range parts {
		delete(w.parts, p)
	}
	w.rows.Unlock()
	if isClean {
		w.pipe.forget(parts)
		return
	}
	// Dropping the rows of the lost partitions drops the others' with them.
	_ = w.rewind(ctx)
}

// rewind drops all that is not committed and goes back to the table's positions. It fails
// only when ctx ends.
func (w *Worker) rewind(ctx context.Context) error {
	w.rewinds++
	if err := w.pipe.abandon(ctx); err != nil {
		return err
	}
	w.drop()
	parts := make([]cardlake.StreamPartition, 0, len(w.parts))
	for p := range w.parts {
		parts = append(parts, p)
	}
	for attempt := 0; ; attempt++ {
		_, err := w.load(ctx, parts)
		if err == nil {
			break
		}
		w.Log.Error("go back to the table's positions", "error", err)
		if !sleep(ctx, backoff(attempt)) {
			return err
		}
	}
	w.Source.Seek(w.next())
	return nil
}

// drop forgets the open window.
func (w *Worker) drop() {
	w.rows.Lock()
	defer w.rows.Unlock()
	if w.open != nil {
		w.open.release()
		w.open = nil
	}
}

// load reads the truth from the tables: the positions of the partitions, which it returns as
// far as the table knows them, the newest event ids, and what of the partitions is rejected
// already. Nothing may be open or waiting for its commit.
func (w *Worker) load(ctx context.Context, parts []cardlake.StreamPartition) (cardlake.Positions, error) {
	positions, err := w.Transactions.Positions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	rejected, err := w.Rejected.Positions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read positions of rejected records: %w", err)
	}
	totals := cardlake.Positions{}
	if w.TotalsWriter != nil {
		if totals, err = w.Totals.Positions(ctx); err != nil {
			return nil, fmt.Errorf("read positions of control totals: %w", err)
		}
	}
	var ends map[cardlake.StreamPartition]int64
	if source, ok := w.Source.(Ender); ok && len(parts) > 0 {
		if ends, err = source.Ends(ctx, parts); err != nil {
			return nil, fmt.Errorf("read where the partitions end: %w", err)
		}
	}
	known, isAhead := cardlake.Positions{}, false
	for _, p := range parts {
		if at, ok := positions[p]; ok {
			known[p] = at
		}
		isAhead = isAhead || rejected[p].Next > positions[p].Next
	}
	kept := map[cardlake.Position]bool{}
	if isAhead {
		err := w.Kept(ctx, func(p cardlake.Position) {
			if p.Offset >= positions[p.StreamPartition].Next {
				kept[p] = true
			}
		})
		if err != nil {
			return nil, fmt.Errorf("read rejected records: %w", err)
		}
	}
	w.seen.reset()
	now := w.cfg.Now().UnixMicro()
	var newest int64
	err = w.History(ctx, w.cfg.Dedup, now, func(id cardlake.EventID, eventTime int64) {
		eventTime = min(eventTime, now)
		w.seen.add(id, eventTime)
		newest = max(newest, eventTime)
	})
	if err != nil {
		return nil, fmt.Errorf("read newest event ids: %w", err)
	}
	w.rows.Lock()
	defer w.rows.Unlock()
	for _, p := range parts {
		w.parts[p] = &part{next: positions[p], until: ends[p], newest: newest}
	}
	w.newest = max(w.newest, newest)
	for p := range kept {
		if w.kept == nil {
			w.kept = map[cardlake.Position]bool{}
		}
		w.kept[p] = true
	}
	w.landed = totals
	w.pipe.resume(w.next(), cardlake.Positions{}.Merge(rejected), cardlake.Positions{}.Merge(totals))
	return known, nil
}
