package api_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/api"
)

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestDisconnect: who goes away ends the engine's work.
func TestDisconnect(t *testing.T) {
	for _, h2 := range []bool{true, false} {
		s := newSite(t, api.Config{})
		s.engine.wait = true
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/query", strings.NewReader(statement))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+s.token("ana"))
		r.Header.Set("Content-Type", "application/json")
		done := make(chan error, 1)
		go func() {
			_, err := s.client(nil, h2).Do(r)
			done <- err
		}()
		<-s.engine.asked
		cancel()
		if err := <-s.engine.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("HTTP/2 %v: the engine ends with %v", h2, err)
		}
		if err := <-done; err == nil {
			t.Error("there was an answer")
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		records := s.log.Records()
		if last := records[len(records)-1]; !strings.HasPrefix(last.Action, "query") || last.Outcome == "allowed" {
			t.Errorf("the last record is %+v", last)
		}
	}
}

// connect opens a connection that speaks HTTP/1.1 by hand.
func (s *site) connect() *tls.Conn {
	s.t.Helper()
	c, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{RootCAs: s.pool, NextProtos: []string{"http/1.1"}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// ends fails the test unless the server ends the connection.
func (s *site) ends(c net.Conn, what string) {
	s.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	var timeout net.Error
	if _, err := io.Copy(io.Discard, c); errors.As(err, &timeout) && timeout.Timeout() {
		s.t.Errorf("%s: the connection stays", what)
	}
}

// TestSlowClients do not keep connections.
func TestSlowClients(t *testing.T) {
	s := newSite(t, api.Config{HeaderTimeout: 100 * time.Millisecond, BodyTimeout: 200 * time.Millisecond, IdleTimeout: 300 * time.Millisecond,
		WriteTimeout: 300 * time.Millisecond, DrainTimeout: 20 * time.Second})
	send := func(text string) net.Conn {
		c := s.connect()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		return c
	}
	head := "POST /v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + s.token("ana") + "\r\n"
	s.ends(send("GET /v1/me HTTP/1.1\r\nHost: x\r\nX: "), "a header that does not end")
	s.ends(send(""), "no header")
	s.ends(send(head+"Content-Length: 100\r\n\r\n{"), "a body that does not end")
	s.ends(send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), "an idle connection")
	s.engine.rows = 5_000_000 // more than the kernel's buffers hold
	c := send(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(statement), statement))
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
		t.Fatal(line, err)
	}
	if err := s.stop(); err != nil { // waits for the call, which a client that reads nothing would hold for ever
		t.Errorf("a client that does not read: %v", err)
	}
}

// TestSlowAnswer: what the engine needs is not the body's time, nor the client's.
func TestSlowAnswer(t *testing.T) {
	for _, h2 := range []bool{true, false} {
		s := newSite(t, api.Config{HeaderTimeout: 50 * time.Millisecond, BodyTimeout: 50 * time.Millisecond, WriteTimeout: 100 * time.Millisecond})
		s.engine.release = make(chan struct{})
		go func() {
			<-s.engine.asked
			time.Sleep(400 * time.Millisecond)
			close(s.engine.release)
		}()
		if a := s.ask(s.client(nil, h2), http.MethodPost, "/v1/query", s.token("ana"), statement); a.StatusCode != http.StatusOK || a.err != nil {
			t.Errorf("HTTP/2 %v: status %d, %v: %s", h2, a.StatusCode, a.err, a.body)
		}
	}
}

// TestDrain: what is under way ends well, and probes are told before.
func TestDrain(t *testing.T) {
	s := newSite(t, api.Config{})
	s.engine.release = make(chan struct{})
	done := make(chan answer, 1)
	go func() { done <- s.query() }()
	<-s.engine.asked
	probe := s.client(nil, false)
	if a := s.ask(probe, http.MethodGet, "/readyz", "", ""); a.StatusCode != http.StatusOK {
		t.Errorf("ready: status %d", a.StatusCode)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	select {
	case err := <-stopped:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(s.engine.release)
	if a := <-done; a.StatusCode != http.StatusOK || a.err != nil {
		t.Errorf("status %d, %v", a.StatusCode, a.err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestDrainEnds: what does not end in time is ended.
func TestDrainEnds(t *testing.T) {
	s := newSite(t, api.Config{DrainTimeout: 50 * time.Millisecond})
	s.engine.wait = true
	go s.query()
	<-s.engine.asked
	err := s.stop()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if err := <-s.engine.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the engine ends with %v", err)
	}
	s.t.Cleanup(func() {})
	s.stop = func() error { return nil }
}

func TestProbes(t *testing.T) {
	var unready error
	s := newSite(t, api.Config{}, func(_ *site, d *api.Deps, _ *api.Files) { d.Ready = func(context.Context) error { return unready } })
	get := func(path string) answer { return s.ask(s.client(nil, true), http.MethodGet, path, "", "") }
	if a := get("/healthz"); a.StatusCode != http.StatusOK {
		t.Error(a.StatusCode)
	}
	if a := get("/readyz"); a.StatusCode != http.StatusOK {
		t.Error(a.StatusCode)
	}
	unready = errDisk
	if a := get("/readyz"); a.StatusCode != http.StatusServiceUnavailable || strings.Contains(string(a.body), "disk") {
		t.Errorf("status %d: %s", a.StatusCode, a.body)
	}
	if len(s.log.Records()) > 0 {
		t.Error("probes are on record")
	}
}

// TestPlain: without TLS nobody but this machine is answered, under none but its own names.
func TestPlain(t *testing.T) {
	var deps api.Deps
	newSite(t, api.Config{}, func(_ *site, d *api.Deps, _ *api.Files) { deps = *d })
	server, err := api.New(deps, api.Config{LocalOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"127.0.0.1:80": 200, "localhost": 200, "[::1]:80": 200, "LOCALHOST:1": 200, "lake.example": 421, "127.0.0.1.evil.example": 421, "10.0.0.1": 421, "": 421} {
		r, w := httptest.NewRequest(http.MethodGet, "/healthz", nil), httptest.NewRecorder()
		r.Host = host
		if server.Handler().ServeHTTP(w, r); w.Code != want {
			t.Errorf("%q: status %d, want %d", host, w.Code, want)
		}
	}
	for _, address := range []string{"0.0.0.0:0", "[::]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Skip(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := server.Serve(ended, l, nil); err == nil || !strings.Contains(err.Error(), "without TLS") {
			t.Errorf("%s: %v", address, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(t.Context(), l, &tls.Config{MinVersion: tls.VersionTLS10}); err == nil || !strings.Contains(err.Error(), "the least version") {
		t.Errorf("TLS 1.0: %v", err)
	}
	if _, err := api.New(deps, api.Config{Queries: -1}); err == nil {
		t.Error("a negative bound is taken")
	}
}
