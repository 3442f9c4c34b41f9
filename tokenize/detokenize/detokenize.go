// Package detokenize is the vault's service: workers pin cards through it, and named people
// turn tokens back into card numbers, two of them at a time. It speaks JSON over HTTP with
// TLS 1.3 and certificates on both sides; a [Client] of it implements tokenize.Pins.
//
//	POST /v1/pins                     pins a batch of cards (workers)
//	POST /v1/requests                 asks for the card numbers of tokens, with a purpose
//	GET  /v1/requests/{id}            says what is asked for and how far it is
//	POST /v1/requests/{id}/approve    approves it: another person than the one who asked
//	POST /v1/requests/{id}/collect    hands the card numbers out: once, to who asked
//	GET  /v1/live, GET /v1/ready
//
// Collecting is a POST, because it changes what the next answer is: a GET may be repeated by
// anything on its way (RFC 9110, section 9.2.1).
//
// # What holds
//
// Nobody is anybody here without a certificate of the configured authority; rights are looked
// up again at every step, by the name that the policy lists. For workers that is the
// certificate's. For people it is the subject of an OpenID Connect token that shows more than
// one factor (PCI DSS 4.0.1 requirement 8.4.2), and the certificate is transport only; without
// [Deps].People, as on one machine, it is the certificate's too. A request needs a purpose, an
// approver who is another person, and room in the requester's budget of tokens in an hour; it
// must be approved and collected in time and is answered once, whole or not at all. What is
// decided is in the audit log before it happens: if the log can't be written, nothing is
// pinned, approved or revealed. Refusals are in the log too.
//
// Requests are kept in memory, because what is forgotten was never granted: after a restart
// they are gone and must be made again. Budgets come from the audit log ([Server.Restore]).
// Both are of one process: let one instance answer people. Any number may pin.
//
// No answer may be cached, none is logged, and no error tells more than the rule that was
// broken.
package detokenize

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// Vault is what the service asks of a vault; *vault.Vault is one.
type Vault interface {
	tokenize.Pins
	// Sealed returns the sealed card number of a token, or vault.ErrUnknownToken.
	Sealed(ctx context.Context, owner keys.Owner, token tokenize.Token) ([]byte, error)
	// Reveal returns the card number of a token, which the caller clears.
	Reveal(ctx context.Context, reverse *keys.Envelopes, owner keys.Owner, token tokenize.Token) (card.PAN, error)
}

// Tenants knows whose key owner a tenant is.
type Tenants interface {
	// Owner returns the tenant's key owner, or ErrNoTenant.
	Owner(name cardlake.Tenant) (keys.Owner, error)
	// Tenant returns the tenant of a key owner, or ErrNoTenant.
	Tenant(owner keys.Owner) (cardlake.Tenant, error)
}

// ErrNoTenant says that there is no such tenant.
var ErrNoTenant = errors.New("no such tenant")

// Audit is where records go; *audit.Log is one.
type Audit interface {
	// Append returns nil once the record is durable.
	Append(ctx context.Context, r audit.Record) error
}

// Policies returns the policy of the moment; *PolicyFile is one.
type Policies interface {
	Policy() *Policy
}

// People signs people in; *signin.Issuer is one.
type People interface {
	// Verify returns whom the token names. An error is a *signin.Error.
	Verify(ctx context.Context, token string) (signin.Identity, error)
}

// NoPeople signs nobody in: with it the service answers workers only.
type NoPeople struct{}

// Verify implements People.
func (NoPeople) Verify(context.Context, string) (signin.Identity, error) {
	return signin.Identity{}, &signin.Error{Reason: signin.NoCredentials}
}

// Deps is what a Server needs. All but People must be set.
type Deps struct {
	Vault   Vault
	Reverse *keys.Envelopes // of purpose keys.Reverse
	Tenants Tenants
	Policy  Policies
	Audit   Audit
	// People sign in with a token for every step but pinning. Nil takes their certificates for
	// them: for one machine, and where a second factor guards the certificate's key.
	People People
}

// Config bounds what a Server takes and keeps. Zero fields are their defaults.
type Config struct {
	ApproveWithin time.Duration // from request to approval; default 1 hour
	CollectWithin time.Duration // from approval to collection; default 10 minutes
	MaxTokens     int           // of a request; default 1,000
	MaxPending    int           // requests of all that are not answered yet; default 1,000
	DrainWithin   time.Duration // what is under way may last when Serve ends; default 30 s

	Now func() time.Time // default time.Now
	Log *slog.Logger     // default slog.Default()
}

func (c Config) withDefaults() Config {
	if c.ApproveWithin == 0 {
		c.ApproveWithin = time.Hour
	}
	if c.CollectWithin == 0 {
		c.CollectWithin = 10 * time.Minute
	}
	if c.MaxTokens == 0 {
		c.MaxTokens = 1000
	}
	if c.MaxPending == 0 {
		c.MaxPending = 1000
	}
	if c.DrainWithin == 0 {
		c.DrainWithin = 30 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Actions in the audit log.
const (
	ActionConnect = "vault.connect"
	ActionPin     = "vault.pin"
	ActionRequest = "detokenise.request"
	ActionStatus  = "detokenise.status"
	ActionApprove = "detokenise.approve"
	ActionCollect = "detokenise.collect"
)

// numberTokens names how many tokens a record is about.
const numberTokens = "tokens"

// Server answers for one vault. Its budgets start empty: [Server.Restore] them first.
type Server struct {
	deps     Deps
	cfg      Config
	requests *requests
	budget   *budget
	refusals refusals
	handler  http.Handler
}

// New returns a server. It starts nothing.
func New(deps Deps, cfg Config) *Server {
	cfg = cfg.withDefaults()
	s := &Server{deps: deps, cfg: cfg, requests: newRequests(), budget: newBudget()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/live", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, struct{}{}) })
	mux.HandleFunc("GET /v1/ready", s.ready)
	mux.HandleFunc("POST /v1/pins", s.step(ActionPin, s.pin))
	mux.HandleFunc("POST /v1/requests", s.step(ActionRequest, s.request))
	mux.HandleFunc("GET /v1/requests/{id}", s.step(ActionStatus, s.status))
	mux.HandleFunc("POST /v1/requests/{id}/approve", s.step(ActionApprove, s.approve))
	mux.HandleFunc("POST /v1/requests/{id}/collect", s.step(ActionCollect, s.collect))
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
	return s
}

// Spent selects from an audit log what Restore needs.
func Spent(now time.Time) audit.Filter {
	return audit.Filter{Since: now.Add(-budgetWindow), Action: ActionCollect, Outcome: audit.Allowed}
}

// Restore charges the budgets with what the audit log says was revealed: the entries that
// Spent selects. Without it a restart would give everybody a new budget.
func (s *Server) Restore(entries iter.Seq2[audit.Entry, error]) error {
	principals := s.deps.Policy.Policy().Principals
	for e, err := range entries {
		if err != nil {
			return fmt.Errorf("restore budgets: %w", err)
		}
		s.budget.charge(person(e.Actor, principals[e.Actor]), int(e.Numbers[numberTokens]), e.Time)
	}
	return nil
}

// ready answers GET /v1/ready: whoever has a certificate may ask, and learns nothing else.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if err := s.Ready(r.Context()); err != nil {
		writeProblem(w, refuse(RuleUnavailable, "the vault cannot be read"))
		return
	}
	answer(w, http.StatusOK, struct{}{})
}

// readyOwner owns nothing: asking for it shows that the store answers.
const readyOwner = keys.Owner("readiness")

// Ready returns nil if the vault's store answers.
func (s *Server) Ready(ctx context.Context) error {
	_, err := s.deps.Vault.Sealed(ctx, readyOwner, tokenize.Token{Version: 1})
	if isUnknown(err) {
		return nil
	}
	return err
}
