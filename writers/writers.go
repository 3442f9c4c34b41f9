// Package writers collects rows in memory and writes them as encrypted Parquet files: one
// for each tenant and day that has rows when a window closes. [Writer] makes the windows of
// cards.transactions, [Rejected] those of cards.transactions_rejected, [Totals] those of
// cards.control_totals.
//
// A window is the caller's: it adds rows, then calls Flush with the stream positions that
// the rows lie between, then commits the files to the catalog, then calls Release. Until the
// commit the files are objects that no table mentions; those of an abandoned window stay
// behind for maintenance to remove.
package writers

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// Config tunes a [Writer], [Rejected] or [Totals]. The zero value is right for most uses.
type Config struct {
	// Parallel is how many files Flush encodes and puts at once, default GOMAXPROCS.
	Parallel int
	// OpenFiles is how many tenants' days one window holds in memory, default 1,024. Beyond
	// it those with the fewest rows are written before the window closes: each costs memory
	// of its own, and theirs holds the least.
	OpenFiles int
	// Parquet tunes the files.
	Parquet parquet.Config
}

// batch is what the batches of all tables have in common.
type batch interface {
	Len() int
	Bytes() int64
	TimeRange() (min, max int64)
	View() arrow.RecordBatch
	// ViewBytes is about what the columns of View take beside Bytes.
	ViewBytes() int64
	Reset()
}

// openBytes is about what an open batch takes before its first row. Counting it lets a limit
// on Bytes close a window of few rows for each of very many days.
const openBytes = 16 << 10

// factory makes the windows of one table and keeps what they reuse. It is safe for
// concurrent use.
type factory[B batch] struct {
	table    *cardlake.Table
	store    objects.Store
	cfg      Config
	newBatch func() B
	batches  stock[B]
	// record makes the record of a batch, in the columns if its table's batches can share them.
	record func(B, *cardlake.Columns) (arrow.RecordBatch, error)
	makers makers
}

// maker is what a file is made with.
type maker struct {
	columns *cardlake.Columns
	encoder *parquet.Encoder
}

// makers keeps those that are not in use, with the memory they have grown to, as many as files
// are made at once. A sync.Pool would lose them at every collection.
type makers struct {
	mu   sync.Mutex
	idle []maker
	keep int
}

// take returns an idle maker, and false if there is none.
func (m *makers) take() (idle maker, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.idle); n > 0 {
		idle, m.idle = m.idle[n-1], m.idle[:n-1]
		return idle, true
	}
	return maker{}, false
}

func (m *makers) put(done maker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.idle) < m.keep {
		m.idle = append(m.idle, done)
	}
}

// stock keeps empty batches with the memory they have grown to: growing anew for each window
// would cost an eighth of the worker's time. A sync.Pool would lose them at every collection.
type stock[B batch] struct {
	mu      sync.Mutex
	batches []stocked[B]
	bytes   int64
}

type stocked[B batch] struct {
	batch B
	bytes int64 // of the rows it held last
}

// stockBytes bounds the memory of batches that wait for their next use.
const stockBytes = 256 << 20

// take returns the batch that was put last, and false if there is none.
func (s *stock[B]) take() (b B, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.batches)
	if n == 0 {
		return b, false
	}
	last := s.batches[n-1]
	s.batches = slices.Delete(s.batches, n-1, n)
	s.bytes -= last.bytes
	return last.batch, true
}

// put keeps a batch that held so many bytes, unless there are enough.
func (s *stock[B]) put(b B, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes += openBytes; s.bytes+bytes <= stockBytes {
		s.batches = append(s.batches, stocked[B]{b, bytes})
		s.bytes += bytes
	}
}

func newFactory[B batch](table *cardlake.Table, store objects.Store, cfg Config,
	newBatch func() B, record func(B, *cardlake.Columns) (arrow.RecordBatch, error)) *factory[B] {
	if cfg.Parallel <= 0 {
		cfg.Parallel = runtime.GOMAXPROCS(0)
	}
	if cfg.OpenFiles <= 0 {
		cfg.OpenFiles = 1024
	}
	return &factory[B]{
		table: table, store: store, cfg: cfg,
		newBatch: newBatch, record: record, makers: makers{keep: cfg.Parallel},
	}
}

// window is the open batches of one table, by partition. Rows are added by one goroutine;
// Views may be called by another, and while Flush or Spill runs.
type window[B batch] struct {
	*factory[B]
	open    map[partition]*openFile[B]
	last    *openFile[B]        // that took the newest row
	spilled []cardlake.DataFile // written before the window closes
	rows    int
	bytes   int64
	viewed  atomic.Int64 // bytes of the columns of views
}

type partition struct {
	tenant cardlake.Tenant
	day    cardlake.Day
}

// openFile is a batch that will be one object.
type openFile[B batch] struct {
	partition
	batch  B
	owner  keys.Owner
	folder string
	// mu keeps Record and View apart, which both look at the whole batch.
	mu sync.Mutex
	// isViewed says that somebody may still be reading a view.
	isViewed bool
	// written is the object that an earlier Flush made of the rows, nameless if there is none.
	written cardlake.DataFile
	// isDestroyed says that the owner's key was destroyed before the rows could be written:
	// they go the way of those that were.
	isDestroyed bool
}

func newWindow[B batch](f *factory[B]) window[B] {
	return window[B]{factory: f, open: map[partition]*openFile[B]{}}
}

// Rows returns the number of rows that were added.
func (w *window[B]) Rows() int { return w.rows }

// Bytes returns about how much memory they take, the columns of Views included.
func (w *window[B]) Bytes() int64 { return w.bytes + w.viewed.Load() }

// place says where the object of a new batch goes.
type place func() (owner keys.Owner, folder string, err error)

// file returns the partition's open batch, and nil if there is none.
func (w *window[B]) file(p partition) *openFile[B] {
	if w.last != nil && w.last.partition == p {
		return w.last
	}
	f := w.open[p]
	if f != nil {
		w.last = f
	}
	return f
}

// add appends a row to the partition's batch.
func (w *window[B]) add(p partition, place place, appendTo func(B) error) error {
	f := w.file(p)
	isNew := f == nil
	if isNew {
		owner, folder, err := place()
		if err != nil {
			return err
		}
		var ok bool
		f = &openFile[B]{owner: owner, folder: folder}
		if f.batch, ok = w.batches.take(); !ok {
			f.batch = w.newBatch()
		}
	}
	before := f.batch.Bytes()
	if err := appendTo(f.batch); err != nil {
		if isNew {
			w.batches.put(f.batch, 0)
		}
		return err
	}
	if isNew {
		// The tenant's name may lie in memory that is reused.
		p.tenant = cardlake.Tenant(strings.Clone(string(p.tenant)))
		f.partition, w.open[p], w.last = p, f, f
		w.bytes += openBytes
	}
	w.bytes += f.batch.Bytes() - before
	w.rows++
	f.written = cardlake.DataFile{}
	return nil
}

// Crowded reports whether the window holds more tenants' days in memory than
// Config.OpenFiles: time to Spill.
func (w *window[B]) Crowded() bool { return len(w.open) > w.cfg.OpenFiles }

// Spill writes the quarter of the open batches that have the fewest rows; Flush returns their
// objects with its own. The window's rows so far lie between the positions from and to. The
// rows stay in memory until LetGo. After an error Spill can be called again.
func (w *window[B]) Spill(ctx context.Context, from, to cardlake.Positions) error {
	parts := make([]partition, 0, len(w.open))
	for p := range w.open {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b partition) int {
		return cmp.Or(cmp.Compare(w.open[a].batch.Len(), w.open[b].batch.Len()), a.compare(b))
	})
	return w.write(ctx, parts[:(len(parts)+3)/4], from, to)
}

// LetGo frees the memory of the rows that Spill has written, also if it returned an error. It
// writes nothing, so that a lock that keeps Views out is held for an instant only.
func (w *window[B]) LetGo() {
	for p, f := range w.open {
		switch {
		case f.isDestroyed:
		case f.written.Name == "":
			continue
		default:
			w.spilled = append(w.spilled, f.written)
		}
		w.bytes -= openBytes + f.batch.Bytes()
		w.viewed.Add(-f.batch.ViewBytes())
		if !f.isViewed { // else the views share the batch's memory
			w.free(f)
		}
		delete(w.open, p)
	}
	w.last = nil
}

// Flush writes an object for each partition that has rows and returns them, in order of
// tenant and day. The rows lie between the positions from and to. They stay in memory until
// Release.
//
// A partition whose owner's key was destroyed has no object: its rows are as unreadable as if
// they had been written before. After an error Flush can be called again: what was put already
// is not put again.
func (w *window[B]) Flush(ctx context.Context, from, to cardlake.Positions) ([]cardlake.DataFile, error) {
	parts := make([]partition, 0, len(w.open))
	for p := range w.open {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, partition.compare)
	if err := w.write(ctx, parts, from, to); err != nil {
		return nil, err
	}
	files := slices.Clone(w.spilled)
	for _, p := range parts {
		if f := w.open[p]; !f.isDestroyed {
			files = append(files, f.written)
		}
	}
	slices.SortStableFunc(files, func(a, b cardlake.DataFile) int {
		return partition{a.Tenant, a.Day}.compare(partition{b.Tenant, b.Day})
	})
	return files, nil
}

func (p partition) compare(q partition) int {
	return cmp.Or(strings.Compare(string(p.tenant), string(q.tenant)), cmp.Compare(p.day, q.day))
}

// write makes the objects of the partitions that have none yet.
func (w *window[B]) write(ctx context.Context, parts []partition, from, to cardlake.Positions) error {
	positions, err := fingerprint(from, to)
	if err != nil {
		return fmt.Errorf("write %s: %w", w.table.FullName(), err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(w.cfg.Parallel)
	for _, p := range parts {
		f := w.open[p]
		if f.written.Name != "" {
			continue
		}
		group.Go(func() error {
			if err := groupCtx.Err(); err != nil {
				return err
			}
			written, err := w.put(groupCtx, p, f, positions)
			if f.isDestroyed = errors.Is(err, keys.ErrDestroyed); f.isDestroyed {
				return nil
			}
			if err == nil {
				f.written = written
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("write %s: %w", w.table.FullName(), err)
	}
	return nil
}

// put encodes the batch and puts it under the first name that is free. A name that is taken
// belongs to an attempt whose outcome nobody knows any more: it is left alone.
func (w *window[B]) put(ctx context.Context, p partition, f *openFile[B], positions string) (cardlake.DataFile, error) {
	m, ok := w.makers.take()
	if !ok {
		m = maker{cardlake.NewColumns(), parquet.NewEncoder(w.table, w.cfg.Parquet)}
	}
	defer w.makers.put(m)
	f.mu.Lock()
	record, err := w.record(f.batch, m.columns)
	f.mu.Unlock()
	if err != nil {
		return cardlake.DataFile{}, err
	}
	body, splits, err := m.encoder.Encode(record)
	if err != nil {
		return cardlake.DataFile{}, err
	}
	file := cardlake.DataFile{Tenant: p.tenant, Day: p.day, Rows: int64(f.batch.Len()), Bytes: int64(len(body)), SplitOffsets: splits}
	file.MinTime, file.MaxTime = f.batch.TimeRange()
	for attempt := 0; ; attempt++ {
		file.Name = fmt.Sprintf("%s/%s/%s-%d.parquet", f.folder, p.day, positions, attempt)
		err := w.store.Put(ctx, file.Name, f.owner, body)
		if err == nil || !errors.Is(err, objects.ErrExists) {
			return file, err
		}
	}
}

// Views returns the rows in memory, a record for each tenant and day, and false if some were
// written already and let go: then it has none. It must not run at the same time as Add or
// LetGo; the records may be read while rows are added, written and let go, until Release.
func (w *window[B]) Views() ([]arrow.RecordBatch, bool) {
	if len(w.spilled) > 0 {
		return nil, false
	}
	views := make([]arrow.RecordBatch, 0, len(w.open))
	for _, f := range w.open {
		f.mu.Lock()
		before := f.batch.ViewBytes()
		views = append(views, f.batch.View())
		w.viewed.Add(f.batch.ViewBytes() - before)
		f.mu.Unlock()
		f.isViewed = true
	}
	return views, true
}

// Release drops all rows and gives their memory to later windows. Nobody may hold a View.
func (w *window[B]) Release() {
	for _, f := range w.open {
		w.free(f)
	}
	w.open, w.last, w.spilled = nil, nil, nil
	w.rows, w.bytes = 0, 0
	w.viewed.Store(0)
}

func (w *window[B]) free(f *openFile[B]) {
	bytes := f.batch.Bytes() + f.batch.ViewBytes()
	f.batch.Reset()
	w.batches.put(f.batch, bytes)
}

// fingerprint is 16 letters a to p of the SHA-256 of the positions: the part of an object's
// name that tells one window from another.
func fingerprint(from, to cardlake.Positions) (string, error) {
	h := sha256.New()
	for _, p := range []cardlake.Positions{from, to} {
		text, err := p.MarshalText()
		if err != nil {
			return "", fmt.Errorf("positions: %w", err)
		}
		h.Write(append(text, 0))
	}
	return string(cardlake.AppendLetters(nil, h.Sum(nil)[:8])), nil
}
