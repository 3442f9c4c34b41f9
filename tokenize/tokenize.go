// Package tokenize turns card numbers into tokens, the point at which clear becomes
// tokenised. A token is deterministic within a tenant, so that a card's purchases join, and
// unlinkable across tenants, because each tenant has a mint secret of its own.
//
// A token is "tk", the version of the mint secret, "_" and 128 bits of HMAC-SHA-256 (RFC
// 2104) over a domain and the whole card number, spelled in the letters a to p: a keyed
// hash as PCI DSS 4.0.1 requirement 3.5.1.1 asks for, in which no digit run can be taken
// for a card number.
package tokenize

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"time"
	"unsafe"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
)

// domain separates tokens from every other use of a mint secret.
const domain = "cardlake card token\x00"

// tokenBytes is how much of the HMAC a token keeps: 128 bits.
const tokenBytes = 16

// Minter mints the tokens of one tenant. One goroutine uses it at a time.
type Minter struct {
	prefix string
	mac    hash.Hash
	sum    [sha256.Size]byte
	out    [96]byte
}

// NewMinter returns a minter for the secret of the given version, counted from 1.
func NewMinter(version int, secret keys.Key) *Minter {
	return &Minter{
		prefix: "tk" + strconv.Itoa(version) + "_",
		mac:    hmac.New(sha256.New, secret.Bytes()),
	}
}

// AppendToken appends the token of pan to dst. It allocates nothing when dst has room.
func (m *Minter) AppendToken(dst []byte, pan card.PAN) []byte {
	m.mac.Reset()
	m.mac.Write(domainBytes)
	m.mac.Write(pan.Digits())
	sum := m.mac.Sum(m.sum[:0])
	dst = append(dst, m.prefix...)
	return cardlake.AppendLetters(dst, sum[:tokenBytes])
}

var domainBytes = []byte(domain)

// Apply sets the message's card token, bin and last4 from its card number. The three
// strings are valid until the next Apply or ApplyRow.
func (m *Minter) Apply(msg *card.Message) {
	msg.CardToken, msg.BIN, msg.Last4 = m.apply(msg.PAN)
}

// ApplyRow sets the row's card token, bin and last4 from its card number, as Apply does.
func (m *Minter) ApplyRow(r *cardlake.Row, pan card.PAN) {
	r.CardToken, r.BIN, r.Last4 = m.apply(pan)
}

func (m *Minter) apply(pan card.PAN) (token, bin, last4 string) {
	out := m.AppendToken(m.out[:0], pan)
	tokenEnd := len(out)
	digits := pan.Digits()
	r := RuleFor(len(digits))
	out = append(out, digits[:r.First]...)
	binEnd := len(out)
	out = append(out, digits[len(digits)-r.Last:]...)
	return view(out[:tokenEnd]), view(out[tokenEnd:binEnd]), view(out[binEnd:])
}

func view(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

// Config configures a Tokenizer.
type Config struct {
	// MaxAge is how long a mint secret is used before it is asked for again, so that a
	// rotated or destroyed one is noticed; default 1 minute.
	MaxAge time.Duration
}

// Tokenizer keeps a minter for each tenant. One goroutine uses it at a time.
type Tokenizer struct {
	secrets keys.Secrets
	maxAge  time.Duration
	minters map[keys.Owner]aged
}

type aged struct {
	*Minter
	born time.Time
}

// New returns a tokenizer that mints with the newest secret of purpose keys.Mint.
func New(secrets keys.Secrets, cfg Config) *Tokenizer {
	if cfg.MaxAge == 0 {
		cfg.MaxAge = time.Minute
	}
	return &Tokenizer{secrets: secrets, maxAge: cfg.MaxAge, minters: map[keys.Owner]aged{}}
}

// Minter returns the minter of the tenant with the key owner. keys.ErrNoKey says that the
// tenant has no mint secret, or no longer; any other error is the key service's and may pass.
func (t *Tokenizer) Minter(ctx context.Context, owner keys.Owner, now time.Time) (*Minter, error) {
	if m, ok := t.minters[owner]; ok && now.Sub(m.born) < t.maxAge {
		return m.Minter, nil
	}
	version, secret, err := t.secrets.Secret(ctx, keys.Scope{Owner: owner, Purpose: keys.Mint})
	if err != nil {
		if errors.Is(err, keys.ErrNoKey) {
			delete(t.minters, owner)
		}
		return nil, fmt.Errorf("mint secret: %w", err)
	}
	m := aged{NewMinter(version, secret), now}
	secret.Destroy()
	t.minters[owner] = m
	return m.Minter, nil
}
