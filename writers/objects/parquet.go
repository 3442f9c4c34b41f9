package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cardlake/cardlake/keys"
)

// ErrClear says that a body is not a Parquet file with an encrypted footer.
var ErrClear = errors.New("not a Parquet file with an encrypted footer")

// EncryptedParquet is a [Store] of Parquet files that are encrypted themselves (Parquet
// Modular Encryption), so that readers that have the keys can read the objects where they
// lie. It refuses whatever else is put: a Parquet file with an encrypted footer begins and
// ends with "PARE", one with a readable footer with "PAR1" (Parquet format, Encryption.md,
// section 5). The footer tells nothing of the columns without its key: that all of them are
// encrypted, and under the owner's key, is the encoder's duty.
//
// Table metadata is not Parquet of this kind and belongs into another store.
type EncryptedParquet struct {
	Store
}

// Put implements [Store]; it returns [ErrClear] for a body of another kind.
func (e EncryptedParquet) Put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	magic := []byte("PARE")
	// Between the two lie a footer of at least one byte and its length.
	if len(body) < 13 || !bytes.HasPrefix(body, magic) || !bytes.HasSuffix(body, magic) {
		return fmt.Errorf("put %s: %w", name, ErrClear)
	}
	return e.Store.Put(ctx, name, owner, body)
}

// FilesConfig tunes the store of [NewEncryptedFiles].
type FilesConfig struct {
	// StaleAge is how old an unfinished file of a killed process must be before the first Put
	// of a later one removes it. Default one hour; it must exceed the longest Put.
	StaleAge time.Duration
}

// NewEncryptedFiles returns an [EncryptedParquet] store in a folder of a local file system
// that has hard links. Each object is a file as it was put; the first Put makes the folder.
// Reads do not authenticate: the reader of the Parquet file does. The owner is checked and
// otherwise without effect, because the body is encrypted under its key already.
func NewEncryptedFiles(root string, cfg FilesConfig) EncryptedParquet {
	return EncryptedParquet{&files{newFolder(root, cfg.StaleAge)}}
}

// files keeps bodies as they are. It is reached only through EncryptedParquet.
type files struct{ folder }

func (s *files) Put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	err := errors.Join(ctx.Err(), ValidateName(name), ValidateOwner(owner))
	if err == nil {
		err = s.create(name, func(w io.Writer) error { return writeAll(ctx, w, body) })
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

// writeAll writes in steps, so that a Put that is given up ends soon.
func writeAll(ctx context.Context, w io.Writer, body []byte) error {
	const step = 1 << 20
	for len(body) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(step, len(body))
		if _, err := w.Write(body[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

func (s *files) Open(ctx context.Context, name string) (Object, error) {
	f, size, err := s.file(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &fileObject{f, size}, nil
}

// fileObject is an open file of a known size.
type fileObject struct {
	*os.File
	size int64
}

func (o *fileObject) Size() int64 { return o.size }
