package keyflags

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/kms"
	"github.com/cardlake/cardlake/keys/local"
)

// Keyring is what both kinds of keyring do, to be passed on as what of it is needed.
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

// Open opens the keyring, the same at every call: a passphrase is made slow to try, so trying it
// twice would take a command longer than its work. An error says what to do. One goroutine at a
// time may call it.
func (r *Ring) Open(ctx context.Context) (Keyring, error) {
	if r.opened != nil {
		return r.opened, nil
	}
	k, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	r.opened = k
	return k, nil
}

func (r *Ring) open(ctx context.Context) (Keyring, error) {
	if r.KMS != "" {
		return r.OpenKMS(ctx)
	}
	k, err := local.OpenFile(r.File, r.Secret)
	switch {
	case err == nil:
		return k, nil
	case errors.Is(err, local.ErrMissing):
		return nil, r.missing()
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s with the keyring's passphrase: give it with -%s-secret", r.Secret, r.name)
	case errors.Is(err, local.ErrSecret):
		return nil, fmt.Errorf("the passphrase in %s does not open the keyring %s: give the right ones with -%s and -%s-secret", r.Secret, r.File, r.name, r.name)
	default:
		return nil, fmt.Errorf("-%s: %w", r.name, err)
	}
}

// OpenKMS opens a keyring whose keys are in KMS. An error says what to do.
func (r *Ring) OpenKMS(ctx context.Context) (*kms.Keyring, error) {
	client, err := r.flags.client(ctx)
	if err != nil {
		return nil, err
	}
	k, err := kms.Open(ctx, r.File, client, kms.Config{RegisterKey: r.KMS})
	if errors.Is(err, local.ErrMissing) {
		return nil, r.missing()
	}
	if err != nil {
		return nil, fmt.Errorf("-%s, -%s: %w", r.name, r.kmsName, err)
	}
	return k, nil
}

// missing wraps local.ErrMissing.
func (r *Ring) missing() error {
	return fmt.Errorf("there is %w %s: give it with -%s, or make it with \"cardlake-vault keys create\"", local.ErrMissing, r.File, r.name)
}

// Create makes the keyring, without keys, and the folder that it is in. Its file must not be
// there.
func (r *Ring) Create(ctx context.Context) (Keyring, error) {
	if err := os.MkdirAll(filepath.Dir(r.File), 0o700); err != nil {
		return nil, err
	}
	if r.KMS == "" {
		return local.CreateFile(r.File, r.Secret, r.purposes)
	}
	client, err := r.flags.client(ctx)
	if err != nil {
		return nil, err
	}
	return kms.Create(ctx, r.File, client, r.purposes, kms.Config{RegisterKey: r.KMS})
}

// client reaches KMS, as AWS does. It calls nobody yet.
func (f *Flags) client(ctx context.Context) (*awskms.Client, error) {
	cfg, err := f.AWS(ctx)
	if err != nil {
		return nil, err
	}
	return awskms.NewFromConfig(cfg, func(o *awskms.Options) {
		if f.Endpoint != "" {
			o.BaseEndpoint = &f.Endpoint
		}
	}), nil
}
