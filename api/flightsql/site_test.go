package flightsql_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	client "github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/api/flightsql"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/signintest"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// parser knows one statement: whatever the text, it reads cards.transactions. "bad" does not
// parse.
type parser struct{}

// Parse implements queries.Parser.
func (parser) Parse(_ context.Context, sql string) ([]byte, error) {
	if sql == "SELECT bad" {
		return nil, &queries.Error{Message: `there is a fault near "bad"`, Hint: "mend it", Offset: 7}
	}
	return []byte(`{"error":false,"statements":[{"node":{"type":"SELECT_NODE","modifiers":[],"cte_map":{"map":[]},` +
		`"select_list":[{"class":"COLUMN_REF","type":"COLUMN_REF","column_names":["tenant"]}],` +
		`"from_table":{"type":"BASE_TABLE","alias":"t","schema_name":"cards","table_name":"transactions","catalog_name":"","column_name_alias":[],"query_location":3}},"named_param_map":[]}]}`), nil
}

// engine answers with so many rows.
type engine struct {
	mu      sync.Mutex
	rows    int
	text    string // of each row
	failAt  int    // the row before which it fails, from 1; 0 for none
	err     error  // with this
	panicAt int
	wait    bool          // for its context to end
	pause   time.Duration // before each row
	asked   chan struct{}
	ended   chan struct{}
	sql     []string
}

func (e *engine) Query(ctx context.Context, s queries.Statement) (queries.Rows, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sql = append(e.sql, s.SQL)
	if e.wait {
		e.asked <- struct{}{}
		<-ctx.Done()
		e.ended <- struct{}{}
		return nil, ctx.Err()
	}
	return &rows{engine: e}, nil
}

func (e *engine) Columns(context.Context, queries.Statement) ([]queries.Column, error) {
	return (&rows{}).Columns(), nil
}

func (e *engine) State(_ context.Context, r queries.Read) (queries.Snapshot, error) {
	return queries.Snapshot{Table: r.Table, ID: 7, CommittedAt: epoch, Files: 2, Rows: 30, Bytes: 4000}, nil
}

var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

type rows struct {
	*engine
	n int
}

func (r *rows) Columns() []queries.Column {
	return []queries.Column{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "text", Type: arrow.BinaryTypes.String}}
}

func (r *rows) Snapshots() []queries.Snapshot {
	return []queries.Snapshot{{Table: cardlake.Transactions, ID: 7, CommittedAt: epoch}}
}

func (r *rows) Close() error {
	select {
	case r.ended <- struct{}{}:
	default:
	}
	return nil
}

func (r *rows) Next(row []any) error {
	if r.pause > 0 {
		time.Sleep(r.pause)
	}
	r.n++
	switch {
	case r.n == r.failAt:
		return r.err
	case r.n == r.panicAt:
		panic("a value: 4111111111111111")
	case r.n > r.rows:
		return io.EOF
	}
	row[0], row[1] = int64(r.n), r.text
	return nil
}

// permits can be changed while they are asked.
type permits struct {
	mu sync.Mutex
	of queriestest.Permits
}

func (p *permits) set(to queriestest.Permits) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of = to
}

func (p *permits) Decide(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of(c, a, t)
}

// site is a server with all that is real but the engine.
type site struct {
	t         testing.TB
	issuer    *signintest.Issuer
	authority *signintest.Authority
	engine    *engine
	log       *queriestest.Log
	metrics   *prometheus.Registry
	permits   *permits
	entrance  *api.Server
	failed    chan error

	addr string
	pool *x509.CertPool
	stop func() error
}

type known map[string]grants.Principal

func (k known) PrincipalOf(subject string) (grants.Principal, bool) {
	p, ok := k[subject]
	return p, ok
}

const etlURI = "spiffe://lake.example/etl"

var aView = &queries.View{Namespace: "views", Name: "daily", Doc: "What a day has", SQL: "SELECT tenant FROM cards.transactions",
	Columns: []queries.ViewColumn{{Name: "tenant", Type: arrow.BinaryTypes.String, Doc: "whose"}}}

func newSite(t testing.TB, cfg flightsql.Config, bounds api.Config) *site {
	t.Helper()
	s := &site{
		t: t, issuer: signintest.Start(t), authority: signintest.NewAuthority(t, "authority"), metrics: prometheus.NewRegistry(),
		engine: &engine{rows: 3, text: "value", asked: make(chan struct{}, 10), ended: make(chan struct{}, 10)}, log: &queriestest.Log{},
		permits: &permits{of: queriestest.Everything}, failed: make(chan error, 100),
	}
	people := known{
		"oidc:" + s.issuer.URL + "#ana": {Kind: grants.DataScientist, Name: "ana"},
		"oidc:" + s.issuer.URL + "#bea": {Kind: grants.DataScientist, Name: "bea"},
		etlURI:                          {Kind: grants.ETLJob, Name: "etl"},
	}
	tokens, err := signin.NewIssuer(signin.IssuerConfig{URL: s.issuer.URL, Audience: signintest.Audience, RootCAs: s.issuer.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	authorities := signin.NewAuthorities(s.authority.File)
	verifier, err := signin.New(people, signin.Config{Tokens: tokens, Certificates: true, Authorities: authorities})
	if err != nil {
		t.Fatal(err)
	}
	gateway := queries.New(parser{}, s.engine, s.permits, s.log, queries.Config{MaxRows: 1 << 20, Views: []*queries.View{aView}})
	bounds.Metrics, bounds.Log = s.metrics, slog.New(slog.DiscardHandler)
	if s.entrance, err = api.New(api.Deps{SignIn: verifier, Permits: s.permits, Recorder: s.log, Gateway: gateway}, bounds); err != nil {
		t.Fatal(err)
	}
	cfg.Failed = func(_ string, err error) { s.failed <- err }
	server, err := flightsql.New(gateway, s.entrance, cfg)
	if err != nil {
		t.Fatal(err)
	}
	files := api.Files{Clients: authorities}
	files.Cert, files.Key = signintest.Files(t, s.authority.Issue("server", nil))
	config, err := files.Server()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr, s.pool = l.Addr().String(), x509.NewCertPool()
	s.pool.AddCert(s.authority.Cert)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l, config) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var generous = api.Config{PerMinute: 60_000, Burst: 10_000}

// client connects, with a certificate or without one.
func (s *site) client(certs ...tls.Certificate) *client.Client {
	s.t.Helper()
	c, err := client.NewClient(s.addr, nil, nil, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: s.pool, Certificates: certs})))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// as is the context of a caller with a token.
func (s *site) as(subject string, headers ...string) context.Context {
	return metadata.AppendToOutgoingContext(s.t.Context(), append([]string{"authorization", "Bearer " + s.issuer.Token(subject, time.Now(), nil)}, headers...)...)
}
