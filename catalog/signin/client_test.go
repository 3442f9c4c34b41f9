package signin_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/signintest"
)

const (
	clientID = "dash:board" // RFC 6749 section 2.3.1: the colon must be encoded
	redirect = "https://lake.example/auth/callback"
)

// flow is a sign-in at an issuer whose answer can be changed.
type flow struct {
	*testing.T
	issuer  *signintest.Issuer
	clock   *clock
	client  *signin.Client
	attempt signin.Attempt
	asked   *http.Request // for tokens, last

	claims map[string]any // changes of the ID token
	header map[jose.HeaderKey]any
	access string
}

func newFlow(t *testing.T, change func(*signin.IssuerConfig, *signin.ClientConfig)) *flow {
	t.Helper()
	f := &flow{T: t, issuer: signintest.Start(t), clock: newClock(), attempt: signin.NewAttempt(), access: "opaque"}
	cfg := signin.ClientConfig{ID: clientID, RedirectURL: redirect}
	v := verifier(t, f.issuer, f.clock, func(c *signin.IssuerConfig) {
		if change != nil {
			change(c, &cfg)
		}
	})
	client, err := v.Client(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.client = client
	f.issuer.Exchange = func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		f.asked = r
		_ = json.NewEncoder(w).Encode(map[string]any{"id_token": f.idToken(), "access_token": f.access, "token_type": "Bearer"})
	}
	return f
}

func (f *flow) idToken() string {
	half := sha256.Sum256([]byte(f.access))
	claims := f.issuer.Claims("ana", f.clock.Now(), map[string]any{
		"aud": clientID, "azp": nil, "nonce": f.attempt.Nonce, "auth_time": f.clock.Now().Unix(), "at_hash": base64.RawURLEncoding.EncodeToString(half[:16]),
	})
	for name, value := range f.claims {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return signintest.Sign(f, f.issuer.Key(), f.header, claims)
}

// answer is what the issuer sends the browser back with.
func (f *flow) answer() url.Values { return url.Values{"code": {"good"}, "state": {f.attempt.State}} }

// wantRefusal fails the test unless the sign-in is refused for the reason.
func (f *flow) wantRefusal(answer url.Values, want signin.Reason) {
	f.Helper()
	id, err := f.client.Finish(f.Context(), f.attempt, answer)
	refused := new(signin.Error)
	if !errors.As(err, &refused) || refused.Reason != want || id != (signin.Identity{}) {
		f.Errorf("%+v, %v (%s), want %s", id, err, refused.Reason, want)
	}
	for _, secret := range []string{f.attempt.Nonce, f.attempt.Verifier, f.attempt.State, "canary"} {
		if secret == "" {
			continue
		}
		if err != nil && strings.Contains(err.Error(), secret) || refused.Err != nil && strings.Contains(refused.Err.Error(), secret) {
			f.Errorf("the error tells too much: %v, %v", err, refused.Err)
		}
	}
}

func TestCodeFlow(t *testing.T) {
	f := newFlow(t, func(_ *signin.IssuerConfig, c *signin.ClientConfig) {
		c.Scopes, c.Classes, c.MaxAge = []string{"profile"}, []string{"urn:mfa"}, 15*time.Minute
	})
	to, err := f.client.AuthorizeURL(t.Context(), f.attempt)
	if err != nil {
		t.Fatal(err)
	}
	at, query, _ := strings.Cut(to, "?")
	got, err := url.ParseQuery(query)
	if err != nil || at != f.issuer.URL+"/authorize" {
		t.Errorf("%s: %v", at, err)
	}
	challenge := sha256.Sum256([]byte(f.attempt.Verifier))
	want := url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {redirect}, "scope": {"openid profile"}, "acr_values": {"urn:mfa"}, "max_age": {"900"},
		"state": {f.attempt.State}, "nonce": {f.attempt.Nonce}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	id, err := f.client.Finish(t.Context(), f.attempt, f.answer())
	if err != nil || id.Subject != "oidc:"+f.issuer.URL+"#ana" || !id.MFA {
		t.Errorf("%+v, %v", id, err)
	}
	wantForm := url.Values{"grant_type": {"authorization_code"}, "code": {"good"}, "redirect_uri": {redirect}, "code_verifier": {f.attempt.Verifier}, "client_id": {clientID}}
	if d := cmp.Diff(wantForm, f.asked.PostForm); d != "" || f.asked.Header.Get("Authorization") != "" {
		t.Error(d)
	}
	f.claims = map[string]any{"amr": []string{"pwd"}}
	if id, err := f.client.Finish(t.Context(), f.attempt, f.answer()); err != nil || id.MFA {
		t.Errorf("%+v, %v: one factor", id, err)
	}
	if got, want := f.client.SignOutURL(t.Context(), "https://lake.example/auth/signed-out"),
		f.issuer.URL+"/end?client_id=dash%3Aboard&post_logout_redirect_uri=https%3A%2F%2Flake.example%2Fauth%2Fsigned-out"; got != want {
		t.Errorf("sign out at %s, want %s", got, want)
	}
}

// TestAnswers: what a browser comes back with is of the attempt and of the issuer, or refused.
func TestAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(f *flow, a url.Values)
		want   signin.Reason
	}{
		"no state":          {func(f *flow, a url.Values) { a.Del("state") }, signin.State},
		"another state":     {func(f *flow, a url.Values) { a.Set("state", signin.NewAttempt().State) }, signin.State},
		"two states":        {func(f *flow, a url.Values) { a.Add("state", f.attempt.State) }, signin.State},
		"no attempt":        {func(f *flow, a url.Values) { f.attempt = signin.Attempt{}; a.Set("state", "") }, signin.State},
		"another issuer":    {func(f *flow, a url.Values) { a.Set("iss", "https://evil.example") }, signin.WrongIssuer},
		"two issuers":       {func(f *flow, a url.Values) { a["iss"] = []string{f.issuer.URL, f.issuer.URL} }, signin.WrongIssuer},
		"declined":          {func(f *flow, a url.Values) { a.Set("error", "access_denied"); a.Set("error_description", "canary") }, signin.Denied},
		"error":             {func(f *flow, a url.Values) { a.Set("error", "server_error") }, signin.IssuerUnavailable},
		"made-up error":     {func(f *flow, a url.Values) { a.Set("error", "canary") }, signin.IssuerUnavailable},
		"no code":           {func(f *flow, a url.Values) { a.Del("code") }, signin.Code},
		"two codes":         {func(f *flow, a url.Values) { a.Add("code", "good") }, signin.Code},
		"endless code":      {func(f *flow, a url.Values) { a.Set("code", strings.Repeat("x", 5<<10)) }, signin.Code},
		"error of a forger": {func(f *flow, a url.Values) { a.Set("error", "access_denied"); a.Set("state", "x") }, signin.State},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlow(t, nil)
			a := f.answer()
			tc.change(f, a)
			f.wantRefusal(a, tc.want)
			if f.asked != nil {
				t.Error("the code was given to the issuer")
			}
		})
	}
	t.Run("the issuer always names itself", func(t *testing.T) {
		f := newFlow(t, nil)
		f.issuer.Document = func(d map[string]any) { d["authorization_response_iss_parameter_supported"] = true }
		f.wantRefusal(f.answer(), signin.WrongIssuer)
		a := f.answer()
		a.Set("iss", f.issuer.URL)
		if _, err := f.client.Finish(t.Context(), f.attempt, a); err != nil {
			t.Error(err)
		}
	})
}

// TestIDTokens: one that is not of this client and this attempt signs nobody in.
func TestIDTokens(t *testing.T) {
	with := func(name string, value any) func(f *flow) {
		return func(f *flow) { f.claims = map[string]any{name: value} }
	}
	for name, tc := range map[string]struct {
		change func(f *flow)
		want   signin.Reason
	}{
		"no nonce":               {with("nonce", nil), signin.Nonce},
		"another nonce":          {with("nonce", signin.NewAttempt().Nonce), signin.Nonce},
		"for the API":            {with("aud", signintest.Audience), signin.Audience},
		"for several":            {with("aud", []string{clientID, "another"}), signin.Party},
		"issued to another":      {func(f *flow) { f.claims = map[string]any{"aud": []string{clientID, "x"}, "azp": "x"} }, signin.Party},
		"azp of another":         {with("azp", "x"), signin.Party},
		"another issuer":         {with("iss", "https://evil.example"), signin.WrongIssuer},
		"other access token":     {with("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), signin.Binding},
		"expired":                {func(f *flow) { f.claims = map[string]any{"exp": f.clock.Now().Add(-time.Minute).Unix()} }, signin.Expired},
		"of an hour ago":         {func(f *flow) { f.claims = map[string]any{"iat": f.clock.Now().Add(-2 * time.Hour).Unix()} }, signin.TooOld},
		"an access token":        {func(f *flow) { f.header = map[jose.HeaderKey]any{jose.HeaderType: "at+jwt"} }, signin.TokenType},
		"a logout token":         {with("events", map[string]any{}), signin.TokenType},
		"shown in the future":    {func(f *flow) { f.claims = map[string]any{"auth_time": f.clock.Now().Add(time.Hour).Unix()} }, signin.NotYet},
		"shown long ago":         {func(f *flow) { f.claims = map[string]any{"auth_time": f.clock.Now().Add(-16 * time.Minute).Unix()} }, signin.Stale},
		"nobody knows how long":  {with("auth_time", nil), signin.Stale},
		"no subject":             {with("sub", nil), signin.Claims},
		"subject of many lines":  {with("sub", "ana\nroot"), signin.Claims},
		"a number for a subject": {with("sub", 7), signin.Claims},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlow(t, func(_ *signin.IssuerConfig, c *signin.ClientConfig) { c.MaxAge = 15 * time.Minute })
			tc.change(f)
			f.wantRefusal(f.answer(), tc.want)
		})
	}
	t.Run("foreign signature", func(t *testing.T) {
		f := newFlow(t, nil)
		f.issuer.Exchange = func(w http.ResponseWriter, _ *http.Request) {
			k := signintest.NewKey(t, f.issuer.Key().ID, jose.ES256)
			claims := f.issuer.Claims("ana", f.clock.Now(), map[string]any{"aud": clientID, "azp": nil, "nonce": f.attempt.Nonce})
			_ = json.NewEncoder(w).Encode(map[string]any{"id_token": signintest.Sign(t, k, nil, claims)})
		}
		f.wantRefusal(f.answer(), signin.Signature)
	})
	// What tokens of programs may be issued to, and how old what a person has shown is, is no matter
	// where it is not configured.
	t.Run("defaults", func(t *testing.T) {
		f := newFlow(t, func(c *signin.IssuerConfig, _ *signin.ClientConfig) { c.Parties = []string{"shell"} })
		f.claims = map[string]any{"auth_time": nil, "at_hash": nil}
		if _, err := f.client.Finish(t.Context(), f.attempt, f.answer()); err != nil {
			t.Error(err)
		}
	})
}

// TestTokenEndpoint: whatever it answers, or does not, ends in bounded time and memory.
func TestTokenEndpoint(t *testing.T) {
	problem := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, status) }
	}
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   signin.Reason
	}{
		"used code":      {problem(400, `{"error":"invalid_grant","error_description":"canary"}`), signin.Code},
		"unknown client": {problem(401, `{"error":"invalid_client"}`), signin.IssuerUnavailable},
		"made-up error":  {problem(400, `{"error":"canary"}`), signin.IssuerUnavailable},
		"page":           {problem(200, "<html>canary"), signin.IssuerUnavailable},
		"no ID token":    {problem(200, `{"access_token":"canary"}`), signin.IssuerUnavailable},
		"endless":        {problem(200, `{"id_token":"`+strings.Repeat("x", 200<<10)), signin.IssuerUnavailable},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/keys", http.StatusTemporaryRedirect)
		}, signin.IssuerUnavailable},
		"never": {func(_ http.ResponseWriter, r *http.Request) { _ = r.ParseForm(); <-r.Context().Done() }, signin.IssuerUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlow(t, func(c *signin.IssuerConfig, _ *signin.ClientConfig) { c.FetchTimeout = 200 * time.Millisecond })
			f.issuer.Exchange = tc.answer
			f.wantRefusal(f.answer(), tc.want)
		})
	}
	for name, change := range map[string]func(map[string]any){
		"no endpoints":   func(d map[string]any) { delete(d, "authorization_endpoint"); delete(d, "token_endpoint") },
		"in clear":       func(d map[string]any) { d["token_endpoint"] = "http://lake.example/token" },
		"a script":       func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" },
		"another issuer": func(d map[string]any) { d["issuer"] = "https://evil.example" },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlow(t, nil)
			f.issuer.Document = change
			if to, err := f.client.AuthorizeURL(t.Context(), f.attempt); to != "" || err == nil {
				t.Errorf("%q, %v", to, err)
			}
			f.wantRefusal(f.answer(), signin.IssuerUnavailable)
			if f.asked != nil {
				t.Error("the code left")
			}
		})
	}
}

// TestClientAuthentication: the client shows the token endpoint who it is, by what a file holds now.
func TestClientAuthentication(t *testing.T) {
	t.Run("secret", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "secret")
		f := newFlow(t, func(_ *signin.IssuerConfig, c *signin.ClientConfig) { c.SecretFile = file })
		f.wantRefusal(f.answer(), signin.IssuerUnavailable) // there is no file yet
		for _, secret := range []string{"first", "second: %+/"} {
			if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := f.client.Finish(t.Context(), f.attempt, f.answer()); err != nil {
				t.Fatal(err)
			}
			id, got, ok := f.asked.BasicAuth()
			if !ok || id != url.QueryEscape(clientID) || got != url.QueryEscape(secret) || f.asked.PostForm.Has("client_id") || f.asked.PostForm.Has("client_secret") {
				t.Errorf("%s, %s, %v", id, got, f.asked.PostForm)
			}
		}
	})
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for algorithm, key := range map[jose.SignatureAlgorithm]crypto.Signer{jose.RS256: rsaKey, jose.ES256: p256, jose.ES384: p384, jose.EdDSA: ed} {
		t.Run(string(algorithm), func(t *testing.T) {
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "key.pem")
			signintest.WritePEM(t, file, "PRIVATE KEY", der)
			f := newFlow(t, func(_ *signin.IssuerConfig, c *signin.ClientConfig) { c.KeyFile, c.KeyID = file, "k1" })
			seen := map[string]bool{}
			for range 2 {
				if _, err := f.client.Finish(t.Context(), f.attempt, f.answer()); err != nil {
					t.Fatal(err)
				}
				form := f.asked.PostForm
				token, err := jwt.ParseSigned(form.Get("client_assertion"), []jose.SignatureAlgorithm{algorithm})
				if err != nil {
					t.Fatal(err)
				}
				var claims jwt.Claims
				if err := token.Claims(key.Public(), &claims); err != nil {
					t.Fatal(err)
				}
				err = claims.Validate(jwt.Expected{Issuer: clientID, Subject: clientID, AnyAudience: jwt.Audience{f.issuer.URL + "/token"}, Time: f.clock.Now()})
				if err != nil || token.Headers[0].KeyID != "k1" || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
					t.Errorf("%+v, %v: %v", claims, token.Headers, err)
				}
				if seen[claims.ID] || claims.Expiry.Time().Sub(f.clock.Now()) > 2*time.Minute {
					t.Error("an assertion is good twice, or long")
				}
				seen[claims.ID] = true
			}
		})
	}
	t.Run("weak key", func(t *testing.T) {
		p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
		der, err := x509.MarshalPKCS8PrivateKey(p224)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "key.pem")
		signintest.WritePEM(t, file, "PRIVATE KEY", der)
		f := newFlow(t, func(_ *signin.IssuerConfig, c *signin.ClientConfig) { c.KeyFile = file })
		f.wantRefusal(f.answer(), signin.IssuerUnavailable)
	})
}

func TestClientConfig(t *testing.T) {
	v := verifier(t, signintest.Start(t), newClock(), nil)
	for name, cfg := range map[string]signin.ClientConfig{
		"no id":        {RedirectURL: redirect},
		"in clear":     {ID: "x", RedirectURL: "http://lake.example/auth/callback"},
		"this machine": {ID: "x", RedirectURL: "http://127.0.0.1/auth/callback"}, // not in production
		"fragment":     {ID: "x", RedirectURL: redirect + "#x"},
		"two secrets":  {ID: "x", RedirectURL: redirect, SecretFile: "a", KeyFile: "b"},
		"odd age":      {ID: "x", RedirectURL: redirect, MaxAge: time.Millisecond},
	} {
		if _, err := v.Client(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
