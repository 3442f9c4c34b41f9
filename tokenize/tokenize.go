// Package tokenize turns card numbers into tokens, the point at which clear becomes
// tokenised. A token is deterministic within a tenant, so that a card's purchases join, and
// unlinkable across tenants, because each tenant has a mint secret of its own.
//
// A [Token] is "tk", the version of the mint secret, "_" and 128 bits of HMAC-SHA-256 (RFC
// 2104) over a domain and the whole card number, spelled in the letters a to p: a keyed
// hash as PCI DSS 4.0.1 requirement 3.5.1.1 asks for, in which no digit run can be taken
// for a card number.
//
// What a mint secret makes of a number is a candidate. Without [Pins] the candidate of the
// newest secret is the token. With them the token is the one that the vault has pinned, which
// may be that of an older secret: so tokens outlive the secrets that made them. A tokenizer
// remembers pins in a bounded cache; unknown cards wait, their numbers sealed, until
// [Tokenizer.Settle] pins those of a chunk together.
//
// A [Formatter] makes format-preserving tokens of card numbers for systems that need as many
// digits. RuleFor says which digits of a number may stay in clear.
package tokenize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
)

// Config configures a Tokenizer.
type Config struct {
	// MaxAge is how long a mint secret is used before it is asked for again, so that a
	// rotated or destroyed one is noticed; default 1 minute.
	MaxAge time.Duration
	// Cards is how many cards' pins are remembered, of all tenants together; default
	// 1,000,000. One takes 43 bytes, of memory that grows with them. Used with Pins only.
	Cards int
}

// Tokenizer keeps a minter for each tenant. One goroutine uses it at a time.
type Tokenizer struct {
	live    func(context.Context, keys.Scope) ([]keys.Secret, error)
	maxAge  time.Duration
	minters map[keys.Owner]aged
	pinner  *pinner // nil: candidates are tokens
}

type aged struct {
	*Minter
	born time.Time
}

// New returns a tokenizer that mints with the newest secret of purpose keys.Mint.
func New(secrets keys.Secrets, cfg Config) *Tokenizer {
	return newTokenizer(func(ctx context.Context, scope keys.Scope) ([]keys.Secret, error) {
		version, secret, err := secrets.Secret(ctx, scope)
		return []keys.Secret{{Version: version, Key: secret}}, err
	}, cfg)
}

// NewPinned returns a tokenizer whose tokens are pinned. It mints candidates with all live
// secrets of purpose keys.Mint and seals what it pins with reverse, which is of purpose
// keys.Reverse and need not be able to open.
func NewPinned(secrets keys.LiveSecrets, pins Pins, reverse *keys.Envelopes, cfg Config) *Tokenizer {
	t := newTokenizer(secrets.Live, cfg)
	if cfg.Cards == 0 {
		cfg.Cards = 1_000_000
	}
	t.pinner = newPinner(pins, reverse, cfg.Cards)
	return t
}

func newTokenizer(live func(context.Context, keys.Scope) ([]keys.Secret, error), cfg Config) *Tokenizer {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = time.Minute
	}
	return &Tokenizer{live: live, maxAge: cfg.MaxAge, minters: map[keys.Owner]aged{}}
}

// Minter returns the minter of the tenant with the key owner, valid until it is asked for
// again. keys.ErrNoKey says that the tenant has no mint secret, or no longer; any other error
// is the key service's and may pass.
func (t *Tokenizer) Minter(ctx context.Context, owner keys.Owner, now time.Time) (*Minter, error) {
	m, isKnown := t.minters[owner]
	if isKnown && now.Sub(m.born) < t.maxAge {
		return m.Minter, nil
	}
	secrets, err := t.live(ctx, keys.Scope{Owner: owner, Purpose: keys.Mint})
	if err == nil && len(secrets) == 0 {
		err = keys.ErrNoKey
	}
	if err != nil {
		if errors.Is(err, keys.ErrNoKey) {
			delete(t.minters, owner)
		}
		return nil, fmt.Errorf("mint secret: %w", err)
	}
	if !isKnown || !slices.EqualFunc(secrets, m.mints, func(s keys.Secret, m *mint) bool { return s.Version == m.version }) {
		m.Minter = newMinter(secrets)
		m.owner, m.pinner, m.salt = owner, t.pinner, newSalt()
	}
	for _, s := range secrets {
		s.Destroy()
	}
	m.born = now
	t.minters[owner] = m
	return m.Minter, nil
}

// Queue has a card whose token ApplyRow does not know, which needs a tokenizer with Pins, pinned
// by the next Settle. It seals the number and keeps nothing of it in clear. It returns the card's place in what Settle returns;
// a card that waits already has the same. The errors are those of the key service and leave
// the queue as it was.
func (m *Minter) Queue(ctx context.Context, pan card.PAN) (place int, err error) {
	return m.pinner.add(ctx, m, pan)
}

// Forget drops the cards that wait, and what Settle returned. Whoever has waited long for the
// vault calls it and queues the cards anew: their candidates may be of secrets that were
// destroyed meanwhile, and pinning such a one would give its card another token.
func (t *Tokenizer) Forget() {
	if t.pinner != nil {
		t.pinner.forget()
	}
}

// Settle pins the cards that wait, in one call for each tenant, and returns the tokens of all
// by their places, valid until the next Queue. A card whose tenant has no key any more (the
// vault answers keys.ErrNoKey) has the zero Token: its record cannot be tokenised. If there is
// another error, those that wait stay, with their places; what a next call has to do is only
// what was not done. Without Pins, or with no card waiting, it does nothing.
func (t *Tokenizer) Settle(ctx context.Context) ([]Token, error) {
	if t.pinner == nil {
		return nil, nil
	}
	return t.pinner.settle(ctx)
}
