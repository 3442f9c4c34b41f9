package signin

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// maxSecretFile bounds a file with a client's secret or key, in bytes.
const maxSecretFile = 64 << 10

// assertionLife is how long a client's assertion is good: it is used at once.
const assertionLife = time.Minute

// authenticate shows the token endpoint which client asks (OpenID Connect Core 1.0 section 9).
func (c *Client) authenticate(endpoint string, form url.Values, header http.Header) error {
	switch {
	case c.cfg.SecretFile != "":
		text, err := readSecret(c.cfg.SecretFile)
		if err != nil {
			return err
		}
		secret := strings.TrimSpace(string(text))
		if secret == "" {
			return errors.New("the file of the client's secret is empty")
		}
		// RFC 6749 section 2.3.1: both are encoded as in a form before they are joined.
		r := http.Request{Header: header}
		r.SetBasicAuth(url.QueryEscape(c.cfg.ID), url.QueryEscape(secret))
	case c.cfg.KeyFile != "":
		assertion, err := c.assertion(endpoint)
		if err != nil {
			return err
		}
		form.Set("client_id", c.cfg.ID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	default:
		form.Set("client_id", c.cfg.ID)
	}
	return nil
}

// assertion is signed with the client's key (RFC 7523 section 3).
func (c *Client) assertion(endpoint string) (string, error) {
	text, err := readSecret(c.cfg.KeyFile)
	if err != nil {
		return "", err
	}
	key, algorithm, err := signingKey(text)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: c.cfg.KeyID}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", errors.New("the client's key can't sign")
	}
	now := c.issuer.cfg.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": c.cfg.ID, "sub": c.cfg.ID, "aud": endpoint, "jti": draw(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", errors.New("the client's key can't sign")
	}
	return signed.CompactSerialize()
}

// signingKey reads a private key, PEM, and says by which algorithm it signs. Its errors quote
// nothing of it.
func signingKey(text []byte) (crypto.Signer, jose.SignatureAlgorithm, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, "", errors.New("the file of the client's key is not PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, "", errors.New("the file of the client's key holds no private key")
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() >= minRSA {
			return k, jose.RS256, nil
		}
	case *ecdsa.PrivateKey:
		if a := map[int]jose.SignatureAlgorithm{256: jose.ES256, 384: jose.ES384, 521: jose.ES512}[k.Curve.Params().BitSize]; a != "" {
			return k, a, nil
		}
	case ed25519.PrivateKey:
		return k, jose.EdDSA, nil
	}
	return nil, "", fmt.Errorf("the client's key is none of RSA of %d bits or more, P-256, P-384, P-521 and Ed25519", minRSA)
}

// readSecret reads a file of bounded size.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(text) > maxSecretFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxSecretFile)
	}
	return text, err
}
