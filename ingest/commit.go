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
	w.rows.Lock() // Tail looks at it while the window is open
	o.to = w.next()
	w.rows.Unlock()
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
	for attempt := 0; ; attempt++ {
		err := w.open.rows.Spill(ctx, w.open.from, w.next())
		w.rows.Lock()
		w.open.rows.LetGo()
		w.rows.Unlock()
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
		w.observe(Stage{Name: StageCommit, Began: began, Records: o.rows.Rows(), Opened: o.opened, Err: err})
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

// land commits the window: rejected records and control totals first, then rows and
// positions. It tries until the outcome is known.
//
// The others go first, with positions of their own: if the worker dies in between, the
// window is read again, its rejected records are found in their table (kept), and totals
// before their table's position are passed over.
func (w *Worker) land(ctx context.Context, o *window) error {
	if o.rejects.Rows() > 0 {
		if err := w.landBefore(ctx, w.Rejected, w.pipe.rejectedTo, o, o.rejects.Flush); err != nil {
			return err
		}
	}
	if o.totals != nil && o.totals.Rows() > 0 {
		if err := w.landBefore(ctx, w.Totals, w.pipe.totalsTo, o, o.totals.Flush); err != nil {
			return err
		}
	}
	return w.commit(ctx, w.Transactions, o.from, o.to, func() ([]cardlake.DataFile, error) {
		return o.rows.Flush(ctx, o.from, o.to)
	})
}

// landBefore commits the window's part of a table that goes before the transactions, from
// where that table stands. After a death between the commits it is ahead of the window and
// stays there.
func (w *Worker) landBefore(ctx context.Context, table Table, at cardlake.Positions, o *window,
	flush func(ctx context.Context, from, to cardlake.Positions) ([]cardlake.DataFile, error)) error {
	from, to := cardlake.Positions{}, cardlake.Positions{}
	for p, next := range o.to {
		from[p], to[p] = at[p], at[p]
		if next.Next > at[p].Next || next.Next == at[p].Next && next.Mark != "" {
			to[p] = next
		}
	}
	err := w.commit(ctx, table, from, to, func() ([]cardlake.DataFile, error) { return flush(ctx, from, to) })
	if err == nil {
		maps.Copy(at, to)
	}
	return err
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
