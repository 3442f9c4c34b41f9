package detokenize

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Files are the certificates of one side, PEM. They are read for each connection, so that
// renewed ones are taken up without a restart.
type Files struct {
	Cert, Key string // one's own
	CA        string // signs the other side's
}

func (f Files) pair() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &pair, nil
}

func (f Files) pool() (*x509.CertPool, error) {
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("authority: %s holds no certificate", f.CA)
	}
	return pool, nil
}

// Check reports every file that can't be used.
func (f Files) Check() error {
	_, pairErr := f.pair()
	_, poolErr := f.pool()
	return errors.Join(pairErr, poolErr)
}

// Server is the service's side: TLS 1.3, a client's certificate required. Sessions are not
// resumed, because that would not verify the certificate again.
func (f Files) Server() (*tls.Config, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	base := &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled: true, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.pair() },
	}
	config := base.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool, err := f.pool()
		if err != nil {
			return nil, err
		}
		c := base.Clone()
		c.ClientCAs = pool
		return c, nil
	}
	return config, nil
}

// Client is a client's side. The authority is read now, the client's own certificate for
// each connection.
func (f Files) Client() (*tls.Config, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	pool, err := f.pool()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return f.pair() },
	}, nil
}
