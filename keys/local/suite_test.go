package local_test

import (
	"path/filepath"
	"testing"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/keystest"
	"github.com/cardlake/cardlake/keys/local"
)

func TestSuite(t *testing.T) {
	keystest.Run(t, keystest.Site{New: func(t *testing.T, purposes []keys.Purpose) (keystest.Keyring, func() keystest.Keyring) {
		path := filepath.Join(t.TempDir(), "test.keyring")
		k, err := local.CreateQuick(path, secret, purposes)
		if err != nil {
			t.Fatal(err)
		}
		return k, func() keystest.Keyring {
			again, err := local.Open(path, secret)
			if err != nil {
				t.Fatal(err)
			}
			return again
		}
	}})
}
