package ingest

import (
	"sync/atomic"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers"
)

// window is what lies between two positions of the worker's partitions: rows, rejected rows,
// control totals.
// The loop fills it; closed, it is the committer's; committed, it stays for readers of the
// tail. Whoever lets it go last gives its memory back.
type window struct {
	rows    *writers.Window
	rejects *writers.RejectedWindow
	totals  *writers.TotalsWindow // nil if the worker has no writer of them
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
	if w.TotalsWriter != nil {
		o.totals = w.TotalsWriter.Open()
	}
	o.holders.Store(1)
	return o
}

// records is how many rows it has in all tables.
func (o *window) records() int {
	n := o.rows.Rows() + o.rejects.Rows()
	if o.totals != nil {
		n += o.totals.Rows()
	}
	return n
}

// hold keeps the window's memory until one more release. It reports false if the last holder
// has let go already.
func (o *window) hold() bool {
	for {
		n := o.holders.Load()
		if n == 0 {
			return false
		}
		if o.holders.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (o *window) release() {
	if o.holders.Add(-1) == 0 {
		o.rows.Release()
		o.rejects.Release()
		if o.totals != nil {
			o.totals.Release()
		}
	}
}
