// Package trino answers statements with a Trino server, through its official Go client. What is
// sent is printed by package dialect: each table is a common table expression that holds the
// caller's decision, and is read in one Iceberg snapshot, which the statement names; so an
// answer's snapshot is exact.
//
// The server needs an Iceberg catalog over the lake's own. It should know this package by users
// of its own that may only read (testdata/rules.json has such rules of Trino's file-based access
// control), and can bound and log it by those users, by the tags and by the source. The tail
// beyond a snapshot is not read: answers are as of the commit.
//
// The server is spoken to by TLS, or on a loopback address. A credential goes into requests to
// that server alone, and never into a URL or an error. Messages about values of rows are
// replaced: they could quote them.
package trino

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	client "github.com/trinodb/trino-go-client/trino"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dialect"
)

// Planner says which files make up a table. One that is a [queries.History] too does so of older
// snapshots.
type Planner = queries.Planner

// Credentials has the value of the Authorization header, such as "Bearer …", for every request.
type Credentials interface {
	Authorization(ctx context.Context) (string, error)
}

// Config says which server, and as whom. Server, Catalog and User are required.
type Config struct {
	// Server is the coordinator's URL, https://host:port, or http:// to a loopback address. It
	// has no user, password, path or query.
	Server string
	// Catalog is Trino's name of the Iceberg catalog. Its schemas are the tables' namespaces.
	Catalog string
	// User is whom Trino takes statements to be of. Users are those of principals of a kind, so
	// that Trino's own access control and resource groups can tell them apart.
	User  string
	Users map[grants.Kind]string
	// Credentials authorise User and Users; nil for a server that asks for none.
	Credentials Credentials
	// RootCAs verify the server's certificate. Default: the system's.
	RootCAs *x509.CertPool
	// Session are session properties of every statement, by their names.
	Session map[string]string
	// Source is told to the server as the program that asks. Default "cardlake".
	Source string
	// MaxTime bounds how long a statement runs on the server, with the delivery of its rows. 0
	// means 30 minutes.
	MaxTime time.Duration
}

func (c Config) withDefaults() Config {
	if c.Source == "" {
		c.Source = "cardlake"
	}
	if c.MaxTime == 0 {
		c.MaxTime = 30 * time.Minute
	}
	return c
}

// Validate reports every fault of the configuration at once.
func (c Config) Validate() error {
	var errs []error
	u, err := url.Parse(c.Server)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		errs = append(errs, errors.New("Server is not a URL like https://host:port"))
	case u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		errs = append(errs, errors.New("Server has more than a scheme, a host and a port"))
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		errs = append(errs, errors.New("Server needs https: http is for loopback addresses alone"))
	case u.Scheme == "http" && c.Credentials != nil:
		errs = append(errs, errors.New("Credentials are sent by https alone"))
	}
	if c.Catalog == "" {
		errs = append(errs, errors.New("Catalog must be set"))
	}
	if c.User == "" {
		errs = append(errs, errors.New("User must be set"))
	}
	if c.MaxTime < 0 {
		errs = append(errs, errors.New("MaxTime must not be negative"))
	}
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Engine implements queries.Engine. It is safe for concurrent use.
type Engine struct {
	planner Planner
	cfg     Config
	server  *url.URL
	http    *http.Client
}

// New returns an engine over the planner's tables. It connects to nothing; the error is that of
// [Config.Validate].
func New(planner Planner, cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("trino: %w", err)
	}
	cfg = cfg.withDefaults()
	server, err := url.Parse(cfg.Server)
	if err != nil {
		return nil, fmt.Errorf("trino: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs}
	transport.MaxIdleConnsPerHost = 16
	return &Engine{
		planner: planner, cfg: cfg, server: server,
		http: &http.Client{Transport: &authorised{server, cfg.Credentials, transport}},
	}, nil
}

// authorised sends requests to one server, with its credential, and to no other: the URLs of
// later requests are what the server says.
type authorised struct {
	server      *url.URL
	credentials Credentials
	next        http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (a *authorised) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != a.server.Scheme || r.URL.Host != a.server.Host {
		return nil, errors.New("the server named another server for the rest of its answer")
	}
	if a.credentials != nil {
		value, err := a.credentials.Authorization(r.Context())
		if err != nil {
			return nil, fmt.Errorf("credential of Trino: %w", err)
		}
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", value)
	}
	res, err := a.next.RoundTrip(r)
	if statement, ok := r.Context().Value(statementKey{}).(*rows); ok && err == nil && r.Method == http.MethodPost {
		err = statement.begun(res)
	}
	return res, err
}

// statementKey is the context's key of the rows that a request is for.
type statementKey struct{}

// Columns implements queries.Engine. It asks nobody.
func (e *Engine) Columns(_ context.Context, s queries.Statement) ([]queries.Column, error) {
	printed, err := dialect.Trino(s, func(*cardlake.Table) (dialect.Relation, error) { return dialect.Relation{Absent: true}, nil })
	if err != nil {
		return nil, err
	}
	return printed.Columns, nil
}

// State implements queries.Engine.
func (e *Engine) State(ctx context.Context, r queries.Read) (queries.Snapshot, error) {
	return r.State(ctx, e.planner)
}

// Query implements queries.Engine. It returns when the server has the first rows. The server ends
// the statement when ctx does before, and when the rows are closed.
func (e *Engine) Query(ctx context.Context, s queries.Statement) (_ queries.Rows, err error) {
	r := &rows{engine: e}
	ids := map[*cardlake.Table]int64{}
	for _, read := range s.Reads {
		snapshot, err := e.State(ctx, read)
		if err != nil {
			return nil, err
		}
		r.snapshots = append(r.snapshots, snapshot)
		ids[read.Table] = snapshot.ID
	}
	printed, err := dialect.Trino(s, func(t *cardlake.Table) (dialect.Relation, error) {
		return dialect.Relation{Catalog: e.cfg.Catalog, Schema: t.Namespace, Name: t.Name, Snapshot: ids[t], Absent: ids[t] == 0}, nil
	})
	if err != nil {
		return nil, err
	}
	r.columns = printed.Columns
	r.row = make([]driver.Value, len(r.columns))
	if err := r.connect(ctx, s); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	// ctx ends when Query has returned, the rows go on.
	var running context.Context
	running, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, r.cancel)
	err = r.start(context.WithValue(running, statementKey{}, r), printed.SQL)
	if !stop() { // ctx has ended
		err = ctx.Err()
	}
	if err != nil {
		return nil, explain(err)
	}
	return r, nil
}

// connect makes a connection, which is no more than settings: requests are made for statements.
func (r *rows) connect(ctx context.Context, s queries.Statement) error {
	e := r.engine
	tags := []string{"cardlake"}
	r.user = e.cfg.User
	if len(s.Reads) > 0 {
		p := s.Reads[0].Decision.Principal
		if u, ok := e.cfg.Users[p.Kind]; ok {
			r.user = u
		}
		tags = append(tags, "kind="+string(p.Kind), "policies="+tag(s.Reads[0].Decision.Version))
	}
	session := maps.Clone(e.cfg.Session)
	if session == nil {
		session = map[string]string{}
	}
	limit := e.cfg.MaxTime
	if s.Limits.Timeout > 0 && s.Limits.Timeout < limit {
		limit = s.Limits.Timeout
	}
	session["query_max_run_time"] = fmt.Sprintf("%.0fs", max(limit.Seconds(), 1))
	if s.Limits.MaxBytes > 0 {
		session["query_max_scan_physical_bytes"] = strconv.FormatInt(s.Limits.MaxBytes, 10) + "B"
	}
	if s.Limits.Memory > 0 {
		session["query_max_total_memory"] = strconv.FormatInt(s.Limits.Memory, 10) + "B"
	}
	server := *e.server
	server.User = url.User(r.user)
	connector, err := client.NewConnector(&client.Config{
		ServerURI: server.String(), Source: e.cfg.Source, ClientTags: tags, SessionProperties: session,
		TimeZone: "UTC", HTTPClient: e.http, QueryTimeout: &limit, DisableExplicitPrepare: true,
	})
	if err != nil {
		return fmt.Errorf("trino: %w", err)
	}
	r.conn, err = connector.Connect(ctx)
	return err
}

// tag is a text as a client tag may have it: they are separated by commas.
func tag(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == ',' || r > '~' {
			return '-'
		}
		return r
	}, s)
}
