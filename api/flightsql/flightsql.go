// Package flightsql is the lake's door for drivers: Arrow Flight SQL over gRPC, as ADBC, JDBC and
// ODBC drivers speak it. It answers what the HTTP door answers, to the same callers, by the same
// gateway, within the same bounds, and on the same record.
//
// Who asks is known by a bearer token in the header authorization, or by a client certificate.
// cardlake-reason and cardlake-break-glass are headers as in HTTP; x-request-id in an answer is
// its id on record.
//
// # What is answered
//
// SELECT statements, prepared ones too; catalogs, schemas, tables, views and their columns; what
// the server can do. There are no parameters, no transactions and no updates, and whoever asks
// for one is told so. Record batches are streamed as the rows are read, each of about a
// megabyte. A statement that fails half-way fails the stream.
//
// # Tickets
//
// A ticket holds the statement sealed under a key of this process: nobody can read, forge or
// change one. It is good for who asked, once, for ten minutes. Prepared statements are handles
// of the same kind, so the server holds nothing for them, and what a caller may read is decided
// when it reads.
package flightsql

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// Gateway answers; *queries.Gateway is one.
type Gateway interface {
	Query(ctx context.Context, c grants.Caller, sql string) (*queries.Result, error)
	Columns(ctx context.Context, c grants.Caller, sql string) ([]queries.Column, error)
	Tables(ctx context.Context, c grants.Caller) ([]queries.TableInfo, error)
	Views(ctx context.Context, c grants.Caller) ([]*queries.View, error)
}

// Entrance lets callers in and bounds what they do, together with the other doors; *api.Server
// is one.
type Entrance interface {
	// Enter returns who is asking, with the id of the call, which it has with an error too.
	Enter(r *http.Request) (grants.Caller, error)
	// Count counts a call against what the principal may make in a minute.
	Count(p grants.Principal) error
	// Begin takes the place of a statement that runs, until end is called.
	Begin(p grants.Principal) (end func(), err error)
	// Record puts on record that a call is answered, or refused with the error, and returns it.
	Record(ctx context.Context, c grants.Caller, action, resource string, err error) error
	// Done counts a call that ended.
	Done(route string, err error, rows int64, took time.Duration)
	// HandshakeFailed records a connection that never became a call.
	HandshakeFailed(ctx context.Context, origin string)
}

// Config bounds the door. Zero fields are their defaults.
type Config struct {
	// TicketTime is how long a ticket is good; default 10 minutes.
	TicketTime time.Duration
	// PreparedTime is how long a prepared statement is; default 24 hours.
	PreparedTime time.Duration
	// WriteTimeout is how long a client may take to accept a batch; default 30 s.
	WriteTimeout time.Duration
	// HeaderTimeout bounds the handshakes of a connection; default 10 s.
	HeaderTimeout time.Duration
	// DrainTimeout is what is under way may last when Serve ends; default 30 s.
	DrainTimeout time.Duration
	// BatchBytes is about how large a record batch is; default 1 MiB.
	BatchBytes int
	Now        func() time.Time // default time.Now
	// Failed is told of errors of the server's own, which callers are told only the id of;
	// nil for nobody.
	Failed func(request string, err error)
}

func (c Config) withDefaults() Config {
	c.TicketTime = cmp.Or(c.TicketTime, 10*time.Minute)
	c.PreparedTime = cmp.Or(c.PreparedTime, 24*time.Hour)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 30*time.Second)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 10*time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 30*time.Second)
	c.BatchBytes = cmp.Or(c.BatchBytes, 1<<20)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Failed == nil {
		c.Failed = func(string, error) {}
	}
	return c
}

const (
	// maxMessage bounds what a client sends: a statement, or the ticket that holds it.
	maxMessage = 2 << 20
	// maxHeaders bounds a call's headers: a token has up to 16 KiB.
	maxHeaders = 32 << 10
	// maxStreams is how many calls one connection may have under way.
	maxStreams = 100
)

// Server answers calls. It is safe for concurrent use, and serves once.
type Server struct {
	flightsql.BaseServer

	gateway  Gateway
	entrance Entrance
	cfg      Config
	tickets  *tickets
	calls    sync.WaitGroup
}

// New returns a server. It starts nothing.
func New(gateway Gateway, entrance Entrance, cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	t, err := newTickets(cfg)
	if err != nil {
		return nil, err
	}
	s := &Server{gateway: gateway, entrance: entrance, cfg: cfg, tickets: t}
	s.Alloc = memory.DefaultAllocator
	return s, s.registerInfo()
}

// Serve answers on l, which it closes, until ctx ends. Then it takes no more calls, lets those
// under way end within the configured time, and returns nil. Without a TLS configuration it
// serves this machine only.
func (s *Server) Serve(ctx context.Context, l net.Listener, config *tls.Config) error {
	switch {
	case config == nil && !isLoopback(l.Addr()):
		_ = l.Close()
		return errors.New("flight sql: without TLS the server answers on a loopback address only")
	case config != nil && config.MinVersion < tls.VersionTLS12:
		_ = l.Close()
		return errors.New("flight sql: the least version of TLS is 1.2")
	}
	options := []grpc.ServerOption{
		grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxHeaderListSize(maxHeaders), grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(s.cfg.HeaderTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 30 * time.Minute, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	if config != nil {
		options = append(options, grpc.Creds(s.credentials(ctx, config)))
	}
	server := grpc.NewServer(options...)
	flight.RegisterFlightServiceServer(server, flightsql.NewFlightServer(s))
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		s.calls.Wait()
		return fmt.Errorf("flight sql: %w", err)
	case <-ctx.Done():
	}
	late := time.AfterFunc(s.cfg.DrainTimeout, server.Stop)
	server.GracefulStop()
	late.Stop()
	s.calls.Wait()
	// A server that was stopped before it began says so, and closes the listener.
	if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("flight sql: %w", err)
	}
	return nil
}

func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}
