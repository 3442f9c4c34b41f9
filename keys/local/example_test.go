package local_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
)

// A keyring seals for its owners until their keys are destroyed.
func Example() {
	dir, err := os.MkdirTemp("", "keyring")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	ring, err := local.CreateFile(filepath.Join(dir, "keyring"), filepath.Join(dir, "secret"), keys.LakePurposes)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := ring.EnsureOwners(ctx, keys.Lake); err != nil {
		fmt.Println(err)
		return
	}
	sealed, err := keys.NewEnvelopes(ring, keys.Object, keys.EnvelopeConfig{}).AppendSealed(ctx, nil, keys.Lake, []byte("hello"), nil)
	fmt.Println(len(sealed) > 5, err)
	if err := ring.DestroyOwner(ctx, keys.Lake); err != nil {
		fmt.Println(err)
		return
	}
	_, err = keys.NewEnvelopes(ring, keys.Object, keys.EnvelopeConfig{}).Open(ctx, nil, keys.Lake, sealed, nil)
	fmt.Println(err)
	// Output:
	// true <nil>
	// open for lake: unwrap data key of lake/object: no key any more: version 1 was destroyed
}
