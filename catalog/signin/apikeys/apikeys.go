// Package apikeys has the keys that people make for their programs: what a bearer token of 256
// random bits, clk_ and 64 letters, stands for.
//
// A key is its maker's, never more. It names the subject that had signed in, and at every call that
// subject must still be the principal that it was: whoever is taken out of the principals, or becomes
// another, has no key any more; what is permitted is decided anew for who it is now. It shows no
// second factor, whatever had been shown when it was made, and it may be narrowed to one tenant
// ([grants.Caller]). It ends after at most 90 days. Keys do not make keys, and those whose work is
// the lake itself have none: they sign in with a second factor each time (PCI DSS 4.0.1 requirement
// 8.4.1).
//
// The secret is told once. What is kept is its SHA-256, which is enough for 256 random bits: nobody
// tries them all. That keys are made and revoked is on the audit record before it is so.
package apikeys

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
)

// Prefix begins every key: what tells it from an issuer's token, and what searches for leaked
// secrets look for.
const Prefix = "clk_"

// MaxDays bounds how long a key is good.
const MaxDays = 90

const (
	defaultDays = 30
	maxName     = 64 // bytes
)

// Actions on record (PCI DSS 4.0.1 requirement 10.2.1.5).
const (
	actionIssue  = "api_key.issue"
	actionRevoke = "api_key.revoke"
)

// Log is where audit records go.
type Log interface {
	// Append returns nil once the record is durable.
	Append(ctx context.Context, r audit.Record) error
}

// Config bounds keys. Zero fields are their defaults.
type Config struct {
	// PerPrincipal is how many keys a principal has at a time; default 20.
	PerPrincipal int
	// Kinds may have keys; default data scientists, jobs, and the analysts and services of tenants.
	Kinds []grants.Kind
	Now   func() time.Time // default time.Now
}

func (c Config) withDefaults() Config {
	c.PerPrincipal = cmp.Or(c.PerPrincipal, 20)
	if c.Kinds == nil {
		c.Kinds = []grants.Kind{grants.DataScientist, grants.ETLJob, grants.TenantAnalyst, grants.TenantService}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Request asks for a key.
type Request struct {
	// Name says for its maker what it is for, in one line of at most 64 bytes.
	Name string `json:"name" doc:"What it is for, in one line of at most 64 bytes."`
	// Tenant narrows it; empty leaves all that its maker may read.
	Tenant cardlake.Tenant `json:"tenant,omitempty" doc:"The one tenant that it is for; without, all that you may read."`
	// Days is how long it is good, at most MaxDays; default 30.
	Days int `json:"days,omitempty" doc:"How long it is good: 1 to 90 days; default 30."`
}

// Key is a key as its owner sees it: without the secret.
type Key struct {
	ID         string          `json:"id" doc:"Names it where its secret must not be."`
	Name       string          `json:"name" doc:"What it is for."`
	Tenant     cardlake.Tenant `json:"tenant,omitempty" doc:"The one tenant that it is for."`
	CreatedAt  time.Time       `json:"created_at" doc:"When it was made."`
	ExpiresAt  time.Time       `json:"expires_at" doc:"When it ends."`
	LastUsedAt *time.Time      `json:"last_used_at,omitempty" doc:"When it was used last, to the minute."`
}

// Errors of a Store, for the caller.
var (
	// ErrRequest marks what a key can't be made of. What wraps it says why, and nothing of what it was.
	ErrRequest = errors.New("no key can be made like this")
	// ErrNotPermitted says that the caller may not make or revoke keys. What wraps it says why.
	ErrNotPermitted = errors.New("not permitted")
	// ErrTooMany says that the caller has as many as one may have.
	ErrTooMany = errors.New("you have as many keys as one may have: revoke one that is not used")
	// ErrUnknown says that the caller has no such key.
	ErrUnknown = errors.New("there is no such key of yours")
	// ErrUnrecorded says that nothing is done, because it can't be put on record.
	ErrUnrecorded = errors.New("the audit log can't be written")
)

// check returns why a key can't be made of the request, which it completes.
func (r *Request) check() error {
	r.Name = strings.TrimSpace(r.Name)
	if r.Days == 0 {
		r.Days = defaultDays
	}
	var why string
	switch {
	case r.Name == "" || len(r.Name) > maxName || !utf8.ValidString(r.Name) || strings.ContainsFunc(r.Name, func(c rune) bool { return !unicode.IsPrint(c) }):
		why = "name is one line of 1 to 64 bytes"
	case audit.Masks(r.Name):
		why = "name holds a number that could be a card's"
	case r.Days < 1 || r.Days > MaxDays:
		why = "days is 1 to 90"
	case r.Tenant != "" && r.Tenant.Validate() != nil:
		why = "tenant is not a tenant's name"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s", ErrRequest, why)
}

// mayManage returns why the caller has no keys of its own to manage.
func (s *Store) mayManage(c grants.Caller) error {
	switch {
	case c.Key != "":
		return fmt.Errorf("%w: a key does not manage keys: sign in", ErrNotPermitted)
	case c.Subject == "":
		return fmt.Errorf("%w: nobody has signed in", ErrNotPermitted)
	case strings.HasPrefix(c.Subject, "x509:") || strings.HasPrefix(c.Subject, "spiffe:"):
		return fmt.Errorf("%w: who signs in by a certificate shows it each time: a key would be good without it", ErrNotPermitted)
	case !slices.Contains(s.cfg.Kinds, c.Principal.Kind):
		return fmt.Errorf("%w: principals of kind %s sign in themselves each time", ErrNotPermitted, c.Principal.Kind)
	}
	return nil
}

// record puts on record what is about to be done, or why it is not, which it returns.
func (s *Store) record(ctx context.Context, c grants.Caller, action, id string, detail map[string]string, err error) error {
	r := audit.Record{
		Actor: c.Principal.String(), Action: action, Resource: strings.TrimSpace("api key " + id), Outcome: audit.Allowed,
		Origin: c.Origin, Reason: c.Reason, Request: c.Request, Detail: detail,
	}
	if err != nil {
		r.Outcome, r.Reason = audit.Refused, err.Error()
	}
	if failed := s.log.Append(ctx, r); failed != nil {
		return fmt.Errorf("%w: %w", ErrUnrecorded, failed)
	}
	return err
}

// Issue makes a key of the caller's and returns it with its secret, which nobody is told again.
func (s *Store) Issue(ctx context.Context, c grants.Caller, r Request) (Key, string, error) {
	if err := s.mayManage(c); err != nil {
		return Key{}, "", s.record(ctx, c, actionIssue, "", nil, err)
	}
	if err := r.check(); err != nil {
		return Key{}, "", err
	}
	now := s.cfg.Now().UTC().Truncate(time.Second)
	k := Key{ID: random(16), Name: r.Name, Tenant: r.Tenant, CreatedAt: now, ExpiresAt: now.AddDate(0, 0, r.Days)}
	secret := Prefix + random(secretBytes)
	err := s.insert(ctx, c, k, sha256.Sum256([]byte(secret)), func() error {
		detail := map[string]string{"name": k.Name, "until": k.ExpiresAt.Format(time.RFC3339), "subject": c.Subject}
		if k.Tenant != "" {
			detail["tenant"] = string(k.Tenant)
		}
		return s.record(ctx, c, actionIssue, k.ID, detail, nil)
	})
	if errors.Is(err, ErrTooMany) {
		err = s.record(ctx, c, actionIssue, "", nil, err)
	}
	if err != nil {
		return Key{}, "", err
	}
	return k, secret, nil
}

// List returns the caller's keys, the newest first, also those that have ended lately.
func (s *Store) List(ctx context.Context, c grants.Caller) ([]Key, error) {
	if err := s.mayManage(c); err != nil {
		return nil, err
	}
	return s.list(ctx, c.Principal)
}

// Revoke ends one of the caller's keys, at once and in every process.
func (s *Store) Revoke(ctx context.Context, c grants.Caller, id string) error {
	if err := s.mayManage(c); err != nil {
		return s.record(ctx, c, actionRevoke, "", nil, err)
	}
	err := s.remove(ctx, c.Principal, id, func() error { return s.record(ctx, c, actionRevoke, id, nil, nil) })
	if errors.Is(err, ErrUnknown) {
		// Whoever tries ids of others' is on record; the id, which may be anything, is not.
		err = s.record(ctx, c, actionRevoke, "", nil, err)
	}
	return err
}

// secretBytes is the entropy of a key.
const secretBytes = 32

// random draws so many bytes and writes them in letters: no key looks like a card number.
func random(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return string(cardlake.AppendLetters(nil, b))
}

// isKey reports whether a token has the form of a key.
func isKey(token string) bool {
	secret, ok := strings.CutPrefix(token, Prefix)
	return ok && len(secret) == 2*secretBytes && strings.IndexFunc(secret, func(c rune) bool { return c < 'a' || c > 'p' }) < 0
}

// usedEvery is how exactly it is known when a key was used last.
const usedEvery = time.Minute

// Verify implements signin.Tokens: it takes keys only. An error is a *signin.Error.
func (s *Store) Verify(ctx context.Context, token string) (signin.Identity, error) {
	if !isKey(token) {
		return signin.Identity{}, &signin.Error{Reason: signin.Malformed}
	}
	k, err := s.find(ctx, sha256.Sum256([]byte(token)))
	now := s.cfg.Now()
	switch {
	case errors.Is(err, ErrUnknown):
		return signin.Identity{}, &signin.Error{Reason: signin.UnknownAPIKey}
	case err != nil:
		return signin.Identity{}, &signin.Error{Reason: signin.UnreadableKeys, Err: err}
	case !now.Before(k.ExpiresAt):
		return signin.Identity{}, &signin.Error{Reason: signin.Expired, Subject: k.subject}
	case !slices.Contains(s.cfg.Kinds, k.owner.Kind):
		return signin.Identity{}, &signin.Error{Reason: signin.UnknownSubject, Subject: k.subject}
	}
	if k.LastUsedAt == nil || now.Sub(*k.LastUsedAt) >= usedEvery {
		s.used(ctx, k.ID, now)
	}
	return signin.Identity{Subject: k.subject, Principal: k.owner, Tenant: k.Tenant, Key: k.ID, Until: k.ExpiresAt}, nil
}

// Before returns what verifies keys itself, and has next verify every other token; with a nil next
// it takes keys only.
func (s *Store) Before(next signin.Tokens) signin.Tokens { return chain{s, next} }

type chain struct {
	keys *Store
	next signin.Tokens
}

// Verify implements signin.Tokens.
func (c chain) Verify(ctx context.Context, token string) (signin.Identity, error) {
	if strings.HasPrefix(token, Prefix) || c.next == nil {
		return c.keys.Verify(ctx, token)
	}
	return c.next.Verify(ctx, token)
}
