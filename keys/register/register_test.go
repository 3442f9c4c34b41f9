package register_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/register"
)

// guard tags a document with its digest: who can write the file can, too.
type guard struct{ fail error }

func (g *guard) Tag(_ context.Context, digest []byte) ([]byte, error) { return digest, g.fail }

func (g *guard) Verify(_ context.Context, digest, tag []byte) error {
	if !bytes.Equal(digest, tag) {
		return register.ErrChanged
	}
	return g.fail
}

var seal = keys.Scope{Owner: "ownera", Purpose: keys.Seal}

func create(t testing.TB) (*register.Register, *guard, string) {
	t.Helper()
	g, path := &guard{}, filepath.Join(t.TempDir(), "register")
	d := register.Document{Custody: []byte(`{"kind": "test"}`), Purposes: []keys.Purpose{keys.Seal, keys.Mint}}
	r, err := register.Create(t.Context(), path, d, g, register.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r, g, path
}

func open(t testing.TB, path string, g *guard) *register.Register {
	t.Helper()
	r, err := register.Open(t.Context(), path, func(json.RawMessage) (register.Guard, error) { return g, nil }, register.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func add(ctx context.Context, r *register.Register, scope keys.Scope) error {
	return r.Update(ctx, func(d *register.Document) error {
		d.Add(d.Next(scope))
		return nil
	})
}

func TestCreateOverwritesNothing(t *testing.T) {
	_, g, path := create(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := register.Document{Custody: []byte(`{}`)}
	if _, err := register.Create(t.Context(), path, d, g, register.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want ErrExist", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed, or error %v", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".keyring-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, error %v", left, err)
	}
}

// Whatever fails, the file is as it was, or as it should be.
func TestUpdateIsWholeOrNothing(t *testing.T) {
	r, g, path := create(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fault := errors.New("fault")
	if err := r.Update(t.Context(), func(*register.Document) error { return fault }); !errors.Is(err, fault) {
		t.Errorf("error %v", err)
	}
	g.fail = fault
	if err := add(t.Context(), r, seal); !errors.Is(err, fault) {
		t.Errorf("error %v", err)
	}
	g.fail = nil
	if err := r.Update(t.Context(), func(*register.Document) error { return nil }); err != nil {
		t.Error(err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed, or error %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := add(t.Context(), r, seal); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, error %v: want that of the file before", info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".keyring-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, error %v", left, err)
	}
}

// Changes of many at a time all count, and versions are numbered once.
func TestUpdatesAreOneAfterTheOther(t *testing.T) {
	r, g, path := create(t)
	other := open(t, path, g)
	const each = 10
	var all sync.WaitGroup
	for _, r := range []*register.Register{r, other, r} {
		all.Go(func() {
			for range each {
				if err := add(t.Context(), r, seal); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, r := range []*register.Register{r, other} {
		s, err := r.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var versions []int
		for _, e := range s.Entries() {
			versions = append(versions, e.Version)
		}
		slices.Sort(versions)
		for i, v := range versions {
			if v != i+1 {
				t.Fatalf("versions %v", versions)
			}
		}
		if len(versions) != 3*each {
			t.Errorf("%d versions, want %d", len(versions), 3*each)
		}
	}
}

// Who waits for another's change may give up.
func TestUpdateWaitsAsLongAsItsContext(t *testing.T) {
	r, g, path := create(t)
	other := open(t, path, g)
	err := r.Update(t.Context(), func(d *register.Document) error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := add(ctx, other, seal); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a change while another is made: %v", err)
		}
		d.Add(d.Next(seal))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := other.Current(t.Context())
	if err != nil || len(s.Entries()) != 1 {
		t.Errorf("%d entries, error %v", len(s.Entries()), err)
	}
}

// FuzzDecode reads anything: what it takes is well formed, and written again it is the same.
func FuzzDecode(f *testing.F) {
	r, _, path := create(f)
	if err := add(f.Context(), r, seal); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"", "{}", string(text), strings.Replace(string(text), "keyring 2", "keyring 1", 1), strings.Replace(string(text), `"version": 1`, `"version": 0`, 1),
		strings.Replace(string(text), `"format"`, `"formats"`, 1), strings.Replace(string(text), `"id": "`, `"id": "x`, 1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := register.Decode(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, e := range d.Keys {
			if len(e.ID) != 16 || e.Version < 1 || !e.IsLive() && len(e.Wrapped) > 0 {
				t.Errorf("takes entry %+v", e)
			}
		}
		once, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := register.Decode(bytes.NewReader(once))
		if err != nil {
			t.Fatalf("does not take what it wrote: %v", err)
		}
		if twice, err := json.Marshal(again); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("written twice differs, error %v", err)
		}
	})
}
