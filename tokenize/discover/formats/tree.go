package formats

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// fileSource is an open file.
type fileSource struct {
	*os.File
	size int64
}

func (f fileSource) Size() int64 { return f.size }

// Tree searches a file, or every regular file below a folder, hidden ones too. It follows no
// symbolic link below path. What is wrong with a file is in Stats; the error is that of ctx.
func (s *Scanner) Tree(ctx context.Context, path string) error {
	if info, err := os.Stat(path); err != nil {
		s.Fault(path, plainError(err))
		return ctx.Err()
	} else if !info.IsDir() {
		s.open(ctx, path)
		return ctx.Err()
	}
	root := path
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		root = resolved
	}
	_ = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil || s.stopped {
			return fs.SkipAll
		}
		if rel, relErr := filepath.Rel(root, name); relErr == nil {
			name = filepath.Join(path, rel)
		}
		switch {
		case err != nil:
			s.Fault(name, plainError(err))
		case d.IsDir():
			s.Name(d.Name())
		case d.Type().IsRegular():
			s.open(ctx, name)
		default:
			s.stats.Skipped++
		}
		return nil
	})
	return ctx.Err()
}

func (s *Scanner) open(ctx context.Context, path string) {
	f, err := os.Open(path)
	if err != nil {
		s.Fault(path, plainError(err))
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		s.Fault(path, plainError(err))
		return
	}
	if !info.Mode().IsRegular() { // a pipe or a device that was named
		_ = s.Stream(ctx, path, f)
		return
	}
	_ = s.File(ctx, path, fileSource{f, info.Size()})
}

// plainError strips the path, which a Fault has already.
func plainError(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
