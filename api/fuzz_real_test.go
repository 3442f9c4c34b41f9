package api_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSchemathesis drives a real server over a small lake by its OpenAPI document: with values that
// the document allows, at its bounds, and with values that it forbids, as a principal of every kind
// that the dashboard is for. There must be no status 5xx, no status, content type, header or body
// that is not described, and nothing that is answered without sign-in. What the document can't say,
// such as that emergency access needs a reason, is refused, so that not all that it allows is
// accepted. CARDLAKE_SCHEMATHESIS names Schemathesis' executable.
func TestSchemathesis(t *testing.T) {
	fuzzer := os.Getenv("CARDLAKE_SCHEMATHESIS")
	if os.Getenv("CARDLAKE_REAL") != "1" || fuzzer == "" {
		t.Skip("needs CARDLAKE_REAL=1 and Schemathesis in CARDLAKE_SCHEMATHESIS: make api-fuzz")
	}
	dir := t.TempDir()
	run := func(within time.Duration, name string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(name), err, out)
		}
		return string(out)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"cardlake", "cardlake-demo"} {
		run(10*time.Minute, "go", "build", "-C", root, "-o", filepath.Join(dir, command), "./cmd/"+command)
	}
	lake := filepath.Join(dir, "lake")
	run(5*time.Minute, filepath.Join(dir, "cardlake-demo"), "-dir", lake, "-tenants", "3", "-transactions", "5000", "-days", "10")
	if t.Failed() {
		return
	}
	// A header that net/http has no room for is refused as well.
	const statuses = "[checks]\nnegative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 416, 422, 431]\n"
	if err := os.WriteFile(filepath.Join(dir, "schemathesis.toml"), []byte(statuses), 0o600); err != nil {
		t.Fatal(err)
	}
	server := startServer(t, filepath.Join(dir, "cardlake"), lake)
	for _, kind := range []string{"tenant_analyst/", "data_scientist/", "operator/", "auditor/"} {
		t.Run(strings.TrimSuffix(kind, "/"), func(t *testing.T) {
			out := run(10*time.Minute, fuzzer, "run", server.url+"/v1/openapi.json", "-H", "Authorization: Bearer "+server.token(t, kind), "--no-color", "--seed", "1",
				"--phases", "examples,coverage,fuzzing,stateful", "-n", "15", "--checks", "all", "--exclude-checks", "positive_data_acceptance",
				"--exclude-path", "/v1/live") // an answer without end
			t.Log(out[max(strings.Index(out, " SUMMARY "), 0):])
		})
	}
	if log := server.log(); strings.Contains(log, "panic") {
		t.Errorf("%s", log)
	}
}

// realServer is `cardlake serve` with its development issuer.
type realServer struct {
	url    string
	stdout string
	log    func() string
}

// startServer starts the server, and ends it with the test.
func startServer(t *testing.T, command, lake string) *realServer {
	t.Helper()
	cmd := exec.Command(command, "serve", "-dir", lake, "-dev-sign-in", "-listen", "127.0.0.1:0", "-rate", "1000000")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	text := &lockedBuffer{}
	cmd.Stderr = text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("cardlake serve: %v", err)
		}
	})
	s := &realServer{log: text.String}
	told := make(chan string)
	go func() {
		defer close(told)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			told <- lines.Text()
		}
	}()
	deadline := time.After(time.Minute)
	for s.url == "" || !strings.Contains(s.stdout, "tenant_analyst/") {
		select {
		case line, ok := <-told:
			if !ok {
				t.Fatalf("the server ended: %s", text)
			}
			s.stdout += line + "\n"
		case <-time.After(100 * time.Millisecond):
			_, after, _ := strings.Cut(text.String(), `"addr":"`)
			if addr, _, ok := strings.Cut(after, `"`); ok {
				s.url = "http://" + addr
			}
		case <-deadline:
			t.Fatalf("the server does not start: %s", text)
		}
	}
	go func() {
		for range told { // the rest is not needed, and must not block the server
		}
	}()
	return s
}

// token is of the first principal of the kind, as the development issuer gives it: what the server
// printed below its name is the call that gets one.
func (s *realServer) token(t *testing.T, kind string) string {
	t.Helper()
	_, after, _ := strings.Cut(s.stdout, "\n"+kind)
	_, after, _ = strings.Cut(after, "\n")
	line, _, _ := strings.Cut(after, "\n")
	form := url.Values{"scope": {"mfa"}}
	fields := strings.Fields(line)
	for i, f := range fields[:max(len(fields)-1, 0)] {
		if name, value, ok := strings.Cut(fields[i+1], "="); f == "-d" && ok {
			form.Set(name, value)
		}
	}
	if len(fields) == 0 || form.Get("client_id") == "" {
		t.Fatalf("the server tells of no %s", kind)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fields[len(fields)-1], strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/plain")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(fmt.Errorf("status %d, %w: %s", resp.StatusCode, err, text))
	}
	return string(bytes.TrimSpace(text))
}
