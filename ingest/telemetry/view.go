package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
)

// counting, timing, failing and answering are what a source may say of itself besides ingest.Source.
// None may wait for the stream: they are asked at every scrape.
type (
	// counting: how many records the stream has beyond those polled (Kafka).
	counting interface {
		Lag() map[cardlake.StreamPartition]int64
	}
	// timing: how far the records polled are behind the newest (Kinesis).
	timing interface {
		Lag() map[cardlake.StreamPartition]time.Duration
	}
	// failing: which partitions could not be read the last time.
	failing interface {
		Faults() map[cardlake.StreamPartition]error
	}
	// answering: when the stream's service last answered anything; zero before the first time.
	// A poll that brings nothing does not show whether there is nothing or nobody.
	answering interface {
		Answered() time.Time
	}
)

// View is how a worker and its source stand together. It may be used at any time, by any
// number of readers.
type View struct {
	worker Worker
	source ingest.Source
	stall  time.Duration
	now    func() time.Time
}

// Ready says why the worker does not do its work: the worker's own reasons, a stream that
// does not answer, and the partitions that the source cannot read, which stand still while
// others may go on. Nil means that it does.
func (v *View) Ready() error {
	return errors.Join(v.worker.Ready(), v.silence(), faults(v.faults()))
}

// silence says that the stream's service has not answered for too long.
func (v *View) silence() error {
	s, ok := v.source.(answering)
	if !ok {
		return nil
	}
	switch at := s.Answered(); {
	case at.IsZero():
		return errors.New("the stream has not answered yet")
	case v.now().Sub(at) > v.stall:
		return fmt.Errorf("the stream has not answered since %s", at.UTC().Format(time.RFC3339))
	}
	return nil
}

func (v *View) faults() map[cardlake.StreamPartition]error {
	if s, ok := v.source.(failing); ok {
		return s.Faults()
	}
	return nil
}

// faults is one error of all, in the order of their text.
func faults(of map[cardlake.StreamPartition]error) error {
	var errs []error
	for p, err := range of {
		text := err.Error()
		if place := p.String(); !strings.HasPrefix(text, place) {
			text = place + ": " + text
		}
		errs = append(errs, fmt.Errorf("cannot be read: %s", text))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// Report is what a worker did and how it stands, for people and scripts.
type Report struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"` // why it is not ready

	Partitions []Partition `json:"partitions"`

	PendingWindows    int        `json:"pending_windows"`
	OpenRows          int        `json:"open_rows"`
	OpenBytes         int64      `json:"open_bytes"`
	OldestUncommitted *time.Time `json:"oldest_uncommitted,omitempty"` // absent: everything taken is committed
	LastPoll          *time.Time `json:"last_poll,omitempty"`          // absent before the first
	LastAnswer        *time.Time `json:"last_answer,omitempty"`        // of the stream's service; absent if not known
	LastCommit        *time.Time `json:"last_commit,omitempty"`        // absent before the first
	Watermark         *time.Time `json:"watermark,omitempty"`          // newest event time committed

	Records         int64            `json:"records"`
	Rows            int64            `json:"rows"`
	ControlTotals   int64            `json:"control_totals"`
	Duplicates      int64            `json:"duplicates"`
	Offboarded      int64            `json:"offboarded"` // dropped, of tenants that have left
	Late            int64            `json:"late"`
	OutOfOrder      int64            `json:"out_of_order"`
	Rejected        map[string]int64 `json:"rejected"` // by reason
	Removed         map[string]int64 `json:"removed"`  // card numbers in free texts, by field
	Commits         int64            `json:"commits"`
	Conflicts       int64            `json:"conflicts"`
	UnknownOutcomes int64            `json:"unknown_outcomes"`
	Errors          map[string]int64 `json:"errors"` // by kind
}

// Partition is how a worker stands in one partition.
type Partition struct {
	Stream    string `json:"stream"`
	Partition int32  `json:"partition"`
	Taken     int64  `json:"taken"`     // offset after the last record taken
	Committed int64  `json:"committed"` // offset after the last record committed
	// Watermark is the newest event time taken; absent before the first.
	Watermark *time.Time `json:"watermark,omitempty"`
	// LagRecords is how many records the stream has beyond those polled, as of the newest
	// fetch; absent if the source does not count them.
	LagRecords *int64 `json:"lag_records,omitempty"`
	// LagSeconds is how far the worker is behind the stream; absent if that is not known.
	LagSeconds *float64 `json:"lag_seconds,omitempty"`
	Fault      string   `json:"fault,omitempty"` // why it cannot be read
}

// Report returns the report as of now.
func (v *View) Report() Report {
	stats, status := v.worker.Stats(), v.worker.Status()
	r := Report{
		Ready: true, Partitions: v.partitions(status),
		PendingWindows: status.Pending, OpenRows: status.OpenRows, OpenBytes: status.OpenBytes,
		OldestUncommitted: known(status.Oldest), LastPoll: known(status.LastPoll),
		LastCommit: known(status.LastCommit), Watermark: known(stats.Watermark),
		Records: stats.Records, Rows: stats.Rows, ControlTotals: stats.Totals, Duplicates: stats.Duplicates,
		Offboarded: stats.Offboarded, Late: stats.Late, OutOfOrder: stats.OutOfOrder, Rejected: rejected(stats), Removed: removals(stats),
		Commits: stats.Commits, Conflicts: stats.Conflicts, UnknownOutcomes: stats.Unknown, Errors: failures(stats),
	}
	if s, ok := v.source.(answering); ok {
		r.LastAnswer = known(s.Answered())
	}
	if err := v.Ready(); err != nil {
		r.Ready, r.Reasons = false, strings.Split(err.Error(), "\n")
	}
	return r
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// partitions are the worker's, with what the source knows of them.
func (v *View) partitions(status ingest.Status) []Partition {
	var records map[cardlake.StreamPartition]int64
	var delays map[cardlake.StreamPartition]time.Duration
	switch s := v.source.(type) {
	case counting:
		records = s.Lag()
	case timing:
		delays = s.Lag()
	}
	faults, now := v.faults(), v.now()
	out := make([]Partition, 0, len(status.Partitions))
	for _, p := range status.Partitions {
		part := Partition{
			Stream: p.Stream, Partition: p.StreamPartition.Partition,
			Taken: p.Taken, Committed: p.Committed, Watermark: known(p.Watermark),
		}
		if err := faults[p.StreamPartition]; err != nil {
			part.Fault = err.Error()
		}
		n, isCounted := records[p.StreamPartition]
		if isCounted {
			part.LagRecords = &n
		}
		if d, ok := delays[p.StreamPartition]; ok {
			seconds := d.Seconds()
			part.LagSeconds = &seconds
		} else if isCounted || part.Fault != "" {
			part.LagSeconds = behind(p, isCounted && n == 0 && part.Fault == "", now)
		}
		out = append(out, part)
	}
	return out
}

// behind is the age of the last record taken, or none if nothing is left on the stream. A
// worker that has taken nothing since the partition became its own goes by the newest event
// that the lake had then; nil if there is none.
func behind(p ingest.PartitionStatus, isCaughtUp bool, now time.Time) *float64 {
	last := p.LastRecord
	if last.IsZero() {
		last = p.Watermark
	}
	var seconds float64
	switch {
	case isCaughtUp:
	case last.IsZero():
		return nil
	default:
		seconds = max(now.Sub(last).Seconds(), 0) // the stream's clock may be ahead
	}
	return &seconds
}

// rejected counts by reason, those at 0 too: an alert on an increase does not see a series
// that begins at 1.
func rejected(s ingest.Stats) map[string]int64 {
	out := map[string]int64{}
	for _, r := range ingest.Reasons() {
		out[r] = s.Rejected[r]
	}
	return out
}

// removals counts by field, those at 0 too.
func removals(s ingest.Stats) map[string]int64 {
	out := map[string]int64{}
	for _, f := range ingest.FreeTexts() {
		out[f] = 0
	}
	for _, r := range s.Removals {
		out[r.Field] += r.Count
	}
	return out
}

func failures(s ingest.Stats) map[string]int64 {
	return map[string]int64{"poll": s.PollErrors, "put": s.PutErrors, "append": s.AppendErrors, "key": s.KeyRetries, "pin": s.PinRetries}
}
