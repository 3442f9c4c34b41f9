package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cardlake/cardlake/api/spool"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// The states of a question.
const (
	stateRunning   = "running"
	stateDone      = "done"
	stateFailed    = "failed"
	stateCancelled = "cancelled" // by who asked
	stateExpired   = "expired"   // its rows were kept for their time, or gave way to others
)

// Why a question ended before its end.
var (
	errCancelled = problemOf(kindCancelled, "you cancelled the statement: ask again if you need its rows")
	errEnding    = problemOf(kindBusy, "the server ends: ask again")
)

// question is a statement that was asked, and, if it is kept, its answer.
type question struct {
	id       string
	owner    grants.Principal
	caller   grants.Caller // owner, as it asked
	asked    time.Time
	pageRows int64 // 0: all rows are one page
	isKept   bool
	key      idempotencyKey // zero for none
	cancel   context.CancelCauseFunc

	mu      sync.Mutex
	changed chan struct{} // closed when anything below changes
	state   string
	ended   time.Time
	failure error           // of a question that failed
	result  *queries.Result // nil until the engine has answered
	about   state
	rows    *spool.Spool
	count   int64 // rows so far
	bytes   int64 // they take
}

// snapshot is a question at a moment.
type snapshot struct {
	state   string
	ended   time.Time
	failure error
	result  *queries.Result
	about   state
	rows    *spool.Spool
	count   int64
	bytes   int64
	changed <-chan struct{}
}

func (q *question) snapshot() snapshot {
	q.mu.Lock()
	defer q.mu.Unlock()
	return snapshot{q.state, q.ended, q.failure, q.result, q.about, q.rows, q.count, q.bytes, q.changed}
}

// change changes the question and wakes who waits for it. What has ended does not change but
// to lose its rows.
func (q *question) change(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f()
	close(q.changed)
	q.changed = make(chan struct{})
}

// answered is called when the engine has. The rows of a question that was cancelled meanwhile are
// let go: nobody else would.
func (q *question) answered(r *queries.Result, rows *spool.Spool) {
	q.change(func() {
		if q.state == stateRunning {
			q.result, q.about, q.rows = r, stateOf(r), rows
		} else if rows != nil {
			_ = rows.Close()
		}
	})
}

// grew is called when more rows are kept. What was let go meanwhile takes no place.
func (q *question) grew(rows, bytes int64) {
	q.change(func() {
		if q.rows != nil {
			q.count, q.bytes = rows, bytes
		}
	})
}

// end is called when the statement has ended. Rows of one that failed are not kept.
func (q *question) end(err error, now time.Time) {
	q.change(func() {
		if q.state != stateRunning {
			return
		}
		q.state, q.ended, q.failure = stateDone, now, err
		switch {
		case err == nil:
			return
		case errors.Is(err, errCancelled):
			q.state = stateCancelled
		default:
			q.state = stateFailed
		}
		q.free()
	})
}

// drop lets the rows go, for the reason that the state says.
func (q *question) drop(state string, now time.Time) {
	q.change(func() {
		if q.state == stateRunning || q.state == stateDone {
			q.state, q.ended = state, now
		}
		q.free()
	})
}

// free closes the spool. The caller holds the lock.
func (q *question) free() {
	if q.rows != nil {
		_ = q.rows.Close() // nothing of it is needed any more
		q.rows, q.bytes = nil, 0
	}
	q.result = nil
}

// isWhole reports whether the page has all its rows, and whether there is one after it.
func (v snapshot) isWhole(page, pageRows int64) (whole, more bool) {
	if pageRows == 0 {
		return v.state != stateRunning, false
	}
	more = v.count > page*pageRows
	return more || v.state != stateRunning, more
}

// waitFor waits until the page is whole, ctx ends or the time is up, and returns the question as
// it is then.
func (q *question) waitFor(ctx context.Context, page int64, most time.Duration) snapshot {
	var up <-chan time.Time
	if most > 0 {
		timer := time.NewTimer(most)
		defer timer.Stop()
		up = timer.C
	}
	for {
		v := q.snapshot()
		if whole, _ := v.isWhole(page, q.pageRows); whole {
			return v
		}
		select {
		case <-v.changed:
		case <-up:
			return v
		case <-ctx.Done():
			return v
		}
	}
}
