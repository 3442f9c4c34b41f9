package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
)

const (
	credentialPrefix = "credential:"
	kernelPrefix     = "kernel:"
)

// ReadSecret returns the secret that ref names, without surrounding white space; the caller
// clears it:
//
//   - "credential:name" is a credential that systemd gives to the service
//     (LoadCredentialEncrypted= in its unit, which may bind it to the machine's TPM): the file
//     of that name in $CREDENTIALS_DIRECTORY;
//   - "kernel:description" is a key of type "user" that the process finds in the Linux kernel's
//     key retention service: in its thread's, process's or session's keyring (keyrings(7));
//   - anything else is a file's path. ErrMode says that others than its owner may read it.
func ReadSecret(ref string) ([]byte, error) {
	var (
		secret []byte
		err    error
	)
	if name, ok := strings.CutPrefix(ref, credentialPrefix); ok {
		secret, err = readCredential(name)
	} else if description, ok := strings.CutPrefix(ref, kernelPrefix); ok {
		secret, err = readKernelKey(description)
	} else {
		secret, err = readPrivate(ref, 0o077)
	}
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	return bytes.TrimSpace(secret), nil
}

// readCredential allows the group to read: where systemd grants the service's user access by
// an ACL, that is how the ACL's mask shows.
func readCredential(name string) ([]byte, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return nil, errors.New("CREDENTIALS_DIRECTORY is not set: give the service the credential in its systemd unit")
	}
	if name == "" || name == ".." || strings.ContainsRune(name, filepath.Separator) {
		return nil, errors.New("the credential's name is no file name")
	}
	return readPrivate(filepath.Join(dir, name), 0o007)
}

func readPrivate(path string, forbidden fs.FileMode) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&forbidden != 0 {
		return nil, fmt.Errorf("%s: %w", path, ErrMode)
	}
	secret := make([]byte, maxSecret+1)
	n, err := f.Read(secret)
	if err != nil {
		return nil, err
	}
	if n > maxSecret {
		clear(secret)
		return nil, fmt.Errorf("%s: longer than %d bytes", path, maxSecret)
	}
	return secret[:n], nil
}

// maxSecret is more than any passphrase has: who names a wrong file hears of it.
const maxSecret = 4096

// OpenFile opens the keyring at path with the secret that ref names, as ReadSecret does.
func OpenFile(path, ref string) (*Keyring, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open keyring %s: %w", path, ErrMissing)
	}
	secret, err := ReadSecret(ref)
	if err != nil {
		return nil, fmt.Errorf("open keyring %s: %w", path, err)
	}
	defer clear(secret)
	return Open(path, secret)
}

// CreateFile creates a keyring at path with the secret that ref names. If ref is the path of
// a file that does not exist, it first draws a secret, 256 bits spelled in letters, into that
// file, mode 0600.
func CreateFile(path, ref string, purposes []keys.Purpose) (*Keyring, error) {
	if !strings.HasPrefix(ref, credentialPrefix) && !strings.HasPrefix(ref, kernelPrefix) {
		if err := drawSecret(ref); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("create keyring %s: secret: %w", path, err)
		}
	}
	secret, err := ReadSecret(ref)
	if err != nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, err)
	}
	defer clear(secret)
	return Create(path, secret, purposes)
}

func drawSecret(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	key := keys.NewKey()
	defer key.Destroy()
	text := append(cardlake.AppendLetters(nil, key.Bytes()), '\n')
	defer clear(text)
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
