package serving

import (
	"cmp"
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
	"github.com/cardlake/cardlake/api/saved"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin/apikeys"
	"github.com/cardlake/cardlake/dashboard"
	"github.com/cardlake/cardlake/dashboard/session"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/live"
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
	own, err := apikeys.Open(ctx, o.Keys, record, apikeys.Config{})
	if err != nil {
		return err
	}
	defer closing(own)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	defer listener.Close() // for who fails before it is served
	at := cmp.Or(o.DashboardURL, "http://"+listener.Addr().String())
	who, err := o.signIn(ctx, permits, own, at, log, stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, who.end()) }()
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
	saved, err := saved.Open(ctx, o.Saved, time.Now)
	if err != nil {
		return err
	}
	defer closing(saved)
	follower, err := live.New(&followed{lake: l}, o.Tail, live.Config{Log: log})
	if err != nil {
		return err
	}
	reviewing := &reviewing{
		place: &o.Place, permits: permits, record: record, tenants: tenants,
		gateway: queries.New(parser, engine, permits, record, queries.Config{MaxRows: -1, Timeout: o.Timeout, Views: views.All}),
	}
	defer closing(reviewing)
	trail := newAuditTrail(o.Audit, audit.FileAnchor(o.Anchor), ring, time.Now)
	deps := api.Deps{
		Gateway: gateway, SignIn: who, Permits: permits, Recorder: record, Ready: record.Ready, Changes: feed, Exports: exports,
		Tenants: tenants, Saved: saved, Keys: own, Live: follower, Reviews: reviewing, Access: permits, Trail: trail,
	}
	looked := healthParts{
		Dir: home.Dir(o.Place.Dir), Table: l.Table, Store: l.Store, Tenants: tenants, Gateway: gateway, Keys: ring, Trail: trail, Live: follower,
	}
	if watcher != nil {
		looked.Asker = o.asker(gateway, "whether rows and totals are equal")
		deps.CompleteUntil = func(ctx context.Context, tenant cardlake.Tenant) (time.Time, error) {
			snapshot, _, err := l.Planner.Plan(ctx, cardlake.Transactions)
			return watcher.ValidThrough(snapshot.Positions)[tenant], err
		}
	}
	health := newHealth(looked)
	deps.Operations = health
	running := []func(context.Context) error{exports.Run, follower.Run, health.Run}
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
	cfg := api.Config{
		PerMinute: o.PerMinute, Queries: o.Queries, DrainTimeout: o.Drain, SpoolDir: o.Spool,
		LocalOnly: o.Development || config == nil && len(o.proxies) == 0, Metrics: metrics, Log: log,
	}
	if who.client != nil {
		sessions, err := session.New(session.Deps{SignIn: who, Client: who.client, Recorder: record}, session.Config{URL: at, Development: o.Development, Log: log})
		if err != nil {
			return err
		}
		deps.SignIn = sessions
		running = append(running, sessions.Run)
		if cfg.Front, err = o.front(sessions, config != nil); err != nil {
			return err
		}
	}
	server, err := api.New(deps, cfg)
	if err != nil {
		return err
	}
	drivers, err := flightsql.New(gateway, server, flightsql.Config{DrainTimeout: o.Drain, Failed: func(request string, err error) {
		log.Error("a call of a driver failed", "request", request, "error", err)
	}})
	if err != nil {
		return err
	}
	doors := []listening{{"addr", listener, server.Serve}}
	if o.Flight != "" {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Flight)
		if err != nil {
			return fmt.Errorf("-flight: %w", err)
		}
		doors = append(doors, listening{"flight", l, drivers.Serve})
	}
	err = serveDoors(ctx, doors, config, beside(running...), func(addrs []any) {
		log.Info("serve starts", append(addrs, "version", cardlake.Version, "tls", config != nil, "grants", permits.Set().Version())...)
	})
	log.Info("serve ends")
	return err
}

// front puts the dashboard before the API, and Options.Before before both.
func (o *Options) front(sessions *session.Manager, isSecure bool) (func(http.Handler) http.Handler, error) {
	notice := ""
	if o.Development {
		notice = "Development sign-in: no password, no second factor"
	}
	var api http.Handler // set before anything is served
	page, err := dashboard.New(dashboard.Config{
		API:     sessions.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { api.ServeHTTP(w, r) })),
		Session: sessions, Version: cardlake.Version, Secure: isSecure, Notice: notice,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", page)
	for path, h := range o.Before {
		mux.Handle(path, h)
	}
	return func(next http.Handler) http.Handler {
		api = next
		return mux
	}, nil
}

// engine computes the answers.
func (o *Options) engine(ctx context.Context, l *Lake) (queries.Engine, error) {
	cfg := embedded.Config{Memory: o.Memory << 20, CacheBytes: o.Cache << 20, AnswerBytes: o.Answers << 20, Ready: readyInstances, Tail: o.Tail}
	if o.Engine != nil {
		return o.Engine(ctx, l, cfg)
	}
	return embedded.New(l.Planner, l.Store, cfg), nil
}

// readyInstances is how many engines are started before a statement comes: each serves one.
const readyInstances = 8

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
