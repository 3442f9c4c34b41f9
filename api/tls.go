package api

import (
	"crypto/tls"
	"fmt"

	"github.com/cardlake/cardlake/catalog/signin"
)

// Files are the server's certificate and key, PEM, read for each connection, so that renewed
// ones are taken up without a restart.
type Files struct {
	Cert, Key string
	// Clients sign the certificates of clients; nil asks for none.
	Clients *signin.Authorities
	// TLS12 takes TLS 1.2 too, with forward secrecy and authenticated encryption only. Default is
	// TLS 1.3.
	TLS12 bool
}

func (f Files) pair() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &pair, nil
}

// suites are those of TLS 1.2 that are taken (RFC 9325 section 4.2).
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// Server is the server's side of TLS. A client's certificate is asked for if there are
// authorities, and verified if it is shown; what it is good for is for sign-in to say. Sessions
// are not resumed, because that would not verify a certificate again.
func (f Files) Server() (*tls.Config, error) {
	if _, err := f.pair(); err != nil {
		return nil, err
	}
	base := &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, NextProtos: []string{"h2", "http/1.1"}, CipherSuites: suites,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.pair() },
	}
	if f.TLS12 {
		base.MinVersion = tls.VersionTLS12
	}
	if f.Clients == nil {
		return base, nil
	}
	if _, err := f.Clients.Pool(); err != nil {
		return nil, err
	}
	base.ClientAuth = tls.VerifyClientCertIfGiven
	config := base.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool, err := f.Clients.Pool()
		if err != nil {
			return nil, err
		}
		c := base.Clone()
		c.ClientCAs = pool
		return c, nil
	}
	return config, nil
}
