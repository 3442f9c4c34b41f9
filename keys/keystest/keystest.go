// Package keystest is the suite that every keyring passes: keys/local, keys/kms over the KMS
// of package keys/kmstest, and keys/kms over AWS when its test is given real keys.
package keystest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/register"
)

// Keyring is what every keyring does.
type Keyring interface {
	keys.Provider
	keys.Secrets
	keys.LiveSecrets
	EnsureOwners(ctx context.Context, owners ...keys.Owner) error
	Rotate(ctx context.Context, scope keys.Scope) (version int, err error)
	DestroyVersion(ctx context.Context, scope keys.Scope, version int) error
	DestroyOwner(ctx context.Context, owner keys.Owner) error
	Inventory(ctx context.Context) ([]keys.Entry, error)
}

// Site makes keyrings.
type Site struct {
	// New returns a new keyring for the purposes, and a function that opens it once more, as
	// another process would.
	New func(t *testing.T, purposes []keys.Purpose) (k Keyring, again func() Keyring)
	// Dear says that calls cost money or time: the suite samples where it would try all.
	Dear bool
}

// Run runs the suite.
func Run(t *testing.T, s Site) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Site)
	}{
		{"a data key opens again, elsewhere too", opensAgain},
		{"a wrapped key opens only as it was wrapped", opensAsWrapped},
		{"purposes are apart", purposesApart},
		{"secrets differ by owner and stay", secretsStay},
		{"rotation keeps what is old", rotates},
		{"a destroyed version is gone", versionGone},
		{"a destroyed owner is gone for every process", ownerGone},
		{"processes do not undo each other's changes", noLostChange},
		{"the inventory tells all but keys", inventory},
		{"nothing prints a key", prints},
		{"use and change at a time", atATime},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
}

// owner is a new one, so that a suite's keys in a real service meet no others.
func owner() keys.Owner {
	var b [8]byte
	rand.Read(b[:])
	return keys.Owner(cardlake.AppendLetters(nil, b[:]))
}

// with returns a keyring with n owners, who are destroyed in the end.
func with(t *testing.T, s Site, n int, purposes ...keys.Purpose) (k Keyring, again func() Keyring, owners []keys.Owner) {
	t.Helper()
	k, again = s.New(t, purposes)
	for range n {
		owners = append(owners, owner())
	}
	if err := k.EnsureOwners(t.Context(), owners...); err != nil {
		t.Fatal(err)
	}
	if s.Dear {
		t.Cleanup(func() {
			for _, o := range owners {
				if err := k.DestroyOwner(context.Background(), o); err != nil && !errors.Is(err, keys.ErrNoKey) {
					t.Errorf("keys of %s are left in the service: %v", o, err)
				}
			}
		})
	}
	return k, again, owners
}

func newKey(t *testing.T, k Keyring, scope keys.Scope) (keys.Key, []byte) {
	t.Helper()
	key, wrapped, err := k.NewDataKey(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	return key, wrapped
}

func opens(t *testing.T, k Keyring, scope keys.Scope, wrapped []byte, want keys.Key) {
	t.Helper()
	got, err := k.UnwrapDataKey(t.Context(), scope, wrapped)
	if err != nil {
		t.Errorf("unwrap: %v", err)
	} else if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Error("unwraps to another key")
	}
}

func refuses(t *testing.T, what string, err error, want ...error) {
	t.Helper()
	if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		t.Errorf("%s: error %v, want one of %v", what, err, want)
	}
}

func unwrapErr(t *testing.T, k Keyring, scope keys.Scope, wrapped []byte) error {
	t.Helper()
	key, err := k.UnwrapDataKey(t.Context(), scope, wrapped)
	if err != nil && !key.IsZero() {
		t.Error("a key comes with an error")
	}
	return err
}

func opensAgain(t *testing.T, s Site) {
	k, again, owners := with(t, s, 1, keys.Object)
	scope := keys.Scope{Owner: owners[0], Purpose: keys.Object}
	key, wrapped := newKey(t, k, scope)
	other, otherWrapped := newKey(t, k, scope)
	if bytes.Equal(key.Bytes(), other.Bytes()) || bytes.Equal(wrapped, otherWrapped) {
		t.Error("two data keys are the same")
	}
	if bytes.Contains(wrapped, key.Bytes()[:8]) {
		t.Error("the wrapped key holds the key in clear")
	}
	opens(t, k, scope, wrapped, key)
	opens(t, again(), scope, wrapped, key)
}

func opensAsWrapped(t *testing.T, s Site) {
	k, _, owners := with(t, s, 2, keys.Object, keys.Audit)
	scope := keys.Scope{Owner: owners[0], Purpose: keys.Object}
	_, wrapped := newKey(t, k, scope)
	_, foreign := newKey(t, k, keys.Scope{Owner: owners[1], Purpose: keys.Object})
	_, audit := newKey(t, k, keys.Scope{Owner: owners[0], Purpose: keys.Audit})
	refuses(t, "another owner's", unwrapErr(t, k, scope, foreign), keys.ErrUnwrap)
	refuses(t, "another purpose's", unwrapErr(t, k, scope, audit), keys.ErrUnwrap)
	const header = 17 // version byte and id
	refuses(t, "another owner's body", unwrapErr(t, k, scope, slices.Concat(wrapped[:header], foreign[header:])), keys.ErrUnwrap)
	refuses(t, "another owner's head", unwrapErr(t, k, scope, slices.Concat(foreign[:header], wrapped[header:])), keys.ErrUnwrap)
	refuses(t, "another owner's head, as that owner", unwrapErr(t, k, keys.Scope{Owner: owners[1], Purpose: keys.Object}, slices.Concat(foreign[:header], wrapped[header:])), keys.ErrUnwrap)
	refuses(t, "no such key", unwrapErr(t, k, scope, slices.Concat(wrapped[:1], bytes.Repeat([]byte("q"), header-1), wrapped[header:])), keys.ErrNoKey)
	refuses(t, "nothing", unwrapErr(t, k, scope, nil), keys.ErrUnwrap)
	refuses(t, "too long", unwrapErr(t, k, scope, append(bytes.Clone(wrapped), make([]byte, 60_000)...)), keys.ErrUnwrap)
	step := 1
	if s.Dear {
		step = 40
	}
	for i := 0; i < len(wrapped); i += step {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		refuses(t, fmt.Sprintf("byte %d changed", i), unwrapErr(t, k, scope, bad), keys.ErrUnwrap, keys.ErrNoKey)
		refuses(t, fmt.Sprintf("cut to %d bytes", i), unwrapErr(t, k, scope, wrapped[:i]), keys.ErrUnwrap)
	}
}

func purposesApart(t *testing.T, s Site) {
	k, _, owners := with(t, s, 1, keys.Seal, keys.Mint)
	for _, p := range slices.Concat(keys.CardPurposes, keys.LakePurposes, []keys.Purpose{"", "no such purpose"}) {
		scope := keys.Scope{Owner: owners[0], Purpose: p}
		if p != keys.Seal {
			_, _, err := k.NewDataKey(t.Context(), scope)
			refuses(t, "data key for "+string(p), err, keys.ErrNoKey)
		}
		if p != keys.Mint {
			_, _, err := k.Secret(t.Context(), scope)
			refuses(t, "secret for "+string(p), err, keys.ErrNoKey)
			_, err = k.Live(t.Context(), scope)
			refuses(t, "secrets for "+string(p), err, keys.ErrNoKey)
		}
		_, _, err := k.NewDataKey(t.Context(), keys.Scope{Owner: "nobody", Purpose: p})
		refuses(t, "data key of nobody", err, keys.ErrNoKey)
	}
}

func secretsStay(t *testing.T, s Site) {
	k, again, owners := with(t, s, 2, keys.Mint, keys.Format)
	seen := map[string]bool{}
	for _, o := range owners {
		for _, p := range []keys.Purpose{keys.Mint, keys.Format} {
			scope := keys.Scope{Owner: o, Purpose: p}
			version, key, err := k.Secret(t.Context(), scope)
			if err != nil || version != 1 {
				t.Fatalf("version %d, error %v", version, err)
			}
			if seen[string(key.Bytes())] {
				t.Error("two scopes share a secret")
			}
			seen[string(key.Bytes())] = true
			first := bytes.Clone(key.Bytes())
			key.Destroy() // the caller's copy
			_, key, err = again().Secret(t.Context(), scope)
			if err != nil || !bytes.Equal(key.Bytes(), first) {
				t.Errorf("opened again: another secret, error %v", err)
			}
		}
	}
}

func rotates(t *testing.T, s Site) {
	k, again, owners := with(t, s, 1, keys.Object, keys.Mint)
	elsewhere := again()
	scope := keys.Scope{Owner: owners[0], Purpose: keys.Object}
	key, wrapped := newKey(t, k, scope)
	if v, err := k.Rotate(t.Context(), scope); v != 2 || err != nil {
		t.Fatalf("rotate: version %d, error %v", v, err)
	}
	opens(t, k, scope, wrapped, key)
	newer, newerWrapped := newKey(t, elsewhere, scope)
	if bytes.Equal(wrapped[:17], newerWrapped[:17]) {
		t.Error("another process goes on wrapping under the old version")
	}
	opens(t, k, scope, newerWrapped, newer)
	opens(t, elsewhere, scope, wrapped, key)

	scope.Purpose = keys.Mint
	_, first, err := k.Secret(t.Context(), scope)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := elsewhere.Rotate(t.Context(), scope); v != 2 || err != nil {
		t.Fatalf("rotate: version %d, error %v", v, err)
	}
	live, err := k.Live(t.Context(), scope)
	if err != nil || len(live) != 2 || live[0].Version != 2 || live[1].Version != 1 {
		t.Fatalf("live %v, error %v", live, err)
	}
	if !bytes.Equal(live[1].Key.Bytes(), first.Bytes()) || bytes.Equal(live[0].Key.Bytes(), first.Bytes()) {
		t.Error("the old secret changed, or the new one is the old")
	}
	if v, newest, err := k.Secret(t.Context(), scope); v != 2 || err != nil || !bytes.Equal(newest.Bytes(), live[0].Key.Bytes()) {
		t.Errorf("newest secret: version %d, error %v", v, err)
	}
	_, err = k.Rotate(t.Context(), keys.Scope{Owner: "nobody", Purpose: keys.Object})
	refuses(t, "rotate nobody's", err, keys.ErrNoKey)
}

func versionGone(t *testing.T, s Site) {
	k, again, owners := with(t, s, 1, keys.Object, keys.Mint)
	elsewhere := again()
	for _, p := range []keys.Purpose{keys.Object, keys.Mint} {
		scope := keys.Scope{Owner: owners[0], Purpose: p}
		var old, newer []byte
		var newerKey keys.Key
		if p == keys.Object {
			_, old = newKey(t, k, scope)
		}
		refuses(t, "destroy the only version", k.DestroyVersion(t.Context(), scope, 1), register.ErrActive)
		if _, err := k.Rotate(t.Context(), scope); err != nil {
			t.Fatal(err)
		}
		if p == keys.Object {
			newerKey, newer = newKey(t, elsewhere, scope)
		}
		refuses(t, "destroy the active version", k.DestroyVersion(t.Context(), scope, 2), register.ErrActive)
		refuses(t, "destroy what never was", k.DestroyVersion(t.Context(), scope, 3), keys.ErrNoKey)
		if err := k.DestroyVersion(t.Context(), scope, 1); err != nil {
			t.Fatal(err)
		}
		refuses(t, "destroy twice", k.DestroyVersion(t.Context(), scope, 1), keys.ErrNoKey)
		for name, k := range map[string]Keyring{"destroyer": k, "other process": elsewhere, "reopened": again()} {
			if p == keys.Object {
				refuses(t, name+": under the destroyed version", unwrapErr(t, k, scope, old), keys.ErrNoKey)
				opens(t, k, scope, newer, newerKey)
				continue
			}
			live, err := k.Live(t.Context(), scope)
			if err != nil || len(live) != 1 || live[0].Version != 2 {
				t.Errorf("%s: live %v, error %v", name, live, err)
			}
		}
		if v, err := k.Rotate(t.Context(), scope); v != 3 || err != nil {
			t.Errorf("rotate: version %d, error %v", v, err)
		}
	}
}

func ownerGone(t *testing.T, s Site) {
	k, again, owners := with(t, s, 2, keys.Object, keys.Mint)
	elsewhere := again()
	gone, stays := keys.Scope{Owner: owners[0], Purpose: keys.Object}, keys.Scope{Owner: owners[1], Purpose: keys.Object}
	_, goneWrapped := newKey(t, elsewhere, gone)
	staysKey, staysWrapped := newKey(t, elsewhere, stays)
	if _, err := k.Rotate(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if err := k.DestroyOwner(t.Context(), owners[0]); err != nil {
		t.Fatal(err)
	}
	refuses(t, "destroy twice", k.DestroyOwner(t.Context(), owners[0]), keys.ErrNoKey)
	refuses(t, "destroy nobody", k.DestroyOwner(t.Context(), "nobody"), keys.ErrNoKey)
	for name, k := range map[string]Keyring{"destroyer": k, "other process": elsewhere, "reopened": again()} {
		if err := k.EnsureOwners(t.Context(), owners...); err != nil {
			t.Fatal(err)
		}
		refuses(t, name+": unwrap", unwrapErr(t, k, gone, goneWrapped), keys.ErrNoKey)
		_, _, err := k.NewDataKey(t.Context(), gone)
		refuses(t, name+": new data key", err, keys.ErrNoKey)
		_, err = k.Live(t.Context(), keys.Scope{Owner: owners[0], Purpose: keys.Mint})
		refuses(t, name+": secrets", err, keys.ErrNoKey)
		_, _, err = k.Secret(t.Context(), keys.Scope{Owner: owners[0], Purpose: keys.Mint})
		refuses(t, name+": secret", err, keys.ErrNoKey)
		_, err = k.Rotate(t.Context(), gone)
		refuses(t, name+": rotate", err, keys.ErrNoKey)
		opens(t, k, stays, staysWrapped, staysKey)
		if live, err := k.Live(t.Context(), keys.Scope{Owner: owners[1], Purpose: keys.Mint}); err != nil || len(live) != 1 {
			t.Errorf("%s: the other owner's secrets: %d, error %v", name, len(live), err)
		}
	}
}

func noLostChange(t *testing.T, s Site) {
	k, again, owners := with(t, s, 1, keys.Object)
	elsewhere := again()
	if err := k.DestroyOwner(t.Context(), owners[0]); err != nil {
		t.Fatal(err)
	}
	added := owner()
	if err := elsewhere.EnsureOwners(t.Context(), owners[0], added); err != nil {
		t.Fatal(err)
	}
	_, _, err := k.NewDataKey(t.Context(), keys.Scope{Owner: owners[0], Purpose: keys.Object})
	refuses(t, "a destroyed key after another process's change", err, keys.ErrNoKey)
	if s.Dear {
		if err := k.DestroyOwner(t.Context(), added); err != nil {
			t.Error(err)
		}
		return
	}
	var changes sync.WaitGroup
	var many []keys.Owner
	for i := range 8 {
		o, who := owner(), []Keyring{k, elsewhere}[i%2]
		many = append(many, o)
		changes.Go(func() {
			if err := who.EnsureOwners(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	changes.Wait()
	for _, o := range many {
		newKey(t, k, keys.Scope{Owner: o, Purpose: keys.Object})
	}
}

func inventory(t *testing.T, s Site) {
	start := time.Now().Add(-time.Minute)
	k, again, owners := with(t, s, 2, keys.Reverse, keys.Mint)
	scope := keys.Scope{Owner: owners[0], Purpose: keys.Mint}
	for range 2 {
		if _, err := k.Rotate(t.Context(), scope); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.DestroyVersion(t.Context(), scope, 1); err != nil {
		t.Fatal(err)
	}
	if err := k.DestroyOwner(t.Context(), owners[1]); err != nil {
		t.Fatal(err)
	}
	list, err := again().Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone := keys.Destroyed
	got := map[string]keys.State{}
	ids := map[string]bool{}
	for _, e := range list {
		if e.State == keys.Pending {
			e.State = gone // a service may wait with it
		}
		got[fmt.Sprintf("%s %d", e.Scope(), e.Version)] = e.State
		if ids[e.ID] || e.ID == "" || e.Created.Before(start) || e.Algorithm == "" || e.Bits != 256 || e.Usage == "" || e.Custody == "" {
			t.Errorf("incomplete entry %+v", e)
		}
		ids[e.ID] = true
		if !e.RotateBy.After(e.Created.Add(89*24*time.Hour)) || e.IsOverdue(e.Created) || e.State == keys.Active && !e.IsOverdue(e.RotateBy.Add(time.Hour)) {
			t.Errorf("%s %d: created %v, rotate by %v", e.Scope(), e.Version, e.Created, e.RotateBy)
		}
		if (e.State == gone) != (!e.Destroyed.IsZero()) {
			t.Errorf("%s %d is %s since %v", e.Scope(), e.Version, e.State, e.Destroyed)
		}
	}
	name := func(o keys.Owner, p keys.Purpose, v int) string { return fmt.Sprintf("%s/%s %d", o, p, v) }
	want := map[string]keys.State{
		name(owners[0], keys.Reverse, 1): keys.Active,
		name(owners[0], keys.Mint, 1):    gone,
		name(owners[0], keys.Mint, 2):    keys.Retired,
		name(owners[0], keys.Mint, 3):    keys.Active,
		name(owners[1], keys.Reverse, 1): gone,
		name(owners[1], keys.Mint, 1):    gone,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
}

func prints(t *testing.T, s Site) {
	k, _, owners := with(t, s, 1, keys.Object, keys.Mint)
	scope := keys.Scope{Owner: owners[0], Purpose: keys.Object}
	key, wrapped := newKey(t, k, scope)
	_, wrongErr := k.UnwrapDataKey(t.Context(), keys.Scope{Owner: owners[0], Purpose: keys.Audit}, wrapped)
	bad := bytes.Clone(wrapped)
	bad[len(bad)-1] ^= 1
	_, badErr := k.UnwrapDataKey(t.Context(), scope, bad)
	PrintsNoKey(t, key.Bytes(), k, key, wrongErr, badErr)
	for _, err := range []error{wrongErr, badErr} {
		if err == nil || shows(err.Error(), spellings(wrapped[len(wrapped)-44:])) {
			t.Errorf("error %v, want one that shows nothing of the wrapped key", err)
		}
	}
	mint := keys.Scope{Owner: owners[0], Purpose: keys.Mint}
	live, err := k.Live(t.Context(), mint)
	if err != nil {
		t.Fatal(err)
	}
	list, err := k.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	PrintsNoKey(t, live[0].Key.Bytes(), k, live, live[0], &live[0], struct{ s keys.Secret }{live[0]}, list)
}

// atATime uses keys while others change the keyring: every answer is right or a named
// refusal, and no secret is ever another than it was.
func atATime(t *testing.T, s Site) {
	if s.Dear {
		t.Skip("too many calls for a real service")
	}
	k, again, owners := with(t, s, 1, keys.Object, keys.Mint)
	elsewhere := again()
	object, mint := keys.Scope{Owner: owners[0], Purpose: keys.Object}, keys.Scope{Owner: owners[0], Purpose: keys.Mint}
	key, wrapped := newKey(t, k, object)
	_, first, err := k.Secret(t.Context(), mint)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var users sync.WaitGroup
	for _, k := range []Keyring{k, elsewhere, k} {
		users.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				opens(t, k, object, wrapped, key)
				live, err := k.Live(t.Context(), mint)
				if err != nil {
					t.Error(err)
					return
				}
				if oldest := live[len(live)-1]; oldest.Version != 1 || !bytes.Equal(oldest.Key.Bytes(), first.Bytes()) {
					t.Error("the first secret is another than it was")
				}
				for _, s := range live {
					s.Destroy()
				}
			}
		})
	}
	for range 5 {
		for _, who := range []Keyring{k, elsewhere} {
			_, objectErr := who.Rotate(t.Context(), object)
			_, mintErr := who.Rotate(t.Context(), mint)
			if err := errors.Join(objectErr, mintErr, who.EnsureOwners(t.Context(), owner())); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	users.Wait()
}
