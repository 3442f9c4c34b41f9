// Package local is a keyring in one file, for one machine: the embedded default, where no
// key management service is at hand. The file holds key-encryption keys and secrets, each
// wrapped with AES-256-GCM under a master key that Argon2id (RFC 9106) derives from a
// passphrase or from a secret the operating system keeps; the passphrase is never in it.
//
// A keyring serves the purposes it was created for. The demo keeps two: one for zone A
// (seal, mint, reverse, index), one for the lake (object, audit), so that a process which
// was given the second cannot open a card number.
package local

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"golang.org/x/crypto/argon2"
)

var (
	// ErrSecret says that the passphrase does not open the keyring.
	ErrSecret = errors.New("the secret does not open this keyring")
	// ErrMissing says that there is no keyring file.
	ErrMissing = errors.New("no keyring")
	// ErrMode says that others than the owner may read the file.
	ErrMode = errors.New("readable by others than its owner: chmod 600 it")
)

// file is the keyring as it lies on disk.
type file struct {
	Format   string         `json:"format"`
	KDF      kdf            `json:"kdf"`
	Purposes []keys.Purpose `json:"purposes"`
	Check    []byte         `json:"check"` // a zero key wrapped under the master key
	Keys     []entry        `json:"keys"`
}

const format = "cardlake keyring 1"

// kdf holds Argon2id's parameters: RFC 9106, section 4, second recommended option.
type kdf struct {
	Name      string `json:"name"`
	Salt      []byte `json:"salt"`
	Time      uint32 `json:"time"`
	MemoryKiB uint32 `json:"memory_kib"`
	Threads   uint8  `json:"threads"`
}

// entry is one key-encryption key or secret. Wrapped is empty once it was destroyed.
type entry struct {
	ID        string       `json:"id"`
	Owner     keys.Owner   `json:"owner"`
	Purpose   keys.Purpose `json:"purpose"`
	Version   int          `json:"version"`
	Created   time.Time    `json:"created"`
	Destroyed *time.Time   `json:"destroyed,omitempty"`
	Wrapped   []byte       `json:"wrapped,omitempty"`
}

func (e *entry) scope() keys.Scope { return keys.Scope{Owner: e.Owner, Purpose: e.Purpose} }

// aad binds an entry's wrapped bytes to all that names it, so that entries can't be swapped.
func (e *entry) aad() []byte {
	return fmt.Appendf(nil, "cardlake keyring entry\x00%s\x00%s\x00%s\x00%d", e.ID, e.Owner, e.Purpose, e.Version)
}

// Keyring implements keys.Provider and keys.Secrets. It is safe for concurrent use. One
// process at a time may change a keyring file; others see its changes when they miss a key.
type Keyring struct {
	path   string
	master cipher.AEAD

	mu     sync.RWMutex
	file   file
	mtime  time.Time
	newest map[keys.Scope]*opened
	byID   map[string]*opened
}

type opened struct {
	entry *entry
	key   keys.Key
	wrap  cipher.AEAD
}

// Create makes a keyring file for the purposes, with no keys yet, mode 0600. The file must
// not exist. The secret is not kept.
func Create(path string, secret []byte, purposes []keys.Purpose) (*Keyring, error) {
	if err := checkSecret(secret); err != nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, err)
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	f := file{
		Format: format, Purposes: purposes, Keys: []entry{},
		KDF: kdf{Name: "argon2id", Salt: salt, Time: 3, MemoryKiB: 64 << 10, Threads: 4},
	}
	k := &Keyring{path: path, file: f, master: f.KDF.derive(secret)}
	k.file.Check = seal(k.master, make([]byte, 32), []byte(format))
	k.index()
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, fs.ErrExist)
	}
	if err := k.save(k.file); err != nil {
		return nil, err
	}
	return k, nil
}

// Open reads the keyring file at path with its secret. The errors ErrMissing, ErrMode and
// ErrSecret tell what is wrong.
func Open(path string, secret []byte) (*Keyring, error) {
	f, mtime, err := load(path)
	if err != nil {
		return nil, err
	}
	if err := checkSecret(secret); err != nil {
		return nil, fmt.Errorf("open keyring %s: %w", path, err)
	}
	k := &Keyring{path: path, master: f.KDF.derive(secret)}
	if _, err := open(k.master, f.Check, []byte(format)); err != nil {
		return nil, fmt.Errorf("open keyring %s: %w", path, ErrSecret)
	}
	k.file, k.mtime = f, mtime
	if err := k.unwrapAll(); err != nil {
		return nil, err
	}
	return k, nil
}

// minSecret is the fewest bytes a secret may have: below it no derivation helps.
const minSecret = 12

func checkSecret(secret []byte) error {
	if len(secret) < minSecret {
		return fmt.Errorf("%w: it has %d bytes, want at least %d", ErrSecret, len(secret), minSecret)
	}
	return nil
}

func load(path string) (file, time.Time, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return file{}, time.Time{}, fmt.Errorf("open keyring %s: %w", path, ErrMissing)
	}
	if err != nil {
		return file{}, time.Time{}, fmt.Errorf("open keyring: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return file{}, time.Time{}, fmt.Errorf("open keyring %s: %w", path, ErrMode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return file{}, time.Time{}, fmt.Errorf("open keyring: %w", err)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil || f.Format != format {
		return file{}, time.Time{}, fmt.Errorf("open keyring %s: not a keyring file of format %q", path, format)
	}
	if err := f.KDF.check(); err != nil {
		return file{}, time.Time{}, fmt.Errorf("open keyring %s: %w", path, err)
	}
	return f, info.ModTime(), nil
}

// check bounds the parameters, which are read before anything is authenticated.
func (p kdf) check() error {
	if p.Name != "argon2id" || len(p.Salt) < 16 || p.Time < 1 || p.Time > 100 || p.MemoryKiB < 8<<10 || p.MemoryKiB > 1<<20 || p.Threads < 1 {
		return errors.New("key derivation parameters are out of bounds")
	}
	return nil
}

func (p kdf) derive(secret []byte) cipher.AEAD {
	master := argon2.IDKey(secret, p.Salt, p.Time, p.MemoryKiB, p.Threads, 32)
	defer clear(master)
	return newGCM(master)
}

func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // keys are 32 bytes by construction
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// seal prepends a random nonce.
func seal(aead cipher.AEAD, plain, aad []byte) []byte {
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, plain, aad)
}

func open(aead cipher.AEAD, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < aead.NonceSize() {
		return nil, keys.ErrUnwrap
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], aad)
	if err != nil {
		return nil, keys.ErrUnwrap
	}
	return plain, nil
}

// unwrapAll opens every entry. The caller holds the lock or is the only one to know k.
func (k *Keyring) unwrapAll() error {
	k.index()
	for i := range k.file.Keys {
		e := &k.file.Keys[i]
		if len(e.Wrapped) == 0 {
			continue
		}
		plain, err := open(k.master, e.Wrapped, e.aad())
		if err != nil {
			return fmt.Errorf("open keyring %s: entry %s of %s was changed: %w", k.path, e.ID, e.scope(), err)
		}
		if err := k.add(e, plain); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keyring) index() {
	k.newest, k.byID = map[keys.Scope]*opened{}, map[string]*opened{}
}

func (k *Keyring) add(e *entry, plain []byte) error {
	key, err := keys.KeyFrom(plain)
	clear(plain)
	if err != nil {
		return fmt.Errorf("open keyring %s: entry %s: %w", k.path, e.ID, err)
	}
	o := &opened{entry: e, key: key, wrap: newGCM(key.Bytes())}
	k.byID[e.ID] = o
	if old := k.newest[e.scope()]; old == nil || old.entry.Version < e.Version {
		k.newest[e.scope()] = o
	}
	return nil
}

// EnsureOwners gives each owner a first key for every purpose of the keyring, and saves the
// file once if any was missing. An owner whose keys were destroyed gets no new ones.
func (k *Keyring) EnsureOwners(_ context.Context, owners ...keys.Owner) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.file
	next.Keys = slices.Clone(k.file.Keys)
	known := map[keys.Scope]bool{}
	for i := range next.Keys {
		known[next.Keys[i].scope()] = true
	}
	for _, owner := range owners {
		for _, purpose := range next.Purposes {
			if known[keys.Scope{Owner: owner, Purpose: purpose}] {
				continue
			}
			var id [8]byte
			rand.Read(id[:])
			e := entry{
				ID: string(cardlake.AppendLetters(nil, id[:])), Owner: owner, Purpose: purpose,
				Version: 1, Created: time.Now().UTC().Truncate(time.Second),
			}
			key := keys.NewKey()
			e.Wrapped = seal(k.master, key.Bytes(), e.aad())
			key.Destroy()
			next.Keys = append(next.Keys, e)
		}
	}
	if len(next.Keys) == len(k.file.Keys) {
		return nil
	}
	return k.replace(next)
}

// DestroyOwner overwrites every key of the owner and saves the file: what they encrypted
// can never be read again.
func (k *Keyring) DestroyOwner(_ context.Context, owner keys.Owner) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.file
	next.Keys = slices.Clone(k.file.Keys)
	now := time.Now().UTC().Truncate(time.Second)
	found := false
	for i := range next.Keys {
		if e := &next.Keys[i]; e.Owner == owner && len(e.Wrapped) > 0 {
			e.Wrapped, e.Destroyed, found = nil, &now, true
		}
	}
	if !found {
		return fmt.Errorf("destroy keys of %s: %w", owner, keys.ErrNoKey)
	}
	return k.replace(next)
}

// replace saves next and takes it over. The caller holds the lock.
func (k *Keyring) replace(next file) error {
	if err := k.save(next); err != nil {
		return err
	}
	for _, o := range k.byID {
		o.key.Destroy()
	}
	k.file = next
	return k.unwrapAll()
}

func (k *Keyring) save(f file) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("save keyring: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(k.path), ".keyring-*") // mode 0600
	if err != nil {
		return fmt.Errorf("save keyring: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("save keyring: %w", err)
	}
	if err := os.Rename(tmp.Name(), k.path); err != nil {
		return fmt.Errorf("save keyring: %w", err)
	}
	dir, err := os.Open(filepath.Dir(k.path))
	if err != nil {
		return fmt.Errorf("save keyring: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("save keyring: %w", err)
	}
	if info, err := os.Stat(k.path); err == nil {
		k.mtime = info.ModTime()
	}
	return nil
}

// find returns what pick selects, and rereads the file once when it selects nothing and
// another process has changed it.
func (k *Keyring) find(pick func() *opened) (*opened, error) {
	k.mu.RLock()
	o := pick()
	mtime := k.mtime
	k.mu.RUnlock()
	if o != nil {
		return o, nil
	}
	info, err := os.Stat(k.path)
	if err != nil || info.ModTime().Equal(mtime) {
		return nil, nil
	}
	f, mtime, err := load(k.path)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(f.Check, k.file.Check) {
		return nil, fmt.Errorf("keyring %s was replaced by another: %w", k.path, ErrSecret)
	}
	k.file, k.mtime = f, mtime
	if err := k.unwrapAll(); err != nil {
		return nil, err
	}
	return pick(), nil
}

func (k *Keyring) newestOf(scope keys.Scope) (*opened, error) {
	o, err := k.find(func() *opened { return k.newest[scope] })
	if err == nil && o == nil {
		err = fmt.Errorf("%w for %s in keyring %s", keys.ErrNoKey, scope, k.path)
	}
	return o, err
}

// wrapped data key: version byte, id of the key-encryption key, nonce, ciphertext, tag.
const (
	wrapVersion = 1
	wrapHeader  = 1 + 16
	wrapLen     = wrapHeader + 12 + 32 + 16
)

func wrapAAD(scope keys.Scope) []byte { return []byte("cardlake data key\x00" + scope.String()) }

// NewDataKey implements keys.Provider. The wrapped key has 77 bytes.
func (k *Keyring) NewDataKey(_ context.Context, scope keys.Scope) (keys.Key, []byte, error) {
	o, err := k.newestOf(scope)
	if err != nil {
		return keys.Key{}, nil, err
	}
	key := keys.NewKey()
	wrapped := make([]byte, 0, wrapLen)
	wrapped = append(wrapped, wrapVersion)
	wrapped = append(wrapped, o.entry.ID...)
	wrapped = append(wrapped, seal(o.wrap, key.Bytes(), wrapAAD(scope))...)
	return key, wrapped, nil
}

// UnwrapDataKey implements keys.Provider.
func (k *Keyring) UnwrapDataKey(_ context.Context, scope keys.Scope, wrapped []byte) (keys.Key, error) {
	if len(wrapped) != wrapLen || wrapped[0] != wrapVersion {
		return keys.Key{}, fmt.Errorf("unwrap data key of %s: %w", scope, keys.ErrUnwrap)
	}
	id := string(wrapped[1:wrapHeader])
	o, err := k.find(func() *opened { return k.byID[id] })
	if err != nil {
		return keys.Key{}, err
	}
	if o == nil {
		return keys.Key{}, fmt.Errorf("unwrap data key of %s: %w", scope, keys.ErrNoKey)
	}
	if o.entry.scope() != scope {
		return keys.Key{}, fmt.Errorf("unwrap data key of %s: %w", scope, keys.ErrUnwrap)
	}
	plain, err := open(o.wrap, wrapped[wrapHeader:], wrapAAD(scope))
	if err != nil {
		return keys.Key{}, fmt.Errorf("unwrap data key of %s: %w", scope, err)
	}
	defer clear(plain)
	return keys.KeyFrom(plain)
}

// Secret implements keys.Secrets.
func (k *Keyring) Secret(_ context.Context, scope keys.Scope) (int, keys.Key, error) {
	o, err := k.newestOf(scope)
	if err != nil {
		return 0, keys.Key{}, err
	}
	key, err := keys.KeyFrom(o.key.Bytes())
	return o.entry.Version, key, err
}

var (
	_ keys.Provider = (*Keyring)(nil)
	_ keys.Secrets  = (*Keyring)(nil)
)
