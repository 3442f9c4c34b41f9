// Package signintest is an OpenID Connect issuer and an authority of certificates for tests of
// doors: real TLS and real signatures, and every way of doing them wrong.
package signintest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Audience is what tokens are for.
const Audience = "cardlake"

// Issuer is an issuer that answers over TLS.
type Issuer struct {
	URL string
	// Discoveries and KeyRequests count what was asked of it.
	Discoveries, KeyRequests atomic.Int64
	// Down makes it answer nothing but errors.
	Down atomic.Bool
	// Document changes its discovery document.
	Document func(map[string]any)
	// Exchange answers its token endpoint; nil answers nothing but errors.
	Exchange http.HandlerFunc

	tb     testing.TB
	server *httptest.Server
	mu     sync.Mutex
	keys   []Key // the last signs
}

// Key is a key of an issuer.
type Key struct {
	ID        string
	Algorithm jose.SignatureAlgorithm
	Private   crypto.Signer
}

// NewKey makes a key for the algorithm.
func NewKey(tb testing.TB, id string, algorithm jose.SignatureAlgorithm) Key {
	tb.Helper()
	var private crypto.Signer
	var err error
	switch algorithm {
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return Key{id, algorithm, private}
}

// Start starts an issuer with a key "one" for ES256.
func Start(tb testing.TB) *Issuer {
	tb.Helper()
	i := &Issuer{tb: tb, keys: []Key{NewKey(tb, "one", jose.ES256)}}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.Discoveries.Add(1)
		d := map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
			"end_session_endpoint": i.URL + "/end",
		}
		if i.Document != nil {
			i.Document(d)
		}
		_ = json.NewEncoder(w).Encode(d)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.KeyRequests.Add(1)
		_ = json.NewEncoder(w).Encode(i.published())
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if i.Exchange == nil {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		i.Exchange(w, r)
	})
	i.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.Down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	i.server.StartTLS()
	i.URL = i.server.URL
	tb.Cleanup(i.server.Close)
	return i
}

// Pool has the issuer's certificate.
func (i *Issuer) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.server.Certificate())
	return pool
}

// Certificate is the issuer's.
func (i *Issuer) Certificate() *x509.Certificate { return i.server.Certificate() }

// Key is the one that signs.
func (i *Issuer) Key() Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

// SetKeys replaces the keys; the last signs.
func (i *Issuer) SetKeys(keys ...Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

func (i *Issuer) published() jose.JSONWebKeySet {
	i.mu.Lock()
	defer i.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, k := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"})
	}
	return set
}

// Claims are those of a good token of the subject, with changes; a nil value takes a claim out.
func (i *Issuer) Claims(subject string, now time.Time, changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": i.URL, "sub": subject, "aud": []string{Audience, "another"}, "azp": "shell",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "amr": []string{"pwd", "mfa"},
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// Token is a good token of the subject, with changes of its claims.
func (i *Issuer) Token(subject string, now time.Time, changes map[string]any) string {
	i.tb.Helper()
	return Sign(i.tb, i.Key(), nil, i.Claims(subject, now, changes))
}

// Sign signs claims with a key, with more headers.
func Sign(tb testing.TB, k Key, headers map[jose.HeaderKey]any, claims map[string]any) string {
	tb.Helper()
	o := (&jose.SignerOptions{}).WithType("JWT")
	for name, value := range headers {
		o = o.WithHeader(name, value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.Algorithm, Key: jose.JSONWebKey{Key: k.Private, KeyID: k.ID}}, o)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		tb.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// Compact joins the parts of a token by hand: the header may say anything. sign may be nil.
func Compact(tb testing.TB, header string, claims map[string]any, sign func(input []byte) []byte) string {
	tb.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	input := fmt.Sprintf("%s.%s", encode([]byte(header)), encode(text))
	var signature []byte
	if sign != nil {
		signature = sign([]byte(input))
	}
	return input + "." + encode(signature)
}
