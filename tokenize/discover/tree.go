package discover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// errStopped ends a walk after yield returned false.
var errStopped = errors.New("stopped")

// Stats says how much a search of a folder covered.
type Stats struct {
	Files    int64 // regular files searched to their end
	Bytes    int64 // in those files and in what could be read of the others
	Skipped  int64 // sockets, pipes, devices and symbolic links
	Vanished int64 // files and folders that were removed meanwhile
}

// withheld stands for the path of a file whose path itself holds a card number.
const withheld = "(path withheld: it holds a card number)"

// ScanTree searches every regular file below the folder dir, hidden ones too, and the files'
// paths. It follows no symbolic link below dir. progress, if not nil, is told the totals so
// far, after each file and at least once a few hundred kilobytes.
//
// What vanishes meanwhile is counted and no error; what cannot be read is left out and
// returned, joined into one error, after everything else has been searched. When yield
// returns false the search ends without an error. ctx ends it with ctx's error.
func (k Known) ScanTree(ctx context.Context, dir string, progress func(files, bytes int64), yield func(Finding) bool) (Stats, error) {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	t := tree{Known: k, buf: make([]byte, chunk+span), progress: progress, yield: yield}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return Stats{}, fmt.Errorf("search folder: %w", err)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, path)
		if relErr != nil {
			return relErr
		}
		return t.visit(ctx, path, filepath.ToSlash(rel), d, err)
	})
	if errors.Is(err, errStopped) {
		err = nil
	}
	return t.stats, errors.Join(append(t.faults, err)...)
}

// tree is one search of a folder.
type tree struct {
	Known
	buf      []byte
	progress func(files, bytes int64)
	yield    func(Finding) bool
	stats    Stats
	faults   []error
}

func (t *tree) visit(ctx context.Context, path, name string, d fs.DirEntry, err error) error {
	if ctxErr := ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	stopped := false
	yield := func(f Finding) bool {
		stopped = !t.yield(f)
		return !stopped
	}
	// The name goes to findings and errors, so it is searched before it is used.
	shown := name
	inName := scanner{index: t.ix, name: withheld, yield: func(f Finding) bool {
		shown = withheld
		return yield(f)
	}}
	inName.search([]byte(name), len(name))
	if stopped {
		return errStopped
	}
	if err != nil { // of reading the folder path
		t.fault(shown, err)
		return nil
	}
	if d.IsDir() {
		return nil
	}
	if !d.Type().IsRegular() {
		t.stats.Skipped++
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		t.fault(shown, err)
		return nil
	}
	defer f.Close()
	switch err := t.scan(counter{ctx, f, t}, t.buf, shown, yield); {
	case stopped:
		return errStopped
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		t.fault(shown, err)
	default:
		t.stats.Files++
	}
	t.progress(t.stats.Files, t.stats.Bytes)
	return nil
}

// fault records that something could not be read. The operating system's error is stripped
// of its path, which the finding's rule for names does not cover.
func (t *tree) fault(shown string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		t.stats.Vanished++
		return
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	t.faults = append(t.faults, fmt.Errorf("search %s: %w", shown, err))
}

// counter reads a file for a search: it counts, and ends when the search is cancelled.
type counter struct {
	ctx context.Context // io.Reader has no room for it
	r   io.Reader
	t   *tree
}

func (c counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.t.stats.Bytes += int64(n)
	c.t.progress(c.t.stats.Files, c.t.stats.Bytes)
	return n, err
}
