package kmstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
)

// Limits of the API reference.
const (
	maxPlaintext  = 4096
	maxCiphertext = 6144
	maxMessage    = 4096
	maxContext    = 8192
)

// A ciphertext names its key and the version of its material, is as long as the service's
// (152 bytes more than the plaintext), and binds the encryption context.
const (
	blobHeader = 124
	blobIDMax  = 64
)

func aead(material [32]byte) cipher.AEAD {
	block, err := aes.NewCipher(material[:])
	if err != nil {
		panic(err) // 32 bytes
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

func blobAAD(header []byte, context map[string]string) []byte {
	text, err := json.Marshal(context) // in order of names
	if err != nil {
		panic(err) // a map of strings
	}
	return append(append([]byte{}, header...), text...)
}

func (k *key) seal(plain []byte, context map[string]string) []byte {
	header := make([]byte, blobHeader, blobHeader+12+len(plain)+16)
	rand.Read(header[blobIDMax+8:])
	header[0] = 1
	header[1] = byte(len(k.id))
	copy(header[2:blobIDMax], k.id)
	version := len(k.material.versions) - 1
	binary.BigEndian.PutUint32(header[blobIDMax:], uint32(version))
	nonce := make([]byte, 12)
	rand.Read(nonce)
	return aead(k.material.versions[version]).Seal(append(header, nonce...), nonce, plain, blobAAD(header, context))
}

// keyOf returns the id in a ciphertext.
func keyOf(blob []byte) (string, bool) {
	if len(blob) < blobHeader+12+16 || blob[0] != 1 || blob[1] > blobIDMax-2 {
		return "", false
	}
	return string(blob[2 : 2+blob[1]]), true
}

func (k *key) open(blob []byte, context map[string]string) ([]byte, bool) {
	version := int(binary.BigEndian.Uint32(blob[blobIDMax:]))
	if version >= len(k.material.versions) {
		return nil, false
	}
	header, nonce, sealed := blob[:blobHeader], blob[blobHeader:blobHeader+12], blob[blobHeader+12:]
	plain, err := aead(k.material.versions[version]).Open(nil, nonce, sealed, blobAAD(header, context))
	return plain, err == nil
}

func checkContext(context map[string]string) error {
	size := 0
	for name, value := range context {
		if name == "" {
			return refuse("ValidationException", "encryption context")
		}
		size += len(name) + len(value)
	}
	if size > maxContext {
		return refuse("ValidationException", "encryption context")
	}
	return nil
}

// crypto finds a key for a cryptographic operation.
func (s *Server) crypto(c caller, name, action, usage string, context map[string]string) (*key, error) {
	k, err := s.find(c, name)
	if err != nil {
		return nil, err
	}
	if err := s.permit(c, action, k, context); err != nil {
		return nil, err
	}
	if err := k.usable(); err != nil {
		return nil, err
	}
	if k.usage != usage {
		return nil, refuse("InvalidKeyUsageException", "%s key usage is %s which is not valid for %s.", k.arn(), k.usage, action)
	}
	return k, checkContext(context)
}

const symmetric = "SYMMETRIC_DEFAULT"

type encryptIn struct {
	KeyId               string
	Plaintext           []byte
	EncryptionContext   map[string]string
	EncryptionAlgorithm string
	GrantTokens         []string
}

func (s *Server) encrypt(c caller, in encryptIn) (any, error) {
	if len(in.Plaintext) < 1 || len(in.Plaintext) > maxPlaintext {
		return nil, refuse("ValidationException", "Value at 'plaintext' failed to satisfy constraint")
	}
	if in.EncryptionAlgorithm != "" && in.EncryptionAlgorithm != symmetric {
		return nil, refuse("InvalidKeyUsageException", "algorithm")
	}
	k, err := s.crypto(c, in.KeyId, "Encrypt", "ENCRYPT_DECRYPT", in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyId": k.arn(), "CiphertextBlob": k.seal(in.Plaintext, in.EncryptionContext), "EncryptionAlgorithm": symmetric}, nil
}

type decryptIn struct {
	KeyId               string
	CiphertextBlob      []byte
	EncryptionContext   map[string]string
	EncryptionAlgorithm string
	GrantTokens         []string
}

func (s *Server) decrypt(c caller, in decryptIn) (any, error) {
	if in.EncryptionAlgorithm != "" && in.EncryptionAlgorithm != symmetric {
		return nil, refuse("InvalidKeyUsageException", "algorithm")
	}
	k, plain, err := s.opened(c, in.KeyId, "Decrypt", in.CiphertextBlob, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyId": k.arn(), "Plaintext": plain, "EncryptionAlgorithm": symmetric}, nil
}

// opened opens a ciphertext, under the named key if one is named.
func (s *Server) opened(c caller, name, action string, blob []byte, context map[string]string) (*key, []byte, error) {
	if len(blob) < 1 || len(blob) > maxCiphertext {
		return nil, nil, refuse("ValidationException", "Value at 'ciphertextBlob' failed to satisfy constraint")
	}
	id, ok := keyOf(blob)
	if !ok || s.material[id] == nil {
		return nil, nil, refuse("InvalidCiphertextException", "")
	}
	if name == "" {
		name = id
	}
	k, err := s.crypto(c, name, action, "ENCRYPT_DECRYPT", context)
	if err != nil {
		return nil, nil, err
	}
	if k.id != id {
		return nil, nil, refuse("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
	}
	plain, ok := k.open(blob, context)
	if !ok {
		return nil, nil, refuse("InvalidCiphertextException", "")
	}
	return k, plain, nil
}

type reEncryptIn struct {
	CiphertextBlob                 []byte
	SourceKeyId                    string
	SourceEncryptionContext        map[string]string
	SourceEncryptionAlgorithm      string
	DestinationKeyId               string
	DestinationEncryptionContext   map[string]string
	DestinationEncryptionAlgorithm string
	GrantTokens                    []string
}

func (s *Server) reEncrypt(c caller, in reEncryptIn) (any, error) {
	from, plain, err := s.opened(c, in.SourceKeyId, "ReEncryptFrom", in.CiphertextBlob, in.SourceEncryptionContext)
	if err != nil {
		return nil, err
	}
	to, err := s.crypto(c, in.DestinationKeyId, "ReEncryptTo", "ENCRYPT_DECRYPT", in.DestinationEncryptionContext)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"KeyId": to.arn(), "SourceKeyId": from.arn(), "CiphertextBlob": to.seal(plain, in.DestinationEncryptionContext),
		"SourceEncryptionAlgorithm": symmetric, "DestinationEncryptionAlgorithm": symmetric,
	}, nil
}

type dataKeyIn struct {
	KeyId             string
	KeySpec           string
	NumberOfBytes     *int
	EncryptionContext map[string]string
	GrantTokens       []string
}

func (s *Server) dataKey(c caller, in dataKeyIn, action string) (k *key, plain, blob []byte, err error) {
	n := map[string]int{"AES_256": 32, "AES_128": 16}[in.KeySpec]
	if in.NumberOfBytes != nil && in.KeySpec == "" {
		n = *in.NumberOfBytes
	} else if in.NumberOfBytes != nil {
		n = 0
	}
	if n < 1 || n > 1024 {
		return nil, nil, nil, refuse("ValidationException", "Please specify either number of bytes or key spec.")
	}
	if k, err = s.crypto(c, in.KeyId, action, "ENCRYPT_DECRYPT", in.EncryptionContext); err != nil {
		return nil, nil, nil, err
	}
	plain = make([]byte, n)
	rand.Read(plain)
	return k, plain, k.seal(plain, in.EncryptionContext), nil
}

func (s *Server) generateDataKey(c caller, in dataKeyIn) (any, error) {
	k, plain, blob, err := s.dataKey(c, in, "GenerateDataKey")
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyId": k.arn(), "Plaintext": plain, "CiphertextBlob": blob}, nil
}

func (s *Server) generateDataKeyWithoutPlaintext(c caller, in dataKeyIn) (any, error) {
	k, _, blob, err := s.dataKey(c, in, "GenerateDataKeyWithoutPlaintext")
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyId": k.arn(), "CiphertextBlob": blob}, nil
}

type macIn struct {
	KeyId        string
	MacAlgorithm string
	Message      []byte
	Mac          []byte
	GrantTokens  []string
}

func (s *Server) mac(c caller, in macIn, action string) (*key, []byte, error) {
	if len(in.Message) < 1 || len(in.Message) > maxMessage || in.MacAlgorithm == "" {
		return nil, nil, refuse("ValidationException", "Value at 'message' failed to satisfy constraint")
	}
	k, err := s.crypto(c, in.KeyId, action, "GENERATE_VERIFY_MAC", nil)
	if err != nil {
		return nil, nil, err
	}
	if in.MacAlgorithm != "HMAC_SHA_256" {
		return nil, nil, refuse("InvalidKeyUsageException", "Algorithm %s is incompatible with key spec HMAC_256.", in.MacAlgorithm)
	}
	h := hmac.New(sha256.New, k.material.versions[0][:])
	h.Write(in.Message)
	return k, h.Sum(nil), nil
}

func (s *Server) generateMac(c caller, in macIn) (any, error) {
	k, sum, err := s.mac(c, in, "GenerateMac")
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyId": k.arn(), "Mac": sum, "MacAlgorithm": in.MacAlgorithm}, nil
}

func (s *Server) verifyMac(c caller, in macIn) (any, error) {
	k, sum, err := s.mac(c, in, "VerifyMac")
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(sum, in.Mac) {
		return nil, refuse("KMSInvalidMacException", "")
	}
	return map[string]any{"KeyId": k.arn(), "MacValid": true, "MacAlgorithm": in.MacAlgorithm}, nil
}
