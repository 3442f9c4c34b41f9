// Package api is the HTTP door of the lake: figures, SQL, tables, changes, exports, data products and
// one's own rights, as JSON, CSV, Arrow and Parquet, and what happens as server-sent events, behind
// sign-in, grants and the audit log.
//
// Routes are data: the table of them ([route]) is what the server answers by, and what
// GET /v1/openapi.json describes (OpenAPI 3.1). The document says of each what it takes, what it
// answers and which problems it has; of routes that a server has nothing for it says 404.
//
// # Figures
//
// GET /v1/figures lists them, and GET /v1/figures/{name} gives one of the newest snapshot, with the
// statement behind it (package figures). It has a weak ETag of who asks, what is asked, what of it
// is given and the snapshots that it rests on: whoever has it is not sent it again, and nobody is
// told by another's. Figures wait for a place among the caller's statements, because a page asks
// for a dozen at once, and are counted apart from other calls.
//
// # Formats
//
// The format of an answer to a query follows the header Accept, or the body's "format":
// application/json, text/csv, application/vnd.apache.arrow.stream and
// application/vnd.apache.parquet.
//
// # A statement that fails half-way
//
// What is found before the first 64 KiB are written is an error with a status. After that the
// status is out, and an answer that is cut must not pass for a whole one:
//
//   - JSON ends in "end", which has either "rows", their number, or "error", the problem. An
//     answer without it was cut on its way.
//   - CSV, Arrow and Parquet break off: the connection is reset (HTTP/2: RST_STREAM; HTTP/1.1:
//     no last chunk), which every client reports, where a trailer would be passed over by most.
//     Whole ones have a trailer Cardlake-Rows with the number of rows.
//
// # Pages, later answers, and asking twice
//
// "timeout" is how many seconds a statement may take until it has an answer, within the server's
// bound and the grant's. With "page_rows" the rows come in pages of that many. The first comes
// with the answer, and where the next is in "next" and in the header Link (RFC 8288). With
// "async" the answer is 202 and where its state is; its pages are fetched when it is done, or as
// they are. With the header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header) the same
// request of the same caller has the same answer, 409 while it is made, and 422 if the request is
// another.
//
// Rows that are kept lie sealed under a key in memory, for a quarter of an hour, for who asked,
// within a bound of bytes. The same page is the same each time; each time the grants are asked
// anew, and it is on record. When less is granted by then, it is refused and the rows are let go.
// The answers of one caller give way to newer ones of that caller, never to another's.
//
// # What holds
//
// Every call has an id that the server draws, in the header X-Request-Id and in every line of
// the audit log that the call leaves. A caller says why it asks in Cardlake-Reason, and asks for
// emergency access with Cardlake-Break-Glass: yes. Errors are RFC 9457's problem details and
// tell no content of a field. Whoever is not signed in is refused and counted in the audit log,
// in at most two lines a second. Nothing may be kept by caches but figures that are of no one card
// or customer, by who asked, and no page of another origin may read anything.
package api

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/figures"
)

// Gateway answers; *queries.Gateway is one.
type Gateway interface {
	Query(ctx context.Context, c grants.Caller, sql string) (*queries.Result, error)
	Tables(ctx context.Context, c grants.Caller) ([]queries.TableInfo, error)
	Describe(ctx context.Context, c grants.Caller, name string) (queries.TableInfo, error)
	Views(ctx context.Context, c grants.Caller) ([]*queries.View, error)
	DescribeView(ctx context.Context, c grants.Caller, name string) (*queries.View, error)
	Pinned
}

// Pinned answers of states that are committed.
type Pinned interface {
	QueryAt(ctx context.Context, c grants.Caller, at queries.At, sql string) (*queries.Result, error)
	SnapshotOf(ctx context.Context, c grants.Caller, name string) (queries.Snapshot, error)
	Check(ctx context.Context, sql string) (queries.Statement, error)
}

// SignIn finds out who is asking; *signin.Verifier is one.
type SignIn interface {
	// FromRequest returns the caller. An error is a *signin.Error.
	FromRequest(r *http.Request) (grants.Caller, error)
	// Origin is the address that the request came from.
	Origin(r *http.Request) string
}

// Permits decides; *grants.Grants is one.
type Permits interface {
	Decide(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision
}

// Recorder is where audit records go.
type Recorder interface {
	// Append returns nil once the record is durable.
	Append(ctx context.Context, r audit.Record) error
}

// Deps is what a Server needs. All but Ready must be set.
type Deps struct {
	Gateway  Gateway
	SignIn   SignIn
	Permits  Permits
	Recorder Recorder
	// Exports are files that callers take away; nil if there are none.
	Exports Exports
	// Changes are rows that were added since; nil if there are none.
	Changes Changes
	// Products are what is offered of the lake; nil if there are none.
	Products Products
	// Figures are those that may be asked for; nil for figures.All.
	Figures []figures.Figure
	// Tenants is the register; nil if it is not told, and then neither are its facts.
	Tenants Tenants
	// CompleteUntil is the event time up to which all rows of the tenant are in the newest
	// snapshot, zero if that is not known; nil if it never is.
	CompleteUntil func(ctx context.Context, t cardlake.Tenant) (time.Time, error)
	// Keys are API keys that callers make; nil if they can't.
	Keys APIKeys
	// Saved are views that callers save; nil if they can't.
	Saved SavedViews
	// Live has the authorisations of the last minutes; nil if there is nothing that follows them.
	Live Live
	// Reviews take what is said of alerts; nil if nobody does.
	Reviews Reviews
	// Operations tell how the lake is, Access says who may do what, and Trail reads the audit log;
	// nil where it is not told.
	Operations Operations
	Access     Access
	Trail      Trail
	// Ready returns why the server can't answer at the moment; nil means that it always can.
	Ready func(ctx context.Context) error
}

// Config bounds what callers may ask for. Zero fields are their defaults.
type Config struct {
	// Tables are those that /v1/me tells of; default cardlake.Tables.
	Tables []*cardlake.Table

	// PerMinute is how many calls a principal may make in a minute, and Burst how many at
	// once; default 120 and 30.
	PerMinute, Burst int
	// FiguresPerMinute and FiguresBurst are the same of figures, which a page asks for by the
	// dozen and which are not among those calls; default 600 and 120.
	FiguresPerMinute, FiguresBurst int
	// Queries is how many statements run at a time, and PerPrincipal how many of them for one
	// principal; default 16 and 4.
	Queries, PerPrincipal int
	// MaxBody bounds a body; default 256 KiB.
	MaxBody int64

	// KeepFor is how long an answer is kept after it is complete; default 15 minutes.
	KeepFor time.Duration
	// KeptAnswers is how many answers of a principal are kept at a time, KeptBytesEach how many
	// bytes of a principal's, as they lie compressed, and KeptBytes how many of all; default
	// 16, 256 MiB and 2 GiB.
	KeptAnswers              int
	KeptBytesEach, KeptBytes int64
	// MaxPageRows bounds the rows of a page; default 100,000.
	MaxPageRows int64
	// SpoolDir is where they lie, sealed, in files without names; default the system's folder
	// for temporary files.
	SpoolDir string

	HeaderTimeout time.Duration // for a request's header, and the handshake; default 10 s
	BodyTimeout   time.Duration // for its body; default 30 s
	// WriteTimeout is how long a client may take to accept what was written; default 30 s. An
	// answer may take longer, as long as it goes on.
	WriteTimeout time.Duration
	IdleTimeout  time.Duration // between two calls; default 2 minutes
	DrainTimeout time.Duration // what is under way may last when Serve ends; default 30 s

	// LocalOnly answers only requests that name this machine in their URL: without TLS a page
	// in the machine's own browser could else reach the server by a name of its own (DNS
	// rebinding), and a proxy could open it to others.
	LocalOnly bool

	// Front, if not nil, returns what stands before the API: it answers what is its own, such as
	// the pages of a dashboard, and hands the rest on.
	Front func(api http.Handler) http.Handler

	// Metrics takes the server's metrics; nil keeps them nowhere.
	Metrics prometheus.Registerer
	Now     func() time.Time // default time.Now
	Log     *slog.Logger     // default slog.Default()
}

func (c Config) withDefaults() Config {
	if len(c.Tables) == 0 {
		c.Tables = cardlake.Tables
	}
	c.PerMinute = cmp.Or(c.PerMinute, 120)
	c.Burst = cmp.Or(c.Burst, 30)
	c.FiguresPerMinute = cmp.Or(c.FiguresPerMinute, 600)
	c.FiguresBurst = cmp.Or(c.FiguresBurst, 120)
	c.Queries = cmp.Or(c.Queries, 16)
	c.PerPrincipal = cmp.Or(c.PerPrincipal, 4)
	c.MaxBody = cmp.Or(c.MaxBody, 256<<10)
	c.KeepFor = cmp.Or(c.KeepFor, 15*time.Minute)
	c.KeptAnswers = cmp.Or(c.KeptAnswers, 16)
	c.KeptBytesEach = cmp.Or(c.KeptBytesEach, 256<<20)
	c.KeptBytes = cmp.Or(c.KeptBytes, 2<<30)
	c.MaxPageRows = cmp.Or(c.MaxPageRows, 100_000)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 10*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 30*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 30*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 2*time.Minute)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 30*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Validate reports every bound that is negative.
func (c Config) Validate() error {
	if min(c.PerMinute, c.Burst, c.FiguresPerMinute, c.FiguresBurst, c.Queries, c.PerPrincipal, c.KeptAnswers) < 0 || min(c.MaxBody, c.KeptBytesEach, c.KeptBytes, c.MaxPageRows) < 0 ||
		min(c.KeepFor, c.HeaderTimeout, c.BodyTimeout, c.WriteTimeout, c.IdleTimeout, c.DrainTimeout) < 0 {
		return errors.New("api: a bound is negative")
	}
	return nil
}

// Server answers calls. It is safe for concurrent use, and serves once.
type Server struct {
	deps      Deps
	cfg       Config
	limits    *limits
	knocks    *knocks
	questions *questions
	metrics   *metrics
	described func() (text []byte, tag string) // the OpenAPI document
	handler   http.Handler
}

// New returns a server. It starts nothing.
func New(deps Deps, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	if deps.Figures == nil {
		deps.Figures = figures.All
	}
	s := &Server{deps: deps, cfg: cfg, limits: newLimits(cfg), questions: newQuestions(cfg), metrics: m}
	s.knocks = &knocks{recorder: deps.Recorder, metrics: m, log: cfg.Log, now: cfg.Now}
	routes := s.routes()
	s.described = sync.OnceValues(func() ([]byte, string) { return documentText(routes) })
	s.handler = s.outer(s.muxOf(routes))
	if cfg.Front != nil {
		s.handler = s.local(cfg.Front(s.handler))
	}
	return s, nil
}

// Handler is the server without its listener, for requests whose connection was verified.
// Whoever uses it calls Close at the end; Serve does so itself.
func (s *Server) Handler() http.Handler { return s.handler }

// Close ends the statements that run, waits for them, and lets the answers that are kept go.
func (s *Server) Close() { s.questions.close() }
