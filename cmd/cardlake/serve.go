package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/api/flightsql"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/views"
)

// serveCommand answers until ctx ends. Things end in this order: the calls and exports under way,
// the exports, the development issuer, the metrics, the engine, the audit log, the lake.
func serveCommand(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var o serveOptions
	fs := flagSet("serve", "", `Answers over HTTP, and with -flight to drivers of Arrow Flight SQL (ADBC, JDBC, ODBC): SQL, tables, one's own rights. Who asks is known by an OpenID Connect token, or by a
client certificate; what they may is decided by the grants, and each answer is on record before it is given.
Ends on SIGTERM when what is under way is done.`, stderr)
	o.define(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 0 {
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	if err := o.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	closing := func(what io.Closer) { err = errors.Join(err, what.Close()) }
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	config, err := o.tls()
	if err != nil {
		return err
	}
	l, err := open(ctx, &o.place)
	if err != nil {
		return err
	}
	defer closing(l)
	record, err := o.record(ctx, log, metrics)
	if err != nil {
		return err
	}
	defer closing(record)
	permits, err := o.permits(log, metrics, record)
	if err != nil {
		return err
	}
	parser := embedded.NewParser()
	defer closing(parser)
	cfg := embedded.Config{Memory: o.memory << 20, CacheBytes: o.cache << 20, Ready: readyInstances}
	tails, err := o.workers.open()
	if err != nil {
		return err
	}
	if tails != nil {
		defer closing(tails)
		cfg.Tail = tails
	}
	engine, err := o.engines.open(ctx, l, &o.place, cfg)
	if err != nil {
		return err
	}
	if e, ok := engine.(io.Closer); ok {
		defer closing(e)
	}
	gateway := queries.New(parser, engine, permits, record,
		queries.Config{MaxRows: o.maxRows, Timeout: o.timeout, MaxSQL: maxStatement, Views: views.All})

	endMetrics, err := serveMetrics(ctx, o.metrics, metrics, log)
	if err != nil {
		return err
	}
	defer endMetrics()
	door, endSignIn, err := o.signIn(ctx, permits, log, stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, endSignIn()) }()
	var watched changes.Config
	parts := exportParts{lake: l, permits: permits, recorder: record, parser: parser, engine: engine, log: log}
	watcher, err := o.watcher(gateway, log)
	if err != nil {
		return err
	}
	if watcher != nil {
		watched.Watermarks, parts.marks = watcher, watcher
	}
	feed, err := l.feed(ctx, &o.place, gateway, watched)
	if err != nil {
		return err
	}
	exports, err := o.exports(ctx, parts)
	if err != nil {
		return err
	}
	defer closing(exports)
	desk, closeDesk, err := o.desk(ctx, permits, record, parser)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeDesk()) }()
	deps := api.Deps{Gateway: gateway, SignIn: door, Permits: permits, Recorder: record, Ready: record.Ready, Changes: feed, Exports: exports}
	running := []func(context.Context) error{exports.Run}
	if desk != nil {
		deps.Products = desk
		running = append(running, func(ctx context.Context) error {
			desk.Run(ctx, func(err error) { log.Error("subscriptions are not in force", "error", err) })
			return nil
		})
	}
	if watcher != nil {
		running = append(running, func(ctx context.Context) error { look(ctx, watcher, log); return nil })
	}
	server, err := api.New(deps, api.Config{
		PerMinute: o.perMinute, Queries: o.queries, DrainTimeout: o.drain, SpoolDir: o.spool,
		LocalOnly: o.development || config == nil && len(o.proxies) == 0, Metrics: metrics, Log: log,
	})
	if err != nil {
		return err
	}
	drivers, err := flightsql.New(gateway, server, flightsql.Config{DrainTimeout: o.drain, Failed: func(request string, err error) {
		log.Error("a call of a driver failed", "request", request, "error", err)
	}})
	if err != nil {
		return err
	}
	doors := []listening{{"addr", "-listen", o.listen, server.Serve}}
	if o.flight != "" {
		doors = append(doors, listening{"flight", "-flight", o.flight, drivers.Serve})
	}
	err = serveDoors(ctx, doors, config, beside(running...), func(addrs []any) {
		log.Info("serve starts", append(addrs, "version", cardlake.Version, "tls", config != nil, "grants", permits.Set().Version())...)
	})
	log.Info("serve ends")
	return err
}

// readyInstances is how many engines are started before a statement comes: each serves one.
const readyInstances = 2

// tls is the server's side of TLS, nil for none.
func (o *serveOptions) tls() (*tls.Config, error) {
	if o.cert == "" {
		return nil, nil
	}
	config, err := api.Files{Cert: o.cert, Key: o.key, Clients: o.authorities(), TLS12: o.tls12}.Server()
	if err != nil {
		return nil, fmt.Errorf("-tls-cert, -tls-key, -client-ca: %w", err)
	}
	return config, nil
}

// permits opens the grants. Without -dev-sign-in they must be fit for production. Each change of
// who may do what, in the folder or in the register of tenants, goes on record (PCI DSS 4.0.1
// requirement 10.2.1.5).
func (o *serveOptions) permits(log *slog.Logger, metrics prometheus.Registerer, record api.Recorder) (*grants.Grants, error) {
	tenants, err := catalog.OpenTenants(o.tenants)
	if err != nil {
		return nil, err
	}
	g, err := grants.Open(o.grants, tenants, grants.Config{Production: !o.development, Logger: log, Changed: recordChange(record, log)})
	if err != nil {
		return nil, fmt.Errorf("grants: %w", err)
	}
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "cardlake", Subsystem: "grants", Name: "stale",
		Help: "1 if the grants' folder holds a set that does not load, so that an older one decides.",
	}, func() float64 {
		if g.Err() != nil {
			return 1
		}
		return 0
	}))
	return g, nil
}

// recordChange puts on record that another set of grants decides from now on. Without the record
// nothing is answered either.
func recordChange(record api.Recorder, log *slog.Logger) func(before, after *grants.Set) {
	return func(before, after *grants.Set) {
		ctx, cancel := context.WithTimeout(context.Background(), recordTime)
		defer cancel()
		detail := map[string]string{"before": before.Version(), "version": after.Version()}
		if after.Commit() != "" {
			detail["commit"] = after.Commit()
		}
		if err := record.Append(ctx, audit.Record{Actor: "cardlake serve", Action: "grants.change", Resource: "grants", Outcome: audit.Allowed, Detail: detail}); err != nil {
			log.Error("a change of the grants is not on record", "version", after.Version(), "error", err)
		}
	}
}

// record opens the audit log, beside other processes that write it.
func (o *serveOptions) record(ctx context.Context, log *slog.Logger, metrics prometheus.Registerer) (*watchedLog, error) {
	ring, err := o.place.Keys.Lake.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	trail, err := audit.OpenShared(ctx, o.audit, ring, audit.Config{Actor: "cardlake serve", Anchor: audit.FileAnchor(o.anchor), Log: log})
	switch {
	case errors.Is(err, keys.ErrNoKey):
		return nil, fmt.Errorf("%w: the lake's keyring has no audit key: run \"cardlake-vault keys create\": %w", queries.ErrUnrecorded, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
	}
	return newWatchedLog(trail, metrics), nil
}

// signIn makes the verifier of callers, and what ends its issuer.
func (o *serveOptions) signIn(ctx context.Context, permits *grants.Grants, log *slog.Logger, stdout io.Writer) (*signin.Verifier, func() error, error) {
	end := func() error { return nil }
	if o.development {
		return developmentSignIn(ctx, permits, log, stdout)
	}
	cfg := signin.Config{Certificates: o.clientCA != "" && !o.transport, Transport: o.transport, Authorities: o.authorities(), Proxies: o.proxies}
	if o.issuer.URL != "" {
		issuer := o.issuer
		if o.issuerCA != "" {
			pool, err := lakeflags.Certificates(o.issuerCA)
			if err != nil {
				return nil, nil, fmt.Errorf("-oidc-ca: %w", err)
			}
			issuer.RootCAs = pool
		}
		tokens, err := signin.NewIssuer(issuer)
		if err != nil {
			return nil, nil, fmt.Errorf("-oidc-…: %w", err)
		}
		if err := tokens.Fetch(ctx); err != nil {
			// It may come, and certificates are good without it.
			log.Error("the issuer's keys can't be had: nobody can sign in with a token until they can", "error", err)
		}
		cfg.Tokens = tokens
		end = func() error { tokens.Close(); return nil }
	}
	v, err := signin.New(permits, cfg)
	if err != nil {
		return nil, nil, err
	}
	return v, end, nil
}

// authorities sign clients' certificates; nil if there are none.
func (o *serveOptions) authorities() *signin.Authorities {
	if o.clientCA == "" {
		return nil
	}
	return signin.NewAuthorities(o.clientCA)
}

// serveMetrics answers Prometheus until end is called: counts and times, of nobody by name.
func serveMetrics(ctx context.Context, address string, metrics prometheus.Gatherer, log *slog.Logger) (end func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("-metrics-listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	log.Info("metrics", "addr", l.Addr().String())
	return func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics", "error", err)
		}
	}, nil
}
