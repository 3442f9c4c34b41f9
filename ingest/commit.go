package ingest

import (
	"context"
	"errors"
	"maps"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// flush closes the open window: rejected records first, then rows and positions. It tries
// until the outcome is known. If ctx ends before, the worker is broken: it commits nothing
// more, because what it would commit could lack the rows of the interrupted window.
//
// Rejected records go first, with positions of their own: if the worker dies in between,
// the window is read again and its rejected records are found in their table (kept).
func (w *Worker) flush(ctx context.Context) error {
	if w.broken != nil {
		return w.broken
	}
	if w.opened.IsZero() {
		return nil
	}
	if w.RejectWriter.Rows() > 0 {
		from, to := w.rejectedRange()
		done, err := w.commit(ctx, w.Rejected, from, to, func() ([]cardlake.DataFile, error) {
			return w.RejectWriter.Flush(ctx, from, to)
		})
		if err != nil || !done {
			w.broken = err
			return err
		}
		maps.Copy(w.rejectedTo, to)
	}
	done, err := w.commit(ctx, w.Transactions, w.from, w.next, func() ([]cardlake.DataFile, error) {
		return w.Writer.Flush(ctx, w.from, w.next)
	})
	if err != nil || !done {
		w.broken = err
		return err
	}
	w.from = maps.Clone(w.next)
	w.publish()
	w.stats.commits.Add(1)
	w.stats.lastCommit.Store(w.cfg.Now().UnixMicro())
	w.stats.watermark.Store(w.newest)
	w.drop()
	if err := w.Source.Commit(ctx, w.from); err != nil {
		w.Log.Warn("publish offsets for lag monitors", "error", err)
	}
	return nil
}

// rejectedRange is where the rejected table stands for the partitions that are owned, and
// where the window takes it. After a death between the two commits it is ahead of the window
// and stays there.
func (w *Worker) rejectedRange() (from, to cardlake.Positions) {
	from, to = cardlake.Positions{}, cardlake.Positions{}
	for p, next := range w.next {
		from[p], to[p] = w.rejectedTo[p], w.rejectedTo[p]
		if next.Next > to[p].Next || next.Next == to[p].Next && next.Mark != "" {
			to[p] = next
		}
	}
	return from, to
}

// commit writes the files and appends them with the positions from..to. done is false
// when the table has moved: then the window was dropped and reading begins again at the
// table's positions.
func (w *Worker) commit(ctx context.Context, table Table, from, to cardlake.Positions, write func() ([]cardlake.DataFile, error)) (done bool, err error) {
	var files []cardlake.DataFile
	for attempt := 0; ; attempt++ {
		if files, err = write(); err == nil {
			break
		}
		w.stats.putErrors.Add(1)
		w.Log.Error("write files", "error", err)
		if !sleep(ctx, backoff(attempt)) {
			return false, ctx.Err()
		}
	}
	a := catalog.Append{Files: files, From: maps.Clone(from), To: maps.Clone(to)}
	for attempt := 0; ; attempt++ {
		_, err := table.Append(ctx, a)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, catalog.ErrConflict):
			w.stats.conflicts.Add(1)
			w.Log.Warn("fenced: the table moved; going back to its positions", "error", err)
			return false, w.rewind(ctx)
		case errors.Is(err, catalog.ErrUnknown):
			w.stats.unknown.Add(1)
			w.Log.Warn("commit of unknown outcome; rereading positions", "error", err)
			happened, known := w.outcome(ctx, table, a)
			if !known {
				return false, ctx.Err()
			}
			if happened {
				return true, nil
			}
		default:
			w.stats.appendErrors.Add(1)
			w.Log.Error("append", "error", err)
		}
		if !sleep(ctx, backoff(attempt)) {
			return false, ctx.Err()
		}
	}
}

// outcome rereads the table's positions until they can be read, and tells whether the
// append happened. If they are at neither end, the next Append will say ErrConflict.
func (w *Worker) outcome(ctx context.Context, table Table, a catalog.Append) (happened, known bool) {
	for attempt := 0; ; attempt++ {
		p, err := table.Positions(ctx)
		if err == nil {
			return p.Holds(a.To), true
		}
		w.Log.Error("reread positions", "error", err)
		if !sleep(ctx, backoff(attempt)) {
			return false, false
		}
	}
}
