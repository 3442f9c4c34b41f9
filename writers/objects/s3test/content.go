package s3test

import (
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc64"
	"net/http"
)

// content is what the layer knows of an object's content, which lies encrypted: segments
// (one, or one for each part), each in chunks of chunkSize sealed with AES-256-GCM.
type content struct {
	key      string // KMS key
	context  map[string]string
	bucketed bool   // S3 bucket key
	wrapped  []byte // data key
	segments []segment
	size     int64  // plaintext
	crc      uint64 // CRC64NVME of the plaintext
}

type segment struct {
	number int
	size   int64 // plaintext
}

const (
	chunkSize = 64 << 10
	tagSize   = 16
)

var crcTable = crc64.MakeTable(0x9a6c9329ac4bc9b5) // CRC-64/NVME, reversed

func spell(crc uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, crc))
}

func (s segment) sealed() int64 {
	return s.size + (s.size+chunkSize-1)/chunkSize*tagSize
}

func nonce(number int, chunk int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, uint32(number)), uint64(chunk))
}

func seal(aead cipher.AEAD, number int, plain []byte) []byte {
	out := make([]byte, 0, segment{number, int64(len(plain))}.sealed())
	for chunk := int64(0); len(plain) > 0; chunk++ {
		n := min(chunkSize, len(plain))
		out = aead.Seal(out, nonce(number, chunk), plain[:n], nil)
		plain = plain[n:]
	}
	return out
}

// cover returns the stored range that holds the plaintext bytes from start to end.
func (c *content) cover(start, end int64) (from, to int64) {
	return c.stored(start, false), c.stored(end, true)
}

// stored returns where the chunk of the plaintext offset begins, or, rounded up, where the
// chunk of the byte before it ends.
func (c *content) stored(off int64, up bool) (at int64) {
	for _, s := range c.segments {
		if off > s.size || off == s.size && !up {
			off -= s.size
			at += s.sealed()
			continue
		}
		if up {
			return at + min((off+chunkSize-1)/chunkSize*(chunkSize+tagSize), s.sealed())
		}
		return at + off/chunkSize*(chunkSize+tagSize)
	}
	return at
}

var errAtRest = errors.New("stored content does not authenticate")

// open decrypts the stored range that cover gave and cuts out the plaintext asked for.
func (c *content) open(aead cipher.AEAD, sealed []byte, start, end int64) ([]byte, error) {
	plain := make([]byte, 0, end-start+2*chunkSize)
	first := int64(-1) // plaintext offset of plain's first byte
	at := int64(0)     // plaintext offset of the segment
	for _, s := range c.segments {
		for chunk := int64(0); chunk*chunkSize < s.size; chunk++ {
			from := at + chunk*chunkSize
			n := min(chunkSize, s.size-chunk*chunkSize)
			if from+n <= start || from >= end {
				continue
			}
			if first < 0 {
				first = from
			}
			if int64(len(sealed)) < n+tagSize {
				return nil, errAtRest
			}
			var err error
			if plain, err = aead.Open(plain, nonce(s.number, chunk), sealed[:n+tagSize], nil); err != nil {
				return nil, errAtRest
			}
			sealed = sealed[n+tagSize:]
		}
		at += s.size
	}
	if first < 0 {
		return nil, nil
	}
	return plain[start-first : end-first], nil
}

// encryption sets the headers of an answer that say how the object is encrypted.
func (c *content) encryption(h http.Header) {
	h.Set("X-Amz-Server-Side-Encryption", "aws:kms")
	h.Set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", c.key)
	if c.bucketed {
		h.Set("X-Amz-Server-Side-Encryption-Bucket-Key-Enabled", "true")
	}
}
