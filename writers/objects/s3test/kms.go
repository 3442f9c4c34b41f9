package s3test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// KMS keeps the keys of a [Server]. It is safe for concurrent use.
type KMS struct {
	mu      sync.Mutex
	created int
	keys    map[string]*kmsKey
}

type kmsKey struct {
	aead  cipher.AEAD
	state string // the error code that using it gives, empty if it is enabled
}

func newKMS() *KMS { return &KMS{keys: map[string]*kmsKey{}} }

// Create makes a key and returns its ARN.
func (k *KMS) Create() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.created++
	arn := fmt.Sprintf("arn:aws:kms:%s:111122223333:key/00000000-0000-4000-8000-%012d", Region, k.created)
	secret := make([]byte, 32)
	rand.Read(secret)
	k.keys[arn] = &kmsKey{aead: gcm(secret)}
	return arn
}

// Disable makes using the key fail with KMS.DisabledException.
func (k *KMS) Disable(arn string) { k.set(arn, "KMS.DisabledException") }

// Enable takes Disable and ScheduleDeletion back.
func (k *KMS) Enable(arn string) { k.set(arn, "") }

// ScheduleDeletion makes using the key fail with KMS.KMSInvalidStateException.
func (k *KMS) ScheduleDeletion(arn string) { k.set(arn, "KMS.KMSInvalidStateException") }

// Delete destroys the key; using it fails with KMS.NotFoundException.
func (k *KMS) Delete(arn string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, arn)
}

func (k *KMS) set(arn, state string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[arn].state = state
}

func (k *KMS) use(arn string) (cipher.AEAD, *answer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.keys[arn]
	switch {
	case !ok:
		return nil, failure(400, "KMS.NotFoundException")
	case key.state != "":
		return nil, failure(400, key.state)
	}
	return key.aead, nil
}

// newDataKey returns a data key and its form wrapped under the key and context.
func (k *KMS) newDataKey(arn string, context map[string]string) (dataKey, wrapped []byte, refusal *answer) {
	aead, refusal := k.use(arn)
	if refusal != nil {
		return nil, nil, refusal
	}
	dataKey = make([]byte, 32)
	rand.Read(dataKey)
	nonce := make([]byte, aead.NonceSize(), 64)
	rand.Read(nonce)
	return dataKey, aead.Seal(nonce, nonce, dataKey, additional(context)), nil
}

func (k *KMS) unwrap(arn string, context map[string]string, wrapped []byte) (dataKey []byte, refusal *answer) {
	aead, refusal := k.use(arn)
	if refusal != nil {
		return nil, refusal
	}
	dataKey, err := aead.Open(nil, wrapped[:aead.NonceSize()], wrapped[aead.NonceSize():], additional(context))
	if err != nil {
		return nil, failure(400, "KMS.InvalidCiphertextException")
	}
	return dataKey, nil
}

func additional(context map[string]string) []byte {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(context)) {
		fmt.Fprintf(&b, "%q=%q;", k, context[k])
	}
	return []byte(b.String())
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // all keys here have 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}
