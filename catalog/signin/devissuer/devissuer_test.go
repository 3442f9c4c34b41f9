package devissuer_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/devissuer"
)

const subject = "data_scientist/local"

// start starts an issuer, and a verifier of its tokens.
func start(t *testing.T, cfg devissuer.Config) (*devissuer.Issuer, *signin.Issuer) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Audience, cfg.Subjects = "test", []string{subject}
	i, err := devissuer.New(l, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	v, err := signin.NewIssuer(signin.IssuerConfig{URL: i.URL(), Audience: "test", Development: true, KeyInterval: 1, Now: cfg.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return i, v
}

func post(t *testing.T, i *devissuer.Issuer, form url.Values, host string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, i.TokenURL(), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Host = host
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got map[string]any
	_ = json.NewDecoder(resp.Body).Decode(&got)
	return resp.StatusCode, got
}

func TestTokens(t *testing.T) {
	i, v := start(t, devissuer.Config{})
	form := func(secret, scope string) url.Values {
		return url.Values{"grant_type": {"client_credentials"}, "client_id": {subject}, "client_secret": {secret}, "scope": {scope}}
	}
	for scope, mfa := range map[string]bool{"": false, "mfa": true} {
		status, got := post(t, i, form(i.Secret(subject), scope), "")
		token, _ := got["access_token"].(string)
		if status != http.StatusOK || token == "" {
			t.Fatal(status, got)
		}
		id, err := v.Verify(t.Context(), token)
		if err != nil || id.Subject != "dev:"+subject || id.MFA != mfa {
			t.Errorf("%+v, %v", id, err)
		}
	}
	for name, bad := range map[string]url.Values{
		"wrong secret":  form("x", ""),
		"no secret":     form("", ""),
		"other subject": {"grant_type": {"client_credentials"}, "client_id": {"operator/local"}, "client_secret": {""}},
		"other grant":   {"grant_type": {"password"}, "client_id": {subject}, "client_secret": {i.Secret(subject)}},
	} {
		if status, got := post(t, i, bad, ""); status == http.StatusOK {
			t.Errorf("%s: %v", name, got)
		}
	}
	if status, _ := post(t, i, form(i.Secret(subject), ""), "evil.example"); status != http.StatusMisdirectedRequest {
		t.Errorf("another host's name: status %d", status)
	}
	if _, err := i.Token("operator/local", false); err == nil {
		t.Error("a token of nobody")
	}
}

// TestDiscovery: a client that knows nothing but the URL takes its tokens.
func TestDiscovery(t *testing.T) {
	i, _ := start(t, devissuer.Config{})
	provider, err := oidc.NewProvider(t.Context(), i.URL())
	if err != nil {
		t.Fatal(err)
	}
	token, err := i.Token(subject, true)
	if err != nil {
		t.Fatal(err)
	}
	got, err := provider.Verifier(&oidc.Config{ClientID: "test"}).Verify(t.Context(), token)
	if err != nil || got.Subject != subject {
		t.Errorf("%+v, %v", got, err)
	}
	if provider.Endpoint().TokenURL != i.TokenURL() {
		t.Errorf("tokens at %s", provider.Endpoint().TokenURL)
	}
}

func TestRotation(t *testing.T) {
	now := time.Now()
	i, v := start(t, devissuer.Config{Now: func() time.Time { return now }})
	old, err := i.Token(subject, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Rotate(); err != nil {
		t.Fatal(err)
	}
	fresh, err := i.Token(subject, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{old, fresh} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
	now = now.Add(16 * time.Minute)
	var refused *signin.Error
	if _, err := v.Verify(t.Context(), old); !errors.As(err, &refused) || refused.Reason != signin.UnknownKey {
		t.Errorf("a withdrawn key: %v", err)
	}
	if _, err := v.Verify(t.Context(), fresh); !errors.As(err, &refused) || refused.Reason != signin.Expired {
		t.Errorf("a token that ended: %v", err)
	}
}

// listener has an address of its own choosing.
type listener struct {
	net.Listener
	addr net.Addr
}

func (l listener) Addr() net.Addr { return l.addr }

func TestOnlyAtLoopback(t *testing.T) {
	cfg := devissuer.Config{Audience: "test", Subjects: []string{subject}}
	for _, addr := range []net.Addr{
		&net.TCPAddr{IP: net.IPv4zero, Port: 80}, &net.TCPAddr{IP: net.IPv6unspecified, Port: 80}, &net.TCPAddr{Port: 80},
		&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}, &net.UnixAddr{Name: "x"},
	} {
		if _, err := devissuer.New(listener{addr: addr}, cfg); !errors.Is(err, devissuer.ErrLoopback) {
			t.Errorf("%v: %v", addr, err)
		}
	}
	here := listener{addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}}
	for name, bad := range map[string]devissuer.Config{
		"long life": {Audience: "test", Subjects: []string{subject}, Lifetime: 2 * time.Hour}, "nobody": {Audience: "test"}, "no audience": {Subjects: []string{subject}},
	} {
		if _, err := devissuer.New(here, bad); err == nil {
			t.Errorf("%s: is taken", name)
		}
	}
}
