package objectstest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"sync"

	"github.com/cardlake/cardlake/keys"
)

// Keys is a [keys.Provider] in memory that serves the purpose [keys.Object]: owners get their
// key at first use and lose it for ever by Destroy.
type Keys struct {
	mu    sync.Mutex
	owner map[keys.Owner]cipher.AEAD // nil once destroyed
}

// NewKeys returns a provider without owners.
func NewKeys() *Keys { return &Keys{owner: map[keys.Owner]cipher.AEAD{}} }

// Destroy forgets the owner's key.
func (k *Keys) Destroy(o keys.Owner) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.owner[o] = nil
}

func (k *Keys) aead(s keys.Scope) (cipher.AEAD, error) {
	if s.Purpose != keys.Object {
		return nil, keys.ErrNoKey
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.owner[s.Owner]
	if !ok {
		block, err := aes.NewCipher(keys.NewKey().Bytes())
		if err != nil {
			return nil, err
		}
		if a, err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
		k.owner[s.Owner] = a
	}
	if a == nil {
		return nil, keys.ErrNoKey
	}
	return a, nil
}

// NewDataKey implements [keys.Provider].
func (k *Keys) NewDataKey(ctx context.Context, s keys.Scope) (keys.Key, []byte, error) {
	a, err := k.aead(s)
	if err != nil {
		return keys.Key{}, nil, err
	}
	key := keys.NewKey()
	nonce := make([]byte, a.NonceSize(), 64)
	rand.Read(nonce)
	return key, a.Seal(nonce, nonce, key.Bytes(), []byte(s.String())), ctx.Err()
}

// UnwrapDataKey implements [keys.Provider].
func (k *Keys) UnwrapDataKey(ctx context.Context, s keys.Scope, wrapped []byte) (keys.Key, error) {
	a, err := k.aead(s)
	if err != nil {
		return keys.Key{}, err
	}
	if len(wrapped) < a.NonceSize() {
		return keys.Key{}, keys.ErrUnwrap
	}
	b, err := a.Open(nil, wrapped[:a.NonceSize()], wrapped[a.NonceSize():], []byte(s.String()))
	if err != nil {
		return keys.Key{}, keys.ErrUnwrap
	}
	defer clear(b)
	return keys.KeyFrom(b)
}
