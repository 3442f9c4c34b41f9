package objects

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cardlake/cardlake/keys"
)

// SealedConfig tunes a [Sealed] store. The zero value is right for most uses.
type SealedConfig struct {
	// ChunkSize is the plaintext bytes of one encrypted chunk, rounded up to a power of two
	// from 1 KiB to 1 MiB: the least that a random read decrypts. Objects carry theirs, so it
	// may change. Default 64 KiB.
	ChunkSize int
	// StaleAge is how old an unfinished file of a killed process must be before the first Put
	// of a later one removes it. Default one hour; it must exceed the longest Put.
	StaleAge time.Duration
}

// Sealed is a [Store] in a folder of a local file system that has hard links. Every object is
// one file, encrypted in authenticated chunks under a data key of its own, which the owner's
// object key wraps; stream.go describes the form. An object that was changed, cut, reordered
// or put under another object's name does not open.
//
// A file system cannot hold both an object "a" and an object "a/b"; putting the second of the
// two is an error. Folders that become empty stay.
type Sealed struct {
	root     string
	provider keys.Provider
	chunkLog uint8
	staleAge time.Duration
	buffers  sync.Pool
	prepared sync.Once

	mu     sync.Mutex
	synced map[string]struct{} // folders known to be durable, a bounded cache
}

// incoming is the folder of unfinished files. The tilde cannot occur in an object's name.
const incoming = "incoming~"

// maxSynced bounds the cache of durable folders; forgetting one costs a sync.
const maxSynced = 4096

// NewSealed returns the store in the folder root, which the first Put makes.
func NewSealed(root string, provider keys.Provider, cfg SealedConfig) *Sealed {
	if cfg.ChunkSize <= 0 {
		cfg.ChunkSize = 64 << 10
	}
	if cfg.StaleAge <= 0 {
		cfg.StaleAge = time.Hour
	}
	chunkLog := bits.Len(uint(cfg.ChunkSize - 1))
	return &Sealed{
		root: root, provider: provider, staleAge: cfg.StaleAge,
		chunkLog: uint8(min(max(chunkLog, minChunkLog), maxChunkLog)),
		synced:   map[string]struct{}{},
	}
}

// Put implements [Store]. The file is written aside, synced, linked under its name, and the
// folder synced: whatever fails or is killed in between leaves no object.
func (s *Sealed) Put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	if err := s.put(ctx, name, owner, body); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (s *Sealed) put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	if err := errors.Join(ctx.Err(), ValidateName(name), validateOwner(owner)); err != nil {
		return err
	}
	path := s.path(name)
	if _, err := os.Lstat(path); err == nil {
		return ErrExists
	}
	if err := s.makeFolder(filepath.Join(s.root, incoming)); err != nil {
		return err
	}
	s.prepared.Do(s.removeStale)
	if err := s.makeFolder(filepath.Dir(path)); err != nil {
		return err
	}
	aside := filepath.Join(s.root, incoming, rand.Text())
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// Whether it got its name or not, the file loses this one; a later start tries again.
	defer os.Remove(aside)
	buf := s.buffer()
	err = sealTo(ctx, f, s.provider, s.chunkLog, name, owner, body, *buf)
	s.buffers.Put(buf)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Link(aside, path); errors.Is(err, fs.ErrExist) {
		return ErrExists
	} else if err != nil {
		return err
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		// The name may not survive a crash of the machine: take it back rather than leave
		// an object that the caller believes absent.
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// Open implements [Store]. An object whose key is gone gives [keys.ErrNoKey].
func (s *Sealed) Open(ctx context.Context, name string) (Object, error) {
	o, err := s.open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return o, nil
}

func (s *Sealed) open(ctx context.Context, name string) (_ Object, err error) {
	if err := errors.Join(ctx.Err(), ValidateName(name)); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(name))
	if absent(err) {
		return nil, ErrNotFound
	} else if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNotFound
	}
	st, err := openStream(ctx, f, info.Size(), s.provider, name, &s.buffers)
	if err != nil {
		return nil, err
	}
	return &sealedObject{st, f}, nil
}

// sealedObject is an open object and the file it is read from.
type sealedObject struct {
	*stream
	file *os.File
}

func (o *sealedObject) Size() int64  { return o.size }
func (o *sealedObject) Close() error { return o.file.Close() }

// List implements [Store]. An object that appears or disappears meanwhile may be missed.
func (s *Sealed) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		folder, err := splitPrefix(prefix)
		if err != nil {
			yield(Info{}, fmt.Errorf("list: %w", err))
			return
		}
		top := s.path(folder)
		err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if absent(err) {
				return nil
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			relative, err := filepath.Rel(s.root, path)
			if err != nil {
				return err
			}
			name := filepath.ToSlash(relative)
			if d.IsDir() {
				// Skip the unfinished files, and what the prefix rules out.
				if d.Name() == incoming || path != top && !strings.HasPrefix(name, prefix) {
					return fs.SkipDir
				}
				return nil
			}
			if !d.Type().IsRegular() || !strings.HasPrefix(name, prefix) || ValidateName(name) != nil {
				return nil
			}
			info, err := d.Info()
			if absent(err) {
				return nil
			} else if err != nil {
				return err
			}
			if !yield(Info{name, info.Size(), info.ModTime()}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(Info{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

// Delete implements [Store].
func (s *Sealed) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), ValidateName(name)); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	path := s.path(name)
	if isFolder(path) {
		return fmt.Errorf("delete %s: %w", name, ErrNotFound)
	}
	err := os.Remove(path)
	if absent(err) {
		err = ErrNotFound
	} else if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

func (s *Sealed) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

func (s *Sealed) buffer() *[]byte {
	size := 1<<s.chunkLog + tagSize
	if b, ok := s.buffers.Get().(*[]byte); ok && cap(*b) >= size {
		return b
	}
	b := make([]byte, size)
	return &b
}

// removeStale removes what killed processes left unfinished. What cannot be removed only
// takes room, so it stops no one.
func (s *Sealed) removeStale() {
	folder := filepath.Join(s.root, incoming)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > s.staleAge {
			_ = os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}

// makeFolder makes the folder and those above it, down from the first that is there, each
// synced into its parent.
func (s *Sealed) makeFolder(folder string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.makeFolderLocked(folder)
}

func (s *Sealed) makeFolderLocked(folder string) error {
	if _, ok := s.synced[folder]; ok {
		return nil
	}
	parent := filepath.Dir(folder)
	if folder != s.root && folder != parent {
		if err := s.makeFolderLocked(parent); err != nil {
			return err
		}
		if err := os.Mkdir(folder, 0o700); err != nil && !(errors.Is(err, fs.ErrExist) && isFolder(folder)) {
			return err
		}
	} else if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	// Even a folder that was there may be the work of a process killed before its sync.
	if err := syncFolder(parent); err != nil {
		return err
	}
	if len(s.synced) >= maxSynced {
		clear(s.synced)
	}
	s.synced[folder] = struct{}{}
	return nil
}

func isFolder(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// absent reports whether the error says that there is nothing of the name; an object where a
// folder would have to be says so too.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
