package ingesttest

import (
	"bytes"
	"context"
	"iter"
	"strings"
	"sync"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// Store is an object store in memory, unencrypted. NewStore makes one; it is safe for
// concurrent use.
type Store struct {
	mu      sync.Mutex
	objects map[string][]byte
	puts    int
	fault   func(put int) error
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{objects: map[string][]byte{}} }

// Inject makes the store ask fault before each Put from now on, counted from 1 since the
// store was made; an error is Put's. nil injects nothing.
func (s *Store) Inject(fault func(put int) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Put implements objects.Store.
func (s *Store) Put(_ context.Context, name string, _ keys.Owner, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	if s.fault != nil {
		if err := s.fault(s.puts); err != nil {
			return err
		}
	}
	if _, ok := s.objects[name]; ok {
		return objects.ErrExists
	}
	s.objects[name] = bytes.Clone(body)
	return nil
}

type object struct{ *bytes.Reader }

func (object) Close() error { return nil }

// Open implements objects.Store.
func (s *Store) Open(_ context.Context, name string) (objects.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, ok := s.objects[name]
	if !ok {
		return nil, objects.ErrNotFound
	}
	return object{bytes.NewReader(body)}, nil
}

// List implements objects.Store.
func (s *Store) List(_ context.Context, prefix string) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		s.mu.Lock()
		var found []objects.Info
		for name, body := range s.objects {
			if strings.HasPrefix(name, prefix) {
				found = append(found, objects.Info{Name: name, Size: int64(len(body))})
			}
		}
		s.mu.Unlock()
		for _, info := range found {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Delete implements objects.Store.
func (s *Store) Delete(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[name]; !ok {
		return objects.ErrNotFound
	}
	delete(s.objects, name)
	return nil
}
