package objects

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/cardlake/cardlake/keys"
)

// plainKeys wraps a key by showing it: good for fuzzing what lies behind the header only.
type plainKeys struct{}

func (plainKeys) NewDataKey(context.Context, keys.Scope) (keys.Key, []byte, error) {
	k, err := keys.KeyFrom(bytes.Repeat([]byte{7}, 32))
	return k, bytes.Repeat([]byte{7}, 32), err
}

func (plainKeys) UnwrapDataKey(_ context.Context, _ keys.Scope, wrapped []byte) (keys.Key, error) {
	k, err := keys.KeyFrom(wrapped)
	if err != nil {
		return keys.Key{}, keys.ErrUnwrap
	}
	return k, nil
}

func sealedBytes(t testing.TB, chunkLog uint8, name string, body []byte) []byte {
	var w bytes.Buffer
	if err := sealTo(t.Context(), &w, plainKeys{}, chunkLog, name, keys.Lake, body, make([]byte, 1<<chunkLog+tagSize)); err != nil {
		t.Fatal(err)
	}
	return w.Bytes()
}

// Whatever the bytes are, opening gives the sealed content or an error, never a panic, and
// allocates no more than the bytes themselves justify.
func FuzzOpen(f *testing.F) {
	body := bytes.Repeat([]byte("synthetic"), 400)
	for _, b := range [][]byte{nil, {}, []byte(magic), sealedBytes(f, 10, "x", nil), sealedBytes(f, 10, "x", body), sealedBytes(f, 20, "x", body), sealedBytes(f, 10, "y", body)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := openStream(t.Context(), bytes.NewReader(b), int64(len(b)), plainKeys{}, "x", new(sync.Pool))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error %v is not ErrCorrupt", err)
			}
			return
		}
		if s.size > int64(len(b)) {
			t.Fatalf("%d bytes open to %d", len(b), s.size)
		}
		got, err := io.ReadAll(io.NewSectionReader(s, 0, s.size))
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("error %v is not ErrCorrupt", err)
		}
		if err == nil && len(got) > 0 && !bytes.Equal(got, body) {
			t.Fatal("bytes opened that were never sealed")
		}
	})
}

// A header that promises much must not make the reader allocate it.
func TestOpenBoundsMemory(t *testing.T) {
	b := sealedBytes(t, maxChunkLog, "x", []byte("short"))
	pool := new(sync.Pool)
	if _, err := openStream(t.Context(), bytes.NewReader(b), int64(len(b)), plainKeys{}, "x", pool); err != nil {
		t.Fatal(err)
	}
	s := &stream{buffers: pool}
	if got := cap(*s.buffer(1)); got > 1<<10 {
		t.Errorf("a buffer of %d bytes for an object of 5", got)
	}
}

// The nonce's layout is the format: known values keep old objects readable.
func TestNonce(t *testing.T) {
	if got, want := nonce(0x0102, false), ([12]byte{9: 1, 10: 2}); got != want {
		t.Errorf("nonce = %x, want %x", got, want)
	}
	if got, want := nonce(1, true), ([12]byte{10: 1, 11: 1}); got != want {
		t.Errorf("last nonce = %x, want %x", got, want)
	}
}

// The header is bound to the chunks even under a provider that does not look at the scope.
func TestHeaderIsAuthenticated(t *testing.T) {
	b := sealedBytes(t, 10, "x", []byte("short"))
	for i := range b {
		changed := bytes.Clone(b)
		changed[i] ^= 2 // keeps letters of the owner letters
		if _, err := openStream(t.Context(), bytes.NewReader(changed), int64(len(changed)), plainKeys{}, "x", new(sync.Pool)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d changed: %v, want ErrCorrupt", i, err)
		}
	}
}

// An object has one sealed form: a last chunk is empty only if the object is.
func TestEmptyLastChunk(t *testing.T) {
	h := header{10, keys.Lake, bytes.Repeat([]byte{7}, 32)}
	b := h.append(nil)
	key, err := keys.KeyFrom(h.wrapped)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newChunks(key, b, "x")
	if err != nil {
		t.Fatal(err)
	}
	b = c.seal(b, make([]byte, 1<<10), 0, false)
	b = c.seal(b, nil, 1, true)
	if _, err := openStream(t.Context(), bytes.NewReader(b), int64(len(b)), plainKeys{}, "x", new(sync.Pool)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opened: %v, want ErrCorrupt", err)
	}
}
