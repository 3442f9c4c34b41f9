package session_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/dashboard/session"
)

// A cookie says who it is, and nothing is changed by a cookie alone.
func ExampleManager_FromRequest() {
	issuer := &anybody{} // of a *signin.Issuer's tokens, its client, the principals and the record
	verifier, err := signin.New(issuer, signin.Config{Tokens: issuer})
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := session.New(session.Deps{SignIn: verifier, Client: issuer, Recorder: issuer}, session.Config{URL: "https://lake.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	// The browser is sent to the issuer, and comes back.
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "https://lake.example/auth/sign-in?to=/overview", nil))
	back := httptest.NewRequest(http.MethodGet, "https://lake.example/auth/callback?code=c&state="+issuer.state, nil)
	back.AddCookie(answer.Result().Cookies()[0])
	answer = httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, back)
	fmt.Println(answer.Header().Get("Location"))

	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		r := httptest.NewRequest(method, "https://lake.example/v1/saved-views/7", nil)
		for _, c := range answer.Result().Cookies() {
			r.AddCookie(c)
		}
		caller, err := m.FromRequest(r)
		fmt.Println(method, caller.Principal, err)
	}
	// Output:
	// /overview
	// GET tenant_analyst/ana <nil>
	// DELETE / not signed in: sign in again
}
