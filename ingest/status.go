package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
)

// Status is how a running worker stands.
type Status struct {
	// Partitions are those the worker owns, by stream and number.
	Partitions []PartitionStatus
	// Oldest is when the oldest window that is not committed was opened; zero if there is none.
	Oldest     time.Time
	Pending    int       // closed windows that wait for their commit
	OpenRows   int       // rows of the open window
	OpenBytes  int64     // about what they take
	LastPoll   time.Time // when Poll last returned without an error; zero before the first
	LastCommit time.Time // zero before the first
}

// PartitionStatus is how a worker stands in one partition.
type PartitionStatus struct {
	cardlake.StreamPartition
	Taken     int64 // offset after the last record taken
	Committed int64 // offset after the last record committed
	// Watermark is the newest event time taken; zero before the first.
	Watermark time.Time
	// LastRecord is the stream's time stamp of the last record taken; zero before the first.
	LastRecord time.Time
}

// Status may be called at any time. It waits for neither the stream nor a commit.
func (w *Worker) Status() Status {
	s := Status{LastPoll: instant(w.stats.lastPoll.Load()), LastCommit: instant(w.stats.lastCommit.Load())}
	w.rows.Lock()
	defer w.rows.Unlock()
	committed := w.pipe.positions()
	for p, state := range w.parts {
		s.Partitions = append(s.Partitions, PartitionStatus{
			StreamPartition: p, Taken: state.next.Next, Committed: committed[p].Next,
			Watermark: instant(state.newest), LastRecord: state.last,
		})
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionStatus) int {
		return cmp.Or(strings.Compare(a.Stream, b.Stream), cmp.Compare(a.Partition, b.Partition))
	})
	if w.open != nil {
		s.Oldest, s.OpenRows, s.OpenBytes = w.open.opened, w.open.rows.Rows(), w.open.rows.Bytes()
	}
	if queued, opened := w.pipe.waiting(); queued > 0 {
		s.Pending, s.Oldest = queued, opened
	}
	return s
}

// instant is the time of microseconds since the epoch, and zero for 0.
func instant(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// Ready says whether the worker does its work, and otherwise why not: it has not joined the
// stream, it has not polled, or a window has waited for its commit for longer than
// Config.StallAfter beyond its age.
func (w *Worker) Ready() error {
	s, now := w.Status(), w.cfg.Now()
	var errs []error
	switch {
	case s.LastPoll.IsZero():
		errs = append(errs, errors.New("nothing was polled yet: the stream has not let the worker in"))
	case now.Sub(s.LastPoll) > w.cfg.WindowAge+w.cfg.StallAfter:
		errs = append(errs, fmt.Errorf("no poll since %s", s.LastPoll.Format(time.RFC3339)))
	}
	if !s.Oldest.IsZero() && now.Sub(s.Oldest) > w.cfg.WindowAge+w.cfg.StallAfter {
		errs = append(errs, fmt.Errorf("no commit since %s: the oldest window waits since %s", sinceText(s.LastCommit), s.Oldest.UTC().Format(time.RFC3339)))
	}
	return errors.Join(errs...)
}

func sinceText(t time.Time) string {
	if t.IsZero() {
		return "the start"
	}
	return t.Format(time.RFC3339)
}
