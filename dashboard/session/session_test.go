package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/dashboard/session"
)

func TestSession(t *testing.T) {
	s := newSite(t, session.Config{})
	b := s.browser()
	b.want(http.StatusUnauthorized)
	if a := b.ask(http.MethodGet, "/auth/session"); a.StatusCode != http.StatusUnauthorized || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d: %s", a.StatusCode, a.text)
	}
	if to := b.signIn("/t/colibri-bank/overview?range=7d"); to != "/t/colibri-bank/overview?range=7d" {
		t.Errorf("leads to %s", to)
	}
	got := b.session()
	want := who{Principal: "tenant_analyst/ana", Kind: "tenant_analyst", CSRF: got.CSRF, MFA: true, IdleEndsAt: s.now.Add(15 * time.Minute), EndsAt: s.now.Add(8 * time.Hour)}
	if d := cmp.Diff(want, got); d != "" || len(got.CSRF) != 43 || got.CSRF == b.id() {
		t.Error(d, got.CSRF)
	}
	var caller grants.Caller
	if err := json.Unmarshal([]byte(b.want(http.StatusOK).text), &caller); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(grants.Caller{Principal: ana, Origin: "192.0.2.7", MFA: true, Subject: "oidc:x#ana"}, caller); d != "" {
		t.Error(d)
	}
	// Who shows a token is who the token says, whatever cookie is there.
	if a := b.want(http.StatusOK, "Authorization", "Bearer bert"); !strings.Contains(a.text, "bert") {
		t.Error(a.text)
	}
	b.want(http.StatusUnauthorized, "Authorization", "Bearer eve")
	if a := b.ask(http.MethodPost, "/v1/query"); a.StatusCode != http.StatusOK {
		t.Errorf("%d: %s", a.StatusCode, a.text)
	}

	id := b.id()
	a := b.ask(http.MethodPost, "/auth/sign-out")
	if a.StatusCode != http.StatusOK || strings.TrimSpace(a.text) != `{"to":"/?signin=signed_out"}` || b.id() != "" || a.Header.Get("Clear-Site-Data") != `"cache"` {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	b.cookies["__Host-cardlake"] = id
	if a := b.want(http.StatusUnauthorized); b.id() != "" || strings.TrimSpace(a.text) != "session" {
		t.Errorf("a cookie of no session is not taken back: %s", a.text)
	}
	if d := cmp.Diff([]string{"tenant_analyst/ana allowed "}, s.recorded("sign_in")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"tenant_analyst/ana allowed "}, s.recorded("sign_out")); d != "" {
		t.Error(d)
	}
}

func TestSignOutAtIssuer(t *testing.T) {
	s := newSite(t, session.Config{})
	s.end = "https://issuer.example/end"
	b, other := s.browser(), s.browser()
	b.signIn("/")
	other.signIn("/")
	if a := b.ask(http.MethodPost, "/auth/sign-out"); strings.TrimSpace(a.text) != `{"to":"https://issuer.example/end?back=https://lake.example/auth/signed-out"}` {
		t.Error(a.text)
	}
	if a := b.ask(http.MethodGet, session.SignedOutPath, fromElsewhere...); a.Header.Get("Location") != "/?signin=signed_out" {
		t.Error(a.Header)
	}
	other.want(http.StatusOK)
	b.signIn("/")
	b.ask(http.MethodPost, "/auth/sign-out?everywhere=yes")
	other.want(http.StatusUnauthorized)
	if d := cmp.Diff([]string{"tenant_analyst/ana allowed signed_out_elsewhere"}, s.recorded("session.end")); d != "" {
		t.Error(d)
	}
}

// TestFixation: a sign-in gives an id that nobody knew before, and ends what was there.
func TestFixation(t *testing.T) {
	s := newSite(t, session.Config{})
	b := s.browser()
	b.cookies["__Host-cardlake"] = "chosen-by-an-attacker"
	b.signIn("/")
	first := b.id()
	if first == "" || first == "chosen-by-an-attacker" || len(first) != 43 {
		t.Fatalf("id %q", first)
	}
	csrf := b.csrf
	b.signIn("/")
	if b.id() == first || b.csrf == csrf {
		t.Error("the id, or the token, outlives a sign-in")
	}
	old := s.browser()
	old.cookies["__Host-cardlake"] = first
	old.want(http.StatusUnauthorized)
	b.want(http.StatusOK)
	if d := cmp.Diff([]string{"tenant_analyst/ana allowed signed_in_again"}, s.recorded("session.end")); d != "" {
		t.Error(d)
	}
	two := s.browser()
	two.cookies["__Host-cardlake"], two.cookies["other"] = b.id(), "x"
	r := httptest.NewRequest(http.MethodGet, secureURL+"/v1/me", nil)
	r.Header.Add("Cookie", "__Host-cardlake="+b.id()+"; __Host-cardlake="+b.id())
	if _, err := s.manager.FromRequest(r); err == nil {
		t.Error("of two cookies one is taken")
	}
}

func TestCookies(t *testing.T) {
	for base, want := range map[string][]string{
		secureURL: {"__Host-cardlake-sign-in=V; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax", "__Host-cardlake=V; Path=/; HttpOnly; Secure; SameSite=Lax"},
		localURL:  {"cardlake-sign-in=V; Path=/; Max-Age=600; HttpOnly; SameSite=Lax", "cardlake=V; Path=/; HttpOnly; SameSite=Lax"},
	} {
		s := newSite(t, session.Config{URL: base})
		b := s.browser()
		var got []string
		for _, a := range []answer{b.ask(http.MethodGet, "/auth/sign-in"), b.ask(http.MethodGet, b.callback(), fromElsewhere...)} {
			for _, c := range a.Header.Values("Set-Cookie") {
				name, rest, _ := strings.Cut(c, "=")
				value, flags, _ := strings.Cut(rest, ";")
				if value != "" {
					got = append(got, name+"=V;"+flags)
				}
			}
			for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} {
				if a.Header.Get(name) != want {
					t.Errorf("%s: %s", name, a.Header.Get(name))
				}
			}
			if (a.Header.Get("Strict-Transport-Security") != "") != (base == secureURL) {
				t.Error("strict transport", base)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if len(b.cookies) != 1 {
			t.Errorf("%d cookies are left", len(b.cookies))
		}
	}
}

// TestRotation: the id is drawn anew in time; what was sent meanwhile is good; an old id that comes
// later ends the session, whoever shows it.
func TestRotation(t *testing.T) {
	s := newSite(t, session.Config{})
	b := s.browser()
	b.signIn("/")
	first := b.id()
	s.advance(10*time.Minute - time.Second)
	if b.want(http.StatusOK); b.id() != first {
		t.Error("too soon")
	}
	s.advance(time.Second)
	stale := s.browser() // the same browser's requests whose answers are lost, or still under way
	stale.cookies["__Host-cardlake"] = first
	stale.want(http.StatusOK)
	second := stale.id()
	s.advance(5 * time.Minute) // nothing of the new id has arrived
	b.want(http.StatusOK)
	if b.id() == first || b.id() != second {
		t.Fatal("requests at a time are told several ids")
	}
	b.want(http.StatusOK)
	s.advance(29 * time.Second)
	stale.cookies["__Host-cardlake"] = first
	if stale.want(http.StatusOK); stale.id() != first {
		t.Error("the old id is told the new one after that has arrived")
	}
	b.want(http.StatusOK)
	s.advance(time.Second)
	if stale.want(http.StatusUnauthorized); stale.id() != "" {
		t.Error("the cookie stays")
	}
	b.want(http.StatusUnauthorized)
	if d := cmp.Diff([]string{"tenant_analyst/ana allowed old_id"}, s.recorded("session.end")); d != "" {
		t.Error(d)
	}
	// Two rotations on, the first id is of no session.
	b.signIn("/")
	first = b.id()
	for range 2 {
		s.advance(10 * time.Minute)
		b.want(http.StatusOK)
		b.want(http.StatusOK)
	}
	stale.cookies["__Host-cardlake"] = first
	stale.want(http.StatusUnauthorized)
	b.want(http.StatusOK)
}

// TestEnds: a session ends when nobody has done anything for a while, and in any case.
func TestEnds(t *testing.T) {
	s := newSite(t, session.Config{})
	b := s.browser()
	b.signIn("/")
	for range 3 {
		s.advance(14 * time.Minute)
		b.want(http.StatusOK)
	}
	begun := s.time()
	// What the page asks for by itself is no sign of anybody.
	for range 14 {
		s.advance(time.Minute)
		if b.want(http.StatusOK, session.HeaderBackground, "yes"); b.ask(http.MethodGet, "/v1/live").StatusCode != http.StatusOK {
			t.Error("no stream")
		}
		if got := b.session().IdleEndsAt; !got.Equal(begun.Add(15 * time.Minute)) {
			t.Errorf("ends at %v", got)
		}
	}
	// Neither is what another site's page does.
	b.want(http.StatusUnauthorized, fromElsewhere...)
	b.ask(http.MethodPost, "/v1/query", session.HeaderCSRF, "wrong")
	s.advance(time.Minute)
	b.want(http.StatusUnauthorized)

	b.signIn("/")
	begun = s.time()
	for s.time().Before(begun.Add(8*time.Hour - 10*time.Minute)) {
		s.advance(10 * time.Minute)
		b.want(http.StatusOK)
	}
	if got := b.session(); !got.IdleEndsAt.Equal(begun.Add(8*time.Hour)) || !got.EndsAt.Equal(begun.Add(8*time.Hour)) {
		t.Errorf("%+v", got)
	}
	s.advance(10 * time.Minute)
	b.want(http.StatusUnauthorized)
	if d := cmp.Diff([]string{"tenant_analyst/ana allowed idle", "tenant_analyst/ana allowed too_old"}, s.recorded("session.end")); d != "" {
		t.Error(d)
	}
}

// TestStream: whoever asks again while a request lasts learns that the session has ended, though
// its id was drawn anew meanwhile.
func TestStream(t *testing.T) {
	s := newSite(t, session.Config{})
	b := s.browser()
	b.signIn("/")
	r := httptest.NewRequest(http.MethodGet, secureURL+"/v1/live", nil)
	r.AddCookie(&http.Cookie{Name: "__Host-cardlake", Value: b.id()})
	var held *http.Request
	s.manager.Guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { held = r })).ServeHTTP(httptest.NewRecorder(), r)
	for range 5 {
		s.advance(10 * time.Minute)
		b.want(http.StatusOK)
		b.want(http.StatusOK)
		if _, err := s.manager.FromRequest(held); err != nil {
			t.Fatal(err)
		}
	}
	b.ask(http.MethodPost, "/auth/sign-out")
	refused := new(signin.Error)
	if _, err := s.manager.FromRequest(held); !errors.As(err, &refused) || refused.Reason != signin.NoSession {
		t.Errorf("%v", err)
	}
}

// TestPrincipals: who is taken out of the principals, or becomes another, is signed in no more.
func TestPrincipals(t *testing.T) {
	for name, change := range map[string]func(s *site){
		"removed": func(s *site) { delete(s.known, "oidc:x#ana") },
		"another": func(s *site) { s.known["oidc:x#ana"] = bert },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, session.Config{})
			b := s.browser()
			b.signIn("/")
			b.want(http.StatusOK)
			s.with(func() { change(s) })
			if a := b.want(http.StatusUnauthorized); strings.TrimSpace(a.text) != "unknown_subject" {
				t.Error(a.text)
			}
			s.with(func() { s.known["oidc:x#ana"] = ana })
			b.want(http.StatusUnauthorized)
			if d := cmp.Diff([]string{"tenant_analyst/ana allowed not_a_principal"}, s.recorded("session.end")); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestCrossSite: what another site's page, or one that does not know the token, sends is refused.
func TestCrossSite(t *testing.T) {
	s := newSite(t, session.Config{})
	b, other := s.browser(), s.browser()
	b.signIn("/")
	s.with(func() { s.who.Subject = "oidc:x#bert" })
	other.signIn("/")
	for name, tc := range map[string]struct {
		method, path string
		header       []string
		want         string
	}{
		"cross-site form":       {"POST", "/v1/query", []string{"Sec-Fetch-Site", "cross-site"}, "cross_site"},
		"sibling's form":        {"POST", "/v1/query", []string{"Sec-Fetch-Site", "same-site"}, "cross_site"},
		"old browser":           {"POST", "/v1/query", []string{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, "cross_site"},
		"null origin":           {"POST", "/v1/query", []string{"Sec-Fetch-Site", "", "Origin", "null"}, "cross_site"},
		"no token":              {"POST", "/v1/query", []string{session.HeaderCSRF, ""}, "csrf"},
		"another session's":     {"POST", "/v1/query", []string{session.HeaderCSRF, other.csrf}, "csrf"},
		"DELETE":                {"DELETE", "/v1/query", []string{session.HeaderCSRF, ""}, "csrf"},
		"PUT":                   {"PUT", "/v1/query", []string{session.HeaderCSRF, ""}, "csrf"},
		"odd method":            {"get", "/v1/query", []string{session.HeaderCSRF, ""}, "csrf"},
		"cross-site read":       {"GET", "/v1/me", []string{"Sec-Fetch-Site", "cross-site"}, "no_credentials"},
		"cross-site link":       {"GET", "/v1/me", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, "no_credentials"},
		"sibling's read":        {"GET", "/v1/me", []string{"Sec-Fetch-Site", "same-site"}, "no_credentials"},
		"made-up site":          {"GET", "/v1/me", []string{"Sec-Fetch-Site", "x"}, "no_credentials"},
		"sign-out":              {"POST", "/auth/sign-out", []string{"Sec-Fetch-Site", "cross-site"}, ""},
		"sign-out, no token":    {"POST", "/auth/sign-out", []string{session.HeaderCSRF, ""}, ""},
		"sign-out by a link":    {"GET", "/auth/sign-out", nil, ""},
		"token to another site": {"GET", "/auth/session", []string{"Sec-Fetch-Site", "same-site"}, ""},
	} {
		a := b.ask(tc.method, tc.path, tc.header...)
		if tc.want != "" && (a.StatusCode != http.StatusUnauthorized || strings.TrimSpace(a.text) != tc.want) || a.StatusCode < 400 || strings.Contains(a.text, b.csrf) {
			t.Errorf("%s: %d %s, want %s", name, a.StatusCode, a.text, tc.want)
		}
	}
	b.want(http.StatusOK)
	b.want(http.StatusOK, "Sec-Fetch-Site", "none") // typed
	b.want(http.StatusOK, "Sec-Fetch-Site", "")
	if a := b.ask(http.MethodPost, "/v1/query", "Sec-Fetch-Site", "", "Origin", secureURL, "Host", "behind-a-proxy:8443"); a.StatusCode != http.StatusOK {
		t.Errorf("behind a proxy: %d %s", a.StatusCode, a.text)
	}
}

// withCertificate is a sign-in whose callers show a client's certificate.
type withCertificate struct{ session.SignIn }

func (withCertificate) FromRequest(*http.Request) (grants.Caller, error) {
	return grants.Caller{Principal: bert}, nil
}

// TestCrossSiteCertificate: what another site's page makes a browser send is nobody's, though the
// browser shows its certificate by itself. A program, which tells no site, is who it shows to be.
func TestCrossSiteCertificate(t *testing.T) {
	s := newSite(t, session.Config{})
	v, err := signin.New(s, signin.Config{Tokens: s})
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.New(session.Deps{SignIn: withCertificate{v}, Client: s, Recorder: s}, session.Config{URL: secureURL})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		header []string
		want   signin.Reason
	}{
		"program":       {nil, ""},
		"own page":      {[]string{"Sec-Fetch-Site", "same-origin"}, ""},
		"cross-site":    {[]string{"Sec-Fetch-Site", "cross-site"}, signin.CrossSite},
		"sibling":       {[]string{"Sec-Fetch-Site", "same-site"}, signin.CrossSite},
		"old browser":   {[]string{"Origin", "https://evil.example"}, signin.CrossSite},
		"with a bearer": {[]string{"Sec-Fetch-Site", "cross-site", "Authorization", "Bearer bert"}, ""},
	} {
		r := httptest.NewRequest(http.MethodPost, secureURL+"/v1/schedules/x/resume", nil)
		for i := 0; i < len(tc.header); i += 2 {
			r.Header.Set(tc.header[i], tc.header[i+1])
		}
		refused := new(signin.Error)
		if c, err := m.FromRequest(r); tc.want == "" && (err != nil || c.Principal != bert) || tc.want != "" && (!errors.As(err, &refused) || refused.Reason != tc.want) {
			t.Errorf("%s: %v, %v, want %q", name, c.Principal, err, tc.want)
		}
	}
}

// TestCrossSiteSignOut: another site's form, which SameSite keeps the cookie from, takes none back
// either. Whoever has none signs out from the page.
func TestCrossSiteSignOut(t *testing.T) {
	b := newSite(t, session.Config{}).browser()
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "", "Origin", "https://evil.example"}} {
		a := b.ask(http.MethodPost, "/auth/sign-out", header...)
		if a.StatusCode != http.StatusForbidden || len(a.Cookies()) != 0 || a.Header.Get("Clear-Site-Data") != "" {
			t.Errorf("%v: %d, %v", header, a.StatusCode, a.Header)
		}
	}
	if a := b.ask(http.MethodPost, "/auth/sign-out"); a.StatusCode != http.StatusOK || len(a.Cookies()) != 1 {
		t.Errorf("%d, %v", a.StatusCode, a.Header)
	}
}

// TestForeignLink: a link on another site leads to what is for everybody, and neither shows who is
// signed in nor is anything of theirs.
func TestForeignLink(t *testing.T) {
	s := newSite(t, session.Config{})
	b := s.browser()
	b.signIn("/")
	s.advance(10 * time.Minute)
	if a := b.want(http.StatusUnauthorized, fromElsewhere...); strings.TrimSpace(a.text) != "no_credentials" || len(a.Cookies()) != 0 {
		t.Errorf("%s, %v", a.text, a.Cookies())
	}
	// Nor does an answer that is for everybody, and may be kept for everybody, hold a cookie.
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, secureURL+"/v1/openapi.json", nil)
	r.AddCookie(&http.Cookie{Name: "__Host-cardlake", Value: b.id()})
	s.manager.Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
	if len(w.Result().Cookies()) != 0 {
		t.Errorf("%v", w.Result().Cookies())
	}
	if a := b.want(http.StatusOK); len(a.Cookies()) != 1 {
		t.Errorf("%v", a.Cookies())
	}
}

// TestBounds: one principal's sessions are bounded, and all; nobody ends another's.
func TestBounds(t *testing.T) {
	s := newSite(t, session.Config{Sessions: 4, PerPrincipal: 2})
	var all []*browser
	for range 3 {
		b := s.browser()
		b.signIn("/")
		all = append(all, b)
		s.advance(time.Second)
	}
	all[0].want(http.StatusUnauthorized)
	all[2].want(http.StatusOK)
	s.advance(time.Second)
	all[1].want(http.StatusOK)
	s.with(func() { s.who.Subject = "oidc:x#ana2" }) // the same person, by another subject
	again := s.browser()
	again.signIn("/")
	all[1].want(http.StatusOK)
	all[2].want(http.StatusUnauthorized)
	if d := cmp.Diff([]string{"tenant_analyst/ana allowed too_many", "tenant_analyst/ana allowed too_many"}, s.recorded("session.end")); d != "" {
		t.Error(d)
	}
	for i := range 3 {
		s.with(func() {
			s.who.Subject = fmt.Sprint("oidc:x#", i)
			s.known[s.who.Subject] = grants.Principal{Kind: grants.Auditor, Name: fmt.Sprint("a", i)}
		})
		b := s.browser()
		b.ask(http.MethodGet, "/auth/sign-in")
		want := "/"
		if i == 2 {
			want = "/?signin=unavailable"
		}
		if a := b.ask(http.MethodGet, b.callback()); a.Header.Get("Location") != want {
			t.Errorf("%d leads to %s", i, a.Header.Get("Location"))
		}
	}
	all[1].want(http.StatusOK)
	if got := s.recorded("sign_in"); got[len(got)-1] != "auditor/a2 failed full" {
		t.Error(got)
	}
}

// TestUnrecorded: nobody is let in who is not on record.
func TestUnrecorded(t *testing.T) {
	s := newSite(t, session.Config{})
	b := s.browser()
	b.ask(http.MethodGet, "/auth/sign-in")
	s.with(func() { s.down = true })
	if a := b.ask(http.MethodGet, b.callback()); a.Header.Get("Location") != "/?signin=unavailable" || b.id() != "" {
		t.Errorf("%v", a.Header)
	}
}

// TestLocal: without TLS only one name of this machine is answered to.
func TestLocal(t *testing.T) {
	s := newSite(t, session.Config{URL: localURL, Development: true})
	b := s.browser()
	if a := b.ask(http.MethodGet, "/auth/sign-in?to=%2Foverview", "Host", "localhost:8420"); a.Header.Get("Location") != localURL+"/auth/sign-in?to=%2Foverview" || len(b.cookies) != 0 {
		t.Errorf("%v", a.Header)
	}
	for _, path := range []string{"/auth/session", session.CallbackPath, "/auth/"} {
		if a := b.ask(http.MethodGet, path, "Host", "evil.example"); a.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
	b.signIn("/")
	if !b.session().Development {
		t.Error("nobody is told that it is for trying out")
	}
}

func TestConfig(t *testing.T) {
	for name, cfg := range map[string]session.Config{
		"none": {}, "in clear": {URL: "http://lake.example"}, "a name of this machine": {URL: "http://localhost:8420"}, "path": {URL: secureURL + "/"},
		"query": {URL: secureURL + "?x"}, "another scheme": {URL: "ftp://127.0.0.1"},
		"idle for long": {URL: secureURL, Idle: 16 * time.Minute}, "for ever": {URL: secureURL, Life: 25 * time.Hour}, "negative": {URL: secureURL, Grace: -1},
	} {
		if _, err := session.New(session.Deps{}, cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestRun: sessions that are over are put on record though nobody comes, and so are refusals that
// were counted; all end with the server.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, session.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.manager.Run(ctx) }()
		b := s.browser()
		b.signIn("/")
		s.advance(15 * time.Minute)
		for range 3 {
			s.browser().ask(http.MethodGet, session.CallbackPath)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if d := cmp.Diff([]string{"tenant_analyst/ana allowed idle"}, s.recorded("session.end")); d != "" {
			t.Error(d)
		}
		want := []string{"tenant_analyst/ana allowed ", "unknown refused state", "unknown refused more attempts"}
		if d := cmp.Diff(want, s.recorded("sign_in")); d != "" {
			t.Error(d)
		}
		b.signIn("/")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		b.want(http.StatusUnauthorized)
		s.mu.Lock()
		defer s.mu.Unlock()
		last := s.records[len(s.records)-1]
		if last.Action != "session.end" || last.Outcome != audit.Allowed || last.Numbers["sessions"] != 1 {
			t.Errorf("%+v", last)
		}
	})
}

// TestConcurrency: many requests of one browser at once, over many rotations, never lose the
// session.
func TestConcurrency(t *testing.T) {
	s := newSite(t, session.Config{})
	b := s.browser()
	b.signIn("/")
	var jar sync.Mutex
	for range 20 {
		s.advance(10 * time.Minute)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				one := s.browser()
				jar.Lock()
				sent := b.id()
				jar.Unlock()
				one.cookies["__Host-cardlake"] = sent
				one.want(http.StatusOK)
				jar.Lock()
				defer jar.Unlock()
				if one.id() != sent { // it was told another
					b.cookies["__Host-cardlake"] = one.id()
				}
			})
		}
		all.Wait()
		b.want(http.StatusOK)
	}
}
