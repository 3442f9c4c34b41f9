// Package detokenizetest makes certificates for tests of the vault's service.
package detokenizetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/cardlake/cardlake/tokenize/detokenize"
)

// validity is long, so that a test's clock may run ahead.
const validity = 1000 * 24 * time.Hour

// Authority signs certificates and keeps its own in a folder.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority whose certificate is NAME.pem in the folder.
func NewAuthority(dir, name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(validity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, key: key}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, write(a.CA(), "CERTIFICATE", der)
}

// CA is the file of the authority's certificate.
func (a *Authority) CA() string { return filepath.Join(a.dir, a.cert.Subject.CommonName+".pem") }

// Certificate says what to sign.
type Certificate struct {
	Name     string        // common name; the files are NAME.pem and NAME.key
	URIs     []string      // subject alternative names
	IsServer bool          // for localhost and the loopback addresses
	Age      time.Duration // how long ago it ran out; if zero, it is valid for 1,000 days
}

// Issue signs a certificate and returns its files.
func (a *Authority) Issue(c Certificate) (detokenize.Files, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: c.Name},
		NotBefore: a.cert.NotBefore, NotAfter: time.Now().Add(validity),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if c.Age > 0 {
		template.NotAfter = time.Now().Add(-c.Age)
	}
	if c.IsServer {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.DNSNames, template.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	for _, s := range c.URIs {
		u, err := url.Parse(s)
		if err != nil {
			return detokenize.Files{}, err
		}
		template.URIs = append(template.URIs, u)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return detokenize.Files{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return detokenize.Files{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return detokenize.Files{}, err
	}
	f := detokenize.Files{Cert: filepath.Join(a.dir, c.Name+".pem"), Key: filepath.Join(a.dir, c.Name+".key"), CA: a.CA()}
	if err := write(f.Cert, "CERTIFICATE", der); err != nil {
		return detokenize.Files{}, err
	}
	return f, write(f.Key, "PRIVATE KEY", private)
}

func write(path, kind string, der []byte) error {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return fmt.Errorf("test certificate: %w", err)
	}
	return nil
}
