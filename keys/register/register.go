// Package register keeps the document that lists a keyring's key versions: whose they are,
// what for, since when, whether destroyed, and their wrapped material. It knows the life of
// keys and the file they lie in; how material is wrapped is the keyring's ([Guard] and the
// entries' Wrapped). No clear key is ever in a document.
//
// A document is authenticated as a whole, so that no entry can be added, taken away, swapped
// or dated otherwise by somebody who can only write the file. A process notices a change of
// the file at its next call, and refuses a document older than one it has seen.
package register

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrMissing says that there is no document file.
	ErrMissing = errors.New("no keyring")
	// ErrMode says that others than its owner may read a file that only its owner should.
	ErrMode = errors.New("readable by others than its owner: chmod 600 it")
	// ErrChanged says that the document was changed by somebody who may not.
	ErrChanged = errors.New("the keyring was changed without its secret: restore it from a backup")
	// ErrRolledBack says that the file holds an older document than it did before.
	ErrRolledBack = errors.New("the keyring is older than it was: keys destroyed since might be back")
	// ErrReplaced says that the file holds another keyring, or one with another secret.
	ErrReplaced = errors.New("the keyring was replaced by another, or has a new secret: open it again")
)

// Guard authenticates documents.
type Guard interface {
	// Tag returns a tag for the digest of a document, 32 bytes.
	Tag(ctx context.Context, digest []byte) ([]byte, error)
	// Verify returns ErrChanged if the tag was not made for the digest. Any other error is
	// the guard's and may pass.
	Verify(ctx context.Context, digest, tag []byte) error
}

// Options say how a file is to be treated.
type Options struct {
	// Private asks that only the file's owner may read it.
	Private bool
}

// Register is a document in a file. It is safe for concurrent use, by processes too.
type Register struct {
	path    string
	options Options
	guard   Guard
	loading chan struct{} // holds one token: whoever reads the file has it
	current atomic.Pointer[Snapshot]
}

// maxSize bounds what is read of a file: room for some 200,000 key versions.
const maxSize = 64 << 20

// Create writes a new document, mode 0600. The file must not exist (fs.ErrExist).
func Create(ctx context.Context, path string, d Document, guard Guard, o Options) (*Register, error) {
	r := newRegister(path, o)
	r.guard = guard
	d.Format, d.Serial = format, 1
	tmp, err := r.write(ctx, guard, &d, nil)
	if err != nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, err)
	}
	defer os.Remove(tmp)
	// A link fails where a rename would overwrite.
	if err := os.Link(tmp, path); err != nil {
		return nil, fmt.Errorf("create keyring: %w", err)
	}
	if err := syncDir(path); err != nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, err)
	}
	if _, err := r.load(ctx); err != nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, err)
	}
	return r, nil
}

// Open reads the document at path. guarded makes its guard from the custody that the document
// names, which is not authenticated yet.
func Open(ctx context.Context, path string, guarded func(custody json.RawMessage) (Guard, error), o Options) (*Register, error) {
	r := newRegister(path, o)
	d, _, err := r.read()
	if err != nil {
		return nil, fmt.Errorf("open keyring %s: %w", path, err)
	}
	if r.guard, err = guarded(d.Custody); err != nil {
		return nil, fmt.Errorf("open keyring %s: %w", path, err)
	}
	if _, err := r.load(ctx); err != nil {
		return nil, fmt.Errorf("open keyring %s: %w", path, err)
	}
	return r, nil
}

func newRegister(path string, o Options) *Register {
	return &Register{path: path, options: o, loading: make(chan struct{}, 1)}
}

// Path is where the document lies.
func (r *Register) Path() string { return r.path }

// Current returns the document as it lies in the file now. It asks the file system for the
// file's identity and time at each call, and reads it when they are others: what another
// process destroyed is not served by the next call. A file that is gone, unreadable, changed
// or rolled back gives an error, never what was read before.
func (r *Register) Current(ctx context.Context) (*Snapshot, error) {
	info, err := r.stat()
	if err != nil {
		return nil, fmt.Errorf("keyring %s: %w", r.path, err)
	}
	if s := r.current.Load(); s.isOf(info) {
		return s, nil
	}
	s, err := r.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("keyring %s: %w", r.path, err)
	}
	return s, nil
}

// Update changes the document: change gets the newest one, whoever wrote it, and may keep
// what it was given. Nobody else changes the file meanwhile. If change fails nothing is
// written; if it changes nothing, neither.
func (r *Register) Update(ctx context.Context, change func(*Document) error) error {
	return r.update(ctx, r.guard, change, func() error {
		_, err := r.load(ctx)
		return err
	})
}

// Replace is an Update to a document of another custody, which guard authenticates. After it
// the Register is of no more use.
func (r *Register) Replace(ctx context.Context, guard Guard, change func(*Document) error) error {
	return r.update(ctx, guard, change, func() error { return nil })
}

func (r *Register) update(ctx context.Context, guard Guard, change func(*Document) error, written func() error) error {
	lock, err := r.lock(ctx)
	if err != nil {
		return fmt.Errorf("keyring %s: lock: %w", r.path, err)
	}
	defer lock.Close() // which unlocks
	s, err := r.load(ctx)
	if err != nil {
		return fmt.Errorf("keyring %s: %w", r.path, err)
	}
	next := s.doc.clone()
	if err := change(&next); err != nil {
		return err
	}
	if bytes.Equal(next.digest(), s.doc.digest()) {
		return nil
	}
	next.Serial = s.doc.Serial + 1
	replaced, err := lock.Stat()
	if err != nil {
		return fmt.Errorf("keyring %s: %w", r.path, err)
	}
	tmp, err := r.write(ctx, guard, &next, replaced)
	if err != nil {
		return fmt.Errorf("keyring %s: %w", r.path, err)
	}
	defer os.Remove(tmp)
	if err := os.Rename(tmp, r.path); err != nil {
		return fmt.Errorf("keyring: %w", err)
	}
	if err := errors.Join(syncDir(r.path), written()); err != nil {
		return fmt.Errorf("keyring %s: %w", r.path, err)
	}
	return nil
}

// lock returns the file, locked. As a change puts another file in its place, the lock counts
// only if the path still leads to what was locked.
func (r *Register) lock(ctx context.Context) (*os.File, error) {
	for {
		f, err := os.Open(r.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrMissing
		}
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			held, err := f.Stat()
			if now, statErr := os.Stat(r.path); err == nil && statErr == nil && os.SameFile(held, now) {
				return f, nil
			}
		}
		f.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

const lockPause = 10 * time.Millisecond

func (r *Register) stat() (os.FileInfo, error) {
	info, err := os.Stat(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrMissing
	case err != nil:
		return nil, err
	case r.options.Private && info.Mode().Perm()&0o077 != 0:
		return nil, ErrMode
	}
	return info, nil
}

// read returns the document in the file, not authenticated.
func (r *Register) read() (Document, os.FileInfo, error) {
	f, err := os.Open(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Document{}, nil, ErrMissing
	}
	if err != nil {
		return Document{}, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Document{}, nil, err
	}
	if r.options.Private && info.Mode().Perm()&0o077 != 0 {
		return Document{}, nil, ErrMode
	}
	if info.Size() > maxSize {
		return Document{}, nil, fmt.Errorf("file has %d bytes, want at most %d", info.Size(), maxSize)
	}
	d, err := Decode(io.LimitReader(f, maxSize))
	return d, info, err
}

// load makes what is in the file the current snapshot.
func (r *Register) load(ctx context.Context) (*Snapshot, error) {
	select {
	case r.loading <- struct{}{}:
		defer func() { <-r.loading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	before := r.current.Load()
	if info, err := r.stat(); err == nil && before.isOf(info) {
		return before, nil // another goroutine has read it
	}
	d, info, err := r.read()
	if err != nil {
		return nil, err
	}
	if before != nil && !bytes.Equal(compact(d.Custody), compact(before.doc.Custody)) {
		return nil, ErrReplaced
	}
	if err := r.guard.Verify(ctx, d.digest(), d.Tag); err != nil {
		return nil, err
	}
	if before != nil && !d.follows(&before.doc) {
		return nil, ErrRolledBack
	}
	s := newSnapshot(r.path, d, info)
	r.current.Store(s)
	return s, nil
}

// write tags the document and writes it to a file beside its own, whose owner and mode are
// those of the file it will replace.
func (r *Register) write(ctx context.Context, guard Guard, d *Document, replaced os.FileInfo) (tmp string, err error) {
	if d.Tag, err = guard.Tag(ctx, d.digest()); err != nil {
		return "", fmt.Errorf("authenticate: %w", err)
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(r.path), ".keyring-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil && replaced != nil {
		err = likeReplaced(f, replaced)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

func likeReplaced(f *os.File, replaced os.FileInfo) error {
	if was, ok := replaced.Sys().(*syscall.Stat_t); ok && int(was.Uid) != os.Geteuid() {
		if err := f.Chown(int(was.Uid), int(was.Gid)); err != nil {
			return fmt.Errorf("keep the file's owner: run this as that user: %w", err)
		}
	}
	return f.Chmod(replaced.Mode().Perm())
}

func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func sum(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:]
}

func compact(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}
