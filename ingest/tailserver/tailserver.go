// Package tailserver serves a worker's hot tail over Arrow Flight with mutual TLS: the rows
// beyond the positions of a snapshot, as records of cards.transactions. It belongs to zone A
// and hands out what zone B may see: tokenised columns, in which no card number can be.
//
// It speaks DoGet alone, with a [cardlake.TailTicket] as ticket and a [cardlake.TailHeader] as
// application metadata of the first message. TLS 1.3 with a client certificate from the
// server's own authority and a name on its list is the only way in. Errors name what is
// wrong and hold nothing of any row.
package tailserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
)

// Worker is what the server asks of a worker.
type Worker interface {
	// Tail returns the rows beyond the positions of a snapshot. The server releases it.
	Tail(from cardlake.Positions) (*ingest.Tail, error)
}

// Config configures a Server. Certificate, ClientCAs and Clients must be set.
type Config struct {
	// Certificate returns the server's certificate. It is called for each connection, so that
	// a renewed one is taken up.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// ClientCAs sign the certificates of clients.
	ClientCAs *x509.CertPool
	// Clients are the names that may read: a client's certificate has one of them as a URI or
	// DNS subject alternative name, character by character (RFC 5280, section 4.2.1.6). A
	// wildcard is a name like any other; the subject's common name does not count.
	Clients []string

	Log *slog.Logger // default slog.Default()

	// Requests is how many answers are under way at most; more wait. Default 16.
	Requests int
	// MaxBytes bounds an answer. A longer tail is an error. Default 256 MiB.
	MaxBytes int64
	// MaxTicket bounds a ticket's bytes. Default 1 MiB, some ten thousand partitions.
	MaxTicket int
	// Timeout bounds a request from its ticket to its last byte, because an answer under way
	// holds the memory of windows. Default 10 s.
	Timeout time.Duration
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var errs []error
	fault := func(is bool, text string) {
		if is {
			errs = append(errs, errors.New("tail server: "+text))
		}
	}
	fault(c.Certificate == nil, "Certificate is missing")
	fault(c.ClientCAs == nil, "ClientCAs is missing")
	fault(len(c.Clients) == 0, "Clients is empty: nobody could read")
	fault(slices.Contains(c.Clients, ""), "Clients has an empty name")
	fault(c.Requests < 0, "Requests is negative")
	fault(c.MaxBytes < 0, "MaxBytes is negative")
	fault(c.MaxTicket < 0, "MaxTicket is negative")
	fault(c.Timeout < 0, "Timeout is negative")
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Requests == 0 {
		c.Requests = 16
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 256 << 20
	}
	if c.MaxTicket == 0 {
		c.MaxTicket = 1 << 20
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	return c
}

const (
	// handshakeTime bounds what somebody who has not shown a certificate yet can take.
	handshakeTime = 5 * time.Second
	// connectionAge is after how long a client has to connect again, so that a certificate
	// that has run out or lost its place on the list ends.
	connectionAge = time.Hour
	// A client that has vanished is found out within both together.
	pingAfter, pingTimeout = 10 * time.Second, 5 * time.Second
	// minPing is how often a client may ask whether the server is there.
	minPing = 5 * time.Second
	// envelope is what surrounds a ticket in its message.
	envelope   = 64
	maxHeaders = 16 << 10
)

// Server answers for one worker.
type Server struct {
	worker  Worker
	cfg     Config
	slots   chan struct{}  // one for each answer under way
	sending sync.WaitGroup // answers under way
}

// New returns a server of the worker's tail, or every fault of the configuration.
func New(worker Worker, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &Server{worker: worker, cfg: cfg, slots: make(chan struct{}, cfg.Requests)}, nil
}

// Serve answers on l, which it closes, until ctx ends. Then it takes no more requests, lets
// those under way end within the configured timeout and returns nil. A server serves once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	g := grpc.NewServer(
		grpc.Creds(s.credentials()),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.WaitForHandlers(true),
		grpc.MaxRecvMsgSize(s.cfg.MaxTicket+envelope),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.MaxConcurrentStreams(uint32(4*s.cfg.Requests)),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: pingAfter, Timeout: pingTimeout, MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: 2 * s.cfg.Timeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
	)
	flight.RegisterFlightServiceServer(g, service{Server: s})
	ended := make(chan struct{})
	served := make(chan error, 1)
	go func() {
		defer close(ended)
		served <- g.Serve(l)
	}()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		// Every answer ends by itself within its timeout; a client that has got its end and
		// does not read it must not keep the server.
		hard := time.AfterFunc(s.cfg.Timeout, g.Stop)
		g.GracefulStop()
		hard.Stop()
	}
	g.Stop()
	<-ended
	s.sending.Wait()
	if err != nil {
		return fmt.Errorf("tail server: %w", err)
	}
	return nil
}

// credentials are the only way in.
func (s *Server) credentials() credentials.TransportCredentials {
	return loggedCredentials{s.cfg.Log, credentials.NewTLS(&tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: s.cfg.Certificate,
		ClientAuth:     tls.RequireAndVerifyClientCert,
		ClientCAs:      s.cfg.ClientCAs,
		// Connections are long and few: a resumed session would save little, and its
		// certificate would not be verified again.
		SessionTicketsDisabled: true,
		VerifyConnection:       s.verify,
	})}
}

// verify finds the name of a client whose certificate is from the right authority.
func (s *Server) verify(c tls.ConnectionState) error {
	if len(c.VerifiedChains) == 0 {
		return errors.New("the client's certificate is not verified")
	}
	names := namesOf(c.PeerCertificates[0])
	if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(s.cfg.Clients, name) }) {
		return fmt.Errorf("none of the client's names %q is on the list", names)
	}
	return nil
}

func namesOf(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return names
}

// loggedCredentials logs every connection that is refused: PCI DSS 10.2.1.4.
type loggedCredentials struct {
	log *slog.Logger
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (c loggedCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		c.log.Warn("tail: connection refused", "from", conn.RemoteAddr().String(), "error", err)
	}
	return secured, info, err
}

// Clone implements credentials.TransportCredentials.
func (c loggedCredentials) Clone() credentials.TransportCredentials {
	return loggedCredentials{c.log, c.TransportCredentials.Clone()}
}
