package local

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/register"
	"golang.org/x/crypto/argon2"
)

// custody says how the master key comes from a secret.
type custody struct {
	Kind  string `json:"kind"`
	KDF   kdf    `json:"kdf"`
	Check []byte `json:"check"` // a zero key wrapped under the master key
}

const (
	kind     = "passphrase"
	checkAAD = "cardlake keyring check"
)

// kdf holds Argon2id's parameters: RFC 9106, section 4, second recommended option.
type kdf struct {
	Name      string `json:"name"`
	Salt      []byte `json:"salt"`
	Time      uint32 `json:"time"`
	MemoryKiB uint32 `json:"memory_kib"`
	Threads   uint8  `json:"threads"`
}

// minSecret is the fewest bytes a secret may have: below it no derivation helps.
const minSecret = 12

func checkSecret(secret []byte) error {
	if len(secret) < minSecret {
		return fmt.Errorf("%w: it has %d bytes, want at least %d", ErrSecret, len(secret), minSecret)
	}
	return nil
}

// newKDF returns the parameters of new keyrings.
func newKDF() kdf {
	salt := make([]byte, 16)
	rand.Read(salt)
	return kdf{Name: "argon2id", Salt: salt, Time: 3, MemoryKiB: 64 << 10, Threads: 4}
}

func newCustody(secret []byte, p kdf) (custody, cipher.AEAD, error) {
	if err := checkSecret(secret); err != nil {
		return custody{}, nil, err
	}
	c := custody{Kind: kind, KDF: p}
	master := c.KDF.derive(secret)
	c.Check = seal(master, make([]byte, 32), []byte(checkAAD))
	return c, master, nil
}

// open returns the master key; ErrSecret if the secret is not the one.
func (c custody) open(secret []byte) (cipher.AEAD, error) {
	if c.Kind != kind {
		return nil, errors.New("the keyring is not kept by a passphrase: open it as what it is")
	}
	if err := c.KDF.check(); err != nil {
		return nil, err
	}
	if err := checkSecret(secret); err != nil {
		return nil, err
	}
	master := c.KDF.derive(secret)
	if _, err := open(master, c.Check, []byte(checkAAD)); err != nil {
		return nil, ErrSecret
	}
	return master, nil
}

// check bounds the parameters, which are read before anything is authenticated.
func (p kdf) check() error {
	if p.Name != "argon2id" || len(p.Salt) < 16 || p.Time < 1 || p.Time > 100 || p.MemoryKiB < 8<<10 || p.MemoryKiB > 1<<20 || p.Threads < 1 {
		return errors.New("key derivation parameters are out of bounds")
	}
	return nil
}

func (p kdf) derive(secret []byte) cipher.AEAD {
	master := argon2.IDKey(secret, p.Salt, p.Time, p.MemoryKiB, p.Threads, 32)
	defer clear(master)
	return newGCM(master)
}

// guard authenticates the keyring's document with the master key.
type guard struct{ master cipher.AEAD }

func documentAAD(digest []byte) []byte {
	return append([]byte("cardlake keyring document\x00"), digest...)
}

// Tag implements register.Guard.
func (g guard) Tag(_ context.Context, digest []byte) ([]byte, error) {
	return seal(g.master, nil, documentAAD(digest)), nil
}

// Verify implements register.Guard.
func (g guard) Verify(_ context.Context, digest, tag []byte) error {
	if _, err := open(g.master, tag, documentAAD(digest)); err != nil {
		return register.ErrChanged
	}
	return nil
}

func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // keys are 32 bytes by construction
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// seal prepends a random nonce.
func seal(aead cipher.AEAD, plain, aad []byte) []byte {
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, plain, aad)
}

func open(aead cipher.AEAD, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < aead.NonceSize() {
		return nil, keys.ErrUnwrap
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], aad)
	if err != nil {
		return nil, keys.ErrUnwrap
	}
	return plain, nil
}
