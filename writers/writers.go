// Package writers collects rows in memory and writes them as encrypted Parquet files: one
// for each tenant and day that has rows when a window closes. [Writer] keeps
// cards.transactions, [Rejected] keeps cards.transactions_rejected.
//
// A window is the caller's: it adds rows, then calls Flush with the stream positions that
// the rows lie between, then commits the files to the catalog. Until the commit the files
// are objects that no table mentions; those of an abandoned window stay behind for
// maintenance to remove.
package writers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// Config tunes a [Writer] or [Rejected]. The zero value is right for most uses.
type Config struct {
	// Parallel is how many files Flush encodes and puts at once, default GOMAXPROCS.
	Parallel int
	// Parquet tunes the files.
	Parquet parquet.Config
}

// batch is what the batches of all tables have in common.
type batch interface {
	Len() int
	Bytes() int64
	TimeRange() (min, max int64)
	Record() (arrow.RecordBatch, error)
	Reset()
}

// openBytes is about what an open batch takes before its first row. Counting it lets a limit
// on Bytes close a window of few rows for each of very many days.
const openBytes = 16 << 10

// window is the open batches of one table, by partition.
type window[B batch] struct {
	table    *cardlake.Table
	store    objects.Store
	parallel int
	encoders sync.Pool // *parquet.Encoder
	batches  sync.Pool // B, empty; the collector frees those that stay unused
	open     map[partition]*openFile[B]
	rows     int
	bytes    int64
}

type partition struct {
	tenant cardlake.Tenant
	day    cardlake.Day
}

// openFile is a batch that will be one object.
type openFile[B batch] struct {
	batch  B
	owner  keys.Owner
	folder string

	// written is the object that an earlier Flush made of the rows as they are, empty if
	// there is none.
	written cardlake.DataFile
}

func newWindow[B batch](table *cardlake.Table, store objects.Store, newBatch func() B, cfg Config) window[B] {
	if cfg.Parallel <= 0 {
		cfg.Parallel = runtime.GOMAXPROCS(0)
	}
	return window[B]{
		table: table, store: store, parallel: cfg.Parallel,
		encoders: sync.Pool{New: func() any { return parquet.NewEncoder(table, cfg.Parquet) }},
		batches:  sync.Pool{New: func() any { return newBatch() }},
		open:     map[partition]*openFile[B]{},
	}
}

// Rows returns the number of rows added since the last Flush or Discard.
func (w *window[B]) Rows() int { return w.rows }

// Bytes returns about how much memory they take.
func (w *window[B]) Bytes() int64 { return w.bytes }

// add appends a row to the partition's batch. place says where a new batch's object goes.
func (w *window[B]) add(p partition, place func() (keys.Owner, string, error), appendTo func(B) error) error {
	f := w.open[p]
	isNew := f == nil
	if isNew {
		owner, folder, err := place()
		if err != nil {
			return err
		}
		f = &openFile[B]{batch: w.batches.Get().(B), owner: owner, folder: folder}
	}
	before := f.batch.Bytes()
	if err := appendTo(f.batch); err != nil {
		if isNew {
			w.batches.Put(f.batch)
		}
		return err
	}
	if isNew {
		// The tenant's name may lie in memory that is reused.
		w.open[partition{cardlake.Tenant(strings.Clone(string(p.tenant))), p.day}] = f
		w.bytes += openBytes
	}
	w.bytes += f.batch.Bytes() - before
	w.rows++
	f.written = cardlake.DataFile{}
	return nil
}

// Flush writes an object for each partition that has rows and returns them, in order of
// tenant and day; the window is then empty. The rows lie between the positions from and to.
//
// After an error the window is as it was, and Flush can be called again: what was put
// already is put again only if rows were added to it.
func (w *window[B]) Flush(ctx context.Context, from, to cardlake.Positions) ([]cardlake.DataFile, error) {
	positions, err := fingerprint(from, to)
	if err != nil {
		return nil, fmt.Errorf("flush %s: %w", w.table.FullName(), err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(w.parallel)
	for p, f := range w.open {
		if f.written.Name != "" {
			continue
		}
		group.Go(func() error {
			if err := groupCtx.Err(); err != nil {
				return err
			}
			written, err := w.write(groupCtx, p, f, positions)
			if err == nil {
				f.written = written
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("flush %s: %w", w.table.FullName(), err)
	}
	files := make([]cardlake.DataFile, 0, len(w.open))
	for _, f := range w.open {
		files = append(files, f.written)
	}
	slices.SortFunc(files, func(a, b cardlake.DataFile) int {
		if c := strings.Compare(string(a.Tenant), string(b.Tenant)); c != 0 {
			return c
		}
		return int(a.Day) - int(b.Day)
	})
	w.Discard()
	return files, nil
}

// write encodes the batch and puts it under the first name that is free. A name that is taken
// belongs to an attempt whose outcome nobody knows any more: it is left alone.
func (w *window[B]) write(ctx context.Context, p partition, f *openFile[B], positions string) (cardlake.DataFile, error) {
	record, err := f.batch.Record()
	if err != nil {
		return cardlake.DataFile{}, err
	}
	encoder := w.encoders.Get().(*parquet.Encoder)
	defer w.encoders.Put(encoder)
	body, splits, err := encoder.Encode(record)
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

// Discard drops all rows.
func (w *window[B]) Discard() {
	for _, f := range w.open {
		f.batch.Reset()
		w.batches.Put(f.batch)
	}
	clear(w.open)
	w.rows, w.bytes = 0, 0
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
