package keys_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/keystest"
)

// ring wraps a data key as its number and the ring's ending.
type ring struct {
	mu     sync.Mutex
	ending string
	keys   map[string]wrappedKey
}

type wrappedKey struct {
	scope keys.Scope
	bytes []byte
}

func newRing(ending string) *ring { return &ring{ending: ending, keys: map[string]wrappedKey{}} }

func (r *ring) NewDataKey(_ context.Context, scope keys.Scope) (keys.Key, []byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := keys.NewKey()
	wrapped := fmt.Appendf(nil, "wrapped%060d%s", len(r.keys), r.ending)
	r.keys[string(wrapped)] = wrappedKey{scope, bytes.Clone(key.Bytes())}
	return key, wrapped, nil
}

func (r *ring) UnwrapDataKey(_ context.Context, scope keys.Scope, wrapped []byte) (keys.Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.keys[string(wrapped)]
	if !ok || k.scope != scope {
		return keys.Key{}, keys.ErrUnwrap
	}
	return keys.KeyFrom(k.bytes)
}

// sealed is a value sealed under a data key of its own for each owner.
func sealed(t testing.TB, r *ring, owners ...keys.Owner) [][]byte {
	t.Helper()
	e, values := keys.NewEnvelopes(r, keys.Seal, keys.EnvelopeConfig{}), make([][]byte, len(owners))
	for i, owner := range owners {
		var err error
		if values[i], err = e.AppendSealed(t.Context(), nil, owner, []byte(owner), []byte("aad")); err != nil {
			t.Fatal(err)
		}
	}
	return values
}

func owners(n int) []keys.Owner {
	names := make([]keys.Owner, n)
	for i := range names {
		names[i] = keys.Owner(fmt.Sprintf("owner%d", i))
	}
	return names
}

func mustOpen(t testing.TB, e *keys.Envelopes, owner keys.Owner, value []byte) {
	t.Helper()
	if plain, err := e.Open(t.Context(), nil, owner, value, []byte("aad")); err != nil || string(plain) != string(owner) {
		t.Errorf("%s opens as %q, %v", owner, plain, err)
	}
}

// Each data key is unwrapped once, whether wrapped keys end alike or not, and never opens
// what was sealed under another.
func TestOpenUnwrapsOnce(t *testing.T) {
	for _, ending := range []string{"", "same"} {
		r, names := newRing(ending), owners(20)
		values, e := sealed(t, r, names...), keys.NewEnvelopes(r, keys.Seal, keys.EnvelopeConfig{})
		var openers sync.WaitGroup
		for i, owner := range names {
			mustOpen(t, e, owner, values[i])
		}
		for range 3 {
			openers.Go(func() {
				for range 3 {
					for i, owner := range names {
						mustOpen(t, e, owner, values[i])
					}
				}
			})
		}
		openers.Wait()
		if n := e.Unwraps(); n != 20 {
			t.Errorf("ending %q: %d unwraps of 20 data keys", ending, n)
		}
	}
}

// A data key that was opened for its owner does not open for another.
func TestOpenIsTheOwners(t *testing.T) {
	r := newRing("")
	values, e := sealed(t, r, "a"), keys.NewEnvelopes(r, keys.Seal, keys.EnvelopeConfig{})
	mustOpen(t, e, "a", values[0])
	if _, err := e.Open(t.Context(), nil, "b", values[0], []byte("aad")); !errors.Is(err, keys.ErrUnwrap) {
		t.Errorf("opened for another owner: %v", err)
	}
	mustOpen(t, e, "a", values[0])
}

// An opened data key is used for MaxAge and no longer, however often.
func TestOpenForgetsOldKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing("")
		values, e := sealed(t, r, "a"), keys.NewEnvelopes(r, keys.Seal, keys.EnvelopeConfig{MaxAge: time.Minute})
		for second := range 150 {
			mustOpen(t, e, "a", values[0])
			if n, want := e.Unwraps(), uint64(1+second/61); n != want {
				t.Fatalf("%d unwraps after %d s, want %d", n, second, want)
			}
			time.Sleep(time.Second)
		}
	})
}

// No more data keys are kept than MaxCached: after so many others one is unwrapped again.
func TestOpenKeepsFewKeys(t *testing.T) {
	r, names := newRing(""), owners(9)
	values, e := sealed(t, r, names...), keys.NewEnvelopes(r, keys.Seal, keys.EnvelopeConfig{MaxCached: 4})
	for i, owner := range names {
		mustOpen(t, e, owner, values[i])
	}
	before := e.Unwraps()
	for i, owner := range names[:5] {
		mustOpen(t, e, owner, values[i])
	}
	if n := e.Unwraps() - before; n != 5 {
		t.Errorf("%d unwraps of 5 data keys that are too many to keep", n)
	}
}

// slow is a ring whose answers wait, and are counted.
type slow struct {
	*ring
	wait   func(scope keys.Scope)
	asked  atomic.Int64
	refuse atomic.Bool
}

func (s *slow) NewDataKey(ctx context.Context, scope keys.Scope) (keys.Key, []byte, error) {
	s.asked.Add(1)
	s.wait(scope)
	if s.refuse.Load() {
		return keys.Key{}, nil, keys.ErrNoKey
	}
	return s.ring.NewDataKey(ctx, scope)
}

func (s *slow) UnwrapDataKey(ctx context.Context, scope keys.Scope, wrapped []byte) (keys.Key, error) {
	s.asked.Add(1)
	s.wait(scope)
	if err := ctx.Err(); err != nil {
		return keys.Key{}, err
	}
	if s.refuse.Load() {
		return keys.Key{}, keys.ErrNoKey
	}
	return s.ring.UnwrapDataKey(ctx, scope, wrapped)
}

// Many who want one owner's key at a time ask the provider once; one owner's slow answer
// holds up no other; who waits may give up.
func TestAskedOnceAndWithoutOthersWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing("")
		values := sealed(t, r, "a", "b")
		s := &slow{ring: r, wait: func(scope keys.Scope) {
			if scope.Owner == "a" {
				time.Sleep(10 * time.Second)
			}
		}}
		e := keys.NewEnvelopes(s, keys.Seal, keys.EnvelopeConfig{})
		start := time.Now()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { mustOpen(t, e, "a", values[0]) })
			all.Go(func() {
				if _, err := e.AppendSealed(t.Context(), nil, "a", []byte("a"), nil); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := e.Open(hasty, nil, "a", values[0], []byte("aad")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who gives up opening gets %v", err)
		}
		if _, err := e.AppendSealed(hasty, nil, "a", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who gives up sealing gets %v", err)
		}
		mustOpen(t, e, "b", values[1])
		if _, err := e.AppendSealed(t.Context(), nil, "b", []byte("b"), nil); err != nil {
			t.Error(err)
		}
		if waited := time.Since(start); waited > time.Second {
			t.Errorf("another owner waited %v", waited)
		}
		all.Wait()
		if n := s.asked.Load(); n != 4 {
			t.Errorf("the provider was asked %d times, want once each to seal and open for two owners", n)
		}
	})
}

// An answer that the first asker gave up on is asked for again by those who wait.
func TestWhoGivesUpFailsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing("")
		values := sealed(t, r, "a")
		s := &slow{ring: r, wait: func(keys.Scope) { time.Sleep(10 * time.Second) }}
		e := keys.NewEnvelopes(s, keys.Seal, keys.EnvelopeConfig{})
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := e.Open(hasty, nil, "a", values[0], []byte("aad")); err == nil {
				t.Error("opens after its context ended")
			}
		})
		synctest.Wait()
		all.Go(func() { mustOpen(t, e, "a", values[0]) })
		all.Wait()
		if n := s.asked.Load(); n != 2 {
			t.Errorf("the provider was asked %d times, want 2", n)
		}
	})
}

// After the provider refuses, nothing older than MaxAge is used, for sealing and opening.
func TestRevokedWithinMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing("")
		s := &slow{ring: r, wait: func(keys.Scope) {}}
		e := keys.NewEnvelopes(s, keys.Seal, keys.EnvelopeConfig{MaxAge: time.Minute})
		value, err := e.AppendSealed(t.Context(), nil, "a", []byte("a"), []byte("aad"))
		if err != nil {
			t.Fatal(err)
		}
		mustOpen(t, e, "a", value)
		s.refuse.Store(true)
		time.Sleep(time.Minute + time.Second)
		for range 2 {
			if _, err := e.AppendSealed(t.Context(), nil, "a", nil, nil); !errors.Is(err, keys.ErrNoKey) {
				t.Errorf("seals under a revoked key: %v", err)
			}
			if _, err := e.Open(t.Context(), nil, "a", value, []byte("aad")); !errors.Is(err, keys.ErrNoKey) {
				t.Errorf("opens under a revoked key: %v", err)
			}
		}
	})
}

// One data key seals no more messages or bytes than it may.
func TestSealingBounds(t *testing.T) {
	for _, c := range []struct {
		cfg  keys.EnvelopeConfig
		want int64 // data keys for 12 messages of 10 bytes
	}{{keys.EnvelopeConfig{MaxMessages: 4}, 3}, {keys.EnvelopeConfig{MaxBytes: 20}, 6}, {keys.EnvelopeConfig{MaxBytes: 5}, 12}, {keys.EnvelopeConfig{}, 1}} {
		s := &slow{ring: newRing(""), wait: func(keys.Scope) {}}
		e := keys.NewEnvelopes(s, keys.Seal, c.cfg)
		seen := map[string]bool{}
		for range 12 {
			value, err := e.AppendSealed(t.Context(), nil, "a", make([]byte, 10), nil)
			if err != nil {
				t.Fatal(err)
			}
			head := string(value[:len(value)-10-16]) // wrapped key and nonce
			if seen[head] {
				t.Errorf("%+v: a nonce is used twice under one data key", c.cfg)
			}
			seen[head] = true
		}
		if n := s.asked.Load(); n != c.want {
			t.Errorf("%+v: %d data keys, want %d", c.cfg, n, c.want)
		}
	}
}

// Values that are no sealed ones of this owner open as nothing.
func FuzzOpen(f *testing.F) {
	r := newRing("")
	values := sealed(f, r, "a", "b")
	e := keys.NewEnvelopes(r, keys.Seal, keys.EnvelopeConfig{MaxCached: 16})
	for _, seed := range [][]byte{nil, {1, 255, 255}, values[0], values[1], values[0][:40], append(bytes.Clone(values[0]), 0)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		plain, err := e.Open(t.Context(), []byte("dst"), "a", value, []byte("aad"))
		if bytes.Equal(value, values[0]) != (err == nil) {
			t.Errorf("error %v", err)
		}
		if err != nil && (string(plain) != "dst" || !errors.Is(err, keys.ErrOpen) && !errors.Is(err, keys.ErrUnwrap)) {
			t.Errorf("%d bytes come with error %v", len(plain), err)
		}
	})
}

func TestNothingPrintsAKey(t *testing.T) {
	r := newRing("")
	key, _, err := r.NewDataKey(t.Context(), keys.Scope{Owner: "a", Purpose: keys.Seal})
	if err != nil {
		t.Fatal(err)
	}
	e := keys.NewEnvelopes(r, keys.Seal, keys.EnvelopeConfig{})
	if _, err := e.AppendSealed(t.Context(), nil, "a", nil, nil); err != nil {
		t.Fatal(err)
	}
	type holder struct {
		k keys.Key
		s keys.Secret
		e *keys.Envelopes
	}
	type outer struct{ h holder }
	secret := keys.Secret{Version: 3, Key: key}
	h := holder{key, secret, e}
	keystest.PrintsNoKey(t, key.Bytes(), key, &key, secret, &secret, []keys.Secret{secret}, map[int]keys.Key{1: key}, h, &h, outer{h}, []any{h}, e)
	for _, value := range r.keys { // Envelopes' own data key, which the ring knows
		keystest.PrintsNoKey(t, value.bytes, e, h)
	}
	if _, err := json.Marshal(key); err == nil {
		t.Error("a key is marshalled")
	}
	if key.Destroy(); !bytes.Equal(key.Bytes(), make([]byte, 32)) || !bytes.Equal(secret.Key.Bytes(), make([]byte, 32)) {
		t.Error("a destroyed key is not overwritten")
	}
}

// BenchmarkOpen opens a card number's length for one owner after the other.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("owners=%d", n), func(b *testing.B) {
			r, names := newRing(""), owners(n)
			values, e := sealed(b, r, names...), keys.NewEnvelopes(r, keys.Seal, keys.EnvelopeConfig{})
			ctx, aad, dst := b.Context(), []byte("aad"), make([]byte, 0, 64)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := e.Open(ctx, dst, names[i%n], values[i%n], aad); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
