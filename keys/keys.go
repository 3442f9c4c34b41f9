// Package keys defines envelope encryption by owner and purpose: a small data key encrypts
// the data, a key-encryption key that never leaves its keeper wraps the data key.
//
// An owner is a tenant, named by its storage id, or one of the reserved owners. A purpose
// keeps duties apart: who may wrap for Seal cannot mint, who may read objects cannot open
// a sealed card number. A [Provider] serves the purposes it was opened for and refuses the
// others, so a process of the query side can be given a provider that has no key of zone A.
//
// No value of this package prints key bytes.
package keys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/cardlake/cardlake"
)

// Purpose is what a key may be used for.
type Purpose string

const (
	Seal    Purpose = "seal"    // data keys for card numbers on the stream and in rejected records
	Mint    Purpose = "mint"    // secrets that turn card numbers into tokens
	Reverse Purpose = "reverse" // data keys of the vault's card numbers
	Index   Purpose = "index"   // secrets that turn card numbers into the processor's look-up keys
	Object  Purpose = "object"  // data keys of the lake's objects
	Audit   Purpose = "audit"   // data keys of the audit log
	Format  Purpose = "format"  // secrets of format-preserving tokens
)

// CardPurposes are those that only zone A may hold; LakePurposes are the query side's.
var (
	CardPurposes = []Purpose{Seal, Mint, Reverse, Index, Format}
	LakePurposes = []Purpose{Object, Audit}
)

// Owner is whose key it is: a tenant's storage id, or a reserved owner.
type Owner string

const (
	// Lake owns what is not one tenant's: table metadata and rejected records.
	Lake Owner = "lake"
	// Processor owns the processor's index secrets.
	Processor Owner = "processor"
)

// OwnerOf names a tenant as an owner.
func OwnerOf(id cardlake.StorageID) Owner { return Owner(id) }

// Scope is the encryption context of a key: wrapped under one scope, a data key cannot be
// unwrapped under another.
type Scope struct {
	Owner   Owner
	Purpose Purpose
}

func (s Scope) String() string { return string(s.Owner) + "/" + string(s.Purpose) }

var (
	// ErrNoKey says that the provider has no key for the scope: never created, destroyed,
	// switched off, or not this provider's purpose.
	ErrNoKey = errors.New("no key")
	// ErrDestroyed is the ErrNoKey of a key that was there and was destroyed: what it
	// protected is gone for good, and whoever reads on goes on without it.
	ErrDestroyed = fmt.Errorf("%w any more", ErrNoKey)
	// ErrDenied says that the key service refuses the caller. The key may be there, so unlike
	// ErrNoKey it is not final: it passes when the caller is permitted.
	ErrDenied = errors.New("the key service refuses: permit this caller in the key's policy or by a grant")
	// ErrUnwrap says that a wrapped key does not belong to the scope or was changed.
	ErrUnwrap = errors.New("wrapped key does not open under this scope")
)

// Provider keeps the key-encryption keys. Implementations are safe for concurrent use.
type Provider interface {
	// NewDataKey returns a fresh 256-bit key and its wrapped form.
	NewDataKey(ctx context.Context, scope Scope) (key Key, wrapped []byte, err error)
	// UnwrapDataKey opens what NewDataKey wrapped under the same scope.
	UnwrapDataKey(ctx context.Context, scope Scope, wrapped []byte) (Key, error)
}

// Secrets keeps long-lived secrets that are used as they are, not to wrap others.
type Secrets interface {
	// Secret returns the newest secret of the scope and its version, counted from 1.
	Secret(ctx context.Context, scope Scope) (version int, secret Key, err error)
}

// Secret is one version of a long-lived secret. It prints nothing of the key.
type Secret struct {
	Version int // counted from 1
	Key     Key
}

// Destroy overwrites the secret's bytes.
func (s Secret) Destroy() { s.Key.Destroy() }

// LiveSecrets keeps long-lived secrets of which several versions are in use at a time.
type LiveSecrets interface {
	// Live returns every version of the scope's secret that is not yet destroyed, newest
	// first; ErrNoKey if there is none. It never leaves out a version that it cannot open:
	// then it fails. The caller owns the keys.
	Live(ctx context.Context, scope Scope) ([]Secret, error)
}

// Key is 256 bits of key material. Copies share the bytes; no formatting shows them. They
// sit behind two pointers, because fmt walks unexported fields without calling Format and
// follows one.
type Key struct{ b **[32]byte }

func newKey() Key {
	b := new([32]byte)
	return Key{&b}
}

// NewKey draws a key from the system's random source.
func NewKey() Key {
	k := newKey()
	rand.Read(k.Bytes())
	return k
}

// KeyFrom copies 32 bytes into a key.
func KeyFrom(b []byte) (Key, error) {
	if len(b) != 32 {
		return Key{}, fmt.Errorf("key has %d bytes, want 32", len(b))
	}
	k := newKey()
	copy(k.Bytes(), b)
	return k, nil
}

// Bytes returns the key's own memory, for a cipher's constructor. It panics on the zero Key.
func (k Key) Bytes() []byte { return (*k.b)[:] }

// IsZero reports whether k is the zero Key, which holds no bytes.
func (k Key) IsZero() bool { return k.b == nil }

// Destroy overwrites the bytes that all copies of k share.
func (k Key) Destroy() {
	if k.b != nil {
		clear((*k.b)[:])
	}
}

const redacted = "key(redacted)"

// Format implements fmt.Formatter: every verb prints a placeholder.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText fails: a key is never marshalled.
func (Key) MarshalText() ([]byte, error) {
	return nil, errors.New("a key cannot be marshalled")
}
