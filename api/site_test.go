package api_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
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
	if sql == "bad" {
		return nil, &queries.Error{Message: "there is a fault near \"bad\"", Hint: "mend it", Offset: 0}
	}
	return []byte(`{"error":false,"statements":[{"node":{"type":"SELECT_NODE","modifiers":[],"cte_map":{"map":[]},` +
		`"select_list":[{"class":"COLUMN_REF","type":"COLUMN_REF","column_names":["tenant"]}],` +
		`"from_table":{"type":"BASE_TABLE","alias":"t","schema_name":"cards","table_name":"transactions","catalog_name":"","column_name_alias":[],"query_location":3}},"named_param_map":[]}]}`), nil
}

// engine answers with so many rows, and fails as it is told.
type engine struct {
	mu      sync.Mutex
	rows    int   // of an answer
	failAt  int   // the row before which it fails, from 1; 0 for none
	err     error // with this
	panicAt int   // the row at which it panics, from 1; 0 for none
	wait    bool  // for its context to end, before it answers
	asked   chan struct{}
	ended   chan error
	release chan struct{} // if not nil, each answer waits for it
	sql     []string

	columns  []queries.Column                // of an answer; default n and text
	values   [][]any                         // its rows, if columns are set
	rowsOf   func(queries.Statement) [][]any // them, in place of values
	snapshot int64                           // default 7
	reads    []queries.Read                  // of the newest statement
	looked   queries.Read                    // whose state was asked for last
}

// Query implements queries.Engine.
func (e *engine) Query(ctx context.Context, s queries.Statement) (queries.Rows, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sql, e.reads = append(e.sql, s.SQL), s.Reads
	if e.wait {
		e.asked <- struct{}{}
		<-ctx.Done()
		e.ended <- ctx.Err()
		return nil, ctx.Err()
	}
	if release := e.release; release != nil {
		e.mu.Unlock()
		e.asked <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		e.mu.Lock()
	}
	if e.failAt == 0 && e.err != nil {
		return nil, e.err
	}
	values := e.values
	if e.rowsOf != nil {
		values = e.rowsOf(s)
	}
	return &rows{left: e.rows, failAt: e.failAt, panicAt: e.panicAt, err: e.err, columns: e.columns, values: values, snapshot: cmp.Or(e.snapshot, 7)}, nil
}

// Columns implements queries.Engine.
func (e *engine) Columns(context.Context, queries.Statement) ([]queries.Column, error) {
	return (&rows{}).Columns(), nil
}

// State implements queries.Engine.
func (e *engine) State(_ context.Context, r queries.Read) (queries.Snapshot, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looked = r
	return queries.Snapshot{Table: r.Table, ID: cmp.Or(e.snapshot, 7), CommittedAt: epoch, Files: 2, Rows: 30, Bytes: 4000}, nil
}

var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

type rows struct {
	left, n, failAt, panicAt int
	err                      error
	columns                  []queries.Column
	values                   [][]any
	snapshot                 int64
}

func (r *rows) Columns() []queries.Column {
	if r.columns != nil {
		return r.columns
	}
	return []queries.Column{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "text", Type: arrow.BinaryTypes.String}}
}
func (r *rows) Snapshots() []queries.Snapshot {
	return []queries.Snapshot{{Table: cardlake.Transactions, ID: r.snapshot, CommittedAt: epoch}}
}
func (r *rows) Close() error { return nil }
func (r *rows) Next(row []any) error {
	if r.n++; r.n == r.failAt {
		return r.err
	}
	if r.n == r.panicAt {
		panic("a value: 4111111111111111")
	}
	if r.columns != nil {
		if r.n > len(r.values) {
			return io.EOF
		}
		copy(row, r.values[r.n-1])
		return nil
	}
	if r.left--; r.left < 0 {
		return io.EOF
	}
	row[0], row[1] = int64(r.n), "value"
	return nil
}

// site is a server with all that is real but the engine.
type site struct {
	t         *testing.T
	issuer    *signintest.Issuer
	authority *signintest.Authority
	engine    *engine
	log       *queriestest.Log
	text      *lockedBuffer
	metrics   *prometheus.Registry
	known     *known
	permits   queriestest.Permits

	url      string
	pool     *x509.CertPool
	patience time.Duration // of clients
	stop     func() error
}

// known are the principals.
type known struct {
	mu sync.Mutex
	of map[string]grants.Principal
}

func (k *known) PrincipalOf(subject string) (grants.Principal, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.of[subject]
	return p, ok
}

func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.of)
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

const etlURI = "spiffe://lake.example/etl"

func newSite(t *testing.T, cfg api.Config, change ...func(*site, *api.Deps, *api.Files)) *site {
	t.Helper()
	s := &site{
		t: t, issuer: signintest.Start(t), authority: signintest.NewAuthority(t, "authority"), metrics: prometheus.NewRegistry(),
		engine: &engine{rows: 3, asked: make(chan struct{}, 10), ended: make(chan error, 10)}, log: &queriestest.Log{}, text: &lockedBuffer{},
		permits: queriestest.Everything, patience: time.Minute,
	}
	s.known = &known{of: map[string]grants.Principal{
		"oidc:" + s.issuer.URL + "#ana": {Kind: grants.DataScientist, Name: "ana"},
		"oidc:" + s.issuer.URL + "#bea": {Kind: grants.DataScientist, Name: "bea"},
		etlURI:                          {Kind: grants.ETLJob, Name: "etl"},
	}}
	tokens, err := signin.NewIssuer(signin.IssuerConfig{URL: s.issuer.URL, Audience: signintest.Audience, RootCAs: s.issuer.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	authorities := signin.NewAuthorities(s.authority.File)
	door, err := signin.New(s.known, signin.Config{Tokens: tokens, Certificates: true, Authorities: authorities})
	if err != nil {
		t.Fatal(err)
	}
	permits := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision { return s.permits(c, a, t) })
	deps := api.Deps{SignIn: door, Permits: permits, Recorder: s.log, Gateway: queries.New(parser{}, s.engine, permits, s.log, queries.Config{MaxRows: 1 << 20})}
	files := api.Files{Clients: authorities}
	files.Cert, files.Key = signintest.Files(t, s.authority.Issue("server", nil))
	for _, c := range change {
		c(s, &deps, &files)
	}
	cfg.Metrics, cfg.Log = s.metrics, slog.New(slog.NewJSONHandler(s.text, nil))
	server, err := api.New(deps, cfg)
	if err != nil {
		t.Fatal(err)
	}
	config, err := files.Server()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url, s.pool = "https://"+l.Addr().String(), x509.NewCertPool()
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

// client is one with a certificate, or without one.
func (s *site) client(cert *tls.Certificate, h2 bool) *http.Client {
	config := &tls.Config{RootCAs: s.pool}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: h2, DisableCompression: true}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (s *site) token(subject string) string { return s.issuer.Token(subject, time.Now(), nil) }

// answer is what came back.
type answer struct {
	*http.Response
	body []byte
	err  error // while it was read
}

func (a answer) problem(t *testing.T) (kind string) {
	t.Helper()
	var p struct{ Type, Title, Detail, Request string }
	if a.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(a.body, &p) != nil {
		t.Errorf("status %d is no problem: %s", a.StatusCode, a.body)
		return ""
	}
	if p.Request != a.Header.Get("X-Request-Id") || len(p.Request) != 32 || p.Title == "" || p.Detail == "" {
		t.Errorf("problem %+v, request %s", p, a.Header.Get("X-Request-Id"))
	}
	return fmt.Sprintf("%d %s", a.StatusCode, strings.TrimPrefix(p.Type, "urn:cardlake:api:"))
}

// ask makes a call with a token, which may be empty.
func (s *site) ask(c *http.Client, method, path, token, body string, headers ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		return answer{Response: &http.Response{Header: http.Header{}}, err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp, text, err}
}

const statement = `{"sql": "SELECT tenant FROM cards.transactions"}`

// query asks as ana.
func (s *site) query(headers ...string) answer {
	s.t.Helper()
	return s.ask(s.client(nil, true), http.MethodPost, "/v1/query", s.token("ana"), statement, headers...)
}

// audited are the records in short.
func (s *site) audited() (out []string) {
	for _, r := range s.log.Records() {
		out = append(out, fmt.Sprintf("%s %s %s %s %s", r.Actor, r.Action, r.Resource, r.Outcome, r.Origin))
	}
	return out
}

// metric is a counter's value, summed over its labels.
func (s *site) metric(name string) (sum float64) {
	s.t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

var errDisk = errors.New("the disk is full")
