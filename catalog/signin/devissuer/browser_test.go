package devissuer_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/devissuer"
)

const (
	clientID = "dashboard"
	redirect = "http://127.0.0.1:1/auth/callback"
)

// browser asks the issuer, and follows nothing.
type browser struct {
	*testing.T
	*http.Client
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type page struct {
	status int
	header http.Header
	text   string
}

func (b *browser) ask(method, to string, form url.Values, header ...string) page {
	b.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequest(method, to, body)
	if err != nil {
		b.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := b.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return page{resp.StatusCode, resp.Header, string(text)}
}

// location is where a page leads, and with which parameters.
func (p page) location(t *testing.T) (at string, q url.Values) {
	t.Helper()
	at, query, _ := strings.Cut(p.header.Get("Location"), "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	return at, q
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([a-z_]+)" value="([^"]*)">`)

// form is what the page to choose on sends.
func (p page) form() url.Values {
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(p.text, -1) {
		form.Set(m[1], strings.NewReplacer("&#43;", "+", "&amp;", "&", "&#34;", `"`, "&lt;", "<", "&gt;", ">").Replace(m[2]))
	}
	return form
}

// site is an issuer, a client of it, and a browser.
type site struct {
	*browser
	issuer *devissuer.Issuer
	client *signin.Client
	form   string // where it is sent
	now    time.Time
}

func newSite(t *testing.T) *site {
	s := &site{browser: newBrowser(t), now: time.Now()}
	var v *signin.Issuer
	s.issuer, v = start(t, devissuer.Config{Client: clientID, RedirectURL: redirect, Now: func() time.Time { return s.now }})
	client, err := v.Client(signin.ClientConfig{ID: clientID, RedirectURL: redirect})
	if err != nil {
		t.Fatal(err)
	}
	s.client, s.form = client, s.issuer.URL()+"/authorize"
	return s
}

// choose goes as far as to have chosen, and returns what the issuer sends the browser back with.
func (s *site) choose(a signin.Attempt, mfa string) url.Values {
	s.Helper()
	to, err := s.client.AuthorizeURL(s.Context(), a)
	if err != nil {
		s.Fatal(err)
	}
	p := s.ask(http.MethodGet, to, nil)
	if p.status != http.StatusOK {
		s.Fatalf("%d: %s", p.status, p.text)
	}
	form := p.form()
	form.Set("subject", subject)
	form.Set("mfa", mfa)
	at, q := s.ask(http.MethodPost, s.form, form, "Sec-Fetch-Site", "same-origin").location(s.T)
	if at != redirect || q.Get("code") == "" || q.Get("iss") != s.issuer.URL() {
		s.Fatalf("%s %v", at, q)
	}
	return q
}

func TestBrowser(t *testing.T) {
	s := newSite(t)
	a := signin.NewAttempt()
	to, err := s.client.AuthorizeURL(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if p := s.ask(http.MethodGet, to, nil); p.status != http.StatusForbidden || strings.Contains(p.text, subject) || !strings.Contains(p.text, "enter?key=") {
		t.Errorf("without the key: %d %s", p.status, p.text)
	}
	if p := s.ask(http.MethodGet, s.issuer.URL()+"/enter?key=wrong", nil); p.status != http.StatusForbidden || len(p.header.Values("Set-Cookie")) != 0 {
		t.Errorf("with a wrong key: %d", p.status)
	}
	p := s.ask(http.MethodGet, s.issuer.EnterURL(), nil)
	if at, _ := p.location(t); p.status != http.StatusSeeOther || at != "http://127.0.0.1:1/" {
		t.Errorf("%d to %s", p.status, at)
	}
	if c := p.header.Get("Set-Cookie"); !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") || strings.Contains(s.issuer.EnterURL(), strings.Split(c[len("cardlake-development="):], ";")[0]) {
		t.Errorf("cookie %s", c)
	}
	for mfa, want := range map[string]bool{"yes": true, "": false} {
		a := signin.NewAttempt()
		answer := s.choose(a, mfa)
		id, err := s.client.Finish(t.Context(), a, answer)
		if err != nil || id.Subject != "dev:"+subject || id.MFA != want {
			t.Errorf("%+v, %v", id, err)
		}
		var refused *signin.Error
		if _, err := s.client.Finish(t.Context(), a, answer); !errors.As(err, &refused) || refused.Reason != signin.Code {
			t.Errorf("a code is good twice: %v", err)
		}
	}
	// A token for the client is not one for the doors.
	a = signin.NewAttempt()
	answer := s.choose(a, "yes")
	p = s.ask(http.MethodPost, s.issuer.TokenURL(), url.Values{"grant_type": {"authorization_code"}, "client_id": {clientID}, "redirect_uri": {redirect}, "code": answer["code"], "code_verifier": {a.Verifier}})
	id := regexp.MustCompile(`"id_token":"([^"]+)"`).FindStringSubmatch(p.text)
	access := regexp.MustCompile(`"access_token":"([^"]+)"`).FindStringSubmatch(p.text)
	v, err := signin.NewIssuer(signin.IssuerConfig{URL: s.issuer.URL(), Audience: "test", Development: true})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if id == nil || access == nil {
		t.Fatal(p.text)
	}
	if _, err := v.Verify(t.Context(), id[1]); err == nil {
		t.Error("an ID token opens a door")
	}
	if _, err := v.Verify(t.Context(), access[1]); err != nil {
		t.Error(err)
	}
}

// TestPage: what the page may do, and that what is asked for is text on it.
func TestPage(t *testing.T) {
	s := newSite(t)
	s.ask(http.MethodGet, s.issuer.EnterURL(), nil)
	a := signin.NewAttempt()
	a.State = `"><script>alert(1)</script>`
	to, err := s.client.AuthorizeURL(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	p := s.ask(http.MethodGet, to, nil)
	if strings.Contains(p.text, "<script") || p.form().Get("state") != a.State || !strings.Contains(p.text, `value="`+subject+`"`) {
		t.Error(p.text)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self' http://127.0.0.1:1; base-uri 'none'; frame-ancestors 'none'",
		"Referrer-Policy":         "no-referrer", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin",
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if bytes.Contains([]byte(p.text), []byte("style=")) {
		t.Error("there is style that the policy forbids")
	}
	if p := s.ask(http.MethodGet, s.issuer.URL()+"/style.css", nil); p.status != http.StatusOK || p.header.Get("Content-Type") != "text/css; charset=utf-8" {
		t.Errorf("style: %d", p.status)
	}
	if p := s.ask(http.MethodGet, to, nil, "Host", "evil.example"); p.status != http.StatusMisdirectedRequest {
		t.Errorf("by another name: %d", p.status)
	}
}

// TestBrowserRefusals: what is not as it must be gives no code, and only who is known is told back.
func TestBrowserRefusals(t *testing.T) {
	s := newSite(t)
	s.ask(http.MethodGet, s.issuer.EnterURL(), nil)
	a := signin.NewAttempt()
	to, err := s.client.AuthorizeURL(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	form := s.ask(http.MethodGet, to, nil).form()
	form.Set("subject", subject)
	with := func(name string, values ...string) url.Values {
		f := url.Values{}
		for k, v := range form {
			f[k] = v
		}
		f[name] = values
		return f
	}
	for name, tc := range map[string]struct {
		form   url.Values
		status int
		want   string // error that is sent back
	}{
		"another client":   {with("client_id", "x"), 400, ""},
		"another place":    {with("redirect_uri", "http://127.0.0.1:1/auth/callback/x"), 400, ""},
		"evil place":       {with("redirect_uri", "https://evil.example/"), 400, ""},
		"two places":       {with("redirect_uri", redirect, "https://evil.example/"), 400, ""},
		"nobody":           {with("subject", "operator/eve"), 303, "access_denied"},
		"no PKCE":          {with("code_challenge"), 303, "invalid_request"},
		"plain PKCE":       {with("code_challenge_method", "plain"), 303, "invalid_request"},
		"short challenge":  {with("code_challenge", "AAAA"), 303, "invalid_request"},
		"two nonces":       {with("nonce", "a", "b"), 303, "invalid_request"},
		"token":            {with("response_type", "token"), 303, "unsupported_response_type"},
		"no OpenID":        {with("scope", "profile"), 303, "invalid_scope"},
		"without a person": {with("prompt", "none"), 303, "login_required"},
	} {
		p := s.ask(http.MethodPost, s.form, tc.form, "Sec-Fetch-Site", "same-origin")
		at, q := p.location(t)
		if p.status != tc.status || q.Get("error") != tc.want || q.Has("code") || tc.want != "" && at != redirect {
			t.Errorf("%s: %d to %s %v", name, p.status, at, q)
		}
	}
	for _, site := range []string{"cross-site", "same-site"} {
		if p := s.ask(http.MethodPost, s.form, form, "Sec-Fetch-Site", site); p.status != http.StatusForbidden {
			t.Errorf("%s: %d", site, p.status)
		}
	}
	if p := s.ask(http.MethodPost, s.form, form, "Origin", "https://evil.example"); p.status != http.StatusForbidden {
		t.Errorf("of another origin: %d", p.status)
	}
	other := newBrowser(t)
	if p := other.ask(http.MethodPost, s.form, form); p.status != http.StatusForbidden {
		t.Errorf("a browser without the key: %d", p.status)
	}

	good := s.choose(a, "")
	redeem := func(f url.Values) int { return s.ask(http.MethodPost, s.issuer.TokenURL(), f).status }
	exchange := url.Values{"grant_type": {"authorization_code"}, "client_id": {clientID}, "redirect_uri": {redirect}, "code": good["code"], "code_verifier": {a.Verifier}}
	for name, values := range map[string][]string{"client_id": {"x"}, "redirect_uri": {"http://127.0.0.1:1/"}, "code_verifier": {"x"}, "code": {"x"}} {
		f := url.Values{}
		for k, v := range exchange {
			f[k] = v
		}
		if name != "code" {
			f["code"] = s.choose(a, "")["code"]
		}
		f[name] = values
		if got := redeem(f); got != http.StatusBadRequest && got != http.StatusUnauthorized {
			t.Errorf("another %s: %d", name, got)
		}
	}
	s.now = s.now.Add(time.Minute)
	if got := redeem(exchange); got != http.StatusBadRequest {
		t.Errorf("a code of a minute ago: %d", got)
	}
}

func TestBrowserConfig(t *testing.T) {
	for name, cfg := range map[string]devissuer.Config{
		"another machine": {Client: "x", RedirectURL: "http://192.0.2.1/auth/callback"},
		"a name":          {Client: "x", RedirectURL: "http://localhost/auth/callback"},
		"TLS":             {Client: "x", RedirectURL: "https://127.0.0.1/auth/callback"},
		"the audience":    {Client: "test", RedirectURL: redirect},
	} {
		cfg.Audience, cfg.Subjects = "test", []string{subject}
		if _, err := devissuer.New(listener{addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}}, cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	// Without a client there is nothing for browsers.
	i, _ := start(t, devissuer.Config{})
	b := newBrowser(t)
	if p := b.ask(http.MethodGet, i.EnterURL(), nil); p.status != http.StatusNotFound {
		t.Errorf("%d", p.status)
	}
}
