// Package embedded answers statements with DuckDB inside the process: no server, no
// network, and nothing on disk. Sealed objects are decrypted into anonymous memory files
// (Linux memfd) that exist as long as one answer does, or a little longer in a bounded cache;
// DuckDB opens them through /proc/self/fd. The tail of cards.transactions (queries.Tail) is
// one more such file for each of its records. It may spill nothing: a statement that needs more
// memory than it is given fails.
//
// Of an object no more is decrypted than a statement needs: its metadata and the columns that
// the check found used (queries.Read.Uses), and nothing of files in which no row can be used
// (queries.Read.Filters), as the catalog, the files' bounds and their bloom filters tell. A memory
// file has the object's size with holes where nothing was decrypted. No table has a column that
// lies in a hole: to name one is an error, whatever the check found. Other statements may add
// columns to a file in the cache; the memory file can be written through one mapping of this
// package's and in no other way.
//
// Each statement has an instance of its own, which nobody used before and which holds only the
// tables that the statement reads, in one snapshot each. Before the statement is seen, the
// instance is locked: it can open those memory files and nothing else, load no extension, and
// change no setting. So an instance refuses files and settings even if the check of package
// queries failed.
//
// A table is a view of what the decision permits: for each of its scopes the columns clear,
// masked or NULL, over the files of the scope's tenants, united. Files of other tenants are
// neither opened nor counted, rows of other tenants in the tail are left out before a memory
// file is written, and the view asks for the tenants by name once more, unless the files' own
// metadata prove that they have no rows but those that the catalog tells of.
//
// Small answers can be kept for the same question asked again, which an instance is not needed
// for: the same text, of the same files, under a decision that gives the same. See answers.
//
// The pages of a memory file can be swapped out; encrypt or switch off the swap of a machine
// that reads card data.
package embedded

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// Planner says which files make up a table. One that is a [queries.History] too does so of older
// snapshots.
type Planner = queries.Planner

// Table is one table of a catalog, such as catalog/iceberg's.
type Table interface {
	// Current returns the newest snapshot, with ID 0 when nothing was committed yet.
	Current(ctx context.Context) (catalog.Snapshot, error)
	// Snapshots returns the current snapshot and those before it that are kept.
	Snapshots(ctx context.Context) ([]catalog.Snapshot, error)
	// Files returns the files of a snapshot.
	Files(ctx context.Context, snapshotID int64) ([]cardlake.DataFile, error)
}

// Tables plans with the tables that open returns, each opened once. It is safe for
// concurrent use if they are.
func Tables[T Table](open func(ctx context.Context, table *cardlake.Table) (T, error)) queries.History {
	return &tables[T]{open: open, opened: map[*cardlake.Table]T{}}
}

type tables[T Table] struct {
	open func(ctx context.Context, table *cardlake.Table) (T, error)

	mu     sync.Mutex
	opened map[*cardlake.Table]T
}

// Plan implements Planner.
func (p *tables[T]) Plan(ctx context.Context, def *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	t, err := p.table(ctx, def)
	if err != nil {
		return catalog.Snapshot{}, nil, err
	}
	s, err := t.Current(ctx)
	if err != nil || s.ID == 0 {
		return s, nil, err
	}
	files, err := t.Files(ctx, s.ID)
	return s, files, err
}

// PlanAt implements queries.History.
func (p *tables[T]) PlanAt(ctx context.Context, def *cardlake.Table, id int64) (catalog.Snapshot, []cardlake.DataFile, error) {
	t, err := p.table(ctx, def)
	if err != nil {
		return catalog.Snapshot{}, nil, err
	}
	s, err := snapshot(ctx, t, id)
	if err != nil {
		return s, nil, err
	}
	files, err := t.Files(ctx, id)
	if err != nil {
		// It may have expired since.
		if _, gone := snapshot(ctx, t, id); errors.Is(gone, queries.ErrNoSnapshot) {
			err = gone
		}
	}
	return s, files, err
}

// snapshot returns the table's snapshot of that id.
func snapshot(ctx context.Context, t Table, id int64) (catalog.Snapshot, error) {
	if s, err := t.Current(ctx); err != nil || s.ID == id {
		return s, err
	}
	all, err := t.Snapshots(ctx)
	if err != nil {
		return catalog.Snapshot{}, err
	}
	if i := slices.IndexFunc(all, func(s catalog.Snapshot) bool { return s.ID == id }); i >= 0 {
		return all[i], nil
	}
	return catalog.Snapshot{}, queries.ErrNoSnapshot
}

func (p *tables[T]) table(ctx context.Context, def *cardlake.Table) (T, error) {
	p.mu.Lock()
	t, ok := p.opened[def]
	p.mu.Unlock()
	if ok {
		return t, nil
	}
	t, err := p.open(ctx, def)
	if err == nil {
		p.mu.Lock()
		p.opened[def] = t
		p.mu.Unlock()
	}
	return t, err
}

// Config bounds what one statement may use. The zero value is usable.
type Config struct {
	// Memory bounds the bytes DuckDB works with; 0 means 512 MiB. What DuckDB does not count,
	// such as long text and lists, ends a statement when all of them together hold twice as much
	// and 256 MiB more.
	Memory int64
	// MaxBytes bounds what is decrypted for one statement, which is held in memory besides
	// Memory; 0 means 2 GiB. It counts the columns that the statement names, in blocks of 64 KiB.
	MaxBytes int64
	// Threads are DuckDB's at most, for statements that read many rows; 0 means one per processor.
	Threads int
	// Fetches is how many objects are opened and decrypted at once; 0 means 8.
	Fetches int

	// Tail, if not nil, has the rows of cards.transactions beyond its snapshot.
	Tail queries.Tail
	// TailTimeout bounds the wait for it; 0 means 2 s. Without an answer the snapshot alone
	// is read, and the answer says so.
	TailTimeout time.Duration

	// CacheBytes is how much of decrypted files is kept in memory for the next statements; 0
	// means none. CacheAge is how long at most, so that a destroyed key takes its effect; 0
	// means 1 minute.
	CacheBytes int64
	CacheAge   time.Duration

	// AnswerBytes is how much of small answers is kept in memory for the same questions asked
	// again; 0 means none. They are of a snapshot (queries.Read.IsPinned), and kept no longer after
	// what they rest on was decrypted than CacheAge.
	AnswerBytes int64

	// Ready is how many instances of DuckDB are kept started for the next statements, each of
	// which has one to itself; 0 means none. To start one takes some 10 ms. Who sets it calls
	// [Engine.Close].
	Ready int
}

func (c Config) withDefaults() Config {
	if c.Memory == 0 {
		c.Memory = 512 << 20
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 2 << 30
	}
	if c.Threads == 0 {
		c.Threads = runtime.GOMAXPROCS(0)
	}
	if c.Fetches == 0 {
		c.Fetches = 8
	}
	if c.TailTimeout == 0 {
		c.TailTimeout = 2 * time.Second
	}
	if c.CacheAge == 0 {
		c.CacheAge = time.Minute
	}
	return c
}

// Engine implements queries.Engine. It is safe for concurrent use; each statement has its
// own memory. What it keeps for the next ones, if it is told to, Close frees.
type Engine struct {
	planner Planner
	store   objects.Store
	cfg     Config
	cache   *cache[string, *dataFile]
	answers *answers
	guard   guard
	ready   ready

	mu    sync.Mutex
	shown cardlake.Positions // the furthest that answers held of each partition

	tails sync.Pool // *parquet.Encoder
}

// New returns an engine over the planner's tables, whose files are in the store.
func New(planner Planner, store objects.Store, cfg Config) *Engine {
	cfg = cfg.withDefaults()
	return &Engine{
		planner: planner, store: store, cfg: cfg, shown: cardlake.Positions{},
		cache: newCache[string, *dataFile](cfg.CacheBytes, cfg.CacheAge), answers: newAnswers(cfg.AnswerBytes, cfg.CacheAge),
		ready: ready{cfg: cfg},
		tails: sync.Pool{New: func() any { return parquet.NewEncoder(cardlake.Transactions, parquet.Config{}) }},
	}
}

// Query implements queries.Engine. DuckDB computes the whole answer, within the memory
// limit, before the first row is read from it.
func (e *Engine) Query(ctx context.Context, s queries.Statement) (queries.Rows, error) {
	p, err := e.plan(ctx, s.Reads)
	if err != nil {
		return nil, err
	}
	key, mayKeep := answerKey{}, false
	if e.cfg.AnswerBytes > 0 {
		key, mayKeep = keyOf(s, p)
	}
	if !mayKeep {
		return e.compute(ctx, s, p)
	}
	kept, done, err := e.answers.find(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case kept != nil:
		return kept.of(p.snapshots, nil), nil
	}
	defer done()
	a, err := e.compute(ctx, s, p)
	if err != nil {
		return nil, err
	}
	if kept, err = a.collect(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	if kept == nil {
		return a, nil
	}
	if kept.bytes <= maxAnswerBytes {
		e.answers.kept.keep(key, kept)
	}
	return kept.of(slices.Clone(p.snapshots), a), nil
}

// compute answers the statement, which was planned.
func (e *Engine) compute(ctx context.Context, s queries.Statement, p *plan) (_ *answer, err error) {
	a := &answer{}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	cfg := e.cfg
	cfg.Memory = tighter(cfg.Memory, s.Limits.Memory)
	cfg.MaxBytes = tighter(cfg.MaxBytes, s.Limits.MaxBytes)
	defer e.ready.ended()
	started := make(chan error, 1)
	go func() {
		var err error
		a.instance, err = e.ready.take(ctx, cfg)
		started <- err
	}()
	err = e.fetch(ctx, cfg, p, a)
	if err := errors.Join(err, <-started); err != nil {
		return nil, err
	}
	if err := a.instance.define(ctx, p.sources, s.Views); err != nil {
		return nil, err
	}
	if err := a.instance.lock(ctx, p.sources, threads(cfg, p.snapshots)); err != nil {
		return nil, err
	}
	running, stop := e.guard.watch(ctx, cfg.Memory)
	defer stop()
	if err := a.run(running, s); err != nil {
		if errors.Is(context.Cause(running), errMemory) {
			return nil, tooMuchMemory(cfg)
		}
		return nil, explain(ctx, err, cfg, s)
	}
	return a, nil
}

// threads is how many a statement gets: one for so many rows. More than it can use spin while they
// wait for each other, and are taken from the other statements.
func threads(cfg Config, read []queries.Snapshot) int {
	const rowsEach = 500_000
	var rows int64
	for _, s := range read {
		rows += s.Rows + s.TailRows
	}
	return int(min(int64(cfg.Threads), 1+rows/rowsEach))
}

// Columns implements queries.Engine: over tables without files.
func (e *Engine) Columns(ctx context.Context, s queries.Statement) (_ []queries.Column, err error) {
	a := &answer{}
	defer func() { err = errors.Join(err, a.Close()) }()
	cfg := e.cfg
	cfg.Memory = tighter(cfg.Memory, s.Limits.Memory)
	defer e.ready.ended()
	if a.instance, err = e.ready.take(ctx, cfg); err != nil {
		return nil, err
	}
	sources := make([]source, len(s.Reads))
	for i, r := range s.Reads {
		sources[i] = newSource(r)
	}
	if err := errors.Join(a.instance.define(ctx, sources, s.Views), a.instance.lock(ctx, nil, 1)); err != nil {
		return nil, err
	}
	if err := a.prepare(ctx, s); err != nil {
		return nil, explain(ctx, err, cfg, s)
	}
	return a.columns, nil
}

// Close frees what is kept for the next statements. Those that run go on.
func (e *Engine) Close() error {
	e.answers.kept.clear()
	e.cache.clear()
	return e.ready.close()
}

// tighter returns the engine's bound, or the statement's if it has a smaller one.
func tighter(own, statements int64) int64 {
	if statements > 0 && statements < own {
		return statements
	}
	return own
}

// State implements queries.Engine.
func (e *Engine) State(ctx context.Context, r queries.Read) (queries.Snapshot, error) {
	return r.State(ctx, e.planner)
}

// planTable returns the table's state and the files that the decision permits, by its scopes.
func (e *Engine) planTable(ctx context.Context, r queries.Read) (queries.Snapshot, [][]cardlake.DataFile, error) {
	snapshot, files, err := r.Plan(ctx, e.planner)
	if err != nil {
		return queries.Snapshot{}, nil, err
	}
	byScope := make([][]cardlake.DataFile, len(r.Decision.Scopes))
	for _, f := range files {
		if i := scopeOf(r.Decision, f.Tenant); i >= 0 {
			byScope[i] = append(byScope[i], f)
		}
	}
	// Files, bytes and rows are told when it is known which are read.
	return queries.Snapshot{Table: r.Table, ID: snapshot.ID, CommittedAt: snapshot.CommittedAt, Positions: snapshot.Positions}, byScope, nil
}

// scopeOf returns the index of the scope that the tenant's rows are in, -1 if they are in none.
func scopeOf(d *grants.Decision, tenant cardlake.Tenant) int {
	scope := d.Scope(tenant)
	for i := range d.Scopes {
		if &d.Scopes[i] == scope {
			return i
		}
	}
	return -1
}
