package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestServesTheDashboard: after its check the demo opens the doors of "cardlake serve" over its
// own folder, beside /status, and ends well when it is asked to.
func TestServesTheDashboard(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	stderr := &watched{word: "/development/enter?key=", seen: make(chan struct{})}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-dir", t.TempDir(), "-transactions", "200", "-tps", "400", "-tenants", "2", "-window", "200ms", "-serve", at}, io.Discard, stderr)
	}()
	select {
	case <-stderr.seen:
	case c := <-code:
		t.Fatalf("exit code %d: %s", c, stderr)
	case <-time.After(2 * time.Minute):
		t.Fatal(stderr)
	}
	get := func(path string, want int) string {
		t.Helper()
		resp, err := http.Get("http://" + at + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: status %d, %v: %s", path, resp.StatusCode, err, text)
		}
		return string(text)
	}
	var s status
	if err := json.Unmarshal([]byte(get("/status", http.StatusOK)), &s); err != nil || s.LakeRows < 200 {
		t.Errorf("%+v, %v", s, err)
	}
	if page := get("/overview", http.StatusOK); !strings.Contains(page, "<title>cardlake</title>") {
		t.Error(page)
	}
	get("/v1/openapi.json", http.StatusOK)
	get("/v1/me", http.StatusUnauthorized)
	cancel()
	if c := <-code; c != exitOK {
		t.Errorf("exit code %d: %s", c, stderr)
	}
}
