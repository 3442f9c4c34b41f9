package dashboard

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestAnswersInJSONArePacked(t *testing.T) {
	long := `{"rows":[` + strings.Repeat(`["BRL",1],`, 1000) + `["USD",2]]}`
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/json":
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "9999")
			io.WriteString(w, long)
		case "/v1/csv":
			w.Header().Set("Content-Type", "text/csv")
			io.WriteString(w, long)
		case "/v1/refused":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, long)
		case "/v1/same":
			w.WriteHeader(http.StatusNotModified)
		case "/v1/broken":
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, long)
			panic(http.ErrAbortHandler)
		case "/v1/live":
			w.Header().Set("Content-Type", "text/event-stream")
			if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Errorf("deadline: %v", err)
			}
			io.WriteString(w, ": \n\n")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("flush: %v", err)
			}
			<-r.Context().Done()
		}
	})
	server := httptest.NewServer(site(t, func(c *Config) { c.API = api }))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	get := func(method, path string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "gzip")
		return client.Do(r)
	}

	r, err := get("GET", "/v1/json")
	if err != nil || r.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("JSON: %v, %v", err, r.Header)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != long {
		t.Errorf("unpacked: %d bytes, %v", len(got), err)
	}
	for _, path := range []string{"/v1/csv", "/v1/refused", "/v1/same"} {
		r, err := get("GET", path)
		if err != nil || r.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %v, %v", path, err, r.Header)
		}
	}
	if r, err := get("POST", "/v1/json"); err != nil || r.Header.Get("Content-Encoding") != "" {
		t.Errorf("POST: %v", err)
	}

	if r, err = get("GET", "/v1/broken"); err == nil {
		if _, err := io.ReadAll(r.Body); err == nil {
			t.Error("an answer that broke off ends as a whole one does")
		}
	}

	r, err = get("GET", "/v1/live")
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 4)
	if _, err := io.ReadFull(r.Body, first); err != nil || string(first) != ": \n\n" {
		t.Errorf("a stream begins with %q, %v", first, err)
	}
	r.Body.Close()
}

func TestBrokenAnswerIsNotWhole(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/v1/me", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	func() {
		defer func() { _ = recover() }()
		compressed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"rows":[`)
			panic(http.ErrAbortHandler)
		})).ServeHTTP(w, r)
	}()
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		return // not even begun
	}
	if _, err := io.ReadAll(z); err == nil {
		t.Error("an answer that broke off is a whole archive")
	}
}
