// Package objects stores whole, immutable objects, each encrypted under the key of one
// owner: the lake's data files and its table metadata. [Sealed] keeps them on a local disk;
// package s3 keeps them in a bucket. [EncryptedParquet] keeps Parquet files that are encrypted
// themselves, for readers that know Parquet Modular Encryption.
package objects

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/cardlake/cardlake/keys"
)

var (
	// ErrExists says that an object of the name is already there; nothing was written.
	ErrExists = errors.New("object exists")
	// ErrNotFound says that there is no object of the name.
	ErrNotFound = errors.New("object not found")
	// ErrCorrupt says that an object does not authenticate: changed, truncated, or put in
	// another object's place.
	ErrCorrupt = errors.New("object does not authenticate")
	// ErrLocked says that an object may not be deleted yet.
	ErrLocked = errors.New("object is locked against deletion")
)

// Info describes a stored object. Size is in bytes, of the form that the store keeps, which
// may be longer than the plaintext.
type Info struct {
	Name    string
	Size    int64
	ModTime time.Time
}

// Object is an open object. Reads decrypt and verify what the store can verify; Size is of the
// plaintext. A store that reads over a network reads under the context of Open. It is safe for
// concurrent ReadAt.
type Object interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Store keeps objects. Names are slash-separated paths of the characters a-z A-Z 0-9 . _ = -
// without "." and ".." elements (see [ValidateName]); another name gives [ErrName].
// Implementations are safe for concurrent use.
type Store interface {
	// Put stores body under name, encrypted under owner's object key, durably and only if
	// there is no such object yet: it returns ErrExists otherwise. An object is seen whole
	// or not at all. The store does not keep body.
	//
	// After another error the object may be there or appear later, if the store is at the
	// other end of a network: a caller that puts again and meets ErrExists takes another
	// name.
	Put(ctx context.Context, name string, owner keys.Owner, body []byte) error
	// Open returns the object for reading.
	Open(ctx context.Context, name string) (Object, error)
	// List yields the objects whose names begin with prefix, in no order.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Delete removes the object; ErrNotFound if there is none. It need not be durable: after
	// a loss of power the object may be there again. Callers delete only what nothing refers
	// to any more; what comes back is one more object without a reference, for maintenance
	// to find. A Put of the name that succeeded after it stays.
	Delete(ctx context.Context, name string) error
}

// Version is one version of an object in a [Versioned] store.
type Version struct {
	Info
	ID string
	// IsCurrent says that it is the one which Open reads, or the marker that hides the others.
	IsCurrent bool
	// IsMarker says that it has no content: it tells that the object was deleted.
	IsMarker bool
}

// Versioned is what a [Store] is besides if Delete may leave versions of the object behind,
// as in a bucket with versions. Of other stores nothing is left: a deleted file of a folder is
// unlinked, and what remains on the medium until it is written over is ciphertext.
type Versioned interface {
	// Purge removes for good the versions, markers included, that doomed selects among the
	// objects whose names begin with prefix; it says how many. Whoever selects the current
	// version of an object and not the older ones makes the next one current.
	//
	// One version that cannot be removed does not keep it from the others; the error tells of
	// the first few, and matches ErrLocked if one was locked. Whatever it is stopped by, it may
	// be called again.
	Purge(ctx context.Context, prefix string, doomed func(Version) bool) (purged int, err error)
}

// ReadAll returns the whole plaintext of an object, in memory that the caller owns.
func ReadAll(ctx context.Context, s Store, name string) ([]byte, error) {
	o, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	body := make([]byte, o.Size())
	if n, err := o.ReadAt(body, 0); n < len(body) {
		return nil, err
	}
	return body, nil
}
