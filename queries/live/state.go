package live

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake"
)

// Snapshot is the newest committed state of cards.transactions.
type Snapshot struct {
	ID          int64 // 0 when nothing was committed yet
	CommittedAt time.Time
	// AsOf is when the table was looked at, so that there was nothing newer then; zero if it was
	// never.
	AsOf time.Time
}

// State is what of a tenant changed.
type State struct {
	// Seq is given to the next [Follower.Since].
	Seq uint64
	// IsLive says that there is a source: without one there are no seconds.
	IsLive bool
	// AsOf is when the source was asked last that answered; zero if it never did.
	AsOf time.Time
	// IsPartial says that of a partition of the stream that is in use the tail can't be had at the
	// moment, so that its newest rows are not counted yet.
	IsPartial bool
	// WholeSince is the first second of which nothing was left out; zero if there is none yet.
	WholeSince time.Time
	// Seconds are those that changed, the oldest first, each as it is now.
	Seconds []Second
	// Snapshot is the newest; IsNew says that it changed.
	Snapshot Snapshot
	IsNew    bool
	// Changed is closed when anything changes, of any tenant.
	Changed <-chan struct{}
}

// Second is the authorisation requests of one tenant whose decisions fell into one second of
// event time. One that has none has no Second.
type Second struct {
	At                           time.Time // its begin, UTC
	Requests, Approved, Declined int64
	Amounts                      map[cardlake.Currency]Amount // of the approved
	Channels                     map[string]int64             // requests
	Reasons                      map[string]int64             // declined
}

// Amount is an exact sum, in ten-thousandths.
type Amount struct{ Unscaled decimal128.Num }

// String is the sum with four decimals, such as 123.4500.
func (a Amount) String() string {
	digits := a.Unscaled.BigInt().String()
	digits, isNegative := strings.CutPrefix(digits, "-")
	if pad := 5 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	text := digits[:len(digits)-4] + "." + digits[len(digits)-4:]
	if isNegative {
		return "-" + text
	}
	return text
}

// MarshalText implements encoding.TextMarshaler.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Since returns what of the tenant changed after seq, which is 0 or came with the State before;
// with 0, or one that is not this follower's, all that is kept. Nobody holds a follower up:
// whoever asks seldom gets the newest state of each second, and nothing of what it was between.
func (f *Follower) Since(tenant cardlake.Tenant, seq uint64) State {
	f.mu.Lock()
	defer f.mu.Unlock()
	if seq > f.seq {
		seq = 0
	}
	out := State{
		Seq: f.seq, IsLive: f.source != nil, AsOf: f.askedAt, IsPartial: f.isPartial, WholeSince: f.wholeSince,
		Snapshot: f.snapshot, IsNew: f.snapshotAt > seq, Changed: f.changed,
	}
	if s := f.tenants[tenant]; s != nil {
		out.Seconds = s.since(seq, f.cfg.Now().Add(-f.cfg.Keep).Unix()+1)
	}
	return out
}

// Counts are of all that the follower met since it began.
type Counts struct {
	Rows    int64 // events of any kind
	Late    int64 // requests that were older than what is kept
	Ahead   int64 // requests that were further ahead of the clock than a minute
	Skipped int64 // events that were committed while nobody could be asked for them
	Errors  int64 // questions that were not answered, in whole or in part
}

// Partition is how far one partition of the stream is.
type Partition struct {
	cardlake.StreamPartition
	// Committed numbers the next event that the table lacks, Seen the next that the follower
	// has not counted.
	Committed, Seen int64
	// IsCovered says that a worker had its tail when it was asked last. IsIdle says that nobody
	// has had it for as long as seconds are kept, and that nothing came of it either: its stream
	// is not used any more.
	IsCovered, IsIdle bool
	// MovedAt is when there was last something new of it; zero if never.
	MovedAt time.Time
	// EventAt is when the newest of its events was decided, IngestedAt when a worker read it;
	// zero if the follower has seen none.
	EventAt, IngestedAt time.Time
}

// Status is how the follower is, for operators: it is of all tenants.
type Status struct {
	IsLive    bool
	AsOf      time.Time // when the source was asked last that answered
	IsPartial bool
	// SourceError, Unanswered and TableError say what can't be had at the moment.
	SourceError, Unanswered, TableError error
	Snapshot                            Snapshot
	Counts                              Counts
	Partitions                          []Partition // in order
}

// Status returns how the follower is.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := Status{
		IsLive: f.source != nil, AsOf: f.askedAt, IsPartial: f.isPartial, SourceError: f.askError, Unanswered: f.unanswered, TableError: f.lookError,
		Snapshot: f.snapshot, Counts: f.counts,
	}
	for p, at := range f.at {
		out.Partitions = append(out.Partitions, Partition{
			StreamPartition: p, Committed: f.committed[p].Next, Seen: at.next.Next, IsCovered: at.isCovered, IsIdle: at.isIdle(f.cfg.Now(), f.cfg.Keep),
			MovedAt: at.movedAt, EventAt: at.eventAt, IngestedAt: at.ingestedAt,
		})
	}
	for p, next := range f.committed {
		if f.at[p] == nil {
			out.Partitions = append(out.Partitions, Partition{StreamPartition: p, Committed: next.Next})
		}
	}
	slices.SortFunc(out.Partitions, func(a, b Partition) int {
		return cmp.Or(strings.Compare(a.Stream, b.Stream), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}
