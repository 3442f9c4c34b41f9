package vaulttest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// ring is a key service in memory, whose keys can be rotated and destroyed.
type ring struct {
	mu      sync.Mutex
	version map[keys.Scope]int
	data    map[string]dataKey // by wrapped key
	mint    map[keys.Owner][]keys.Secret
}

type dataKey struct {
	scope   keys.Scope
	version int
	bytes   []byte
}

func newRing() *ring {
	return &ring{version: map[keys.Scope]int{}, data: map[string]dataKey{}, mint: map[keys.Owner][]keys.Secret{}}
}

func (r *ring) NewDataKey(_ context.Context, scope keys.Scope) (keys.Key, []byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key, wrapped := keys.NewKey(), make([]byte, 40)
	rand.Read(wrapped)
	r.data[string(wrapped)] = dataKey{scope, r.version[scope], slices.Clone(key.Bytes())}
	return key, wrapped, nil
}

func (r *ring) UnwrapDataKey(_ context.Context, scope keys.Scope, wrapped []byte) (keys.Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.data[string(wrapped)]
	if !ok || k.scope != scope {
		return keys.Key{}, keys.ErrUnwrap
	}
	if k.bytes == nil {
		return keys.Key{}, keys.ErrNoKey
	}
	return keys.KeyFrom(k.bytes)
}

// rotate makes a new version of the owner's reverse key; destroyBefore destroys those before.
func (r *ring) rotate(owner keys.Owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version[keys.Scope{Owner: owner, Purpose: keys.Reverse}]++
}

func (r *ring) destroyBefore(owner keys.Owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	scope := keys.Scope{Owner: owner, Purpose: keys.Reverse}
	for wrapped, k := range r.data {
		if k.scope == scope && k.version < r.version[scope] {
			k.bytes = nil
			r.data[wrapped] = k
		}
	}
}

// rotateMint makes a new mint secret beside those that live, and returns all, newest first.
func (r *ring) rotateMint(owner keys.Owner) []keys.Secret {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := keys.Secret{Version: 1, Key: keys.NewKey()}
	if live := r.mint[owner]; len(live) > 0 {
		s.Version = live[0].Version + 1
	}
	r.mint[owner] = append([]keys.Secret{s}, r.mint[owner]...)
	return slices.Clone(r.mint[owner])
}

// destroyMint leaves the newest mint secret only, and returns it.
func (r *ring) destroyMint(owner keys.Owner) keys.Secret {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mint[owner] = r.mint[owner][:1]
	return r.mint[owner][0]
}

func (r *ring) live(owner keys.Owner) []keys.Secret {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.mint[owner])
}

// envelopes are those of a process that has just begun: it keeps no data key.
func (r *ring) envelopes() *keys.Envelopes {
	return keys.NewEnvelopes(r, keys.Reverse, keys.EnvelopeConfig{})
}

// number is the n-th synthetic card number.
func number(t testing.TB, n int) card.PAN {
	t.Helper()
	digits := fmt.Appendf(nil, "400000%09d", n)
	pan, err := card.ParsePAN(append(digits, card.LuhnDigit(digits)))
	if err != nil {
		t.Fatal(err)
	}
	return pan
}

// minted is what a mint secret makes of the n-th card's number.
func minted(t testing.TB, s keys.Secret, n int) tokenize.Token {
	t.Helper()
	return tokenize.NewMinter(s.Version, s.Key).Token(number(t, n))
}

// present is the n-th card as a worker presents it that knows the secrets, newest first.
func present(t testing.TB, e *keys.Envelopes, owner keys.Owner, secrets []keys.Secret, n int) tokenize.Card {
	t.Helper()
	var c tokenize.Card
	for _, s := range secrets {
		c.Candidates = append(c.Candidates, minted(t, s, n))
	}
	var err error
	c.Sealed, err = e.AppendSealed(t.Context(), nil, owner, number(t, n).Digits(), tokenize.ReverseAAD(owner, c.Candidates[0]))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pin presents cards and returns their tokens.
func pin(t testing.TB, v *vault.Vault, e *keys.Envelopes, owner keys.Owner, secrets []keys.Secret, numbers ...int) []tokenize.Token {
	t.Helper()
	cards := make([]tokenize.Card, len(numbers))
	for i, n := range numbers {
		cards[i] = present(t, e, owner, secrets, n)
	}
	tokens, err := v.Pin(t.Context(), owner, cards)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// row is the n-th token of a version, for tests of a store alone.
func row(version, n int) tokenize.Token {
	t := tokenize.Token{Version: version}
	binary.BigEndian.PutUint64(t.Bits[:], uint64(n)*0x9e3779b97f4a7c15) // in no order
	binary.BigEndian.PutUint64(t.Bits[8:], uint64(n))
	return t
}

func value(format string, args ...any) []byte { return fmt.Appendf(nil, format, args...) }
