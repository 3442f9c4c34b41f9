package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest/telemetry"
	"github.com/cardlake/cardlake/internal/lakeflags"
)

// admin serves what the platform team sees of the worker. It tells and takes no orders.
type admin struct {
	server *http.Server // nil if there is none
	ended  chan struct{}
}

// listen opens the address, so that a fault of it is known before any work is begun. It
// returns nil if there is none.
func listen(ctx context.Context, o *options) (net.Listener, error) {
	if o.admin == "" {
		return nil, nil
	}
	var config *tls.Config
	if o.adminCert != "" {
		var err error
		if config, err = adminTLS(o); err != nil {
			return nil, err
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.admin)
	if err != nil {
		return nil, fmt.Errorf("-admin: %w", err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return l, nil
}

func adminTLS(o *options) (*tls.Config, error) {
	load := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(o.adminCert, o.adminKey)
		return &pair, err
	}
	if _, err := load(nil); err != nil {
		return nil, fmt.Errorf("-admin-cert: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: load}
	if o.adminClientCA != "" {
		pool, err := lakeflags.Certificates(o.adminClientCA)
		if err != nil {
			return nil, fmt.Errorf("-admin-client-ca: %w", err)
		}
		config.ClientCAs, config.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// serve answers on l, which may be nil, until close.
func serve(l net.Listener, h http.Handler, log *slog.Logger) *admin {
	a := &admin{ended: make(chan struct{})}
	if l == nil {
		close(a.ended)
		return a
	}
	a.server = &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() {
		defer close(a.ended)
		if err := a.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the admin address is not served any more", "error", err)
		}
	}()
	log.Info("admin address", "addr", l.Addr().String())
	return a
}

// close lets answers under way end, for a moment.
func (a *admin) close() {
	if a.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if a.server.Shutdown(ctx) != nil {
			_ = a.server.Close()
		}
	}
	<-a.ended
}

// errEnding is why a worker is not ready after its context has ended.
var errEnding = errors.New("the worker is ending: it commits what it has taken")

// answerTimeout bounds how long the worker may take to say how it stands. One that does not
// say it is not ready.
const answerTimeout = 5 * time.Second

// handler answers the admin address. ctx is that of the worker's Run.
func handler(ctx context.Context, view *telemetry.View, metrics prometheus.Gatherer, withProfiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: 4, Timeout: answerTimeout,
	}))
	text := func(w http.ResponseWriter, code int, s string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(code)
		fmt.Fprintln(w, s)
	}
	ready := func() error {
		if ctx.Err() != nil {
			return errEnding
		}
		return view.Ready()
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "alive") })
	bounded := func(h http.HandlerFunc) http.Handler {
		return http.TimeoutHandler(h, answerTimeout, "the worker does not say how it stands\n")
	}
	mux.Handle("GET /readyz", bounded(func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			text(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		text(w, http.StatusOK, "ready")
	}))
	mux.Handle("GET /status", bounded(func(w http.ResponseWriter, _ *http.Request) {
		report := view.Report()
		if ctx.Err() != nil {
			report.Ready, report.Reasons = false, append(report.Reasons, errEnding.Error())
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(struct {
			Version string `json:"version"`
			telemetry.Report
		}{cardlake.Version, report})
	}))
	if withProfiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}
