package objects

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cardlake/cardlake/keys"
)

// The sealed form of an object:
//
//	magic "CLSEALED", version 1
//	log2 of the chunk size          1 byte
//	owner                           1 byte of length, letters a-z
//	data key, wrapped               2 bytes of length (big-endian), bytes
//	chunks                          AES-256-GCM, 16 bytes longer than their plaintext
//
// The chunks follow the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: "Online
// Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015) as age's v1
// specification applies it: the nonce is the chunk's number in 11 bytes, big-endian, and one
// byte that is 1 for the last chunk and 0 for the others. Only the last chunk may be short,
// and it is empty only if the whole object is. Each object has a data key of its own, so that
// no nonce repeats under a key. The additional data of every chunk is the SHA-256 of header
// and object name: neither can be exchanged for another object's.
const (
	magic          = "CLSEALED\x01"
	tagSize        = 16
	nonceSize      = 12
	minChunkLog    = 10
	maxChunkLog    = 20
	maxOwner       = 64
	maxWrapped     = 4096
	maxHeader      = len(magic) + 2 + maxOwner + 2 + maxWrapped
	lastChunkFlag  = 1
	chunkNumberEnd = nonceSize - 1
)

// header is what precedes the chunks.
type header struct {
	chunkLog uint8
	owner    keys.Owner
	wrapped  []byte
}

func (h header) chunkSize() int64 { return 1 << h.chunkLog }

func (h header) append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = append(dst, h.chunkLog, uint8(len(h.owner)))
	dst = append(dst, h.owner...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.wrapped)))
	return append(dst, h.wrapped...)
}

// parseHeader reads the header at the start of b and returns its length. Nothing in it is
// authentic yet, so every length is bounded before use; wrapped shares b's memory.
func parseHeader(b []byte) (h header, length int, err error) {
	fixed := len(magic) + 2
	if len(b) < fixed || string(b[:len(magic)]) != magic {
		return h, 0, fmt.Errorf("%w: not a sealed object of version 1", ErrCorrupt)
	}
	h.chunkLog = b[len(magic)]
	owner := int(b[len(magic)+1])
	if h.chunkLog < minChunkLog || h.chunkLog > maxChunkLog || len(b) < fixed+owner+2 {
		return h, 0, fmt.Errorf("%w: header", ErrCorrupt)
	}
	h.owner = keys.Owner(b[fixed : fixed+owner])
	wrapped := int(binary.BigEndian.Uint16(b[fixed+owner:]))
	length = fixed + owner + 2 + wrapped
	if ValidateOwner(h.owner) != nil || wrapped > maxWrapped || len(b) < length {
		return h, 0, fmt.Errorf("%w: header", ErrCorrupt)
	}
	h.wrapped = b[length-wrapped : length]
	return h, length, nil
}

// ValidateOwner returns an error unless the owner is 1 to 64 letters a-z, as a [Store] takes it.
func ValidateOwner(o keys.Owner) error {
	if len(o) == 0 || len(o) > maxOwner {
		return fmt.Errorf("owner has %d characters, want 1 to %d", len(o), maxOwner)
	}
	for i := range len(o) {
		if o[i] < 'a' || o[i] > 'z' {
			return errors.New("owner has a character outside a-z")
		}
	}
	return nil
}

// chunks seals and opens the chunks of one object.
type chunks struct {
	aead cipher.AEAD
	aad  [sha256.Size]byte
}

// newChunks takes the data key and destroys it; the cipher keeps its own schedule of it.
func newChunks(key keys.Key, sealedHeader []byte, name string) (chunks, error) {
	defer key.Destroy()
	block, err := aes.NewCipher(key.Bytes())
	if err != nil {
		return chunks{}, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return chunks{}, err
	}
	h := sha256.New()
	h.Write(sealedHeader)
	io.WriteString(h, name)
	c := chunks{aead: aead}
	h.Sum(c.aad[:0])
	return c, nil
}

func nonce(number int64, last bool) (n [nonceSize]byte) {
	binary.BigEndian.PutUint64(n[chunkNumberEnd-8:chunkNumberEnd], uint64(number))
	if last {
		n[chunkNumberEnd] = lastChunkFlag
	}
	return n
}

func (c *chunks) seal(dst, plain []byte, number int64, last bool) []byte {
	n := nonce(number, last)
	return c.aead.Seal(dst, n[:], plain, c.aad[:])
}

func (c *chunks) open(dst, sealed []byte, number int64, last bool) ([]byte, error) {
	n := nonce(number, last)
	plain, err := c.aead.Open(dst, n[:], sealed, c.aad[:])
	if err != nil {
		return nil, fmt.Errorf("%w: chunk %d", ErrCorrupt, number)
	}
	return plain, nil
}

// sealTo writes the sealed form of body.
func sealTo(ctx context.Context, w io.Writer, provider keys.Provider, chunkLog uint8, name string, owner keys.Owner, body, buf []byte) error {
	key, wrapped, err := provider.NewDataKey(ctx, keys.Scope{Owner: owner, Purpose: keys.Object})
	if err != nil {
		return fmt.Errorf("data key of %s: %w", owner, err)
	}
	if len(wrapped) > maxWrapped {
		key.Destroy()
		return fmt.Errorf("wrapped data key has %d bytes, at most %d fit", len(wrapped), maxWrapped)
	}
	h := header{chunkLog, owner, wrapped}
	sealedHeader := h.append(nil)
	c, err := newChunks(key, sealedHeader, name)
	if err != nil {
		return err
	}
	if _, err := w.Write(sealedHeader); err != nil {
		return err
	}
	size := int(h.chunkSize())
	for number := int64(0); ; number++ {
		last := len(body) <= size
		plain := body
		if !last {
			plain = body[:size]
		}
		if _, err := w.Write(c.seal(buf[:0], plain, number, last)); err != nil {
			return err
		}
		if last {
			return nil
		}
		body = body[size:]
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// stream reads a sealed object at random.
type stream struct {
	from    io.ReaderAt
	name    string
	chunks  chunks
	header  int64 // length of the header
	chunk   int64 // plaintext bytes of a chunk
	count   int64 // chunks
	size    int64 // plaintext bytes of the object
	buffers *sync.Pool
}

// openStream reads the header of the size sealed bytes in from, unwraps the data key and
// authenticates the last chunk, and with it the object's size.
func openStream(ctx context.Context, from io.ReaderAt, size int64, provider keys.Provider, name string, buffers *sync.Pool) (*stream, error) {
	start := make([]byte, min(size, int64(maxHeader)))
	if n, err := from.ReadAt(start, 0); n < len(start) {
		return nil, fmt.Errorf("read header: %w", noEOF(err))
	}
	h, length, err := parseHeader(start)
	if err != nil {
		return nil, err
	}
	s := &stream{from: from, name: name, header: int64(length), chunk: h.chunkSize(), buffers: buffers}
	sealed := size - s.header
	s.count = (sealed + s.chunk + tagSize - 1) / (s.chunk + tagSize)
	s.size = sealed - s.count*tagSize
	switch lastSealed := sealed - (s.count-1)*(s.chunk+tagSize); {
	case s.count == 0, lastSealed < tagSize, lastSealed == tagSize && s.count > 1:
		return nil, fmt.Errorf("%w: truncated", ErrCorrupt)
	}
	key, err := provider.UnwrapDataKey(ctx, keys.Scope{Owner: h.owner, Purpose: keys.Object}, h.wrapped)
	if errors.Is(err, keys.ErrUnwrap) {
		return nil, fmt.Errorf("%w: data key of %s: %w", ErrCorrupt, h.owner, err)
	} else if err != nil {
		return nil, fmt.Errorf("data key of %s: %w", h.owner, err)
	}
	if s.chunks, err = newChunks(key, start[:length], name); err != nil {
		return nil, err
	}
	// Any shorter object would need a chunk here that was sealed as the last one.
	if err := s.read(nil, s.count-1, 0); err != nil {
		return nil, err
	}
	return s, nil
}

// ReadAt implements io.ReaderAt on the plaintext, decrypting only the chunks it needs.
func (s *stream) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: negative offset", s.name)
	}
	if off >= s.size {
		return 0, io.EOF
	}
	if s.size-off < int64(len(p)) {
		p, err = p[:s.size-off], io.EOF
	}
	for n < len(p) {
		number, within := (off+int64(n))/s.chunk, (off+int64(n))%s.chunk
		part := p[n : n+min(len(p)-n, int(s.plainLen(number)-within))]
		if err := s.read(part, number, within); err != nil {
			return n, fmt.Errorf("read %s: %w", s.name, err)
		}
		n += len(part)
	}
	return n, err
}

// read fills dst from the chunk's plaintext at offset within.
func (s *stream) read(dst []byte, number, within int64) error {
	plainLen := s.plainLen(number)
	buf := s.buffer(int(plainLen) + tagSize)
	defer s.buffers.Put(buf)
	sealed := (*buf)[:plainLen+tagSize]
	if n, err := s.from.ReadAt(sealed, s.header+number*(s.chunk+tagSize)); n < len(sealed) {
		return fmt.Errorf("chunk %d: %w", number, noEOF(err))
	}
	last := number == s.count-1
	if int64(len(dst)) == plainLen {
		_, err := s.chunks.open(dst[:0:plainLen], sealed, number, last)
		return err
	}
	plain, err := s.chunks.open(sealed[:0], sealed, number, last)
	if err != nil {
		return err
	}
	copy(dst, plain[within:])
	clear(plain) // the buffer goes back to a pool
	return nil
}

func (s *stream) plainLen(number int64) int64 {
	if number == s.count-1 {
		return s.size - number*s.chunk
	}
	return s.chunk
}

// buffer returns a pooled buffer with at least size bytes.
func (s *stream) buffer(size int) *[]byte {
	if b, ok := s.buffers.Get().(*[]byte); ok && cap(*b) >= size {
		return b
	}
	b := make([]byte, size)
	return &b
}

// noEOF turns the end of a file that should be longer into ErrCorrupt: it shrank.
func noEOF(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: truncated", ErrCorrupt)
	}
	return err
}
