package local

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	"golang.org/x/crypto/argon2"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/keystest"
	"github.com/cardlake/cardlake/keys/register"
)

// The master key and the secret are nowhere but in memory.
func TestMasterKeyIsNotShown(t *testing.T) {
	secret, path := keys.NewKey(), t.TempDir()+"/k"
	k, err := CreateQuick(path, secret.Bytes(), []keys.Purpose{keys.Mint})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.EnsureOwners(t.Context(), "ownera"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c custody
	if _, err := register.Open(t.Context(), path, func(text json.RawMessage) (register.Guard, error) {
		return guard{k.master}, json.Unmarshal(text, &c)
	}, private); err != nil {
		t.Fatal(err)
	}
	master := argon2.IDKey(secret.Bytes(), c.KDF.Salt, c.KDF.Time, c.KDF.MemoryKiB, c.KDF.Threads, 32)
	for _, material := range [][]byte{master, secret.Bytes()} {
		keystest.PrintsNoKey(t, material, string(text), k, *k, struct{ k Keyring }{*k}, guard{k.master}, k.register, c)
	}
}

// Even in a document with a right tag no version's material passes for another's.
func TestSwappedMaterial(t *testing.T) {
	k, err := CreateQuick(t.TempDir()+"/k", []byte("a secret for this test"), []keys.Purpose{keys.Mint, keys.Object})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.EnsureOwners(t.Context(), "ownera", "ownerb"); err != nil {
		t.Fatal(err)
	}
	err = k.register.Update(t.Context(), func(d *register.Document) error {
		for _, p := range d.Purposes {
			a, errA := d.Live(keys.Scope{Owner: "ownera", Purpose: p})
			b, errB := d.Live(keys.Scope{Owner: "ownerb", Purpose: p})
			if err := errors.Join(errA, errB); err != nil {
				return err
			}
			a[0].Wrapped, b[0].Wrapped = b[0].Wrapped, a[0].Wrapped
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range []keys.Owner{"ownera", "ownerb"} {
		if _, err := k.Live(t.Context(), keys.Scope{Owner: owner, Purpose: keys.Mint}); !errors.Is(err, keys.ErrUnwrap) {
			t.Errorf("another owner's secret: %v", err)
		}
		if _, _, err := k.NewDataKey(t.Context(), keys.Scope{Owner: owner, Purpose: keys.Object}); !errors.Is(err, keys.ErrUnwrap) {
			t.Errorf("another owner's wrapping key: %v", err)
		}
	}
}
