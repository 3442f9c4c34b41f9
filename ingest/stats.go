package ingest

import (
	"sync"
	"sync/atomic"
	"time"
)

// Stats counts what a worker did since it was made.
type Stats struct {
	Records    int64 // taken from the stream
	Rows       int64 // added to a window
	Totals     int64 // control totals added to a window
	Duplicates int64 // dropped, their event was in the lake or in the window
	Offboarded int64 // dropped, their tenant is off-boarded
	Late       int64 // further behind the newest event than Config.LateAfter
	OutOfOrder int64 // behind the newest event, late ones included

	Rejected map[string]int64 // by reason

	Commits      int64
	Conflicts    int64 // fenced: the table moved
	Unknown      int64 // commits whose outcome had to be reread
	AppendErrors int64
	PutErrors    int64
	PollErrors   int64
	KeyRetries   int64
	PinRetries   int64 // chunks whose cards the vault did not pin

	Removals []Removal // of card numbers in free texts, by tenant and field

	LastCommit time.Time // zero before the first
	Watermark  time.Time // newest event time that is committed; zero before the first
}

// reasons are the values of the column reason, in the order of stats.rejected.
var reasons = [...]string{"undecodable", "unknown_schema", "unknown_tenant", "unopenable", "invalid_field"}

// Reasons are the values of the column reason. Their order is fixed: a replay's positions
// depend on it.
func Reasons() []string { return reasons[:] }

type stats struct {
	records, rows, totals, duplicates, offboarded, late, outOfOrder                              atomic.Int64
	commits, conflicts, unknown                                                                  atomic.Int64
	appendErrors, putErrors, pollErrors, keyRetries, pinRetries, lastCommit, watermark, lastPoll atomic.Int64
	rejected                                                                                     [len(reasons)]atomic.Int64

	removedLock sync.Mutex
	removed     map[removedFrom]*removal
}

func (s *stats) reject(reason string) {
	for i, r := range reasons {
		if r == reason {
			s.rejected[i].Add(1)
		}
	}
}

// Stats returns the counts so far. It may be called while the worker runs.
func (w *Worker) Stats() Stats {
	s := &w.stats
	out := Stats{
		Records: s.records.Load(), Rows: s.rows.Load(), Totals: s.totals.Load(), Duplicates: s.duplicates.Load(),
		Offboarded: s.offboarded.Load(), Late: s.late.Load(), OutOfOrder: s.outOfOrder.Load(), Rejected: map[string]int64{},
		Commits: s.commits.Load(), Conflicts: s.conflicts.Load(), Unknown: s.unknown.Load(),
		AppendErrors: s.appendErrors.Load(), PutErrors: s.putErrors.Load(),
		PollErrors: s.pollErrors.Load(), KeyRetries: s.keyRetries.Load(), PinRetries: s.pinRetries.Load(),
		Removals: s.removals(),
	}
	if t := s.lastCommit.Load(); t != 0 {
		out.LastCommit = time.UnixMicro(t)
	}
	if t := s.watermark.Load(); t != 0 {
		out.Watermark = time.UnixMicro(t)
	}
	for i, r := range reasons {
		if n := s.rejected[i].Load(); n > 0 {
			out.Rejected[r] = n
		}
	}
	return out
}
