// Package objectstest is the conformance suite that every adapter of objects.Store passes,
// and a provider of object keys for tests.
package objectstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// Owners whose object keys the store under test must have.
const (
	Owner      keys.Owner = "abcdefghijklmnop"
	OtherOwner keys.Owner = keys.Lake
)

// Run tests the contract of objects.Store. newStore returns an empty store each time it is
// called, and cleans up through t.
func Run(t *testing.T, newStore func(t *testing.T) objects.Store) {
	t.Run("Sizes", func(t *testing.T) { testSizes(t, newStore(t)) })
	t.Run("Ranges", func(t *testing.T) { testRanges(t, newStore(t)) })
	t.Run("Exists", func(t *testing.T) { testExists(t, newStore(t)) })
	t.Run("Race", func(t *testing.T) { testRace(t, newStore(t)) })
	t.Run("NotFound", func(t *testing.T) { testNotFound(t, newStore(t)) })
	t.Run("Names", func(t *testing.T) { testNames(t, newStore(t)) })
	t.Run("List", func(t *testing.T) { testList(t, newStore(t)) })
	t.Run("Delete", func(t *testing.T) { testDelete(t, newStore(t)) })
	t.Run("Cancelled", func(t *testing.T) { testCancelled(t, newStore(t)) })
	t.Run("CancelledMidway", func(t *testing.T) { testCancelledMidway(t, newStore(t)) })
	t.Run("ReadsDuringPut", func(t *testing.T) { testReadsDuringPut(t, newStore(t)) })
	t.Run("ReadsDuringDelete", func(t *testing.T) { testReadsDuringDelete(t, newStore(t)) })
	t.Run("Concurrent", func(t *testing.T) { testConcurrent(t, newStore(t)) })
}

// Bytes returns n bytes, the same for the same n.
func Bytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

func put(t *testing.T, s objects.Store, name string, owner keys.Owner, body []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, owner, body); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func testSizes(t *testing.T, s objects.Store) {
	const chunk = 64 << 10
	for _, size := range []int{0, 1, 15, 16, 17, chunk - 1, chunk, chunk + 1, chunk + 16, 2 * chunk, 3*chunk + 7, 1<<20 + 1} {
		name, body := fmt.Sprintf("sizes/%d", size), Bytes(size)
		kept := bytes.Clone(body)
		put(t, s, name, Owner, body)
		clear(body) // the store does not keep it
		got, err := objects.ReadAll(t.Context(), s, name)
		if err != nil || !bytes.Equal(got, kept) {
			t.Errorf("size %d: read back %d bytes, equal %t, error %v", size, len(got), bytes.Equal(got, kept), err)
		}
	}
}

func testRanges(t *testing.T, s objects.Store) {
	body := Bytes(300_000)
	put(t, s, "ranges", Owner, body)
	o, err := s.Open(t.Context(), "ranges")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if o.Size() != int64(len(body)) {
		t.Fatalf("Size() = %d, want %d", o.Size(), len(body))
	}
	for _, r := range []struct{ off, length int }{
		{0, 0}, {0, 1}, {0, 65536}, {1, 65536}, {65535, 2}, {65536, 65536}, {65530, 140_000}, {299_999, 1}, {0, 300_000}, {12_345, 250_000},
	} {
		got := make([]byte, r.length)
		n, err := o.ReadAt(got, int64(r.off))
		if n != r.length || err != nil && !(err == io.EOF && r.off+r.length == len(body)) {
			t.Errorf("ReadAt(%d bytes, %d) = %d, %v", r.length, r.off, n, err)
		}
		if !bytes.Equal(got, body[r.off:r.off+r.length]) {
			t.Errorf("ReadAt(%d bytes, %d): wrong bytes", r.length, r.off)
		}
	}
	if n, err := o.ReadAt(make([]byte, 10), int64(len(body)-4)); n != 4 || err != io.EOF {
		t.Errorf("ReadAt across the end = %d, %v, want 4, io.EOF", n, err)
	}
	if n, err := o.ReadAt(make([]byte, 1), int64(len(body))); n != 0 || err != io.EOF {
		t.Errorf("ReadAt at the end = %d, %v, want 0, io.EOF", n, err)
	}
	if _, err := o.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
		t.Errorf("ReadAt(-1) = %v, want an error", err)
	}
}

func testExists(t *testing.T, s objects.Store) {
	put(t, s, "a/b", Owner, []byte("first"))
	for _, owner := range []keys.Owner{Owner, OtherOwner} {
		if err := s.Put(t.Context(), "a/b", owner, []byte("second")); !errors.Is(err, objects.ErrExists) {
			t.Errorf("second Put of %s: %v, want ErrExists", owner, err)
		}
	}
	if got, err := objects.ReadAll(t.Context(), s, "a/b"); string(got) != "first" || err != nil {
		t.Errorf("read %q, %v, want what was put first", got, err)
	}
}

func testRace(t *testing.T, s objects.Store) {
	const racers = 16
	var wg sync.WaitGroup
	errs := make([]error, racers)
	for i := range racers {
		wg.Go(func() {
			errs[i] = s.Put(t.Context(), "new/folder/race", Owner, bytes.Repeat([]byte{byte(i)}, 100_000))
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("racers %d and %d both created the object", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, objects.ErrExists):
			t.Errorf("racer %d: %v", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("no racer created the object")
	}
	got, err := objects.ReadAll(t.Context(), s, "new/folder/race")
	if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(winner)}, 100_000)) {
		t.Errorf("the object is not the winner's: %d bytes, %v", len(got), err)
	}
}

func testNotFound(t *testing.T, s objects.Store) {
	check := func(state string) {
		t.Helper()
		for _, name := range []string{"none", "no/such/object", "there/is"} {
			if _, err := s.Open(t.Context(), name); !errors.Is(err, objects.ErrNotFound) {
				t.Errorf("%s: Open(%s): %v, want ErrNotFound", state, name, err)
			}
			if err := s.Delete(t.Context(), name); !errors.Is(err, objects.ErrNotFound) {
				t.Errorf("%s: Delete(%s): %v, want ErrNotFound", state, name, err)
			}
		}
	}
	check("empty store")
	put(t, s, "there/is/one", Owner, nil)
	check("store with an object below a name")
}

func testNames(t *testing.T, s objects.Store) {
	for _, name := range []string{"", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a b", "a~", "ä", "a\\b", "a\x00", "a:b", strings.Repeat("a", 1025), strings.Repeat("a", 201)} {
		if err := s.Put(t.Context(), name, Owner, nil); !errors.Is(err, objects.ErrName) {
			t.Errorf("Put(%q): %v, want ErrName", name, err)
		}
		if _, err := s.Open(t.Context(), name); !errors.Is(err, objects.ErrName) {
			t.Errorf("Open(%q): %v, want ErrName", name, err)
		}
		if err := s.Delete(t.Context(), name); !errors.Is(err, objects.ErrName) {
			t.Errorf("Delete(%q): %v, want ErrName", name, err)
		}
	}
	for _, owner := range []keys.Owner{"", "a/b", "A", "a b", keys.Owner(strings.Repeat("a", 65))} {
		if err := s.Put(t.Context(), "owner", owner, nil); err == nil {
			t.Errorf("Put with owner %q succeeded", owner)
		}
	}
	good := []string{"a.b_c=d-E0/...x/-", strings.Repeat(strings.Repeat("n", 199)+"/", 5) + "z"}
	for _, name := range good {
		put(t, s, name, Owner, []byte(name))
		if got, err := objects.ReadAll(t.Context(), s, name); string(got) != name || err != nil {
			t.Errorf("%q: read %q, %v", name, got, err)
		}
	}
	slices.Sort(good)
	if diff := cmp.Diff(good, list(t, s, "")); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

func list(t *testing.T, s objects.Store, prefix string) []string {
	t.Helper()
	var names []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List(%q): %v", prefix, err)
		}
		if info.Size < 0 || info.ModTime.IsZero() {
			t.Errorf("List(%q): incomplete %+v", prefix, info)
		}
		names = append(names, info.Name)
	}
	slices.Sort(names)
	return names
}

func testList(t *testing.T, s objects.Store) {
	if got := list(t, s, ""); len(got) != 0 {
		t.Errorf("empty store lists %q", got)
	}
	for _, name := range []string{"data/ab/1", "data/ab/2", "data/abc/3", "data/b/c/d/4", "meta", "metal"} {
		put(t, s, name, Owner, []byte(name))
	}
	for prefix, want := range map[string][]string{
		"":           {"data/ab/1", "data/ab/2", "data/abc/3", "data/b/c/d/4", "meta", "metal"},
		"data/":      {"data/ab/1", "data/ab/2", "data/abc/3", "data/b/c/d/4"},
		"data/ab":    {"data/ab/1", "data/ab/2", "data/abc/3"},
		"data/ab/":   {"data/ab/1", "data/ab/2"},
		"data/ab/2":  {"data/ab/2"},
		"data/b":     {"data/b/c/d/4"},
		"data/b/c/d": {"data/b/c/d/4"},
		"meta":       {"meta", "metal"},
		"meta/":      nil,
		"nothing":    nil,
		"no/thing":   nil,
	} {
		if diff := cmp.Diff(want, list(t, s, prefix)); diff != "" {
			t.Errorf("List(%q) (-want +got):\n%s", prefix, diff)
		}
	}
	for _, prefix := range []string{"../", "..", "/", "data//", "a b", "data/../"} {
		for info, err := range s.List(t.Context(), prefix) {
			if err == nil && !strings.HasPrefix(info.Name, prefix) {
				t.Errorf("List(%q) yields %q", prefix, info.Name)
			}
		}
	}
	for range s.List(t.Context(), "data/") {
		break
	}
}

func testDelete(t *testing.T, s objects.Store) {
	put(t, s, "d/one", Owner, []byte("one"))
	put(t, s, "d/two", Owner, []byte("two"))
	if err := s.Delete(t.Context(), "d/one"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "d/one"); !errors.Is(err, objects.ErrNotFound) {
		t.Errorf("second Delete: %v, want ErrNotFound", err)
	}
	if got := list(t, s, ""); len(got) != 1 || got[0] != "d/two" {
		t.Errorf("after Delete: %q", got)
	}
	if err := s.Delete(t.Context(), "d/two"); err != nil {
		t.Fatal(err)
	}
	put(t, s, "d/one", Owner, []byte("again"))
	if got, err := objects.ReadAll(t.Context(), s, "d/one"); string(got) != "again" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

func testCancelled(t *testing.T, s objects.Store) {
	put(t, s, "here", Owner, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, "never", Owner, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
	if _, err := s.Open(ctx, "here"); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
	if err := s.Delete(ctx, "here"); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete: %v", err)
	}
	failed := false
	for _, err := range s.List(ctx, "") {
		failed = failed || errors.Is(err, context.Canceled)
	}
	if !failed {
		t.Error("List did not report the cancelled context")
	}
	if got := list(t, s, ""); len(got) != 1 {
		t.Errorf("objects %q", got)
	}
}

func testConcurrent(t *testing.T, s objects.Store) {
	body := Bytes(200_000)
	put(t, s, "shared", Owner, body)
	o, err := s.Open(t.Context(), "shared")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for range 50 {
				off := r.IntN(len(body))
				got := make([]byte, 1+r.IntN(len(body)-off))
				if n, err := o.ReadAt(got, int64(off)); n != len(got) || !bytes.Equal(got, body[off:off+n]) {
					t.Errorf("ReadAt(%d bytes, %d) = %d, %v", len(got), off, n, err)
				}
			}
			name := fmt.Sprintf("own/%d", i)
			if err := s.Put(t.Context(), name, OtherOwner, body[:1000+i]); err != nil {
				t.Errorf("Put: %v", err)
			}
			if got, err := objects.ReadAll(t.Context(), s, name); !bytes.Equal(got, body[:1000+i]) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		})
	}
	wg.Wait()
}
