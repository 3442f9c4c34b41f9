package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrOpen says that a sealed value does not authenticate: changed, or sealed for another
// owner or with other associated data.
var ErrOpen = errors.New("sealed value does not authenticate")

// EnvelopeConfig bounds how long and how often one data key is used.
type EnvelopeConfig struct {
	MaxAge      time.Duration // of a data key in use, sealing or opening; default 5 minutes
	MaxMessages uint64        // sealed under one data key; default 1<<20
	MaxBytes    uint64        // of plaintext sealed under one data key; default 1 GiB
	MaxCached   int           // data keys kept for opening; default 4096
}

func (c EnvelopeConfig) withDefaults() EnvelopeConfig {
	if c.MaxAge == 0 {
		c.MaxAge = 5 * time.Minute
	}
	if c.MaxMessages == 0 {
		c.MaxMessages = 1 << 20
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	if c.MaxCached == 0 {
		c.MaxCached = 4096
	}
	return c
}

// Envelopes seals small values under data keys of one purpose, and opens them. A sealed
// value carries its data key, wrapped: whoever may unwrap it needs nothing else. The data
// key is used again within the bounds of the configuration, so that sealing and opening
// seldom reach the provider. It is safe for concurrent use.
//
// Layout of a sealed value: version byte 1; length of the wrapped key, 2 bytes big endian;
// wrapped key; nonce, 12 bytes; AES-256-GCM ciphertext and tag (NIST SP 800-38D). The nonce
// is the message's number under its data key: the key is fresh and known to one Envelopes
// only while it seals, so a number is used once.
type Envelopes struct {
	provider Provider
	purpose  Purpose
	cfg      EnvelopeConfig

	mu      sync.RWMutex
	sealing map[Owner]*dataKey

	openMu    sync.RWMutex
	young     map[string]*openKey // keyed by wrapped key; when full it becomes old
	old       map[string]*openKey
	recent    [1 << recentBits]atomic.Pointer[openKey] // of those in young and old, found without a lock
	unwrapped atomic.Uint64
}

// recentBits makes recent several times as long as the data keys are many that one stream's
// records are sealed under at a time.
const recentBits = 10

type dataKey struct {
	aead     cipher.AEAD
	wrapped  []byte
	born     time.Time
	messages atomic.Uint64
	bytes    atomic.Uint64
}

type openKey struct {
	aead    cipher.AEAD
	owner   Owner
	wrapped string
	born    time.Time
}

// NewEnvelopes returns envelopes of the purpose.
func NewEnvelopes(provider Provider, purpose Purpose, cfg EnvelopeConfig) *Envelopes {
	return &Envelopes{
		provider: provider, purpose: purpose, cfg: cfg.withDefaults(),
		sealing: map[Owner]*dataKey{}, young: map[string]*openKey{}, old: map[string]*openKey{},
	}
}

const (
	envelopeVersion = 1
	nonceLen        = 12
)

// Overhead is how many bytes a sealed value has beyond its plaintext and its wrapped key.
const Overhead = 3 + nonceLen + 16

// AppendSealed seals plain for the owner, bound to aad, and appends the sealed value to
// dst. Errors are the provider's.
func (e *Envelopes) AppendSealed(ctx context.Context, dst []byte, owner Owner, plain, aad []byte) ([]byte, error) {
	k, number, err := e.sealingKey(ctx, owner, uint64(len(plain)))
	if err != nil {
		return dst, err
	}
	dst = append(dst, envelopeVersion, byte(len(k.wrapped)>>8), byte(len(k.wrapped)))
	dst = append(dst, k.wrapped...)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, number)
	return k.aead.Seal(dst, dst[len(dst)-nonceLen:], plain, aad), nil
}

// sealingKey returns a data key within its bounds and the next message number under it.
func (e *Envelopes) sealingKey(ctx context.Context, owner Owner, size uint64) (*dataKey, uint64, error) {
	e.mu.RLock()
	k := e.sealing[owner]
	e.mu.RUnlock()
	if n, ok := e.take(k, size); ok {
		return k, n, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	k = e.sealing[owner]
	if n, ok := e.take(k, size); ok {
		return k, n, nil // another goroutine renewed it
	}
	key, wrapped, err := e.provider.NewDataKey(ctx, Scope{owner, e.purpose})
	if err != nil {
		return nil, 0, fmt.Errorf("seal for %s: %w", owner, err)
	}
	if len(wrapped) > 1<<16-1 {
		return nil, 0, fmt.Errorf("seal for %s: wrapped key has %d bytes", owner, len(wrapped))
	}
	k = &dataKey{aead: gcm(key), wrapped: wrapped, born: time.Now()}
	key.Destroy()
	e.sealing[owner] = k
	n, _ := e.take(k, size)
	return k, n, nil
}

func (e *Envelopes) take(k *dataKey, size uint64) (uint64, bool) {
	if k == nil || time.Since(k.born) > e.cfg.MaxAge {
		return 0, false
	}
	n := k.messages.Add(1)
	return n, n <= e.cfg.MaxMessages && (k.bytes.Add(size) <= e.cfg.MaxBytes || n == 1)
}

// Open opens a sealed value of the owner and appends the plaintext to dst. ErrOpen, ErrUnwrap
// and ErrNoKey are final; any other error is the provider's and may pass.
func (e *Envelopes) Open(ctx context.Context, dst []byte, owner Owner, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != envelopeVersion {
		return dst, ErrOpen
	}
	wrapLen := int(binary.BigEndian.Uint16(sealed[1:]))
	if len(sealed) < Overhead+wrapLen {
		return dst, ErrOpen
	}
	wrapped, rest := sealed[3:3+wrapLen], sealed[3+wrapLen:]
	aead, err := e.openingKey(ctx, owner, wrapped)
	if err != nil {
		return dst, err
	}
	out, err := aead.Open(dst, rest[:nonceLen], rest[nonceLen:], aad)
	if err != nil {
		return dst, ErrOpen
	}
	return out, nil
}

func (e *Envelopes) openingKey(ctx context.Context, owner Owner, wrapped []byte) (cipher.AEAD, error) {
	recent := e.recentFor(wrapped)
	k := recent.Load()
	if k == nil || k.wrapped != string(wrapped) {
		e.openMu.RLock()
		if k = e.young[string(wrapped)]; k == nil {
			k = e.old[string(wrapped)]
		}
		if k != nil {
			// Under the lock, so that no key that was let go of comes back.
			recent.Store(k)
		}
		e.openMu.RUnlock()
	}
	if k != nil && k.owner == owner && time.Since(k.born) <= e.cfg.MaxAge {
		return k.aead, nil
	}
	key, err := e.provider.UnwrapDataKey(ctx, Scope{owner, e.purpose}, wrapped)
	if err != nil {
		return nil, fmt.Errorf("open for %s: %w", owner, err)
	}
	e.unwrapped.Add(1)
	k = &openKey{aead: gcm(key), owner: owner, wrapped: string(wrapped), born: time.Now()}
	key.Destroy()
	e.openMu.Lock()
	defer e.openMu.Unlock()
	if len(e.young) >= e.cfg.MaxCached/2 {
		e.old, e.young = e.young, map[string]*openKey{}
		for i := range e.recent {
			e.recent[i].Store(nil)
		}
	}
	e.young[k.wrapped] = k
	recent.Store(k)
	return k.aead, nil
}

// recentFor is where a wrapped key is remembered. Wrapped keys end with bytes that look
// random: ciphertext, or its tag. Where they do not, the maps are slower and as right.
func (e *Envelopes) recentFor(wrapped []byte) *atomic.Pointer[openKey] {
	at := uint32(0)
	if n := len(wrapped); n >= 4 {
		at = binary.LittleEndian.Uint32(wrapped[n-4:]) * 0x9e3779b1 >> (32 - recentBits)
	}
	return &e.recent[at]
}

// Unwraps counts how often the provider was asked to unwrap.
func (e *Envelopes) Unwraps() uint64 { return e.unwrapped.Load() }

func gcm(key Key) cipher.AEAD {
	block, err := aes.NewCipher(key.Bytes())
	if err != nil {
		panic(err) // a Key has 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}
