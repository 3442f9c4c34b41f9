package signin_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/signintest"
)

// clock is a clock that is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// verifier trusts the issuer, with changes.
func verifier(t *testing.T, i *signintest.Issuer, c *clock, change func(*signin.IssuerConfig)) *signin.Issuer {
	t.Helper()
	cfg := signin.IssuerConfig{URL: i.URL, Audience: signintest.Audience, RootCAs: i.Pool(), Now: c.Now}
	if change != nil {
		change(&cfg)
	}
	v, err := signin.NewIssuer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// wantReason fails the test unless the token is refused for the reason, in words that tell
// nothing.
func wantReason(t *testing.T, v signin.Tokens, token string, want signin.Reason) {
	t.Helper()
	id, err := v.Verify(t.Context(), token)
	var refused *signin.Error
	if !errors.As(err, &refused) {
		t.Errorf("%+v, error %v, want a refusal: %s", id, err, want)
		return
	}
	if refused.Reason != want {
		t.Errorf("refused for %s, want %s", refused.Reason, want)
	}
	if text := refused.Error(); text != "not signed in: sign in again" && text != "nobody can sign in at the moment: try again" {
		t.Errorf("the caller is told %q", text)
	}
	if text := fmt.Sprintf("%+v %#v", refused, refused); len(token) > 40 && strings.Contains(text, token[len(token)-20:]) {
		t.Error("the error holds the token")
	}
}

func TestToken(t *testing.T) {
	i, c := signintest.Start(t), newClock()
	v := verifier(t, i, c, nil)
	id, err := v.Verify(t.Context(), i.Token("ana", c.Now(), nil))
	if err != nil {
		t.Fatal(errors.Unwrap(err), err)
	}
	if want := "oidc:" + i.URL + "#ana"; id.Subject != want || !id.MFA || !id.Until.Equal(c.Now().Add(10*time.Minute)) {
		t.Errorf("%+v", id)
	}
	for name, tc := range map[string]struct {
		change func(*signin.IssuerConfig)
		claims map[string]any
		mfa    bool
	}{
		"one factor":           {claims: map[string]any{"amr": []string{"pwd"}}},
		"no amr":               {claims: map[string]any{"amr": nil}},
		"acr that is not set":  {claims: map[string]any{"amr": nil, "acr": "mfa"}},
		"another method":       {func(c *signin.IssuerConfig) { c.MFAMethods = []string{"hwk"} }, map[string]any{"amr": []string{"pwd", "hwk"}}, true},
		"mfa is not a method":  {func(c *signin.IssuerConfig) { c.MFAMethods = []string{"hwk"} }, nil, false},
		"no acr, and none set": {func(c *signin.IssuerConfig) { c.MFAMethods = []string{} }, nil, false},
		"a class":              {func(c *signin.IssuerConfig) { c.MFAClasses = []string{"urn:two"} }, map[string]any{"amr": nil, "acr": "urn:two"}, true},
		"one audience":         {claims: map[string]any{"aud": "cardlake"}, mfa: true},
		"a listed client":      {func(c *signin.IssuerConfig) { c.Parties = []string{"web", "shell"} }, nil, true},
		"a fraction of time":   {claims: map[string]any{"iat": float64(c.Now().UnixMilli()) / 1000}, mfa: true},
		"within the skew":      {claims: map[string]any{"iat": c.Now().Add(29 * time.Second).Unix(), "nbf": c.Now().Add(29 * time.Second).Unix()}, mfa: true},
		"just ended":           {claims: map[string]any{"exp": c.Now().Add(-29 * time.Second).Unix()}, mfa: true},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := verifier(t, i, c, tc.change).Verify(t.Context(), i.Token("ana", c.Now(), tc.claims))
			if err != nil || id.MFA != tc.mfa {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES384, jose.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			i := signintest.Start(t)
			i.SetKeys(signintest.NewKey(t, "k", algorithm))
			if _, err := verifier(t, i, c, nil).Verify(t.Context(), i.Token("ana", c.Now(), nil)); err != nil {
				t.Error(err, errors.Unwrap(err))
			}
		})
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	i, c := signintest.Start(t), newClock()
	rsaKey := signintest.NewKey(t, "rsa", jose.RS256)
	i.SetKeys(rsaKey, i.Key())
	parties := func(c *signin.IssuerConfig) { c.Parties = []string{"web"} }
	only := func(c *signin.IssuerConfig) { c.Algorithms = []string{"RS256"} }
	in := func(d time.Duration) int64 { return c.Now().Add(d).Unix() }
	for name, tc := range map[string]struct {
		claims map[string]any
		change func(*signin.IssuerConfig)
		want   signin.Reason
	}{
		"another audience":      {map[string]any{"aud": []string{"billing"}}, nil, signin.Audience},
		"no audience":           {map[string]any{"aud": nil}, nil, signin.Audience},
		"audience is a prefix":  {map[string]any{"aud": "cardlake2"}, nil, signin.Audience},
		"another issuer":        {map[string]any{"iss": "https://evil.example"}, nil, signin.WrongIssuer},
		"issuer and a slash":    {map[string]any{"iss": i.URL + "/"}, nil, signin.WrongIssuer},
		"no issuer":             {map[string]any{"iss": nil}, nil, signin.WrongIssuer},
		"expired":               {map[string]any{"exp": in(-31 * time.Second)}, nil, signin.Expired},
		"no expiry":             {map[string]any{"exp": nil}, nil, signin.Claims},
		"expiry is text":        {map[string]any{"exp": "tomorrow"}, nil, signin.Claims},
		"expiry past all time":  {map[string]any{"exp": 1e300}, nil, signin.Claims},
		"issued in the future":  {map[string]any{"iat": in(31 * time.Second)}, nil, signin.NotYet},
		"not yet valid":         {map[string]any{"nbf": in(31 * time.Second)}, nil, signin.NotYet},
		"no time of issue":      {map[string]any{"iat": nil}, nil, signin.Claims},
		"issued long ago":       {map[string]any{"iat": in(-61 * time.Minute)}, nil, signin.TooOld},
		"shorter age":           {map[string]any{"iat": in(-6 * time.Minute)}, func(c *signin.IssuerConfig) { c.MaxAge = 5 * time.Minute }, signin.TooOld},
		"no subject":            {map[string]any{"sub": nil}, nil, signin.Claims},
		"empty subject":         {map[string]any{"sub": ""}, nil, signin.Claims},
		"long subject":          {map[string]any{"sub": strings.Repeat("a", 256)}, nil, signin.Claims},
		"subject with newline":  {map[string]any{"sub": "ana\nactor"}, nil, signin.Claims},
		"subject is a number":   {map[string]any{"sub": 7}, nil, signin.Claims},
		"client not on list":    {nil, parties, signin.Party},
		"no client":             {map[string]any{"azp": nil}, parties, signin.Party},
		"algorithm not allowed": {nil, only, signin.Algorithm},
		"a logout":              {map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}, nil, signin.TokenType},
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, verifier(t, i, c, tc.change), i.Token("ana", c.Now(), tc.claims), tc.want)
		})
	}

	good := i.Claims("ana", c.Now(), nil)
	stranger := signintest.NewKey(t, "one", jose.ES256)
	public, err := x509.MarshalPKIXPublicKey(rsaKey.Private.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	mac := func(key []byte) func([]byte) []byte {
		return func(input []byte) []byte {
			h := hmac.New(sha256.New, key)
			h.Write(input)
			return h.Sum(nil)
		}
	}
	asked := 0
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer evil.Close()
	token := i.Token("ana", c.Now(), nil)
	parts := strings.Split(token, ".")
	rsaToken := signintest.Sign(t, rsaKey, nil, good)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, i, c, nil)
	for name, tc := range map[string]struct {
		token string
		want  signin.Reason
	}{
		"alg none":                     {signintest.Compact(t, `{"alg":"none","kid":"one"}`, good, nil), signin.Algorithm},
		"alg None":                     {signintest.Compact(t, `{"alg":"None","kid":"one"}`, good, nil), signin.Algorithm},
		"no alg":                       {signintest.Compact(t, `{"kid":"one"}`, good, nil), signin.Algorithm},
		"HS256 with the public key":    {signintest.Compact(t, `{"alg":"HS256","kid":"rsa"}`, good, mac(publicPEM)), signin.Algorithm},
		"HS256 with the key's DER":     {signintest.Compact(t, `{"alg":"HS256","kid":"rsa"}`, good, mac(public)), signin.Algorithm},
		"RS256 with an HMAC":           {signintest.Compact(t, `{"alg":"RS256","kid":"rsa"}`, good, mac(publicPEM)), signin.Signature},
		"no signature":                 {parts[0] + "." + parts[1] + ".", signin.Signature},
		"a stranger's key":             {signintest.Sign(t, stranger, nil, good), signin.Signature},
		"another token's signature":    {parts[0] + "." + parts[1] + "." + strings.Split(i.Token("bea", c.Now(), nil), ".")[2], signin.Signature},
		"another algorithm of the key": {strings.Replace(rsaToken, strings.Split(rsaToken, ".")[0], strings.Split(signintest.Compact(t, `{"alg":"PS256","kid":"rsa"}`, nil, nil), ".")[0], 1), signin.UnknownKey},
		"an algorithm of another key":  {signintest.Compact(t, `{"alg":"ES256","kid":"rsa"}`, good, nil), signin.UnknownKey},
		"its own key in the header":    {signintest.Sign(t, stranger, map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: stranger.Private.Public()}}, good), signin.Signature},
		"a URL of keys in the header":  {signintest.Sign(t, stranger, map[jose.HeaderKey]any{"jku": evil.URL, "x5u": evil.URL}, good), signin.Signature},
		"a path as key id":             {signintest.Sign(t, signintest.Key{ID: "../../keys/one", Algorithm: jose.ES256, Private: stranger.Private}, nil, good), signin.UnknownKey},
		"SQL as key id":                {signintest.Sign(t, signintest.Key{ID: "one' OR '1'='1", Algorithm: jose.ES256, Private: stranger.Private}, nil, good), signin.UnknownKey},
		"no key id, several keys":      {signintest.Sign(t, signintest.Key{Algorithm: jose.ES256, Private: i.Key().Private}, nil, good), signin.UnknownKey},
		"unknown critical header":      {signintest.Sign(t, i.Key(), map[jose.HeaderKey]any{"crit": []string{"exp2"}, "exp2": 1}, good), signin.Signature},
		"a logout token":               {signintest.Sign(t, i.Key(), map[jose.HeaderKey]any{"typ": "logout+jwt"}, good), signin.TokenType},
		"JSON form":                    {`{"payload":"` + parts[1] + `","signatures":[]}`, signin.Malformed},
		"encrypted":                    {token + ".a.b", signin.Malformed},
		"two parts":                    {parts[0] + "." + parts[1], signin.Malformed},
		"a space":                      {token + " ", signin.Malformed},
		"empty":                        {"", signin.Malformed},
		"not base64":                   {"a.b.c", signin.Malformed},
		"very long":                    {strings.Repeat("a", 17<<10), signin.Malformed},
	} {
		t.Run(name, func(t *testing.T) { wantReason(t, v, tc.token, tc.want) })
	}
	if asked > 0 {
		t.Error("a URL that a token names was asked")
	}
	i.SetKeys(signintest.Key{ID: "short", Algorithm: jose.RS256, Private: weak})
	wantReason(t, verifier(t, i, c, nil), i.Token("ana", c.Now(), nil), signin.UnknownKey)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.SetKeys(signintest.Key{ID: "curve", Algorithm: "", Private: p384})
	wantReason(t, verifier(t, i, c, nil), signintest.Compact(t, `{"alg":"ES256","kid":"curve"}`, good, nil), signin.UnknownKey)
}

// TestKeyRotation: a new key is good at once, an old one until it was withdrawn and its time is
// over.
func TestKeyRotation(t *testing.T) {
	i, c := signintest.Start(t), newClock()
	v := verifier(t, i, c, nil)
	good := func(token string) {
		t.Helper()
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Error(err.(*signin.Error).Reason, errors.Unwrap(err))
		}
	}
	old, first := i.Token("ana", c.Now(), nil), i.Key()
	good(old)
	good(old)
	if n := i.KeyRequests.Load(); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
	c.advance(11 * time.Second)
	i.SetKeys(first, signintest.NewKey(t, "two", jose.ES256))
	good(i.Token("ana", c.Now(), nil))
	good(old)
	i.SetKeys(i.Key()) // the first is withdrawn
	good(old)          // as far as anybody knows
	c.advance(11 * time.Minute)
	good(i.Token("ana", c.Now(), nil))
	wantReason(t, v, signintest.Sign(t, first, nil, i.Claims("ana", c.Now(), nil)), signin.UnknownKey)
	if n := i.Discoveries.Load(); n != 1 {
		t.Errorf("discovered %d times", n)
	}
}

// TestMadeUpKeysDoNotHammerTheIssuer: it is asked once in ten seconds at most, and who has a
// good token does not notice.
func TestMadeUpKeysDoNotHammerTheIssuer(t *testing.T) {
	i, c := signintest.Start(t), newClock()
	v := verifier(t, i, c, nil)
	stranger := signintest.NewKey(t, "", jose.ES256)
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			stranger := stranger
			stranger.ID = fmt.Sprint("made-up-", n)
			wantReason(t, v, signintest.Sign(t, stranger, nil, i.Claims("ana", c.Now(), nil)), signin.UnknownKey)
			if _, err := v.Verify(t.Context(), i.Token("ana", c.Now(), nil)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := i.KeyRequests.Load(); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
	c.advance(10 * time.Second)
	stranger.ID = "later"
	wantReason(t, v, signintest.Sign(t, stranger, nil, i.Claims("ana", c.Now(), nil)), signin.UnknownKey)
	if n := i.KeyRequests.Load(); n != 2 {
		t.Errorf("the keys were read %d times", n)
	}
}

// TestIssuerThatIsAway: its keys are good for an hour, and then nobody's are.
func TestIssuerThatIsAway(t *testing.T) {
	i, c := signintest.Start(t), newClock()
	v := verifier(t, i, c, nil)
	i.Down.Store(true)
	wantReason(t, v, i.Token("ana", c.Now(), nil), signin.IssuerUnavailable)
	i.Down.Store(false)
	wantReason(t, v, i.Token("ana", c.Now(), nil), signin.IssuerUnavailable) // it was asked just now
	c.advance(10 * time.Second)
	if _, err := v.Verify(t.Context(), i.Token("ana", c.Now(), nil)); err != nil {
		t.Fatal(err)
	}
	i.Down.Store(true)
	c.advance(59 * time.Minute)
	if _, err := v.Verify(t.Context(), i.Token("ana", c.Now(), nil)); err != nil {
		t.Error(err)
	}
	stranger := signintest.NewKey(t, "new", jose.ES256)
	wantReason(t, v, signintest.Sign(t, stranger, nil, i.Claims("ana", c.Now(), nil)), signin.IssuerUnavailable)
	c.advance(2 * time.Minute)
	wantReason(t, v, i.Token("ana", c.Now(), nil), signin.IssuerUnavailable)
	if err := v.Fetch(t.Context()); err == nil {
		t.Error("an issuer that is away was found")
	}
}

// TestIssuersThatAreNotTrusted: nothing but the named issuer, over TLS of a known authority.
func TestIssuersThatAreNotTrusted(t *testing.T) {
	c := newClock()
	for name, prepare := range map[string]func(i *signintest.Issuer, cfg *signin.IssuerConfig){
		"another name": func(i *signintest.Issuer, _ *signin.IssuerConfig) {
			i.Document = func(d map[string]any) { d["issuer"] = "https://other.example" }
		},
		"a slash more": func(i *signintest.Issuer, _ *signin.IssuerConfig) {
			i.Document = func(d map[string]any) { d["issuer"] = i.URL + "/" }
		},
		"keys in clear": func(i *signintest.Issuer, _ *signin.IssuerConfig) {
			clear := plain(t, i)
			i.Document = func(d map[string]any) { d["jwks_uri"] = clear }
		},
		"keys elsewhere": func(i *signintest.Issuer, cfg *signin.IssuerConfig) {
			s := httptest.NewTLSServer(http.RedirectHandler(plain(t, i), http.StatusFound))
			t.Cleanup(s.Close)
			cfg.RootCAs.AddCert(s.Certificate())
			i.Document = func(d map[string]any) { d["jwks_uri"] = s.URL }
		},
		"keys at loopback": func(i *signintest.Issuer, _ *signin.IssuerConfig) {
			i.Document = func(d map[string]any) { d["jwks_uri"] = "http://127.0.0.1:1/keys" }
		},
		"keys in a file": func(i *signintest.Issuer, _ *signin.IssuerConfig) {
			i.Document = func(d map[string]any) { d["jwks_uri"] = "file:///etc/passwd" }
		},
		"no keys":              func(i *signintest.Issuer, _ *signin.IssuerConfig) { i.SetKeys() },
		"an unknown authority": func(_ *signintest.Issuer, cfg *signin.IssuerConfig) { cfg.RootCAs = x509.NewCertPool() },
	} {
		t.Run(name, func(t *testing.T) {
			i := signintest.Start(t)
			v := verifier(t, i, c, func(cfg *signin.IssuerConfig) { prepare(i, cfg) })
			if err := v.Fetch(t.Context()); err == nil {
				t.Error("its keys were taken")
			}
		})
	}
}

// plain serves the issuer's keys in clear.
func plain(t *testing.T, i *signintest.Issuer) string {
	t.Helper()
	keys := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: i.Pool()}}}
	t.Cleanup(keys.CloseIdleConnections)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		resp, err := keys.Get(i.URL + "/keys")
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestCallerWhoHangsUp does not keep others from the keys.
func TestCallerWhoHangsUp(t *testing.T) {
	i, c := signintest.Start(t), newClock()
	v := verifier(t, i, c, nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Verify(gone, i.Token("ana", c.Now(), nil)); err != nil {
		t.Error(err)
	}
}

func TestIssuerConfig(t *testing.T) {
	good := signin.IssuerConfig{URL: "https://idp.example/realms/x", Audience: "cardlake"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*signin.IssuerConfig){
		"http":               func(c *signin.IssuerConfig) { c.URL = "http://idp.example" },
		"http at loopback":   func(c *signin.IssuerConfig) { c.URL = "http://127.0.0.1:1/development" },
		"no host":            func(c *signin.IssuerConfig) { c.URL = "https:///x" },
		"fragment":           func(c *signin.IssuerConfig) { c.URL += "#x" },
		"empty fragment":     func(c *signin.IssuerConfig) { c.URL += "#" },
		"query":              func(c *signin.IssuerConfig) { c.URL += "?x" },
		"user":               func(c *signin.IssuerConfig) { c.URL = "https://u:p@idp.example" },
		"no audience":        func(c *signin.IssuerConfig) { c.Audience = "" },
		"none":               func(c *signin.IssuerConfig) { c.Algorithms = []string{"none"} },
		"HS256":              func(c *signin.IssuerConfig) { c.Algorithms = []string{"ES256", "HS256"} },
		"skew":               func(c *signin.IssuerConfig) { c.Skew = time.Hour },
		"development, https": func(c *signin.IssuerConfig) { c.Development = true },
		"development, away":  func(c *signin.IssuerConfig) { c.Development = true; c.URL = "http://10.0.0.1:80/x" },
		"development, name":  func(c *signin.IssuerConfig) { c.Development = true; c.URL = "http://localhost:80/x" },
	} {
		cfg := good
		change(&cfg)
		if cfg.Validate() == nil {
			t.Errorf("%s: is taken", name)
		}
		if _, err := signin.NewIssuer(cfg); err == nil {
			t.Errorf("%s: is taken", name)
		}
	}
}

func FuzzVerify(f *testing.F) {
	i, c := signintest.Start(f), newClock()
	token := i.Token("ana", c.Now(), nil)
	f.Add(token)
	f.Add("a.b.c")
	f.Add(strings.Replace(token, ".", "..", 1))
	v, err := signin.NewIssuer(signin.IssuerConfig{URL: i.URL, Audience: signintest.Audience, RootCAs: i.Pool(), Now: c.Now})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		// The last bits of a signature's base64 are of no byte.
		if id, err := v.Verify(t.Context(), text); err == nil && text[:len(text)-1] != token[:len(token)-1] {
			t.Errorf("%q is %+v", text, id)
		}
	})
}
