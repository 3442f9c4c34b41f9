package session_test

import (
	"context"
	"encoding/json"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/devissuer"
	"github.com/cardlake/cardlake/dashboard/session"
)

// developers are the development issuer's subjects, by what it writes of them.
type developers struct{}

func (developers) PrincipalOf(subject string) (grants.Principal, bool) {
	text, ok := strings.CutPrefix(subject, signin.DevelopmentSubject(""))
	p, err := grants.ParsePrincipal(text)
	return p, ok && err == nil
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// TestFlow signs in with a browser's means and nothing else at the development issuer: code, PKCE,
// state, nonce, cookies and redirects as they are.
func TestFlow(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	at := "http://" + server.Listener.Addr().String()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := devissuer.New(l, devissuer.Config{Audience: "api", Subjects: []string{ana.String(), bert.String()}, Client: "dashboard", RedirectURL: at + session.CallbackPath})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- issuer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	tokens, err := signin.NewIssuer(signin.IssuerConfig{URL: issuer.URL(), Audience: "api", Development: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Close)
	client, err := tokens.Client(signin.ClientConfig{ID: "dashboard", RedirectURL: at + session.CallbackPath})
	if err != nil {
		t.Fatal(err)
	}
	v, err := signin.New(developers{}, signin.Config{Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.New(session.Deps{SignIn: v, Client: client, Recorder: newSite(t, session.Config{})}, session.Config{URL: at})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/auth/", m.Handler())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page "+r.URL.RequestURI()) })
	server.Config.Handler = mux
	server.Start()
	t.Cleanup(server.Close)

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar} // follows redirects
	read := func(resp *http.Response, err error) (string, int) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text), resp.StatusCode
	}
	begin := at + "/auth/sign-in?to=" + url.QueryEscape("/overview?range=7d")
	if text, status := read(browser.Get(begin)); status != http.StatusForbidden || !strings.Contains(text, "enter?key=") {
		t.Errorf("%d: %s", status, text)
	}
	if text, status := read(browser.Get(issuer.EnterURL())); status != http.StatusOK || text != "page /" {
		t.Errorf("%d: %s", status, text)
	}
	text, status := read(browser.Get(begin))
	if status != http.StatusOK {
		t.Fatalf("%d: %s", status, text)
	}
	form := url.Values{"subject": {ana.String()}, "mfa": {"yes"}}
	for _, field := range hidden.FindAllStringSubmatch(text, -1) {
		form.Set(field[1], html.UnescapeString(field[2]))
	}
	if text, status := read(browser.PostForm(issuer.URL()+"/authorize", form)); status != http.StatusOK || text != "page /overview?range=7d" {
		t.Fatalf("%d: %s", status, text)
	}
	var got who
	text, _ = read(browser.Get(at + "/auth/session"))
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Principal != ana.String() || !got.MFA {
		t.Errorf("%s: %v", text, err)
	}
	// The same answer of the issuer again is of no use, nor is one that was declined.
	form.Set("subject", "operator/eve")
	if text, _ := read(browser.PostForm(issuer.URL()+"/authorize", form)); text != "page /?signin=expired" {
		t.Error(text)
	}
}
