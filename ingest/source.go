package ingest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cardlake/cardlake"
)

// Record is one record of a stream. Key and Value belong to the source and are valid until
// the next Poll.
type Record struct {
	Position cardlake.Position
	// Mark is that of the offset after the record (cardlake.Offset).
	Mark string
	// End says that this is no record: its partition has none at this position and will never
	// have one, because it was split or merged.
	End   bool
	Time  time.Time // the producer's time stamp
	Key   []byte
	Value []byte
}

// Format implements fmt.Formatter: the position, whatever the verb, because nobody knows yet
// what a record holds.
func (r Record) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.Position.String()) }

// LogValue implements slog.LogValuer.
func (r Record) LogValue() slog.Value { return slog.StringValue(r.Position.String()) }

// MarshalText writes the position.
func (r Record) MarshalText() ([]byte, error) { return []byte(r.Position.String()), nil }

// Source is a partitioned stream. ingest/kafka and ingest/kinesis implement it.
type Source interface {
	// Run joins the stream and tells a what is assigned, until ctx ends; then it gives its
	// partitions back, which calls a.Revoked, and closes. Poll, Seek and Commit are called
	// while it runs.
	Run(ctx context.Context, a Assignee) error
	// Poll waits for records of the assigned partitions, until ctx ends, which is not an
	// error. No partition is revoked between the return of Poll with records and the next
	// Poll; one may be assigned at any time.
	Poll(ctx context.Context) ([]Record, error)
	// Seek makes the next Poll begin at the positions, for partitions that are assigned.
	Seek(cardlake.Positions)
	// Commit tells the source what the table holds: for lag monitors, and to go on behind
	// partitions that have ended. Where reading begins is never taken from it. It may be called
	// while another goroutine is in Poll, and while one is in a call of the Assignee.
	Commit(ctx context.Context, p cardlake.Positions) error
}

// Ender is a Source that can tell where its partitions end.
type Ender interface {
	// Ends returns the offset after the newest record of each partition.
	Ends(ctx context.Context, parts []cardlake.StreamPartition) (map[cardlake.StreamPartition]int64, error)
}

// Assignee is told which partitions are its own.
type Assignee interface {
	// Assigned is called before the partitions are read and returns where each begins; one
	// that is absent begins at its first record.
	Assigned(parts []cardlake.StreamPartition) (cardlake.Positions, error)
	// Revoked is called when partitions are given back. If lost, another owner may already
	// read them.
	Revoked(parts []cardlake.StreamPartition, lost bool)
}
