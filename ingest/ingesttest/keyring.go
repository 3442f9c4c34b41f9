package ingesttest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/cardlake/cardlake/keys"
)

// Keyring is a key service in memory: it has a key for every scope. The zero Keyring is
// ready; it is safe for concurrent use.
type Keyring struct {
	mu   sync.Mutex
	keys []wrappedKey
}

type wrappedKey struct {
	scope keys.Scope
	bytes []byte
}

// NewDataKey implements keys.Provider.
func (k *Keyring) NewDataKey(_ context.Context, scope keys.Scope) (keys.Key, []byte, error) {
	key := keys.NewKey()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = append(k.keys, wrappedKey{scope, append([]byte(nil), key.Bytes()...)})
	return key, binary.BigEndian.AppendUint32(nil, uint32(len(k.keys)-1)), nil
}

// UnwrapDataKey implements keys.Provider.
func (k *Keyring) UnwrapDataKey(_ context.Context, scope keys.Scope, wrapped []byte) (keys.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(wrapped) != 4 {
		return keys.Key{}, keys.ErrUnwrap
	}
	i := int(binary.BigEndian.Uint32(wrapped))
	if i >= len(k.keys) || k.keys[i].scope != scope {
		return keys.Key{}, keys.ErrUnwrap
	}
	return keys.KeyFrom(k.keys[i].bytes)
}

// Secret implements keys.Secrets.
func (k *Keyring) Secret(_ context.Context, scope keys.Scope) (int, keys.Key, error) {
	sum := sha256.Sum256([]byte("a secret of a test for " + scope.String()))
	key, err := keys.KeyFrom(sum[:])
	return 1, key, err
}

// Live implements keys.LiveSecrets: each scope has one version.
func (k *Keyring) Live(ctx context.Context, scope keys.Scope) ([]keys.Secret, error) {
	version, key, err := k.Secret(ctx, scope)
	if err != nil {
		return nil, err
	}
	return []keys.Secret{{Version: version, Key: key}}, nil
}

var (
	_ keys.Provider    = (*Keyring)(nil)
	_ keys.Secrets     = (*Keyring)(nil)
	_ keys.LiveSecrets = (*Keyring)(nil)
)
