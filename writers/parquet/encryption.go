package parquet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Encryption makes a file unreadable without its key: Parquet Modular Encryption, uniform
// (every column and the footer under one key), AES-GCM-256, encrypted footer
// (parquet-format, Encryption.md). What stays in clear is the key metadata and the sizes of
// the file's modules. An encrypted file has no bloom filters: DuckDB 1.5 cannot read columns
// that have one there, whoever wrote it. DuckDB reads chunks of one page only: for it,
// Config.PageRows and Config.PageBytes must be as large as a row group.
type Encryption struct {
	// Key is the file's key, 32 bytes. A file should have one of its own.
	Key []byte
	// KeyMetadata is what a reader needs to find the key; stored in clear, so it must not
	// name the tenant or hold the key itself. It may be empty.
	KeyMetadata []byte
}

const keyBytes = 32

// Modules of an encrypted file, as their AAD has them (Encryption.md, section 4.4).
const (
	moduleFooter           = 0
	moduleDataPage         = 2
	moduleDictionary       = 3
	moduleDataPageHeader   = 4
	moduleDictionaryHeader = 5
)

// sealer encrypts the modules of one file. Without a key it leaves them as they are.
type sealer struct {
	aead     cipher.AEAD // nil in a file that is not encrypted
	metadata []byte
	unique   [8]byte // of the file: a module cannot be moved to another one
	aad      []byte
}

// begin sets the sealer up for a new file. A nil encryption means none.
func (s *sealer) begin(c *Encryption) error {
	s.aead, s.metadata = nil, nil
	if c == nil {
		return nil
	}
	if len(c.Key) != keyBytes {
		return fmt.Errorf("encryption key of %d bytes, want %d", len(c.Key), keyBytes)
	}
	block, err := aes.NewCipher(c.Key)
	if err != nil {
		return err
	}
	// A random nonce for each module, in front of its text as the format wants it.
	if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return err
	}
	s.metadata = c.KeyMetadata
	_, err = rand.Read(s.unique[:])
	return err
}

func (s *sealer) isOn() bool { return s.aead != nil }

// overhead is the bytes by which a module grows.
func (s *sealer) overhead() int {
	if !s.isOn() {
		return 0
	}
	return 4 + s.aead.Overhead()
}

// append appends a module: its length and its sealed text, or the text alone. The ordinals
// are those that the kind of module has: row group, column and page.
func (s *sealer) append(dst, text []byte, kind byte, ordinals ...int) ([]byte, error) {
	if !s.isOn() {
		return append(dst, text...), nil
	}
	s.aad = append(append(s.aad[:0], s.unique[:]...), kind)
	for _, o := range ordinals {
		if o > math.MaxInt16 {
			return nil, errors.New("too many row groups, columns or pages for an encrypted file")
		}
		s.aad = binary.LittleEndian.AppendUint16(s.aad, uint16(o))
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(text)+s.aead.Overhead()))
	return s.aead.Seal(dst, nil, text, s.aad), nil
}
