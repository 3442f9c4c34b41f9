// Package local is a keyring in one file, for one machine: the embedded default, where no
// key management service is at hand. The file holds key-encryption keys and secrets, each
// wrapped with AES-256-GCM under a master key that Argon2id (RFC 9106) derives from a
// passphrase or from a secret the operating system keeps; the passphrase is never in it.
//
// A keyring serves the purposes it was created for. The demo keeps two: one for zone A
// (seal, mint, reverse, index, format), one for the lake (object, audit), so that a process
// which was given the second cannot open a card number.
//
// A destroyed key stops working at the next call of every keyring that has the file open, in
// whatever process; data keys that [keys.Envelopes] opened before stay in use there for as
// long as its configuration says. Destroying takes the key out of the file: copies of the
// file from before still hold it, so backups of it are to be kept no longer than a destroyed
// key may be recovered. No operation exports a clear key-encryption key.
package local

import (
	"context"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/register"
)

var (
	// ErrSecret says that the passphrase does not open the keyring.
	ErrSecret = errors.New("the secret does not open this keyring")
	// ErrMissing says that there is no keyring file.
	ErrMissing = register.ErrMissing
	// ErrMode says that others than the owner may read the file.
	ErrMode = register.ErrMode
)

// Keyring implements keys.Provider, keys.Secrets and keys.LiveSecrets. It is safe for
// concurrent use, and several processes may use and change a keyring file at a time.
type Keyring struct {
	register *register.Register
	master   cipher.AEAD
}

// Format implements fmt.Formatter: every verb prints where the keyring lies, nothing else.
func (k Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// String names the keyring's file.
func (k Keyring) String() string {
	if k.register == nil {
		return "keyring"
	}
	return "keyring " + k.register.Path()
}

// LogValue implements slog.LogValuer.
func (k Keyring) LogValue() slog.Value { return slog.StringValue(k.String()) }

var private = register.Options{Private: true}

// Create makes a keyring file for the purposes, with no keys yet, mode 0600. The file must
// not exist. The secret is not kept.
func Create(path string, secret []byte, purposes []keys.Purpose) (*Keyring, error) {
	return create(path, secret, purposes, newKDF())
}

func create(path string, secret []byte, purposes []keys.Purpose, p kdf) (*Keyring, error) {
	c, master, err := newCustody(secret, p)
	if err != nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, err)
	}
	d := register.Document{Custody: text, Purposes: slices.Clone(purposes), Keys: []register.Entry{}}
	r, err := register.Create(context.Background(), path, d, guard{master}, private)
	if err != nil {
		return nil, err
	}
	return &Keyring{r, master}, nil
}

// Open reads the keyring file at path with its secret. The errors ErrMissing, ErrMode and
// ErrSecret tell what is wrong.
func Open(path string, secret []byte) (*Keyring, error) {
	k := new(Keyring)
	var err error
	k.register, err = register.Open(context.Background(), path, func(text json.RawMessage) (register.Guard, error) {
		var c custody
		if err := json.Unmarshal(text, &c); err != nil {
			return nil, errors.New("how the keyring is kept does not parse")
		}
		var err error
		k.master, err = c.open(secret)
		return guard{k.master}, err
	}, private)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// entryAAD binds an entry's wrapped bytes to all that names it, so that entries can't be
// swapped.
func entryAAD(e *register.Entry) []byte {
	return fmt.Appendf(nil, "cardlake keyring entry\x00%s\x00%s\x00%s\x00%d", e.ID, e.Owner, e.Purpose, e.Version)
}

// fill gives a new entry its material.
func (k *Keyring) fill(e register.Entry) register.Entry {
	key := keys.NewKey()
	defer key.Destroy()
	e.Wrapped = seal(k.master, key.Bytes(), entryAAD(&e))
	return e
}

// keyOf opens an entry's material, which the caller destroys.
func (k *Keyring) keyOf(e *register.Entry) (keys.Key, error) {
	plain, err := open(k.master, e.Wrapped, entryAAD(e))
	if err != nil {
		return keys.Key{}, fmt.Errorf("version %d of %s: %w", e.Version, e.Scope(), err)
	}
	defer clear(plain)
	return keys.KeyFrom(plain)
}

func dataKeyAAD(scope keys.Scope) []byte { return []byte("cardlake data key\x00" + scope.String()) }

// NewDataKey implements keys.Provider. The wrapped key has 77 bytes.
func (k *Keyring) NewDataKey(ctx context.Context, scope keys.Scope) (keys.Key, []byte, error) {
	s, err := k.register.Current(ctx)
	if err != nil {
		return keys.Key{}, nil, err
	}
	e, err := s.Wrapping(scope)
	if err != nil {
		return keys.Key{}, nil, err
	}
	kek, err := k.keyOf(e)
	if err != nil {
		return keys.Key{}, nil, err
	}
	defer kek.Destroy()
	key := keys.NewKey()
	return key, append(e.Header(), seal(newGCM(kek.Bytes()), key.Bytes(), dataKeyAAD(scope))...), nil
}

// UnwrapDataKey implements keys.Provider.
func (k *Keyring) UnwrapDataKey(ctx context.Context, scope keys.Scope, wrapped []byte) (keys.Key, error) {
	key, err := k.unwrap(ctx, scope, wrapped)
	if err != nil {
		return keys.Key{}, fmt.Errorf("unwrap data key of %s: %w", scope, err)
	}
	return key, nil
}

func (k *Keyring) unwrap(ctx context.Context, scope keys.Scope, wrapped []byte) (keys.Key, error) {
	s, err := k.register.Current(ctx)
	if err != nil {
		return keys.Key{}, err
	}
	e, body, err := s.Unwrapping(scope, wrapped)
	if err != nil {
		return keys.Key{}, err
	}
	kek, err := k.keyOf(e)
	if err != nil {
		return keys.Key{}, err
	}
	defer kek.Destroy()
	plain, err := open(newGCM(kek.Bytes()), body, dataKeyAAD(scope))
	if err != nil {
		return keys.Key{}, err
	}
	defer clear(plain)
	if len(plain) != 32 {
		return keys.Key{}, keys.ErrUnwrap
	}
	return keys.KeyFrom(plain)
}

// Secret implements keys.Secrets.
func (k *Keyring) Secret(ctx context.Context, scope keys.Scope) (int, keys.Key, error) {
	s, err := k.register.Current(ctx)
	if err != nil {
		return 0, keys.Key{}, err
	}
	live, err := s.Secrets(scope)
	if err != nil {
		return 0, keys.Key{}, err
	}
	key, err := k.keyOf(live[0])
	return live[0].Version, key, err
}

// Live implements keys.LiveSecrets.
func (k *Keyring) Live(ctx context.Context, scope keys.Scope) ([]keys.Secret, error) {
	s, err := k.register.Current(ctx)
	if err != nil {
		return nil, err
	}
	live, err := s.Secrets(scope)
	if err != nil {
		return nil, err
	}
	out := make([]keys.Secret, 0, len(live))
	for _, e := range live {
		key, err := k.keyOf(e)
		if err != nil {
			for _, s := range out {
				s.Destroy()
			}
			return nil, err
		}
		out = append(out, keys.Secret{Version: e.Version, Key: key})
	}
	return out, nil
}

// EnsureOwners gives each owner a first key for every purpose of the keyring, and saves the
// file once if any was missing. An owner whose keys were destroyed gets no new ones.
func (k *Keyring) EnsureOwners(ctx context.Context, owners ...keys.Owner) error {
	return k.register.Update(ctx, func(d *register.Document) error {
		for _, scope := range d.Missing(owners...) {
			d.Add(k.fill(d.Next(scope)))
		}
		return nil
	})
}

// Rotate gives the scope a new version, which protects new data from now on. Older versions
// go on opening what they protected, and an older secret stays live. ErrNoKey says that the
// scope has no live version.
func (k *Keyring) Rotate(ctx context.Context, scope keys.Scope) (version int, err error) {
	err = k.register.Update(ctx, func(d *register.Document) error {
		if _, err := d.Live(scope); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
		e := k.fill(d.Next(scope))
		d.Add(e)
		version = e.Version
		return nil
	})
	return version, err
}

// DestroyVersion destroys a version that is no longer the active one (register.ErrActive):
// what only it can open is lost. ErrNoKey says that there is no such live version.
func (k *Keyring) DestroyVersion(ctx context.Context, scope keys.Scope, version int) error {
	return k.register.Update(ctx, func(d *register.Document) error {
		e, err := d.Destroyable(scope, version)
		if err != nil {
			return fmt.Errorf("destroy: %w", err)
		}
		e.Destroy()
		return nil
	})
}

// DestroyOwner destroys every key of the owner: what they encrypted can never be read again.
// ErrNoKey says that it has no live key in this keyring.
func (k *Keyring) DestroyOwner(ctx context.Context, owner keys.Owner) error {
	return k.register.Update(ctx, func(d *register.Document) error {
		live, err := d.LiveOf(owner)
		if err != nil {
			return fmt.Errorf("destroy: %w", err)
		}
		for _, e := range live {
			e.Destroy()
		}
		return nil
	})
}

// SetCryptoperiod sets how long a version of the purpose may protect new data, in whole days
// from 1 to 5 years. It moves RotateBy in the inventory, and destroys nothing.
func (k *Keyring) SetCryptoperiod(ctx context.Context, purpose keys.Purpose, period time.Duration) error {
	return k.register.Update(ctx, func(d *register.Document) error { return d.SetCryptoperiod(purpose, period) })
}

// Inventory lists every version there ever was.
func (k *Keyring) Inventory(ctx context.Context) ([]keys.Entry, error) {
	s, err := k.register.Current(ctx)
	if err != nil {
		return nil, err
	}
	var out []keys.Entry
	for i := range s.Entries() {
		e := s.Listed(&s.Entries()[i])
		e.Custody = "file " + k.register.Path() + ", AES-256-GCM under a key derived by Argon2id"
		out = append(out, e)
	}
	return out, nil
}

// ChangeSecret wraps every key of the keyring under another secret, as when somebody who
// knew the old one leaves. The keys themselves stay. Other processes fail with
// register.ErrReplaced until they open the keyring with the new secret; this Keyring, too.
func (k *Keyring) ChangeSecret(ctx context.Context, secret []byte) error {
	c, master, err := newCustody(secret, newKDF())
	if err != nil {
		return fmt.Errorf("change secret: %w", err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("change secret: %w", err)
	}
	next := &Keyring{master: master}
	return k.register.Replace(ctx, guard{master}, func(d *register.Document) error {
		d.Custody = text
		for i := range d.Keys {
			e := &d.Keys[i]
			if !e.IsLive() {
				continue
			}
			key, err := k.keyOf(e)
			if err != nil {
				return fmt.Errorf("change secret: %w", err)
			}
			e.Wrapped = seal(next.master, key.Bytes(), entryAAD(e))
			key.Destroy()
		}
		return nil
	})
}

var (
	_ keys.Provider    = (*Keyring)(nil)
	_ keys.Secrets     = (*Keyring)(nil)
	_ keys.LiveSecrets = (*Keyring)(nil)
)
