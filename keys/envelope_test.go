package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cardlake/cardlake/keys"
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
