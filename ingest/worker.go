// Package ingest is the worker: it polls a stream, opens and tokenises each event, gathers
// the rows of a window, and commits files and stream positions in one snapshot, so that
// every event is in the lake exactly once.
//
// The lake's own positions are the truth about what was consumed. Whatever happens (a kill
// at any instant, a lost partition, a commit of unknown outcome), the worker goes back to
// them: it never trusts what it remembers over what the table says. Rows and positions that
// are not committed are only in memory, and are dropped whole when the table turns out to
// have moved.
//
// Two goroutines share the work: one polls and fills the open window, one writes and commits
// the windows that are closed, in order. A bounded queue between them is the back-pressure:
// when commits are slow, polling stops.
package ingest

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
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

// Secrets are a worker's mint secrets: the newest without a vault, all that live with one.
type Secrets interface {
	keys.Secrets
	keys.LiveSecrets
}

// Deps are what a Worker works with. All are required but Totals with its writer, without
// which control totals are records of an unknown schema, and Observe.
type Deps struct {
	Source       Source
	Tenants      Tenants
	Keys         keys.Provider // purpose Seal: opens card numbers, seals rejected records
	Secrets      Secrets       // purpose Mint
	Transactions Table
	Rejected     Table
	Totals       Table
	History      History
	Kept         Kept
	Writer       *writers.Writer
	RejectWriter *writers.Rejected
	TotalsWriter *writers.Totals
	Log          *slog.Logger
	// Pins, if not nil, is the vault: no row is added before the vault has pinned its token.
	// Keys is then used for purpose Reverse too, for wrapping only.
	Pins tokenize.Pins
	// Observe, if not nil, is told each stage that ended. It is called from several
	// goroutines and must not block.
	Observe func(Stage)
}

// Config bounds a window. A window closes, and is committed, by whichever comes first.
type Config struct {
	WindowAge   time.Duration // since its first record; default 30 s
	WindowRows  int           // default 1,000,000
	WindowBytes int64         // of columns in memory; default 256 MiB, at most 512 MiB

	// Pending is how many closed windows may wait for their commit, the one that is being
	// committed included; then polling stops. Default 2.
	Pending int
	// TailWindows is how many committed windows stay in memory for readers of an older
	// snapshot; default 2, none if negative. TailBytes bounds them; default 128 MiB.
	TailWindows int
	TailBytes   int64

	// Dedup is for how much event time a repeated event id is recognised; default 1 hour.
	Dedup time.Duration
	// LateAfter is how far behind the newest event an event counts as late; default 1 hour.
	LateAfter time.Duration
	// StallAfter is how long a poll or a commit may be overdue before the worker is not Ready;
	// default 1 minute.
	StallAfter time.Duration
	// Grace is how long after the end of Run's context the last commits may take; default 30 s.
	Grace time.Duration
	// PinnedCards is how many cards' tokens are remembered when there are Pins, in 43 bytes
	// each; default 1,000,000.
	PinnedCards int
	// SchemaVersions is wire.DecoderConfig's, TotalVersions wire.TotalDecoderConfig's.
	SchemaVersions, TotalVersions map[uint32]int
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
	def(&c.StallAfter, time.Minute)
	def(&c.Grace, 30*time.Second)
	if c.WindowRows == 0 {
		c.WindowRows = 1_000_000
	}
	if c.WindowBytes == 0 {
		c.WindowBytes = 256 << 20
	}
	// Above it a batch could be full (cardlake.ErrFull) before its window is.
	c.WindowBytes = min(c.WindowBytes, 512<<20)
	if c.Pending == 0 {
		c.Pending = 2
	}
	if c.TailWindows == 0 {
		c.TailWindows = 2
	}
	if c.TailBytes == 0 {
		c.TailBytes = 128 << 20
	}
	if c.PinnedCards == 0 {
		c.PinnedCards = 1_000_000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// MemoryLimit is a limit for the garbage collector (debug.SetMemoryLimit), in bytes, that
// leaves room for what such a worker keeps: the open window and those that wait, as much
// again for memory that has grown and waits for its next use, the tail, and 768 MiB for
// fetches, files in the making and the rest. Without a limit garbage grows to as much again;
// a tighter one costs more in collecting than it saves.
func (c Config) MemoryLimit() int64 {
	c = c.withDefaults()
	return int64(c.Pending+3)*c.WindowBytes + c.TailBytes + 768<<20 + int64(c.PinnedCards)*43
}

// Worker moves one source's partitions into the lake. Make it with New, run it once.
type Worker struct {
	Deps
	cfg       Config
	decoder   *wire.Decoder
	totals    *wire.TotalDecoder
	tokenizer *tokenize.Tokenizer
	rejects   *keys.Envelopes
	stats     stats
	pipe      pipeline

	// mu is held by the loop while it handles records and by the source's callbacks; never
	// while the loop waits in Poll. The committer never takes it.
	mu      sync.Mutex
	kept    map[cardlake.Position]bool // records ahead of their rows' commit that are rejected rows already
	landed  cardlake.Positions         // the totals table's positions, ahead after a death between two commits
	seen    *dedup
	touched byte // what its touch returns
	rewinds int  // how often the worker went back to the table's positions
	chunk   []taken
	places  []int32  // of the chunk's rows, by tenant
	counts  []int32  // of the chunk's rows of each tenant
	pan     card.PAN // of the record in hand
	payload []byte
	tenants map[cardlake.Tenant]tenant // looked up since the last Poll

	// rows is held while rows are added, for short stretches, so that Tail sees whole ones. It
	// is taken after mu.
	rows   sync.Mutex
	open   *window // takes records; nil when there is none yet
	newest int64   // event time of all rows of closed windows
	// parts are the partitions this worker owns.
	parts map[cardlake.StreamPartition]*part
}

// part is a partition that the worker owns.
type part struct {
	// next is after the last record taken.
	next cardlake.Offset
	// until is where the partition ended when the worker took it over, or went back: before
	// that, readers may have seen more of it than the worker has.
	until int64
	// newest is the newest event time of its rows taken, in microseconds since the epoch.
	newest int64
	last   time.Time // the stream's time stamp of the last record taken
}

// New returns a worker.
func New(deps Deps, cfg Config) *Worker {
	cfg = cfg.withDefaults()
	w := &Worker{
		Deps: deps, cfg: cfg,
		decoder:   wire.NewDecoder(deps.Keys, wire.DecoderConfig{SchemaVersions: cfg.SchemaVersions}),
		totals:    wire.NewTotalDecoder(wire.TotalDecoderConfig{SchemaVersions: cfg.TotalVersions}),
		tokenizer: newTokenizer(deps, cfg),
		rejects:   keys.NewEnvelopes(deps.Keys, keys.Seal, keys.EnvelopeConfig{}),
		parts:     map[cardlake.StreamPartition]*part{},
		tenants:   map[cardlake.Tenant]tenant{},
		chunk:     make([]taken, chunkRecords),
		seen:      newDedup(cfg.Dedup.Microseconds()),
	}
	w.pipe.init(cfg)
	return w
}

func newTokenizer(deps Deps, cfg Config) *tokenize.Tokenizer {
	if deps.Pins == nil {
		return tokenize.New(deps.Secrets, tokenize.Config{})
	}
	reverse := keys.NewEnvelopes(deps.Keys, keys.Reverse, keys.EnvelopeConfig{})
	return tokenize.NewPinned(deps.Secrets, deps.Pins, reverse, tokenize.Config{Cards: cfg.PinnedCards})
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
	committer, stopCommitter := context.WithCancel(work)
	committed := make(chan struct{})
	go func() {
		defer close(committed)
		w.commitAll(committer)
	}()

	for poll.Err() == nil {
		w.step(poll, work)
	}
	w.mu.Lock()
	if err := w.drain(work); err != nil {
		w.Log.Error("the last window was not committed; its records will be read again", "error", err)
	}
	w.mu.Unlock()
	leave()
	err := <-left
	stopCommitter()
	<-committed
	return err
}

// step polls once, handles what came and closes the window if it is due.
func (w *Worker) step(poll, ctx context.Context) {
	due, rewinds := w.untilDue()
	pollCtx, cancel := context.WithTimeout(poll, due)
	w.pipe.wakeOnStop(cancel)
	began := time.Now()
	records, err := w.Source.Poll(pollCtx)
	cancel()
	if err != nil {
		w.stats.pollErrors.Add(1)
		w.Log.Error("poll", "error", err)
		sleep(poll, time.Second)
		return
	}
	w.stats.lastPoll.Store(w.cfg.Now().UnixMicro())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pipe.fenced() {
		_ = w.rewind(ctx) // nothing to do but go on; ctx has ended if it failed
		return
	}
	if w.rewinds != rewinds {
		// A callback went back while Poll waited: these records lie behind a gap.
		w.Source.Seek(w.next())
		return
	}
	if len(records) > 0 {
		w.observe(Stage{Name: StagePoll, Began: began, Records: len(records)})
		began = time.Now()
		taken := w.takeAll(ctx, records)
		w.observe(Stage{Name: StageTake, Began: began, Records: taken})
	}
	if w.open != nil && w.cfg.Now().Sub(w.open.opened) >= w.cfg.WindowAge {
		_ = w.close(ctx)
	}
}

func (w *Worker) isFull() bool {
	o := w.open
	return o != nil && (o.records() >= w.cfg.WindowRows || o.rows.Bytes()+o.rejects.Bytes() >= w.cfg.WindowBytes)
}

// untilDue is how long Poll may wait: until the open window is due.
// It also returns the number of rewinds so far.
func (w *Worker) untilDue() (due time.Duration, rewinds int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		return w.cfg.WindowAge, w.rewinds
	}
	return max(w.cfg.WindowAge-w.cfg.Now().Sub(w.open.opened), time.Millisecond), w.rewinds
}

// next is where each partition's next record begins.
func (w *Worker) next() cardlake.Positions {
	out := make(cardlake.Positions, len(w.parts))
	for p, state := range w.parts {
		out[p] = state.next
	}
	return out
}

// Committed returns the position after the last committed record of each partition that the
// worker owns.
func (w *Worker) Committed() cardlake.Positions { return w.pipe.positions() }

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
