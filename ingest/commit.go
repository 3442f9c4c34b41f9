package ingest

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// close hands the open window to the committer, waiting for room. The error says that the
// pipeline has stopped: the window is then still open.
func (w *Worker) close(ctx context.Context) error {
	o := w.open
	if o == nil {
		return nil
	}
	o.to = w.next()
	if err := w.pipe.push(ctx, o); err != nil {
		return err
	}
	w.rows.Lock()
	w.newest, w.open = o.newest, nil
	w.rows.Unlock()
	return nil
}

// drain commits all that was taken. If it cannot, because the table moved, the worker goes
// back to the table's positions.
func (w *Worker) drain(ctx context.Context) error {
	err := w.close(ctx)
	if err == nil {
		err = w.pipe.empty(ctx)
	}
	if errors.Is(err, errFenced) {
		return w.rewind(ctx)
	}
	return err
}

// spill writes the smallest batches of the open window, trying until it succeeds. It reports
// whether ctx is still going on.
func (w *Worker) spill(ctx context.Context) bool {
	w.rows.Lock()
	defer w.rows.Unlock()
	for attempt := 0; ; attempt++ {
		err := w.open.rows.Spill(ctx, w.open.from, w.next())
		if err == nil {
			return true
		}
		w.stats.putErrors.Add(1)
		w.Log.Error("write files", "error", err)
		if !sleep(ctx, backoff(attempt)) {
			return false
		}
	}
}

// commitAll is the committer: it commits closed windows until ctx ends. If ctx ends while
// one is in the making it commits nothing more, because what follows could lack that
// window's rows.
func (w *Worker) commitAll(ctx context.Context) {
	for {
		o, err := w.pipe.first(ctx)
		if err != nil {
			return
		}
		if o == nil {
			continue
		}
		began := time.Now()
		err = w.land(ctx, o)
		w.observe(Stage{Name: StageCommit, Began: began, Records: o.rows.Rows(), Err: err})
		if err == nil {
			w.stats.commits.Add(1)
			w.stats.lastCommit.Store(w.cfg.Now().UnixMicro())
			w.stats.watermark.Store(o.newest)
			if err := w.Source.Commit(ctx, o.to); err != nil {
				w.Log.Warn("publish offsets for lag monitors", "error", err)
			}
		}
		w.pipe.done(o, err)
	}
}

// land commits the window: rejected records first, then rows and positions. It tries until
// the outcome is known.
//
// Rejected records go first, with positions of their own: if the worker dies in between,
// the window is read again and its rejected records are found in their table (kept).
func (w *Worker) land(ctx context.Context, o *window) error {
	if o.rejects.Rows() > 0 {
		from, to := w.rejectedRange(o)
		err := w.commit(ctx, w.Rejected, from, to, func() ([]cardlake.DataFile, error) {
			return o.rejects.Flush(ctx, from, to)
		})
		if err != nil {
			return err
		}
		maps.Copy(w.pipe.rejectedTo, to)
	}
	return w.commit(ctx, w.Transactions, o.from, o.to, func() ([]cardlake.DataFile, error) {
		return o.rows.Flush(ctx, o.from, o.to)
	})
}

// rejectedRange is where the rejected table stands for the partitions that are owned, and
// where the window takes it. After a death between the two commits it is ahead of the window
// and stays there.
func (w *Worker) rejectedRange(o *window) (from, to cardlake.Positions) {
	from, to = cardlake.Positions{}, cardlake.Positions{}
	for p, next := range o.to {
		at := w.pipe.rejectedTo[p]
		from[p], to[p] = at, at
		if next.Next > at.Next || next.Next == at.Next && next.Mark != "" {
			to[p] = next
		}
	}
	return from, to
}

// commit writes the files and appends them with the positions from..to. errFenced says that
// the table has moved, any other error that ctx ended.
func (w *Worker) commit(ctx context.Context, table Table, from, to cardlake.Positions, write func() ([]cardlake.DataFile, error)) error {
	var files []cardlake.DataFile
	began := time.Now()
	for attempt := 0; ; attempt++ {
		var err error
		if files, err = write(); err == nil {
			break
		}
		w.stats.putErrors.Add(1)
		w.Log.Error("write files", "error", err)
		if !sleep(ctx, backoff(attempt)) {
			return ctx.Err()
		}
	}
	w.observe(Stage{Name: StageWrite, Began: began, Files: files})
	began = time.Now()
	a := catalog.Append{Files: files, From: maps.Clone(from), To: maps.Clone(to)}
	for attempt := 0; ; attempt++ {
		_, err := table.Append(ctx, a)
		switch {
		case err == nil:
			w.observe(Stage{Name: StageAppend, Began: began})
			return nil
		case errors.Is(err, catalog.ErrConflict):
			w.stats.conflicts.Add(1)
			w.Log.Warn("fenced: the table moved; going back to its positions", "error", err)
			return errFenced
		case errors.Is(err, catalog.ErrUnknown):
			w.stats.unknown.Add(1)
			w.Log.Warn("commit of unknown outcome; rereading positions", "error", err)
			happened, known := w.outcome(ctx, table, a)
			if !known {
				return ctx.Err()
			}
			if happened {
				w.observe(Stage{Name: StageAppend, Began: began})
				return nil
			}
		default:
			w.stats.appendErrors.Add(1)
			w.Log.Error("append", "error", err)
		}
		if !sleep(ctx, backoff(attempt)) {
			return ctx.Err()
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
