package ingest

import (
	"sync/atomic"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers"
)

// window is what lies between two positions of the worker's partitions: rows, rejected rows.
// The loop fills it; closed, it is the committer's; committed, it stays for readers of the
// tail. Whoever lets it go last gives its memory back.
type window struct {
	rows    *writers.Window
	rejects *writers.RejectedWindow
	// from is where it begins, to (when it is closed) where it ends, in every partition that
	// the worker owns.
	from, to cardlake.Positions
	opened   time.Time
	newest   int64 // event time of all rows so far, those of earlier windows included
	holders  atomic.Int32
}

// openWindow begins a window at the worker's positions.
func (w *Worker) openWindow(now time.Time) *window {
	o := &window{rows: w.Writer.Open(), rejects: w.RejectWriter.Open(), from: w.next(), opened: now, newest: w.newest}
	o.holders.Store(1)
	return o
}

// hold keeps the window's memory until one more release.
func (o *window) hold() { o.holders.Add(1) }

func (o *window) release() {
	if o.holders.Add(-1) == 0 {
		o.rows.Release()
		o.rejects.Release()
	}
}
