package session_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/dashboard/session"
)

// TestWhereTo: whatever is asked for, a sign-in leads to one of the dashboard's own pages.
func TestWhereTo(t *testing.T) {
	s := newSite(t, session.Config{})
	for to, isTaken := range map[string]bool{
		"/": true, "/overview": true, "/overview?tenant=x&range=7d&next=https://a.example": true, "/t/colibri-bank/": true,
		"":                              false,
		"overview":                      false,
		"//evil.example":                false,
		"///evil.example":               false,
		"/\\evil.example":               false,
		"\\\\evil.example":              false,
		"/%5cevil.example":              false,
		"/%2f/evil.example":             false,
		"/.//evil.example":              false,
		"/x/..//evil.example":           false,
		"/../evil":                      false,
		"/\t/evil.example":              false,
		"/\n/evil.example":              false,
		"/%09/evil.example":             false,
		"/%00":                          false,
		"/x\r\nSet-Cookie: a=b":         false,
		"https://evil.example":          false,
		"https:evil.example":            false,
		"http:///evil.example":          false,
		"javascript:alert(1)":           false,
		"data:text/html,x":              false,
		"//evil.example/%2f..":          false,
		"/ evil":                        false,
		"/é":                            false,
		"/auth/sign-in":                 false,
		"/auth":                         false,
		"/%61uth/sign-out":              false,
		"/v1/exports/x":                 false,
		"@evil.example":                 false,
		"/" + string(rune(0x80)):        false,
		"/" + strings.Repeat("a", 2000): false,
	} {
		b := s.browser()
		want := "/"
		if isTaken {
			want = to
		}
		if got := b.signIn(to); got != want {
			t.Errorf("%q leads to %q", to, got)
		}
	}
	b := s.browser()
	b.ask(http.MethodGet, "/auth/sign-in?to=/overview&to=//evil.example")
	if got := b.ask(http.MethodGet, b.callback()+"&to=//evil.example").Header.Get("Location"); got != "/overview" {
		t.Errorf("leads to %s", got)
	}
}

// TestRefusals: what the browser is told is one of a few words, and what was wrong is on record.
func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		err          error
		want, record string
	}{
		"declined":       {&signin.Error{Reason: signin.Denied}, "denied", "unknown refused denied"},
		"nobody":         {&signin.Error{Reason: signin.UnknownSubject, Subject: "oidc:x#eve"}, "unknown", "oidc:x#eve refused unknown_subject"},
		"another state":  {&signin.Error{Reason: signin.State}, "expired", "unknown refused state"},
		"another nonce":  {&signin.Error{Reason: signin.Nonce, Subject: "oidc:x#ana"}, "refused", "oidc:x#ana refused nonce"},
		"used code":      {&signin.Error{Reason: signin.Code}, "refused", "unknown refused code"},
		"no issuer":      {&signin.Error{Reason: signin.IssuerUnavailable, Err: errors.New("dial")}, "unavailable", "unknown refused issuer_unavailable"},
		"something else": {errors.New("x"), "unavailable", "unknown refused sign_in"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, session.Config{})
			b := s.browser()
			b.ask(http.MethodGet, "/auth/sign-in")
			s.with(func() { s.err = tc.err })
			a := b.ask(http.MethodGet, b.callback())
			if got := a.Header.Get("Location"); got != "/?signin="+tc.want || len(b.cookies) != 0 || !slices.Contains(session.Reasons, tc.want) {
				t.Errorf("leads to %s, with %d cookies", got, len(b.cookies))
			}
			if d := cmp.Diff([]string{tc.record}, s.recorded("sign_in")); d != "" {
				t.Error(d)
			}
		})
	}
	t.Run("not a principal", func(t *testing.T) {
		s := newSite(t, session.Config{})
		s.who.Subject = "oidc:x#eve"
		b := s.browser()
		b.ask(http.MethodGet, "/auth/sign-in")
		if a := b.ask(http.MethodGet, b.callback()); a.Header.Get("Location") != "/?signin=unknown" {
			t.Error(a.Header)
		}
	})
	t.Run("no issuer at the beginning", func(t *testing.T) {
		s := newSite(t, session.Config{})
		s.err = &signin.Error{Reason: signin.IssuerUnavailable}
		b := s.browser()
		if a := b.ask(http.MethodGet, "/auth/sign-in"); a.Header.Get("Location") != "/?signin=unavailable" || len(b.cookies) != 0 {
			t.Error(a.Header)
		}
	})
}

// TestOnlyItsOwn: only the browser that began a sign-in ends it, in time, and once. What is sealed
// for a sign-in is of no other use.
func TestOnlyItsOwn(t *testing.T) {
	s := newSite(t, session.Config{})
	attacker, victim := s.browser(), s.browser()
	attacker.ask(http.MethodGet, "/auth/sign-in")
	expired := func(name string, b *browser, to string) {
		t.Helper()
		if a := b.ask(http.MethodGet, to, fromElsewhere...); a.Header.Get("Location") != "/?signin=expired" || b.id() != "" {
			t.Errorf("%s: leads to %s, session %q", name, a.Header.Get("Location"), b.id())
		}
	}
	// Login CSRF: the attacker's code and state in the victim's browser.
	stolen := attacker.callback()
	expired("no sign-in", victim, stolen)
	victim.ask(http.MethodGet, "/auth/sign-in")
	expired("another sign-in", victim, stolen)

	b := s.browser()
	b.ask(http.MethodGet, "/auth/sign-in")
	cookie := b.cookies["__Host-cardlake-sign-in"]
	b.cookies["__Host-cardlake-sign-in"] = cookie[:len(cookie)-2] + "AA"
	expired("a cookie that was changed", b, b.callback())
	for name, value := range map[string]string{"no cookie": "", "another's": "AAAA", "not base64": "%%%"} {
		b.cookies["__Host-cardlake-sign-in"] = value
		expired(name, b, b.callback())
	}
	b.cookies["__Host-cardlake"] = cookie
	b.want(http.StatusUnauthorized)

	b.ask(http.MethodGet, "/auth/sign-in")
	cookie = b.cookies["__Host-cardlake-sign-in"]
	if got := b.ask(http.MethodGet, b.callback()).Header.Get("Location"); got != "/" || b.id() == "" {
		t.Fatal(got)
	}
	again := s.browser()
	again.cookies["__Host-cardlake-sign-in"] = cookie
	expired("a second time", again, again.callback())

	b = s.browser()
	b.ask(http.MethodGet, "/auth/sign-in")
	s.advance(10 * time.Minute)
	expired("after ten minutes", b, b.callback())

	// Another server's seal.
	other := newSite(t, session.Config{})
	foreign := other.browser()
	foreign.ask(http.MethodGet, "/auth/sign-in")
	b = s.browser()
	b.ask(http.MethodGet, "/auth/sign-in")
	b.cookies["__Host-cardlake-sign-in"] = foreign.cookies["__Host-cardlake-sign-in"]
	expired("another server's cookie", b, b.callback())

	b.ask(http.MethodGet, "/auth/sign-in")
	expired("a query that is none", b, b.callback()+"&x=%zz")
}

// TestNothingSecret: what the issuer is sent, and the browser is sent back with, has what it needs.
func TestNothingSecret(t *testing.T) {
	s := newSite(t, session.Config{})
	b := s.browser()
	a := b.ask(http.MethodGet, "/auth/sign-in?to=/overview")
	s.mu.Lock()
	attempt := s.asked[0]
	s.mu.Unlock()
	for _, secret := range []string{attempt.Verifier, attempt.Nonce} {
		if strings.Contains(b.cookies["__Host-cardlake-sign-in"], secret) || strings.Contains(a.text, secret) {
			t.Error("the browser can read what is sealed")
		}
	}
	a = b.ask(http.MethodGet, b.callback())
	to, err := url.Parse(a.Header.Get("Location"))
	if err != nil || to.RawQuery != "" || strings.Contains(a.text, attempt.State) {
		t.Errorf("%s: %s", a.Header.Get("Location"), a.text)
	}
}
