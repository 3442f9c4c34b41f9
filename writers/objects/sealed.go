package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"sync"
	"time"

	"github.com/cardlake/cardlake/keys"
)

// SealedConfig tunes a [Sealed] store. The zero value is right for most uses.
type SealedConfig struct {
	// ChunkSize is the plaintext bytes of one encrypted chunk, rounded up to a power of two
	// from 1 KiB to 1 MiB: the least that a random read decrypts. Objects carry theirs, so it
	// may change. Default 64 KiB.
	ChunkSize int
	// StaleAge is how old an unfinished file of a killed process must be before the first Put
	// of a later one removes it. Default one hour; it must exceed the longest Put.
	StaleAge time.Duration
}

// Sealed is a [Store] in a folder of a local file system that has hard links. Every object is
// one file, encrypted in authenticated chunks under a data key of its own, which the owner's
// object key wraps; stream.go describes the form. An object that was changed, cut, reordered
// or put under another object's name does not open.
//
// A file system cannot hold both an object "a" and an object "a/b"; putting the second of the
// two is an error. Folders that become empty stay.
type Sealed struct {
	folder
	provider keys.Provider
	chunkLog uint8
	buffers  sync.Pool
}

var _ Store = (*Sealed)(nil)

// NewSealed returns the store in the folder root, which the first Put makes.
func NewSealed(root string, provider keys.Provider, cfg SealedConfig) *Sealed {
	if cfg.ChunkSize <= 0 {
		cfg.ChunkSize = 64 << 10
	}
	chunkLog := bits.Len(uint(cfg.ChunkSize - 1))
	return &Sealed{
		folder: newFolder(root, cfg.StaleAge), provider: provider,
		chunkLog: uint8(min(max(chunkLog, minChunkLog), maxChunkLog)),
	}
}

// Put implements [Store]. The file is written aside, synced, linked under its name, and the
// folder synced: whatever fails or is killed in between leaves no object.
func (s *Sealed) Put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	if err := s.put(ctx, name, owner, body); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (s *Sealed) put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	if err := errors.Join(ctx.Err(), ValidateName(name), ValidateOwner(owner)); err != nil {
		return err
	}
	return s.create(name, func(w io.Writer) error {
		buf := s.buffer()
		defer s.buffers.Put(buf)
		return sealTo(ctx, w, s.provider, s.chunkLog, name, owner, body, *buf)
	})
}

// Open implements [Store]. An object whose key is gone gives [keys.ErrNoKey].
func (s *Sealed) Open(ctx context.Context, name string) (Object, error) {
	o, err := s.open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return o, nil
}

func (s *Sealed) open(ctx context.Context, name string) (Object, error) {
	f, size, err := s.file(ctx, name)
	if err != nil {
		return nil, err
	}
	st, err := openStream(ctx, f, size, s.provider, name, &s.buffers)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &sealedObject{st, f}, nil
}

// sealedObject is an open object and the file it is read from.
type sealedObject struct {
	*stream
	file *os.File
}

func (o *sealedObject) Size() int64  { return o.size }
func (o *sealedObject) Close() error { return o.file.Close() }

func (s *Sealed) buffer() *[]byte {
	size := 1<<s.chunkLog + tagSize
	if b, ok := s.buffers.Get().(*[]byte); ok && cap(*b) >= size {
		return b
	}
	b := make([]byte, size)
	return &b
}
