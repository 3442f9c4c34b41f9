package kafkareal

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// makeCertificates writes an authority, and by it a certificate of the broker and one of a
// client, all good for a day.
func (b *Broker) makeCertificates() error {
	b.CAFile = filepath.Join(b.dir, "ca.pem")
	b.CertFile, b.KeyFile = filepath.Join(b.dir, "client.pem"), filepath.Join(b.dir, "client.key")
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		}
	}
	authority := template(1, "cardlake test authority")
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, &signer.PublicKey, signer)
	if err != nil {
		return err
	}
	if err := writePEM(b.CAFile, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return err
	}
	issue := func(c *x509.Certificate) (cert, key *pem.Block, err error) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		der, err := x509.CreateCertificate(rand.Reader, c, authority, &private.PublicKey, signer)
		if err != nil {
			return nil, nil, err
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
		return &pem.Block{Type: "CERTIFICATE", Bytes: der}, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}, err
	}
	broker := template(2, "localhost")
	broker.DNSNames, broker.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	broker.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	cert, key, err := issue(broker)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(b.dir, "broker.pem"), key, cert); err != nil {
		return err
	}
	client := template(3, "cardlake-worker")
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if cert, key, err = issue(client); err != nil {
		return err
	}
	if err := writePEM(b.CertFile, cert); err != nil {
		return err
	}
	return writePEM(b.KeyFile, key)
}

func writePEM(path string, blocks ...*pem.Block) error {
	var text []byte
	for _, block := range blocks {
		text = append(text, pem.EncodeToMemory(block)...)
	}
	return os.WriteFile(path, text, 0o600)
}
