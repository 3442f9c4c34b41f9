package signin

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxDocument = 1 << 20 // bytes of a discovery document or key set
	maxKeys     = 100
	minRSA      = 2048 // bits: NIST SP 800-131A revision 2
	// keyLife is how many times KeyAge keys are used that can't be read again.
	keyLife = 6
)

// keySet are an issuer's public keys.
type keySet struct {
	cfg    IssuerConfig
	client *http.Client

	mu   sync.RWMutex
	keys []jose.JSONWebKey // never changed, only replaced
	read time.Time         // when they were read; zero if never
	err  error             // of the last request, nil if it went well
	at   endpoints         // as the issuer's document named them last

	fetching sync.Mutex // held by the one who asks the issuer
	tried    time.Time  // guarded by fetching
	jwks     string     // the keys' URL, empty until it is known; guarded by fetching
}

func newKeySet(cfg IssuerConfig, transport http.RoundTripper) *keySet {
	return &keySet{cfg: cfg, client: &http.Client{
		Transport: transport, Timeout: cfg.FetchTimeout,
		// The documents are where the issuer says, and nobody else sends us elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// key returns the key of that id for the algorithm. A token without an id is of the only key.
func (s *keySet) key(ctx context.Context, id, algorithm string) (*jose.JSONWebKey, *Error) {
	keys, age, _ := s.known()
	found := find(keys, id, algorithm)
	switch {
	case found == nil || age > keyLife*s.cfg.KeyAge:
		// Nothing to go on: whoever comes now waits for the issuer.
		s.fetching.Lock()
		s.fetch(ctx)
		s.fetching.Unlock()
	case age > s.cfg.KeyAge && s.fetching.TryLock():
		// One caller reads them again, the others go on with what there is.
		s.fetch(ctx)
		s.fetching.Unlock()
	default:
		return found, nil
	}
	keys, age, err := s.known()
	found = find(keys, id, algorithm)
	switch {
	case age > keyLife*s.cfg.KeyAge, found == nil && err != nil:
		return nil, &Error{Reason: IssuerUnavailable, Err: err}
	case found == nil:
		return nil, refuse(UnknownKey)
	}
	return found, nil
}

func (s *keySet) known() ([]jose.JSONWebKey, time.Duration, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keys, s.cfg.Now().Sub(s.read), s.err
}

func find(keys []jose.JSONWebKey, id, algorithm string) *jose.JSONWebKey {
	if id == "" && len(keys) != 1 {
		return nil
	}
	for i := range keys {
		k := &keys[i]
		if (id == "" || k.KeyID == id) && (k.Algorithm == "" || k.Algorithm == algorithm) && fits(k.Key, algorithm) {
			return k
		}
	}
	return nil
}

// fits reports whether a public key is of the algorithm, on its curve (RFC 7518 section 3.4)
// and long enough. A symmetric key fits none.
func fits(key any, algorithm string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return (strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")) && k.N.BitLen() >= minRSA
	case *ecdsa.PublicKey:
		bits := map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[algorithm]
		return k.Curve.Params().BitSize == bits
	case ed25519.PublicKey:
		return algorithm == string(jose.EdDSA)
	}
	return false
}

// refresh reads the keys unless they are known and young.
func (s *keySet) refresh(ctx context.Context) error {
	if _, age, _ := s.known(); age <= s.cfg.KeyAge {
		return nil
	}
	s.fetching.Lock()
	s.fetch(ctx)
	s.fetching.Unlock()
	_, _, err := s.known()
	return err
}

// fetch reads the keys, unless they were asked for so lately that a token can't be a reason to
// ask again: tokens with made-up key ids would else make this door hammer the issuer. The
// caller holds fetching.
func (s *keySet) fetch(ctx context.Context) {
	now := s.cfg.Now()
	if now.Sub(s.tried) < s.cfg.KeyInterval {
		return
	}
	s.tried = now
	// A caller that hangs up does not keep the others from their keys.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*s.cfg.FetchTimeout)
	defer cancel()
	keys, err := s.get(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err == nil {
		s.keys, s.read = keys, now
	}
}

// get asks the issuer where its keys are, when that is not known, and for the keys.
func (s *keySet) get(ctx context.Context) ([]jose.JSONWebKey, error) {
	if s.jwks == "" {
		var d struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
			endpoints
		}
		if err := s.document(ctx, strings.TrimSuffix(s.cfg.URL, "/")+"/.well-known/openid-configuration", &d); err != nil {
			return nil, fmt.Errorf("discover issuer: %w", err)
		}
		if d.Issuer != s.cfg.URL {
			return nil, errors.New("discover issuer: its document names another issuer")
		}
		if !s.cfg.isEndpoint(d.Keys) {
			return nil, errors.New("discover issuer: jwks_uri is not https")
		}
		s.jwks = d.Keys
		s.mu.Lock()
		s.at = d.endpoints
		s.mu.Unlock()
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.document(ctx, s.jwks, &set); err != nil {
		s.jwks = "" // it may have moved
		return nil, fmt.Errorf("read the issuer's keys: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("read the issuer's keys: it has more than %d", maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, text := range set.Keys {
		var k jose.JSONWebKey
		// RFC 7517 section 5: keys that are not understood are passed over.
		if json.Unmarshal(text, &k) == nil && k.IsPublic() && k.Valid() && (k.Use == "" || k.Use == "sig") {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("read the issuer's keys: it has none that a token can be verified with")
	}
	return keys, nil
}

// isEndpoint reports whether something may be asked at the URL: by TLS, or on this machine.
func (c IssuerConfig) isEndpoint(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && u.User == nil && u.Fragment == "" && (u.Scheme == "https" || c.Development && isLoopback(u))
}

// endpoints returns where the issuer answers what its document names.
func (s *keySet) endpoints(ctx context.Context) (endpoints, error) {
	known := func() endpoints {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.at
	}
	if at := known(); at != (endpoints{}) {
		return at, nil
	}
	err := s.refresh(ctx)
	at := known()
	if at == (endpoints{}) && err == nil {
		err = errors.New("the issuer's document names no endpoint to sign in at")
	}
	if at != (endpoints{}) {
		err = nil
	}
	return at, err
}

// document reads a JSON document. Its errors quote nothing of it.
func (s *keySet) document(ctx context.Context, from string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers with status %d", from, resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxDocument:
		return fmt.Errorf("%s answers with more than %d bytes", from, maxDocument)
	case json.Unmarshal(text, into) != nil:
		return fmt.Errorf("%s does not answer with the JSON that is expected", from)
	}
	return nil
}
