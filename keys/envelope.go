package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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
//
// Once the provider refuses a key, nothing is sealed or opened under it that is older than
// MaxAge. Data keys are overwritten as soon as their ciphers are made. The ciphers' key
// schedules Go cannot overwrite; they are let go of at the first call of the provider after
// MaxAge for sealing and twice MaxAge for opening.
type Envelopes struct {
	provider Provider
	purpose  Purpose
	cfg      EnvelopeConfig

	mu      sync.RWMutex
	sealing map[Owner]*sealer

	openMu    sync.RWMutex
	young     map[string]*openKey // keyed by wrapped key; when full or aged it becomes old
	old       map[string]*openKey
	turned    time.Time                                // when young became old last
	asked     map[opening]*answer                      // of the provider, under way
	recent    [1 << recentBits]atomic.Pointer[openKey] // of those in young and old, found without a lock
	unwrapped atomic.Uint64
}

// recentBits makes recent several times as long as the data keys are many that one stream's
// records are sealed under at a time.
const recentBits = 10

// sealer is what one owner's values are sealed with. A slow provider holds up nobody but
// that owner.
type sealer struct {
	key      atomic.Pointer[dataKey]
	renewing chan struct{} // holds a token while somebody renews the key
}

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

// opening is what the provider is asked to unwrap, once for all who want it.
type opening struct {
	owner   Owner
	wrapped string
}

type answer struct {
	done        chan struct{} // closed when the rest is set
	key         *openKey
	err         error
	isAbandoned bool // by who asked, whose context ended: no answer for others
}

// NewEnvelopes returns envelopes of the purpose.
func NewEnvelopes(provider Provider, purpose Purpose, cfg EnvelopeConfig) *Envelopes {
	return &Envelopes{
		provider: provider, purpose: purpose, cfg: cfg.withDefaults(),
		sealing: map[Owner]*sealer{}, young: map[string]*openKey{}, old: map[string]*openKey{},
		turned: time.Now(), asked: map[opening]*answer{},
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
	s := e.sealing[owner]
	e.mu.RUnlock()
	if s == nil {
		s = e.addSealer(owner)
	}
	k := s.key.Load()
	if n, ok := e.take(k, size); ok {
		return k, n, nil
	}
	select {
	case s.renewing <- struct{}{}:
		defer func() { <-s.renewing }()
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	k = s.key.Load()
	if n, ok := e.take(k, size); ok {
		return k, n, nil // another goroutine renewed it
	}
	asked := time.Now()
	key, wrapped, err := e.provider.NewDataKey(ctx, Scope{owner, e.purpose})
	if err != nil {
		return nil, 0, fmt.Errorf("seal for %s: %w", owner, err)
	}
	defer key.Destroy()
	if len(wrapped) > 1<<16-1 {
		return nil, 0, fmt.Errorf("seal for %s: wrapped key has %d bytes", owner, len(wrapped))
	}
	k = &dataKey{aead: gcm(key), wrapped: wrapped, born: asked}
	n := k.messages.Add(1)
	k.bytes.Add(size)
	s.key.Store(k)
	e.forgetAged()
	return k, n, nil
}

func (e *Envelopes) addSealer(owner Owner) *sealer {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sealing[owner]
	if s == nil {
		s = &sealer{renewing: make(chan struct{}, 1)}
		e.sealing[owner] = s
	}
	return s
}

// forgetAged lets go of sealing keys past their age, whose owners may not come again.
func (e *Envelopes) forgetAged() {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, s := range e.sealing {
		if k := s.key.Load(); k != nil && time.Since(k.born) > e.cfg.MaxAge {
			s.key.CompareAndSwap(k, nil)
		}
	}
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
	if k := e.recentFor(wrapped).Load(); e.fits(k, owner, wrapped) {
		return k.aead, nil
	}
	e.openMu.RLock()
	k := e.kept(wrapped)
	if k != nil {
		// Under the lock, so that no key that was let go of comes back.
		e.recentFor(wrapped).Store(k)
	}
	e.openMu.RUnlock()
	if e.fits(k, owner, wrapped) {
		return k.aead, nil
	}
	what := opening{owner, string(wrapped)}
	for {
		e.openMu.Lock()
		if k := e.kept(wrapped); e.fits(k, owner, wrapped) {
			e.openMu.Unlock()
			return k.aead, nil // another goroutine asked meanwhile
		}
		a := e.asked[what]
		isFirst := a == nil
		if isFirst {
			a = &answer{done: make(chan struct{})}
			e.asked[what] = a
		}
		e.openMu.Unlock()
		if isFirst {
			e.unwrap(ctx, what, a)
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case a.err == nil && a.key != nil:
			return a.key.aead, nil
		case isFirst || !a.isAbandoned:
			return nil, a.err
		}
	}
}

// kept returns what was opened before, however old. The caller holds openMu.
func (e *Envelopes) kept(wrapped []byte) *openKey {
	if k := e.young[string(wrapped)]; k != nil {
		return k
	}
	return e.old[string(wrapped)]
}

// fits reports whether k may be used to open the owner's value.
func (e *Envelopes) fits(k *openKey, owner Owner, wrapped []byte) bool {
	return k != nil && k.wrapped == string(wrapped) && k.owner == owner && time.Since(k.born) <= e.cfg.MaxAge
}

// unwrap asks the provider and keeps what it says for all who wait for it.
func (e *Envelopes) unwrap(ctx context.Context, what opening, a *answer) {
	a.isAbandoned = true // should the provider panic
	defer func() {
		e.openMu.Lock()
		defer e.openMu.Unlock()
		delete(e.asked, what)
		if a.key != nil {
			e.keep(a.key)
		}
		close(a.done)
	}()
	asked := time.Now()
	key, err := e.provider.UnwrapDataKey(ctx, Scope{what.owner, e.purpose}, []byte(what.wrapped))
	if err != nil {
		a.err = fmt.Errorf("open for %s: %w", what.owner, err)
		a.isAbandoned = ctx.Err() != nil
		return
	}
	e.unwrapped.Add(1)
	a.key = &openKey{aead: gcm(key), owner: what.owner, wrapped: what.wrapped, born: asked}
	a.isAbandoned = false
	key.Destroy()
}

// keep remembers an opened key. The caller holds openMu.
func (e *Envelopes) keep(k *openKey) {
	if len(e.young) >= max(1, e.cfg.MaxCached/2) || time.Since(e.turned) > e.cfg.MaxAge {
		e.old, e.young, e.turned = e.young, map[string]*openKey{}, time.Now()
		for i := range e.recent {
			e.recent[i].Store(nil)
		}
	}
	e.young[k.wrapped] = k
	e.recentFor([]byte(k.wrapped)).Store(k)
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

// Format implements fmt.Formatter: every verb prints the purpose, nothing else.
func (e *Envelopes) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "envelopes of "+string(e.purpose))
}

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
