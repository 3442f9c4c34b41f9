package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
)

var secret = []byte("a secret for this test")

func create(t *testing.T, purposes []keys.Purpose, owners ...keys.Owner) (*local.Keyring, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.keyring")
	k, err := local.CreateQuick(path, secret, purposes)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.EnsureOwners(context.Background(), owners...); err != nil {
		t.Fatal(err)
	}
	return k, path
}

func TestReopenUnwraps(t *testing.T) {
	ctx := context.Background()
	k, path := create(t, keys.LakePurposes, "ownera", "ownerb")
	scope := keys.Scope{Owner: "ownera", Purpose: keys.Object}
	key, wrapped, err := k.NewDataKey(ctx, scope)
	if err != nil {
		t.Fatal(err)
	}
	again, err := local.Open(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.UnwrapDataKey(ctx, scope, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), key.Bytes()) {
		t.Error("reopened keyring unwraps another key")
	}
}

func TestWrappedKeyOpensOnlyUnderItsScope(t *testing.T) {
	ctx := context.Background()
	k, _ := create(t, keys.LakePurposes, "ownera", "ownerb")
	scope := keys.Scope{Owner: "ownera", Purpose: keys.Object}
	_, wrapped, err := k.NewDataKey(ctx, scope)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []keys.Scope{{Owner: "ownerb", Purpose: keys.Object}, {Owner: "ownera", Purpose: keys.Audit}} {
		if _, err := k.UnwrapDataKey(ctx, other, wrapped); !errors.Is(err, keys.ErrUnwrap) {
			t.Errorf("under %s: error %v, want ErrUnwrap", other, err)
		}
	}
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		if _, err := k.UnwrapDataKey(ctx, scope, bad); err == nil {
			t.Errorf("wrapped key with byte %d changed opens", i)
		}
	}
	for n := range wrapped {
		if _, err := k.UnwrapDataKey(ctx, scope, wrapped[:n]); err == nil {
			t.Errorf("wrapped key cut to %d bytes opens", n)
		}
	}
}

func TestPurposesAreApart(t *testing.T) {
	ctx := context.Background()
	k, _ := create(t, keys.LakePurposes, "ownera")
	for _, p := range keys.CardPurposes {
		if _, _, err := k.NewDataKey(ctx, keys.Scope{Owner: "ownera", Purpose: p}); !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("lake keyring has a data key for %s: error %v", p, err)
		}
		if _, _, err := k.Secret(ctx, keys.Scope{Owner: "ownera", Purpose: p}); !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("lake keyring has a secret for %s: error %v", p, err)
		}
	}
}

func TestSecretsDifferByOwnerAndStay(t *testing.T) {
	ctx := context.Background()
	k, path := create(t, keys.CardPurposes, "ownera", "ownerb")
	_, a, err := k.Secret(ctx, keys.Scope{Owner: "ownera", Purpose: keys.Mint})
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := k.Secret(ctx, keys.Scope{Owner: "ownerb", Purpose: keys.Mint})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two owners share a secret")
	}
	again, err := local.Open(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	version, a2, err := again.Secret(ctx, keys.Scope{Owner: "ownera", Purpose: keys.Mint})
	if err != nil || version != 1 || !bytes.Equal(a.Bytes(), a2.Bytes()) {
		t.Errorf("reopened: version %d, error %v, equal %t", version, err, bytes.Equal(a.Bytes(), a2.Bytes()))
	}
}

func TestDestroyedOwnerIsGoneForAll(t *testing.T) {
	ctx := context.Background()
	k, path := create(t, keys.LakePurposes, "ownera", "ownerb")
	other, err := local.Open(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	scopeA, scopeB := keys.Scope{Owner: "ownera", Purpose: keys.Object}, keys.Scope{Owner: "ownerb", Purpose: keys.Object}
	_, wrappedA, _ := k.NewDataKey(ctx, scopeA)
	_, wrappedB, _ := k.NewDataKey(ctx, scopeB)
	if err := other.DestroyOwner(ctx, "ownera"); err != nil {
		t.Fatal(err)
	}
	again, err := local.Open(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]*local.Keyring{"destroyer": other, "reopened": again} {
		if _, err := k.UnwrapDataKey(ctx, scopeA, wrappedA); !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("%s: destroyed owner's key opens: error %v", name, err)
		}
		if _, err := k.UnwrapDataKey(ctx, scopeB, wrappedB); err != nil {
			t.Errorf("%s: the other owner is harmed: %v", name, err)
		}
		if err := k.EnsureOwners(ctx, "ownera"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := k.NewDataKey(ctx, scopeA); !errors.Is(err, keys.ErrNoKey) {
			t.Errorf("%s: destroyed owner came back: error %v", name, err)
		}
	}
}

func TestOwnerAddedByAnotherProcessIsFound(t *testing.T) {
	ctx := context.Background()
	k, path := create(t, keys.LakePurposes, "ownera")
	reader, err := local.Open(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.EnsureOwners(ctx, "ownerb"); err != nil {
		t.Fatal(err)
	}
	scope := keys.Scope{Owner: "ownerb", Purpose: keys.Object}
	_, wrapped, err := k.NewDataKey(ctx, scope)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.UnwrapDataKey(ctx, scope, wrapped); err != nil {
		t.Errorf("reader does not see the new owner: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, path := create(t, keys.LakePurposes, "ownera")
	if _, err := local.Open(path, []byte("another secret, long enough")); !errors.Is(err, local.ErrSecret) {
		t.Errorf("wrong secret: error %v, want ErrSecret", err)
	}
	if _, err := local.Open(path, nil); !errors.Is(err, local.ErrSecret) {
		t.Errorf("no secret: error %v, want ErrSecret", err)
	}
	if _, err := local.Open(path+"x", secret); !errors.Is(err, local.ErrMissing) {
		t.Errorf("no file: error %v, want ErrMissing", err)
	}
	if _, err := local.Create(path, secret, keys.LakePurposes); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over a keyring: error %v, want ErrExist", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.Replace(string(text), `"purpose": "object"`, `"purpose": "audit"`, 1)
	if err := os.WriteFile(path, []byte(swapped), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Open(path, secret); err == nil {
		t.Error("opens with two entries of one name")
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Open(path, secret); err == nil {
		t.Error("an empty object opens as a keyring")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Open(path, secret); !errors.Is(err, local.ErrMode) {
		t.Errorf("file readable by the group: error %v, want ErrMode", err)
	}
}

func TestNoKeyBytesOnDiskOrInPrint(t *testing.T) {
	ctx := context.Background()
	k, path := create(t, keys.CardPurposes, "ownera")
	_, mint, err := k.Secret(ctx, keys.Scope{Owner: "ownera", Purpose: keys.Mint})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, mint.Bytes()) || bytes.Contains(text, secret) {
		t.Error("keyring file holds a key or its secret in clear")
	}
	type holder struct{ k keys.Key } // fmt walks unexported fields without calling Format
	type outer struct{ h holder }
	leaks := []string{fmt.Sprintf("%x", mint.Bytes()[:4]), fmt.Sprintf("%X", mint.Bytes()[:4]), strings.Trim(fmt.Sprint(mint.Bytes()[:4]), "[]")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%c", "%t", "%p"} {
		for _, v := range []any{mint, &mint, holder{mint}, &holder{mint}, outer{holder{mint}}, []keys.Key{mint}, map[int]keys.Key{1: mint}} {
			out := fmt.Sprintf(verb, v)
			for _, leak := range leaks {
				if strings.Contains(out, leak) {
					t.Errorf("%s of %T prints key bytes", verb, v)
				}
			}
		}
	}
}
