package products

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
)

// Log is what a store appends to; an *audit.Log is one.
type Log interface {
	// Append returns nil once the record is durable.
	Append(ctx context.Context, r audit.Record) error
}

// ErrConflict says that something else happened to the subscription first.
var ErrConflict = errors.New("something else happened to the subscription meanwhile")

// Store has the subscriptions: the lines of an audit log of their own. Several processes may have
// one. It is safe for concurrent use.
type Store struct {
	log Log

	mu   sync.Mutex
	tail *audit.Tail
	all  map[string]*Subscription
	ids  map[string]bool // of lines that the rules allowed
}

// NewStore returns a store of the log in the folder, which is held against what cfg says: without
// its Keys whoever can write the files could approve.
func NewStore(log Log, dir string, cfg audit.VerifyConfig) *Store {
	return &Store{log: log, tail: audit.TailOf(audit.Dir(dir), cfg), all: map[string]*Subscription{}, ids: map[string]bool{}}
}

// Close forgets the keys with which the log is read.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tail.Close()
}

// refresh takes what was written since, by whomever. The caller holds mu. A log that does not hold
// together gives an error, for good: nothing is decided on it.
func (s *Store) refresh(ctx context.Context) error {
	err := s.tail.Each(ctx, func(l audit.Line) bool {
		if fold(s.all, l.Entry) && l.Request != "" {
			s.ids[l.Request] = true
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("read subscriptions: %w", err)
	}
	return nil
}

// List returns all subscriptions as they are at the time, by the time of their request.
func (s *Store) List(ctx context.Context, now time.Time) ([]Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	return sorted(s.all, now), nil
}

// append writes what happened and returns the subscription as it then is. ErrConflict says that
// the rules did not allow it any more when it was written: of two that decide at once, one does.
func (s *Store) append(ctx context.Context, r audit.Record, now time.Time) (Subscription, error) {
	r.Request = newID()
	if err := s.log.Append(ctx, r); err != nil {
		return Subscription{}, fmt.Errorf("write subscription: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(ctx); err != nil {
		return Subscription{}, err
	}
	if !s.ids[r.Request] {
		return Subscription{}, ErrConflict
	}
	return s.all[r.Detail[detailID]].at(now), nil
}
