package session_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/dashboard/session"
)

// anybody stands for all that a manager needs.
type anybody struct{ state string }

func (a *anybody) PrincipalOf(string) (grants.Principal, bool) { return ana, true }
func (a *anybody) Verify(context.Context, string) (signin.Identity, error) {
	return signin.Identity{}, nil
}
func (a *anybody) Append(context.Context, audit.Record) error { return nil }
func (a *anybody) SignOutURL(context.Context, string) string  { return "" }
func (a *anybody) AuthorizeURL(_ context.Context, t signin.Attempt) (string, error) {
	a.state = t.State
	return "https://issuer.example/", nil
}
func (a *anybody) Finish(context.Context, signin.Attempt, url.Values) (signin.Identity, error) {
	return signin.Identity{Subject: "oidc:x#ana"}, nil
}

// BenchmarkFromRequest is what a session costs each call, one of 10,000 sessions, beside the lookup
// of its principal.
func BenchmarkFromRequest(b *testing.B) {
	a := &anybody{}
	v, err := signin.New(a, signin.Config{Tokens: a})
	if err != nil {
		b.Fatal(err)
	}
	m, err := session.New(session.Deps{SignIn: v, Client: a, Recorder: a}, session.Config{URL: secureURL, PerPrincipal: 10_000})
	if err != nil {
		b.Fatal(err)
	}
	var id *http.Cookie
	for range 10_000 {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, secureURL+"/auth/sign-in", nil))
		r := httptest.NewRequest(http.MethodGet, secureURL+session.CallbackPath+"?code=c&state="+a.state, nil)
		r.AddCookie(w.Result().Cookies()[0])
		w = httptest.NewRecorder()
		m.Handler().ServeHTTP(w, r)
		cookies := w.Result().Cookies()
		id = cookies[len(cookies)-1]
	}
	r := httptest.NewRequest(http.MethodGet, secureURL+"/v1/me", nil)
	r.AddCookie(id)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.FromRequest(r); err != nil {
			b.Fatal(err)
		}
	}
}
