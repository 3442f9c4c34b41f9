// Package processor is the authorising host: it listens for the card networks' ISO 8583
// messages, decides on them against the ledger, answers, and leaves one sealed event for
// each decision in the ledger's outbox.
//
// Each connection has one reader, one writer and a bounded number of messages in work, so
// that a slow, stuck or broken peer holds up nobody else. What must not be kept (tracks, PIN
// blocks) stays in the message's own buffer, which is overwritten as soon as the message is
// answered; a card number goes to the ledger as a keyed hash and into the event sealed.
package processor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/processor/ledger"
)

// Ledger knows the cards and decides. *ledger.Ledger is the one on a local disk.
type Ledger interface {
	// Find returns the card, also one that was never issued if its first digits are known;
	// ledger.ErrNoIssuer otherwise.
	Find(pan card.PAN) (ledger.Card, error)
	// Authorize and Reverse decide; the decision, what it changes and its event are durable
	// when they return.
	Authorize(ctx context.Context, a ledger.Authorization, emit ledger.Emit) (ledger.Decision, error)
	Reverse(ctx context.Context, r ledger.Reversal, emit ledger.Emit) (ledger.Decision, error)
}

// EventEncoder appends the encoded event to dst, its card number sealed for owner. It keeps
// nothing of m.
type EventEncoder interface {
	Append(ctx context.Context, dst []byte, owner keys.Owner, m *card.Message) ([]byte, error)
}

// Tenants finds a tenant's record.
type Tenants interface {
	Lookup(cardlake.Tenant) (catalog.TenantRecord, error)
}

// Config tunes a server.
type Config struct {
	Addr   string      // TCP address to listen on; 127.0.0.1:8583 if empty
	TLS    *tls.Config // plain TCP if nil, which is for the loopback interface only
	Region string      // name of this processor's region in events; "local" if empty

	MaxConnections int           // connections at the same time, further ones are closed; 256 if zero
	MaxInFlight    int           // messages of one connection in work or waiting to be written; 256 if zero
	IdleTimeout    time.Duration // a connection that sends no whole message for so long is closed; 5 min if zero
	WriteTimeout   time.Duration // a connection that takes no answer for so long is closed; 10 s if zero
	DecideTimeout  time.Duration // longest work on one message; 10 s if zero
	DrainTimeout   time.Duration // at shutdown, longest wait for answers to be written; 10 s if zero

	Now    func() time.Time // the clock of decisions, not of how long they take; time.Now if nil
	Logger *slog.Logger     // discards if nil
}

func (c *Config) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.IdleTimeout, 5*time.Minute)
	set(&c.WriteTimeout, 10*time.Second)
	set(&c.DecideTimeout, 10*time.Second)
	set(&c.DrainTimeout, 10*time.Second)
	if c.Addr == "" {
		c.Addr = "127.0.0.1:8583"
	}
	if c.Region == "" {
		c.Region = "local"
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 256
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = 256
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Server is the host. Make one with New, then Listen, then Run.
type Server struct {
	ledger  Ledger
	encoder EventEncoder
	tenants Tenants
	cfg     Config
	stats   counters
	jobs    sync.Pool // of *job

	mu       sync.Mutex
	listener net.Listener
	sessions map[*session]struct{}
}

// New returns a server that does not listen yet.
func New(l Ledger, encoder EventEncoder, tenants Tenants, cfg Config) *Server {
	cfg.defaults()
	s := &Server{ledger: l, encoder: encoder, tenants: tenants, cfg: cfg, sessions: map[*session]struct{}{}}
	s.jobs.New = func() any { return &job{s: s} }
	return s
}

// Listen binds the address, so that the caller learns at once if it cannot be had.
func (s *Server) Listen() error {
	l, err := net.Listen("tcp", s.cfg.Addr)
	if err != nil {
		return fmt.Errorf("listen for card networks: %w", err)
	}
	if s.cfg.TLS != nil {
		l = tls.NewListener(l, s.cfg.TLS)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener = l
	return nil
}

// Addr returns the address the server listens on, nil before Listen.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Run serves until ctx ends; it listens first if Listen was not called. At the end it stops
// reading, answers what was read, closes all connections and returns nil. It returns an
// error if connections cannot be accepted any more.
func (s *Server) Run(ctx context.Context) error {
	if s.Addr() == nil {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	// Decisions on what was read go on while the server drains.
	work := context.WithoutCancel(ctx)
	var sessions sync.WaitGroup
	accepted := make(chan error, 1)
	go func() { accepted <- s.accept(ctx, work, &sessions) }()

	var err error
	select {
	case <-ctx.Done():
		s.listener.Close()
		<-accepted
	case err = <-accepted:
		s.listener.Close()
	}
	s.each((*session).stopReading)
	force := time.AfterFunc(s.cfg.DrainTimeout, func() { s.each((*session).abort) })
	sessions.Wait()
	force.Stop()
	return err
}

func (s *Server) each(f func(*session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		f(c)
	}
}

func (s *Server) accept(ctx, work context.Context, sessions *sync.WaitGroup) error {
	for pause := time.Millisecond; ; {
		conn, err := s.listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Too many open files, most likely: connections that end make room.
			if pause *= 2; pause > time.Minute {
				return fmt.Errorf("accept: %w", err)
			}
			s.cfg.Logger.Warn("accept failed", "error", err, "retry_in", pause)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			continue
		}
		pause = time.Millisecond
		c := newSession(s, conn)
		s.mu.Lock()
		full := len(s.sessions) >= s.cfg.MaxConnections
		if !full {
			s.sessions[c] = struct{}{}
		}
		s.mu.Unlock()
		if full {
			s.stats.refused.Add(1)
			conn.Close()
			continue
		}
		s.stats.accepted.Add(1)
		sessions.Go(func() {
			c.serve(work)
			s.mu.Lock()
			delete(s.sessions, c)
			s.mu.Unlock()
			s.stats.closed.Add(1)
		})
	}
}
