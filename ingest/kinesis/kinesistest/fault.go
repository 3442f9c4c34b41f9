package kinesistest

import (
	"net/http"
	"time"
)

// Fault is what goes wrong with one call.
type Fault struct {
	Code   string        // of the error, as the service names it; empty: none
	Status int           // HTTP's; default 400
	Delay  time.Duration // before anything is done
	// Done lets the operation happen before the error is returned. A subscription ends with
	// the error after its first event.
	Done bool
}

func (f *Fault) error() error {
	status := f.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	return &apiError{status, f.Code, "injected"}
}

// Inject asks f at every further call of the operation ("GetRecords"), counted from 1 over
// the server's life, what shall go wrong; nil means nothing. A nil f ends it.
func (s *Server) Inject(operation string, f func(n int) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[operation] = f
}

// Calls returns how often the operation was called.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// fault counts the call and returns its fault, which may be empty.
func (s *Server) fault(operation string) Fault {
	s.mu.Lock()
	s.calls[operation]++
	n, f := s.calls[operation], s.faults[operation]
	s.mu.Unlock()
	if f != nil {
		if fault := f(n); fault != nil {
			return *fault
		}
	}
	return Fault{}
}

// bucket is a token bucket.
type bucket struct {
	tokens float64
	at     time.Time
}

// allow takes n tokens from the bucket named key, which is refilled at rate a second up to
// most and starts full. If it has fewer, nothing is taken, except that one that is full may
// go into debt.
func (s *Server) allow(key string, n, rate, most float64) bool {
	if s.cfg.Unlimited {
		return true
	}
	b := s.refill(key, rate, most)
	if b.tokens < n && b.tokens < most {
		return false
	}
	b.tokens -= n
	return true
}

// refill returns the bucket as of now.
func (s *Server) refill(key string, rate, most float64) *bucket {
	now := s.cfg.Now()
	b := s.limits[key]
	if b == nil {
		b = &bucket{most, now}
		s.limits[key] = b
	}
	b.tokens = min(most, b.tokens+rate*now.Sub(b.at).Seconds())
	b.at = now
	return b
}

// rate refuses the call if the operation is called more than n times a second, for whatever
// the key names.
func (s *Server) rate(operation, key string, n float64) error {
	if !s.allow(operation+" "+key, 1, n, n) {
		return refuse(limitExceeded, "rate of %s exceeded", operation)
	}
	return nil
}
