// Package live counts card authorisations as they happen: a [Follower] asks for the hot tail of
// cards.transactions again and again from where it was, and keeps for each tenant and second how
// many were requested, approved and declined, for how much, by which channel and for which reason.
//
// # Exactly once
//
// Positions decide, as everywhere: a row counts if it lies between where the follower was in its
// partition and where the answer says that it ends, and then the follower is there. So nothing is
// counted twice, whoever repeats it: a worker that took a partition over and reads again from the
// last commit, a table that was rolled back, two workers that claim a partition while it changes
// hands. An answer is taken whole or not at all.
//
// Nothing is missed either while the workers hold in memory what the follower has not seen: two
// windows at least. What they do not hold any more, because nobody could be asked for longer, the
// follower passes over, to where the table is committed, and counts as skipped. A stream that
// begins anew under its old name is not followed until it is as long as it was: start the
// follower anew.
//
// # What the figures lack
//
// The first question is from the newest committed positions. So of the seconds before
// [State].WholeSince the follower has seen only what was not committed when it started, or
// skipped. Seconds are of event time; a row that is older than what is kept is dropped and
// counted, and so is one that is further ahead of the clock than a minute.
package live

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/queries"
)

// Source has the rows beyond positions; a [queries.Tail] is one.
type Source interface {
	Tail(ctx context.Context, from cardlake.Positions) (queries.TailRows, error)
}

// Table tells its newest snapshot, with ID 0 when nothing was committed yet; a table of
// catalog/iceberg is one.
type Table interface {
	Current(ctx context.Context) (catalog.Snapshot, error)
}

// Config tunes a Follower. Zero fields are their defaults.
type Config struct {
	// Every is how often the source is asked, LookEvery how often the table is; default 500 ms
	// and 1 s.
	Every, LookEvery time.Duration
	// Timeout bounds each question; default 2 s.
	Timeout time.Duration
	// Keep is how long seconds are kept; default 15 minutes.
	Keep time.Duration
	// Patience is how long a partition's tail may be out of reach before what was committed of
	// it meanwhile is skipped; default 5 s.
	Patience time.Duration
	Now      func() time.Time // default time.Now
	Log      *slog.Logger     // default slog.Default()
}

func (c Config) withDefaults() Config {
	c.Every = cmp.Or(c.Every, 500*time.Millisecond)
	c.LookEvery = cmp.Or(c.LookEvery, time.Second)
	c.Timeout = cmp.Or(c.Timeout, 2*time.Second)
	c.Keep = cmp.Or(c.Keep, 15*time.Minute)
	c.Patience = cmp.Or(c.Patience, 5*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Validate reports a time that is negative, or shorter than can be counted.
func (c Config) Validate() error {
	if min(c.Every, c.LookEvery, c.Timeout, c.Keep, c.Patience) < 0 {
		return errors.New("live: a time is negative")
	}
	if c.Keep != 0 && (c.Keep < time.Second || c.Keep > 24*time.Hour) {
		return errors.New("live: Keep is from 1 s to 24 h")
	}
	return nil
}

// Follower keeps the seconds of all tenants. It is safe for concurrent use, and runs once.
type Follower struct {
	source Source
	table  Table
	cfg    Config

	mu      sync.Mutex
	seq     uint64        // of the newest change
	changed chan struct{} // closed at the next change
	tenants map[cardlake.Tenant]*series

	snapshot   Snapshot
	snapshotAt uint64 // seq of its change
	committed  cardlake.Positions
	hasLooked  bool
	lookError  error

	at         map[cardlake.StreamPartition]*place
	askedAt    time.Time // of the newest answer
	askError   error
	unanswered error
	isPartial  bool
	wholeSince time.Time
	counts     Counts
	swept      time.Time
}

// place is how far a partition was counted.
type place struct {
	next cardlake.Offset
	// coveredAt is when its tail was last had, movedAt when it last had rows, knownAt when it
	// was first heard of.
	coveredAt, movedAt, knownAt time.Time
	isCovered                   bool
	// eventAt and ingestedAt are of its newest row.
	eventAt, ingestedAt time.Time
}

// isIdle reports whether nobody has the partition, and nothing came of it for as long as seconds
// are kept: a stream that is not used any more has its positions in the table for ever.
func (p *place) isIdle(now time.Time, keep time.Duration) bool {
	return !p.isCovered && now.Sub(p.movedAt) >= keep && now.Sub(p.knownAt) >= keep
}

// New returns a follower of the table's tail. Without a source, nil, it watches snapshots only.
func New(table Table, source Source, cfg Config) (*Follower, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Follower{
		source: source, table: table, cfg: cfg.withDefaults(), changed: make(chan struct{}),
		tenants: map[cardlake.Tenant]*series{}, at: map[cardlake.StreamPartition]*place{},
	}, nil
}

// Run follows until ctx ends, and returns nil. What fails is counted, told to the log when it
// begins and when it ends, and tried again.
func (f *Follower) Run(ctx context.Context) error {
	var running sync.WaitGroup
	looked := make(chan struct{})
	running.Go(func() {
		first := sync.OnceFunc(func() { close(looked) })
		f.every(ctx, f.cfg.LookEvery, func() {
			if f.look(ctx) {
				first()
			}
		})
	})
	if f.source != nil {
		running.Go(func() {
			// Where to begin, only the table says.
			select {
			case <-looked:
				f.every(ctx, f.cfg.Every, func() { f.ask(ctx) })
			case <-ctx.Done():
			}
		})
	}
	running.Wait()
	return nil
}

// every does something at once and then each period, until ctx ends.
func (f *Follower) every(ctx context.Context, period time.Duration, do func()) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// look finds out the table's newest snapshot, and reports whether it could.
func (f *Follower) look(ctx context.Context) bool {
	at := f.cfg.Now()
	limited, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	s, err := f.table.Current(limited)
	if ctx.Err() != nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tell("the newest snapshot", f.lookError, err); err != nil {
		f.lookError = err
		return false
	}
	f.lookError = nil
	f.committed = s.Positions
	isNew := !f.hasLooked || s.ID != f.snapshot.ID
	f.snapshot, f.hasLooked = Snapshot{ID: s.ID, CommittedAt: s.CommittedAt, AsOf: at}, true
	if isNew {
		f.seq++
		f.snapshotAt = f.seq
		f.wake()
	}
	return true
}

// tell logs that something begins or ceases to fail.
func (f *Follower) tell(what string, before, now error) {
	switch {
	case now != nil:
		f.counts.Errors++
		if before == nil {
			f.cfg.Log.Warn("live: can't be had", "what", what, "error", now)
		}
	case before != nil:
		f.cfg.Log.Info("live: is there again", "what", what)
	}
}

// wake lets whoever waits know of a change. The caller holds the lock.
func (f *Follower) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// from are the positions that the source is asked from next.
func (f *Follower) from() cardlake.Positions {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.askedAt.IsZero() {
		// Nothing was counted yet: the newer the snapshot, the less is counted of old seconds.
		clear(f.at)
		for p, next := range f.committed {
			f.at[p] = &place{next: next, coveredAt: f.cfg.Now(), knownAt: f.cfg.Now()}
		}
	}
	out := make(cardlake.Positions, len(f.at))
	for p, at := range f.at {
		out[p] = at.next
	}
	return out
}

// ask asks the source once and counts what it answers.
func (f *Follower) ask(ctx context.Context) {
	from, asked := f.from(), f.cfg.Now()
	limited, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	answer, err := f.source.Tail(limited, from)
	if ctx.Err() != nil {
		if err == nil {
			answer.Release()
		}
		return
	}
	var rows []*rowsOf
	if err == nil {
		defer answer.Release()
		rows, err = readAll(answer)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell("the tail", f.askError, err)
	f.tell("the tail of a worker", f.unanswered, answer.Unanswered)
	was := f.isPartial
	if f.askError, f.unanswered = err, answer.Unanswered; err == nil {
		f.take(asked, answer.To, rows)
	} else {
		for _, at := range f.at {
			at.isCovered = false
		}
		f.isPartial = true
	}
	if f.isPartial != was {
		f.seq++
	}
	f.wake()
}

// take counts an answer. The caller holds the lock.
func (f *Follower) take(asked time.Time, to cardlake.Positions, rows []*rowsOf) {
	if f.askedAt.IsZero() {
		f.wholeSince = nextSecond(asked)
	}
	f.askedAt = asked
	f.seq++
	for _, r := range rows {
		f.count(asked, to, r)
	}
	for p := range f.committed {
		if f.at[p] == nil {
			f.at[p] = &place{coveredAt: asked, knownAt: asked}
		}
	}
	for p, next := range to {
		at := f.at[p]
		if at == nil {
			at = &place{}
			f.at[p] = at
		}
		if next.Next > at.next.Next {
			at.next, at.movedAt = next, asked
		}
		at.coveredAt = asked
	}
	f.isPartial = f.unanswered != nil
	for p, at := range f.at {
		_, at.isCovered = to[p]
		if at.isCovered {
			continue
		}
		committed := f.committed[p]
		f.isPartial = f.isPartial || committed.Next > at.next.Next || !at.isIdle(asked, f.cfg.Keep)
		if committed.Next > at.next.Next && asked.Sub(at.coveredAt) >= f.cfg.Patience {
			f.counts.Skipped += committed.Next - at.next.Next
			at.next, at.coveredAt, at.movedAt = committed, asked, asked
			f.wholeSince = nextSecond(f.snapshot.CommittedAt)
		}
	}
	f.sweep(asked)
}

// nextSecond is the first whole second at or after t.
func nextSecond(t time.Time) time.Time {
	return t.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
}

// count adds the rows of a record that lie between where the follower is and to.
func (f *Follower) count(now time.Time, to cardlake.Positions, r *rowsOf) {
	var (
		p          cardlake.StreamPartition // of the row before
		at         *place
		begin, end int64
		tenant     cardlake.Tenant
		s          *series
	)
	oldest := now.Add(-f.cfg.Keep).Unix() + 1
	newest := now.Add(maxAhead).Unix()
	for i := range r.n {
		stream, partition := r.stream.at(i), r.partition.Value(i)
		if at == nil || p.Partition != partition || p.Stream != stream {
			p = cardlake.StreamPartition{Stream: stream, Partition: partition}
			if at = f.at[p]; at == nil {
				p.Stream = strings.Clone(stream)
				at = &place{}
				f.at[p] = at
			}
			begin, end = at.next.Next, to[p].Next
		}
		if offset := r.offset.Value(i); offset < begin || offset >= end {
			continue
		}
		f.counts.Rows++
		eventTime := time.UnixMicro(int64(r.eventTime.Value(i)))
		if at.eventAt.Before(eventTime) {
			at.eventAt = eventTime.UTC()
		}
		if ingested := time.UnixMicro(int64(r.ingestedAt.Value(i))); at.ingestedAt.Before(ingested) {
			at.ingestedAt = ingested.UTC()
		}
		if r.eventType.at(i) != string(cardlake.Authorization) {
			continue
		}
		second := eventTime.Unix()
		switch {
		case second < oldest:
			f.counts.Late++
			continue
		case second > newest:
			f.counts.Ahead++
			continue
		}
		if name := r.tenant.at(i); s == nil || name != string(tenant) {
			if s = f.tenants[cardlake.Tenant(name)]; s == nil {
				s = newSeries(int(f.cfg.Keep/time.Second) + int(maxAhead/time.Second))
				f.tenants[cardlake.Tenant(strings.Clone(name))] = s
			}
			tenant = cardlake.Tenant(name)
		}
		s.add(f.seq, second, r, i)
	}
}

// sweepEvery is how often tenants of whom nothing is kept any more are forgotten.
const sweepEvery = time.Minute

func (f *Follower) sweep(now time.Time) {
	if now.Sub(f.swept) < sweepEvery {
		return
	}
	f.swept = now
	for name, s := range f.tenants {
		if s.newest <= now.Add(-f.cfg.Keep).Unix() {
			delete(f.tenants, name)
		}
	}
}
