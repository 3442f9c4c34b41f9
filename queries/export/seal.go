package export

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"

	"filippo.io/age"

	"github.com/cardlake/cardlake/keys"
)

// kmsStanza is the type of the recipient stanza of a file that the tenant's key-encryption key
// opens (age-encryption.org/v1, "Recipient stanza"). Its arguments are the owner and the wrapped
// data key in unpadded base64; its body is the file key under AES-256-GCM with that data key and
// a nonce of zeros, which a fresh data key makes safe.
const kmsStanza = "cardlake.dev/kms"

// kmsRecipient implements age.Recipient.
type kmsRecipient struct {
	ctx      context.Context // of the job: age's interface has none
	provider keys.Provider
	owner    keys.Owner
}

// Wrap implements age.Recipient.
func (r kmsRecipient) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	key, wrapped, err := r.provider.NewDataKey(r.ctx, keys.Scope{Owner: r.owner, Purpose: keys.Object})
	if err != nil {
		return nil, fmt.Errorf("data key of %s: %w", r.owner, err)
	}
	defer key.Destroy()
	aead, err := aeadOf(key)
	if err != nil {
		return nil, err
	}
	return []*age.Stanza{{
		Type: kmsStanza, Args: []string{string(r.owner), base64.RawStdEncoding.EncodeToString(wrapped)},
		Body: aead.Seal(nil, make([]byte, aead.NonceSize()), fileKey, []byte(kmsStanza)),
	}}, nil
}

func aeadOf(key keys.Key) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key.Bytes())
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// KMSIdentity opens files of EncryptKMS, for whoever holds a provider of the tenant's key. It
// implements age.Identity.
type KMSIdentity struct {
	ctx      context.Context
	provider keys.Provider
}

// NewKMSIdentity returns an identity whose requests to the key service end with ctx.
func NewKMSIdentity(ctx context.Context, provider keys.Provider) *KMSIdentity {
	return &KMSIdentity{ctx, provider}
}

// Unwrap implements age.Identity.
func (i *KMSIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, s := range stanzas {
		if s.Type != kmsStanza {
			continue
		}
		if len(s.Args) != 2 {
			return nil, errors.New("the file's header is malformed")
		}
		wrapped, err := base64.RawStdEncoding.DecodeString(s.Args[1])
		if err != nil {
			return nil, errors.New("the file's header is malformed")
		}
		key, err := i.provider.UnwrapDataKey(i.ctx, keys.Scope{Owner: keys.Owner(s.Args[0]), Purpose: keys.Object}, wrapped)
		if err != nil {
			return nil, fmt.Errorf("data key of the file: %w", err)
		}
		defer key.Destroy()
		aead, err := aeadOf(key)
		if err != nil {
			return nil, err
		}
		fileKey, err := aead.Open(nil, make([]byte, aead.NonceSize()), s.Body, []byte(kmsStanza))
		if err != nil {
			return nil, errors.New("the file's header does not authenticate")
		}
		return fileKey, nil
	}
	return nil, age.ErrIncorrectIdentity
}
