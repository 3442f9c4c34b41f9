// Package pebblestore keeps a vault's entries in a Pebble store in one folder of a local disk:
// the embedded default, for one process at a time.
//
// Writers share syncs: a write is checked and applied under a lock that is not held while the
// log is synced, so all that arrive meanwhile are made durable by the next sync. Pebble shows
// a batch to readers before that sync is done. Therefore a reader waits until the newest
// write that it may have seen is on the disk: the log is written in order, so all before it
// are too.
package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// Config tunes a store.
type Config struct {
	// Logger gets the store's complaints; discards if nil.
	Logger *slog.Logger
	// Fatal is called when the disk fails so that the store cannot go on. It must not return.
	// If nil, one line goes to standard error and the process exits with code 2.
	Fatal func(err error)
}

// Store implements vault.Store.
type Store struct {
	db *pebble.DB

	mu     sync.Mutex // held while a write is checked and applied
	newest atomic.Pointer[flight]
	failed atomic.Pointer[error] // a sync failed: what is in memory may not be on the disk
}

// flight is a write on its way to the disk.
type flight struct {
	landed chan struct{}
	err    error
}

var _ vault.Store = (*Store)(nil)

// The store's key space, by first byte.
const (
	rowPrefix = 'v' // + owner, zero byte, version of the token, 4 bytes big endian, its bits
	formatKey = "format"
)

const (
	bitsLen  = len(tokenize.Token{}.Bits)
	tokenLen = 4 + bitsLen
)

// Open opens the store in dir, which it creates if it is not there. vault.ErrFormat says that
// a newer program wrote it.
func Open(dir string, cfg Config) (*Store, error) { return open(vfs.Default, dir, cfg) }

func open(fs vfs.FS, dir string, cfg Config) (*Store, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Fatal == nil {
		cfg.Fatal = func(err error) {
			fmt.Fprintf(os.Stderr, "vault: %v; free or repair the disk and start again\n", err)
			os.Exit(2)
		}
	}
	cache := pebble.NewCache(64 << 20)
	defer cache.Unref()
	opts := &pebble.Options{
		FS:                 fs,
		Cache:              cache,
		MemTableSize:       16 << 20,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             logger{cfg},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { cfg.Logger.Error("vault's store", "error", err) },
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	// Hashes and sealed values do not compress, and a search of the folder's bytes for card
	// numbers is proof.
	opts.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	db, err := pebble.Open(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("open vault's store in %s (one process at a time may): %w", dir, err)
	}
	if err := checkFormat(db); err != nil {
		return nil, errors.Join(fmt.Errorf("open vault's store in %s: %w", dir, err), db.Close())
	}
	return &Store{db: db}, nil
}

func checkFormat(db *pebble.DB) error {
	v, closer, err := db.Get([]byte(formatKey))
	if errors.Is(err, pebble.ErrNotFound) {
		return db.Set([]byte(formatKey), binary.BigEndian.AppendUint32(nil, vault.Format), pebble.Sync)
	}
	if err != nil {
		return err
	}
	stored := 0
	if len(v) == 4 {
		stored = int(binary.BigEndian.Uint32(v))
	}
	return errors.Join(vault.CheckFormat(stored), closer.Close())
}

// Close closes the store. Every other call must have returned.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close vault's store: %w", err)
	}
	return nil
}

func appendKey(dst []byte, owner keys.Owner, t tokenize.Token) []byte {
	dst = append(append(append(dst, rowPrefix), owner...), 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.Version))
	return append(dst, t.Bits[:]...)
}

// Read implements vault.Store.
func (s *Store) Read(ctx context.Context, owner keys.Owner, tokens []tokenize.Token) ([][]byte, error) {
	out := make([][]byte, len(tokens))
	var key []byte
	isFound := false
	for i, t := range tokens {
		key = appendKey(key[:0], owner, t)
		v, closer, err := s.db.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read vault's store: %w", err)
		}
		out[i], isFound = bytes.Clone(v), true
		if err := closer.Close(); err != nil {
			return nil, fmt.Errorf("read vault's store: %w", err)
		}
	}
	if !isFound {
		return out, s.failure()
	}
	return out, s.wait(ctx)
}

// Scan implements vault.Store.
func (s *Store) Scan(ctx context.Context, owner keys.Owner, after tokenize.Token, limit int) (rows []vault.Row, err error) {
	first := append(appendKey(nil, owner, after), 0) // the first key that is not at or before it
	end := append(append([]byte{rowPrefix}, owner...), 1)
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: first, UpperBound: end})
	if err != nil {
		return nil, fmt.Errorf("scan vault's store: %w", err)
	}
	for ok := it.First(); ok && len(rows) < limit; ok = it.Next() {
		key := it.Key()[len(end):]
		if len(key) != tokenLen {
			err = fmt.Errorf("%w: key has %d bytes", vault.ErrDamaged, len(key))
			break
		}
		row := vault.Row{Value: bytes.Clone(it.Value())}
		row.Token.Version = int(binary.BigEndian.Uint32(key))
		copy(row.Token.Bits[:], key[4:])
		rows = append(rows, row)
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return nil, fmt.Errorf("scan vault's store: %w", err)
	}
	return rows, s.wait(ctx)
}

// Write implements vault.Store.
func (s *Store) Write(ctx context.Context, owner keys.Owner, changes []vault.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b := s.db.NewBatch()
	defer b.Close()
	f, err := s.apply(b, owner, changes)
	if err != nil {
		return err
	}
	f.err = b.SyncWait()
	return s.land(f)
}

// apply makes the changes visible, if the entries are as expected.
func (s *Store) apply(b *pebble.Batch, owner keys.Owner, changes []vault.Change) (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failure(); err != nil {
		return nil, err
	}
	var key []byte
	for _, c := range changes {
		key = appendKey(key[:0], owner, c.Token)
		if err := s.expect(key, c.Old); err != nil {
			return nil, err
		}
		err := error(nil)
		if c.New == nil {
			err = b.Delete(key, nil)
		} else {
			err = b.Set(key, c.New, nil)
		}
		if err != nil {
			return nil, fmt.Errorf("write vault's store: %w", err)
		}
	}
	f := &flight{landed: make(chan struct{})}
	s.newest.Store(f) // before anybody can see the batch
	if f.err = commit(s.db, b); f.err != nil {
		return nil, s.land(f)
	}
	return f, nil
}

// commit applies the batch. Pebble panics when its log has failed under an earlier write; the
// store is not written to after that.
func commit(db *pebble.DB, b *pebble.Batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the log failed: %v", p)
		}
	}()
	return db.ApplyNoSyncWait(b, pebble.Sync)
}

func (s *Store) expect(key, old []byte) error {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		if old != nil {
			return vault.ErrChanged
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("write vault's store: %w", err)
	}
	same := old != nil && bytes.Equal(v, old)
	if err := closer.Close(); err != nil {
		return fmt.Errorf("write vault's store: %w", err)
	}
	if !same {
		return vault.ErrChanged
	}
	return nil
}

// land tells those who wait how a write ended.
func (s *Store) land(f *flight) error {
	if f.err != nil {
		f.err = fmt.Errorf("write vault's store: %w", f.err)
		s.failed.CompareAndSwap(nil, &f.err)
	}
	close(f.landed)
	return f.err
}

// failure is why the store can't be used any more: nobody knows what is on the disk until it
// is opened again.
func (s *Store) failure() error {
	if err := s.failed.Load(); err != nil {
		return fmt.Errorf("vault's store failed before, open it again: %w", *err)
	}
	return nil
}

// wait returns when all that was visible when it was called is on the disk.
func (s *Store) wait(ctx context.Context) error {
	if f := s.newest.Load(); f != nil {
		select {
		case <-f.landed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.failure()
}

// logger passes on what Pebble complains of and drops its chatter.
type logger struct{ cfg Config }

func (logger) Infof(string, ...any) {}
func (l logger) Errorf(format string, args ...any) {
	l.cfg.Logger.Error("vault's store", "error", fmt.Sprintf(format, args...))
}
func (l logger) Fatalf(format string, args ...any) { l.cfg.Fatal(fmt.Errorf(format, args...)) }
