package iceberg

import (
	"bytes"
	"context"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// memoryStore is an objects.Store in memory. The functions before a call may fail it.
type memoryStore struct {
	mu      sync.Mutex
	objects map[string][]byte
	owners  map[string]keys.Owner

	beforePut    func(name string) error
	beforeOpen   func(name string) error
	beforeDelete func(name string) error

	times map[string]time.Time // of the last Put
}

func newStore() *memoryStore {
	return &memoryStore{objects: map[string][]byte{}, owners: map[string]keys.Owner{}, times: map[string]time.Time{}}
}

// Put does not look at the context: a store may be past that when it is cancelled.
func (s *memoryStore) Put(_ context.Context, name string, owner keys.Owner, body []byte) error {
	if s.beforePut != nil {
		if err := s.beforePut(name); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[name]; ok {
		return objects.ErrExists
	}
	s.objects[name], s.owners[name], s.times[name] = bytes.Clone(body), owner, time.Now()
	return nil
}

type memoryObject struct{ *bytes.Reader }

func (memoryObject) Close() error  { return nil }
func (o memoryObject) Size() int64 { return o.Reader.Size() }

var _ io.ReaderAt = memoryObject{}

func (s *memoryStore) Open(ctx context.Context, name string) (objects.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.beforeOpen != nil {
		if err := s.beforeOpen(name); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	body, ok := s.objects[name]
	if !ok {
		return nil, objects.ErrNotFound
	}
	return memoryObject{bytes.NewReader(body)}, nil
}

func (s *memoryStore) List(_ context.Context, prefix string) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		for _, name := range s.names(prefix) {
			s.mu.Lock()
			info := objects.Info{Name: name, Size: int64(len(s.objects[name])), ModTime: s.times[name]}
			s.mu.Unlock()
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (s *memoryStore) Delete(_ context.Context, name string) error {
	if s.beforeDelete != nil {
		if err := s.beforeDelete(name); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[name]; !ok {
		return objects.ErrNotFound
	}
	delete(s.objects, name)
	return nil
}

func (s *memoryStore) names(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.objects {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// count is the number of objects whose names contain part.
func (s *memoryStore) count(part string) int {
	n := 0
	for _, name := range s.names("") {
		if strings.Contains(name, part) {
			n++
		}
	}
	return n
}

// once makes hooks that act on the first name containing part.
func once(part string, act func() error) func(string) error {
	done := false
	var mu sync.Mutex
	return func(name string) error {
		mu.Lock()
		if done || !strings.Contains(name, part) {
			mu.Unlock()
			return nil
		}
		done = true
		mu.Unlock()
		return act()
	}
}

func mustOpen(tb testing.TB, db string, store objects.Store) *Catalog {
	tb.Helper()
	c, err := Open(tb.Context(), Config{DB: db, Objects: store})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}
