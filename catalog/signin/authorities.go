package signin

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Authorities are the certificates that sign clients', in a PEM file that is read again when it
// has changed. There are no lists of revoked certificates: services' are to be short-lived, and
// an authority that is taken out of the file is trusted no more, also on connections that are
// open.
type Authorities struct {
	path string

	mu      sync.Mutex
	changed time.Time
	size    int64
	pool    *x509.CertPool
	roots   map[[sha256.Size]byte]bool
}

// NewAuthorities returns the authorities of the file at path, which is not read yet.
func NewAuthorities(path string) *Authorities { return &Authorities{path: path} }

// read reads the file if it has changed. The caller holds the lock. A file that can't be read
// leaves no authority.
func (a *Authorities) read() error {
	info, err := os.Stat(a.path)
	if err == nil && a.pool != nil && info.ModTime().Equal(a.changed) && info.Size() == a.size {
		return nil
	}
	a.pool, a.roots = nil, nil
	if err != nil {
		return fmt.Errorf("clients' authorities: %w", err)
	}
	text, err := os.ReadFile(a.path)
	if err != nil {
		return fmt.Errorf("clients' authorities: %w", err)
	}
	pool, roots := x509.NewCertPool(), map[[sha256.Size]byte]bool{}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return errors.New("clients' authorities: the file holds something else than certificates")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("clients' authorities: %w", err)
		}
		pool.AddCert(c)
		roots[sha256.Sum256(c.Raw)] = true
	}
	if len(roots) == 0 {
		return fmt.Errorf("clients' authorities: %s holds no certificate", a.path)
	}
	a.pool, a.roots, a.changed, a.size = pool, roots, info.ModTime(), info.Size()
	return nil
}

// Pool returns the authorities of now.
func (a *Authorities) Pool() (*x509.CertPool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.read()
	return a.pool, err
}

// Trust returns an *Error unless one of the chains, verified when the connection began, ends
// in an authority of now.
func (a *Authorities) Trust(chains [][]*x509.Certificate) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.read(); err != nil {
		return &Error{Reason: Unreadable, Err: err}
	}
	for _, chain := range chains {
		if a.roots[sha256.Sum256(chain[len(chain)-1].Raw)] {
			return nil
		}
	}
	return refuse(CertificateRoot)
}
