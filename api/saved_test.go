package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/api/saved"
)

func savedSite(t *testing.T) *site {
	t.Helper()
	return newSite(t, api.Config{PerMinute: 60_000, Burst: 1000}, func(_ *site, d *api.Deps, _ *api.Files) {
		views, err := saved.Open(t.Context(), t.TempDir(), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { views.Close() })
		d.Saved = views
	})
}

// TestSavedViews: a view is saved, listed, replaced and removed, each on record.
func TestSavedViews(t *testing.T) {
	s := savedSite(t)
	call := func(method, path, body string) answer {
		t.Helper()
		return s.ask(s.client(nil, true), method, path, s.token("ana"), body)
	}
	a := call(http.MethodPost, "/v1/saved-views", `{"name": "São Paulo <b>", "page": "declines", "query": "range=7d"}`)
	var v struct{ ID, Name, Page, Query string }
	if err := json.Unmarshal(a.body, &v); err != nil || a.StatusCode != http.StatusCreated || a.Header.Get("Location") != "/v1/saved-views/"+v.ID {
		t.Fatalf("%v: %s", err, a.body)
	}
	at := "/v1/saved-views/" + v.ID
	if a := call(http.MethodPut, at, `{"name": "b", "page": "cards"}`); a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), `"name":"b","page":"cards","query":""`) {
		t.Errorf("%s", a.body)
	}
	if a := call(http.MethodGet, at, ""); a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), `"name":"b"`) {
		t.Errorf("%s", a.body)
	}
	if a := call(http.MethodGet, "/v1/saved-views", ""); !strings.Contains(string(a.body), v.ID) {
		t.Errorf("%s", a.body)
	}
	for body, want := range map[string]string{
		`{"name": "", "page": "cards"}`:                                    "400 invalid-request",
		`{"name": "4111 1111 1111 1111", "page": "cards"}`:                 "400 invalid-request",
		`{"name": "a", "page": "cards", "query": "text=4111111111111111"}`: "400 invalid-request",
		`{"name": "a", "page": "cards", "owner": "data_scientist/bea"}`:    "400 invalid-request",
		`{"name": "a", "page": "cards", "id": "` + v.ID + `"}`:             "400 invalid-request",
		`["a"]`: "400 invalid-request",
		`{"name": "` + strings.Repeat("a", 300<<10) + `", "page": "cards"}`: "413 too-large",
	} {
		if a := call(http.MethodPost, "/v1/saved-views", body); a.problem(t) != want || strings.Contains(string(a.body), "1111") {
			t.Errorf("%.80s: %s", body, a.body)
		}
	}
	if a := call(http.MethodDelete, at, ""); a.StatusCode != http.StatusNoContent {
		t.Errorf("%s", a.body)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if a := call(method, at, ""); a.problem(t) != "404 no-such-resource" {
			t.Errorf("%s", a.body)
		}
	}
	var got []string
	for _, r := range s.log.Records() {
		got = append(got, r.Action+" "+strings.ReplaceAll(r.Resource, v.ID, "ID")+" "+string(r.Outcome))
	}
	want := []string{
		"saved_view.save view ID allowed", "saved_view.save view ID allowed", "saved_views own view allowed", "saved_views own views allowed",
		"saved_view.save a view refused", "saved_view.save a view refused", "saved_view.save a view refused",
		"saved_view.remove view ID allowed", "saved_views own view allowed", "saved_view.remove a view refused",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for range saved.MaxViews {
		if a := call(http.MethodPost, "/v1/saved-views", `{"name": "a", "page": "cards"}`); a.StatusCode != http.StatusCreated {
			t.Fatalf("%s", a.body)
		}
	}
	if a := call(http.MethodPost, "/v1/saved-views", `{"name": "a", "page": "cards"}`); a.problem(t) != "409 full" {
		t.Errorf("%s", a.body)
	}
}

// TestUnrecordedView: what can't be put on record is not kept.
func TestUnrecordedView(t *testing.T) {
	s := savedSite(t)
	s.log.Fail(errDisk)
	a := s.ask(s.client(nil, true), http.MethodPost, "/v1/saved-views", s.token("ana"), `{"name": "a", "page": "cards"}`)
	if a.problem(t) != "503 audit-unavailable" {
		t.Errorf("%s", a.body)
	}
	s.log.Fail(nil)
	if a := s.get("ana", "/v1/saved-views"); string(a.body) != `{"saved_views":[]}` {
		t.Errorf("%s", a.body)
	}
}

// TestPartsNotOffered: what a server does not have, it says so of to who is signed in.
func TestPartsNotOffered(t *testing.T) {
	s := newSite(t, api.Config{})
	for _, path := range []string{"/v1/saved-views", "/v1/exports", "/v1/products", "/v1/keys", "/v1/health"} {
		if a := s.get("ana", path); a.problem(t) != "404 no-such-resource" || !strings.Contains(string(a.body), "does not offer") {
			t.Errorf("%s: %s", path, a.body)
		}
		if a := s.ask(s.client(nil, true), http.MethodGet, path, "", ""); a.problem(t) != "401 not-signed-in" {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}
