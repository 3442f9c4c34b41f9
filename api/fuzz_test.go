package api_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/api/saved"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/figures"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// FuzzCalls: whatever a call has, its answer is no fault of the server's, and if it is refused, a
// problem that has nothing of the call in it that could be a card number.
func FuzzCalls(f *testing.F) {
	log := &queriestest.Log{}
	views, err := saved.Open(f.Context(), f.TempDir(), nil)
	if err != nil {
		f.Fatal(err)
	}
	defer views.Close()
	e := &engine{rows: 2}
	g := queries.New(parser{}, e, queriestest.Everything, log, queries.Config{MaxRows: 100})
	s, err := api.New(api.Deps{
		Gateway: g, SignIn: everybody{}, Permits: queriestest.Everything, Recorder: log, Changes: markerFeed{g}, Products: &desk{}, Saved: views,
		Tenants: grantstest.Tenants{grantstest.Tenant("aurora")},
	}, api.Config{PerMinute: 1 << 40, Burst: 1 << 40, FiguresPerMinute: 1 << 40, FiguresBurst: 1 << 40, Log: slog.New(slog.DiscardHandler), SpoolDir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	var document struct {
		Paths map[string]map[string]struct {
			Body struct {
				Content map[string]struct{ Example json.RawMessage }
			} `json:"requestBody"`
		}
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/openapi.json", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		f.Fatal(err)
	}
	for path, methods := range document.Paths {
		for method, o := range methods {
			f.Add(strings.ToUpper(method), path, "", "application/json", "", string(o.Body.Content["application/json"].Example))
		}
	}
	for _, one := range figures.All {
		f.Add(http.MethodGet, "/v1/figures/"+one.Name, "tenant=aurora&from=2026-03-01&to=2026-03-02&limit=5", "", "text/csv", "")
	}
	f.Add(http.MethodGet, "/v1/figures/transactions", "from=2026-03-01&to=2026-03-02&text=%ff&cursor=W10&last4=1111&last4=1", "text/plain; charset=utf-7", "*/*;q=2", "{")
	f.Add(http.MethodPost, "/v1/query", "", "application/json; charset=utf-16", "text/html", `{"sql": 1e999, "timeout": "x", "page_rows": 99999999999999999999}`)
	f.Add(http.MethodPut, "/v1/saved-views/..%2f", "", "application/json", "", `{"name": "\u0000\ud800", "page": "4111111111111111", "query": "%"}`)
	f.Fuzz(func(t *testing.T, method, path, query, contentType, accept, body string) {
		if !slices.Contains([]string{"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"}, method) || !strings.HasPrefix(path, "/v1/") || strings.Contains(query, "wait=") {
			return
		}
		r := httptest.NewRequest(method, "/", strings.NewReader(body))
		r.URL.Path, r.URL.RawQuery = path, query
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		switch {
		case w.Code >= 500:
			t.Errorf("status %d: %s", w.Code, w.Body)
		case w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json":
			t.Errorf("status %d is no problem: %s", w.Code, w.Body)
		case w.Code >= 400 && strings.Contains(w.Body.String(), "4111111111111111"):
			t.Errorf("%s", w.Body)
		}
	})
}
