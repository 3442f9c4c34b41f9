package local_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/keys/register"
)

var objectA, objectB = keys.Scope{Owner: "ownera", Purpose: keys.Object}, keys.Scope{Owner: "ownerb", Purpose: keys.Object}

// Crypto-shredding: once another process destroyed an owner, a process that has the owner's
// data keys in use stops within their greatest age, for sealing and opening; other owners
// are not harmed.
func TestDestroyedOwnerStopsWithinMaxAge(t *testing.T) {
	_, path := create(t, keys.LakePurposes, "ownera", "ownerb")
	synctest.Test(t, func(t *testing.T) {
		user, destroyer := reopen(t, path), reopen(t, path)
		const maxAge = time.Minute
		e := keys.NewEnvelopes(user, keys.Object, keys.EnvelopeConfig{MaxAge: maxAge})
		seal := func(owner keys.Owner) ([]byte, error) {
			return e.AppendSealed(t.Context(), nil, owner, []byte("plain"), nil)
		}
		open := func(owner keys.Owner, sealed []byte) error {
			_, err := e.Open(t.Context(), nil, owner, sealed, nil)
			return err
		}
		sealedA, errA := seal("ownera")
		sealedB, errB := seal("ownerb")
		if err := errors.Join(errA, errB, open("ownera", sealedA), open("ownerb", sealedB)); err != nil {
			t.Fatal(err)
		}
		if err := destroyer.DestroyOwner(t.Context(), "ownera"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(maxAge + time.Second)
		if _, err := seal("ownera"); !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("seals for a destroyed owner: %v", err)
		}
		if err := open("ownera", sealedA); !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("opens a destroyed owner's: %v", err)
		}
		if _, err := seal("ownerb"); err != nil {
			t.Error(err)
		}
		if err := open("ownerb", sealedB); err != nil {
			t.Error(err)
		}
	})
}

func reopen(t testing.TB, path string) *local.Keyring {
	t.Helper()
	k, err := local.Open(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// What an open keyring can't trust any more it does not use: no file, a file others may read,
// one changed without the secret, one from before.
func TestOpenKeyringFollowsItsFile(t *testing.T) {
	k, path := create(t, keys.LakePurposes, "ownera", "ownerb")
	_, wrapped, err := k.NewDataKey(t.Context(), objectA)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	use := func() error {
		_, err := k.UnwrapDataKey(t.Context(), objectA, wrapped)
		return err
	}
	put := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path+"x", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+"x", path); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, want error) {
		t.Helper()
		if err := use(); !errors.Is(err, want) || errors.Is(err, keys.ErrNoKey) && want != keys.ErrNoKey {
			t.Errorf("%s: error %v, want %v", what, err, want)
		}
	}
	check("as it was", nil)
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	check("readable by others", local.ErrMode)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+"away"); err != nil {
		t.Fatal(err)
	}
	check("no file", local.ErrMissing)
	put(before)
	check("back again", nil)

	for _, change := range [][2]string{
		{`"owner": "ownera"`, `"owner": "ownerc"`}, {`"version": 1`, `"version": 7`}, {`"purposes": [`, `"purposes": ["seal",`}, {`"created": "2`, `"created": "1`},
		{`"serial": 2`, `"serial": 3`}, {`"purposes":`, `"cryptoperiod_days": {"object": 9}, "purposes":`},
	} {
		changed := strings.Replace(string(before), change[0], change[1], 1)
		if changed == string(before) {
			t.Fatalf("the file has no %s", change[0])
		}
		put([]byte(changed))
		check("changed: "+change[0], register.ErrChanged)
		if _, err := local.Open(path, secret); !errors.Is(err, register.ErrChanged) {
			t.Errorf("changed: %s: opens with %v", change[0], err)
		}
	}
	var document map[string]json.RawMessage
	var entries []json.RawMessage
	if err := errors.Join(json.Unmarshal(before, &document), json.Unmarshal(document["keys"], &entries)); err != nil {
		t.Fatal(err)
	}
	fewer, entriesErr := json.Marshal(entries[1:])
	document["keys"] = fewer
	without, err := json.Marshal(document)
	if err := errors.Join(err, entriesErr); err != nil {
		t.Fatal(err)
	}
	put(without)
	check("an entry taken away", register.ErrChanged)
	put([]byte("{"))
	if err := use(); err == nil || errors.Is(err, keys.ErrNoKey) {
		t.Errorf("no document: %v", err)
	}

	put(before)
	if err := k.DestroyOwner(t.Context(), "ownera"); err != nil {
		t.Fatal(err)
	}
	check("destroyed", keys.ErrNoKey)
	put(before)
	check("rolled back", register.ErrRolledBack)
	if err := k.EnsureOwners(t.Context(), "ownerd"); !errors.Is(err, register.ErrRolledBack) {
		t.Errorf("change of what was rolled back: %v", err)
	}

	other, otherPath := create(t, keys.LakePurposes, "ownera")
	text, err := os.ReadFile(otherPath)
	if err != nil {
		t.Fatal(err)
	}
	put(text)
	check("another keyring's file", register.ErrReplaced)
	_ = other
}

func TestChangeSecret(t *testing.T) {
	k, path := create(t, append(keys.LakePurposes, keys.Mint), "ownera", "ownerb")
	key, wrapped, err := k.NewDataKey(t.Context(), objectA)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.DestroyOwner(t.Context(), "ownerb"); err != nil {
		t.Fatal(err)
	}
	_, mint, err := k.Secret(t.Context(), keys.Scope{Owner: "ownera", Purpose: keys.Mint})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.ChangeSecret(t.Context(), []byte("short")); !errors.Is(err, local.ErrSecret) {
		t.Errorf("a short secret: %v", err)
	}
	newSecret := []byte("another secret for this test")
	if err := k.ChangeSecret(t.Context(), newSecret); err != nil {
		t.Fatal(err)
	}
	if _, err := k.UnwrapDataKey(t.Context(), objectA, wrapped); !errors.Is(err, register.ErrReplaced) {
		t.Errorf("opened with the old secret: %v", err)
	}
	if _, err := local.Open(path, secret); !errors.Is(err, local.ErrSecret) {
		t.Errorf("the old secret: %v", err)
	}
	again, err := local.Open(path, newSecret)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.UnwrapDataKey(t.Context(), objectA, wrapped); err != nil || !bytes.Equal(got.Bytes(), key.Bytes()) {
		t.Errorf("data key after the change: %v", err)
	}
	if _, got, err := again.Secret(t.Context(), keys.Scope{Owner: "ownera", Purpose: keys.Mint}); err != nil || !bytes.Equal(got.Bytes(), mint.Bytes()) {
		t.Errorf("secret after the change: %v", err)
	}
	if _, _, err := again.NewDataKey(t.Context(), objectB); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("destroyed owner after the change: %v", err)
	}
}

func TestCryptoperiod(t *testing.T) {
	k, path := create(t, append(keys.LakePurposes, keys.Mint), "ownera")
	const day = 24 * time.Hour
	for _, c := range []struct {
		purpose keys.Purpose
		period  time.Duration
		ok      bool
	}{{keys.Object, 90 * day, true}, {keys.Object, 6 * 365 * day, false}, {keys.Object, time.Hour, false}, {keys.Seal, 90 * day, false}} {
		if err := k.SetCryptoperiod(t.Context(), c.purpose, c.period); (err == nil) != c.ok {
			t.Errorf("cryptoperiod of %s of %v: error %v", c.purpose, c.period, err)
		}
	}
	list, err := reopen(t, path).Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[keys.Purpose]time.Duration{keys.Object: 90 * day, keys.Audit: 365 * day, keys.Mint: 730 * day}
	for _, e := range list {
		if got := e.RotateBy.Sub(e.Created); got != want[e.Purpose] {
			t.Errorf("%s is to be rotated after %v, want %v", e.Purpose, got, want[e.Purpose])
		}
	}
}

// Anything may be given as a wrapped key: it opens only if it is the very one.
func FuzzUnwrap(f *testing.F) {
	k, err := local.CreateQuick(filepath.Join(f.TempDir(), "k"), secret, keys.LakePurposes)
	if err != nil {
		f.Fatal(err)
	}
	if err := k.EnsureOwners(f.Context(), "ownera", "ownerb"); err != nil {
		f.Fatal(err)
	}
	_, wrapped, err := k.NewDataKey(f.Context(), objectA)
	if err != nil {
		f.Fatal(err)
	}
	_, foreign, err := k.NewDataKey(f.Context(), objectB)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{nil, {1}, wrapped, foreign, wrapped[:17], append(bytes.Clone(wrapped), 0)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := k.UnwrapDataKey(t.Context(), objectA, b)
		if bytes.Equal(b, wrapped) != (err == nil) {
			t.Errorf("%d bytes: error %v", len(b), err)
		}
		if err != nil && !errors.Is(err, keys.ErrUnwrap) && !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("unnamed error %v", err)
		}
	})
}

// BenchmarkDataKey makes and unwraps a data key, which Envelopes does once an owner and
// MaxAge.
func BenchmarkDataKey(b *testing.B) {
	k, err := local.CreateQuick(filepath.Join(b.TempDir(), "k"), secret, keys.LakePurposes)
	if err != nil {
		b.Fatal(err)
	}
	if err := k.EnsureOwners(b.Context(), "ownera"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, wrapped, err := k.NewDataKey(b.Context(), objectA)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := k.UnwrapDataKey(b.Context(), objectA, wrapped); err != nil {
			b.Fatal(err)
		}
	}
}
