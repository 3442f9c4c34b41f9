package objects

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// folder keeps objects as files, each created whole and durable or not at all.
type folder struct {
	root     string
	staleAge time.Duration
	prepared sync.Once

	mu     sync.Mutex
	synced map[string]struct{} // folders known to be durable, a bounded cache
}

// incoming is the folder of unfinished files. The tilde cannot occur in an object's name.
const incoming = "incoming~"

// maxSynced bounds the cache of durable folders; forgetting one costs a sync.
const maxSynced = 4096

// newFolder returns the folder root; a staleAge of 0 means one hour.
func newFolder(root string, staleAge time.Duration) folder {
	if staleAge <= 0 {
		staleAge = time.Hour
	}
	return folder{root: root, staleAge: staleAge, synced: map[string]struct{}{}}
}

// create makes the file of the object, which write fills; ErrExists if there is one. The file
// is written aside, synced, linked under its name, and the folder synced: whatever fails or
// is killed in between leaves no object.
func (d *folder) create(name string, write func(io.Writer) error) error {
	path := d.path(name)
	if _, err := os.Lstat(path); err == nil {
		return ErrExists
	}
	if err := d.makeFolder(filepath.Join(d.root, incoming)); err != nil {
		return err
	}
	d.prepared.Do(d.removeStale)
	if err := d.makeFolder(filepath.Dir(path)); err != nil {
		return err
	}
	aside := filepath.Join(d.root, incoming, rand.Text())
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// Whether it got its name or not, the file loses this one; a later start tries again.
	defer os.Remove(aside)
	if err = write(f); err == nil {
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

// file opens the file of an object and tells its size.
func (d *folder) file(ctx context.Context, name string) (f *os.File, size int64, err error) {
	if err := errors.Join(ctx.Err(), ValidateName(name)); err != nil {
		return nil, 0, err
	}
	f, err = os.Open(d.path(name))
	if absent(err) {
		return nil, 0, ErrNotFound
	} else if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotFound
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// List implements [Store]. An object that appears or disappears meanwhile may be missed.
func (d *folder) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		folder, err := splitPrefix(prefix)
		if err != nil {
			yield(Info{}, fmt.Errorf("list: %w", err))
			return
		}
		top := d.path(folder)
		err = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if absent(err) {
				return nil
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			relative, err := filepath.Rel(d.root, path)
			if err != nil {
				return err
			}
			name := filepath.ToSlash(relative)
			if entry.IsDir() {
				// Skip the unfinished files, and what the prefix rules out.
				if entry.Name() == incoming || path != top && !strings.HasPrefix(name, prefix) {
					return fs.SkipDir
				}
				return nil
			}
			if !entry.Type().IsRegular() || !strings.HasPrefix(name, prefix) || ValidateName(name) != nil {
				return nil
			}
			info, err := entry.Info()
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

// Delete implements [Store]: the file is unlinked, and no version of it stays. What is left on
// the medium until it is written over is ciphertext, or a Parquet file's encrypted pages.
//
// It does not sync the folder, which would cost more than all else of it: a name that a loss
// of power brings back is that of a whole object to which nothing refers. The sync of a later
// Put in the folder makes the deletion durable too.
func (d *folder) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), ValidateName(name)); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	path := d.path(name)
	if isFolder(path) {
		return fmt.Errorf("delete %s: %w", name, ErrNotFound)
	}
	err := os.Remove(path)
	if absent(err) {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

func (d *folder) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// removeStale removes what killed processes left unfinished. What cannot be removed only
// takes room, so it stops no one.
func (d *folder) removeStale() {
	folder := filepath.Join(d.root, incoming)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > d.staleAge {
			_ = os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}

// makeFolder makes the folder and those above it, down from the first that is there, each
// synced into its parent.
func (d *folder) makeFolder(folder string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.makeFolderLocked(folder)
}

func (d *folder) makeFolderLocked(folder string) error {
	if _, ok := d.synced[folder]; ok {
		return nil
	}
	parent := filepath.Dir(folder)
	if folder != d.root && folder != parent {
		if err := d.makeFolderLocked(parent); err != nil {
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
	if len(d.synced) >= maxSynced {
		clear(d.synced)
	}
	d.synced[folder] = struct{}{}
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
