package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
)

// OpenFile opens the keyring at path with the secret in the file secretPath, of which
// surrounding white space is dropped.
func OpenFile(path, secretPath string) (*Keyring, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open keyring %s: %w", path, ErrMissing)
	}
	info, err := os.Stat(secretPath)
	if err != nil {
		return nil, fmt.Errorf("open keyring %s: secret: %w", path, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("open keyring %s: secret %s: %w", path, secretPath, ErrMode)
	}
	secret, err := os.ReadFile(secretPath)
	if err != nil {
		return nil, fmt.Errorf("open keyring %s: secret: %w", path, err)
	}
	defer clear(secret)
	return Open(path, bytes.TrimSpace(secret))
}

// CreateFile creates a keyring at path and draws its secret, 256 bits spelled in letters,
// into the file secretPath, mode 0600. A secret file that is there already is used as it is.
func CreateFile(path, secretPath string, purposes []keys.Purpose) (*Keyring, error) {
	f, err := os.OpenFile(secretPath, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		key := keys.NewKey()
		_, err := f.Write(append(cardlake.AppendLetters(nil, key.Bytes()), '\n'))
		key.Destroy()
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return nil, fmt.Errorf("create keyring %s: secret: %w", path, err)
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("create keyring %s: secret: %w", path, err)
	}
	secret, err := os.ReadFile(secretPath)
	if err != nil {
		return nil, fmt.Errorf("create keyring %s: secret: %w", path, err)
	}
	defer clear(secret)
	return Create(path, bytes.TrimSpace(secret), purposes)
}
