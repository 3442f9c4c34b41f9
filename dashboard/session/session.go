// Package session signs people in to the dashboard by OpenID Connect, and keeps their sessions on
// the server. To the API it is who finds out who is asking: a request with a bearer token or only a
// certificate is what it is there, and one with the session's cookie is of who signed in.
//
//	GET  /auth/sign-in?to=PATH  sends the browser to the issuer, and later to PATH
//	GET  /auth/callback         where the issuer sends it back to
//	GET  /auth/session          says who is signed in, until when, and the token for changes
//	POST /auth/sign-out         ends the session; answers {"to": URL}, where to go then
//	GET  /auth/signed-out       where the issuer sends it back to after that
//
// # What holds
//
// A session is an entry in this process's memory, found by 256 random bits that only the browser
// has, in a cookie that no script reads and no other site's request carries (HttpOnly, SameSite=Lax,
// and with TLS Secure and the prefix __Host-). The bits are drawn anew at each sign-in, whatever
// cookie was there before, and every ten minutes: the old ones are good for half a minute more once
// the new ones were shown, and end the session if they are shown after that. Who had signed in is
// looked up among the principals at every request, so that whoever is taken out of them is refused
// at the next. A session ends after 15 minutes without a request that a person made (PCI DSS 4.0.1
// requirement 8.2.8) and eight hours after it began; what the page asks for by itself, which says so
// in the header Cardlake-Background, and the stream of live figures do not count. The issuer is not
// asked meanwhile: whom it locks out is to be taken out of the principals too. Sessions are not
// shared between processes, and end with theirs.
//
// What changes anything must come from the dashboard's own origin (Sec-Fetch-Site, Origin) and
// carry the session's token in the header X-CSRF-Token. A request that says it is another site's is
// nobody's, whatever cookie it has.
//
// A sign-in belongs to the browser that began it: state, nonce and the PKCE verifier are in a
// sealed cookie of ten minutes, good once. Where to go afterwards is a path of the dashboard,
// whatever was asked for.
//
// Sign-ins, refusals, sign-outs and ends of sessions are on the audit record. No id, token, code or
// secret is in a log, an error or, but for the issuer's own, in a URL; what went wrong is told to
// the browser as one of a few words ([Reasons]).
package session

import (
	"cmp"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
)

// SignIn finds out who is asking, without a session and by what one had proved; *signin.Verifier
// does. Errors are *signin.Error.
type SignIn interface {
	FromRequest(r *http.Request) (grants.Caller, error)
	Identified(r *http.Request, id signin.Identity) (grants.Caller, error)
	Origin(r *http.Request) string
}

// Client signs a person in at the issuer; *signin.Client does. Errors are *signin.Error.
type Client interface {
	AuthorizeURL(ctx context.Context, a signin.Attempt) (string, error)
	Finish(ctx context.Context, a signin.Attempt, answer url.Values) (signin.Identity, error)
	SignOutURL(ctx context.Context, back string) string
}

// Recorder is where audit records go.
type Recorder interface {
	// Append returns nil once the record is durable.
	Append(ctx context.Context, r audit.Record) error
}

// Deps is what a Manager needs. All must be set.
type Deps struct {
	SignIn   SignIn
	Client   Client
	Recorder Recorder
}

// Paths that the issuer sends browsers back to, below Config.URL: they must be registered there.
const (
	CallbackPath  = "/auth/callback"
	SignedOutPath = "/auth/signed-out"
)

// Config configures a Manager. URL must be set.
type Config struct {
	// URL is the dashboard's as browsers have it, https://HOST[:PORT]; or http at a loopback
	// address, without TLS on one machine: its cookies are then not Secure.
	URL string
	// Idle is how long a session lasts without a request that a person made; default, and at
	// most, 15 minutes. Life is how long it lasts in all; default 8 hours, at most 24.
	Idle, Life time.Duration
	// Rotate is how often an id is drawn anew; default 10 minutes. Grace is how long the one
	// before is good besides; default 30 s.
	Rotate, Grace time.Duration
	// Sessions is how many there are at a time, default 10,000: then nobody can sign in. One
	// principal has PerPrincipal, default 8: then the one that was used least lately ends.
	Sessions, PerPrincipal int
	// Development is told to the browser: whoever is signed in may be anybody.
	Development bool

	Now func() time.Time // default time.Now
	Log *slog.Logger     // default slog.Default()
}

// Validate reports every fault.
func (c Config) Validate() error {
	var errs []error
	fault := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New("sessions: "+text))
		}
	}
	u, err := url.Parse(c.URL)
	fault(err != nil || u.Host == "" || u.User != nil || u.Path != "" || strings.ContainsAny(c.URL, "?#"), "the dashboard's URL is not https://HOST")
	if err == nil && u.Scheme != "https" {
		a, err := netip.ParseAddr(u.Hostname())
		fault(u.Scheme != "http" || err != nil || !a.IsLoopback(), "the dashboard's URL is neither https nor http at a loopback address: its cookies would be sent in clear")
	}
	fault(min(c.Idle, c.Life, c.Rotate, c.Grace) < 0 || min(c.Sessions, c.PerPrincipal) < 0, "a bound is negative")
	fault(c.Idle > 15*time.Minute, "more than 15 minutes without use (PCI DSS 4.0.1 requirement 8.2.8)")
	fault(c.Life > 24*time.Hour, "a session lasts more than 24 hours")
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.Idle = cmp.Or(c.Idle, 15*time.Minute)
	c.Life = cmp.Or(c.Life, 8*time.Hour)
	c.Rotate = cmp.Or(c.Rotate, 10*time.Minute)
	c.Grace = cmp.Or(c.Grace, 30*time.Second)
	c.Sessions = cmp.Or(c.Sessions, 10_000)
	c.PerPrincipal = cmp.Or(c.PerPrincipal, 8)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Manager has the sessions. It is safe for concurrent use.
type Manager struct {
	deps     Deps
	cfg      Config
	host     string // of Config.URL
	secure   bool   // by TLS
	cross    *http.CrossOriginProtection
	sealer   cipher.AEAD // of cookies of sign-ins that are under way
	finished *once
	finish   chan struct{} // has a place for each sign-in that may ask the issuer at a time
	all      *table
	knocks   *knocks
	handler  http.Handler
}

// maxFinishing is how many sign-ins may ask the issuer at a time: whoever makes up callbacks shall
// not make this process flood it. finishWait is how long one waits for its turn.
const (
	maxFinishing = 32
	finishWait   = 10 * time.Second
)

// New returns a manager without a session. It starts nothing.
func New(deps Deps, cfg Config) (*Manager, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	sealer, err := newSealer()
	if err != nil {
		return nil, err
	}
	m := &Manager{
		deps: deps, cfg: cfg, host: u.Host, secure: u.Scheme == "https", cross: http.NewCrossOriginProtection(), sealer: sealer,
		finished: &once{}, finish: make(chan struct{}, maxFinishing), all: newTable(cfg),
	}
	if err := m.cross.AddTrustedOrigin(cfg.URL); err != nil {
		return nil, fmt.Errorf("sessions: the dashboard's URL: %w", err)
	}
	m.knocks = &knocks{recorder: deps.Recorder, log: cfg.Log, now: cfg.Now}
	m.handler = m.routes()
	return m, nil
}

// Handler answers below /auth/.
func (m *Manager) Handler() http.Handler { return m.handler }

// sweepEvery is how often sessions that are over are looked for.
const sweepEvery = time.Second

// Run ends sessions that are over, and puts on record what is counted, until ctx ends. Then all
// sessions end.
func (m *Manager) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			m.knocks.flush(ctx)
			if n := m.all.clear(); n > 0 {
				m.append(ctx, audit.Record{
					Actor: "cardlake dashboard", Action: actionEnd, Resource: resource, Outcome: audit.Allowed, Reason: "the server ends", Numbers: map[string]int64{"sessions": int64(n)},
				})
			}
			return nil
		case <-tick.C:
			m.knocks.flush(ctx)
			m.finished.sweep(m.cfg.Now())
			m.ended(ctx, m.all.sweep(m.cfg.Now()))
		}
	}
}
