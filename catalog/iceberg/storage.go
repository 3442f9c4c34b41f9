package iceberg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	icebergio "github.com/apache/iceberg-go/io"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// uriPrefix turns object names into the absolute locations that Iceberg metadata holds. The
// scheme is this package's own: only an object store opened with the right keys gives the
// names a meaning.
const uriPrefix = "cardlake://lake/"

func uriOf(objectName string) string { return uriPrefix + objectName }

func objectOf(uri string) (name string, err error) {
	name, ok := strings.CutPrefix(uri, uriPrefix)
	if !ok || name == "" {
		return "", fmt.Errorf("location %q is not an object of this lake", uri)
	}
	return name, nil
}

// storage shows an object store to iceberg-go as a file system. iceberg-go's interface has
// no contexts, but it asks for a file system once an operation and gives the operation's
// context then: a storage lives for one operation.
type storage struct {
	ctx   context.Context
	store objects.Store
	log   *slog.Logger

	mu      sync.Mutex // iceberg-go merges manifests in parallel
	created []string   // object names, oldest first
}

var (
	_ icebergio.ReadFileIO  = (*storage)(nil)
	_ icebergio.WriteFileIO = (*storage)(nil)
)

func (s *storage) Open(uri string) (icebergio.File, error) {
	name, err := objectOf(uri)
	if err != nil {
		return nil, err
	}
	o, err := s.store.Open(s.ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &file{name: name, object: o, SectionReader: io.NewSectionReader(o, 0, o.Size())}, nil
}

func (s *storage) ReadFile(uri string) ([]byte, error) {
	name, err := objectOf(uri)
	if err != nil {
		return nil, err
	}
	body, err := objects.ReadAll(s.ctx, s.store, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return body, nil
}

func (s *storage) WriteFile(uri string, body []byte) error {
	name, err := objectOf(uri)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.created = append(s.created, name)
	s.mu.Unlock()
	if err := s.store.Put(s.ctx, name, keys.Lake, body); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (s *storage) Create(uri string) (icebergio.FileWriter, error) {
	if _, err := objectOf(uri); err != nil {
		return nil, err
	}
	return &fileWriter{storage: s, uri: uri}, nil
}

// Remove never fails, because iceberg-go removes only what is no longer needed and would
// print the failure to the process's standard logger. It goes through although the
// operation was cancelled: the commit that made the object superfluous has happened.
func (s *storage) Remove(uri string) error {
	name, err := objectOf(uri)
	if err != nil {
		return err
	}
	s.remove(name)
	return nil
}

func (s *storage) remove(name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), settleTime)
	defer cancel()
	if err := s.store.Delete(ctx, name); err != nil && !errors.Is(err, objects.ErrNotFound) {
		s.log.WarnContext(ctx, "old table metadata was not removed", "object", name, "error", err)
	}
}

// removeCreated takes back what an operation wrote that certainly did not happen.
func (s *storage) removeCreated() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.created {
		s.remove(name)
	}
	s.created = nil
}

// file is an open object.
type file struct {
	*io.SectionReader
	name   string
	object objects.Object
}

func (f *file) Close() error               { return f.object.Close() }
func (f *file) Stat() (fs.FileInfo, error) { return fileInfo{f}, nil }

type fileInfo struct{ f *file }

func (i fileInfo) Name() string       { return path.Base(i.f.name) }
func (i fileInfo) Size() int64        { return i.f.SectionReader.Size() }
func (i fileInfo) Mode() fs.FileMode  { return 0o400 }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return false }
func (i fileInfo) Sys() any           { return nil }

// fileWriter collects an object, which is put whole when it is closed.
type fileWriter struct {
	bytes.Buffer
	storage *storage
	uri     string
	closed  bool
}

func (w *fileWriter) Close() error {
	if w.closed {
		return fs.ErrClosed
	}
	w.closed = true
	return w.storage.WriteFile(w.uri, w.Bytes())
}
