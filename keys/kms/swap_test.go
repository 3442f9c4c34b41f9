package kms

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/kmstest"
	"github.com/cardlake/cardlake/keys/register"
)

// Even who may sign the register cannot make one version's secret pass for another's, nor a
// secret for a data key: the encryption context tells.
func TestSwappedSecrets(t *testing.T) {
	server := kmstest.New(kmstest.Config{Principals: map[string]kmstest.Principal{
		"AKIA": {ARN: "arn:aws:iam::" + kmstest.Account + ":role/x", Secret: "s", IAM: []string{"kms:*"}},
	}})
	web := httptest.NewServer(server)
	defer web.Close()
	client := server.Client(web.URL, "eu-west-1", "AKIA")
	registerKey, err := NewRegisterKey(t.Context(), client, "", false)
	if err != nil {
		t.Fatal(err)
	}
	k, err := Create(t.Context(), t.TempDir()+"/register", client, []keys.Purpose{keys.Mint, keys.Seal}, Config{RegisterKey: registerKey})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.EnsureOwners(t.Context(), "ownera", "ownerb"); err != nil {
		t.Fatal(err)
	}
	swap := func(both bool) {
		t.Helper()
		err := k.register.Update(t.Context(), func(d *register.Document) error {
			a, err := d.Live(keys.Scope{Owner: "ownera", Purpose: keys.Mint})
			if err != nil {
				return err
			}
			b, err := d.Live(keys.Scope{Owner: "ownerb", Purpose: keys.Mint})
			if err != nil {
				return err
			}
			a[0].Wrapped, b[0].Wrapped = b[0].Wrapped, a[0].Wrapped
			if both {
				a[0].KMSKey, b[0].KMSKey = b[0].KMSKey, a[0].KMSKey
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, both := range []bool{false, true} {
		swap(both)
		for _, owner := range []keys.Owner{"ownera", "ownerb"} {
			if _, err := k.Live(t.Context(), keys.Scope{Owner: owner, Purpose: keys.Mint}); !errors.Is(err, keys.ErrUnwrap) {
				t.Errorf("swapped, with their KMS keys %t: %v", both, err)
			}
		}
		swap(both)
	}
	s, err := k.register.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mint, err := s.Secrets(keys.Scope{Owner: "ownera", Purpose: keys.Mint})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.decrypt(t.Context(), mint[0], mint[0].Wrapped, scopeContext(mint[0].Scope())); !errors.Is(err, keys.ErrUnwrap) {
		t.Errorf("a secret opens as a data key: %v", err)
	}
}
