package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/dashboard/session"
)

var _ api.SignIn = (*session.Manager)(nil)

var (
	ana  = grants.Principal{Kind: grants.TenantAnalyst, Name: "ana"}
	bert = grants.Principal{Kind: grants.Operator, Name: "bert"}
)

const (
	secureURL = "https://lake.example"
	localURL  = "http://127.0.0.1:8420"
)

// site is a manager, with an API behind it that tells who asks, and what stands around it.
type site struct {
	*testing.T
	manager *session.Manager
	handler http.Handler
	url     string
	logged  *bytes.Buffer

	mu      sync.Mutex
	now     time.Time
	known   map[string]grants.Principal
	who     signin.Identity // whom the issuer signs in
	err     error           // or why not
	secrets []string        // that were seen, and must be nowhere
	records []audit.Record
	down    bool // the audit log
	asked   []signin.Attempt
	end     string // where to sign out at the issuer
}

func newSite(t *testing.T, cfg session.Config) *site {
	t.Helper()
	s := &site{
		T: t, now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), logged: &bytes.Buffer{},
		known: map[string]grants.Principal{"oidc:x#ana": ana, "oidc:x#ana2": ana, "oidc:x#bert": bert},
		who:   signin.Identity{Subject: "oidc:x#ana", MFA: true},
	}
	if cfg.URL == "" {
		cfg.URL = secureURL
	}
	s.url = cfg.URL
	cfg.Now = s.time
	cfg.Log = slog.New(slog.NewTextHandler(s.logged, nil))
	v, err := signin.New(s, signin.Config{Tokens: s})
	if err != nil {
		t.Fatal(err)
	}
	s.manager, err = session.New(session.Deps{SignIn: v, Client: s, Recorder: s}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/auth/", s.manager.Handler())
	mux.Handle("/v1/", s.manager.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.manager.FromRequest(r)
		if err != nil {
			refused := new(signin.Error)
			if !errors.As(err, &refused) {
				t.Errorf("%T", err)
			}
			http.Error(w, string(refused.Reason), http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(c)
	})))
	s.handler = mux
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		records, _ := json.Marshal(s.records)
		for _, secret := range s.secrets {
			if strings.Contains(s.logged.String(), secret) || bytes.Contains(records, []byte(secret)) {
				t.Errorf("a secret is in the log or on record: %s", secret)
			}
		}
	})
	return s
}

func (s *site) time() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// with changes what is around the manager.
func (s *site) with(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// PrincipalOf implements signin.Principals.
func (s *site) PrincipalOf(subject string) (grants.Principal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.known[subject]
	return p, ok
}

// Verify implements signin.Tokens.
func (s *site) Verify(_ context.Context, token string) (signin.Identity, error) {
	if token != "bert" {
		return signin.Identity{}, &signin.Error{Reason: signin.Malformed}
	}
	return signin.Identity{Subject: "oidc:x#bert"}, nil
}

// Append implements session.Recorder.
func (s *site) Append(_ context.Context, r audit.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errors.New("disk full")
	}
	s.records = append(s.records, r)
	return nil
}

// AuthorizeURL implements session.Client.
func (s *site) AuthorizeURL(_ context.Context, a signin.Attempt) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, a)
	s.secrets = append(s.secrets, a.State, a.Nonce, a.Verifier)
	return "https://issuer.example/authorize?state=" + a.State, s.err
}

// Finish implements session.Client.
func (s *site) Finish(_ context.Context, a signin.Attempt, answer url.Values) (signin.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return signin.Identity{}, s.err
	case answer.Get("state") != a.State || a != s.asked[len(s.asked)-1]:
		return signin.Identity{}, &signin.Error{Reason: signin.State}
	}
	return s.who, nil
}

// SignOutURL implements session.Client.
func (s *site) SignOutURL(_ context.Context, back string) string {
	if s.end == "" {
		return ""
	}
	return s.end + "?back=" + back
}

// recorded are the records of an action, as text.
func (s *site) recorded(action string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		if r.Action == action {
			all = append(all, strings.Join([]string{r.Actor, string(r.Outcome), r.Reason}, " "))
		}
	}
	return all
}

// browser keeps cookies by the rules that matter here.
type browser struct {
	*site
	cookies map[string]string
	csrf    string
}

func (s *site) browser() *browser { return &browser{site: s, cookies: map[string]string{}} }

type answer struct {
	*http.Response
	text string
}

// ask sends a request as the dashboard's own page does, with more headers; those without a value
// are taken out.
func (b *browser) ask(method, path string, header ...string) answer {
	b.Helper()
	r := httptest.NewRequest(method, b.url+path, nil)
	r.RemoteAddr = "192.0.2.7:4711"
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if b.csrf != "" && method != http.MethodGet {
		r.Header.Set(session.HeaderCSRF, b.csrf)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else if r.Header.Set(header[i], header[i+1]); header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	a := answer{w.Result(), w.Body.String()}
	for _, c := range a.Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
		b.with(func() {
			if c.Value != "" {
				b.secrets = append(b.secrets, c.Value)
			}
		})
	}
	return a
}

// callback is where the issuer sends the browser back to, for what it asked last.
func (b *browser) callback() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return session.CallbackPath + "?code=c&state=" + b.asked[len(b.asked)-1].State
}

// fromElsewhere are the headers of a navigation that another site began.
var fromElsewhere = []string{"Sec-Fetch-Site", "cross-site"}

// signIn signs in and returns where it leads.
func (b *browser) signIn(to string) string {
	b.Helper()
	b.ask(http.MethodGet, "/auth/sign-in?to="+url.QueryEscape(to))
	a := b.ask(http.MethodGet, b.callback(), fromElsewhere...)
	if a.StatusCode != http.StatusSeeOther {
		b.Fatalf("%d: %s", a.StatusCode, a.text)
	}
	b.csrf = b.session().CSRF
	return a.Header.Get("Location")
}

// who is what GET /auth/session tells.
type who struct {
	Principal, Kind, CSRF string
	IdleEndsAt            time.Time `json:"idle_ends_at"`
	EndsAt                time.Time `json:"ends_at"`
	MFA, Development      bool
}

// session asks in the background; zero if nobody is signed in.
func (b *browser) session() (w who) {
	b.Helper()
	a := b.ask(http.MethodGet, "/auth/session", session.HeaderBackground, "yes")
	if a.StatusCode == http.StatusOK {
		if err := json.Unmarshal([]byte(a.text), &w); err != nil {
			b.Fatal(err)
		}
		b.with(func() { b.secrets = append(b.secrets, w.CSRF) })
	}
	return w
}

// want fails the test unless the API answers with the status.
func (b *browser) want(status int, header ...string) answer {
	b.Helper()
	a := b.ask(http.MethodGet, "/v1/me", header...)
	if a.StatusCode != status {
		b.Errorf("status %d, want %d: %s", a.StatusCode, status, a.text)
	}
	return a
}

// id is the session's, as the browser has it.
func (b *browser) id() string {
	for _, name := range []string{"__Host-cardlake", "cardlake"} {
		if v := b.cookies[name]; v != "" {
			return v
		}
	}
	return ""
}
