// Package devissuer is an OpenID Connect issuer for one machine: discovery, rotating keys, a
// token endpoint, and a page on which a browser chooses who to be, so that the doors can be tried as
// they are in production, without one.
//
// Whoever has a principal's secret is that principal, and nobody proves anything. A browser has
// them all once it has opened a URL that holds a key ([Issuer.EnterURL]), which is told to who
// starts the issuer and to no page: other people of the machine, and other pages of the browser,
// reach the address too. So it exists
// at a loopback address only, its keys and secrets live in memory and end with it, its tokens
// last minutes, and its subjects (signin.DevelopmentSubject) are none of a real issuer's: a set
// of grants that does not name them gives nothing to any of its tokens.
package devissuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cardlake/cardlake"
)

// Config configures an Issuer. Audience and Subjects must be set.
type Config struct {
	// Audience is what the tokens are for.
	Audience string
	// Subjects are those that can have tokens, KIND/NAME.
	Subjects []string
	// Client is the id of the client that browsers sign in by, which has no secret, and
	// RedirectURL where they are sent back to, exactly: http at a loopback address. Without them
	// no browser signs in.
	Client, RedirectURL string
	// Lifetime of a token; default 15 minutes, at most 1 hour.
	Lifetime time.Duration
	Now      func() time.Time // default time.Now
}

// Issuer issues tokens. It is safe for concurrent use.
type Issuer struct {
	cfg     Config
	l       net.Listener
	url     string
	secrets map[string]string // of subjects
	enter   string            // what the URL of EnterURL holds
	entered string            // what the cookie holds of a browser that has opened it

	mu    sync.Mutex
	keys  []key // the newest last
	codes map[string]code
}

type key struct {
	private *ecdsa.PrivateKey
	id      string
	until   time.Time // the last token ends; zero for the newest
}

// ErrLoopback says that the issuer would be reached from other machines.
var ErrLoopback = errors.New("development sign-in: its address is not a loopback address, and whoever reached it could be anybody")

// New returns an issuer that will answer on l, which it owns. It refuses, with ErrLoopback, to
// do so where other machines may reach it.
func New(l net.Listener, cfg Config) (*Issuer, error) {
	if a, ok := l.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		return nil, ErrLoopback
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = 15 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case cfg.Lifetime < 0 || cfg.Lifetime > time.Hour:
		return nil, errors.New("development sign-in: tokens last at most an hour")
	case cfg.Audience == "" || len(cfg.Subjects) == 0:
		return nil, errors.New("development sign-in: there is no audience, or nobody who could sign in")
	case cfg.Client != "" && !isLoopback(cfg.RedirectURL):
		return nil, errors.New("development sign-in: browsers are sent back to this machine only, http at a loopback address")
	case cfg.Client == cfg.Audience:
		return nil, errors.New("development sign-in: the client has the name of the audience, and an ID token would pass for an access token")
	}
	i := &Issuer{
		cfg: cfg, l: l, url: "http://" + l.Addr().String() + "/development", secrets: map[string]string{},
		enter: random(), entered: random(), codes: map[string]code{},
	}
	for _, s := range cfg.Subjects {
		i.secrets[s] = random()
	}
	return i, i.Rotate()
}

func isLoopback(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.IsLoopback()
}

func random() string {
	var b [16]byte
	rand.Read(b[:])
	return string(cardlake.AppendLetters(nil, b[:]))
}

// URL is the issuer, as its tokens name it.
func (i *Issuer) URL() string { return i.url }

// TokenURL is where tokens are had: by POST, as RFC 6749 section 4.4 says, with client_id the
// subject and client_secret its Secret. With scope=mfa the token says that more than one factor
// was shown.
func (i *Issuer) TokenURL() string { return i.url + "/token" }

// Secret is what a subject signs in with, empty if it is none of Config.Subjects.
func (i *Issuer) Secret(subject string) string { return i.secrets[subject] }

// Rotate makes a new key. The one before is published until its last token has ended.
func (i *Issuer) Rotate() error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("development sign-in: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if n := len(i.keys); n > 0 {
		i.keys[n-1].until = i.cfg.Now().Add(i.cfg.Lifetime)
	}
	i.keys = append(i.keys, key{private: private, id: random()})
	return nil
}

// Token returns a token of a subject, whose secret nobody has shown.
func (i *Issuer) Token(subject string, mfa bool) (string, error) {
	if _, ok := i.secrets[subject]; !ok {
		return "", errors.New("development sign-in: there is no such subject")
	}
	now := i.cfg.Now()
	claims := map[string]any{"aud": i.cfg.Audience, "azp": "development", "jti": random()}
	return i.sign(subject, mfa, now, claims)
}

// sign signs a token of a subject, with more claims.
func (i *Issuer) sign(subject string, mfa bool, now time.Time, claims map[string]any) (string, error) {
	i.mu.Lock()
	k := i.keys[len(i.keys)-1]
	i.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: k.private, KeyID: k.id}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("development sign-in: %w", err)
	}
	claims["iss"], claims["sub"], claims["iat"], claims["exp"] = i.url, subject, now.Unix(), now.Add(i.cfg.Lifetime).Unix()
	if mfa {
		claims["amr"] = []string{"mfa"}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(text)
	if err != nil {
		return "", fmt.Errorf("development sign-in: %w", err)
	}
	return signed.CompactSerialize()
}

// Run answers until ctx ends.
func (i *Issuer) Run(ctx context.Context) error {
	server := &http.Server{
		Handler: i.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(i.l) }()
	select {
	case err := <-done:
		return fmt.Errorf("development sign-in: %w", err)
	case <-ctx.Done():
	}
	err := server.Close()
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (i *Issuer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /development/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		d := map[string]any{
			"issuer": i.url, "jwks_uri": i.url + "/keys", "token_endpoint": i.TokenURL(),
			"response_types_supported": []string{"token"},
			"subject_types_supported":  []string{"public"}, "grant_types_supported": []string{"client_credentials"},
			"id_token_signing_alg_values_supported": []string{string(jose.ES256)},
		}
		if i.cfg.Client != "" {
			d["authorization_endpoint"] = i.url + "/authorize"
			d["response_types_supported"], d["grant_types_supported"] = []string{"code"}, []string{"authorization_code", "client_credentials"}
			d["code_challenge_methods_supported"], d["token_endpoint_auth_methods_supported"] = []string{"S256"}, []string{"none", "client_secret_post", "client_secret_basic"}
			d["authorization_response_iss_parameter_supported"] = true
		}
		answer(w, http.StatusOK, d)
	})
	if i.cfg.Client != "" {
		i.browserRoutes(mux)
	}
	mux.HandleFunc("GET /development/keys", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, i.published()) })
	mux.HandleFunc("POST /development/token", i.token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A page that the browser of this machine loads may reach a loopback address by a name
		// of its own making (DNS rebinding).
		if r.Host != i.l.Addr().String() {
			http.Error(w, "unknown host", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// published are the public keys of tokens that may be valid still.
func (i *Issuer) published() jose.JSONWebKeySet {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.cfg.Now()
	i.keys = slices.DeleteFunc(i.keys, func(k key) bool { return !k.until.IsZero() && now.After(k.until) })
	var set jose.JSONWebKeySet
	for _, k := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: string(jose.ES256), Use: "sig"})
	}
	return set
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
	if err := r.ParseForm(); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_request"})
		return
	}
	if r.PostForm.Get("grant_type") == "authorization_code" {
		i.redeem(w, r.PostForm)
		return
	}
	id, secret, ok := r.BasicAuth()
	if !ok {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	want, known := i.secrets[id]
	switch {
	case r.PostForm.Get("grant_type") != "client_credentials":
		answer(w, http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
		return
	case !known || subtle.ConstantTimeCompare([]byte(secret), []byte(want)) != 1:
		answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	token, err := i.Token(id, r.PostForm.Get("scope") == "mfa")
	if err != nil {
		answer(w, http.StatusInternalServerError, map[string]string{"error": "server_error"})
		return
	}
	if r.Header.Get("Accept") == "text/plain" { // for a shell
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprintln(w, token)
		return
	}
	answer(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int(i.cfg.Lifetime / time.Second)})
}

func answer(w http.ResponseWriter, status int, body any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no answer
}
