package local

import "github.com/cardlake/cardlake/keys"

// CreateQuick is Create with the least costs of derivation that Open accepts.
func CreateQuick(path string, secret []byte, purposes []keys.Purpose) (*Keyring, error) {
	p := newKDF()
	p.Time, p.MemoryKiB = 1, 8<<10
	return create(path, secret, purposes, p)
}
