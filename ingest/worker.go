// Package ingest is the worker: it polls a stream, opens and tokenises each event, gathers
// the rows of a window, and commits files and stream positions in one snapshot, so that
// every event is in the lake exactly once.
//
// The lake's own positions are the truth about what was consumed. Whatever happens (a kill
// at any instant, a lost partition, a commit of unknown outcome), the worker goes back to
// them: it never trusts what it remembers over what the table says. Rows and positions of an
// open window are only in memory, and are dropped whole when the table turns out to have
// moved.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/writers"
)

// Table is a table of the lake that files and positions are committed to.
type Table interface {
	Positions(ctx context.Context) (cardlake.Positions, error)
	Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error)
}

// History yields the newest event ids of the transactions table: those whose event time is
// within window of its newest event's, or of now (microseconds since the epoch) if a clock
// ran ahead.
type History func(ctx context.Context, window time.Duration, now int64, yield func(id cardlake.EventID, eventTime int64)) error

// Kept yields the stream positions of all rows of the rejected table.
type Kept func(ctx context.Context, yield func(cardlake.Position)) error

// Tenants looks up a tenant's record.
type Tenants interface {
	Lookup(cardlake.Tenant) (catalog.TenantRecord, error)
}

// Deps are what a Worker works with. All are required.
type Deps struct {
	Source       Source
	Tenants      Tenants
	Keys         keys.Provider // purpose Seal: opens card numbers, seals rejected records
	Secrets      keys.Secrets  // purpose Mint
	Transactions Table
	Rejected     Table
	History      History
	Kept         Kept
	Writer       *writers.Writer
	RejectWriter *writers.Rejected
	Log          *slog.Logger
}

// Config bounds a window. A window closes, and is committed, by whichever comes first.
type Config struct {
	WindowAge   time.Duration // since its first record; default 30 s
	WindowRows  int           // default 1,000,000
	WindowBytes int64         // of columns in memory; default 256 MiB, at most 512 MiB

	// Dedup is for how much event time a repeated event id is recognised; default 1 hour.
	Dedup time.Duration
	// LateAfter is how far behind the newest event an event counts as late; default 1 hour.
	LateAfter time.Duration
	// Grace is how long after the end of Run's context the last commit may take; default 30 s.
	Grace time.Duration
	// SchemaVersions is wire.DecoderConfig's.
	SchemaVersions map[uint32]int
	// Now is the clock; default time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.WindowAge, 30*time.Second)
	def(&c.Dedup, time.Hour)
	def(&c.LateAfter, time.Hour)
	def(&c.Grace, 30*time.Second)
	if c.WindowRows == 0 {
		c.WindowRows = 1_000_000
	}
	if c.WindowBytes == 0 {
		c.WindowBytes = 256 << 20
	}
	// Above it a batch could be full (cardlake.ErrFull) before its window is.
	c.WindowBytes = min(c.WindowBytes, 512<<20)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Worker moves one source's partitions into the lake. Make it with New, run it once.
type Worker struct {
	Deps
	cfg       Config
	decoder   *wire.Decoder
	tokenizer *tokenize.Tokenizer
	rejects   *keys.Envelopes
	stats     stats

	// mu is held by the loop while it handles records and by the source's callbacks; never
	// while the loop waits in Poll.
	mu sync.Mutex
	// from is the table's position of each partition this worker owns, next the position
	// after the last record taken into the open window.
	from, next cardlake.Positions
	// rejectedTo is the rejected table's position of each partition. It is ahead of from after
	// a death between the two commits; kept then has the records in between that are rejected
	// rows: they stay that, and what else lies there is judged anew.
	rejectedTo cardlake.Positions
	kept       map[cardlake.Position]bool
	seen       *window
	newest     int64     // event time
	opened     time.Time // of the window; zero when it has no record
	rewinds    int       // how often the worker went back to the table's positions
	broken     error     // set when a commit was cut off; nothing may be committed after it
	msg        card.Message
	payload    []byte

	committed atomic.Pointer[cardlake.Positions] // a copy of from, for who must not wait for mu
}

// New returns a worker.
func New(deps Deps, cfg Config) *Worker {
	cfg = cfg.withDefaults()
	return &Worker{
		Deps: deps, cfg: cfg,
		decoder:   wire.NewDecoder(deps.Keys, wire.DecoderConfig{SchemaVersions: cfg.SchemaVersions}),
		tokenizer: tokenize.New(deps.Secrets, tokenize.Config{}),
		rejects:   keys.NewEnvelopes(deps.Keys, keys.Seal, keys.EnvelopeConfig{}),
		from:      cardlake.Positions{}, next: cardlake.Positions{}, rejectedTo: cardlake.Positions{},
		seen: newWindow(cfg.Dedup.Microseconds()),
	}
}

// Run works until ctx ends; then it commits the open window, within Config.Grace, and returns
// nil. It returns an error only when the source gives up for good: everything else is tried
// again.
func (w *Worker) Run(ctx context.Context) error {
	// work outlives ctx by the grace period: what was begun is finished, nothing is begun.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	grace := context.AfterFunc(ctx, func() { time.AfterFunc(w.cfg.Grace, cut) })
	defer grace()

	poll, stopPolling := context.WithCancel(ctx)
	defer stopPolling()
	sourceCtx, leave := context.WithCancel(work)
	defer leave()
	left := make(chan error, 1)
	go func() {
		left <- w.Source.Run(sourceCtx, assignee{w, work})
		stopPolling()
	}()
	for poll.Err() == nil {
		w.step(poll, work)
	}
	w.mu.Lock()
	if err := w.flush(work); err != nil {
		w.Log.Error("the last window was not committed; its records will be read again", "error", err)
	}
	w.mu.Unlock()
	leave()
	return <-left
}

// step polls once, handles what came and closes the window if it is due.
func (w *Worker) step(poll, ctx context.Context) {
	due, rewinds := w.untilDue()
	pollCtx, cancel := context.WithTimeout(poll, due)
	records, err := w.Source.Poll(pollCtx)
	cancel()
	if err != nil {
		w.stats.pollErrors.Add(1)
		w.Log.Error("poll", "error", err)
		sleep(poll, time.Second)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rewinds != rewinds {
		// A callback went back while Poll waited: these records lie behind a gap.
		w.Source.Seek(maps.Clone(w.from))
		return
	}
	for i := range records {
		if err := w.take(ctx, &records[i]); err != nil {
			return // ctx ended; the record is read again by whoever owns the partition next
		}
		if w.full() {
			if err := w.flush(ctx); err != nil {
				return
			}
		}
		if w.rewinds != rewinds {
			return // the rest comes again, after what was dropped
		}
	}
	if !w.opened.IsZero() && w.cfg.Now().Sub(w.opened) >= w.cfg.WindowAge {
		_ = w.flush(ctx)
	}
}

func (w *Worker) full() bool {
	return w.Writer.Rows()+w.RejectWriter.Rows() >= w.cfg.WindowRows ||
		w.Writer.Bytes()+w.RejectWriter.Bytes() >= w.cfg.WindowBytes
}

// untilDue is how long Poll may wait: until the open window is due.
// It also returns the number of rewinds so far.
func (w *Worker) untilDue() (due time.Duration, rewinds int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.opened.IsZero() {
		return w.cfg.WindowAge, w.rewinds
	}
	return max(w.cfg.WindowAge-w.cfg.Now().Sub(w.opened), time.Millisecond), w.rewinds
}

// take handles one record: it becomes a row, a rejected row, or is dropped as a duplicate.
// The only error is ctx's end, while a key service is away; then nothing was taken.
func (w *Worker) take(ctx context.Context, r *Record) error {
	next, owned := w.next[r.Position.StreamPartition]
	if !owned || r.Position.Offset < next.Next {
		return nil // of a partition that was given back, or before a Seek
	}
	now := w.cfg.Now()
	if r.End || w.kept[r.Position] {
		w.advance(r, now)
		return nil
	}
	var cause error // once it is final, only the rejection is tried again
	for attempt := 0; ; attempt++ {
		err := cause
		if err == nil {
			err = w.row(ctx, r, now)
		}
		if reason, final := rejection(err); final {
			cause = err
			err = w.reject(ctx, r, now, reason, cause)
		}
		if err == nil {
			break
		}
		w.stats.keyRetries.Add(1)
		w.Log.Error("key service", "error", err, "position", r.Position.String())
		if !sleep(ctx, backoff(attempt)) {
			return ctx.Err()
		}
	}
	w.advance(r, now)
	return nil
}

// advance counts the record as taken into the window.
func (w *Worker) advance(r *Record, now time.Time) {
	next := cardlake.Offset{Next: r.Position.Offset, Mark: r.Mark}
	if !r.End {
		w.stats.records.Add(1)
		next.Next++
	}
	w.next[r.Position.StreamPartition] = next
	if w.opened.IsZero() {
		w.opened = now
	}
}

// errTenant marks an event of a tenant that is not in the register.
var errTenant = errors.New("field tenant names no tenant of the register")

// errField marks an event that is well formed and breaks a rule of the table.
var errField = errors.New("invalid field")

// row decodes, opens and tokenises the record and adds it to the open window, unless its
// event is there already.
func (w *Worker) row(ctx context.Context, r *Record, now time.Time) error {
	m := &w.msg
	sealed, err := w.decoder.Decode(r.Value, m)
	if err != nil {
		return err
	}
	tenant, err := w.Tenants.Lookup(m.Tenant)
	if err != nil {
		return errTenant
	}
	owner := keys.OwnerOf(tenant.StorageID)
	if err := w.decoder.Open(ctx, owner, m, sealed); err != nil {
		return err
	}
	defer m.PAN.Clear()
	minter, err := w.tokenizer.Minter(ctx, owner, now)
	if err != nil {
		return err
	}
	minter.Apply(m)
	m.IngestedAt = now.UnixMicro()
	m.Position = r.Position
	// A clock that runs ahead must not make the window forget.
	eventTime := min(m.EventTime, m.IngestedAt)
	if !w.seen.add(m.EventID, eventTime) {
		w.stats.duplicates.Add(1)
		return nil
	}
	if err := w.Writer.Add(&m.Transaction); err != nil {
		return fmt.Errorf("%w: %w", errField, err)
	}
	w.stats.rows.Add(1)
	if eventTime < w.newest {
		w.stats.outOfOrder.Add(1)
		if w.newest-eventTime > w.cfg.LateAfter.Microseconds() {
			w.stats.late.Add(1)
		}
	} else {
		w.newest = eventTime
	}
	return nil
}

// rejection returns why a record can never become a row, and false if it may.
func rejection(err error) (reason string, final bool) {
	switch {
	case errors.Is(err, wire.ErrUnknownSchema):
		return "unknown_schema", true
	case errors.Is(err, wire.ErrUndecodable):
		return "undecodable", true
	case errors.Is(err, errTenant):
		return "unknown_tenant", true
	case errors.Is(err, wire.ErrUnopenable), errors.Is(err, keys.ErrNoKey):
		return "unopenable", true
	case errors.Is(err, errField):
		return "invalid_field", true
	}
	return "", false
}

// reject adds the record to the rejected table's window, sealed.
func (w *Worker) reject(ctx context.Context, r *Record, now time.Time, reason string, cause error) error {
	w.payload = appendPayload(w.payload[:0], r)
	sealed, err := w.rejects.AppendSealed(ctx, nil, keys.Lake, w.payload, rejectedAAD(r.Position))
	clear(w.payload)
	if err != nil {
		return err
	}
	err = w.RejectWriter.Add(&cardlake.RejectedRecord{
		RejectedAt: now.UnixMicro(), Reason: reason, Detail: cause.Error(), Position: r.Position,
		RecordTime: r.Time.UnixMicro(), Payload: sealed,
	})
	if err != nil {
		return err
	}
	w.stats.reject(reason)
	return nil
}

// load reads the truth from the tables: the positions of the partitions, which it returns as
// far as the table knows them, the newest event ids, and what of the partitions is rejected
// already. The open window must be empty.
func (w *Worker) load(ctx context.Context, parts []cardlake.StreamPartition) (cardlake.Positions, error) {
	positions, err := w.Transactions.Positions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	rejected, err := w.Rejected.Positions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read positions of rejected records: %w", err)
	}
	known, isAhead := cardlake.Positions{}, false
	for _, p := range parts {
		if at, ok := positions[p]; ok {
			known[p] = at
		}
		isAhead = isAhead || rejected[p].Next > positions[p].Next
	}
	kept := map[cardlake.Position]bool{}
	if isAhead {
		err := w.Kept(ctx, func(p cardlake.Position) {
			if p.Offset >= positions[p.StreamPartition].Next {
				kept[p] = true
			}
		})
		if err != nil {
			return nil, fmt.Errorf("read rejected records: %w", err)
		}
	}
	w.seen.reset()
	now := w.cfg.Now().UnixMicro()
	err = w.History(ctx, w.cfg.Dedup, now, func(id cardlake.EventID, eventTime int64) {
		eventTime = min(eventTime, now)
		w.seen.add(id, eventTime)
		w.newest = max(w.newest, eventTime)
	})
	if err != nil {
		return nil, fmt.Errorf("read newest event ids: %w", err)
	}
	for _, p := range parts {
		w.from[p], w.next[p] = positions[p], positions[p]
	}
	w.rejectedTo = rejected
	for p := range kept {
		if w.kept == nil {
			w.kept = map[cardlake.Position]bool{}
		}
		w.kept[p] = true
	}
	w.publish()
	return known, nil
}

// assignee is the Worker as its source sees it. Its callbacks work under the worker's
// context, which outlives the source's at shutdown.
type assignee struct {
	*Worker
	ctx context.Context
}

// Assigned commits the open window and goes to the table's positions.
func (a assignee) Assigned(parts []cardlake.StreamPartition) (cardlake.Positions, error) {
	w, ctx := a.Worker, a.ctx
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.flush(ctx); err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		known, err := w.load(ctx, parts)
		if err == nil {
			w.Log.Info("partitions assigned", "partitions", len(parts), "positions", known.String(), "known_events", w.seen.len())
			return known, nil
		}
		w.Log.Error("take over partitions", "error", err)
		if !sleep(ctx, backoff(attempt)) {
			return nil, err
		}
	}
}

// Revoked commits the open window, or drops it when the partitions are lost, because then it
// could only lose the race.
func (a assignee) Revoked(parts []cardlake.StreamPartition, lost bool) {
	w, ctx := a.Worker, a.ctx
	w.mu.Lock()
	defer w.mu.Unlock()
	if !lost {
		_ = w.flush(ctx)
	}
	for _, p := range parts {
		delete(w.from, p)
		delete(w.next, p)
	}
	w.publish()
	if !w.opened.IsZero() {
		_ = w.rewind(ctx) // drops the rows of the lost partitions with the others'
	}
}

// rewind drops the open window and goes back to the table's positions.
func (w *Worker) rewind(ctx context.Context) error {
	w.rewinds++
	w.drop()
	parts := make([]cardlake.StreamPartition, 0, len(w.from))
	for p := range w.from {
		parts = append(parts, p)
	}
	for attempt := 0; ; attempt++ {
		_, err := w.load(ctx, parts)
		if err == nil {
			break
		}
		w.Log.Error("go back to the table's positions", "error", err)
		if !sleep(ctx, backoff(attempt)) {
			return err
		}
	}
	w.Source.Seek(maps.Clone(w.from))
	return nil
}

func (w *Worker) drop() {
	w.Writer.Discard()
	w.RejectWriter.Discard()
	w.opened = time.Time{}
}

// Committed returns the position after the last committed record of each partition that the
// worker owns.
func (w *Worker) Committed() cardlake.Positions {
	if p := w.committed.Load(); p != nil {
		return p.Clone()
	}
	return cardlake.Positions{}
}

// publish makes from the answer of Committed.
func (w *Worker) publish() {
	p := w.from.Clone()
	w.committed.Store(&p)
}

// backoff is full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter") from 50
// ms doubling up to 5 s.
func backoff(attempt int) time.Duration {
	ceiling := min(50*time.Millisecond<<min(attempt, 10), 5*time.Second)
	return time.Duration(rand.Int64N(int64(ceiling))) + time.Millisecond
}

// sleep waits and reports whether ctx is still going on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
