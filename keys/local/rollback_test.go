package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
)

// An old file is refused by who has seen a newer one, until a process that has not writes two changes on top.
func TestRollbackWithAChangeOnTop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	secret := []byte("a secret of this test")
	k, err := local.Create(path, secret, []keys.Purpose{keys.Seal, keys.Mint})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.EnsureOwners(t.Context(), "aaaa", "bbbb"); err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(path)
	if err := k.DestroyOwner(t.Context(), "aaaa"); err != nil {
		t.Fatal(err)
	}
	scope := keys.Scope{Owner: "aaaa", Purpose: keys.Mint}
	if err := os.WriteFile(path+".x", old, 0o600); err != nil {
		t.Fatal(err)
	}
	os.Rename(path+".x", path)
	_, err = k.Live(t.Context(), scope)
	if err == nil {
		t.Error("the older file is taken")
	}
	fresh, err := local.Open(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Rotate(t.Context(), keys.Scope{Owner: "bbbb", Purpose: keys.Seal}); err != nil {
		t.Fatal(err)
	}
	if live, err := k.Live(t.Context(), scope); err == nil {
		t.Errorf("one command later the running process serves the destroyed secret again: %d live", len(live))
	}
}
