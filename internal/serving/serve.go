package serving

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

// MaxStatement bounds a statement, in bytes.
const MaxStatement = 1 << 20

// LakeLog is the audit log of the lake's doors.
const LakeLog = "lake"

// recordTime bounds a record that is written after what it tells of.
const recordTime = 10 * time.Second

// Run serves the lake until ctx ends. What a person needs to sign in for development goes to
// stdout. Things end in this order: the calls and exports under way, the exports, the development
// issuer, the metrics, the engine, the audit log, the lake.
func Run(ctx context.Context, o Options, log *slog.Logger, stdout io.Writer) (err error) {
	closing := func(what io.Closer) { err = errors.Join(err, what.Close()) }
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	config, err := o.tls()
	if err != nil {
		return err
	}
	l, err := OpenLake(ctx, &o.Place)
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
	engine, err := o.engine(ctx, l)
	if err != nil {
		return err
	}
	if e, ok := engine.(io.Closer); ok {
		defer closing(e)
	}
	gateway := queries.New(parser, engine, permits, record,
		queries.Config{MaxRows: o.MaxRows, Timeout: o.Timeout, MaxSQL: MaxStatement, Views: views.All})

	endMetrics, err := serveMetrics(ctx, o.Metrics, metrics, log)
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
	ring, err := o.Place.Keys.Lake.Open(ctx)
	if err != nil {
		return err
	}
	tenants, err := catalog.OpenTenants(o.Tenants)
	if err != nil {
		return err
	}
	parts := ExportParts{
		Dir: o.Place.Dir, Lake: l, Keys: ring, Tenants: tenants, Permits: permits, Recorder: record, Parser: parser, Engine: engine, Log: log,
	}
	watcher, err := o.watcher(gateway, log)
	if err != nil {
		return err
	}
	if watcher != nil {
		watched.Watermarks, parts.Marks = watcher, watcher
	}
	feed, err := l.Feed(ctx, &o.Place, gateway, watched)
	if err != nil {
		return err
	}
	exports, err := OpenExports(ctx, parts)
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
		PerMinute: o.PerMinute, Queries: o.Queries, DrainTimeout: o.Drain, SpoolDir: o.Spool,
		LocalOnly: o.Development || config == nil && len(o.proxies) == 0, Metrics: metrics, Log: log,
	})
	if err != nil {
		return err
	}
	drivers, err := flightsql.New(gateway, server, flightsql.Config{DrainTimeout: o.Drain, Failed: func(request string, err error) {
		log.Error("a call of a driver failed", "request", request, "error", err)
	}})
	if err != nil {
		return err
	}
	doors := []listening{{"addr", "-listen", o.Listen, server.Serve}}
	if o.Flight != "" {
		doors = append(doors, listening{"flight", "-flight", o.Flight, drivers.Serve})
	}
	err = serveDoors(ctx, doors, config, beside(running...), func(addrs []any) {
		log.Info("serve starts", append(addrs, "version", cardlake.Version, "tls", config != nil, "grants", permits.Set().Version())...)
	})
	log.Info("serve ends")
	return err
}

// engine computes the answers.
func (o *Options) engine(ctx context.Context, l *Lake) (queries.Engine, error) {
	cfg := embedded.Config{Memory: o.Memory << 20, CacheBytes: o.Cache << 20, Ready: readyInstances, Tail: o.Tail}
	if o.Engine != nil {
		return o.Engine(ctx, l, cfg)
	}
	return embedded.New(l.Planner, l.Store, cfg), nil
}

// readyInstances is how many engines are started before a statement comes: each serves one.
const readyInstances = 2

// tls is the server's side of TLS, nil for none.
func (o *Options) tls() (*tls.Config, error) {
	if o.Cert == "" {
		return nil, nil
	}
	config, err := api.Files{Cert: o.Cert, Key: o.Key, Clients: o.authorities(), TLS12: o.TLS12}.Server()
	if err != nil {
		return nil, fmt.Errorf("-tls-cert, -tls-key, -client-ca: %w", err)
	}
	return config, nil
}

// permits opens the grants. Without -dev-sign-in they must be fit for production. Each change of
// who may do what, in the folder or in the register of tenants, goes on record (PCI DSS 4.0.1
// requirement 10.2.1.5).
func (o *Options) permits(log *slog.Logger, metrics prometheus.Registerer, record api.Recorder) (*grants.Grants, error) {
	tenants, err := catalog.OpenTenants(o.Tenants)
	if err != nil {
		return nil, err
	}
	g, err := grants.Open(o.Grants, tenants, grants.Config{Production: !o.Development, Logger: log, Changed: recordChange(record, log)})
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
func (o *Options) record(ctx context.Context, log *slog.Logger, metrics prometheus.Registerer) (*watchedLog, error) {
	ring, err := o.Place.Keys.Lake.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	trail, err := audit.OpenShared(ctx, o.Audit, ring, audit.Config{Actor: "cardlake serve", Anchor: audit.FileAnchor(o.Anchor), Log: log})
	switch {
	case errors.Is(err, keys.ErrNoKey):
		return nil, fmt.Errorf("%w: the lake's keyring has no audit key: run \"cardlake-vault keys create\": %w", queries.ErrUnrecorded, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
	}
	return newWatchedLog(trail, metrics), nil
}

// signIn makes the verifier of callers, and what ends its issuer.
func (o *Options) signIn(ctx context.Context, permits *grants.Grants, log *slog.Logger, stdout io.Writer) (*signin.Verifier, func() error, error) {
	end := func() error { return nil }
	if o.Development {
		return developmentSignIn(ctx, permits, log, stdout)
	}
	cfg := signin.Config{Certificates: o.ClientCA != "" && !o.Transport, Transport: o.Transport, Authorities: o.authorities(), Proxies: o.proxies}
	if o.Issuer.URL != "" {
		issuer := o.Issuer
		if o.IssuerCA != "" {
			pool, err := lakeflags.Certificates(o.IssuerCA)
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
func (o *Options) authorities() *signin.Authorities {
	if o.ClientCA == "" {
		return nil
	}
	return signin.NewAuthorities(o.ClientCA)
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
