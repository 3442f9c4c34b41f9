package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
)

const (
	signerName = "signer.json"
	// seedLabel keeps the signing key apart from all else that could be made of the same secret
	// (RFC 5869, section 3.2).
	seedLabel = "cardlake audit checkpoint ed25519 1"
)

// signerFile lists a log's signing keys, the newest last.
type signerFile struct {
	Keys []signerKey `json:"keys"`
}

type signerKey struct {
	ID      string    `json:"id"`
	Public  string    `json:"public"` // in letters a to p
	Created time.Time `json:"created"`
	// Wrapped is the data key that the signing key is derived from, wrapped under the scope
	// lake/audit, in letters. Only the newest has it.
	Wrapped string `json:"wrapped,omitempty"`
}

// Signer signs checkpoints. No formatting shows its key.
type Signer struct{ private **ed25519.PrivateKey }

// OpenSigner returns the signer of the log in the folder dir, and makes its key if it has
// none. The key is Ed25519 (RFC 8032), derived by HKDF-SHA-256 (RFC 5869) from a data key
// that lies, wrapped under the scope lake/audit, in a file of the folder: who signs must be
// permitted to unwrap. A file that was replaced makes checkpoints that do not verify with the
// public key that an auditor has pinned.
func OpenSigner(ctx context.Context, dir string, provider keys.Provider) (*Signer, error) {
	s, err := openSigner(ctx, dir, provider)
	if err != nil {
		return nil, fmt.Errorf("signing key of the audit log: %w", err)
	}
	return s, nil
}

func openSigner(ctx context.Context, dir string, provider keys.Provider) (*Signer, error) {
	file, err := readSigner(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		var first signerFile
		if err := first.add(ctx, provider); err != nil {
			return nil, err
		}
		if err := writeSigner(dir, first, os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		file, err = readSigner(dir) // of another process, if that was first
	}
	if err != nil {
		return nil, err
	}
	newest := file.Keys[len(file.Keys)-1]
	wrapped, err := letters(newest.Wrapped)
	if err != nil {
		return nil, errSigner
	}
	secret, err := provider.UnwrapDataKey(ctx, scope, wrapped)
	if err != nil {
		return nil, err
	}
	defer secret.Destroy()
	s, err := newSigner(secret)
	if err != nil {
		return nil, err
	}
	if newest.ID != KeyID(s.Public()) {
		return nil, errSigner
	}
	return s, nil
}

var errSigner = errors.New(signerName + " is damaged: restore it from a backup, or remove it and have its new public key pinned")

// RotateSigner gives the log in the folder a new signing key, which those who open it from now
// on sign with. The public key of the one before stays listed; the key itself is forgotten.
func RotateSigner(ctx context.Context, dir string, provider keys.Provider) error {
	file, err := readSigner(dir)
	if err == nil {
		for i := range file.Keys {
			file.Keys[i].Wrapped = ""
		}
		if err = file.add(ctx, provider); err == nil {
			err = writeSigner(dir, file, os.Rename)
		}
	}
	if err != nil {
		return fmt.Errorf("rotate signing key of the audit log: %w", err)
	}
	return nil
}

// add draws a key and lists it last.
func (f *signerFile) add(ctx context.Context, provider keys.Provider) error {
	secret, wrapped, err := provider.NewDataKey(ctx, scope)
	if err != nil {
		return err
	}
	defer secret.Destroy()
	s, err := newSigner(secret)
	if err != nil {
		return err
	}
	f.Keys = append(f.Keys, signerKey{
		ID: KeyID(s.Public()), Public: string(cardlake.AppendLetters(nil, s.Public())), Created: stamp(time.Now()),
		Wrapped: string(cardlake.AppendLetters(nil, wrapped)),
	})
	return nil
}

func readSigner(dir string) (f signerFile, err error) {
	text, err := os.ReadFile(filepath.Join(dir, signerName))
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(text, &f); err != nil || len(f.Keys) == 0 {
		return f, errSigner
	}
	return f, nil
}

// writeSigner writes the file beside its place and has move put it there.
func writeSigner(dir string, f signerFile, move func(from, to string) error) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".signer-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := move(tmp.Name(), filepath.Join(dir, signerName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// PublicKeys returns the public keys that the log in the folder has signed with, the newest
// first. They are what the folder says: an auditor compares their [KeyID] with the operator's
// over another channel once, pins them, and from then on trusts no folder.
func PublicKeys(dir string) ([]ed25519.PublicKey, error) {
	f, err := readSigner(dir)
	if err != nil {
		return nil, fmt.Errorf("public keys of the audit log: %w", err)
	}
	var out []ed25519.PublicKey
	for i := range f.Keys {
		k := f.Keys[len(f.Keys)-1-i]
		b, err := letters(k.Public)
		if err != nil || len(b) != ed25519.PublicKeySize || KeyID(b) != k.ID {
			return nil, fmt.Errorf("public keys of the audit log: %w", errSigner)
		}
		out = append(out, b)
	}
	return out, nil
}

func newSigner(secret keys.Key) (*Signer, error) {
	seed, err := hkdf.Key(sha256.New, secret.Bytes(), nil, seedLabel, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	defer clear(seed)
	private := new(ed25519.PrivateKey)
	*private = ed25519.NewKeyFromSeed(seed)
	return &Signer{&private}, nil
}

// Public returns the key that verifies what the signer signs.
func (s *Signer) Public() ed25519.PublicKey {
	return (**s.private).Public().(ed25519.PublicKey)
}

// Format implements fmt.Formatter: every verb prints a placeholder.
func (s *Signer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "signer(redacted)") }

// LogValue implements slog.LogValuer.
func (s *Signer) LogValue() slog.Value { return slog.StringValue("signer(redacted)") }

func (s *Signer) sign(h Head, at time.Time) SignedHead {
	out := SignedHead{Head: h, Time: at, Checkpoint: Checkpoint{Key: KeyID(s.Public())}}
	out.Signature = string(cardlake.AppendLetters(nil, ed25519.Sign(**s.private, out.statement())))
	return out
}

// KeyID names a public key: the first 8 bytes of its SHA-256, in letters a to p.
func KeyID(p ed25519.PublicKey) string {
	sum := sha256.Sum256(p)
	return string(cardlake.AppendLetters(nil, sum[:8]))
}

// pemType is that of a SubjectPublicKeyInfo (RFC 7468, section 13).
const pemType = "PUBLIC KEY"

// MarshalPublic writes public keys as PEM, which openssl reads too.
func MarshalPublic(public ...ed25519.PublicKey) ([]byte, error) {
	var out []byte
	for _, p := range public {
		der, err := x509.MarshalPKIXPublicKey(p)
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})...)
	}
	return out, nil
}

// ParsePublic reads what MarshalPublic wrote: at least one key, and nothing else but text
// between them.
func ParsePublic(text []byte) ([]ed25519.PublicKey, error) {
	var out []ed25519.PublicKey
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		p, ok := key.(ed25519.PublicKey)
		if err != nil || !ok || block.Type != pemType {
			return nil, errors.New("a PEM block is not an Ed25519 public key")
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, errors.New("there is no public key in PEM")
	}
	return out, nil
}
