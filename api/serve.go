package api

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
)

const (
	maxHeader = 32 << 10
	// maxStreams is how many calls one HTTP/2 connection may have under way.
	maxStreams = 100
	// readyTimeout is how long the server may take to find out whether it is ready.
	readyTimeout = 5 * time.Second
)

// Serve answers on l, which it closes, until ctx ends. Then it is not ready any more, takes no
// more connections, lets calls under way end within the configured time, and returns nil.
// Without a TLS configuration it serves this machine only.
func (s *Server) Serve(ctx context.Context, l net.Listener, config *tls.Config) error {
	switch {
	case config == nil && !isLoopback(l.Addr()):
		_ = l.Close()
		return errors.New("api: without TLS the server answers on a loopback address only")
	case config != nil && config.MinVersion < tls.VersionTLS12:
		_ = l.Close()
		return errors.New("api: the least version of TLS is 1.2")
	}
	// Calls under way outlive ctx, and end with what is left of them after the drain.
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler: s.draining(ctx), TLSConfig: config, BaseContext: func(net.Listener) context.Context { return calls },
		ReadHeaderTimeout: s.cfg.HeaderTimeout, ReadTimeout: s.cfg.HeaderTimeout + s.cfg.BodyTimeout, IdleTimeout: s.cfg.IdleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: log.New(connections{s, calls}, "", 0),
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: 30 * time.Second, WriteByteTimeout: s.cfg.WriteTimeout},
	}
	stop, stopCounting := context.WithCancel(calls)
	var counting sync.WaitGroup
	counting.Go(func() { s.knocks.run(stop) })
	counting.Go(func() { s.questions.run(stop) })
	done := make(chan error, 1)
	go func() {
		if config == nil {
			done <- server.Serve(l)
		} else {
			done <- server.ServeTLS(l, "", "")
		}
	}()
	err := s.drain(ctx, server, done)
	cancel()
	s.Close()
	stopCounting()
	counting.Wait()
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

// drain ends the server when ctx ends.
func (s *Server) drain(ctx context.Context, server *http.Server, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
	defer cancel()
	err := server.Shutdown(grace)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// draining makes the server unready when ctx has ended, for who looks before it is gone.
func (s *Server) draining(ctx context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() != nil && r.URL.Path == "/readyz" {
			http.Error(w, "ending", http.StatusServiceUnavailable)
			return
		}
		s.handler.ServeHTTP(w, r)
	})
}

func isLoopback(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return ok && t.IP.IsLoopback()
}

// probeRoutes are for who watches the server.
func (s *Server) probeRoutes() []route {
	text := func(status int, doc string) answer {
		return answer{status: status, contentType: "text/plain; charset=utf-8", doc: doc}
	}
	return []route{
		{method: "GET", path: "/healthz", name: "healthz", tag: "probes", doc: "Says that the process answers.", open: true, answers: []answer{text(200, "It does.")}, serve: s.health},
		{method: "GET", path: "/readyz", name: "readyz", tag: "probes", doc: "Says whether the server can answer.", open: true,
			answers: []answer{text(200, "It can."), text(503, "It can't at the moment, or is ending.")}, serve: s.ready},
	}
}

// health answers GET /healthz: the process answers.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) { probe(w, http.StatusOK, "alive") }

// ready answers GET /readyz. Why it is not ready is in the log, for probes are not signed in.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.deps.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := s.deps.Ready(ctx); err != nil {
			s.cfg.Log.WarnContext(ctx, "not ready", "error", err)
			probe(w, http.StatusServiceUnavailable, "not ready")
			return
		}
	}
	probe(w, http.StatusOK, "ready")
}

func probe(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// connections records what net/http logs: connections that never become a call.
type connections struct {
	s   *Server
	ctx context.Context // of Serve, which outlives it
}

const handshakeError = "http: TLS handshake error from "

// Write implements io.Writer for a log.Logger: one message a call.
func (w connections) Write(message []byte) (int, error) {
	text := strings.ToValidUTF8(strings.TrimSpace(string(message)), "?")
	rest, ok := strings.CutPrefix(text, handshakeError)
	origin, why, _ := strings.Cut(rest, ": ")
	switch {
	case !ok:
		w.s.cfg.Log.Warn("connection", "message", text)
	case why == "EOF":
		// Somebody looked whether the port is open, as load balancers do.
	default:
		w.s.cfg.Log.Warn("a connection was refused", "origin", origin, "message", why)
		if host, _, err := net.SplitHostPort(origin); err == nil {
			origin = host
		}
		w.s.knocks.add(w.ctx, knock{origin: origin, reason: "tls_handshake"})
	}
	return len(message), nil
}
