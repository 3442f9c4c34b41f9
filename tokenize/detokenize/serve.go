package detokenize

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
)

const (
	headerTime = 10 * time.Second // also for the handshake
	callTime   = time.Minute
	idleTime   = 5 * time.Minute
	maxHeader  = 16 << 10
)

// Serve answers on l, which it closes, until ctx ends. Then it takes no more calls, lets
// those under way end within the configured time and returns nil. A server serves once. The
// configuration must be of TLS 1.3 and require clients' certificates, as [Files.Server]'s.
func (s *Server) Serve(ctx context.Context, l net.Listener, config *tls.Config) error {
	if config.MinVersion < tls.VersionTLS13 || config.ClientAuth != tls.RequireAndVerifyClientCert {
		_ = l.Close()
		return errors.New("vault service: the configuration must be of TLS 1.3 and require clients' certificates")
	}
	server := &http.Server{
		Handler: s.handler, TLSConfig: config,
		ReadHeaderTimeout: headerTime, ReadTimeout: callTime, WriteTimeout: callTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(refusedConnections{s, ctx}, "", 0),
	}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	select {
	case err := <-done:
		return fmt.Errorf("vault service: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainWithin)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("vault service: end: %w", err)
	}
	return nil
}

// Handler is the service without its listener, for calls whose connection was verified.
func (s *Server) Handler() http.Handler { return s.handler }

// refusedConnections records what net/http logs: connections whose handshake failed, which
// never become a call (PCI DSS 4.0.1 requirement 10.2.1.4).
type refusedConnections struct {
	s   *Server
	ctx context.Context // of Serve, which outlives it
}

const handshakeError = "http: TLS handshake error from "

// refusals keeps whoever knocks often from filling the audit log.
type refusals struct {
	mu      sync.Mutex
	last    time.Time
	skipped int64
}

// refusalEvery is how often a refused connection has a line of its own; those between are
// counted in the next.
const refusalEvery = time.Second

func (r *refusals) take(now time.Time) (skipped int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.last) < refusalEvery {
		r.skipped++
		return 0, false
	}
	skipped, r.last, r.skipped = r.skipped, now, 0
	return skipped, true
}

// Write implements io.Writer for a log.Logger: one message a call.
func (w refusedConnections) Write(message []byte) (int, error) {
	text := strings.ToValidUTF8(strings.TrimSpace(string(message)), "?")
	w.s.cfg.Log.Warn("vault: connection", "message", text)
	rest, ok := strings.CutPrefix(text, handshakeError)
	if !ok {
		return len(message), nil
	}
	skipped, ok := w.s.refusals.take(w.s.cfg.Now())
	if !ok {
		return len(message), nil
	}
	origin, why, _ := strings.Cut(rest, ": ")
	r := audit.Record{
		Actor: "unknown", Action: ActionConnect, Resource: "vault", Outcome: audit.Refused, Origin: origin,
		Reason: strings.ToValidUTF8(why[:min(len(why), maxPurpose)], ""), // the cut may be inside a character
	}
	if skipped > 0 {
		r.Numbers = map[string]int64{"more": skipped}
	}
	if err := w.s.deps.Audit.Append(context.WithoutCancel(w.ctx), r); err != nil {
		w.s.cfg.Log.Error("a refused connection is not in the audit log", "error", err)
	}
	return len(message), nil
}
