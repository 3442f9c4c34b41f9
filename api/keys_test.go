package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/api/saved"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/apikeys"
	"github.com/cardlake/cardlake/catalog/signin/signintest"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/export"
)

// newKeySite is a site whose grants are real, and whose callers sign in by token or by key.
func newKeySite(t *testing.T, policies string) *site {
	t.Helper()
	s := newSite(t, api.Config{PerMinute: 6000, Burst: 1000}, func(s *site, d *api.Deps, _ *api.Files) {
		permits := grantstest.Open(t, policies, matrixTenants...)
		keys, err := apikeys.Open(t.Context(), filepath.Join(t.TempDir(), "keys.db"), s.log, apikeys.Config{PerPrincipal: 3})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { keys.Close() })
		tokens, err := signin.NewIssuer(signin.IssuerConfig{URL: s.issuer.URL, Audience: signintest.Audience, RootCAs: s.issuer.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tokens.Close)
		d.SignIn, err = signin.New(s.known, signin.Config{Tokens: keys.Before(tokens)})
		if err != nil {
			t.Fatal(err)
		}
		views, err := saved.Open(t.Context(), t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { views.Close() })
		d.Keys, d.Permits, d.Tenants, d.Products, d.Saved, d.Exports = keys, permits, matrixTenants, &desk{}, views, pausing{}
		d.Gateway = queries.New(parser{}, s.engine, permits, s.log, queries.Config{MaxRows: 1000})
	})
	s.engine.columns, s.engine.rowsOf = markerColumns, func(s queries.Statement) [][]any { return markers(s.Reads...) }
	return s
}

// pausing are exports of which schedules can be paused, and let go on.
type pausing struct{ api.Exports }

func (pausing) SetPaused(_ context.Context, _ grants.Caller, id string, paused bool) (*export.Schedule, error) {
	return &export.Schedule{ID: id, Paused: paused}, nil
}

// as makes a call with a bearer token or key.
func (s *site) as(token, method, path, body string) answer {
	s.t.Helper()
	return s.ask(s.client(nil, true), method, path, token, body)
}

// issue makes a key as ana.
func (s *site) issueKey(body string) (id, secret string) {
	s.t.Helper()
	a := s.as(s.token("ana"), http.MethodPost, "/v1/keys", body)
	if a.StatusCode != http.StatusCreated || a.Header.Get("Cache-Control") != "no-store" {
		s.t.Fatalf("%d: %s", a.StatusCode, a.body)
	}
	return a.id("id"), a.id("secret")
}

const scientistsRead = `permit (principal in Lake::Persona::"data_scientist", action, resource);`

// TestKeys: a key is its maker without a second factor, for the one tenant that it names, until it
// is revoked, and manages no keys.
func TestKeys(t *testing.T) {
	s := newKeySite(t, scientistsRead)
	id, narrow := s.issueKey(`{"name": "nightly", "tenant": "aurora", "days": 7}`)
	_, wide := s.issueKey(`{"name": "notebook"}`)
	for _, tc := range []struct {
		name, token     string
		aurora, bolivar bool
	}{{"token", s.token("ana"), true, true}, {"narrow key", narrow, true, false}, {"wide key", wide, true, true}} {
		a := s.as(tc.token, http.MethodPost, "/v1/query", statement)
		if text := string(a.body); a.StatusCode != http.StatusOK || strings.Contains(text, marker+"aurora") != tc.aurora || strings.Contains(text, marker+"bolivar") != tc.bolivar {
			t.Errorf("%s: %d: %s", tc.name, a.StatusCode, a.body)
		}
		var me struct {
			Principal string
			MFA       bool
			Tenants   []struct{ Name string }
		}
		if a = s.as(tc.token, http.MethodGet, "/v1/me", ""); json.Unmarshal(a.body, &me) != nil {
			t.Fatal(string(a.body))
		}
		if me.Principal != "data_scientist/ana" || me.MFA != (tc.name == "token") || strings.Contains(fmt.Sprint(me.Tenants), "bolivar") != tc.bolivar {
			t.Errorf("%s: %s", tc.name, a.body)
		}
	}
	for _, attempt := range [][2]string{
		{http.MethodPost, "/v1/keys"}, {http.MethodGet, "/v1/keys"}, {http.MethodDelete, "/v1/keys/" + id},
		{http.MethodPost, "/v1/subscriptions/x/approve"}, {http.MethodPost, "/v1/subscriptions/x/reject"}, {http.MethodPost, "/v1/subscriptions/x/revoke"},
		{http.MethodPost, "/v1/products/x/subscriptions"},
		{http.MethodPost, "/v1/schedules/x/resume"}, // it would go on when the key has ended
		{http.MethodGet, "/v1/saved-views"}, {http.MethodPost, "/v1/saved-views"}, {http.MethodGet, "/v1/saved-views/x"}, {http.MethodDelete, "/v1/saved-views/x"},
	} {
		body := ""
		if attempt[0] == http.MethodPost {
			body = `{"name": "another"}`
		}
		if a := s.as(wide, attempt[0], attempt[1], body); a.problem(t) != "403 not-permitted" {
			t.Errorf("a key: %s %s: %s", attempt[0], attempt[1], a.body)
		}
	}
	for token, want := range map[string]bool{narrow: false, wide: true} {
		if a := s.as(token, http.MethodGet, "/v1/subscriptions", ""); a.StatusCode != http.StatusOK || strings.Contains(string(a.body), `"abc"`) != want {
			t.Errorf("subscriptions of all tenants: %s, want %t", a.body, want)
		}
	}
	if a := s.ask(s.client(nil, true), http.MethodPost, "/v1/query", wide, statement, "Cardlake-Break-Glass", "yes", "Cardlake-Reason", "fire"); a.problem(t) != "403 not-permitted" {
		t.Errorf("emergency access by a key: %s", a.body)
	}
	// Of what its maker asked otherwise it knows nothing; what it asks is known to be asked by it.
	kept := s.as(s.token("ana"), http.MethodPost, "/v1/query", `{"sql": "SELECT tenant FROM cards.transactions", "page_rows": 10}`).id("query")
	if a := s.as(narrow, http.MethodGet, "/v1/queries/"+kept+"?page=1", ""); kept == "" || a.problem(t) != "404 no-such-query" {
		t.Errorf("%q: %s", kept, a.body)
	}
	if a := s.as(narrow, http.MethodGet, "/v1/queries", ""); a.StatusCode != http.StatusOK || strings.Contains(string(a.body), kept) {
		t.Errorf("it is listed: %s", a.body)
	}
	if a := s.as(s.token("ana"), http.MethodGet, "/v1/queries/"+kept+"?page=1", ""); a.StatusCode != http.StatusOK {
		t.Errorf("what its maker asked is let go: %s", a.body)
	}
	byKey := 0
	for _, r := range s.log.Records() {
		if r.Detail["api_key"] == id {
			byKey++
		}
	}
	if byKey < 3 { // the query, its end, and who it is
		t.Errorf("%d records name the key", byKey)
	}
	a := s.as(s.token("ana"), http.MethodGet, "/v1/keys", "")
	if text := string(a.body); a.StatusCode != http.StatusOK || !strings.Contains(text, id) || !strings.Contains(text, "last_used_at") || strings.Contains(text, narrow[4:]) || strings.Contains(text, "secret") {
		t.Errorf("%s", a.body)
	}
	if a := s.as(s.token("bea"), http.MethodDelete, "/v1/keys/"+id, ""); a.problem(t) != "404 no-such-resource" {
		t.Errorf("bea revokes ana's: %s", a.body)
	}
	s.issueKey(`{"name": "third"}`)
	for body, want := range map[string]string{
		`{"name": "fourth"}`: "409 wrong-state", `{"name": ""}`: "400 invalid-request", `{"name": "x", "days": 91}`: "400 invalid-request",
		`{"name": "x", "tenant": "../etc"}`: "400 invalid-request", `{"name": "x", "mfa": true}`: "400 invalid-request",
	} {
		if a := s.as(s.token("ana"), http.MethodPost, "/v1/keys", body); a.problem(t) != want {
			t.Errorf("%s: %s, want %s", body, a.body, want)
		}
	}
	if a := s.as(s.token("ana"), http.MethodDelete, "/v1/keys/"+id, ""); a.StatusCode != http.StatusNoContent {
		t.Errorf("%d: %s", a.StatusCode, a.body)
	}
	if a := s.as(narrow, http.MethodGet, "/v1/me", ""); a.problem(t) != "401 not-signed-in" {
		t.Errorf("revoked: %s", a.body)
	}
	s.known.forget()
	if a := s.as(wide, http.MethodGet, "/v1/me", ""); a.problem(t) != "401 not-signed-in" {
		t.Errorf("its maker is no principal any more: %s", a.body)
	}
	records, err := json.Marshal(s.log.Records())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{narrow[4:], wide[4:]} {
		if strings.Contains(string(records), secret) || strings.Contains(s.text.String(), secret) {
			t.Error("a secret is on record, or in the log")
		}
	}
	if lines := strings.Join(s.audited(), "\n"); !strings.Contains(lines, "api_key.issue api key "+id+" allowed") || !strings.Contains(lines, "api_key.revoke api key "+id+" allowed") || !strings.Contains(lines, "api_key.issue api key refused") ||
		!strings.Contains(lines, "api_key.not_permitted POST /v1/subscriptions/{id}/approve refused") {
		t.Error(lines)
	}
}

// TestKeysOfWhoMayLess: a key gives what its maker has when it is used, without a second factor, and
// none is made for a tenant of which the maker may read nothing.
func TestKeysOfWhoMayLess(t *testing.T) {
	s := newKeySite(t, `permit (principal in Lake::Persona::"data_scientist", action, resource)
		when { context.mfa && resource has tenant && resource.tenant == Lake::Tenant::"aurora" };`)
	if a := s.as(s.token("ana"), http.MethodPost, "/v1/keys", `{"name": "x", "tenant": "bolivar"}`); a.problem(t) != "403 not-permitted" {
		t.Errorf("%s", a.body)
	}
	if lines := strings.Join(s.audited(), "\n"); !strings.Contains(lines, "api_key.issue api key refused") {
		t.Errorf("a key for another's tenant is asked for, and that is not on record:\n%s", lines)
	}
	_, secret := s.issueKey(`{"name": "x", "tenant": "aurora"}`)
	if a := s.as(s.token("ana"), http.MethodPost, "/v1/query", statement); !strings.Contains(string(a.body), marker+"aurora") {
		t.Fatalf("%s", a.body)
	}
	if a := s.as(secret, http.MethodPost, "/v1/query", statement); a.problem(t) != "403 not-permitted" {
		t.Errorf("a key shows a second factor: %s", a.body)
	}
	if a := s.as("clk_"+strings.Repeat("a", 64), http.MethodGet, "/v1/me", ""); a.problem(t) != "401 not-signed-in" {
		t.Errorf("%s", a.body)
	}
}
