package ingest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
)

// Tail is the rows that a reader of a snapshot lacks: those of the worker's partitions from
// the snapshot's positions on, committed meanwhile or not. Snapshot and tail together hold
// every event up to To exactly once, because positions decide which is where.
type Tail struct {
	// To is, for each partition that the tail covers, where it ends. A partition of the
	// worker's that is absent is not covered: the snapshot is too old for what is in memory, or
	// the worker has not got as far as the snapshot.
	To cardlake.Positions
	// Rows are records of cards.transactions, each of one tenant and UTC day, with the schema
	// of cardlake.Batch. They are valid until Release.
	Rows []arrow.RecordBatch

	held []*window
}

// Release lets the rows go.
func (t *Tail) Release() {
	for _, o := range t.held {
		o.release()
	}
	t.held, t.Rows = nil, nil
}

// Tail returns the rows beyond the positions of a snapshot. The caller releases it. It waits
// for neither the stream nor a commit.
func (w *Worker) Tail(from cardlake.Positions) (*Tail, error) {
	t, spans := w.hold(from)
	for _, s := range spans {
		rows, err := s.rows()
		if err != nil {
			t.Release()
			return nil, fmt.Errorf("tail: %w", err)
		}
		t.Rows = append(t.Rows, rows...)
	}
	return t, nil
}

// span is the part of a window that belongs to a tail.
type span struct {
	views []arrow.RecordBatch
	// begin is the first offset of each partition of the window that belongs to the tail.
	// isWhole says that all rows do.
	begin   map[cardlake.StreamPartition]int64
	isWhole bool
}

// hold finds the windows that the tail needs, views their rows and works out its end.
func (w *Worker) hold(from cardlake.Positions) (*Tail, []span) {
	// The lock keeps rows from being added while the views are made.
	w.rows.Lock()
	defer w.rows.Unlock()
	windows := w.pipe.windows()
	// For an instant a window is open and handed on; then it may even be let go already.
	if w.open != nil && !slices.Contains(windows, w.open) && w.open.hold() {
		windows = append(windows, w.open)
	}
	t := &Tail{To: cardlake.Positions{}}
	reach := map[cardlake.StreamPartition]cardlake.Offset{} // how far snapshot and windows go without a gap
	for p, state := range w.parts {
		if from[p].Next <= state.next.Next && state.next.Next >= state.until {
			reach[p] = from[p]
		}
	}
	stop := func(p cardlake.StreamPartition) {
		if at := reach[p]; at.Next > from[p].Next || at.Next == w.parts[p].next.Next {
			t.To[p] = at
		}
		delete(reach, p)
	}
	var spans []span
	for _, o := range windows {
		s := span{begin: map[cardlake.StreamPartition]int64{}, isWhole: true}
		ends := cardlake.Positions{}
		for p, begin := range o.from {
			end := o.to[p]
			if state := w.parts[p]; o == w.open && state != nil {
				end = state.next
			}
			at, ok := reach[p]
			switch {
			case begin.Next == end.Next: // no row of it
			case !ok:
				s.isWhole = false
			case begin.Next > at.Next: // a gap: the snapshot is too old
				stop(p)
				s.isWhole = false
			case end.Next <= at.Next: // the snapshot has it all
				s.isWhole = false
			default:
				s.begin[p], ends[p] = at.Next, end
				s.isWhole = s.isWhole && begin.Next == at.Next
			}
		}
		if len(s.begin) == 0 {
			o.release()
			continue
		}
		var inMemory bool
		if s.views, inMemory = o.rows.Views(); !inMemory {
			for p := range s.begin {
				stop(p)
			}
			o.release()
			continue
		}
		maps.Copy(reach, ends)
		t.held, spans = append(t.held, o), append(spans, s)
	}
	for p := range reach {
		stop(p)
	}
	return t, spans
}

// rows returns the rows of the views that belong to the tail.
func (s span) rows() ([]arrow.RecordBatch, error) {
	if s.isWhole {
		return s.views, nil
	}
	var out []arrow.RecordBatch
	for _, view := range s.views {
		rows, err := cardlake.SelectByPosition(view, func(p cardlake.Position) bool {
			begin, ok := s.begin[p.StreamPartition]
			return ok && p.Offset >= begin
		})
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	return out, nil
}
